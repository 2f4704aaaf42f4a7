"""e-CPS and CPx card: linked once after a code, then a login of their own (SEED-12, L14, L15)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Literal

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from mssmtp.codes import CodeRefused, CodeTooSoon
from mssmtp.config import StoreSettings
from mssmtp.config_notices import NoticeSettings
from mssmtp.demo.authority import CLIENT_ONLY, EMAIL_ONLY, Authority, Make, Subject, card_name
from mssmtp.directories import Directories, Entry
from mssmtp.identity import BadCredentials, tokens
from mssmtp.linking import (
    CardOfNobody,
    CardRefused,
    Linking,
    NotLinked,
    NotYours,
    Shown,
    by_card,
    by_token,
)
from mssmtp.mail import AccountId, Address, PersonState
from mssmtp.notices import Desk
from mssmtp.portal import Portal, PortalRefused
from mssmtp.storage import Store, Writing
from mssmtp.storage.bindings import BindingTaken
from mssmtp.storage.people_values import NewPerson
from mssmtp.trust import Snapshot
from tests.authority import shared_keys
from tests.identity.fakes import Clock, Entropy

RPPS = "899900000110"
CPS = card_name(RPPS, "TARTEMPION", "Zoé")
E_CPS, CARD = Shown("psc", RPPS), Shown("card", RPPS)


class Place:
    """Two people of a store whose clock stands still."""

    def __init__(self, home: Path) -> None:
        self.clock = Clock()
        settings = StoreSettings(home=home, master_key_file=home / "master.key")
        Store.create(settings, self.clock, Entropy())
        self.store = Store(settings, self.clock, Entropy(b"store"))
        self.desk = Desk(NoticeSettings(relay_host="127.0.0.1", relay_tls="none"), (), self.clock)
        self.linking = Linking(self.store, self.desk, self.clock, Entropy(b"linking"))
        self.zoe, self.luc = self.add("zoe"), self.add("luc")

    def add(self, name: str, national_id: str | None = None) -> AccountId:
        usual = Address.parse(f"{name}@cabinet.example")
        new = NewPerson(usual, name, name, PersonState.CERTIFIED, national_id=national_id)
        return self.store.write(lambda w: w.create_person(new).account).result()

    def code(self) -> str:
        """The last one that was mailed."""
        found = self.store.read(lambda r: r.waiting_notices()).result()
        return [str(each.values["code"]) for each in found if each.kind == "code"][-1]

    def link(self, account: AccountId, shown: Shown) -> AccountId:
        self.clock.advance(61)
        attempt = self.linking.begin(account, shown)
        return self.linking.finish(attempt, self.code(), shown)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    place = Place(tmp_path_factory.mktemp("linking") / "home")
    yield place
    assert place.store.check().problems == ()
    place.store.close()


@pytest.mark.requirement("SEED-12")
@pytest.mark.parametrize("shown", [E_CPS, CARD])
def test_an_identity_is_linked_after_a_code_and_logs_in_from_then_on(
    place: Place, shown: Shown
) -> None:
    with pytest.raises(NotLinked):
        place.linking.log_in(shown)
    assert place.link(place.zoe, shown) == place.zoe
    assert place.linking.log_in(shown).account == place.zoe
    with pytest.raises(NotLinked):  # L14, L15: of another person
        place.linking.log_in(replace(shown, subject="899900000128"))
    place.clock.advance(61)
    with pytest.raises(BindingTaken):  # once, to one account
        place.linking.begin(place.luc, shown)
    (binding,) = [
        each
        for each in place.store.read(lambda r: r.bindings(account=place.zoe)).result()
        if each.kind == shown.kind
    ]
    place.store.write(lambda w: w.unbind(binding.id)).result()
    with pytest.raises(NotLinked):
        place.linking.log_in(shown)


@pytest.mark.attack("ATT-21")
def test_att_21_a_code_links_the_identity_it_was_asked_for_once(place: Place) -> None:
    place.clock.advance(61)
    mine = Shown("psc", "899900000136")
    attempt = place.linking.begin(place.luc, mine)
    code = place.code()
    with pytest.raises(CodeTooSoon):
        place.linking.begin(place.luc, mine)
    for other in (Shown("psc", "899900000144"), Shown("card", mine.subject)):
        with pytest.raises(CodeRefused):
            place.linking.finish(attempt, code, other)
    with pytest.raises(CodeRefused):
        place.linking.finish("another", code, mine)
    assert place.linking.finish(attempt, code, mine) == place.luc
    with pytest.raises(CodeRefused):
        place.linking.finish(attempt, code, mine)


@pytest.mark.attack("ATT-21")
@pytest.mark.parametrize("kind", ["psc", "card"])
def test_att_21_nobody_links_the_identity_of_another_professional(
    place: Place, kind: Literal["psc", "card"]
) -> None:
    own = {"psc": "899900000169", "card": "899900000177"}[kind]
    eva = place.add(f"eva-{kind}", own)
    with pytest.raises(NotYours):  # a colleague's, of whom nothing is known here
        place.linking.begin(eva, Shown(kind, "899900000185"))
    with pytest.raises(NotYours):  # hers, by somebody without a number
        place.linking.begin(place.luc, Shown(kind, own))
    place.clock.advance(61)
    late = Shown(kind, {"psc": "899900000193", "card": "899900000201"}[kind])
    attempt = place.linking.begin(place.luc, late)
    place.add(f"max-{kind}", late.subject)  # who turns up while the code is on its way
    with pytest.raises(NotYours):
        place.linking.finish(attempt, place.code(), late)
    assert place.link(eva, Shown(kind, own)) == eva


def test_a_suspended_account_is_opened_by_no_identity(place: Place) -> None:
    shown = Shown("card", "899900000151")
    place.link(place.luc, shown)
    for active in (False, True):
        change = partial(Writing.set_account_active, account=place.luc, active=active)
        place.store.write(change).result()
        if active:
            place.linking.log_in(shown)
        else:
            with pytest.raises(NotLinked):
                place.linking.log_in(shown)


@pytest.mark.requirement("SEED-12")
def test_a_card_is_judged_before_it_shows_anybody(authority: Authority, snapshot: Snapshot) -> None:
    now = datetime.now(UTC)
    holder = Subject(RPPS, "318751275100020", "CPS")

    def shown(made: Authority, subject: Subject, make: Make) -> Shown:
        chain = made.issue(subject, make).chain
        found = by_card(chain, snapshot.anchors, snapshot.revocation, now)
        assert found.certificate == chain[0].fingerprint(hashes.SHA256()).hex()
        return replace(found, certificate="")

    assert shown(authority, holder, Make(usages=CLIENT_ONLY)) == CARD
    # As on a CPS: the identifier shares its RDN with the names.
    assert shown(authority, holder, Make(usages=CLIENT_ONLY, name=CPS)) == CARD
    twice = x509.Name([*CPS, x509.NameAttribute(NameOID.COMMON_NAME, "899900000128")])
    with pytest.raises(CardOfNobody):
        shown(authority, holder, Make(usages=CLIENT_ONLY, name=twice))
    stranger = Authority(now, make_key=shared_keys(60))
    past = Make(now.replace(year=2020), now.replace(year=2021), usages=CLIENT_ONLY)
    for made, subject, make in (
        (stranger, holder, Make(usages=CLIENT_ONLY)),
        (authority, holder, Make(usages=EMAIL_ONLY)),
        (authority, holder, past),
        (authority, replace(holder, cn="smtp.hopital-a.test"), Make(usages=CLIENT_ONLY)),
    ):
        with pytest.raises(CardRefused):
            shown(made, subject, make)
    with pytest.raises(CardRefused):
        by_card((), snapshot.anchors, snapshot.revocation, now)
    assert by_token(tokens.Subject(RPPS, "lps", "j", now)) == E_CPS


class Known:
    """A hospital's directory that knows one password."""

    def check(self, address: Address, password: str) -> Entry:
        if password != "de-l-hopital":
            raise BadCredentials
        return Entry("uid=x", address)


def test_a_hospitals_directory_is_the_first_factor_of_its_people(place: Place) -> None:
    directories = Directories([(("cabinet.example",), Known())])
    portal = Portal(place.store, place.desk, place.clock, Entropy(b"p"), directories)
    place.clock.advance(61)
    attempt = portal.begin("zoe@cabinet.example", "de-l-hopital")
    assert portal.finish(attempt, place.code()).account == place.zoe
    for usual, password in (
        ("zoe@cabinet.example", "another"),
        ("nobody@cabinet.example", "de-l-hopital"),
    ):
        with pytest.raises(PortalRefused):
            portal.begin(usual, password)
    directories.close()
