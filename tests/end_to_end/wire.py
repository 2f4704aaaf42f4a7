"""Octets on a socket, for what no honest client would send."""

from __future__ import annotations

import re
import socket
import ssl
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.space import Account, Operator, RunningSpace

TIMEOUT_S = 30.0
DOORS = ("operator", "submission", "submissions")
"""The three SMTP doors; `imap` and `imaps` are the other two."""


class Wire:
    """One connection, in clear or encrypted."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._unread = b""

    def encrypt(self, context: ssl.SSLContext) -> None:
        """The TLS handshake, now."""
        self._sock = context.wrap_socket(self._sock, server_hostname="localhost")

    def send(self, octets: bytes) -> None:
        self._sock.sendall(octets)

    def send_until_cut(self, octets: bytes) -> None:
        """Send what a server may stop reading at any moment."""
        with suppress(OSError):
            self._sock.sendall(octets)

    def line(self) -> bytes:
        """The next line, b"" at the end."""
        while b"\n" not in self._unread:
            octets = self._receive()
            if not octets:
                return b""
            self._unread += octets
        line, _, self._unread = self._unread.partition(b"\n")
        return line + b"\n"

    def reply(self) -> str:
        """The next SMTP reply, its last line; "" when the connection has ended."""
        while re.match(rb"\d{3}-", line := self.line()):
            pass
        return line.decode("ascii").rstrip("\r\n")

    def tagged(self, tag: str) -> str:
        """The tagged IMAP response; what came before is passed over, "" at the end."""
        while (line := self.line()) and not line.startswith(tag.encode() + b" "):
            pass
        return line.decode("ascii").rstrip("\r\n")

    def rest(self) -> bytes:
        """Everything up to the end of the connection. Raises TimeoutError when it stays open."""
        octets = self._unread
        self._unread = b""
        while more := self._receive():
            octets += more
        return octets

    def _receive(self) -> bytes:
        try:
            return self._sock.recv(65_536)
        except (ConnectionResetError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
            return b""

    def close(self) -> None:
        self._sock.close()


@contextmanager
def wire(port: int) -> Iterator[Wire]:
    """A connection in clear, its greeting still unread."""
    one = Wire(socket.create_connection(("127.0.0.1", port), TIMEOUT_S))
    try:
        yield one
    finally:
        one.close()


def begin_starttls(one: Wire, command: bytes = b"STARTTLS\r\n") -> None:
    """Say EHLO and STARTTLS up to the go-ahead."""
    one.reply()
    one.send(b"EHLO mx.guest.test\r\n")
    one.reply()
    one.send(command)
    go_ahead = one.reply()
    assert go_ahead.startswith("220 "), go_ahead


@contextmanager
def door(space: RunningSpace, name: str) -> Iterator[tuple[Wire, str, Account]]:
    """A session on B's operator door, or on a submission door of A, up to MAIL (not said yet).

    Yields the connection, the reverse-path to use and a box to write to.
    """
    to = space.b.doctor(0)
    if name == "operator":
        with wire(space.b.smtp) as one:
            begin_starttls(one)
            one.encrypt(space.peer_context(space.guest))
            one.send(b"EHLO mx.guest.test\r\n")
            assert one.reply().startswith("250 ")
            yield one, "labo@guest.test", to
        return
    sender = space.a.doctor(0)
    with wire(space.a.submission if name == "submission" else space.a.submissions) as one:
        if name == "submission":
            begin_starttls(one)
            one.encrypt(space.user_context())
        else:
            one.encrypt(space.user_context())
            one.reply()
        one.send(b"EHLO [127.0.0.1]\r\n")
        assert one.reply().startswith("250 ")
        one.send(b"AUTH PLAIN " + plain(sender) + b"\r\n")
        assert one.reply().startswith("235 ")
        yield one, sender.address, to


def plain(account: Account) -> bytes:
    """The SASL PLAIN response in base64."""
    return b64encode(f"\0{account.address}\0{account.password}".encode())


def open_data(one: Wire, sender: str, to: object) -> None:
    """MAIL, RCPT and DATA up to 354."""
    for command in (f"MAIL FROM:<{sender}>", f"RCPT TO:<{to}>", "DATA"):
        one.send(command.encode() + b"\r\n")
        reply = one.reply()
        assert reply[:3] in ("250", "354"), reply


@contextmanager
def imap(space: RunningSpace, operator: Operator, name: str) -> Iterator[Wire]:
    """A session on an IMAP door before login, encrypted."""
    with wire(operator.imap if name == "imap" else operator.imaps) as one:
        if name == "imap":
            one.line()
            one.send(b"s STARTTLS\r\n")
            assert one.tagged("s").startswith("s OK")
            one.encrypt(space.user_context())
        else:
            one.encrypt(space.user_context())
            one.line()
        yield one
