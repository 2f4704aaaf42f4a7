"""Tokens on the real store: which subject opens which box, and which never (client-access.md 3)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

import pytest
from pydantic import ValidationError

from mssmtp.bearers import PER_ADDRESS, Bearers
from mssmtp.config import StoreSettings
from mssmtp.config_tokens import AuthSettings
from mssmtp.identity import Bearer
from mssmtp.identity.entitled import entitled_still
from mssmtp.identity.tokens import CannotBeAsked, Rules, TokenRefused
from mssmtp.introspection import Introspection
from mssmtp.mail import AccountId, Address, BalState, PersonState, Principal, Role
from mssmtp.storage import Store, Writing
from mssmtp.storage.people_values import NewPerson
from mssmtp.storage.traces import Trace
from tests.identity.fakes import Clock, Entropy
from tests.tokens.people import AT, EVE, LUC, ZOE, People
from tests.tokens.test_introspection import ISSUER, Issuer


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    home = tmp_path_factory.mktemp("tokens") / "home"
    settings = StoreSettings(home=home, master_key_file=home / "master.key")
    Store.create(settings, Clock(), Entropy())
    store = Store(settings, Clock(), Entropy(b"store"))
    yield store
    report = store.check()
    store.close()
    assert report.problems == ()


@pytest.fixture(scope="module")
def people(store: Store) -> People:
    return People(store)


@pytest.mark.requirement("OP-82", "CL-13")
def test_one_identity_opens_its_own_box_and_those_it_is_a_member_of(people: People) -> None:
    principal = people.opens(ZOE, "zoe")
    assert principal.bals[0].id == people.zoe.id
    assert (principal.subject, principal.box) == (ZOE, None)
    people.share(ZOE)
    shared = people.opens(ZOE, "radiologie")
    assert [bal.id for bal in shared.bals] == [people.radiology.id]
    assert shared.box == people.radiology.id
    assert shared.rights_in(people.radiology.id) == Role.SECRETAIRE.rights
    assert people.opens(LUC, "LUC").bals[0].id == people.luc.id


@pytest.mark.requirement("CL-14")
def test_a_subject_without_right_is_refused_and_gets_no_other_box(
    people: People, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    issuer = Issuer(clock)  # says that every token is Zoé's
    bearers = Bearers(Introspection(issuer, Rules(ISSUER), clock), people.store)

    async def tried(box: str) -> None:
        with caplog.at_level(logging.INFO), pytest.raises(TokenRefused):
            await bearers.enter(Bearer(box, "t0ken-of-zoe"), "192.0.2.1")

    for box in ("luc" + AT, "nobody" + AT, "not an address", "zoe@elsewhere.test"):
        caplog.clear()
        asyncio.run(tried(box))
        (line,) = [r for r in caplog.records if "without right" in r.getMessage()]
        assert vars(line)["azp"] == "lps-essai"
        assert "t0ken" not in str(vars(line))
    assert people.refuses(EVE, "zoe") == "subject unknown"
    assert people.refuses(LUC, "radiologie") == "no right on the box"


@pytest.mark.requirement("CL-18")
def test_boxes_without_a_person_or_without_access_are_not_opened_by_a_token(people: People) -> None:
    with pytest.raises(ValidationError, match="certificate"):
        AuthSettings(app_token=True)
    for box in ("dpi", "secretaire", "ingenieur"):
        assert people.refuses(ZOE, box) == "no box that a person opens"


@pytest.mark.attack("ATT-18")
def test_att_18_a_token_is_worth_nothing_once_the_account_or_the_box_is_suspended(
    people: People,
) -> None:
    store, account = people.store, people.account(LUC)
    before = people.opens(LUC, "luc")

    def again() -> Principal:
        return store.read(lambda r: entitled_still(r, before)).result()

    assert again() == before
    for undo in (False, True):
        store.write(lambda w, on=undo: w.set_account_active(account, active=on)).result()  # type: ignore[misc]
        if not undo:
            assert people.refuses(LUC, "luc").startswith("account suspended")
            with pytest.raises(TokenRefused):
                again()
    for state in (BalState.SUSPENDED, BalState.CLOSED):
        store.write(lambda w, to=state: w.set_bal_state(people.luc.id, to)).result()  # type: ignore[misc]
        people.refuses(LUC, "luc")
        with pytest.raises(TokenRefused):
            again()
    store.write(lambda w: w.set_bal_state(people.luc.id, BalState.ACTIVE)).result()
    assert again() == before


@pytest.mark.attack("ATT-25")
def test_att_25_a_membership_that_was_taken_away_ends_the_session_of_a_token(
    people: People,
) -> None:
    people.share(LUC)
    session = people.opens(LUC, "radiologie")
    account = people.account(LUC)
    people.store.write(lambda w: w.remove_member(people.radiology.id, account)).result()  # type: ignore[arg-type]
    with pytest.raises(TokenRefused):
        people.store.read(lambda r: entitled_still(r, session)).result()


def test_a_preregistered_person_logs_in_nowhere(people: People) -> None:
    person = people.store.read(lambda r: r.person_by_national_id(LUC)).result()
    assert person is not None
    for state, opens in ((PersonState.PRE_REGISTERED, False), (PersonState.CERTIFIED, True)):
        people.store.write(lambda w, to=state: w.set_person_state(person.id, to)).result()  # type: ignore[misc]
        if opens:
            people.opens(LUC, "luc")
        else:
            people.refuses(LUC, "luc")


def test_a_bound_subject_stands_for_the_account(people: People) -> None:
    """Of a secretary, who is in no national directory (SEED-12)."""
    usual = Address.parse("anne@ordinaire.example")

    def job(writing: Writing) -> int:
        person = writing.create_person(NewPerson(usual, "Anne", "Anne", PersonState.CERTIFIED))
        writing.add_member(people.radiology.id, person.account, Role.LECTEUR)
        return writing.bind_account("psc", "3600000001/anne", person.account)

    binding = people.store.write(job).result()
    assert people.opens("3600000001/anne", "radiologie").box == people.radiology.id
    people.store.write(lambda w: w.unbind(binding)).result()
    assert people.refuses("3600000001/anne", "radiologie") == "subject unknown"


@pytest.mark.attack("ATT-41")
@pytest.mark.parametrize(
    ("one", "other"), [("192.0.2.1", "192.0.2.2"), ("2001:db8:0:1::{}", "2001:db8:0:2::1")]
)
async def test_att_41_one_address_has_a_share_of_the_questions(
    people: People, one: str, other: str
) -> None:
    clock = Clock()
    issuer = Issuer(clock)
    issuer.gate.clear()
    bearers = Bearers(Introspection(issuer, Rules(ISSUER), clock), people.store)
    claims = [Bearer("zoe" + AT, f"t{number}") for number in range(PER_ADDRESS + 5)]
    logins = [
        asyncio.create_task(bearers.enter(each, one.format(number)))
        for number, each in enumerate(claims)
    ]
    done, _ = await asyncio.wait(logins, timeout=0.05)
    assert len(done) == 5
    assert all(isinstance(each.exception(), CannotBeAsked) for each in done)
    issuer.gate.set()
    entered = await bearers.enter(Bearer("zoe" + AT, "mine"), other)
    assert entered.subject == ZOE
    await asyncio.gather(*logins, return_exceptions=True)
    await bearers.close()


@pytest.mark.requirement("SEED-48", "CL-23")
def test_a_login_by_token_leaves_one_trace_an_hour_without_the_token(people: People) -> None:
    clock = Clock()
    bearers = Bearers(Introspection(Issuer(clock), Rules(ISSUER), clock), people.store)

    async def entered() -> AccountId:
        for _ in range(3):
            found = await bearers.enter(Bearer("zoe" + AT, "t0ken-of-zoe"), "192.0.2.1")
        return found.account

    def told() -> list[Trace]:
        people.store.write(lambda _: None).result()  # after those nobody waits for
        return [t for t in people.store.read(lambda r: r.traces()).result() if t.kind == "login"]

    before = len(told())
    account = asyncio.run(entered())
    new = told()
    assert len(new) == before + 1
    assert (new[0].account, new[0].bal) == (account, people.zoe.id)
    assert new[0].request == "messagerie, jeton Pro Santé Connect, lps-essai"
