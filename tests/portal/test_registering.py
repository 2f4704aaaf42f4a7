"""Who registers alone: one answer for all, a link by mail, an account that is not certified."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from mssmtp.config_notices import NoticeSettings
from mssmtp.identity import WeakPassword
from mssmtp.identity.national_id import BadNationalId
from mssmtp.mail import Address, BalType, Domain, PersonState
from mssmtp.notices import Desk, NoticesDown
from mssmtp.notices.inviting import Inviting
from mssmtp.people.invited import ConfirmationRefused, Confirmed
from mssmtp.people.refusing import NotAllowed
from mssmtp.portal import Portal, ProviderFirst
from mssmtp.registering import Given, NotUsual, Registering
from mssmtp.storage import Reading, Store
from tests.identity.fakes import Clock, Entropy
from tests.portal.test_portal import USUAL, add, choose, mailed

NEW = "lucie@poste.example"
NAMES = ("Marteau", "Lucie")
PASSWORD = "Bonjour-7"
HOME = Domain("oc.mssante.test")
ATTESTED = dict.fromkeys(("takes_part", "strictly_needed", "informed"), True)
GIVEN = Given(*NAMES, PASSWORD, PASSWORD, ATTESTED)
SAID = {"profession": "psychomotricienne", "address": "1 rue", "postcode": "34000", "town": "X"}


def made(
    store: Store, desk: Desk, clock: Clock, elsewhere: Callable[[Address], bool] = lambda _: False
) -> Registering:
    return Registering(store, desk, clock, Entropy(b"registers"), HOME, elsewhere)


@pytest.fixture
def registering(store: Store, desk: Desk, clock: Clock) -> Registering:
    return made(store, desk, clock)


def told(store: Store) -> list[tuple[str, str]]:
    """Kind and address of what waits to be mailed."""
    found = store.read(lambda r: r.waiting_notices()).result()
    return [(each.kind, str(each.to)) for each in found]


def link(store: Store) -> str:
    """The secret of the newest link."""
    found = store.read(lambda r: r.waiting_notices()).result()
    links = [str(each.values["link"]) for each in found if "confirmation#" in str(each.values)]
    return links[-1].partition("#")[2]


def confirmed(registering: Registering, store: Store) -> Confirmed:
    registering.ask(NEW, NAMES)
    return registering.finish(link(store), GIVEN)


@pytest.mark.requirement("SEED-33", "SEED-36", "OP-50")
def test_a_link_by_mail_makes_an_account_that_logs_in_and_is_not_certified(
    registering: Registering, store: Store, desk: Desk, clock: Clock
) -> None:
    registering.ask(f" {NEW.upper()} ", NAMES, "en")
    (notice,) = store.read(lambda r: r.waiting_notices()).result()
    assert (notice.kind, notice.language) == ("registration", "en")
    token = link(store)
    assert len(token) == 22  # 128 bits
    for _ in range(2):
        asked = registering.look(token)
    assert (asked.last_name, asked.first_name, asked.letters) == (*NAMES, 0)
    assert asked.wants_password
    assert asked.wants_attestation
    assert store.read(lambda r: r.person(asked.usual)).result() is None, "looking makes nothing"
    done = registering.finish(token, GIVEN)
    assert done.person.state is PersonState.NOT_CERTIFIED
    assert (done.box.type, str(done.box.address)) == (BalType.INT, f"lucie.marteau@{HOME}")
    for late in (lambda: registering.look(token), lambda: registering.finish(token, GIVEN)):
        with pytest.raises(ConfirmationRefused):
            late()
    portal = Portal(store, desk, clock, Entropy(b"portal"))
    assert portal.finish(portal.begin(NEW, PASSWORD), mailed(store)[-1])


@pytest.mark.requirement("SEED-33", "SEED-31")
def test_a_form_that_lacks_something_spends_nothing(registering: Registering, store: Store) -> None:
    registering.ask(NEW, NAMES)
    token = link(store)
    with pytest.raises(WeakPassword):
        registering.finish(token, Given(*NAMES, PASSWORD, "Autre-7", ATTESTED))
    with pytest.raises(NotAllowed, match="trois conditions"):
        registering.finish(token, Given(*NAMES, PASSWORD, PASSWORD, ATTESTED | {"informed": False}))
    with pytest.raises(NotAllowed, match="nom"):
        registering.finish(token, Given("x" * 101, "y", PASSWORD, PASSWORD, ATTESTED))
    assert store.read(lambda r: r.person(Address.parse(NEW))).result() is None
    assert registering.finish(token, GIVEN).letters == 0


def test_a_name_in_other_letters_has_a_box_all_the_same(
    registering: Registering, store: Store
) -> None:
    registering.ask(NEW, ("Иванова", "Анна"))
    done = registering.finish(link(store), Given("Иванова", "Анна", PASSWORD, PASSWORD, ATTESTED))
    assert str(done.box.address) == f"compte@{HOME}"
    assert done.person.last_name == "Иванова"


@pytest.mark.attack("ATT-21")
def test_att_21_who_asks_hears_the_same_of_every_address_and_its_holder_hears_the_truth(
    registering: Registering, store: Store, desk: Desk, clock: Clock
) -> None:
    choose(store, add(store))
    with closing(sqlite3.connect(store._home / "store.db")) as behind:
        for usual in (USUAL, NEW, USUAL, NEW):
            before = behind.execute("PRAGMA data_version").fetchone()
            registering.ask(usual, NAMES)
            # A commit that changes nothing waits for no disk: its time would tell.
            assert behind.execute("PRAGMA data_version").fetchone() != before, usual
    assert told(store) == [("registered", USUAL), ("registration", NEW)]
    down = made(store, Desk(NoticeSettings(), (), clock), clock)
    for usual in (USUAL, NEW):
        with pytest.raises(NoticesDown):
            down.ask(usual, NAMES)


@pytest.mark.attack("ATT-44")
def test_att_44_nobody_is_flooded_by_who_types_their_address(
    registering: Registering, store: Store, clock: Clock
) -> None:
    for _ in range(20):
        registering.ask(NEW, NAMES)
        clock.advance(301)
    assert told(store) == [("registration", NEW)] * 5


def test_what_is_no_ordinary_address_is_told_by_its_domain_alone(
    store: Store, desk: Desk, clock: Clock
) -> None:
    ours = made(store, Desk(desk.settings, (HOME,), clock), clock)
    for usual in ("rien", f"zoe@{HOME}", "a@b@c.example", "x" * 400 + "@poste.example"):
        with pytest.raises(NotUsual):
            ours.ask(usual, NAMES)
    hospital = made(store, desk, clock, lambda usual: usual.domain == "poste.example")
    with pytest.raises(ProviderFirst):
        hospital.ask(NEW, NAMES)
    assert told(store) == []


@pytest.mark.attack("ATT-21")
def test_att_21_of_two_who_come_with_one_link_one_makes_the_account(
    registering: Registering, store: Store
) -> None:
    registering.ask(NEW, NAMES)
    token = link(store)

    def tried(password: str) -> bool:
        try:
            registering.finish(token, Given(*NAMES, password, password, ATTESTED))
        except ConfirmationRefused:
            return False
        return True

    with ThreadPoolExecutor(2) as threads:
        assert sorted(threads.map(tried, (PASSWORD, "Autre-jour-8"))) == [False, True]


@pytest.mark.requirement("SEED-35", "DEF-09")
def test_who_was_invited_chooses_a_password_by_the_same_form(
    registering: Registering, store: Store, desk: Desk, clock: Clock
) -> None:
    inviting = Inviting(desk, clock, Entropy(b"invites"))
    store.write(lambda w: inviting.mail_link(w, Address.parse(NEW), None)).result()
    asked = registering.look(link(store))
    assert (asked.last_name, asked.wants_password) == ("", True)
    done = registering.finish(link(store), GIVEN)
    assert done.person.usual_address == Address.parse(NEW)


def test_who_has_a_password_keeps_it_and_who_is_loaded_activates_the_account_first(
    registering: Registering, store: Store, desk: Desk, clock: Clock
) -> None:
    choose(store, add(store))
    add(store, "luc@cabinet.example", PersonState.PRE_REGISTERED)
    inviting = Inviting(desk, clock, Entropy(b"invites"))
    for usual in (USUAL, "luc@cabinet.example"):
        to = Address.parse(usual)
        store.write(partial(inviting.mail_link, to=to, sender=None)).result()
        asked = registering.look(link(store))
        assert not asked.wants_password
        before = store.read(partial(Reading.person, usual=to)).result()
        assert before is not None
        kept = store.read(partial(Reading.portal_password, account=before.account)).result()
        given = Given("", "", "Intrus-666", "Intrus-666", ATTESTED)
        assert registering.finish(link(store), given).person.state is before.state
        now = store.read(partial(Reading.portal_password, account=before.account)).result()
        assert now == kept


@pytest.mark.requirement("SEED-34", "SEED-36")
def test_what_somebody_says_of_himself_waits_for_who_certifies_and_gives_nothing(
    registering: Registering, store: Store
) -> None:
    person = confirmed(registering, store).person
    with pytest.raises(BadNationalId):
        registering.request(person.account, SAID | {"number": "12345678901"})
    with pytest.raises(NotAllowed, match="town"):
        registering.request(person.account, SAID | {"town": " "})
    with pytest.raises(NotAllowed, match="certifie"):
        registering.request(person.account, SAID | {"certifie": "oui"})
    registering.request(person.account, SAID | {"number": "810000000009"})
    (waiting,) = store.read(lambda r: r.pending_persons()).result()
    assert waiting.person.national_id is None, "a number is not taken from its holder by a claim"
    said = store.read(lambda r: r.records("person", person.id)).result()["registration"]
    assert said.values["number"] == "810000000009"
    assert store.read(lambda r: r.person_by_national_id("810000000009")).result() is None


def test_no_link_or_password_lies_in_clear_on_the_disk(
    registering: Registering, store: Store, tmp_path: Path
) -> None:
    confirmed(registering, store)
    octets = b"".join(each.read_bytes() for each in tmp_path.rglob("*") if each.is_file())
    for secret in (PASSWORD, NEW, "Marteau"):
        assert secret.encode() not in octets
