"""Programs that hand the password to their maker's servers are refused before it is looked at
(F2, CLD-01, CLD-05)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from mssmtp.cloud_relays import LISTED_ON, CloudGuard, CloudRelay, Ranges
from mssmtp.config import StoreSettings
from mssmtp.config_notices import NoticeSettings
from mssmtp.config_tokens import AuthSettings
from mssmtp.doctor import cloud_findings
from mssmtp.finding import Severity
from mssmtp.identity import Authenticator, BadCredentials, Bearer, Claim, Credentials, app_password
from mssmtp.identity.scram import ScramName
from mssmtp.logins import Logins, Peer
from mssmtp.mail import AccountId, Address, BalType, Domain
from mssmtp.notices import Desk
from mssmtp.storage import Store, Writing
from mssmtp.storage.people_values import NewPerson
from tests.identity.fakes import Clock, Entropy

ZOE, PASSWORD = "zoe@hopital-a.test", "abcde-fghjk-mnpqr-stuvw"
# Of the ranges that Microsoft publishes for Exchange Online, and Google for its mail servers.
RELAYS = ("40.99.201.5", "52.98.0.1", "2603:1026:c0a::5", "::ffff:40.99.201.5", "209.85.128.41")
OTHERS = ("192.0.2.1", "10.0.0.9", "2001:db8::1", "40.95.255.255", "52.100.0.0", "127.0.0.1", "")


@dataclass
class House:
    """A store with one account, and what a door makes of the settings."""

    store: Store
    clock: Clock

    def logins(self, **settings: object) -> Logins:
        guard = CloudGuard(AuthSettings.model_validate(settings), self.store, self.clock)
        door = Authenticator(self.store, self.clock, Entropy(b"door"))
        return Logins(door, "imap", guard=guard)

    def enter(self, claim: Claim, address: str, client: str = "", **settings: object) -> object:
        logins = self.logins(**settings)
        try:
            return asyncio.run(logins.enter(claim, Peer(address, lambda: False, (), client)))
        finally:
            logins.close()

    def traces(self) -> list[tuple[str, str, str]]:
        self.store.write(lambda writing: None).result()  # behind what nobody waits for
        found = self.store.read(lambda reading: reading.traces(account=AccountId(1))).result()
        ours = [trace for trace in found if trace.kind == "cloud-relay"]
        return [(trace.author, trace.request, trace.answer) for trace in ours]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    home: Path = tmp_path_factory.mktemp("cloud") / "home"
    clock = Clock()
    settings = StoreSettings(home=home, master_key_file=home / "master.key")
    Store.create(settings, clock, Entropy())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app_password, "COST", app_password.Cost(1, 8))
        store = Store(settings, clock, Entropy(b"store"))
        made = app_password.verifiers(PASSWORD, Entropy())

        def add(writing: Writing) -> None:
            address = Address.parse(ZOE)
            writing.create_bal(address, BalType.PER, national_id="810000000012", login=ZOE)
            account = writing.account(ZOE)
            assert account is not None
            assert account.id == AccountId(1)
            writing.add_app_password(account.id, "poste", made.argon2, made.scram)

        store.write(add).result()
        yield House(store, clock)
        store.close()


@pytest.mark.parametrize("address", RELAYS)
@pytest.mark.parametrize(
    "claim",
    [Credentials(ZOE, PASSWORD), Credentials(ZOE, "faux"), ScramName(ZOE), Bearer(ZOE, "jeton")],
    ids=["right", "wrong", "scram", "token"],
)
def test_a_relay_is_refused_whatever_it_brings(house: House, address: str, claim: Claim) -> None:
    with pytest.raises(CloudRelay) as refused:
        house.enter(claim, address)
    assert refused.value.delay_s == 0.0
    assert not refused.value.is_guess


def test_right_wrong_and_unknown_are_refused_alike_and_no_password_is_looked_at(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("looked at")

    monkeypatch.setattr(Authenticator, "authenticate", never)
    monkeypatch.setattr(Authenticator, "is_known", never)
    said = set()
    for login, password in ((ZOE, PASSWORD), (ZOE, "faux"), ("nobody@hopital-a.test", "faux")):
        with pytest.raises(CloudRelay) as refused:
            house.enter(Credentials(login, password), RELAYS[0])
        said.add((refused.value.reply, refused.value.imap, refused.value.imap_text))
    assert len(said) == 1


@pytest.mark.parametrize("address", OTHERS)
def test_outlook_classic_and_a_hospital_behind_one_address_notice_nothing(
    house: House, address: str
) -> None:
    assert house.enter(Credentials(ZOE, PASSWORD), address, "Microsoft Outlook")
    with pytest.raises(BadCredentials):
        house.enter(Credentials(ZOE, "faux"), address or "192.0.2.2")


def test_the_settings_add_except_replace_and_switch_off(house: House) -> None:
    right = Credentials(ZOE, PASSWORD)
    with pytest.raises(CloudRelay):
        house.enter(right, "198.51.100.9", cloud_ranges=["198.51.100.0/24"])
    assert house.enter(right, "40.99.1.1", cloud_except=["40.99.1.0/24"])
    assert house.enter(right, "40.99.1.1", cloud_shipped_ranges=False)
    assert house.enter(right, "40.99.1.1", cloud_relays="allow")
    with pytest.raises(CloudRelay):
        house.enter(right, "192.0.2.1", "Hosted Mail", cloud_clients=["hosted mail"])
    assert house.enter(right, "192.0.2.1", "Hosted", cloud_clients=["hosted mail"])
    with pytest.raises(ValidationError):
        AuthSettings.model_validate({"cloud_relays": "perhaps"})


def test_the_administrator_is_told_once_a_day_and_never_of_the_password(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    house.clock.advance(40 * 86_400)
    before = house.traces()
    since = house.clock.now()
    caplog.set_level(logging.WARNING)
    logins = house.logins()

    async def thrice() -> None:
        peer = Peer(RELAYS[0], lambda: False)
        for claim in (Credentials(ZOE, "faux"), Credentials(ZOE.upper(), PASSWORD), ScramName(ZOE)):
            with pytest.raises(CloudRelay):
                await logins.enter(claim, peer)
        with pytest.raises(CloudRelay):
            await logins.enter(Credentials("nobody@hopital-a.test", "canari"), peer)

    asyncio.run(thrice())
    logins.close()
    told = house.traces()[: len(house.traces()) - len(before)]
    request = f"relais de messagerie (Microsoft), adresse {RELAYS[0]}"
    assert told == [(ZOE, request, "refusé avant examen")]
    assert house.store.read(lambda r: r.cloud_attempts(since)).result() == (AccountId(1),)
    logged = [
        vars(one)
        for one in caplog.records
        if one.msg == "alarm: cloud relay" and vars(one)["maker"] == "Microsoft"
    ]
    assert [(one["maker"], one["account"]) for one in logged] == [
        ("Microsoft", AccountId(1)),
        ("Microsoft", None),
    ]
    shown = repr(logged)
    assert not any(word in shown for word in ("zoe", "nobody", "faux", "canari", PASSWORD))


def test_the_holder_is_told_once_a_day_whichever_process_notices(house: House) -> None:
    house.clock.advance(40 * 86_400)
    usual, login = Address.parse("lea@poste.example"), "lea@hopital-a.test"

    def add(writing: Writing) -> None:
        person = writing.create_person(NewPerson(usual, "Durand", "Léa"))
        bal = writing.create_bal(Address.parse(login), BalType.MED)
        writing.give_box(person.account, bal.id)

    house.store.write(add).result()
    notices = NoticeSettings(relay_host="relais.example", portal_url="https://portail.example")
    desk = Desk(notices, {Domain("hopital-a.test")}, house.clock)
    for maker_of in (RELAYS[0], RELAYS[0], RELAYS[4]):  # processes that know nothing of each other
        guard = CloudGuard(AuthSettings.model_validate({}), house.store, house.clock, desk)
        with pytest.raises(CloudRelay):
            guard.judge(Credentials(login, PASSWORD), maker_of, "<a href=x>")
    (told,) = house.store.write(lambda writing: writing.waiting_notices()).result()
    assert (told.kind, told.to) == ("cloud-relay", usual)
    assert (told.values["product"], told.values["address"]) == ("Microsoft", RELAYS[0])
    assert not any(word in repr(told.values) for word in (PASSWORD, "href"))
    house.clock.advance(86_400)
    guard = CloudGuard(AuthSettings.model_validate({}), house.store, house.clock, desk)
    with pytest.raises(CloudRelay):
        guard.judge(Credentials(login, PASSWORD), RELAYS[4])
    assert len(house.store.write(lambda writing: writing.waiting_notices()).result()) == 2
    house.clock.advance(86_400)
    told_only = AuthSettings.model_validate({"cloud_relays": "tell"})
    CloudGuard(told_only, house.store, house.clock, desk).judge(
        Credentials(login, PASSWORD), RELAYS[4]
    )
    left = house.store.write(lambda writing: writing.waiting_notices()).result()
    assert len(left) == 2, "nobody hears of a refusal that was none"


def test_doctor_tells_who_tried_and_how_old_the_list_is(house: House) -> None:
    def found(days: int, **given: object) -> list[tuple[Severity, str, str]]:
        auth = AuthSettings.model_validate(given)
        now = house.clock.now() + timedelta(days=days)
        listed = cloud_findings(auth, house.store, now)
        return [(each.severity, each.why, each.remedy) for each in listed]

    with pytest.raises(CloudRelay):
        house.enter(Credentials(ZOE, PASSWORD), RELAYS[1])
    house.traces()  # behind what nobody waits for
    (who, _, remedy), (listed, age, no_remedy) = found(0)
    assert (who, listed, no_remedy) == (Severity.WARNING, Severity.OK, "")
    assert "change the password" in remedy
    assert f"{LISTED_ON}, {(house.clock.now().date() - LISTED_ON).days} days old" in age
    ((old, _, remedy),) = found(700)  # nobody tried for a month by then
    assert (old, "newer release" in remedy) == (Severity.WARNING, True)
    assert found(700, cloud_relays="allow") == found(700, cloud_shipped_ranges=False) == []


def test_where_they_are_only_told_the_login_goes_on(house: House) -> None:
    house.clock.advance(86_400)
    assert house.enter(Credentials(ZOE, PASSWORD), "40.99.1.1", cloud_relays="tell")
    assert house.traces()[0][2] == "signalé"


def test_every_shipped_range_is_public_and_named_by_its_maker() -> None:
    ranges = Ranges.of(AuthSettings.model_validate({}))
    networks = [network for _, listed in ranges.makers for network in listed]
    assert len(networks) == 33
    assert all(network.is_global for network in networks)
    assert ranges.maker("52.99.255.255") == "Microsoft"
    assert ranges.maker("2a00:1450:4864:20::32a") == "Google"
