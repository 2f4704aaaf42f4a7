"""A hostile client: octets on a socket, no library that would be too polite."""

from __future__ import annotations

import base64
import socket
import ssl
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Self

from tests.space import Account, Operator, RunningSpace

TIMEOUT_S = 20.0
ATTACKER = "127.0.0.1"
HONEST = "127.0.0.2"
"""Address of honest clients, so that limits per address are seen to be per address."""


class Wire:
    """One connection. `line` and `reply` raise EOFError when the server has closed it."""

    def __init__(self, port: int, source: str = ATTACKER) -> None:
        address = ("127.0.0.1", port)
        self.socket: socket.socket = socket.create_connection(address, TIMEOUT_S, (source, 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._read = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def secure(self, context: ssl.SSLContext) -> Self:
        """The TLS handshake, now."""
        self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
        return self

    def send(self, octets: bytes) -> None:
        self.socket.sendall(octets)

    def line(self) -> bytes:
        """The next line without its end."""
        while b"\n" not in self._read:
            octets = self.socket.recv(65_536)
            if not octets:
                raise EOFError
            self._read += octets
        line, _, self._read = self._read.partition(b"\n")
        return line.removesuffix(b"\r")

    def exactly(self, octets: int) -> bytes:
        """That many octets: a literal."""
        while len(self._read) < octets:
            more = self.socket.recv(65_536)
            if not more:
                raise EOFError
            self._read += more
        found, self._read = self._read[:octets], self._read[octets:]
        return found

    def is_closed(self) -> bool:
        """Read to the end; True when the server ends the connection."""
        with suppress(ConnectionError, ssl.SSLError):
            while self.socket.recv(65_536):
                pass
        return True

    # ------------------------------------------------------------ SMTP

    def reply(self) -> str:
        """The last line of the next SMTP reply."""
        while (line := self.line())[3:4] == b"-":
            pass
        return line.decode("ascii")

    def say(self, command: bytes) -> str:
        """One SMTP command and its reply."""
        self.send(command + b"\r\n")
        return self.reply()

    # ------------------------------------------------------------ IMAP

    def until(self, tag: bytes) -> list[bytes]:
        """Lines up to the tagged one, literals as they come, or up to BYE."""
        lines = []
        while True:
            line = self.line()
            lines.append(line)
            if line.startswith((tag + b" ", b"* BYE")):
                return lines

    def ask(self, command: bytes, tag: bytes = b"a") -> list[bytes]:
        """One IMAP command and its lines, the tagged one last."""
        self.send(tag + b" " + command + b"\r\n")
        return self.until(tag)

    def ok(self, command: bytes) -> list[bytes]:
        """As `ask`, for a command that must succeed."""
        lines = self.ask(command)
        assert lines[-1].startswith(b"a OK"), lines[-1]
        return lines


@contextmanager
def peer(
    space: RunningSpace, victim: Operator, certificate: tuple[str, str] | None
) -> Iterator[Wire]:
    """A session on the operator door after STARTTLS and EHLO."""
    with Wire(victim.smtp) as wire:
        wire.reply()
        wire.say(b"EHLO mx.guest.test")
        assert wire.say(b"STARTTLS").startswith("220")
        wire.secure(space.peer_context(certificate))
        wire.say(b"EHLO mx.guest.test")
        yield wire


@contextmanager
def submitter(space: RunningSpace, operator: Operator, account: Account) -> Iterator[Wire]:
    """A logged-in session on 465."""
    with Wire(operator.submissions).secure(space.user_context()) as wire:
        wire.reply()
        wire.say(b"EHLO localhost")
        assert wire.say(b"AUTH PLAIN " + plain(account.address, account.password))[:3] == "235"
        yield wire


def plain(login: str, password: str) -> bytes:
    """An initial response."""
    return base64.b64encode(f"\0{login}\0{password}".encode())


@contextmanager
def reader(
    space: RunningSpace,
    operator: Operator,
    account: Account | None,
    source: str = ATTACKER,
) -> Iterator[Wire]:
    """A session on 993, logged in unless `account` is None."""
    with Wire(operator.imaps, source).secure(space.user_context()) as wire:
        wire.line()
        if account is not None:
            wire.ok(f'LOGIN "{account.address}" "{account.password}"'.encode())
        yield wire


def transaction(wire: Wire, sender: str, recipients: Iterable[object], octets: bytes) -> str:
    """One mail transaction; the reply that ended it."""
    reply = wire.say(f"MAIL FROM:<{sender}>".encode())
    for recipient in recipients if reply.startswith("250") else ():
        reply = wire.say(f"RCPT TO:<{recipient}>".encode())
    if not reply.startswith("250"):
        return reply
    assert wire.say(b"DATA").startswith("354")
    wire.send(octets + b"\r\n.\r\n")
    return wire.reply()


# ---------------------------------------------------------------- load


@contextmanager
def flood(wires: Iterable[Wire], octets: bytes) -> Iterator[None]:
    """Send `octets` on every connection again and again, and read what comes, meanwhile."""
    stop = threading.Event()
    wires = tuple(wires)

    def write(wire: Wire) -> None:
        with suppress(OSError):
            while not stop.is_set():
                wire.send(octets)

    def read(wire: Wire) -> None:
        with suppress(OSError):
            while wire.socket.recv(65_536):
                pass

    threads = [
        threading.Thread(target=task, args=(wire,)) for wire in wires for task in (write, read)
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for wire in wires:
            with suppress(OSError):
                # Not close: a thread is inside a call on this socket.
                socket.socket.shutdown(wire.socket, socket.SHUT_RDWR)
        for thread in threads:
            thread.join()
