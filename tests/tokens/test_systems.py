"""Systems by certificate on their own doors, and persons on theirs (CL-15, CL-16)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest

from mssmtp.demo.authority import CLIENT_ONLY, EMAIL_ONLY, Authority, Identity, Make
from mssmtp.identity.app_password import verifiers
from mssmtp.identity.tokens import CannotBeAsked
from mssmtp.mail import BalType
from mssmtp.managesieve import SieveDoor
from mssmtp.pki import listed_name, name_text
from mssmtp.smtp_in import OperatorDoor, SubmissionDoor
from mssmtp.storage import Writing
from mssmtp.system_doors import SystemImapDoor, SystemSubmissionDoor
from mssmtp.systems import SystemRefused, opened, system_of
from mssmtp.trust import Snapshot
from tests.authority import shared_keys
from tests.handshakes import Clear, asks
from tests.tokens.house import CLOCK, DPI, ENTROPY, Door, House, b64, make_house, xoauth2
from tests.tokens.people import AT, LUC, ZOE


@pytest.fixture(scope="module")
def house(
    authority: Authority,
    healthy: dict[str, Identity],
    snapshot: Snapshot,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[House]:
    made = make_house(authority, healthy, snapshot, tmp_path_factory.mktemp("house"))
    yield made
    report = made.store.check()
    made.store.close()
    assert report.problems == ()


LETTER = (
    "From: <dpi@hopital-a.test>\r\nTo: <zoe@hopital-a.test>\r\nSubject: CR\r\n"
    "Date: Mon, 2 Mar 2026 10:11:12 +0100\r\nMessage-ID: <1@hopital-a.test>\r\n\r\nBonjour\r\n.\r\n"
)


@pytest.mark.requirement("CL-15", "SEED-23")
async def test_a_system_submits_and_reads_by_its_certificate_alone(house: House) -> None:
    number = house.bind(house.dpi, house.people.app)
    async with house.opened(house.app_submission(), house.app_imap()) as (smtp, imap):
        async with house.smtp(smtp, house.dpi) as wire:
            assert (await wire.say(f"AUTH EXTERNAL {b64('dpi' + AT)}")).startswith("235 2.7.0")
            assert (await wire.say(f"MAIL FROM:<dpi{AT}>")).startswith("250")
            assert (await wire.say(f"RCPT TO:<zoe{AT}>")).startswith("250")
            assert (await wire.say("DATA")).startswith("354")
            assert (await wire.say(LETTER.encode())).startswith("250 2.0.0")
            assert (await wire.say(f"MAIL FROM:<zoe{AT}>"))[:3] == "553"
        async with house.raw(imap, house.dpi) as raw:
            assert b"AUTH=EXTERNAL LOGINDISABLED" in await raw.line()
            await raw.ok(b"AUTHENTICATE EXTERNAL =")
            listed = await raw.ok(b'LIST "" *')
            assert any(b"INBOX" in line for line in listed)
            assert not any(b"radiologie" in line for line in listed)
            await raw.ok(b"SELECT Sent")
            await raw.ok(b"NAMESPACE")
    house.store.write(lambda _: None).result()  # after those nobody waits for
    told = house.store.read(lambda r: r.traces(bal=house.people.app.id)).result()
    assert any(t.request.startswith("messagerie, certificat ") for t in told)
    house.unbind(number)


@pytest.mark.requirement("CL-15")
@pytest.mark.attack("ATT-17")
async def test_att_17_a_certificate_opens_the_boxes_of_its_table_and_no_other(
    house: House,
) -> None:
    people = house.people
    other = people.box("laboratoire", BalType.APP)
    first, second = house.bind(house.dpi, people.app), house.bind(house.dpi, other)
    foreign = house.bind(house.other, other)
    async with house.opened(house.app_submission()) as (port,):
        for identity, authzid, code in (
            (house.dpi, "dpi" + AT, "235"),
            (house.dpi, "DPI" + AT.upper(), "235"),
            (house.dpi, "laboratoire" + AT, "235"),
            (house.dpi, "", "535"),  # several boxes, none named
            (house.dpi, "zoe" + AT, "535"),  # a person's
            (house.dpi, "radiologie" + AT, "535"),
            (house.dpi, "nobody" + AT, "535"),
            (house.dpi, "not an address", "535"),
            (house.other, "dpi" + AT, "535"),  # of another organisation
            (house.other, "", "235"),  # its only one
            (None, "dpi" + AT, "535"),  # no certificate
        ):
            async with house.smtp(port, identity) as wire:
                said = await wire.say(f"AUTH EXTERNAL {b64(authzid) or '='}")
                assert said.startswith(code), (authzid, said)
                if code == "535":
                    assert said.startswith("535 5.7.8")
                    assert (await wire.say(f"MAIL FROM:<dpi{AT}>"))[:3] == "530"
    for number in (first, second, foreign):
        house.unbind(number)


@pytest.mark.requirement("CL-15", "CL-16")
async def test_a_client_without_a_certificate_is_told_that_it_has_shown_none(
    house: House,
) -> None:
    """The table and the address are not what its engineer has to look at."""
    number = house.bind(house.dpi, house.people.app)
    async with house.opened(house.app_submission(), house.app_imap()) as (smtp, imap):
        for authzid in ("dpi" + AT, "nobody" + AT, ""):
            async with house.smtp(smtp) as wire:
                said = await wire.say(f"AUTH EXTERNAL {b64(authzid) or '='}")
                assert said.startswith("535 5.7.8 Aucun certificat n'a ete presente")
                assert "configurez" in said
        async with house.smtp(smtp, house.other) as wire:
            said = await wire.say(f"AUTH EXTERNAL {b64('dpi' + AT)}")
            assert said.startswith("535 5.7.8 Ce certificat n'ouvre pas")
        async with house.raw(imap) as raw:
            await raw.line()
            told = (await raw.command(b"AUTHENTICATE EXTERNAL ="))[-1]
            assert b"NO [AUTHENTICATIONFAILED] Aucun certificat presente ; configurez" in told
            await raw.ok(b"NOOP")
    house.unbind(number)


@pytest.mark.requirement("CL-15")
async def test_a_name_in_the_table_stands_for_every_certificate_of_it(house: House) -> None:
    key = listed_name(DPI.text)
    assert key is not None
    name = name_text(key)
    assert system_of(house.dpi.certificate).name == name
    number = house.store.write(lambda w: w.bind_box("name", name, house.people.app.id)).result()
    renewed = house.authority.issue(DPI, Make(usages=CLIENT_ONLY))
    for identity in (house.dpi, renewed):
        system = system_of(identity.certificate)
        found = house.store.read(lambda r, s=system: opened(r, s, "")).result()  # type: ignore[misc]
        assert found.box == house.people.app.id
    stranger = system_of(house.other.certificate)
    with pytest.raises(SystemRefused):
        house.store.read(lambda r: opened(r, stranger, "")).result()
    house.unbind(number)


@pytest.mark.attack("ATT-16")
async def test_att_16_a_bad_certificate_opens_nothing_though_it_is_in_the_table(
    house: House,
) -> None:
    stranger = Authority(CLOCK.now(), make_key=shared_keys(40))
    bad = {
        "another authority": stranger.issue(DPI, Make(usages=CLIENT_ONLY)),
        "expired": house.authority.issue(
            DPI,
            Make(house.authority.now.replace(year=2020), house.authority.now.replace(year=2021)),
        ),
        "not for clients": house.authority.issue(DPI, Make(usages=EMAIL_ONLY)),
    }
    numbers = [house.bind(each, house.people.app) for each in bad.values()]
    async with house.opened(house.app_submission()) as (port,):
        for what, identity in bad.items():
            async with house.smtp(port, identity) as wire:
                said = await wire.say(f"AUTH EXTERNAL {b64('dpi' + AT)}")
                assert said.startswith("535 5.7.8"), what
    for number in numbers:
        house.unbind(number)


@pytest.mark.attack("ATT-25")
async def test_att_25_what_is_taken_out_of_the_table_ends_open_sessions(house: House) -> None:
    number = house.bind(house.dpi, house.people.app)
    async with (
        house.opened(house.app_submission(), house.app_imap()) as (smtp, imap),
        house.smtp(smtp, house.dpi) as wire,
        house.raw(imap, house.dpi) as raw,
    ):
        assert (await wire.say("AUTH EXTERNAL =")).startswith("235")
        await raw.line()
        await raw.ok(b"AUTHENTICATE EXTERNAL =")
        await raw.ok(b"SELECT INBOX")
        house.unbind(number)
        assert (await wire.say(f"MAIL FROM:<dpi{AT}>"))[:3] == "530"
        await raw.send(b"x NOOP\r\n")
        assert b"BYE" in await raw.ends()


@pytest.mark.requirement("CL-16")
@pytest.mark.parametrize("version", ["1.2", "1.3"])
async def test_doors_of_persons_send_no_certificate_request_and_those_of_systems_do(
    house: House, version: str
) -> None:
    """Message by message of the handshake, as 587, 465, 143, 993 and 4190 answer it (SEC-01)."""
    services = house.services
    manages = SieveDoor(house.settings, house.store, services.authenticator)
    persons: list[tuple[Door, Clear]] = [
        (SubmissionDoor(services), "smtp"),
        (house.submission(), ""),
        (house.imap(implicit_tls=False), "imap"),
        (house.imap(), ""),
        (manages, "sieve"),
    ]
    others: list[tuple[Door, Clear]] = [
        (SystemSubmissionDoor(services), "smtp"),
        (house.app_submission(), ""),
        (SystemImapDoor(services), "imap"),
        (house.app_imap(), ""),
        (OperatorDoor(services), "smtp"),
    ]
    async with house.opened(*(door for door, _ in (*persons, *others))) as ports:
        asked = [
            await asyncio.to_thread(asks, port, clear, version)
            for port, (_, clear) in zip(ports, (*persons, *others), strict=True)
        ]
    assert asked == [False] * len(persons) + [True] * len(others)


@pytest.mark.requirement("CL-16")
async def test_on_doors_of_persons_a_certificate_at_hand_opens_nothing(house: House) -> None:
    number = house.bind(house.dpi, house.people.app)
    async with house.opened(house.submission(), house.imap()) as (smtp, imap):
        async with house.smtp(smtp, house.dpi) as wire:
            assert "EXTERNAL" not in await wire.say("EHLO lps.test")
            assert (await wire.say("AUTH EXTERNAL =")).startswith("504")
        async with house.raw(imap, house.dpi) as raw:
            assert b"EXTERNAL" not in await raw.line()
    house.unbind(number)


async def test_doors_of_systems_take_neither_password_nor_token(house: House) -> None:
    number = house.bind(house.dpi, house.people.app)
    async with house.opened(house.app_submission(), house.app_imap()) as (smtp, imap):
        async with house.smtp(smtp, house.dpi) as wire:
            assert "AUTH EXTERNAL" in await wire.say("EHLO dpi.test")
            for line in (f"AUTH XOAUTH2 {xoauth2('zoe' + AT, 't')}", "AUTH PLAIN", "AUTH LOGIN"):
                assert (await wire.say(line)).startswith("504")
        async with house.raw(imap, house.dpi) as raw:
            await raw.line()
            assert b"NO [CANNOT]" in (await raw.command(b"LOGIN zoe secret"))[-1]
    house.unbind(number)


@pytest.mark.requirement("OP-82", "CL-12", "CL-13", "CL-20")
async def test_a_person_submits_and_reads_by_token(house: House) -> None:
    """A refused token, at once a good one on the same connection, then the session works."""
    house.issuer.revoked.add("ended")
    box = "zoe" + AT
    oauthbearer = b64(f"n,a={box},\x01host=x\x01port=465\x01auth=Bearer good\x01\x01")
    async with house.opened(house.submission(), house.imap()) as (smtp, imap):
        async with house.smtp(smtp) as wire:
            assert "AUTH XOAUTH2 OAUTHBEARER " in await wire.say("EHLO lps.test")
            said = await wire.say(f"AUTH XOAUTH2 {xoauth2(box, 'ended')}")
            assert said == "334 " + b64('{"status":"401","schemes":"bearer","scope":"openid"}')
            assert (await wire.say("")).startswith("535 5.7.8")
            assert (await wire.say("AUTH XOAUTH2")) == "334 "
            assert (await wire.say(xoauth2(box, "good"))).startswith("235 2.7.0")
            assert (await wire.say(f"MAIL FROM:<{box}>")).startswith("250")
        async with house.smtp(smtp) as wire:
            assert (await wire.say(f"AUTH OAUTHBEARER {oauthbearer}")).startswith("235")
            assert (await wire.say(f"MAIL FROM:<luc{AT}>"))[:3] == "553"
        async with house.raw(imap) as raw:
            assert b"AUTH=XOAUTH2 AUTH=OAUTHBEARER" in await raw.line()
            await raw.ok(f"AUTHENTICATE XOAUTH2 {xoauth2(box, 'good')}".encode())
            await raw.ok(b"SELECT INBOX")


@pytest.mark.requirement("CL-12", "CL-20")
async def test_both_mechanisms_refuse_a_token_alike_and_take_the_next_on_the_same_connection(
    house: House,
) -> None:
    """RFC 7628 3.2.3: the error is told in a challenge, which the client answers first."""
    house.issuer.revoked.add("over")
    box = "zoe" + AT

    def bearer(token: str) -> str:
        return b64(f"n,a={box},\x01host=x\x01port=993\x01auth=Bearer {token}\x01\x01")

    said: tuple[tuple[str, Callable[[str], str], bytes], ...] = (
        ("XOAUTH2", lambda token: xoauth2(box, token), b""),
        ("OAUTHBEARER", bearer, b"AQ=="),
    )
    async with house.opened(house.imap(), house.submission()) as (imap, smtp):
        for mechanism, claim, acknowledged in said:
            async with house.raw(imap) as raw:
                await raw.line()
                for token, expected in (("over", b"NO [AUTHENTICATIONFAILED]"), ("fresh", b"OK ")):
                    await raw.send(f"x AUTHENTICATE {mechanism} {claim(token)}\r\n".encode())
                    line = await raw.line()
                    if line.startswith(b"+ "):
                        await raw.send(acknowledged + b"\r\n")
                        line = await raw.line()
                    assert line.startswith(b"x " + expected), (mechanism, line)
                await raw.ok(b"SELECT INBOX")
            async with house.smtp(smtp) as wire:
                assert (await wire.say(f"AUTH {mechanism} {claim('over')}")).startswith("334 ")
                assert (await wire.say(acknowledged.decode())).startswith("535 5.7.8")
                assert (await wire.say(f"AUTH {mechanism} {claim('fresh')}")).startswith("235")
                assert (await wire.say(f"MAIL FROM:<{box}>")).startswith("250")


@pytest.mark.attack("ATT-25")
async def test_att_25_a_session_by_token_ends_with_the_right_on_its_box(house: House) -> None:
    """A token that has ended ends nothing (OP-83); a membership that was taken away does."""
    people = house.people
    people.share(LUC)
    house.issuer.subject = LUC
    async with (
        house.opened(house.imap(), house.submission()) as (imap, smtp),
        house.raw(imap) as raw,
        house.smtp(smtp) as wire,
    ):
        await raw.line()
        box = "radiologie" + AT
        await raw.ok(f"AUTHENTICATE XOAUTH2 {xoauth2(box, 'of-luc')}".encode())
        await raw.ok(b"SELECT INBOX")
        assert (await wire.say(f"AUTH XOAUTH2 {xoauth2(box, 'of-luc')}")).startswith("235")
        house.issuer.revoked.add("of-luc")
        await raw.ok(b"NOOP")
        account = people.account(LUC)
        house.store.write(lambda w: w.remove_member(people.radiology.id, account)).result()  # type: ignore[arg-type]
        await raw.send(b"x NOOP\r\n")
        assert b"BYE" in await raw.ends()
        assert (await wire.say(f"MAIL FROM:<{box}>"))[:3] == "530"
    house.issuer.subject = ZOE


@pytest.mark.requirement("CL-21")
async def test_an_issuer_that_is_down_is_told_as_an_outage_on_both_doors(house: House) -> None:
    house.issuer.trouble = CannotBeAsked("down")
    box = "zoe" + AT
    async with house.opened(house.submission(), house.imap()) as (smtp, imap):
        async with house.smtp(smtp) as wire:
            said = await wire.say(f"AUTH XOAUTH2 {xoauth2(box, 'unasked')}")
            assert said.startswith("454 4.7.0")
        async with house.raw(imap) as raw:
            await raw.line()
            lines = await raw.command(f"AUTHENTICATE XOAUTH2 {xoauth2(box, 'unasked')}".encode())
            assert b"NO [UNAVAILABLE]" in lines[-1]
    house.issuer.trouble = None


@pytest.mark.requirement("CL-15")
async def test_an_app_box_is_opened_by_no_password(house: House) -> None:
    """Whatever password its account was given."""
    made = verifiers("corbeau-1234567-bis", ENTROPY)
    app = house.people.app

    def job(writing: Writing) -> None:
        account = writing.account(str(app.address))
        assert account is not None
        writing.add_app_password(account.id, "x", made.argon2, made.scram)

    house.store.write(job).result()
    said = b64(f"\0{app.address}\0corbeau-1234567-bis")
    async with house.opened(house.submission()) as (port,), house.smtp(port) as wire:
        assert (await wire.say(f"AUTH PLAIN {said}")).startswith("535 5.7.8")
