"""SCRAM with channel binding at the submission door, with a library of others (RFC 4954 4)."""

from __future__ import annotations

import asyncio
import socket
from typing import cast

import pytest

from mssmtp.identity import Authenticator, app_password
from tests.identity.bound_client import Wire, connected, scram
from tests.identity.fakes import Clock, Entropy, Store
from tests.smtp_in.fakes import PASSWORD, ZOE, FakeLogins
from tests.smtp_in.rig import Rig

ANSWER = b"235 2.7.0"


@pytest.fixture
def logins(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> Rig:
    monkeypatch.setattr(app_password, "COST", app_password.Cost(1, 8))
    clock = Clock()
    store = Store(clock, Entropy())
    store.add_password(store.add(str(ZOE)), PASSWORD)
    rig.logins = cast(FakeLogins, Authenticator(store, clock, Entropy(b"process")))
    return rig


def starttls(sock: socket.socket) -> None:
    file = sock.makefile("rwb", buffering=0)
    file.readline()
    file.write(b"EHLO client.test\r\n")
    while file.readline()[3:4] == b"-":
        pass
    file.write(b"STARTTLS\r\n")
    assert file.readline().startswith(b"220 ")


def log_in(wire: Wire, mechanism: str, password: str, *, initial: bool) -> bytes:
    started: list[bool] = []

    def say(line: bytes) -> bytes:
        if started:
            wire.send(line)
        elif initial:
            wire.send(b"AUTH " + mechanism.encode() + b" " + line)
        else:
            wire.send(b"AUTH " + mechanism.encode())
            assert wire.line() == b"334 "
            wire.send(line)
        started.append(True)
        return wire.line()

    bound = "tls-exporter" if mechanism.endswith("PLUS") else ""
    return scram(say, mechanism, (str(ZOE), password), wire, bound)


@pytest.mark.parametrize("initial", [True, False], ids=["initial response", "none"])
@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"])
async def test_gnu_sasl_logs_in(logins: Rig, mechanism: str, *, initial: bool) -> None:
    def session(port: int) -> None:
        with connected(port, before=starttls) as wire:
            wire.send(b"EHLO client.test")
            said = []
            while (line := wire.line())[3:4] == b"-":
                said.append(line)
            assert line == b"250 AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN"
            assert log_in(wire, mechanism, "wrong", initial=initial).startswith(b"535 5.7.8")
            assert log_in(wire, mechanism, PASSWORD, initial=initial).startswith(ANSWER)

    async with logins.submission() as (_, port):
        await asyncio.to_thread(session, port)
