"""The link that makes a loaded account its holder's: once, in time, by the mail alone (DEF-11)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from mssmtp.bulk import Column
from mssmtp.bulk.activation import Choice, Inviting, finalise
from mssmtp.bulk.loading import Loader
from mssmtp.config_notices import NoticeSettings
from mssmtp.mail import BalState, Domain, Person, PersonState, Recipient, Structure
from mssmtp.notices import Desk
from mssmtp.outside import SystemEntropy
from mssmtp.people import structures
from mssmtp.people.refusing import NotAllowed
from mssmtp.people.register import LocalRegister
from mssmtp.people.rules import Rules
from mssmtp.storage import Reading, Store, Writing
from tests.bulk.conftest import DOMAIN, put_structure
from tests.bulk.files import MED, ORG, PER
from tests.bulk.test_loading import Cells, box_at, load, person_of, some_box, somebody
from tests.storage.support import SteppingClock, accept

RULES = Rules(frozenset({DOMAIN}))
CHOICE = Choice("$argon2id$of-the-password", attests=False)


@pytest.fixture
def sender(clock: SteppingClock) -> Inviting:
    settings = NoticeSettings(relay_host="127.0.0.1", relay_tls="none")
    return Inviting(Desk(settings, (DOMAIN,), clock), SystemEntropy(), timedelta(days=14))


def loaded(store: Store, loader: Loader, line: Cells = PER) -> Person:
    cells = somebody(line)
    load(loader, cells)
    found = person_of(store, cells)
    assert found is not None
    return found


def sent(store: Store, sender: Inviting, person: Person) -> str:
    """The secret, from the mail that is queued for this person."""

    def job(writing: Writing) -> None:
        now = writing.person_by_id(person.id)
        assert now is not None
        sender.invite(writing, now, "CH de Valmont")

    store.write(job).result()
    notices = store.read(lambda r: r.waiting_notices()).result()
    mine = [each for each in notices if each.to == person.usual_address]
    return str(mine[-1].values["link"]).partition("#")[2]


def use(store: Store, token: str, choice: Choice = CHOICE, rules: Rules = RULES) -> Person:
    register = LocalRegister()
    return store.write(lambda w: finalise(w, rules, register, token, choice)).result()


@pytest.mark.requirement("DEF-11", "SEED-40")
def test_who_uses_the_link_is_certified_the_structure_having_vouched(
    store: Store, loader: Loader, sender: Inviting
) -> None:
    person = loaded(store, loader)
    assert person.state is PersonState.PRE_REGISTERED
    token = sent(store, sender, person)
    assert len(token) == 22  # 128 bits
    finalised = use(store, token)
    assert finalised.state is PersonState.CERTIFIED
    box = store.read(lambda r: r.box_of(person.account)).result()
    assert box is not None
    assert box.person is PersonState.CERTIFIED
    assert store.read(lambda r: r.portal_password(person.account)).result() == CHOICE.argon2
    dates = store.read(lambda r: r.person_dates(person.id)).result()
    assert dates.told_at is not None
    assert dates.finalised_at is not None


@pytest.mark.requirement("DEF-11")
def test_without_automatic_certification_the_request_waits_for_the_region(
    store: Store, loader: Loader, sender: Inviting
) -> None:
    person = loaded(store, loader)
    rules = Rules(frozenset({DOMAIN}), certifies_finalised=False)
    assert use(store, sent(store, sender, person), rules=rules).state is PersonState.NOT_CERTIFIED
    waiting = store.read(lambda r: r.pending_persons()).result()
    assert person.id in [each.person.id for each in waiting]


@pytest.mark.attack("ATT-21")
def test_att_21_a_link_is_used_once_under_race(
    store: Store, loader: Loader, sender: Inviting
) -> None:
    person = loaded(store, loader)
    token = sent(store, sender, person)
    register = LocalRegister()
    jobs = [
        store.write(lambda w: finalise(w, RULES, register, token, CHOICE).state) for _ in range(8)
    ]
    answers = [job.exception() or job.result() for job in jobs]
    assert answers.count(PersonState.CERTIFIED) == 1
    assert sum("a déjà servi" in str(answer) for answer in answers) == 7


def test_a_link_ends_with_its_time_and_with_the_next_one(
    store: Store, loader: Loader, sender: Inviting, clock: SteppingClock
) -> None:
    person = loaded(store, loader)
    first = sent(store, sender, person)
    second = sent(store, sender, person)
    for token in (first, "", "A" * 22, second[:-1]):
        with pytest.raises(NotAllowed, match="a déjà servi ou n'est plus valable"):
            use(store, token)
    clock.advance(timedelta(days=14))
    with pytest.raises(NotAllowed, match="n'est plus valable"):
        use(store, second)
    assert use(store, sent(store, sender, person)).state is PersonState.CERTIFIED
    with pytest.raises(NotAllowed, match="déjà activé"):
        sent(store, sender, person)


def test_who_is_no_health_professional_attests_first_and_a_refusal_spends_no_link(
    store: Store, loader: Loader, sender: Inviting
) -> None:
    person = loaded(store, loader, MED)
    token = sent(store, sender, person)
    with pytest.raises(NotAllowed, match="trois conditions"):
        use(store, token)
    assert store.read(lambda r: r.portal_password(person.account)).result() is None
    assert use(store, token, Choice("$argon2id$x", attests=True)).state is PersonState.CERTIFIED


def test_an_org_box_works_once_its_responsible_has_finalised(
    store: Store, loader: Loader, sender: Inviting
) -> None:
    number = "010000032"
    complete(store, put_structure(store, number, Domain("complet.mssante.example")))
    chief = somebody(PER) | {Column.STRUCTURE: number}
    org = some_box(ORG, chief) | {Column.STRUCTURE: number}
    told = load(replace(loader, reaches=lambda _: True), chief, org)
    assert (
        told[1].sentence
        == "en attente ; il manque : le professionnel responsable n'est pas habilité"
    )
    assert box_at(store, told[1]).state is BalState.SUSPENDED
    person = person_of(store, chief)
    assert person is not None
    use(store, sent(store, sender, person))
    assert box_at(store, told[1]).state is BalState.ACTIVE


def complete(store: Store, structure: Structure) -> None:
    """Declare what every structure declares."""
    for kind in ("agreement", "project-lead", "administrator"):
        declare(
            store, structure, kind, {"signed_by": "A"} if kind == "agreement" else {"name": "A"}
        )
    for kind in ("data-protection-register", "patient-notice"):
        declare(store, structure, kind, {})


def declare(store: Store, structure: Structure, kind: str, values: dict[str, str]) -> None:
    store.write(lambda w: structures.declare(w, structure.id, kind, w.now(), values)).result()


@pytest.mark.requirement("SEED-40")
def test_the_secret_is_in_the_mail_and_nowhere_else(
    store: Store, loader: Loader, sender: Inviting, tmp_path_factory: pytest.TempPathFactory
) -> None:
    token = sent(store, sender, loaded(store, loader))
    for file in Path(tmp_path_factory.getbasetemp()).glob("bulk*/**/*"):
        if file.is_file() and not file.is_symlink():
            assert token.encode() not in file.read_bytes(), file


@pytest.mark.requirement("SEED-35")
def test_what_waited_for_the_address_is_in_the_box_once_the_link_was_used(
    store: Store, loader: Loader, sender: Inviting
) -> None:
    person = loaded(store, loader)
    letter = store.seal(b"From: <zoe@hopital.test>\r\n\r\nx\r\n")
    accept(store, letter, invited=[Recipient(person.usual_address)], owner=DOMAIN)
    use(store, sent(store, sender, person))

    def messages(reading: Reading) -> int:
        box = reading.box_of(person.account)
        inbox = None if box is None else reading.mailbox(box.id, "INBOX")
        return 0 if inbox is None else inbox.messages

    assert store.read(messages).result() == 1
