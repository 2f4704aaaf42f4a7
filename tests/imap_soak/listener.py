"""A ninth client that does nothing: it knows of all mailboxes what NOTIFY tells it (RFC 5465).

Its commands are NOTIFY and nothing else; what it believes is held against the store between epochs.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections import deque
from collections.abc import Callable

from tests.imap_soak.truth import Violation

Counters = tuple[int, int, int, int]
"""MESSAGES, UIDNEXT, UIDVALIDITY, HIGHESTMODSEQ."""
_EMPTY: Counters = (0, 1, 0, 0)
WITHIN_S = 10.0
_STATUS = re.compile(
    r'\* STATUS "([^"]+)" \(MESSAGES (\d+) UIDNEXT (\d+) UIDVALIDITY (\d+) '
    r"UNSEEN \d+ HIGHESTMODSEQ (\d+)\)"
)
_LIST = re.compile(r'\* LIST \(([^)]*)\) "/" "([^"]+)"(?: \("OLDNAME" \("([^"]+)"\)\))?')


class Listener:
    """Believes what it is told, and objects to counters that go back."""

    def __init__(self, context: ssl.SSLContext, port: int, login: tuple[str, str]) -> None:
        self._context, self._port, self._login = context, port, login
        self.known: dict[str, Counters] = {}
        self.last: deque[str] = deque(maxlen=200)
        self._writer: asyncio.StreamWriter | None = None

    async def connect(self) -> None:
        """From now on it is told."""
        reader, self._writer = await asyncio.open_connection(
            "127.0.0.1", self._port, ssl=self._context, server_hostname="localhost"
        )
        self._reader = reader
        self._writer.write('l1 LOGIN "{}" "{}"\r\n'.format(*self._login).encode())
        self._writer.write(
            b"l2 NOTIFY SET STATUS "
            b"(personal (MessageNew MessageExpunge FlagChange MailboxName))\r\n"
        )
        while not (line := await self._line()).startswith("l2 "):
            self._believe(line)
        if not line.startswith("l2 OK"):
            raise Violation(line)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    async def agrees(self, truth: Callable[[], dict[str, Counters]]) -> int:
        """Listen until it knows what is; how many mailboxes that are. Nobody acts meanwhile."""
        there = await asyncio.to_thread(truth)
        try:
            async with asyncio.timeout(WITHIN_S):
                while not self._knows(there):
                    self._believe(await self._line())
        except TimeoutError:
            said = "\n".join(self.last)
            raise Violation(f"events told of {self.known}, there is {there}\n{said}") from None
        return len(there)

    def _knows(self, there: dict[str, Counters]) -> bool:
        """Of an empty mailbox that was made meanwhile only the name was told."""
        empty = {name for name, known in self.known.items() if known == _EMPTY}
        return self.known == {
            name: _EMPTY if name in empty and counters[:2] == (0, 1) else counters
            for name, counters in there.items()
        }

    async def _line(self) -> str:
        line = (await self._reader.readline()).decode().rstrip("\r\n")
        if not line:
            raise Violation("the listener was sent away\n" + "\n".join(self.last))
        self.last.append(line)
        return line

    def _believe(self, line: str) -> None:
        if found := _STATUS.match(line):
            messages, uid_next, validity, modseq = map(int, found.groups()[1:])
            before = self.known.get(found[1])
            if before and before[2] == validity and (uid_next < before[1] or modseq < before[3]):
                raise Violation(f"{before} went back: {line}\n" + "\n".join(self.last))
            self.known[found[1]] = messages, uid_next, validity, modseq
        elif found := _LIST.match(line):
            attributes, name, old = found.groups()
            if old:
                self.known[name] = self.known.pop(old)
            elif "\\NonExistent" in attributes:
                self.known.pop(name, None)
            else:
                self.known[name] = _EMPTY
