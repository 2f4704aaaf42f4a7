"""A mailbox of thousands of letters is copied from us to Debian's Dovecot and back, then compared.

    python -m tests.imap_copy --messages 10000

As migration tools do: FETCH in batches with flags, date and UID; APPEND of many at once with
LITERAL+ and MULTIAPPEND; the APPENDUIDs say what became what (MAC-06, RFC 3502, RFC 4315).
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import imaplib
import random
import re
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mssmtp.demo.authority import Authority
from tests.authority import A_SUBJECT, shared_keys
from tests.dovecot import dovecot
from tests.imap.answers import Answer, read
from tests.imap.world import message
from tests.imap_server.rig import PASSWORD, ZOE, make_rig

BATCH = 100
KEYWORDS = (b"$Forwarded", b"$MDNSent", b"PrisEnCharge")
SYSTEM = (b"\\Seen", b"\\Answered", b"\\Flagged", b"\\Deleted", b"\\Draft")


@dataclass(frozen=True, slots=True)
class Copied:
    """What must be the same on both sides of a copy."""

    flags: frozenset[bytes]
    internal_date: float
    digest: bytes


class Session:
    """One client; commands are answered before the next one."""

    def __init__(self, port: int, login: bytes, context: ssl.SSLContext | None) -> None:
        self._socket: socket.socket = socket.create_connection(("127.0.0.1", port), 60.0)
        if context is not None:
            self._socket = context.wrap_socket(self._socket)
        self._file = self._socket.makefile("rb")
        self._file.readline()
        self._tags = iter(range(1, 1_000_000))
        self.command(b"LOGIN " + login)

    def command(self, text: bytes) -> list[Answer]:
        """Every answer to a command that must succeed, the tagged one last."""
        tag = b"c%d" % next(self._tags)
        self._socket.sendall(tag + b" " + text + b"\r\n")
        said = bytearray()
        while True:
            line = self._file.readline()
            assert line, bytes(said[-500:])
            said += line
            if line.startswith(tag + b" "):
                break
            while found := re.search(rb"\{(\d+)\}\r\n\Z", line):
                said += self._file.read(int(found[1]))
                line = self._file.readline()
                said += line
        answers = read(bytes(said))
        assert answers[-1].kind == b"OK", bytes(said[-500:])
        return answers

    def close(self) -> None:
        """Leave."""
        self._file.close()
        self._socket.close()


def letters(session: Session, mailbox: bytes) -> Iterator[tuple[int, Copied, bytes]]:
    """UID, what is compared, and the octets of every message, in order."""
    (exists,) = (a for a in session.command(b"EXAMINE " + mailbox) if a.kind == b"EXISTS")
    count = int(_octets(exists.values[0]))
    for start in range(1, count + 1, BATCH):
        wanted = b"%d:%d" % (start, min(count, start + BATCH - 1))
        asked = b"FETCH %b (UID FLAGS INTERNALDATE BODY.PEEK[])" % wanted
        for answer in session.command(asked):
            if answer.kind == b"FETCH":
                yield _letter(answer)


def _letter(answer: Answer) -> tuple[int, Copied, bytes]:
    items = answer.values[2]
    assert isinstance(items, list)
    found = dict(zip((_octets(name) for name in items[::2]), items[1::2], strict=True))
    flags, octets = found[b"FLAGS"], _octets(found[b"BODY[]"])
    assert isinstance(flags, list)
    at = imaplib.Internaldate2tuple(b'INTERNALDATE "%b"' % _octets(found[b"INTERNALDATE"]))
    assert at is not None
    copied = Copied(
        frozenset(_octets(flag) for flag in flags) - {b"\\Recent"},
        time.mktime(at),
        hashlib.sha256(octets).digest(),
    )
    return int(_octets(found[b"UID"])), copied, octets


def _octets(value: object) -> bytes:
    assert isinstance(value, bytes)
    return value


def copy(source: Session, target: Session, mailbox: bytes, into: bytes) -> dict[int, int]:
    """Copy all of `mailbox`; the UID there of each UID here, as the target said it."""
    became: dict[int, int] = {}
    waiting: list[tuple[int, bytes]] = []

    def hand_over() -> None:
        literals = b" ".join(part for _, part in waiting)
        tagged = target.command(b"APPEND %b %b" % (into, literals))[-1]
        assert tagged.code == b"APPENDUID"
        made = _uids(tagged.code_arguments.partition(b" ")[2])
        became.update(zip((uid for uid, _ in waiting), made, strict=True))
        waiting.clear()

    for uid, copied, octets in letters(source, mailbox):
        at = datetime.fromtimestamp(copied.internal_date, UTC).strftime("%d-%b-%Y %H:%M:%S +0000")
        flags = b" ".join(sorted(copied.flags))
        waiting.append((uid, b'(%b) "%b" {%d+}\r\n%b' % (flags, at.encode(), len(octets), octets)))
        if len(waiting) == BATCH // 2:
            hand_over()
    if waiting:
        hand_over()
    return became


def _uids(text: bytes) -> list[int]:
    found: list[int] = []
    for piece in text.split(b","):
        first, _, last = piece.partition(b":")
        found += range(int(first), int(last or first) + 1)
    return found


def compare(source: Session, target: Session, became: dict[int, int], mailbox: bytes) -> None:
    """Every message is there once, under the UID that was said, the same in all that counts."""
    here = {uid: copied for uid, copied, _ in letters(source, mailbox)}
    there = {uid: copied for uid, copied, _ in letters(target, mailbox)}
    assert {became[uid] for uid in here} == set(there)
    assert len(here) == len(there)
    different = [uid for uid, copied in here.items() if there[became[uid]] != copied]
    assert different == [], (
        f"{len(different)} are not the same: {here[different[0]]} {there[became[different[0]]]}"
    )
    assert sorted(became.values()) == [became[uid] for uid in sorted(became)]


def fill(session: Session, mailbox: bytes, count: int, seed: int) -> None:
    """Letters of all sizes, flags and dates."""
    chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
    session.command(b"CREATE " + mailbox)
    for start in range(0, count, BATCH):
        pieces = []
        for number in range(start, min(count, start + BATCH)):
            octets = message(number) + b"ligne\r\n" * chance.choice([0, 1, 50, 900])
            flags = b" ".join(chance.sample((*SYSTEM, *KEYWORDS), chance.randrange(4)))
            at = datetime.fromtimestamp(1_600_000_000 + chance.randrange(10**8), UTC)
            shown = at.strftime("%d-%b-%Y %H:%M:%S +0000").encode()
            pieces.append(b'(%b) "%b" {%d+}\r\n%b' % (flags, shown, len(octets), octets))
        session.command(b"APPEND %b %b" % (mailbox, b" ".join(pieces)))


def both_ways(ours: Session, theirs: Session, count: int) -> list[str]:
    """From us to them, and what they hold of their own to us; a line of figures each."""
    told = []
    for name, source, target, mailbox in (
        ("from us to Dovecot", ours, theirs, b"Depart"),
        ("from Dovecot to us", theirs, ours, b"Retour"),
    ):
        fill(source, mailbox, count, seed=count)
        target.command(b"CREATE " + mailbox)
        began = time.perf_counter()
        became = copy(source, target, mailbox, mailbox)
        took = time.perf_counter() - began
        compare(source, target, became, mailbox)
        told.append(
            f"{name}: {len(became):,} messages in {took:.1f} s, flags, dates, UIDs the same"
        )
    return told


async def run(count: int, directory: Path) -> list[str]:
    """Our door and theirs, for as long as it takes."""
    authority = Authority(datetime.now(UTC), make_key=shared_keys(10))
    identity = authority.issue(A_SUBJECT)
    rig = make_rig(authority, identity, directory)
    with dovecot() as peer:
        async with rig.door() as (_, port):
            login = b'%b "%b"' % (ZOE.encode(), PASSWORD.encode())

            def work() -> list[str]:
                ours = Session(port, login, rig.context)
                theirs = Session(peer.port, b"zoe sesame", None)
                try:
                    return both_ways(ours, theirs, count)
                finally:
                    ours.close()
                    theirs.close()

            told = await asyncio.to_thread(work)
    report = rig.store.check()
    rig.store.close()
    assert report.problems == ()
    return told


def main() -> int:
    """0 when nothing was lost or changed."""
    parser = argparse.ArgumentParser(prog="python -m tests.imap_copy", description=__doc__)
    parser.add_argument("--messages", type=int, default=10_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mssmtp-copy-") as place:
        print("\n".join(asyncio.run(run(asked.messages, Path(place)))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
