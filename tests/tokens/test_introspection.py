"""The issuer is asked once, within a client's patience; what it does not say is not invented."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timedelta
from typing import Protocol

import pytest

from mssmtp import introspection
from mssmtp.config_tokens import secret_of
from mssmtp.errors import ConfigError
from mssmtp.identity.tokens import CannotBeAsked, Rules, TokenRefused
from mssmtp.introspection import REFUSED_FOR_S, Introspection
from tests.identity.fakes import Clock

ISSUER = "https://psc.example/realms/test"
ZOE = "899900000110"


class Now(Protocol):
    def now(self) -> datetime: ...


class Issuer:
    """Says of every token what it is told to say; `gate` closed: it says nothing."""

    def __init__(self, clock: Now, life_s: int = 240) -> None:
        self.clock, self.life_s = clock, life_s
        self.asked: list[str] = []
        self.now_asking = self.most_at_once = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.revoked: set[str] = set()
        self.trouble: Exception | None = None
        self.subject = ZOE

    async def __call__(self, token: str) -> bytes:
        self.asked.append(token)
        self.now_asking += 1
        self.most_at_once = max(self.most_at_once, self.now_asking)
        try:
            await self.gate.wait()
        finally:
            self.now_asking -= 1
        if self.trouble is not None:
            raise self.trouble
        if token in self.revoked:
            return b'{"active":false}'
        end = (self.clock.now() + timedelta(seconds=self.life_s)).timestamp()
        claims = {
            "active": True,
            "iss": ISSUER,
            "exp": end,
            "typ": "Bearer",
            "SubjectNameID": self.subject,
            "azp": "lps-essai",
            "jti": "j",
        }
        return json.dumps(claims).encode()

    async def close(self) -> None:
        return


@pytest.fixture
def clock() -> Clock:
    return Clock()


def made(issuer: Issuer, clock: Clock, timeout_s: float = 8.0) -> Introspection:
    return Introspection(issuer, Rules(ISSUER), clock, timeout_s)


@pytest.mark.requirement("CL-21", "CL-24")
async def test_twenty_logins_a_minute_with_one_token_ask_once(clock: Clock) -> None:
    issuer = Issuer(clock)
    tokens = made(issuer, clock)
    for _ in range(20):
        assert (await tokens.subject("t")).national_id == ZOE
        clock.advance(2.5)
    assert issuer.asked == ["t"]
    clock.advance(10.5)  # 60 s after the answer
    await tokens.subject("t")
    assert issuer.asked == ["t", "t"]


@pytest.mark.requirement("CL-24")
async def test_a_hundred_logins_at_once_with_one_token_ask_once(clock: Clock) -> None:
    issuer = Issuer(clock)
    issuer.gate.clear()
    tokens = made(issuer, clock)
    logins = [asyncio.create_task(tokens.subject("t")) for _ in range(100)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    logins[0].cancel()  # who asked first goes away: the others have their answer all the same
    issuer.gate.set()
    found = await asyncio.gather(*logins, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError)
    assert {getattr(each, "national_id", None) for each in found[1:]} == {ZOE}
    assert issuer.asked == ["t"]


@pytest.mark.requirement("CL-21")
async def test_an_answer_is_believed_until_the_token_ends_and_no_longer(clock: Clock) -> None:
    issuer = Issuer(clock, life_s=30)
    tokens = made(issuer, clock)
    await tokens.subject("t")
    clock.advance(29)
    await tokens.subject("t")
    assert len(issuer.asked) == 1
    clock.advance(1)
    issuer.revoked.add("t")
    with pytest.raises(TokenRefused):
        await tokens.subject("t")


async def test_two_tokens_are_two_questions_and_no_answer_is_anothers(clock: Clock) -> None:
    issuer = Issuer(clock)
    issuer.revoked.add("bad")
    tokens = made(issuer, clock)
    found = await asyncio.gather(
        tokens.subject("good"), tokens.subject("bad"), return_exceptions=True
    )
    assert isinstance(found[1], TokenRefused)
    assert not isinstance(found[0], BaseException)


async def test_a_refused_token_is_not_asked_about_in_a_loop(clock: Clock) -> None:
    issuer = Issuer(clock)
    issuer.revoked.add("t")
    tokens = made(issuer, clock)
    for _ in range(50):
        with pytest.raises(TokenRefused):
            await tokens.subject("t")
    assert len(issuer.asked) == 1
    clock.advance(REFUSED_FOR_S + 1)
    with pytest.raises(TokenRefused):
        await tokens.subject("t")
    assert len(issuer.asked) == 2


async def test_silence_is_an_outage_and_the_next_login_asks_again(clock: Clock) -> None:
    issuer = Issuer(clock)
    issuer.gate.clear()
    tokens = made(issuer, clock, timeout_s=0.01)
    with pytest.raises(CannotBeAsked) as caught:
        await tokens.subject("t")
    assert (caught.value.reply.code, caught.value.imap) == (454, "UNAVAILABLE")
    issuer.gate.set()
    assert (await tokens.subject("t")).national_id == ZOE


async def test_an_outage_is_no_refusal(clock: Clock) -> None:
    issuer = Issuer(clock)
    issuer.trouble = CannotBeAsked("status 401")
    tokens = made(issuer, clock)
    with pytest.raises(CannotBeAsked):
        await tokens.subject("t")
    issuer.trouble = None
    await tokens.subject("t")


@pytest.mark.attack("ATT-41")
async def test_att_41_a_flood_of_tokens_is_bounded(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(introspection, "WAITING", 50)
    issuer = Issuer(clock)
    issuer.gate.clear()
    tokens = made(issuer, clock)
    logins = [asyncio.create_task(tokens.subject(str(number))) for number in range(80)]
    refused, waiting = await asyncio.wait(logins, timeout=0.05)
    assert len(refused) == 30
    assert all(isinstance(each.exception(), CannotBeAsked) for each in refused)
    assert issuer.most_at_once == introspection.AT_ONCE
    issuer.gate.set()
    await asyncio.gather(*waiting)
    await tokens.close()


def test_a_secret_that_others_may_read_is_refused(tmp_path: object) -> None:
    from pathlib import Path

    path = Path(str(tmp_path)) / "secret"
    for octets, mode in ((b"s3cret\n", 0o640), (b"\n", 0o600), (b"\xff", 0o600)):
        path.write_bytes(octets)
        path.chmod(mode)
        with pytest.raises(ConfigError):
            secret_of(path)
    path.write_bytes(b"s3cret\n")
    path.chmod(0o600)
    assert secret_of(path) == "s3cret"
    with pytest.raises(ConfigError):
        secret_of(path.with_name("none"))
