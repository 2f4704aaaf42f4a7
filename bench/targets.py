"""A server as a benchmark sees it, and the clients that knock at it."""

from __future__ import annotations

import os
import re
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol

FILLING = "INBOX"
_TIMEOUT_S = 120.0


# ---------------------------------------------------------------- who is measured


@dataclass(frozen=True, slots=True)
class Target:
    """One server, as a client and the process table see it."""

    name: str
    smtp_port: int
    imaps_port: int
    context: ssl.SSLContext
    sender: str
    logins: tuple[tuple[str, str], ...]
    roots: Callable[[], list[int]]
    drain: Callable[[], None]
    fill: Callable[[list[bytes]], None]
    """Messages for the first box, outside of what is measured."""

    def cpu_s(self) -> float:
        """Processor time of every process below the roots, ended ones included."""
        ticks = os.sysconf("SC_CLK_TCK")
        total = 0
        for pid in self.processes():
            with suppress(OSError):
                stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                total += sum(map(int, stat[11:15]))
        return total / ticks

    def processes(self) -> list[int]:
        """The roots and all below them."""
        found, waiting = [], self.roots()
        while waiting:
            pid = waiting.pop()
            found.append(pid)
            with suppress(OSError):
                for task in Path(f"/proc/{pid}/task").iterdir():
                    waiting += map(int, (task / "children").read_text().split())
        return found

    def memory_mb(self) -> float:
        """Memory of all of them, shared pages counted once (PSS)."""
        total = 0
        for pid in self.processes():
            with suppress(OSError):
                for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                    if line.startswith("Pss:"):
                        total += int(line.split()[1])
        return total / 1_024


# ---------------------------------------------------------------- clients


class Smtp:
    """One session that sends again and again."""

    def __init__(self, target: Target) -> None:
        raw = socket.create_connection(("127.0.0.1", target.smtp_port), _TIMEOUT_S)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket, self._replies = raw, raw.makefile("rb")
        self._expect(b"220")
        self._command("EHLO mx.perf.test")
        self._command("STARTTLS")
        self._socket = target.context.wrap_socket(raw)
        self._replies = self._socket.makefile("rb")
        self._command("EHLO mx.perf.test")

    def _expect(self, code: bytes) -> None:
        line = b""
        while line[3:4] != b" ":
            line = self._replies.readline()
            if not line:
                raise SystemExit("the server closed an SMTP session")
        if not line.startswith(code):
            raise SystemExit(f"{code.decode()} expected: {line.decode()}")

    def _command(self, text: str) -> None:
        self._socket.sendall(text.encode() + b"\r\n")
        self._expect(b"2")

    def send(self, sender: str, recipient: str, octets: bytes) -> None:
        """One message, pipelined as far as SMTP allows."""
        envelope = f"MAIL FROM:<{sender}>\r\nRCPT TO:<{recipient}>\r\nDATA\r\n"
        self._socket.sendall(envelope.encode())
        for code in (b"250", b"250", b"354"):
            self._expect(code)
        self._socket.sendall(octets)
        self._expect(b"250")

    def close(self) -> None:
        """Leave."""
        self._command("QUIT")
        self._socket.close()


_EXISTS = re.compile(rb"\* ([0-9]+) EXISTS\r\n")


class Port(Protocol):
    """Where IMAP is spoken."""

    @property
    def imaps_port(self) -> int:
        """Of loopback, TLS from the start."""
        ...


@cache
def users_context() -> ssl.SSLContext:
    """Of a mail program: one for all its connections. Nothing is checked."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


class Imap:
    """One session; a command is over when its tagged line is there."""

    def __init__(
        self, target: Port, login: tuple[str, str], session: ssl.SSLSession | None = None
    ) -> None:
        """`session`: of a connection before, to be taken up again."""
        raw = socket.create_connection(("127.0.0.1", target.imaps_port), _TIMEOUT_S)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = users_context().wrap_socket(raw, session=session)
        self._socket.recv(4_096)
        self._number = 0
        self.command(f'LOGIN "{login[0]}" "{login[1]}"')

    @property
    def session(self) -> ssl.SSLSession | None:
        """To be taken up again."""
        return self._socket.session

    @property
    def is_resumed(self) -> bool:
        """The server has taken up the session of the connection before."""
        return bool(self._socket.session_reused)

    def command(self, text: str) -> int:
        """Octets of the answer."""
        self._number += 1
        tag = b"x%dq7" % self._number
        self._socket.sendall(tag + b" " + text.encode() + b"\r\n")
        return self._tagged(tag, text)

    def append(self, *letters: bytes) -> None:
        """Messages into INBOX, without waiting for the go-ahead (LITERAL+)."""
        self._number += 1
        tag = b"x%dq7" % self._number
        literals = (b" {%d+}\r\n%b" % (len(octets), octets) for octets in letters)
        command = b"%s APPEND %s" % (tag, FILLING.encode())
        self._socket.sendall(b"".join([command, *literals, b"\r\n"]))
        self._tagged(tag, "APPEND")

    def idle(self) -> None:
        """Wait for news, until `done`."""
        self._socket.sendall(b"i IDLE\r\n")
        self.hear(b"+ ")

    def hear(self, what: bytes) -> None:
        """Read until a block holds `what`."""
        heard = b""
        while what not in heard:
            block = self._socket.recv(1 << 16)
            if not block:
                raise SystemExit("the server closed an idle session")
            heard += block

    def hear_of_more(self, than: int, within: float) -> int:
        """Read until the mailbox is told to hold more messages `than` that; how many it holds.

        Raises TimeoutError: nothing came `within` so many seconds.
        """
        self._socket.settimeout(within)
        heard, told = b"", than
        while told <= than:
            block = self._socket.recv(1 << 16)
            if not block:
                raise SystemExit("the server closed an idle session")
            heard += block
            told = max((int(number) for number in _EXISTS.findall(heard)), default=than)
        return told

    def done(self) -> None:
        """No longer idle."""
        self._socket.sendall(b"DONE\r\n")
        self.hear(b"i OK")

    def _tagged(self, tag: bytes, text: str) -> int:
        end, total, tail = b"\r\n" + tag + b" ", 0, b"\r\n"
        while True:
            block = self._socket.recv(1 << 18)
            if not block:
                raise SystemExit(f"the server closed an IMAP session: {text}")
            total += len(block)
            tail = (tail + block)[-4_096:]
            at = tail.rfind(end)
            if at >= 0 and tail.endswith(b"\r\n"):
                if not tail[at + len(end) :].startswith(b"OK"):
                    raise SystemExit(f"{text}: {tail[at:].decode(errors='replace')}")
                return total

    def close(self) -> None:
        """Leave."""
        self.command("LOGOUT")
        self._socket.close()
