"""Which boxes a person opens, told by IMAP and by the administration's interface (CL-32)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mssmtp.demo.authority import Authority, Identity
from mssmtp.mail import Role
from mssmtp.storage import Writing
from mssmtp.trust import Snapshot
from tests.authority import A_DOMAIN
from tests.home import Home, make_home
from tests.tokens.house import House, make_house, xoauth2
from tests.tokens.people import AT, LUC, ZOE

ZOE_BOX, ORG = "zoe@hopital-a.test", "radiologie@hopital-a.test"


@pytest.fixture(scope="module")
def home(
    authority: Authority, healthy: dict[str, Identity], tmp_path_factory: pytest.TempPathFactory
) -> Home:
    home = make_home(tmp_path_factory.mktemp("boxes") / "home", authority, healthy[A_DOMAIN])
    typed = home.mssmtp("bal", "add", ZOE_BOX, "--type", "PER", "--rpps", "10000000009")
    assert typed.code == 0, typed.err
    assert home.mssmtp("bal", "add", ORG, "--type", "ORG").code == 0
    assert home.mssmtp("bal", "member", "add", ORG, ZOE_BOX).code == 0
    return home


@pytest.mark.requirement("CL-32")
def test_the_interface_lists_what_a_person_may_open(home: Home) -> None:
    own, shared = home.mssmtp("person", "boxes", ZOE_BOX, "--json").json
    assert (own["address"], own["type"], own["own"]) == (ZOE_BOX, "PER", True)
    assert (shared["address"], shared["own"]) == (ORG, False)
    assert shared["rights"] == Role.SECRETAIRE.rights
    assert ORG in home.mssmtp("person", "boxes", ZOE_BOX).out
    assert home.mssmtp("person", "boxes", "nobody@hopital-a.test").code == 2


def test_identities_bound_to_an_account_are_listed_and_ended(home: Home) -> None:
    def job(writing: Writing) -> int:
        account = writing.account(ZOE_BOX)
        assert account is not None
        return writing.bind_account("psc", "899900000110", account.id, "e-CPS")

    with home.store() as store:
        number = store.write(job).result()
    (row,) = home.mssmtp("person", "binding", "list", ZOE_BOX, "--json").json
    assert (row["number"], row["kind"], row["label"], row["ended"]) == (
        number,
        "psc",
        "e-CPS",
        None,
    )
    assert home.mssmtp("person", "binding", "remove", ZOE_BOX, "99").code == 2
    assert home.mssmtp("person", "binding", "remove", ZOE_BOX, str(number)).code == 0
    (row,) = home.mssmtp("person", "binding", "list", ZOE_BOX, "--json").json
    assert row["ended"]


@pytest.fixture(scope="module")
def house(
    authority: Authority,
    healthy: dict[str, Identity],
    snapshot: Snapshot,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[House]:
    made = make_house(authority, healthy, snapshot, tmp_path_factory.mktemp("house"))
    yield made
    made.store.close()


@pytest.mark.requirement("CL-32", "CL-13")
async def test_a_session_by_token_finds_the_shared_boxes_in_its_namespace(house: House) -> None:
    house.people.share(ZOE)
    async with house.opened(house.imap()) as (port,), house.raw(port) as raw:
        await raw.line()
        await raw.ok(f"AUTHENTICATE XOAUTH2 {xoauth2('zoe' + AT, 'good')}".encode())
        (line, _) = await raw.ok(b"NAMESPACE")
        assert line.startswith(b'* NAMESPACE (("" "/")) (("')
        listed = b"".join(await raw.ok(b'LIST "" *'))
        assert ("radiologie" + AT).encode() in listed
        assert b"luc@" not in listed


@pytest.mark.requirement("CL-23")
@pytest.mark.attack("ATT-39")
async def test_no_token_is_on_disk_after_sessions_by_token(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    """Accepted, refused and without right: a canary in each, then every file of the home."""
    caplog.set_level("DEBUG")
    canary = "canari-b35f0c1e7d"
    house.issuer.revoked.add(f"{canary}-bad")
    async with house.opened(house.imap(), house.submission()) as (imap, smtp):
        for box, token in (("zoe", "good"), ("zoe", "bad"), ("luc", "foreign")):
            async with house.raw(imap) as raw:
                await raw.line()
                said = xoauth2(box + AT, f"{canary}-{token}")
                await raw.send(f"a AUTHENTICATE XOAUTH2 {said}\r\n".encode())
                if b"+" in await raw.line():
                    await raw.send(b"\r\n")
                    await raw.line()
            async with house.smtp(smtp) as wire:
                answer = await wire.say(f"AUTH XOAUTH2 {xoauth2(box + AT, f'{canary}-{token}')}")
                assert answer[:3] in ("235", "334")
    assert LUC not in canary
    house.store.write(lambda w: None).result()
    files = [path for path in house.directory.rglob("*") if path.is_file()]
    assert len(files) > 3
    for path in files:
        assert canary.encode() not in path.read_bytes(), path
    assert canary not in caplog.text
    assert canary not in repr([vars(record) for record in caplog.records])
