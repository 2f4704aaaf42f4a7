"""Two factors: address and password, then a code by mail (SEED-09 to SEED-11, DEF-03)."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from mssmtp import codes
from mssmtp.config_notices import NoticeSettings
from mssmtp.identity import (
    Authenticator,
    BadCredentials,
    TooManyGuesses,
    WeakPassword,
    app_password,
    guesses,
    portal_password,
)
from mssmtp.mail import AccountId, Address, BalType, Person, PersonState
from mssmtp.notices import Desk, Kind, NoticesDown
from mssmtp.notices.templates import written
from mssmtp.portal import NotAnAddress, Portal, PortalRefused, StrongLogin
from mssmtp.storage import Store, Writing
from mssmtp.storage.people_values import NewPerson
from tests.identity.fakes import Clock, Entropy

USUAL, PASSWORD, NEW = "zoe@cabinet.example", "Abcdef1", "Nouveau1!"
HERE = "192.0.2.1"


@pytest.fixture
def portal(store: Store, desk: Desk, clock: Clock) -> Portal:
    portal = Portal(store, desk, clock, Entropy(b"portal"))
    choose(store, add(store))
    return portal


def add(store: Store, usual: str = USUAL, state: PersonState = PersonState.CERTIFIED) -> AccountId:
    """A person with a box."""

    def job(writing: Writing) -> Person:
        person = writing.create_person(NewPerson(Address.parse(usual), "Tartempion", "Zoé"))
        local = usual.partition("@")[0]
        box = writing.create_bal(Address.parse(f"{local}@hopital-a.test"), BalType.MED)
        writing.give_box(person.account, box.id)
        writing.set_person_state(person.id, state)
        return person

    return store.write(job).result().account


def choose(store: Store, account: AccountId, password: str = PASSWORD) -> None:
    """What finalising an account keeps."""
    made = portal_password.hashed(password, Entropy(b"choose"))
    store.write(lambda w: w.set_portal_password(account, made)).result()


def mailed(store: Store) -> list[str]:
    """The codes that wait to be mailed, oldest first."""
    found = store.read(lambda r: r.waiting_notices()).result()
    return [str(each.values["code"]) for each in found if each.kind == "code"]


def begin(portal: Portal, store: Store) -> tuple[str, str]:
    """An attempt and the code that was mailed for it."""
    attempt = portal.begin(USUAL, PASSWORD, HERE)
    return attempt, mailed(store)[-1]


# ---------------------------------------------------------------- the password

VECTORS = [
    ("Abcdef1", None),
    ("abcde1!", None),
    ("abcdef1", "ni majuscule"),
    ("Abcde1", "moins de 7"),
    ("Abcdefg!", "aucun chiffre"),
    ("1234567!", "aucune lettre"),
    ("éCole12", None),
    ("Abc\tdef1", "invisible"),
    ("Ab1" * 100, "trop long"),
]


@pytest.mark.requirement("SEED-11")
@pytest.mark.parametrize(("password", "why"), VECTORS)
def test_the_vectors_l01_to_l07(password: str, why: str | None) -> None:
    if why is None:
        portal_password.check(password, password)
        return
    with pytest.raises(WeakPassword) as caught:
        portal_password.check(password, password)
    assert why in caught.value.why


@pytest.mark.requirement("SEED-11")
def test_l08_it_is_typed_twice_at_creation() -> None:
    with pytest.raises(WeakPassword, match="diffèrent"):
        portal_password.check(NEW, NEW + "x")
    portal_password.check(NEW, NEW)


# ---------------------------------------------------------------- both factors


@pytest.mark.requirement("SEED-09")
def test_no_session_without_the_code(portal: Portal, store: Store, clock: Clock) -> None:
    """L10: the right password alone gives a token that opens nothing."""
    attempt, code = begin(portal, store)
    assert not isinstance(attempt, StrongLogin)
    with pytest.raises(codes.CodeRefused):
        portal.finish(attempt, "")
    assert portal.finish(attempt, code) == StrongLogin(AccountId(1), clock.now())
    (trace,) = store.read(lambda r: r.traces(account=AccountId(1), most=1)).result()
    assert trace.kind == "login"


@pytest.mark.requirement("SEED-10")
def test_the_code_has_six_digits_and_its_mail_the_subject_asked_for(
    portal: Portal, store: Store, clock: Clock
) -> None:
    _, code = begin(portal, store)
    assert re.fullmatch(r"[0-9]{6}", code)
    mail = written(Kind.CODE, "fr", "MSSanté", {"code": code})
    assert mail.subject == f"[{code}] - Votre code d'accès MSSanté"
    assert timedelta(minutes=10) == codes.VALID


@pytest.mark.requirement("DEF-03", "SEED-10")
@pytest.mark.parametrize(("after_s", "is_good"), [(599, True), (600, True), (601, False)])
def test_l11_a_code_is_good_up_to_and_including_600_seconds(
    portal: Portal, store: Store, clock: Clock, after_s: int, *, is_good: bool
) -> None:
    attempt, code = begin(portal, store)
    clock.advance(after_s)
    if is_good:
        assert portal.finish(attempt, code).account == 1
    else:
        with pytest.raises(codes.CodeRefused):
            portal.finish(attempt, code)


@pytest.mark.attack("ATT-21")
@pytest.mark.requirement("DEF-03")
def test_att_21_a_code_is_taken_once_under_race(portal: Portal, store: Store) -> None:
    """L12: of twenty entries at once, one session."""
    attempt, code = begin(portal, store)

    def enter(_: int) -> bool:
        try:
            portal.finish(attempt, code)
        except codes.CodeRefused:
            return False
        return True

    with ThreadPoolExecutor(20) as threads:
        assert sum(threads.map(enter, range(20))) == 1


@pytest.mark.attack("ATT-21")
@pytest.mark.requirement("DEF-03")
def test_l12_a_code_belongs_to_its_attempt(portal: Portal, store: Store, clock: Clock) -> None:
    first, code = begin(portal, store)
    clock.advance(60)
    second, other = begin(portal, store)
    for attempt, shown in ((first, other), (second, code), ("0" * 32, code), ("", code)):
        with pytest.raises(codes.CodeRefused):
            portal.finish(attempt, shown)
    assert portal.finish(second, other).account == 1


@pytest.mark.attack("ATT-21")
@pytest.mark.requirement("DEF-03")
def test_l13_five_wrong_codes_void_the_attempt(portal: Portal, store: Store) -> None:
    attempt, code = begin(portal, store)
    wrong = [f"{(int(code) + number) % 10**6:06}" for number in range(1, 6)]
    for number, entry in enumerate(wrong):
        if number == 4:
            break
        with pytest.raises(codes.CodeRefused):
            portal.finish(attempt, entry)
    with pytest.raises(codes.CodeRefused):
        portal.finish(attempt, wrong[4])
    with pytest.raises(codes.CodeRefused):
        portal.finish(attempt, code)


@pytest.mark.requirement("DEF-03")
def test_one_code_a_minute_and_account(portal: Portal, store: Store, clock: Clock) -> None:
    begin(portal, store)
    clock.advance(59)
    with pytest.raises(codes.CodeTooSoon):
        portal.begin(USUAL, PASSWORD, HERE)
    clock.advance(1)
    begin(portal, store)
    assert len(mailed(store)) == 2


@pytest.mark.attack("ATT-14")
@pytest.mark.requirement("DEF-03")
def test_att_14_who_has_the_password_guesses_few_codes_a_day(
    portal: Portal, store: Store, clock: Clock
) -> None:
    """Five a minute would be 7,200 of a million in a day, every day."""
    entries = 0
    for _ in range(24 * 60):
        clock.advance(60)
        try:
            attempt, code = begin(portal, store)
        except codes.CodesGuessed:
            continue
        for number in range(1, 1 + codes.MOST_WRONG):
            entries += 1
            with pytest.raises(codes.CodeRefused):
                portal.finish(attempt, f"{(int(code) + number) % 10**6:06}")
    assert entries <= 200
    clock.advance(3600)
    attempt, code = begin(portal, store)  # its holder is kept out for an hour at most
    assert portal.finish(attempt, code)


@pytest.mark.requirement("SEED-48")
def test_a_wrong_code_stands_in_the_log_of_the_account_once_an_hour(
    portal: Portal, store: Store
) -> None:
    attempt, code = begin(portal, store)
    for number in range(1, 4):
        with pytest.raises(codes.CodeRefused):
            portal.finish(attempt, f"{(int(code) + number) % 10**6:06}", HERE)
    account = portal.finish(attempt, code, HERE).account
    traces = store.read(lambda r: r.traces(account=account)).result()
    assert [(each.request, each.answer) for each in traces] == [
        ("portail, code, depuis 192.0.2.1", "ok"),
        ("portail, code, depuis 192.0.2.1", "refused"),
    ]


@pytest.mark.attack("ATT-21")
@pytest.mark.requirement("DEF-03")
def test_neither_code_nor_password_nor_token_is_on_disk(
    portal: Portal, store: Store, tmp_path: Path
) -> None:
    attempt, code = begin(portal, store)
    secret = store.read(lambda r: r.secret("code", attempt)).result()
    assert secret is not None
    assert code not in secret.content["hash"]
    assert not {PASSWORD, attempt} & set(secret.content.values())
    octets = b"".join(f.read_bytes() for f in tmp_path.rglob("*") if f.is_file())
    for each in (PASSWORD, attempt, "jeton", USUAL):
        assert each.encode() not in octets


# ---------------------------------------------------------------- who does not get in


@pytest.mark.attack("ATT-21")
def test_unknown_wrong_suspended_and_not_activated_are_answered_alike(
    portal: Portal, store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    pending = add(store, "luc@cabinet.example", PersonState.PRE_REGISTERED)
    choose(store, pending)
    stopped = add(store, "max@cabinet.example")
    choose(store, stopped)
    store.write(lambda w: w.set_account_active(stopped, active=False)).result()
    add(store, "ida@cabinet.example")  # has chosen no password
    done: list[int] = []
    real = app_password._argon2

    def counted(secret: bytes, salt: bytes, cost: app_password.Cost) -> str:
        done.append(cost.memory_kib)
        return real(secret, salt, cost)

    monkeypatch.setattr(app_password, "_argon2", counted)
    names = ("zoe", "luc", "max", "ida", "personne")
    said = set()
    for name in names:
        password = "Faux-mot1" if name == "zoe" else PASSWORD
        with pytest.raises(PortalRefused) as caught:
            portal.begin(f"{name}@cabinet.example", password, HERE)
        said.add((str(caught.value.reply), caught.value.delay_s))
    assert len(said) == 1
    assert done == [8] * len(names)
    assert mailed(store) == []


def test_l09_a_login_that_is_no_address_has_its_own_text(portal: Portal) -> None:
    with pytest.raises(NotAnAddress, match="adresse e-mail"):
        portal.begin("zoe", PASSWORD)


@pytest.mark.attack("ATT-14")
def test_guessing_is_slowed_and_the_owner_elsewhere_is_not(portal: Portal, store: Store) -> None:
    for number in range(guesses.FREE + 1):
        with pytest.raises(PortalRefused):
            portal.begin(USUAL, f"Essai-{number}", "192.0.2.66")
    with pytest.raises(TooManyGuesses):
        portal.begin(USUAL, PASSWORD, "192.0.2.66")
    begin(portal, store)


@pytest.mark.attack("ATT-14")
def test_a_siege_of_the_mail_doors_keeps_nobody_out_of_the_portal_and_one_of_the_portal_does(
    store: Store, desk: Desk, clock: Clock
) -> None:
    """The portal counts apart; besieged itself, its owner waits with the strange addresses, unless
    a login came from there before."""
    doors = guesses.Guesses.alone(Entropy(b"siege"))
    portal = Portal(store, desk, clock, Entropy(b"portal"), guesses=doors.of("portal"))
    choose(store, add(store))

    def besiege(counts: guesses.Guesses) -> None:
        for number in range(guesses.FREE_OF_LOGIN + 1):
            address, secret = f"203.0.113.{number}", f"Essai-{number}".encode()
            counts.begin(USUAL, address, clock.monotonic())
            counts.wrong(USUAL, address, secret, clock.monotonic())

    besiege(doors)
    assert doors.wait_s(USUAL, HERE, clock.monotonic()) > 0
    begin(portal, store)
    besiege(doors.of("portal"))
    with pytest.raises(TooManyGuesses):
        portal.begin(USUAL, PASSWORD, "192.0.2.200")
    with pytest.raises(codes.CodeTooSoon):  # the password was looked at: HERE is known by now
        portal.begin(USUAL, PASSWORD, HERE)


def test_a_relay_that_is_down_is_said_and_no_attempt_is_begun(
    store: Store, portal: Portal, clock: Clock
) -> None:
    down = Portal(store, Desk(NoticeSettings(), (), clock), clock, Entropy(b"down"))
    with pytest.raises(NoticesDown):
        down.begin(USUAL, PASSWORD)
    begin(portal, store)


def test_the_portal_password_opens_no_mail_door(portal: Portal, store: Store, clock: Clock) -> None:
    """client-access.md 1: on SMTP and IMAP an application password alone."""
    door = Authenticator(store, clock, Entropy(b"door"))
    for login in (USUAL, "zoe@hopital-a.test"):
        with pytest.raises(BadCredentials):
            door.authenticate(login, PASSWORD)


# ---------------------------------------------------------------- what a login is worth beside


@pytest.mark.requirement("SEED-27", "OP-48")
def test_a_code_counts_as_strong_authentication_and_the_login_as_activity(
    portal: Portal, store: Store, clock: Clock
) -> None:
    attempt, code = begin(portal, store)
    login = portal.finish(attempt, code)
    person = store.read(lambda r: r.person_by_account(login.account)).result()
    box = store.read(lambda r: r.box_of(login.account)).result()
    assert person is not None
    assert box is not None
    told = store.read(lambda r: r.records("person", person.id)).result()
    assert told["strong-authentication"].values == {"means": "code"}
    assert store.read(lambda r: r.last_activity(box.id)).result() == clock.now()
