"""SCRAM with channel binding over real TLS: a library of others proves, and believes us."""

from __future__ import annotations

import asyncio
import socket

import pytest

from tests.identity.bound_client import Wire, connected, scram
from tests.imap_server.rig import PASSWORD, ZOE, Rig


def log_in(wire: Wire, mechanism: str, password: str, binding: str = "") -> bytes:
    lines = [b"a AUTHENTICATE " + mechanism.encode() + b" "]

    def say(line: bytes) -> bytes:
        wire.send((lines.pop() if lines else b"") + line)
        return wire.line()

    return scram(say, mechanism, (ZOE, password), wire, binding)


def starttls(sock: socket.socket) -> None:
    file = sock.makefile("rwb", buffering=0)
    assert b"LOGINDISABLED" in file.readline()
    file.write(b"s STARTTLS\r\n")
    assert file.readline().startswith(b"s OK")


@pytest.mark.parametrize("tls_1_2", [False, True], ids=["TLS 1.3", "TLS 1.2"])
@pytest.mark.parametrize("implicit_tls", [False, True], ids=["143", "993"])
@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"])
async def test_gnu_sasl_logs_in(
    rig: Rig, mechanism: str, *, implicit_tls: bool, tls_1_2: bool
) -> None:
    def session(port: int) -> None:
        before = None if implicit_tls else starttls
        with connected(port, tls_1_2=tls_1_2, before=before) as wire:
            if implicit_tls:
                assert b"AUTH=SCRAM-SHA-256-PLUS AUTH=SCRAM-SHA-256 AUTH=PLAIN" in wire.line()
            bound = "tls-exporter" if mechanism.endswith("PLUS") else ""
            assert log_in(wire, mechanism, "wrong", bound).startswith(b"a NO [AUTHENT")
            assert log_in(wire, mechanism, PASSWORD, bound).startswith(b"a OK [CAPABILITY")
            wire.send(b"b SELECT INBOX")
            while not (line := wire.line()).startswith(b"b "):
                pass
            assert line.startswith(b"b OK")

    async with rig.door(implicit_tls=implicit_tls) as (_, port):
        await asyncio.to_thread(session, port)


@pytest.mark.attack
async def test_a_proof_for_another_connection_is_worth_nothing(rig: Rig) -> None:
    """Somebody in the middle passes on what a client proves for his connection."""

    def session(port: int) -> None:
        with connected(port) as middle, connected(port) as wire:
            wire.line()
            bindings = middle.bindings()
            wire.bindings = lambda: bindings  # type: ignore[method-assign]
            said = log_in(wire, "SCRAM-SHA-256-PLUS", PASSWORD, "tls-exporter")
            assert said.startswith(b"a NO [AUTHENTICATIONFAILED]")

    async with rig.door() as (_, port):
        await asyncio.to_thread(session, port)
