"""One client of the soak: it believes what it is told, and objects to what cannot be.

Sequence numbers, UIDs, flags and modseqs are kept as RFC 3501 5.2, 7.4.1, 7.4.2 and RFC 7162 tell a
client to; every response is held against that and against what other clients were told.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from collections import defaultdict, deque
from dataclasses import dataclass, field

from tests.imap_soak.truth import UNORDERED, Flags, Truth, Violation

LITERAL = re.compile(rb"\{(\d+)\}\r\n\Z")
NUMBERED = re.compile(r"\* (\d+) (EXISTS|EXPUNGE|RECENT)\Z")
FETCH = re.compile(r"\* (\d+) (UID)?FETCH \((.*)\)\Z", re.DOTALL)
VANISHED = re.compile(r"\* VANISHED( \(EARLIER\))? ([\d:,]+)\Z")
HIGHEST = re.compile(r"\[HIGHESTMODSEQ (\d+)\]")
VALIDITY = re.compile(r"\[UIDVALIDITY (\d+)\]")
SUBJECT = re.compile(r"Subject: (\S+)\r\n")
PATIENCE_S = 60.0


class Gone(Exception):
    """The server said BYE: the mailbox went away."""


@dataclass
class View:
    """One selected mailbox as the client knows it; a cache between sessions for QRESYNC."""

    validity: int = 0
    uids: list[int | None] = field(default_factory=list)
    flags: dict[int, Flags] = field(default_factory=dict)
    modseqs: dict[int, int] = field(default_factory=dict)
    highest: int = 0
    is_ordered: bool = True
    """False for UIDONLY: without numbers nobody knows where an unnamed message stands."""

    def place(self, uid: int) -> int | None:
        """Where `uid` is, or may be among those that were never named."""
        if uid in self.uids:
            return self.uids.index(uid)
        is_free = not self.is_ordered and None in self.uids
        if is_free:
            self.uids.remove(None)  # where it stood was never said
        at = max((at for at, each in enumerate(self.uids) if each and each < uid), default=-1) + 1
        if is_free:
            self.uids.insert(at, None)
        return at if at < len(self.uids) and self.uids[at] is None else None

    def lose(self, uid: int | None) -> None:
        if uid is not None:
            self.flags.pop(uid, None)
            self.modseqs.pop(uid, None)


@dataclass
class Session:
    """A connection. `dialect`: what is switched on by ENABLE; `is_notified`: and by NOTIFY, so that
    the selected mailbox speaks between commands."""

    name: str
    dialect: tuple[str, ...]
    truth: Truth
    context: ssl.SSLContext
    port: int
    login: tuple[str, str]
    is_notified: bool = False
    view: View = field(default_factory=View)
    selected: str = ""
    last: deque[str] = field(default_factory=lambda: deque(maxlen=300))
    seen: defaultdict[tuple[int, int], list[Flags]] = field(
        default_factory=lambda: defaultdict(list)
    )
    commands: int = 0
    found: list[int] = field(default_factory=list)
    first: dict[int, int] = field(default_factory=dict)
    """The modseq of each message that its last command was told first."""
    _began: float = 0.0
    _sent: float = 0.0
    _may_expunge: bool = True
    _is_leaving: bool = False
    """What still comes is of the mailbox before (RFC 7162 3.2.11, CLOSED)."""
    _modseqs: list[int] = field(default_factory=list)
    reader: asyncio.StreamReader = field(init=False)
    writer: asyncio.StreamWriter = field(init=False)

    @property
    def knows_modseqs(self) -> bool:
        return bool({"QRESYNC", "CONDSTORE"} & set(self.dialect))

    @property
    def uids_only(self) -> bool:
        return "UIDONLY" in self.dialect

    async def connect(self) -> None:
        """Log in and switch on."""
        self.reader, self.writer = await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=self.context, server_hostname="localhost", limit=1 << 22
        )
        self.selected, self._is_leaving = "", False
        await self._line()
        await self.ok('LOGIN "{}" "{}"'.format(*self.login))
        if self.dialect:
            await self.ok("ENABLE " + " ".join(self.dialect))
        if self.is_notified:
            await self.ok(
                "NOTIFY SET (selected (MessageNew (FLAGS MODSEQ) MessageExpunge FlagChange))"
            )

    def close(self) -> None:
        """Without LOGOUT, as a telephone in a tunnel."""
        self.writer.close()

    async def select(self, mailbox: str) -> bool:
        """Resynchronise by QRESYNC when the client speaks it, and learn what it does not know."""
        old, self.view = self.view, View(is_ordered=not self.uids_only)
        known = ""
        if "QRESYNC" in self.dialect and old.highest:
            known = f" (QRESYNC ({old.validity} {old.highest}))"
            # Until UIDVALIDITY proves that it is another mailbox.
            cached = dict(old.flags), dict(old.modseqs)
            self.view = View(old.validity, [], *cached, old.highest, not self.uids_only)
        self._is_leaving = self.is_notified and bool(self.selected)
        self.selected = mailbox
        tagged = await self.command(f"SELECT {mailbox}{known}")
        if not tagged.startswith("OK"):
            self.selected, self.view = "", View()
            return False
        await self.learn()
        if None not in self.view.uids:
            there = set(self.view.uids)
            if extra := set(self.view.flags) - there:
                raise self.violation(f"still cached, and not there: {sorted(extra)}")
        return True

    async def learn(self) -> None:
        """UIDs and flags of what is not known yet."""
        last = max((uid for uid in self.view.uids if uid in self.view.flags), default=0) or 0
        first = 1 if self._is_holed() else last + 1
        modseq = " MODSEQ" if self.knows_modseqs else ""
        await self.ok(f"UID FETCH {first}:* (FLAGS{modseq} BODY.PEEK[HEADER.FIELDS (Subject)])")

    def _is_holed(self) -> bool:
        if not self.view.is_ordered and None in self.view.uids:
            return True
        known = [uid in self.view.flags for uid in self.view.uids]
        return known != sorted(known, reverse=True)

    async def ok(self, text: str) -> str:
        """A command that succeeds."""
        tagged = await self.command(text)
        if not tagged.startswith("OK"):
            raise self.violation(f"{text}: {tagged}")
        return tagged

    async def command(self, text: str, literal: bytes = b"", *, numbers: bool = False) -> str:
        """The tagged response. `numbers`: no EXPUNGE may come meanwhile (RFC 3501 7.4.1)."""
        self.commands += 1
        tag = f"{self.name}{self.commands}"
        octets = f"{tag} {text}".encode()
        if literal:
            octets += b" {%d+}\r\n%b" % (len(literal), literal)
        self.writer.write(octets + b"\r\n")
        self.last.append(f"> {tag} {text}")
        # What was said since the command before is heard only now by who is told at any time.
        self._began = self._sent if self.is_notified else time.monotonic()
        self._sent = time.monotonic()
        self._may_expunge = not numbers
        tagged = await self.answer(tag)
        if tagged.startswith("BAD"):
            raise self.violation(f"{text}: {tagged}")
        return tagged

    async def answer(self, tag: str) -> str:
        """Believe everything up to the tagged response."""
        code = 0
        self._modseqs.clear()
        self.first.clear()
        while True:
            line = await self._line()
            if found := HIGHEST.search(line):
                code = int(found[1])
            if line.startswith(tag + " "):
                break
            self.believe(line)
        # RFC 7162 6: the code in any case, otherwise the highest that was shown.
        self.view.highest = code or max([self.view.highest, *self._modseqs])
        return line.removeprefix(tag + " ")

    async def idle(self, seconds: float, *, split: bool) -> None:
        """IDLE for a while; DONE comes in one piece with the next command, or in two."""
        self.commands += 2
        idle, noop = f"{self.name}{self.commands - 1}", f"{self.name}{self.commands}"
        self.writer.write(f"{idle} IDLE\r\n".encode())
        self.last.append(f"> {idle} IDLE")
        self._began = self._sent if self.is_notified else time.monotonic()
        self._may_expunge = True
        while not (line := await self._line()).startswith("+ "):
            self.believe(line)
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            try:
                async with asyncio.timeout(left):
                    peeked = await self.reader.readuntil(b"\r\n")
            except TimeoutError:
                break
            self.last.append(peeked.decode("utf-8", "replace").rstrip())
            self.believe(self.last[-1])
        self.writer.write(b"DONE\r" if split else f"DONE\r\n{noop} NOOP\r\n".encode())
        if split:
            await asyncio.sleep(0)
            self.writer.write(f"\n{noop} NOOP\r\n".encode())
        await self.answer(idle)
        await self.answer(noop)

    async def _line(self) -> str:
        octets = b""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                octets += await self.reader.readline()
                if not octets.endswith(b"\r\n"):
                    raise self.violation(f"the connection broke: {octets!r}")
                if not (found := LITERAL.search(octets)):
                    break
                octets += await self.reader.readexactly(int(found[1]))
        line = octets.decode("utf-8", "replace").removesuffix("\r\n")
        self.last.append(line)
        return line

    def violation(self, text: str) -> Violation:
        """With what led to it."""
        return Violation(f"{self.name} {self.dialect}: {text}\n" + "\n".join(self.last))

    # ------------------------------------------------------------ beliefs

    def believe(self, line: str) -> None:
        """One untagged response. Raises Violation, or Gone for BYE."""
        if line.startswith("* BYE"):
            raise Gone(line)
        if self._is_leaving:
            self._is_leaving = "[CLOSED]" not in line
        elif found := VALIDITY.search(line):
            validity = int(found[1])
            if validity != self.view.validity:
                self.view = View(validity, self.view.uids, is_ordered=not self.uids_only)
        elif found := NUMBERED.match(line):
            self._numbered(int(found[1]), found[2])
        elif found := VANISHED.match(line):
            self._vanished(found[2], earlier=bool(found[1]))
        elif found := FETCH.match(line):
            self._fetched(int(found[1]), found[3], by_uid=bool(found[2]))
        elif line.startswith("* SEARCH"):
            self.found = [int(number) for number in line.partition(" (")[0].split()[2:]]

    def _numbered(self, number: int, what: str) -> None:
        uids = self.view.uids
        if what == "EXISTS":
            if number < len(uids):
                raise self.violation("EXISTS went down")
            uids.extend([None] * (number - len(uids)))
        elif what == "EXPUNGE":
            if not self._may_expunge or "QRESYNC" in self.dialect or self.uids_only:
                raise self.violation("EXPUNGE where it may not be")
            if not 1 <= number <= len(uids):
                raise self.violation("no such number")
            self._lost(uids.pop(number - 1))

    def _lost(self, uid: int | None) -> None:
        self.view.lose(uid)
        if uid is not None:
            self.truth.gone.setdefault((self.view.validity, uid), time.monotonic())

    def _vanished(self, uid_set: str, *, earlier: bool) -> None:
        if not self._may_expunge and not earlier:
            raise self.violation("VANISHED where it may not be")
        uids = self.view.uids
        for part in uid_set.split(","):
            first, _, last = part.partition(":")
            for uid in range(int(first), int(last or first) + 1):
                if earlier and uid in uids:
                    raise self.violation(f"{uid} is there, and vanished earlier")
                if not earlier:
                    at = self.view.place(uid)
                    if at is None:
                        raise self.violation(f"{uid} vanished, and was never there")
                    del uids[at]
                self._lost(uid)

    def _fetched(self, number: int, text: str, *, by_uid: bool) -> None:
        uids = self.view.uids
        found = re.search(r"\bUID (\d+)", text)
        uid = number if by_uid else int(found[1]) if found else None
        if by_uid:
            at = self.view.place(number)
            if at is None:
                raise self.violation("no such UID")
            uids[at] = number
        else:
            if not 1 <= number <= len(uids):
                raise self.violation("no such number")
            if uid is not None and uids[number - 1] not in (None, uid):
                raise self.violation(f"{number} is UID {uids[number - 1]}, not {uid}")
            uids[number - 1] = uid if uid is not None else uids[number - 1]
            uid = uids[number - 1]
        if uid is not None:
            known = [each for each in uids if each is not None]
            if known != sorted(set(known)):
                raise self.violation("UIDs do not ascend")
            self._shown(uid, text)

    def _shown(self, uid: int, text: str) -> None:
        message = self.view.validity, uid
        try:
            self.truth.is_told(message, self._began)
            if found := SUBJECT.search(text):
                self.truth.has_subject(message, found[1])
            modseq = int(m[1]) if (m := re.search(r"MODSEQ \((\d+)\)", text)) else 0
            if modseq:
                if modseq < self.view.modseqs.get(uid, 0):
                    raise self.violation(f"the modseq of {uid} went back")
                self.view.modseqs[uid] = modseq
                self._modseqs.append(modseq)
                self.first.setdefault(uid, modseq)
            if found := re.search(r"\bFLAGS \(([^)]*)\)", text):
                flags = frozenset(found[1].split()) - {"\\Recent"}
                self.view.flags[uid] = flags
                at = f"{time.monotonic():.3f} {self.name} {self.commands}"
                self.truth.told[message].append(f"{at} {modseq or '-'} {sorted(flags)}")
                if modseq:
                    self.truth.had_flags(message, modseq, flags)
                else:
                    self.seen[message].append(flags - {UNORDERED})
        except Violation as error:
            raise self.violation(str(error)) from error
