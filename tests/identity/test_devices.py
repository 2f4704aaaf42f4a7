"""What a device's password is for: its service, its end, the switch of the structure (CL-31)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from mssmtp.identity import Authenticator, BadCredentials, Credentials, app_password
from mssmtp.logins import Logins, Peer
from mssmtp.mail import Principal, Structure, StructureId
from tests.identity.fakes import Clock, Entropy, Store, box
from tests.identity.test_scram import log_in as by_scram
from tests.identity.test_scram import zoe

ZOE, PASSWORD = "zoe@hopital-a.test", "abcdefghjkmnpqrstuvw"
CHV = StructureId(7)


@pytest.fixture(autouse=True)
def _quick_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_password, "COST", app_password.Cost(1, 8))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> Store:
    store = Store(clock, Entropy())
    store.structures[CHV] = Structure(CHV, "CH de Valmont", finess="690000013")
    store.add_password(store.add(ZOE, replace(box(ZOE), structure=CHV)), PASSWORD)
    return store


@pytest.fixture
def door(store: Store, clock: Clock) -> Authenticator:
    return Authenticator(store, clock, Entropy(b"process"))


@pytest.mark.requirement("CL-31")
@pytest.mark.parametrize("scope", ["", "imap", "smtp"])
@pytest.mark.parametrize("service", ["imap", "smtp-submission", "managesieve"])
def test_a_password_opens_the_service_it_was_made_for(
    door: Authenticator, store: Store, scope: str, service: str
) -> None:
    store.passwords[1] = replace(store.passwords[1], scope=scope)
    logins = Logins(door, service)

    async def enter() -> Principal:
        found = await logins.enter(Credentials(ZOE, PASSWORD), Peer("192.0.2.1", lambda: False))
        assert isinstance(found, Principal)
        return found

    fits = scope in ("", "smtp" if service.startswith("smtp") else "imap")
    for _ in range(2):  # the second time by what is remembered
        if fits:
            assert asyncio.run(enter()).app_password == 1
        else:
            with pytest.raises(BadCredentials):
                asyncio.run(enter())
    logins.close()


@pytest.mark.requirement("CL-31")
@pytest.mark.parametrize("how", ["password", "remembered", "proof"])
@pytest.mark.parametrize("what", ["its end", "structure"])
def test_att_18_its_end_and_the_switch_of_the_structure_are_felt_at_once(
    door: Authenticator, store: Store, clock: Clock, how: str, what: str
) -> None:
    store.passwords[1] = replace(store.passwords[1], expires_at=clock.at + timedelta(days=30))
    ways: dict[str, Callable[[], object]] = {
        "password": lambda: Authenticator(store, clock, Entropy()).authenticate(ZOE, PASSWORD),
        "remembered": lambda: door.authenticate(ZOE, PASSWORD),
        "proof": lambda: by_scram(door, zoe(PASSWORD)),
    }
    session = door.authenticate(ZOE, PASSWORD)
    ways[how]()
    if what == "structure":
        store.structures[CHV] = replace(store.structures[CHV], has_app_passwords=False)
    else:
        clock.advance(30 * 86_400)
    with pytest.raises(BadCredentials):
        ways[how]()
    with pytest.raises(BadCredentials):
        door.refresh(session)
