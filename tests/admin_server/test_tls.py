"""The TLS door: who calls is whose certificate it is, in office and in force at every call."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from mssmtp.admin.authority import Denied
from mssmtp.admin_server import Guard
from mssmtp.app import _guard
from mssmtp.asking import Refused
from mssmtp.demo.authority import Authority, CertificateFiles, Make, Subject
from mssmtp.errors import ConfigError
from mssmtp.mail import Actor, AdminLevel
from mssmtp.own import OwnKeys
from mssmtp.pki import CertificateRefused
from mssmtp.storage import Administrator, Store
from mssmtp.trust import Snapshot, Suspended, Trust
from tests.admin_server.conftest import FINESS_A, FINESS_B, Ask, Person
from tests.home import CLOCK, ENTROPY, Home

AskAs = Callable[[CertificateFiles], Ask]


@pytest.mark.requirement("MED-16")
async def test_each_of_the_three_levels_sees_its_own_scope_and_no_more(
    ask_as: AskAs, people: dict[str, Person]
) -> None:
    seen = {}
    for name, person in people.items():
        rows = await ask_as(person.files)("admin.list")
        assert isinstance(rows, list)
        seen[name] = {row["name"] for row in rows if isinstance(row, dict)}
    assert seen["dsi A"] == {"dsi A"}
    assert seen["dsi B"] == {"dsi B"}
    assert seen["region 84"] == {"dsi A"}
    assert seen["operateur"] == {"dsi A", "dsi B", "region 84", "operateur"}


@pytest.mark.attack("ATT-38")
async def test_att_38_nobody_is_served_without_a_certificate(tls_door: str, home: Home) -> None:
    parts = urlsplit(tls_door)
    context = ssl.create_default_context(cafile=str(home.settings.pki.anchors_file))
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, ssl=context)
    writer.write(b"GET /v1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
    answer = b""
    with suppress(ssl.SSLError):  # the alert may come before the end
        answer = await reader.read()
    assert answer == b""
    writer.close()


@pytest.mark.attack("ATT-38")
async def test_att_38_a_certificate_of_the_same_authority_is_not_enough(
    ask_as: AskAs, authority: Authority, tmp_path: Path
) -> None:
    stranger = authority.issue(Subject("autre.test", "1990000099", "AUTRE"), Make())
    with pytest.raises(Refused, match="n'administre rien ici"):
        await ask_as(stranger.write(tmp_path, "stranger"))("admin.list")


@pytest.mark.attack("ATT-25")
async def test_att_25_who_leaves_office_is_refused_at_the_next_call(
    ask_as: AskAs, store: Store, authority: Authority, tmp_path: Path, people: dict[str, Person]
) -> None:
    identity = authority.issue(Subject("bref.test", "1990000098", "BREF"), Make())
    files = identity.write(tmp_path, "bref")
    actor = Actor(AdminLevel.OPERATOR, "bref")
    person = Person(actor, identity, files)
    new = Administrator(actor, certificate=person.sha256)
    made = store.write(lambda w: w.add_administrator(new)).result()
    ask = ask_as(files)
    assert await ask("admin.list")
    store.write(lambda w: w.remove_administrator(made)).result()
    with pytest.raises(Refused, match="n'administre rien ici"):
        await ask("admin.list")


@pytest.mark.attack("ATT-16")
async def test_att_16_a_revoked_certificate_opens_nothing_though_its_owner_is_in_office(
    ask_as: AskAs, people: dict[str, Person], monkeypatch: pytest.MonkeyPatch
) -> None:
    def revoked(*_: object) -> None:
        raise CertificateRefused("revoked")

    monkeypatch.setattr(Guard, "judge", property(lambda _: revoked))
    with pytest.raises(Refused, match="Certificat révoqué"):
        await ask_as(people["operateur"].files)("admin.list")


async def test_nobody_names_above_or_beside_themselves(
    ask_as: AskAs, people: dict[str, Person]
) -> None:
    ask = ask_as(people["dsi A"].files)
    for level, scope in (
        ("operator", {}),
        ("region", {"region": "84"}),
        ("structure", {"structure": FINESS_B}),
    ):
        with pytest.raises(Refused, match="au-dessus|n'existe pas ici"):
            await ask("admin.add", name="intrus", level=level, user=4_321, **scope)
    made = await ask("admin.add", name="adjoint", level="structure", structure=FINESS_A, user=4_322)
    assert isinstance(made, dict)
    assert made["structure"] == FINESS_A
    with pytest.raises(Refused, match="n'existe pas ici"):
        await ask_as(people["dsi B"].files)("admin.remove", name="adjoint")
    assert await ask("admin.remove", name="adjoint") == {"name": "adjoint", "removed": True}


async def test_what_is_done_and_what_is_refused_are_both_traced(
    ask_as: AskAs, people: dict[str, Person], store: Store
) -> None:
    ask = ask_as(people["dsi A"].files)
    await ask("admin.add", name="passager", level="structure", structure=FINESS_A, user=4_323)
    await ask("admin.remove", name="passager")
    with pytest.raises(Refused):
        await ask("bal.quota", address="zoe@hopital-a.test", octets=1)
    found = store.read(lambda r: r.traces(most=3)).result()
    assert [(t.kind, t.author, t.answer.partition(" :")[0]) for t in found] == [
        ("administration", f"dsi A (structure {people['dsi A'].actor.structure})", "refusé"),
        ("administration", f"dsi A (structure {people['dsi A'].actor.structure})", "ok"),
        ("administration", f"dsi A (structure {people['dsi A'].actor.structure})", "ok"),
    ]
    name, _, said = found[2].request.partition(" ")
    assert name == "admin.add"
    assert json.loads(said)["name"] == "passager"


async def test_no_password_reaches_a_trace(ask: Ask, store: Store) -> None:
    secret = f"phrase-{ENTROPY.token_bytes(8).hex()}-longue"
    for _ in range(2):  # made, then refused
        try:
            await ask("bal.add", address="canari@hopital-a.test", type="MED", password=secret)
        except ConfigError:
            continue
    found = store.read(lambda r: r.traces(most=4)).result()
    assert {t.answer.partition(" :")[0] for t in found[:2]} == {"ok", "refusé"}
    assert secret not in "".join(t.request + t.answer for t in found)


@pytest.mark.attack("ATT-25")
def test_att_25_a_certificate_that_is_suspended_administers_nothing(
    home: Home, snapshot: Snapshot, store: Store, people: dict[str, Person]
) -> None:
    """OP-79: as at every other door."""
    trust, shown = Trust(snapshot), people["operateur"].identity.certificate
    guard = _guard(home.settings, OwnKeys(home.settings, trust, CLOCK), trust)
    octets = shown.public_bytes(Encoding.DER)
    assert guard.actor(store, octets).level is AdminLevel.OPERATOR
    trust.suspended = Suspended(certificates=frozenset({shown.fingerprint(hashes.SHA256())}))
    with pytest.raises(Denied):
        guard.actor(store, octets)
