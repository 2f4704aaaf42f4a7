"""What is done with hostile octets, by target: read or refused, and answered in the grammar.

Seeds are the transcripts and the torture messages, so that the corpus is what the repository has
anyway; what a run has found and nobody foresaw is kept in `FOUND`.
"""

from __future__ import annotations

import atexit
import re
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from mssmtp.errors import BadSyntax, MailError
from mssmtp.imap import keys, names
from mssmtp.imap.commands import VERBS
from mssmtp.imap.commands.append import Append
from mssmtp.imap.commands.replace import Replace
from mssmtp.imap.commands.search import Search
from mssmtp.imap.effects import Woken
from mssmtp.imap.framer import Announced, Event, Framer, Line, Unframed
from mssmtp.imap.syntax import Cursor
from mssmtp.message.scanner import Scanner
from mssmtp.message.summary import Node, Summary
from mssmtp.message.tree import Scan, ScanLimits, TooComplex
from tests import corpus
from tests.imap import answers
from tests.imap.test_framer import events, merged
from tests.imap.test_syntax import TOKENS
from tests.imap.world import LUC, PASSWORD, ZOE, Client, World
from tests.trust.hostile import Found, Target

LINE_OCTETS = 4_096
WORDS = [*TOKENS, b"\r\n", b"{3+}\r\n", b"~{1+}\r\n", b"DONE\r\n", b"1:*", b"(FLAGS)", b"RETURN ("]
SECRET = b"secret-de-Luc-4f1c"
"""In the box of somebody else: no octet of it is ever told to Zo\xc3\xa9."""

FOUND: dict[str, list[bytes]] = {
    "framer": [],
    "parser": [],
    "name": [],
    "structure": [],
    "session": [],
}


# ---------------------------------------------------------------- framing and grammar


def dialogues() -> list[bytes]:
    """What the clients of the transcripts say, tagged, each transcript one piece."""
    folder = Path(__file__).parents[1] / "transcripts" / "imap"
    found = []
    for path in sorted(folder.glob("*.txt")):
        lines: list[bytes] = []
        for step in re.finditer(r"(?m)^\d>(>|NO \S+|BAD)? (.*)$", path.read_text("utf-8")):
            kind, text = step.groups()
            octets = re.sub(r"@message\d+|@\{([^}]*)\}", _literal, text).encode()
            lines.append(octets if kind == ">" else b"t%d %b" % (len(lines), octets))
        found.append(b"\r\n".join([*lines, b""]))
    return found


def _literal(found: re.Match[str]) -> str:
    text = (found[1] or "From: a@b.test\\r\\n\\r\\nx").replace("\\r\\n", "\r\n")
    return f"{{{len(text.encode())}+}}\r\n{text}"


def framer() -> Target:
    """Splitting changes nothing, and nothing is kept beyond the limit."""

    def play(octets: bytes) -> None:
        whole = events(Framer(LINE_OCTETS), [octets])
        size = max(1, octets[0] if octets else 1)
        pieces = [octets[i : i + size] for i in range(0, len(octets), size)]
        if events(Framer(LINE_OCTETS), pieces) != whole or merged(whole) != whole:
            raise Found("another cut, other events")
        held = Framer(LINE_OCTETS)
        for piece in pieces:
            held.feed(piece)
            if held.buffered > LINE_OCTETS + 2 + len(piece):
                raise Found(f"{held.buffered} octets are kept")
            _let_pass(held)

    return Target(play, [*dialogues(), *FOUND["framer"]], WORDS)


def _let_pass(framer: Framer) -> None:
    while (event := framer.next_event()) is not None:
        if isinstance(event, Announced):
            framer.skip()


def parser() -> Target:
    """A line is a command, or refused as syntax; read twice it is the same; told again as well."""

    def play(octets: bytes) -> None:
        for line in _lines(octets):
            for utf8 in (False, True):
                first, second = _command(line, utf8=utf8), _command(line, utf8=utf8)
                holds_its_cursor = isinstance(first, Append | Replace)
                if repr(first) != repr(second) and not holds_its_cursor:
                    raise Found(f"read twice, two commands: {first!r} {second!r}")
                if isinstance(first, Search) and len(line.parts) == 1:
                    _same_key(first)

    return Target(play, [*dialogues(), *FOUND["parser"]], WORDS)


def _lines(octets: bytes) -> Iterator[Line]:
    framer = Framer(LINE_OCTETS)
    framer.feed(octets)
    event: Event | None
    while (event := framer.next_event()) is not None and not isinstance(event, Unframed):
        if isinstance(event, Announced):
            if event.size_octets > LINE_OCTETS:
                return
            framer.take()
        elif isinstance(event, Line):
            yield event


def _command(line: Line, *, utf8: bool) -> object:
    """The command, or the code of its refusal. Anything else is raised."""
    cursor = Cursor(line.parts, utf8=utf8)
    try:
        cursor.tag()
        cursor.space()
        verb = cursor.word()
        if verb == "UID":
            cursor.space()
            verb = "UID " + cursor.word()
        if verb not in VERBS:
            return None
        if not cursor.is_trailing_space():
            cursor.space()
        return VERBS[verb].parse(cursor)
    except MailError as error:
        return type(error), error.imap


def _same_key(command: Search) -> None:
    rendered = keys.render(command.key)
    again = keys.parse(Cursor((b"CHARSET UTF-8 " + rendered,), utf8=True))
    if keys.render(again) not in (rendered, b"(" + rendered + b")"):
        raise Found(f"{rendered!r} is read as {keys.render(again)!r}")


def name() -> Target:
    """Octets are a name or none; a name has one spelling in each form."""

    def play(octets: bytes) -> None:
        for decode, encode in (
            (names.decode, names.encode),
            (names.decode_utf8, names.encode_utf8),
        ):
            with suppress(BadSyntax):
                found = decode(octets)
                if decode(encode(found)) != found:
                    raise Found(f"{found!r} does not come back")
                with suppress(names.BadName):
                    if names.creatable(found) != found.removesuffix(names.DELIMITER):
                        raise Found(f"{found!r} would be made under another name")

    seeds = [b"INBOX/&AMk-t&AOk-", b"a/b/c", b"&2D3eAA-", "É/😀".encode(), *FOUND["name"]]
    return Target(
        play, seeds, [b"&", b"-", b"&-", b"/", b"AOk", b"2D3eAA", b"\xc3\xa9", b"\xcc\x81"]
    )


# ---------------------------------------------------------------- MIME structure

_SMALL = ScanLimits(header_octets=4_096, mime_depth=8, mime_parts=40)


def structure() -> Target:
    """Any octets have a tree inside the message; what is told of it is in the grammar, in ASCII."""

    def play(octets: bytes) -> None:
        whole = _scan([octets])
        size = max(1, len(octets) // 7)
        if _scan([octets[i : i + size] for i in range(0, len(octets), size)]) != whole:
            raise Found("another cut, another tree")
        if whole is None:
            return
        summary = Summary.of(whole)
        if Summary.from_bytes(summary.to_bytes()) != summary:
            raise Found("the summary does not come back")
        if summary.size_octets != len(octets):
            raise Found("octets are lost")
        _check_told(summary)
        _check_node(summary.root, 0, len(octets))

    seeds = [octets[:8_192] for _, octets in corpus.torture_messages() if octets]
    return Target(play, [*seeds, corpus.PLAIN, *FOUND["structure"]], corpus.TOKENS)


def _scan(pieces: list[bytes]) -> Scan | None:
    scanner = Scanner(_SMALL)
    try:
        for piece in pieces:
            scanner.feed(piece)
        return scanner.close()
    except TooComplex:
        return None


def _check_told(summary: Summary) -> None:
    line = b"* 1 FETCH (ENVELOPE %b BODYSTRUCTURE %b BODY %b)\r\n"
    (told,) = answers.read(line % (summary.envelope, summary.bodystructure, summary.body))
    items = told.values[2]
    if not isinstance(items, list) or len(items[1]) != 10:
        raise Found("an envelope has ten fields")


def _check_node(node: Node, start: int, stop: int) -> None:
    if not start <= node.header_start <= node.body_start <= node.body_end <= stop:
        raise Found("a part outside of its whole")
    for child in node.children:
        _check_node(child, node.body_start, node.body_end)


# ---------------------------------------------------------------- whole sessions

LEGAL = [
    f"LOGIN {ZOE} {PASSWORD}".encode(),
    b"SELECT INBOX",
    b"FETCH 1:* (FLAGS BODYSTRUCTURE)",
    b"STORE 1 +FLAGS (\\Flagged)",
    b"APPEND Drafts (\\Draft) {5+}\r\nhello",
    b"UID COPY 1 Archive",
    b"EXAMINE Sent",
    b"UNSELECT",
    b"IDLE",
]
"""A legal session; hostile octets are played behind every prefix of it, the empty one too."""
PARTIAL = [
    b"AUTHENTICATE PLAIN\r\n",
    b"x APPEND INBOX {20}\r\n",
    b"x LOGIN {5+}\r\nab",
    b'x SEARCH "',
]
ENABLED = [
    b"",
    b"ENABLE CONDSTORE",
    b"ENABLE QRESYNC",
    b"ENABLE IMAP4rev2",
    b"ENABLE UTF8=ACCEPT",
    b"ENABLE IMAP4rev2 QRESYNC UTF8=ACCEPT UIDONLY",
]
"""What the client has switched on behind its LOGIN."""
_WORLD_LASTS = 50


class Sessions:
    """A home that is made anew after some sessions, because they write."""

    def __init__(self) -> None:
        self._world: World | None = None
        self._place: tempfile.TemporaryDirectory[str] | None = None
        self._played = 0
        atexit.register(self._leave)

    def world(self) -> World:
        """A home with three letters for Zo\xe9 and a secret of Luc's."""
        if self._world is None or self._played >= _WORLD_LASTS:
            self.end()
            self._place = tempfile.TemporaryDirectory(prefix="mssmtp-hostile-")
            self._world, self._played = World(Path(self._place.name)), 0
            self._world.fill(3)
            self._world.deliver(b"Subject: " + SECRET + b"\r\n\r\n" + SECRET, bal=self._world.luc)
        self._played += 1
        return self._world

    def end(self) -> None:
        """Check what was written."""
        if self._world is not None and self._place is not None:
            self._world.clients.clear()
            self._world.close()
            self._place.cleanup()
        self._world = None

    def _leave(self) -> None:
        """The process ends: its threads have gone, so that the store cannot be asked any more."""
        if self._place is not None:
            self._place.cleanup()


def play_session(world: World, octets: bytes, lines: list[bytes], partial: bytes) -> None:
    """Hostile octets behind a prefix: every answer is in the grammar, and the session can end."""
    client = Client(world, secure=True)
    for number, line in enumerate(lines):
        client.send(b"p%d %b\r\n" % (number, line))
    client.send(partial)
    half = len(octets) // 2
    for piece in (octets[:half], octets[half:]):
        if client.is_open:
            client.send(piece)
    if client.is_open:
        client.send(b"\r\nDONE\r\nlast NOOP\r\n")
    if client.is_open and b"last OK" not in client.said:
        client.wake(Woken.TIMEOUT)  # in the middle of a literal or a line
        if client.is_open and b"Still here" not in client.said:
            raise Found("it waits for ever")
    if b"SERVERBUG" in client.said:
        raise Found("a defect of ours")
    if SECRET in client.said or LUC.encode() in client.said.replace(octets, b""):
        raise Found("another user's data")
    client.check_answers()
    world.clients.remove(client)


def session() -> Target:
    """Every prefix of a legal session, then the octets; another client is served as before."""
    sessions = Sessions()

    def play(octets: bytes) -> None:
        world = sessions.world()
        chosen, enabled = (*octets[:2], 0, 0)[:2]
        partial = PARTIAL[chosen % len(PARTIAL)] if chosen >= 0xC0 else b""
        lines = LEGAL[: chosen % (len(LEGAL) + 1)]
        if lines and (switched := ENABLED[enabled % len(ENABLED)]):
            lines.insert(1, switched)
        play_session(world, octets[2:], lines, partial)
        honest = world.client(select=None)
        honest.ok("SELECT Archive")
        world.clients.remove(honest)

    seeds = [bytes([2, at % 6]) + dialogue for at, dialogue in enumerate(dialogues())]
    return Target(play, [*seeds, *FOUND["session"]], WORDS)


TARGETS = {
    "framer": framer,
    "parser": parser,
    "name": name,
    "structure": structure,
    "session": session,
}
