"""A client that caches by QRESYNC, over random histories and broken connections.

What it ends with is the mailbox, whatever the store has forgotten (RFC 7162 3.2, 6; a wrong
VANISHED makes clients throw their cache away).

The client believes exactly what RFC 7162 6 tells it to, and nothing the store says otherwise.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from mssmtp.imap import flag_lines
from mssmtp.imap.effects import Woken
from mssmtp.imap.numbers import NumberSet
from mssmtp.storage import Reading, tombstones
from tests.imap.world import Client, World, message

_EXISTS = re.compile(r"\* (\d+) EXISTS\Z")
_HIGHEST = re.compile(r".*\[HIGHESTMODSEQ (\d+)\]")
_VALIDITY = re.compile(r"\* OK \[UIDVALIDITY (\d+)\]")
_VANISHED = re.compile(r"\* VANISHED( \(EARLIER\))? ([\d:,]+)\Z")
_FETCH = re.compile(r"\* (\d+) FETCH \(UID (\d+)(?: FLAGS \(([^)]*)\))?(?: MODSEQ \((\d+)\))?\)\Z")


@dataclass
class Cache:
    """What is left of a session on the client's disk, and the session if there is one."""

    world: World
    random: random.Random
    validity: int = 0
    modseq: int = 0
    flags: dict[int, frozenset[str]] = field(default_factory=dict)
    client: Client | None = None
    count: int = 0

    def connect(self) -> None:
        """A new connection; what was cached is resynchronised, new messages are asked for."""
        self.client = self.world.client(select=None)
        self.client.ok("ENABLE QRESYNC")
        known = f" (QRESYNC ({self.validity} {self.modseq}{self._hints()}))" if self.modseq else ""
        if self.command(f"SELECT INBOX{known}") and self.discover():
            assert len(self.flags) == self.count, "the cache has another number of messages"

    def _hints(self) -> str:
        """Sometimes what it caches, sometimes some numbers that were right when it wrote them."""
        uids = sorted(self.flags)
        hints = ""
        if uids and self.random.random() < 0.5:
            hints += f" {uids[0]}:{uids[-1]}"
        if uids and self.random.random() < 0.5:
            at = sorted(self.random.sample(range(len(uids)), min(3, len(uids))))
            numbers = ",".join(str(number + 1) for number in at)
            hints += f" ({numbers} {','.join(str(uids[number]) for number in at)})"
        return hints

    def discover(self) -> bool:
        """Flags of what came since."""
        first = max(self.flags, default=0) + 1
        return self.command(f"UID FETCH {first}:* (FLAGS)", new=True)

    def command(self, text: str, *, new: bool = False, breaks: bool = True) -> bool:
        """One command; False when the connection broke before its end was heard."""
        assert self.client is not None
        tagged, lines = self.client.command(text)
        assert not tagged.startswith("BAD"), f"{text}: {tagged}"
        cut = breaks and self.random.random() < 0.1
        heard = lines[: self.random.randint(0, len(lines))] if cut else lines
        modseqs = [self._believe(line, text, new=new) for line in heard]
        if cut:
            self.lose()
            return False
        codes = [found[1] for line in [*lines, tagged] if (found := _HIGHEST.match(line))]
        highest = int(codes[-1]) if codes else max(modseqs, default=0)
        if codes or highest > self.modseq:
            self.modseq = highest
        return True

    def lose(self) -> None:
        """The connection is gone."""
        assert self.client is not None
        self.client.wake(Woken.CLOSED)
        self.client = None

    def _believe(self, line: str, command: str, *, new: bool) -> int:
        if found := _EXISTS.match(line):
            self.count = int(found[1])
        elif found := _VALIDITY.match(line):
            if int(found[1]) != self.validity:
                self.validity, self.modseq, self.flags = int(found[1]), 0, {}
        elif found := _VANISHED.match(line):
            gone = set(NumberSet.parse(found[2].encode()).numbers())
            if not found[1]:
                self.count -= len(gone)
            self.flags = {uid: flags for uid, flags in self.flags.items() if uid not in gone}
        elif found := _FETCH.match(line):
            uid = int(found[2])
            if new or uid in self.flags:
                self.flags[uid] = self._flags(found[3], command, uid)
            return int(found[4] or 0)
        else:
            assert not re.search(r" EXPUNGE\Z| FETCH ", line), line
        return 0

    def _flags(self, told: str | None, command: str, uid: int) -> frozenset[str]:
        """As told; of a silent STORE the client knows itself what it has done."""
        if told is not None:
            return frozenset(told.split()) - {"\\Recent"}
        sign, flag = re.findall(r"([+-])FLAGS\.SILENT \((\S+)\)", command)[0]
        return self.flags[uid] | {flag} if sign == "+" else self.flags[uid] - {flag}


def _somebody_else(random_: random.Random, other: Client) -> None:
    uid, flag = random_.randint(1, 30), random_.choice(["\\Deleted", "\\Seen", "$Lu"])
    match random_.randrange(6):
        case 0:
            other.world.deliver(message(uid))
        case 1 | 2:
            other.ok(f"UID STORE {uid}:* {random_.choice('+-')}FLAGS.SILENT ({flag})")
        case 3:
            other.ok(f"UID STORE {uid} +FLAGS.SILENT (\\Deleted)")
            other.ok("EXPUNGE")
        case 4:
            other.ok(f"UID MOVE {uid} Trash")
        case _:
            other.ok(f"UID COPY {uid} INBOX")


def _step(random_: random.Random, cache: Cache) -> None:
    if cache.client is None:
        cache.connect()
        return
    uids = sorted(cache.flags)
    flag = random_.choice(["\\Deleted", "\\Flagged", "\\Seen"])
    number = random_.randint(1, cache.count) if cache.count else 0
    match random_.randrange(9):
        case 0 | 7 if number:
            cache.command(f"STORE {number} {random_.choice('+-')}FLAGS.SILENT ({flag})")
        case 1 if number:
            cache.command(f"FETCH 1:{number} (UID FLAGS MODSEQ)")
        case 2:
            cache.command("EXPUNGE")
        case 3 if uids:
            uid = random_.choice(uids)
            cache.command(f"UID STORE {uid} (UNCHANGEDSINCE {cache.modseq}) +FLAGS ({flag})")
        case 4:
            cache.command("NOOP")
        case 8:
            cache.lose()
        case 5 if cache.modseq:
            cache.command(f"UID FETCH 1:* (FLAGS) (CHANGEDSINCE {cache.modseq} VANISHED)")
        case _:
            cache.discover()


def _play(world: World, seed: int) -> None:
    random_ = random.Random(seed)  # noqa: S311 - a seed makes the run repeatable
    world.fill(6)
    cache, other = Cache(world, random_), world.client()
    for _ in range(60):
        if random_.random() < 0.5:
            _somebody_else(random_, other)
        else:
            _step(random_, cache)
    cache.random = random.Random(0.5)  # noqa: S311
    for _ in range(20):  # until nothing breaks
        if cache.client is None:
            cache.connect()
        elif cache.command("NOOP", breaks=False) and cache.discover():
            break
    rows = world.store.read(_rows(world)).result()
    assert cache.flags == rows


def _rows(world: World) -> Callable[[Reading], dict[int, frozenset[str]]]:
    def query(reading: Reading) -> dict[int, frozenset[str]]:
        inbox = reading.mailbox(world.zoe.id, "INBOX")
        assert inbox is not None
        return {int(row.uid): row.flags for row in reading.messages(inbox.id)}

    return query


@pytest.mark.parametrize("seed", range(10))
def test_a_cache_that_is_resynchronised_is_the_mailbox(
    world: World, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if seed % 2:  # the store forgets almost everything
        monkeypatch.setattr(tombstones, "KEPT", 2)
        monkeypatch.setattr(tombstones, "STEP", 1)
    monkeypatch.setattr(flag_lines, "LEAST", 1 if seed % 3 else 64)
    _play(world, seed)
