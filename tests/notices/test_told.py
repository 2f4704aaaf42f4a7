"""From a letter in a box to a mail at a usual address, over a relay that is not of our making."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import pytest

from mssmtp.config_notices import NoticeSettings
from mssmtp.mail import AccountId, Address, BalState, BalType, Domain, MailboxId, Role
from mssmtp.notices import Desk, Kind, choices
from mssmtp.notices.choices import Pace
from mssmtp.notices.courier import RELAY_AGAIN, Courier, retry_after
from mssmtp.notices.relay import Relay
from mssmtp.notices.telling import Telling
from mssmtp.storage import Receipt, Store
from tests.free_ports import free_ports
from tests.notices.people import add_box, add_person, deliver, inbox, join, usual
from tests.notices.relays import Said, listening
from tests.storage.support import SteppingClock, read_by

SERVED = (Domain("hopital-a.test"),)
PATIENTS = frozenset({Domain("patient.mssante.fr")})
HOST = Domain("mx.hopital-a.test")
OLIVE = Address.parse("olive@cabinet-b.test")
PATIENT = Address.parse("199019999999979@patient.mssante.fr")

Make = Callable[..., Courier]


@pytest.fixture
async def relay() -> AsyncIterator[Said]:
    async with listening(Said()) as said:
        yield said


@pytest.fixture
def make(store: Store, clock: SteppingClock, relay: Said) -> Make:
    """A courier; nothing of the tests before waits for it."""
    for each in store.read(lambda r: r.waiting_notices()).result():
        store.write(lambda w, id=each.id: w.notice_done(id, clock.now(), "sent")).result()  # type: ignore[misc]
    store.write(lambda w: w.take_events(clock.now(), 10_000)).result()
    clock.advance(timedelta(hours=2))

    def made(**changed: object) -> Courier:
        named = {"relay_host": "127.0.0.1", "relay_port": relay.port, "relay_tls": "none"}
        settings = NoticeSettings.model_validate(named | changed)
        desk = Desk(settings, SERVED, clock)
        telling = Telling(desk, PATIENTS)
        return Courier(desk, Relay(settings, HOST), telling, store, clock, "test")

    return made


async def carried(courier: Courier) -> None:
    while await courier.turn():
        pass


# ---------------------------------------------------------------- arrivals


@pytest.mark.requirement("SEED-61")
async def test_the_recipient_is_told_who_wrote_and_what_about_and_never_what(
    store: Store, make: Make, relay: Said
) -> None:
    box = add_box(store, "arrivee")
    envelope = deliver(store, [box], "Compte rendu opératoire")
    await carried(make(portal_url="https://portail.example"))
    ((to, octets),) = relay.letters
    (mail,) = relay.mails()
    assert to == str(usual("arrivee"))
    assert mail["subject"] == "[MEDIMAIL : Reception] Compte rendu opératoire"
    text = mail.get_content()
    assert "Expéditeur : marius@cabinet-b.test" in text
    assert "Titre : Compte rendu opératoire" in text
    assert f"https://portail.example/enveloppes/{envelope}" in text
    assert b"corps-du-message" not in octets
    assert [part.get_content_type() for part in mail.walk()] == ["text/plain"]


@pytest.mark.requirement("DEF-15")
@pytest.mark.parametrize(
    ("subject", "sender", "masking", "shown"),
    [
        ("XDM/1.0/DDM+TARTEMPION", "marius@cabinet-b.test", "auto", "Document de santé"),
        ("Re: XDM/1.0/DDM+TARTEMPION", "marius@cabinet-b.test", "auto", "Document de santé"),
        ("Ma douleur", "199019999999979@patient.mssante.fr", "auto", "Message patient"),
        ("Ma douleur", "199019999999979@patient.mssante.fr", "full", "Ma douleur"),
        ("Planning", "marius@cabinet-b.test", "auto", "Planning"),
        ("Planning", "marius@cabinet-b.test", "always", "Message sécurisé"),
    ],
)
async def test_a_title_that_names_a_patient_leaves_masked(
    store: Store, make: Make, relay: Said, subject: str, sender: str, masking: str, shown: str
) -> None:
    box = store.read(lambda r: r.bal_by_usual(usual("masque"))).result() or add_box(store, "masque")
    deliver(store, [box], subject, sender=sender)
    await carried(make(mask_subject=masking))
    (mail,) = relay.mails()
    assert mail["subject"] == f"[MEDIMAIL : Reception] {shown}"
    assert b"199019999999979" not in relay.letters[0][1]
    assert masking == "full" or "TARTEMPION" not in mail.get_content()


NAMED = "XDM/1.0/DDM+TARTEMPION Zoé 1970"
WRITTEN = (
    NAMED,
    "=?utf-8?q?XDM/1.0/DDM+TARTEMPION_Zo=C3=A9_1970?=",
    "=?utf-8?b?WERNLzEuMC9ERE0rVEFSVEVNUElPTiBab8OpIDE5NzA=?=",
    "TR : XDM/1.0/\r\n DDM+TARTEMPION Zoé 1970",
)
"""The same title in the ways a header may hold it (RFC 2047, RFC 5322 2.2.3)."""


@pytest.mark.requirement("DEF-15")
@pytest.mark.parametrize("subject", WRITTEN)
@pytest.mark.parametrize("pace", [Pace.AT_ONCE, Pace.HOURLY])
async def test_a_title_is_masked_however_it_is_written_and_told(
    store: Store, make: Make, relay: Said, clock: SteppingClock, subject: str, pace: Pace
) -> None:
    """Alone, and among others in a digest."""
    box = add_box(store, f"titres-{pace}-{WRITTEN.index(subject)}")
    store.write(lambda w: choices.choose_for_box(w, box, {"arrival": pace})).result()
    courier = make()
    deliver(store, [box], subject)
    deliver(store, [box], "Planning", to=[PATIENT])
    await carried(courier)
    clock.advance(timedelta(hours=1))
    await carried(courier)
    told = "\n".join(f"{mail['subject']}\n{mail.get_content()}" for mail in relay.mails())
    assert ("Document de santé" in told, "Message patient" in told) == (True, True)
    for word in ("TARTEMPION", "Zoé", "Planning", "199019999999979"):
        assert word not in told


@pytest.mark.requirement("DEF-15")
@pytest.mark.parametrize(
    ("subject", "to", "shown"),
    [(NAMED, OLIVE, "Document de santé"), ("Vos résultats", PATIENT, "Message patient")],
)
async def test_a_title_is_masked_in_the_notices_of_opening_and_of_sealing(
    store: Store,
    make: Make,
    relay: Said,
    clock: SteppingClock,
    subject: str,
    to: Address,
    shown: str,
) -> None:
    name = "lie" if to == PATIENT else "nomme"
    sender, reader = add_box(store, f"envoi-{name}"), add_box(store, f"lecture-{name}")
    store.write(lambda w: choices.choose_for_box(w, sender, {"sealing": Pace.AT_ONCE})).result()
    author = str(sender.address)
    deliver(store, [reader], subject, sender=author, owner=sender, to=[to])
    courier = make()
    read(store, inbox(store, reader))
    await carried(courier)
    mails = [each for each in relay.mails() if each["to"] == str(usual(f"envoi-{name}"))]
    titles = sorted(each["subject"] for each in mails)
    assert titles == [f"[MEDIMAIL : Ouverture] {shown}", f"[MEDIMAIL : Scellement] {shown}"]
    assert not any("TARTEMPION" in each.get_content() for each in relay.mails())


async def test_language_is_the_persons(store: Store, make: Make, relay: Said) -> None:
    account = add_person(store, "anna", language="en")
    box = add_box(store, "equipe", BalType.ORG, with_usual=False)
    join(store, box, account, Role.SECRETAIRE)
    at_once = {"arrival": Pace.AT_ONCE}
    store.write(lambda w: choices.choose_for_member(w, account, box, at_once)).result()
    deliver(store, [box], "Hello")
    await carried(make())
    assert "A secure message waits" in relay.mails()[0].get_content()


@pytest.mark.parametrize("state", [BalState.SUSPENDED, BalState.CLOSED])
async def test_nobody_is_told_of_a_box_that_nobody_can_open(
    store: Store, make: Make, relay: Said, state: BalState
) -> None:
    box = add_box(store, f"fermee-{state.value}")
    deliver(store, [box])
    store.write(lambda w: w.set_bal_state(box.id, state)).result()
    await carried(make())
    assert relay.letters == []


async def test_software_is_told_nothing(store: Store, make: Make, relay: Said) -> None:
    deliver(store, [add_box(store, "logiciel", BalType.APP)])
    await carried(make())
    assert relay.letters == []


@pytest.mark.attack("ATT-44")
async def test_att_44_reports_and_automatic_answers_are_not_told(
    store: Store, make: Make, relay: Said
) -> None:
    deliver(store, [add_box(store, "rapports")], "Undelivered", sender=None)
    await carried(make())
    assert relay.letters == []


@pytest.mark.attack("ATT-44")
async def test_att_44_a_flood_of_letters_is_no_flood_of_notices(
    store: Store, make: Make, relay: Said, clock: SteppingClock
) -> None:
    box = add_box(store, "inondee")
    for number in range(40):
        deliver(store, [box], f"lettre {number}")
    courier = make(most_per_hour=5)
    for number in range(40, 60):
        deliver(store, [box], f"lettre {number}")
    await carried(courier)
    assert len(relay.letters) == 5
    clock.advance(timedelta(hours=1))
    await carried(courier)
    assert len(relay.letters) == 6
    digest = relay.mails()[-1]
    assert digest["subject"].endswith("55 messages")
    assert "lettre 10" in digest.get_content()


# ---------------------------------------------------------------- choices


@pytest.mark.requirement("SEED-47")
async def test_everybody_chooses_of_what_and_how_often_they_are_told(
    store: Store, make: Make, relay: Said, clock: SteppingClock
) -> None:
    """The holder of a box, and each member of an ORG box for that box alone."""
    own = add_box(store, "choix")
    org = add_box(store, "accueil", BalType.ORG, with_usual=False)
    people = {}
    for name, role in (
        ("aurore", Role.SECRETAIRE),
        ("basile", Role.RESPONSABLE),
        ("carole", Role.SECRETAIRE),
        ("didier", Role.LECTEUR),
    ):
        people[name] = add_person(store, name)
        join(store, org, people[name], role)

    def choose(writing: object, name: str, pace: Pace) -> None:
        choices.choose_for_member(writing, people[name], org, {"arrival": pace})  # type: ignore[arg-type]

    store.write(lambda w: choose(w, "basile", Pace.DAILY)).result()
    store.write(lambda w: choose(w, "carole", Pace.NEVER)).result()
    courier = make()
    deliver(store, [own, org], "un")
    deliver(store, [own, org], "deux")
    await carried(courier)
    assert [to for to, _ in relay.letters] == [str(usual("choix"))] * 2
    clock.advance(timedelta(hours=1))
    await carried(courier)
    assert [to for to, _ in relay.letters[2:]] == [str(usual("aurore"))]
    assert relay.mails()[2]["subject"] == "[MEDIMAIL : Reception] 2 messages"
    clock.advance(timedelta(days=1))
    await carried(courier)
    assert [to for to, _ in relay.letters[3:]] == [str(usual("basile"))]
    store.write(lambda w: choices.choose_for_box(w, own, {"arrival": Pace.NEVER})).result()
    deliver(store, [own], "trois")
    await carried(courier)
    assert len(relay.letters) == 4


@pytest.mark.requirement("SEED-47")
def test_a_choice_is_kept_and_what_cannot_be_chosen_is_refused(store: Store) -> None:
    box = add_box(store, "gardee")
    wish = {"opening": Pace.NEVER, "sealing": Pace.AT_ONCE}
    store.write(lambda w: choices.choose_for_box(w, box, wish)).result()
    found = store.read(lambda r: choices.of_box(r, box)).result()
    assert found.table() == {"arrival": "at-once", "opening": "never", "sealing": "at-once"}
    with pytest.raises(ValueError, match="ou jamais"):
        store.write(lambda w: choices.choose_for_box(w, box, {"opening": Pace.DAILY})).result()
    with pytest.raises(ValueError, match="pas un événement"):
        store.write(lambda w: choices.choose_for_box(w, box, {"code": Pace.NEVER})).result()


# ---------------------------------------------------------------- openings


def read(store: Store, mailbox: MailboxId, account: int = 7) -> None:
    """Somebody has set \\Seen on every letter of a mailbox."""
    store.write(lambda w: read_by(w, AccountId(account), mailbox, range(1, 9), "lu")).result()
    store.write(lambda w: w.record_readings()).result()


@pytest.mark.requirement("SEED-62")
async def test_the_sender_is_told_when_a_recipient_opens_the_letter_and_once(
    store: Store, make: Make, relay: Said, clock: SteppingClock
) -> None:
    sender = add_box(store, "expediteur")
    reader = add_box(store, "lectrice", BalType.ORG, with_usual=False)
    envelope = deliver(
        store, [reader], "Vos résultats", sender="expediteur@hopital-a.test", owner=sender
    )
    mailbox = inbox(store, reader)
    courier = make()
    store.write(lambda w: read_by(w, AccountId(7), mailbox, [1], "releve")).result()
    store.write(lambda w: w.record_readings()).result()
    await carried(courier)
    assert relay.letters == [], "fetching is not opening (DEF-06)"
    read(store, mailbox)
    await carried(courier)
    ((to, _),) = relay.letters
    (mail,) = relay.mails()
    assert to == str(usual("expediteur"))
    assert mail["subject"] == "[MEDIMAIL : Ouverture] Vos résultats"
    assert "Destinataire : lectrice@hopital-a.test" in mail.get_content()
    assert envelope in mail.get_content()
    read(store, mailbox, account=8)
    clock.advance(timedelta(days=1))
    read(store, mailbox)
    await carried(courier)
    assert len(relay.letters) == 1


@pytest.mark.requirement("SEED-47")
async def test_who_wants_to_hear_of_no_opening_hears_of_none_and_of_arrivals_still(
    store: Store, make: Make, relay: Said, clock: SteppingClock
) -> None:
    """Each event is a choice of its own; what was not wished for is not told later either."""
    sender, reader = add_box(store, "discrete"), add_box(store, "curieuse")
    wish = {"opening": Pace.NEVER}
    store.write(lambda w: choices.choose_for_box(w, sender, wish)).result()
    author = "discrete@hopital-a.test"
    deliver(store, [reader], "Vos résultats", sender=author, owner=sender)
    deliver(store, [sender], "Bonjour", sender="curieuse@hopital-a.test", owner=reader)
    courier = make()
    for box in (reader, sender):
        read(store, inbox(store, box))
    await carried(courier)
    subjects = {to: set[str]() for to in (str(usual("discrete")), str(usual("curieuse")))}
    for (to, _), mail in zip(relay.letters, relay.mails(), strict=True):
        subjects[to].add(mail["subject"])
    assert subjects[str(usual("discrete"))] == {"[MEDIMAIL : Reception] Bonjour"}
    assert subjects[str(usual("curieuse"))] == {
        "[MEDIMAIL : Reception] Vos résultats",
        "[MEDIMAIL : Ouverture] Bonjour",
    }
    store.write(lambda w: choices.choose_for_box(w, sender, {"opening": Pace.AT_ONCE})).result()
    clock.advance(timedelta(days=1))
    await carried(courier)
    assert len(relay.letters) == 3


@pytest.mark.requirement("SEED-62")
async def test_the_sender_is_told_when_an_mdn_of_another_operator_says_displayed(
    store: Store, make: Make, relay: Said
) -> None:
    sender = add_box(store, "expeditrice")
    author = "expeditrice@hopital-a.test"
    envelope = deliver(store, [], "Vos résultats", sender=author, owner=sender, to=[OLIVE, PATIENT])
    courier = make()
    read = [Receipt("lu", "displayed", "", each) for each in (OLIVE, PATIENT)]
    store.write(lambda w: w.tell(envelope, [Receipt("releve", "processed", "", OLIVE)])).result()
    await carried(courier)
    assert relay.letters == []
    for _ in range(2):
        store.write(lambda w: w.tell(envelope, read)).result()
    await carried(courier)
    assert {to for to, _ in relay.letters} == {str(usual("expeditrice"))}
    texts = [mail.get_content() for mail in relay.mails()]
    assert len(texts) == 2
    assert f"Destinataire : {OLIVE}" in texts[0]
    assert "Destinataire : 199**********79@patient.mssante.fr" in texts[1]
    assert all(mail["subject"].startswith("[MEDIMAIL : Ouverture] ") for mail in relay.mails())


async def test_who_reads_what_came_from_elsewhere_or_their_own_copy_tells_nobody(
    store: Store, make: Make, relay: Said, clock: SteppingClock
) -> None:
    box = add_box(store, "soi", BalType.ORG, with_usual=False)
    deliver(store, [box])
    deliver(store, [box], sender="soi@hopital-a.test", owner=box)
    courier = make()
    read(store, inbox(store, box))
    await carried(courier)
    assert relay.letters == []


@pytest.mark.requirement("SEED-63", "DEF-15")
async def test_who_asks_for_it_is_told_that_a_letter_was_sealed(
    store: Store, make: Make, relay: Said
) -> None:
    sender = add_box(store, "scelleur")
    author = "scelleur@hopital-a.test"
    courier = make()
    deliver(store, [], "Sans avis", sender=author, owner=sender, to=[OLIVE])
    await carried(courier)
    assert relay.letters == [], "nobody is told who did not ask for it"
    store.write(lambda w: choices.choose_for_box(w, sender, {"sealing": Pace.AT_ONCE})).result()
    envelope = deliver(store, [], "Réunion", sender=author, owner=sender, to=[OLIVE, PATIENT])
    await carried(courier)
    ((to, _),) = relay.letters
    (mail,) = relay.mails()
    assert to == str(usual("scelleur"))
    assert mail["subject"] == "[MEDIMAIL : Scellement] Message patient"  # as its envelope says
    text = mail.get_content()
    assert envelope in text
    assert "  - olive@cabinet-b.test" in text
    assert "199**********79@patient.mssante.fr" in text


# ---------------------------------------------------------------- the relay


@pytest.mark.requirement("DEF-04")
async def test_mail_goes_on_and_service_mail_waits_while_the_relay_is_down(
    store: Store, make: Make, relay: Said, clock: SteppingClock
) -> None:
    """A relay of its own, a queue of its own: nothing else of the server feels that it is down."""
    box = add_box(store, "panne")
    before = len(store.read(lambda r: r.queue()).result())
    (nobody,) = free_ports(1)
    down, works = make(relay_port=nobody), make()
    deliver(store, [box], "premier")
    await carried(down)
    assert relay.letters == []
    assert store.read(lambda r: r.relay_stuck_since()).result() is not None
    deliver(store, [box], "deuxième")
    assert store.read(lambda r: r.messages(inbox(store, box))).result()[-1].uid == 2
    assert len(store.read(lambda r: r.queue()).result()) == before, "another queue"
    await carried(works)
    assert len(relay.letters) == 1, "the first one waits for its moment"
    assert store.read(lambda r: r.relay_stuck_since()).result() is None
    clock.advance(RELAY_AGAIN)
    await carried(works)
    assert {mail["subject"][23:] for mail in relay.mails()} == {"premier", "deuxième"}
    assert all(to == str(usual("panne")) for to, _ in relay.letters)


async def test_a_letter_is_tried_again_and_a_refused_one_is_done_with(
    store: Store, make: Make, relay: Said, clock: SteppingClock
) -> None:
    courier = make()
    desk = courier._desk
    for name in ("plus-tard", "jamais", "tout-de-suite"):
        to = usual(name)
        store.write(lambda w, to=to: desk.tell(w, Kind.CERTIFIED, to, {"box": "b"})).result()  # type: ignore[misc]
    relay.replies = {
        str(usual("plus-tard")): "450 4.2.0 greylisted",
        str(usual("jamais")): "550 5.1.1 no such user",
    }
    await carried(courier)
    assert [to for to, _ in relay.letters] == [str(usual("tout-de-suite"))]
    relay.replies.clear()
    clock.advance(retry_after(0))
    await carried(courier)
    assert [to for to, _ in relay.letters[1:]] == [str(usual("plus-tard"))]
    assert store.read(lambda r: r.waiting_notices()).result() == ()


async def test_a_code_leaves_before_a_thousand_notices_and_not_when_it_is_over(
    store: Store, make: Make, relay: Said, clock: SteppingClock
) -> None:
    courier = make()
    desk = courier._desk
    for number in range(30):
        to = usual(f"n{number}")
        store.write(lambda w, to=to: desk.tell(w, Kind.CERTIFIED, to, {"box": "b"})).result()  # type: ignore[misc]
    store.write(lambda w: desk.tell(w, Kind.CODE, usual("code"), {"code": "259956"})).result()
    await courier.turn()
    assert relay.letters[0][0] == str(usual("code"))
    store.write(lambda w: desk.tell(w, Kind.CODE, usual("tard"), {"code": "259956"})).result()
    clock.advance(timedelta(minutes=11))
    await carried(courier)
    assert str(usual("tard")) not in {to for to, _ in relay.letters}
    assert len(relay.letters) == 31


def test_the_waits_of_a_letter_grow_to_half_an_hour() -> None:
    waits = [retry_after(n).total_seconds() for n in range(7)]
    assert waits == [60, 120, 240, 480, 960, 1800, 1800]
    assert retry_after(10_000) == timedelta(minutes=30)


async def test_no_address_code_or_title_is_logged(
    store: Store, make: Make, relay: Said, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    box = add_box(store, "effacee")
    deliver(store, [box], "Titre-secret")
    courier = make()
    desk = courier._desk
    store.write(lambda w: desk.tell(w, Kind.CODE, usual("effacee"), {"code": "738291"})).result()
    relay.replies = {str(usual("effacee")): f"550 5.1.1 <{usual('effacee')}> unknown"}
    await carried(courier)
    said = " ".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records
                    if record.name.startswith("mssmtp"))  # fmt: skip
    assert "service mail" in said
    for word in ("effacee@", "738291", "Titre-secret", "unknown"):
        assert word not in said
