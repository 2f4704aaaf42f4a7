"""Sessions that a token has opened end with what the token opened (ATT-18, ATT-25, OP-83)."""

from __future__ import annotations

from typing import Any

import pytest

from mssmtp import managesieve
from mssmtp.identity.entitled import entitled
from mssmtp.logins import Logins
from mssmtp.mail import Address, Principal, Role
from tests.imap_server.rig import SERVICE
from tests.managesieve.conftest import House, Wire

MEMBER = "membre0@hopital-a.test"
SUBJECT = "899900000110"


def bound(house: House) -> int:
    """The subject stands for a member who is responsible for the box of the service."""

    def job(writing: Any) -> int:
        box, member = writing.bal(Address.parse(SERVICE)), writing.account(MEMBER)
        writing.add_member(box.id, member.id, Role.RESPONSABLE)
        number: int = writing.bind_account("psc", SUBJECT, member.id)
        return number

    return house.store.write(job).result()


async def by_token(house: House, port: int, box: str, patch: pytest.MonkeyPatch) -> Wire:
    """A session that the token has opened: only its judge is left out."""

    async def judged(*_: object) -> Principal:
        return house.store.read(lambda r: entitled(r, SUBJECT, box)).result()

    patch.setattr(Logins, "enter", judged)
    return await house.client(port)


@pytest.mark.attack("ATT-25")
@pytest.mark.parametrize("box", [MEMBER, SERVICE])
async def test_att_25_an_identity_that_is_bound_no_more_sorts_no_mail(
    house: House, monkeypatch: pytest.MonkeyPatch, box: str
) -> None:
    number = bound(house)
    async with house.door() as port:
        wire = await by_token(house, port, box, monkeypatch)
        assert await wire.say(b"LISTSCRIPTS") == "OK\r\n"
        house.store.write(lambda w: w.unbind(number)).result()
        assert (await wire.say(b"LISTSCRIPTS")).startswith("BYE")


@pytest.mark.attack("ATT-18")
async def test_att_18_a_session_by_token_has_an_end(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = bound(house)
    async with house.door() as port:
        wire = await by_token(house, port, MEMBER, monkeypatch)
        assert await wire.say(b"LISTSCRIPTS") == "OK\r\n"
        monkeypatch.setattr(managesieve, "is_over", lambda *_: True)
        assert (await wire.say(b"LISTSCRIPTS")).startswith("BYE")
    house.store.write(lambda w: w.unbind(number)).result()
