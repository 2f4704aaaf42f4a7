"""Scripts and automatic replies, from the door to boxes and queue: one commit, and fail open."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from mssmtp import reactions, wording
from mssmtp.mail import Address, BalId, BalType, DelegateRight, Structure, StructureId
from mssmtp.message.decode import header_text
from mssmtp.message.headers import values
from mssmtp.sieve.auto_reply import AutoReply
from mssmtp.sieve.templates import XDM, xdm
from mssmtp.storage import Delegation, DelegationKind, Reading, Store, Writing
from mssmtp.storage.people_values import NewPerson
from mssmtp.storage.scripts import AUTO_REPLY
from tests.smtp_in.fakes import PAUL, PEER, URGENCES, ZOE
from tests.smtp_in.rig import greeted
from tests.smtp_in.test_with_store import OWN, Whole, inbox, log_in, send, store, whole

__all__ = ["store", "whole"]

DPI = Address.parse("dpi@hopital-a.test")
LETTER = (
    b"From: Anne <anne.tournesol@cabinet-b.test>\r\nTo: <zoe.tartempion@hopital-a.test>\r\n"
    b"Message-ID: <17@cabinet-b.test>\r\nReferences: <3@cabinet-b.test>\r\n"
    b"Subject: =?utf-8?Q?R=C3=A9sultat?= de biologie\r\n\r\nbonjour\r\n"
)
TO_ORG = LETTER.replace(b"zoe.tartempion", b"urgences")
ZIP = (
    b"From: <anne.tournesol@cabinet-b.test>\r\nTo: <urgences@hopital-a.test>\r\n"
    b"Disposition-Notification-To: <anne.tournesol@cabinet-b.test>\r\n"
    b"Subject: compte rendu\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
    b'Content-Type: application/zip; name="ihe_xdm.ZIP"\r\nContent-Transfer-Encoding: base64\r\n'
    b"\r\nUEsDBAoAAAAAAA==\r\n--b--\r\n"
)


@pytest.fixture
def zoe(store: Store) -> BalId:
    return bal_of(store, ZOE)


def bal_of(store: Store, address: Address) -> BalId:
    found = store.read(lambda r: r.bal(address)).result()
    assert found is not None
    return found.id


def use(store: Store, bal: BalId, script: str, name: str = "tri") -> None:
    def job(writing: Writing) -> None:
        writing.put_script(bal, name, script.encode())
        writing.activate_script(bal, name)

    store.write(job).result()


def reply_with(store: Store, bal: BalId, auto_reply: AutoReply) -> None:
    def job(writing: Writing) -> None:
        writing.prefer("bal", bal, AUTO_REPLY, auto_reply.to_bytes())
        writing.note_reactions(bal)

    store.write(job).result()


def contents(store: Store, bal: BalId) -> dict[str, list[frozenset[str]]]:
    """Flags of what is in each mailbox that holds something."""

    def query(reading: Reading) -> dict[str, list[frozenset[str]]]:
        return {
            box.name: [row.flags for row in reading.messages(box.id)]
            for box in reading.mailboxes(bal)
            if box.messages
        }

    return store.read(query).result()


def queued(store: Store) -> list[tuple[str, str | None, bytes]]:
    """Recipient, sender and octets of what waits to leave."""

    def query(reading: Reading) -> list[tuple[str, str | None, bytes]]:
        return [
            (
                str(entry.recipient.address),
                None if entry.sender is None else str(entry.sender),
                reading.letter_octets(entry.envelope),
            )
            for entry in reading.queue()
        ]

    return store.read(query).result()


async def arrive(whole: Whole, *letters: bytes, to: Address = ZOE, sender: Address = PEER) -> None:
    async with whole.operators() as (_, port), await greeted(whole, port, whole.b) as wire:
        for letter in letters:
            assert (await send(wire, [to], letter, sender)).startswith("250 ")


async def test_a_letter_is_filed_where_the_script_says_in_one_commit(
    whole: Whole, store: Store, zoe: BalId
) -> None:
    use(
        store,
        zoe,
        'require ["fileinto","copy","mailbox","imap4flags"];'
        'if header :contains "subject" "biologie" {'
        'fileinto :create "Suivi/Biologie"; fileinto :flags ["\\\\Seen","labo"] "Archive"; keep;'
        ' fileinto "nulle/part"; fileinto "a//b"; }',
    )
    await arrive(whole, LETTER, LETTER.replace(b"biologie", b"radiologie"))
    none = frozenset[str]()
    assert contents(store, zoe) == {
        "Suivi/Biologie": [none],
        "Archive": [{"\\Seen", "labo"}],
        # What has no place is in INBOX, as is what the script says nothing about.
        "INBOX": [none, none, none, none],
    }


@pytest.mark.parametrize("script", ["discard;", 'redirect "paul.durand@hopital-a.test";'])
async def test_what_a_rule_takes_away_lies_in_trash(
    whole: Whole, store: Store, zoe: BalId, script: str
) -> None:
    use(store, zoe, script.replace("paul.durand@hopital-a.test", str(PAUL)))
    await arrive(whole, LETTER)
    assert contents(store, zoe) == {"Trash": [frozenset()]}


async def test_a_redirected_letter_is_the_same_under_the_name_of_the_box(
    whole: Whole, store: Store, zoe: BalId
) -> None:
    use(store, zoe, f'require "copy"; redirect :copy "{PAUL}";')
    use(store, bal_of(store, PAUL), f'redirect "{ZOE}";')  # a loop, if anybody followed it
    await arrive(whole, LETTER)
    (kept,), (copy,) = inbox(store, ZOE), inbox(store, PAUL)
    assert kept.endswith(LETTER)
    assert copy.startswith(f"Return-Path: <{ZOE}>\r\nX-Sieve-Redirected-From: <{ZOE}>\r\n".encode())
    assert copy.partition(b"Received:")[2] == kept.partition(b"Received:")[2]


@pytest.mark.attack("ATT-28")
@pytest.mark.parametrize(
    "to", ["anne.tournesol@cabinet-b.test", "moi@ailleurs.example", "nul@hopital-a.test", str(ZOE)]
)
async def test_att_28_no_letter_leaves_by_a_redirection(
    whole: Whole, store: Store, zoe: BalId, to: str
) -> None:
    use(store, zoe, f'redirect "{to}";')
    await arrive(whole, LETTER, LETTER)
    assert queued(store) == []
    first, told, second = inbox(store, ZOE)
    assert first.endswith(LETTER)
    assert second.endswith(LETTER)
    assert b"Auto-Submitted: auto-generated" in told  # once a day
    assert b"redirection" in told


@pytest.mark.attack("ATT-28")
async def test_att_28_a_script_that_fails_costs_no_letter(
    whole: Whole, store: Store, zoe: BalId, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(store, zoe, "discard; " + 'redirect "a@hopital-a.test";' * 2 + "discard;" * 3_000)
    monkeypatch.setattr("mssmtp.sieve.budget.Budget.__init__.__defaults__", (100,))
    await arrive(whole, LETTER)
    kept, told = inbox(store, ZOE)
    assert kept.endswith(LETTER)
    assert b"MAILER-DAEMON@hopital-a.test" in told


async def test_a_bug_of_ours_costs_no_letter(
    whole: Whole,
    store: Store,
    zoe: BalId,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    use(store, zoe, "discard;")
    monkeypatch.setattr(reactions, "_outcome", broken)
    await arrive(whole, LETTER)
    assert len(inbox(store, ZOE)) == 1
    assert "a box did not react" in caplog.text


@pytest.mark.requirement("CL-72")
async def test_letters_of_software_go_to_its_box_and_ask_a_receipt_for_the_organisation(
    whole: Whole, store: Store
) -> None:
    store.write(lambda w: w.create_bal(DPI, BalType.APP)).result()
    use(store, bal_of(store, URGENCES), xdm(DPI), XDM)
    by_subject = TO_ORG.replace(b"=?utf-8?Q?R=C3=A9sultat?=", b"XDM/1.0/DDM+CR")
    await arrive(whole, TO_ORG, by_subject, ZIP, to=URGENCES)
    assert len(inbox(store, URGENCES)) == 3
    copies = inbox(store, DPI)
    assert len(copies) == 2
    for copy in copies:
        # An automatic receipt is sent only where both are the same (messages.md 1).
        assert values(copy, "disposition-notification-to") == (f"<{URGENCES}>".encode(),)
        assert values(copy, "return-path") == (f"<{URGENCES}>".encode(),)
    assert b"UEsDBAoAAAAAAA==" in copies[1]
    assert header_text(copies[0], "subject").startswith("XDM/1.0/DDM+CR")


# ---------------------------------------------------------------- automatic replies


@pytest.mark.requirement("SEED-44", "DEF-13")
async def test_an_automatic_reply_is_sent_once_and_bears_all_marks(
    whole: Whole, store: Store, zoe: BalId
) -> None:
    reply_with(store, zoe, AutoReply("Absente jusqu'à lundi.\n.\nUrgences : service.", "Absence"))
    await arrive(whole, LETTER, LETTER)
    assert len(inbox(store, ZOE)) == 2
    ((to, sender, octets),) = queued(store)
    assert (to, sender) == (str(PEER), None)
    header = octets.partition(b"\r\n\r\n")[0]
    assert values(header, "auto-submitted") == (b"auto-replied",)
    assert values(header, "from") == (f"<{ZOE}>".encode(),)
    assert values(header, "to") == (f"<{PEER}>".encode(),)
    assert values(header, "in-reply-to") == (b"<17@cabinet-b.test>",)
    assert values(header, "references") == (b"<3@cabinet-b.test> <17@cabinet-b.test>",)
    assert values(header, "subject") == (b"Absence",)
    assert b"=C3=A0 lundi." in octets


@pytest.mark.requirement("DEF-13")
async def test_the_same_person_is_answered_again_when_four_days_have_passed(
    whole: Whole, store: Store, zoe: BalId
) -> None:
    reply_with(store, zoe, AutoReply("Absente."))
    await arrive(whole, LETTER)
    whom, now = f"auto-reply\0{PEER.key}", datetime.now(UTC)

    def answered(at: datetime) -> bool:
        return store.read(lambda r: r.was_answered(zoe, whom, at)).result()

    assert answered(now + timedelta(days=3, hours=23))
    assert not answered(now + timedelta(days=4, minutes=1))
    store.write(lambda w: w.remember_answered(zoe, whom, now)).result()  # four days are over
    await arrive(whole, LETTER)
    assert len(queued(store)) == 2


@pytest.mark.attack("ATT-44")
async def test_att_44_letters_that_come_at_once_get_one_reply(
    whole: Whole, store: Store, zoe: BalId
) -> None:
    reply_with(store, zoe, AutoReply("Absente."))
    async with whole.operators() as (_, port):
        wires = [await greeted(whole, port, whole.b) for _ in range(4)]
        sent = await asyncio.gather(*(send(wire, [ZOE], LETTER) for wire in wires))
        assert all(reply.startswith("250 ") for reply in sent)
        for wire in wires:
            wire.writer.transport.abort()
    assert len(inbox(store, ZOE)) == 4
    assert len(queued(store)) == 1


@pytest.mark.attack("ATT-44")
@pytest.mark.requirement("DEF-13")
async def test_att_44_two_absent_people_exchange_one_reply(
    whole: Whole, store: Store, zoe: BalId
) -> None:
    paul = bal_of(store, PAUL)
    for bal in (zoe, paul):
        reply_with(store, bal, AutoReply("Absent."))
    letter = OWN.replace(b"Subject:", f"To: <{PAUL}>\r\nSubject:".encode()) + b"bonjour\r\n"
    async with whole.submission() as (_, port), await log_in(whole, port) as wire:
        assert (await send(wire, [PAUL], letter, ZOE)).startswith("250 ")
    assert len(inbox(store, PAUL)) == 1
    (reply,) = inbox(store, ZOE)
    assert b"Auto-Submitted: auto-replied" in reply
    assert queued(store) == []


@pytest.mark.requirement("DEF-13")
async def test_a_box_of_software_gets_no_reply_and_gives_none(
    whole: Whole, store: Store, zoe: BalId
) -> None:
    store.write(lambda w: w.create_bal(DPI, BalType.APP)).result()
    dpi = bal_of(store, DPI)
    for bal in (zoe, dpi):
        reply_with(store, bal, AutoReply("Absent."))
    await arrive(whole, LETTER.replace(b"zoe.tartempion", b"dpi"), to=DPI)
    assert len(inbox(store, DPI)) == 1
    assert queued(store) == []


@pytest.mark.requirement("DEF-13")
async def test_who_may_not_be_written_to_is_not_answered(
    whole: Whole, store: Store, zoe: BalId, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reply is asked about as a letter of the box: a domain that left the list gets none."""
    reply_with(store, zoe, AutoReply("Absente."))
    lists = type(whole.trust.snapshot).lists
    async with whole.operators() as (_, port), await greeted(whole, port, whole.b) as wire:
        assert (await wire.say(f"MAIL FROM:<{PEER}>")).startswith("250 ")
        assert (await wire.say(f"RCPT TO:<{ZOE}>")).startswith("250 ")
        assert (await wire.say("DATA")).startswith("354 ")

        def left(snapshot, domain):  # type: ignore[no-untyped-def]
            return domain != PEER.domain and lists(snapshot, domain)

        judged = reactions.Reactions._judged

        async def later(*args, **named):  # type: ignore[no-untyped-def]
            monkeypatch.setattr(type(whole.trust.snapshot), "lists", left)
            return await judged(*args, **named)

        monkeypatch.setattr(reactions.Reactions, "_judged", later)
        wire.send(LETTER + b".\r\n")
        assert (await wire.reply()).startswith("250 ")
    assert len(inbox(store, ZOE)) == 1
    assert queued(store) == []


@pytest.mark.requirement("SEED-44")
async def test_an_absence_has_a_beginning_and_an_end(
    whole: Whole, store: Store, zoe: BalId
) -> None:
    now = datetime.now(UTC)
    for since, until in ((now + timedelta(days=1), None), (None, now - timedelta(days=1))):
        reply_with(store, zoe, AutoReply("Absente.", since=since, until=until))
        await arrive(whole, LETTER)
    assert queued(store) == []


@pytest.mark.requirement("DEF-23", "DEF-13")
@pytest.mark.parametrize("own", [None, AutoReply("Absente.")], ids=["nothing", "an own reply"])
async def test_senders_are_told_who_looks_after_the_box_as_long_as_it_is_handed_over(
    whole: Whole, store: Store, zoe: BalId, own: AutoReply | None
) -> None:
    if own is not None:
        reply_with(store, zoe, own)
        await arrive(whole, LETTER)  # told once already that she is away, and now of the handover
    ends = datetime.now(UTC) + timedelta(days=3)

    def given(writing: Writing) -> Delegation:
        box = writing.bal(PAUL)
        assert box is not None
        paul = writing.create_account("paul", box.id)
        right, kind = DelegateRight.REPLY, DelegationKind.HANDOVER
        made = writing.hand_over(Delegation(zoe, paul.id, right, writing.now(), ends, kind))
        writing.note_reactions(zoe)
        return made

    def ended(writing: Writing) -> None:
        writing.end_delegation(handover)
        writing.note_reactions(zoe)

    handover = store.write(given).result()
    await arrive(whole, LETTER, LETTER)
    *_, (to, sender, octets) = queued(store)
    assert (to, sender, len(queued(store))) == (str(PEER), None, 1 if own is None else 2)
    assert f"<{PAUL}>".encode() in octets
    assert f"{ends:%d/%m/%Y}".encode() in octets
    assert (b"Absente." in octets) is (own is not None)
    store.write(ended).result()
    await arrive(whole, LETTER.replace(b"anne.tournesol", b"marc.capucine"))
    assert all(str(PAUL).encode() not in each[2] for each in queued(store)[1 + bool(own) :])
    bal = store.read(lambda r: r.bal_by_id(zoe)).result()
    assert bal is not None
    assert bal.reacts is (own is not None)


async def test_a_script_answers_in_its_own_words(whole: Whole, store: Store, zoe: BalId) -> None:
    reply_with(store, zoe, AutoReply("Absente."))
    use(store, zoe, 'require "vacation"; vacation :days 7 :subject "Congés" "En congés.";')
    await arrive(whole, LETTER)
    ((_, _, octets),) = queued(store)
    assert header_text(octets, "subject") == "Congés"
    assert b"En cong=C3=A9s." in octets


@pytest.mark.requirement("SEED-45")
async def test_a_signature_is_offered_and_never_added_to_a_letter(
    whole: Whole, store: Store, zoe: BalId
) -> None:
    """A user's own, and what a structure gives its people: text beside the letter, not in it."""
    lea = Address.parse("lea@hopital-a.test")

    def job(writing: Writing) -> None:
        clinic = writing.create_structure(Structure(StructureId(0), "Clinique", "130000011"))
        writing.set_bal_structure(zoe, clinic.id)
        hers = writing.create_bal(lea, BalType.MED)
        writing.set_bal_structure(hers.id, clinic.id)
        usual = Address.parse("lea@cabinet.example")
        person = writing.create_person(NewPerson(usual, "{nom}", "Léa", structure=clinic.id))
        writing.give_box(person.account, hers.id)
        for kind in wording.KINDS:
            wording.set_template(writing, clinic.id, kind, f"{kind} {{structure}}")

    store.write(job).result()
    bal, other = store.read(lambda r: (r.bal_by_id(zoe), r.bal(lea))).result()
    assert bal is not None
    assert other is not None
    offered = store.read(lambda r: wording.offered(r, bal)).result()
    assert offered == wording.Offered("signature Clinique", "footer Clinique", is_own=False)
    store.write(lambda w: wording.set_signature(w, bal, "Dr Zoé")).result()
    assert store.read(lambda r: wording.offered(r, bal)).result().signature == "Dr Zoé"
    made = "{prénom} {nom} — {structure}, {adresse}"
    clinic = bal.structure
    assert clinic is not None
    store.write(lambda w: wording.set_template(w, clinic, "signature", made)).result()
    # A name that looks like a placeholder is only a name.
    filled = f"Léa {{nom}} — Clinique, {lea}"
    assert store.read(lambda r: wording.offered(r, other)).result().signature == filled
    async with whole.submission() as (_, port), await log_in(whole, port) as wire:
        assert (await send(wire, [PAUL], OWN + b"bonjour\r\n", ZOE)).startswith("250 ")
    (octets,) = inbox(store, PAUL)
    assert octets.endswith(OWN + b"bonjour\r\n")
