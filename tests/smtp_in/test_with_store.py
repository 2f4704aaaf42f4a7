"""The doors over the real store and the real logins: durable, sealed, streamed (D1, D2, D11)."""

from __future__ import annotations

import asyncio
import base64
import random
import resource
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from mssmtp.config import ImapSettings, StoreSettings
from mssmtp.config_policy import RateSettings
from mssmtp.config_tokens import AuthSettings
from mssmtp.identity import Authenticator, app_password
from mssmtp.mail import Address, BalType, EnvelopeId, Role
from mssmtp.message.tree import ScanLimits
from mssmtp.outside import SystemClock, SystemEntropy
from mssmtp.policy.facts import facts_from_bytes
from mssmtp.rates import Rates
from mssmtp.smtp_in import Services
from mssmtp.storage import PATIENT, Reading, Store, Writing
from tests.smtp_in.fakes import PASSWORD, PAUL, PEER, URGENCES, USUAL, ZOE, FakeLogins, FakeStore
from tests.smtp_in.rig import Rig, Wire, greeted

HEADER = b"From: <anne.tournesol@cabinet-b.test>\r\nSubject: canari-sujet\r\n\r\n"
OWN = b"From: <zoe.tartempion@hopital-a.test>\r\nMessage-ID: <1@x.test>\r\nSubject: x\r\n\r\n"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setattr(app_password, "COST", app_password.Cost(1, 8))
    home = tmp_path / "home"
    settings = StoreSettings(home=home, master_key_file=home / "master.key")
    Store.create(settings, SystemClock(), SystemEntropy())
    store = Store(settings, SystemClock(), SystemEntropy(), limits=ScanLimits(300_000))
    made = app_password.verifiers(PASSWORD, SystemEntropy())

    def job(writing: Writing) -> None:
        writing.create_bal(ZOE, BalType.PER, national_id="810000000012", login=str(ZOE))
        writing.create_bal(PAUL, BalType.PER, national_id="810000000020", usual_address=USUAL)
        writing.create_bal(URGENCES, BalType.ORG)
        account = writing.account(str(ZOE))
        assert account is not None
        writing.add_app_password(account.id, "poste 1", made.argon2, made.scram)

    store.write(job).result()
    yield store
    report = store.check(deep=True)
    assert report.problems == ()
    store.close()


@dataclass
class Whole(Rig):
    """The rig with nothing faked."""

    real: Store | None = None

    @property
    def services(self) -> Services:
        assert self.real is not None
        faked = super().services
        logins = Authenticator(self.real, faked.clock, SystemEntropy())
        return Services(
            self.settings,
            self.real,
            self.trust,
            faked.engine,
            logins,
            faked.clock,
            faked.entropy,
            faked.keys,
            gateways=faked.gateways,
            rates=faked.rates,
        )


@pytest.fixture
def whole(rig: Rig, store: Store) -> Whole:
    return Whole(
        rig.settings,
        rig.authority,
        rig.healthy,
        rig.trust,
        rig.directory,
        FakeStore(),
        cast(FakeLogins, None),
        store,
    )


def inbox(store: Store, address: Address) -> list[bytes]:
    """Every message in the INBOX of one box."""

    def query(reading: Reading) -> list[bytes]:
        bal = reading.bal(address)
        assert bal is not None
        mailbox = reading.mailbox(bal.id, "INBOX")
        assert mailbox is not None
        return [reading.body(mailbox.id, row.uid) for row in reading.messages(mailbox.id)]

    return store.read(query).result()


async def send(
    wire: Wire, recipients: list[Address], message: bytes, sender: Address = PEER
) -> str:
    assert (await wire.say(f"MAIL FROM:<{sender}>")).startswith("250 ")
    for recipient in recipients:
        reply = await wire.say(f"RCPT TO:<{recipient}>")
        assert reply.startswith("250 "), reply
    assert (await wire.say("DATA")).startswith("354 ")
    at = 0
    while at < len(message):
        wire.send(message[at : at + 262_144])
        await wire.writer.drain()
        at += 262_144
    wire.send(b".\r\n")
    return await wire.reply()


async def log_in(whole: Whole, port: int) -> Wire:
    wire = await greeted(whole, port)
    token = base64.b64encode(f"\0{ZOE}\0{PASSWORD}".encode()).decode()
    assert (await wire.say(f"AUTH PLAIN {token}")).startswith("235 ")
    return wire


@pytest.mark.requirement("OP-63", "OP-74", "SEED-66")
async def test_an_inbound_letter_is_in_the_box_with_its_trace(whole: Whole, store: Store) -> None:
    message = HEADER + b"\xe9 undeclared, and a long line " + b"x" * 3_000 + b"\r\n"
    async with whole.operators() as (_, port), await greeted(whole, port, whole.b) as wire:
        reply = await send(wire, [ZOE, PAUL], message)
    assert reply.startswith("250 2.0.0")
    for box in (ZOE, PAUL):
        (octets,) = inbox(store, box)
        assert octets.endswith(message)
        assert octets.startswith(b"Return-Path: <anne.tournesol@cabinet-b.test>\r\n")
    envelope = EnvelopeId(reply.split()[-1])
    (trace,) = store.read(lambda r: r.transfers(envelope)).result()
    assert trace.transfer.peer_dn is not None
    assert trace.transfer.tls_version == "TLSv1.3"
    assert trace.transfer.reply.startswith("250 2.0.0")
    facts = store.read(lambda r: r.facts(envelope)).result()
    assert facts is not None
    assert facts_from_bytes(facts).sender == PEER


@pytest.mark.requirement("OP-13", "SEED-01")
async def test_a_submitted_letter_is_delivered_here_and_queued_elsewhere(
    whole: Whole, store: Store
) -> None:
    message = OWN + b"Bonjour\r\n"
    async with whole.submission() as (_, port), await log_in(whole, port) as wire:
        assert (await send(wire, [USUAL, PEER], message, ZOE)).startswith("250 2.0.0")
    (octets,) = inbox(store, PAUL)
    assert octets.endswith(message)
    (entry,) = store.read(lambda r: r.queue()).result()
    assert entry.recipient.address == PEER
    wire_octets = store.read(lambda r: r.letter_octets(entry.envelope, entry.skip, None)).result()
    assert wire_octets.startswith(b"Received: ")
    assert wire_octets.endswith(message)


@pytest.mark.requirement("CL-35")
async def test_a_full_box_is_told_for_the_time_being_and_takes_mail_again_with_room(
    whole: Whole, store: Store
) -> None:
    bal = store.read(lambda r: r.bal(ZOE)).result()
    assert bal is not None
    message = HEADER + b"x\r\n" * 100
    async with whole.operators() as (_, port):
        for octets, reply in ((100, "452 4.2.2"), (0, "250 "), (None, "250 ")):
            store.write(lambda w, o=octets: w.set_quota(bal.id, o, None)).result()  # type: ignore[misc]
            async with await greeted(whole, port, whole.b) as wire:
                declared = f"MAIL FROM:<{PEER}> SIZE={len(message)}"
                assert (await wire.say(declared)).startswith("250 ")
                assert (await wire.say(f"RCPT TO:<{ZOE}>")).startswith(reply)
                assert (await wire.say(f"RCPT TO:<{PAUL}>")).startswith("250 ")


@pytest.mark.requirement("DEF-05", "SEED-15")
@pytest.mark.parametrize("tree", ["inbox", "separate"])
async def test_mail_to_a_patient_is_marked_and_arrives_where_the_setting_says(
    whole: Whole, store: Store, tree: str
) -> None:
    whole.settings = whole.settings.model_copy(
        update={"imap": ImapSettings.model_validate({"patient_tree": tree})}
    )
    plain = HEADER + b"x\r\n"
    copied = HEADER.replace(b"Subject", b"To: <899900000110@patient.test>\r\nSubject") + b"x\r\n"
    async with whole.operators() as (_, port), await greeted(whole, port, whole.b) as wire:
        for message in (plain, copied):
            assert (await send(wire, [ZOE], message)).startswith("250 ")

    def query(reading: Reading) -> list[tuple[str, list[set[str]]]]:
        bal = reading.bal(ZOE)
        assert bal is not None
        found = [box for box in reading.mailboxes(bal.id) if box.messages]
        return [(b.name, [set(row.flags) for row in reading.messages(b.id)]) for b in found]

    together = [("INBOX", [set(), {PATIENT}])]
    apart = [("INBOX", [set()]), ("Patients", [{PATIENT}])]
    assert store.read(query).result() == (apart if tree == "separate" else together)


@pytest.mark.requirement("OP-86", "SEED-16")
async def test_a_reader_of_an_organisations_box_does_not_write_in_its_name(
    whole: Whole, store: Store
) -> None:
    def join(writing: Writing, role: Role) -> None:
        org, account = writing.bal(URGENCES), writing.account(str(ZOE))
        assert org is not None
        assert account is not None
        writing.add_member(org.id, account.id, role)

    async with whole.submission() as (_, port), await log_in(whole, port) as wire:
        for role, reply in ((Role.LECTEUR, "553 5.7.1"), (Role.SECRETAIRE, "250 ")):
            store.write(lambda w, role=role: join(w, role)).result()  # type: ignore[misc]
            assert (await wire.say(f"MAIL FROM:<{URGENCES}>")).startswith(reply)


@pytest.mark.attack
async def test_wrong_passwords_are_refused_by_the_real_logins(whole: Whole, store: Store) -> None:
    wrong = base64.b64encode(f"\0{ZOE}\0wrong".encode()).decode()
    async with whole.submission() as (_, port), await greeted(whole, port) as wire:
        for _ in range(3):
            assert (await wire.say(f"AUTH PLAIN {wrong}")).startswith("535 5.7.8")
        async with await log_in(whole, port) as other:
            assert (await other.say("NOOP")).startswith("250 ")


async def test_a_refused_letter_leaves_an_event_and_no_copy(whole: Whole, store: Store) -> None:
    forged = HEADER.replace(b"cabinet-b.test", b"hopital-a.test") + b"x\r\n" * 100_000
    async with whole.operators() as (_, port), await greeted(whole, port, whole.b) as wire:
        assert (await send(wire, [ZOE], forged)).startswith("550 5.7.1")
    assert inbox(store, ZOE) == []
    files = [path for path in (whole.directory / "home").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 2_000_000


@pytest.mark.requirement("SEED-58", "OP-66")
async def test_forty_mebibytes_pass_in_bounded_memory(whole: Whole, store: Store) -> None:
    line = b"x" * 76 + b"\r\n"
    message = HEADER + line * (40 * 1_048_576 // len(line))
    async with whole.operators() as (_, port):
        async with await greeted(whole, port, whole.b) as wire:
            await send(wire, [ZOE], HEADER + line * 40_000)  # warm
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            assert (await send(wire, [ZOE], message)).startswith("250 2.0.0")
            single = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        wires = [await greeted(whole, port, whole.b) for _ in range(8)]
        half = message[:20_000_000] + b"\r\n"
        replies = await asyncio.gather(*(send(wire, [PAUL], half) for wire in wires))
        assert all(reply.startswith("250 2.0.0") for reply in replies)
        several = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for wire in wires:
            await wire.close()
    # Kilobytes; the client of this test holds one slice per connection in the same process.
    assert single - before < 40_000
    assert several - single < 20_000 + 8 * 5_000


@pytest.mark.timeout(60)
async def test_twenty_letters_of_60_mb_cut_anywhere_at_once_leave_nothing(
    whole: Whole, store: Store
) -> None:
    """Connections that break at block borders and at random: no letter, no file (D2)."""
    chance = random.Random(60)  # noqa: S311
    cuts = [0, 1, 65_535, 65_536, 65_537, 131_071, 131_072, 131_073]
    cuts += [chance.randrange(3_000_000) for _ in range(20 - len(cuts))]
    line = b"x" * 998 + b"\r\n"

    async def broken(port: int, cut: int) -> None:
        wire = await greeted(whole, port, whole.b)
        await wire.say(f"MAIL FROM:<{PEER}> SIZE=60000000")
        await wire.say(f"RCPT TO:<{ZOE}>")
        await wire.say("DATA")
        wire.send((HEADER + line * (cut // len(line) + 1))[:cut])
        await wire.writer.drain()
        wire.writer.transport.abort()

    async with whole.operators() as (door, port):
        async with asyncio.TaskGroup() as group:
            for cut in cuts:
                group.create_task(broken(port, cut))
        await asyncio.gather(*(link.task for link in list(door._links) if link.task is not None))
        async with await greeted(whole, port, whole.b) as wire:
            assert (await send(wire, [ZOE], HEADER + b"entier\r\n")).startswith("250 2.0.0")
    assert [body for body in inbox(store, ZOE) if b"entier" not in body] == []
    left = [*store._home.glob("incoming/*/*"), *store._home.glob("blobs/*/*")]
    assert [path for path in left if path.name != "lock"] == []


@pytest.mark.requirement("OP-72")
async def test_an_urgency_that_was_not_granted_is_in_the_trace(whole: Whole, store: Store) -> None:
    whole.rates = Rates(RateSettings(urgent_per_hour=0))
    async with whole.submission() as (_, port), await log_in(whole, port) as wire:
        assert (await wire.say(f"MAIL FROM:<{ZOE}> MT-PRIORITY=4")).startswith("250 2.3.6 0 ")
        assert (await wire.say(f"RCPT TO:<{PEER}>")).startswith("250 ")
        assert (await wire.say("DATA")).startswith("354 ")
        wire.send(OWN + b"x\r\n.\r\n")
        assert (await wire.reply()).startswith("250 2.0.0")
    (entry,) = store.read(lambda r: r.queue()).result()
    assert entry.priority == 0
    traces = store.read(lambda r: r.traces()).result()
    (sent,) = [each for each in traces if each.kind == "send"]
    assert sent.request.endswith("1 recipients, priority 4 not granted")


async def test_a_relay_of_the_cloud_is_refused_before_its_password(whole: Whole) -> None:
    """F2, CLD-01: one answer for a right and a wrong password."""
    auth = AuthSettings.model_validate({"cloud_ranges": ["127.0.0.0/8", "::1"]})
    whole.settings = whole.settings.model_copy(update={"auth": auth})
    async with whole.submission() as (_, port), await greeted(whole, port) as wire:
        said = set()
        for password in (PASSWORD, "faux"):
            response = base64.b64encode(f"\0{ZOE}\0{password}".encode()).decode()
            said.add(await wire.say(f"AUTH PLAIN {response}"))
    assert len(said) == 1
    assert said.pop().startswith("535 5.7.1 Ce logiciel passe par les serveurs de son editeur")
