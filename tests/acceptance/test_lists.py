"""Rows about the signed list, the CRLs and the anchors: whatever is published, mail flows on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from mssmtp.demo.authority import (
    EMAIL_ONLY,
    SIGNER_SUBJECT,
    Authority,
    Identity,
    Make,
    Subject,
)
from tests.acceptance.ours import Ours, answer
from tests.acceptance.space import DAY, Space
from tests.acceptance.table import Table
from tests.acceptance.test_certificates import BY_NAME, delivered, received, undelivered
from tests.authority import shared_keys
from tests.home import make_home
from tests.smtp_out.peer import Script

VALID = BY_NAME["cert-valide-audit"]
SENDER = f"essai@{VALID.domain}"
HOUR = timedelta(hours=1)
Spoil = Callable[[bytes], bytes]


@pytest.fixture(scope="module")
def reader(space: Space, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ours]:
    """An operator whose list server publishes what these tests want."""
    with Ours(tmp_path_factory.mktemp("reader"), space).running() as operator:
        yield operator


def flows(ours: Ours) -> str:
    """A letter comes in and a letter goes out."""
    assert received(ours, ours.space.identity(VALID), SENDER).startswith("250 ")
    with ours.exposed(VALID.domain, (ours.space.identity(VALID), Script())) as (peer,):
        delivered(ours, peer, SENDER)
    return "mail flows"


def in_force(ours: Ours) -> str:
    listed = ours.trust.snapshot.whitelist
    assert listed is not None
    return listed.sha256


def told(caplog: pytest.LogCaptureFixture, event: str) -> list[str]:
    """Reasons logged with `event`, without their details."""
    found = [r for r in caplog.records if r.getMessage() == event]
    return [str(vars(r)["reason"]).split(":")[0] for r in found]


def refused(ours: Ours, octets: bytes, caplog: pytest.LogCaptureFixture) -> str:
    """Publish `octets`; what the feed says of them, the list of before still in force."""
    before = in_force(ours)
    ours.publish(octets)
    ours.tick(2 * HOUR)
    assert in_force(ours) == before
    (reason,) = told(caplog, "list not taken")
    return f"refused: {reason}; previous list in force, {flows(ours)}"


def newer(ours: Ours, signer: Identity | None = None) -> bytes:
    """A good list, dated after the one in force."""
    date = ours.trust.snapshot.list_date
    assert date is not None
    return ours.space.signed(date=date + timedelta(minutes=1), signer=signer)


def _replaced(old: bytes, new: bytes) -> Spoil:
    def spoil(good: bytes) -> bytes:
        assert old in good
        return good.replace(old, new, 1)

    return spoil


def _signature(good: bytes) -> bytes:
    return good[good.index(b"<Signature ") : good.index(b"</Signature>") + len(b"</Signature>")]


def _second_table(good: bytes) -> bytes:
    start, end = good.index(b"<ListeDomaines>"), good.index(b"</ListeDomaines>")
    table = good[start:end].replace(b"hopital-a.test", b"pirate-x.test ") + b"</ListeDomaines>"
    return good.replace(b"<ListeDomaines>", table + b"<ListeDomaines>", 1)


_TRANSFORM = b'<Transform Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"/>'
_ENTITIES = b"".join(
    b'<!ENTITY e%d "%s">' % (n, b"&e%d;" % (n - 1) * 10 if n else b"boum") for n in range(10)
)

SPOILT: tuple[tuple[str, str, Spoil], ...] = (
    ("WT-20", "one byte of a Nom", _replaced(b"<Nom>hopital-a", b"<Nom>hopital-c")),
    ("WT-21", "no Signature", lambda good: good.replace(_signature(good), b"")),
    ("WT-23", "two Signature", lambda good: good.replace(_signature(good), _signature(good) * 2)),
    ("WT-23", "second ListeDomaines", _second_table),
    ("WT-26", "DTD", _replaced(b"<ListeBlanche", b"<!DOCTYPE l []><ListeBlanche")),
    (
        "WT-26",
        "entity expansion",
        _replaced(b"<ListeBlanche", b"<!DOCTYPE l [" + _ENTITIES + b"]><ListeBlanche"),
    ),
    ("WT-26", "25 MiB", lambda good: good + b" " * (25 * 1_048_576 - len(good))),
    (
        "WT-29",
        "SHA-1",
        _replaced(b"2001/04/xmldsig-more#rsa-sha256", b"2000/09/xmldsig#rsa-sha1"),
    ),
    (
        "WT-29",
        "other canonicalisation",
        _replaced(
            b'Method Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#',
            b'Method Algorithm="http://www.w3.org/TR/2001/REC-xml-c14n-20010315',
        ),
    ),
    (
        "WT-29",
        "extra transform",
        _replaced(
            _TRANSFORM,
            b'<Transform Algorithm="http://www.w3.org/TR/1999/REC-xslt-19991116"/>' + _TRANSFORM,
        ),
    ),
)


@pytest.mark.attack
@pytest.mark.requirement("OP-97", "OP-23", "OP-24", "OP-28")
@pytest.mark.parametrize(("row", "what", "spoil"), SPOILT, ids=[f"{s[0]} {s[1]}" for s in SPOILT])
def test_a_spoilt_list_is_refused_and_mail_flows_on(
    reader: Ours,
    table: Table,
    caplog: pytest.LogCaptureFixture,
    row: str,
    what: str,
    spoil: Spoil,
) -> None:
    table.saw(row, what, "inbound", refused(reader, spoil(newer(reader)), caplog))


@pytest.mark.requirement("OP-97", "OP-25")
def test_wt_22_only_the_pinned_subject_signs(
    reader: Ours, table: Table, caplog: pytest.LogCaptureFixture
) -> None:
    holder = Subject("autre.mssante.example", "398765432100033", "AUTRE PORTEUR", "Paris (75)")
    other = reader.space.authority.issue(holder, Make(usages=EMAIL_ONLY))
    seen = refused(reader, newer(reader, other), caplog)
    table.saw("WT-22", "another holder of the same authority", "inbound", seen)
    caplog.clear()
    renewed = reader.space.authority.issue(SIGNER_SUBJECT, Make(usages=EMAIL_ONLY))
    before = in_force(reader)
    reader.publish(newer(reader, renewed))
    reader.tick(2 * HOUR)
    assert in_force(reader) != before
    assert any(r.getMessage() == "list signer renewed" for r in caplog.records)
    table.saw(
        "WT-22", "pinned subject, new certificate", "inbound", f"in force, notice; {flows(reader)}"
    )


@pytest.mark.requirement("OP-97", "OP-26")
def test_wt_24_wt_25_an_older_list_and_another_of_the_same_date_are_refused(
    reader: Ours, table: Table, caplog: pytest.LogCaptureFixture
) -> None:
    date = reader.trust.snapshot.list_date
    assert date is not None
    seen = refused(reader, reader.space.signed(date=date - HOUR), caplog)
    table.saw("WT-24", "older DateDeGeneration", "inbound", seen)
    caplog.clear()
    fewer = reader.space.bindings[:-1]
    seen = refused(reader, reader.space.signed(*fewer, date=date), caplog)
    (alarm,) = [r for r in caplog.records if r.getMessage() == "list not taken"]
    assert alarm.levelname == "ERROR"
    table.saw("WT-25", "same date, other digest", "inbound", f"{seen}. Alarm.")


@pytest.mark.requirement("OP-97", "OP-25")
def test_wt_27_a_signer_that_has_ended_or_is_revoked_signs_nothing(
    reader: Ours, table: Table, caplog: pytest.LogCaptureFixture
) -> None:
    now, authority = reader.space.authority.now, reader.space.authority
    past = Make(usages=EMAIL_ONLY, not_before=now - 9 * DAY, not_after=now - DAY)
    seen = refused(reader, newer(reader, authority.issue(SIGNER_SUBJECT, past)), caplog)
    table.saw("WT-27", "signer expired", "inbound", seen)
    caplog.clear()
    revoked = authority.issue(SIGNER_SUBJECT, Make(usages=EMAIL_ONLY))
    authority.revoke(revoked)
    reader.publish_crls()
    reader.tick(30 * HOUR)  # the list published is refused again, the CRLs are taken
    caplog.clear()
    seen = refused(reader, newer(reader, revoked), caplog)
    table.saw("WT-27", "signer revoked", "inbound", seen)


@pytest.mark.requirement("OP-34", "OP-08")
def test_what_changes_during_a_session_counts_at_its_next_mail(
    space: Space, table: Table, tmp_path: Path
) -> None:
    """The brakes do not hold this list: it loses two rows of a hundred."""
    domain, other, third = (
        "part.test",
        BY_NAME["tests-operateur"],
        Subject("mx.revoque-ensuite.test"),
    )
    removed = space.authority.issue(Subject("mx.part-aussi.test"))
    revoked = space.authority.issue(third)
    also = (
        (domain, other.named.text),
        ("part-aussi.test", Subject("mx.part-aussi.test").text),
        ("revoque-ensuite.test", third.text),
    )
    with (
        Ours(tmp_path, space, also=also).running() as ours,
        ours.peer(space.identity(other)) as first,
        ours.peer(removed) as second,
        ours.peer(revoked) as last,
    ):
        sessions = ((first, domain), (second, "part-aussi.test"), (last, "revoque-ensuite.test"))
        for client, name in sessions:
            assert client.mail(f"essai@{name}")[0] == 250
            client.rset()
        ours.list_again(domain, "part-aussi.test")
        table.saw(
            "OP-34",
            "domain removed, session open",
            "inbound",
            answer(first.mail(f"essai@{domain}")),
        )
        said = answer(second.mail("essai@part-aussi.test"))
        table.saw("OP-34", "name removed, session open", "inbound", said)
        assert last.mail("essai@revoque-ensuite.test")[0] == 250
        last.rset()
        space.authority.revoke(revoked)
        ours.publish_crls()
        ours.tick(30 * HOUR)
        said = answer(last.mail("essai@revoque-ensuite.test"))
        table.saw("OP-08", "revoked during a session", "inbound", said)


@pytest.mark.requirement("OP-97", "OP-09", "OP-27")
def test_wt_28_wt_30_wt_31_mail_flows_without_fetches_until_the_crl_ends(
    space: Space, table: Table, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    identity = space.identity(VALID)
    with Ours(tmp_path, space).running() as ours:
        ours.site.pages.clear()  # list and CRL servers are down from now on
        for ahead, what, event, word in (
            (25, "fetch failing 25 h", "list not refreshed", "warning"),
            (48, "fetch failing 73 h", "list not refreshed: alarm", "alarm"),
        ):
            caplog.clear()
            ours.tick(ahead * HOUR)
            assert any(r.getMessage() == event for r in caplog.records)
            table.saw("WT-28", what, "inbound", f"{flows(ours)}; {word} in the log")
            table.saw("WT-28", what, "outbound", "mail flows")
        fresh = ("WT-31", "CRL server down, cache fresh")
        table.saw(*fresh, "inbound", received(ours, identity, SENDER))
        with ours.exposed(VALID.domain, (identity, Script())) as (peer,):
            table.saw(*fresh, "outbound", delivered(ours, peer, SENDER))
        ours.tick(5 * DAY)
        stale = ("WT-30", "CRL past nextUpdate, server down")
        table.saw(*stale, "inbound", received(ours, identity, SENDER))
        with ours.exposed(VALID.domain, (identity, Script())) as (peer,):
            table.saw(*stale, "outbound", undelivered(ours, SENDER, peer))


@pytest.mark.requirement("OP-97", "OP-100")
def test_wt_45_test_and_production_anchors_together_do_not_start(
    space: Space, table: Table, tmp_path: Path
) -> None:
    home = make_home(tmp_path / "home", space.authority, space.own)
    production = Authority(space.authority.now, make_key=shared_keys(70), prefix="")
    with (home.directory / "certs" / "ca.pem").open("ab") as file:
        file.write(production.anchors_pem)
    done = subprocess.run(
        [sys.executable, "-m", "mssmtp", "serve", "--config", str(home.config_file)],
        capture_output=True,
        text=True,
        timeout=30,
        env=os.environ | {"COLUMNS": "200"},
        check=False,
    )
    assert done.returncode != 0
    first = done.stderr.strip().splitlines()[0]
    said = first.replace(str(home.directory), "…")
    table.saw("WT-45", "test and production anchors together", "inbound", said)


def test_the_spoilt_lists_would_be_taken_unspoilt(reader: Ours) -> None:
    """The control of the rows above."""
    before = in_force(reader)
    reader.publish(newer(reader))
    reader.tick(2 * HOUR)
    assert in_force(reader) != before
