"""The same sessions played on us and on Debian's Dovecot; every difference has its reason here.

    python -m tests.imap_server.differential --sessions 500 [--seed 1]

What is compared: the condition and code of each command, what it told (items of each message,
results, mailboxes, counters). Not compared: texts, UIDVALIDITY, the order in which a server tells
items, `\\Recent`, which mailboxes it knows by itself.
"""

from __future__ import annotations

import argparse
import imaplib
import re
import socket
import sys
import tempfile
from collections import Counter, deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from tests.dovecot import Dovecot, dovecot
from tests.imap.answers import Answer, Value, read
from tests.imap.world import World
from tests.imap_server.sessions import DATES, LETTERS, session

Told = dict[str, object]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one command did, in a form two servers can share."""

    condition: str
    code: str
    told: Told

    @property
    def is_ok(self) -> bool:
        return self.condition == "OK"


# ---------------------------------------------------------------- one form for both


def outcome(octets: bytes, tag: bytes) -> Outcome:
    """The outcome of the command `tag` out of all that was said."""
    condition = code = ""
    told: Told = {}
    for answer in read(octets):
        if answer.tag == tag:
            condition, code = answer.kind.decode(), _code(answer)
        elif answer.code == b"COPYUID":
            told["COPYUID"] = _copied(answer)
        elif answer.tag == b"*":
            _note(told, answer)
    return Outcome(condition, code, told)


def _code(answer: Answer) -> str:
    if answer.code in (b"COPYUID", b"APPENDUID"):
        return f"{answer.code.decode()} {_copied(answer)}"
    known = (b"TRYCREATE", b"NONEXISTENT", b"ALREADYEXISTS", b"CANNOT", b"READ-ONLY", b"READ-WRITE")
    return answer.code.decode() if answer.code in known else ""


def _copied(answer: Answer) -> str:
    return answer.code_arguments.partition(b" ")[2].decode()


def _note(told: Told, answer: Answer) -> None:
    values = answer.values
    match answer.kind:
        case b"FETCH":
            messages = told.setdefault("FETCH", {})
            assert isinstance(messages, dict)
            items = values[2]
            assert isinstance(items, list)
            found = messages.setdefault(_text(values[0]), {})
            found |= {_item(n): _value(n, v) for n, v in zip(items[::2], items[1::2], strict=True)}
        case b"EXISTS":
            told["EXISTS"] = _text(values[0])
        case b"EXPUNGE":
            told["EXPUNGE"] = _and_gone(told.get("EXPUNGE", []), int(_text(values[0])))
        case b"SEARCH":
            told["SEARCH"] = sorted(_text(value) for value in values[1:])
        case b"SORT" | b"THREAD":
            told[answer.kind.decode()] = [repr(value) for value in values[1:]]
        case b"ESEARCH":
            told["ESEARCH"] = [_text(v) for v in values[1:] if not isinstance(v, list)]
        case b"LIST" | b"LSUB":
            boxes = told.setdefault(answer.kind.decode(), {})
            assert isinstance(boxes, dict)
            boxes[_text(values[3])] = _is_no_mailbox(values[1])
        case b"STATUS":
            assert isinstance(values[2], list)
            told["STATUS " + _text(values[1])] = [_text(value) for value in values[2]]
        case b"NAMESPACE":
            told["NAMESPACE"] = repr(values[1])


def _and_gone(before: object, number: int) -> list[int]:
    """Numbers as they were before the command, whatever the order they are told in (7.4.1)."""
    assert isinstance(before, list)
    for each in sorted(before):
        number += each <= number
    return sorted([*before, number])


def _text(value: Value) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else repr(value)


def _item(name: Value) -> str:
    return _text(name).upper()


def _value(name: Value, value: Value) -> object:
    match _item(name):
        case "FLAGS":
            assert isinstance(value, list)
            return sorted(_text(flag).lower() for flag in value if flag != b"\\Recent")
        case "INTERNALDATE":
            assert isinstance(value, bytes)
            return imaplib.Internaldate2tuple(b'INTERNALDATE "%b"' % value)
        case "ENVELOPE" | "BODY" | "BODYSTRUCTURE" if isinstance(value, list):
            return _folded(value)
    return _text(value)


def _folded(value: Value) -> object:
    """Types, parameters' names and encodings are the same in any case."""
    if isinstance(value, list):
        return [_folded(each) for each in value]
    return value.decode("latin-1").lower()


def _is_no_mailbox(attributes: Value) -> bool:
    """A name that cannot be selected; which uses and children are told differs."""
    assert isinstance(attributes, list)
    return bool({_text(each).lower() for each in attributes} & {"\\noselect", "\\nonexistent"})


# ---------------------------------------------------------------- two players


class Ours:
    """One session with us: the real store, no socket."""

    def __init__(self, world: World) -> None:
        self._client = world.client(select=None)

    def play(self, command: bytes, tag: bytes) -> bytes:
        """All that was said."""
        return self._client.send(tag + b" " + command + b"\r\n")


class PeerGone(Exception):
    """Nobody answers at the peer's door, or lets anybody in."""


class Theirs:
    """One session with Dovecot, in a box of its own. Raises PeerGone."""

    def __init__(self, port: int, who: str) -> None:
        try:
            self._socket = socket.create_connection(("127.0.0.1", port), 60.0)
        except OSError as error:
            raise PeerGone(str(error)) from error
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self._socket.makefile("rb")
        said = self.play(b"LOGIN %b sesame" % who.encode(), b"login")
        if b"\r\nlogin OK" not in said:
            self.close()
            raise PeerGone(said.decode("latin-1"))

    def play(self, command: bytes, tag: bytes) -> bytes:
        """All that was said; b"" when it ended in the midst of it."""
        try:
            self._socket.sendall(tag + b" " + command + b"\r\n")
            return self._answer(tag)
        except ConnectionError:
            return b""

    def _answer(self, tag: bytes) -> bytes:
        said = bytearray()
        while True:
            line = self._file.readline()
            if not line:
                return b""
            said += line
            if line.startswith(tag + b" "):  # its empty THREAD has a space too many
                return bytes(said).replace(b"* THREAD \r\n", b"* THREAD\r\n")
            while found := re.search(rb"\{(\d+)\}\r\n\Z", line):
                said += self._file.read(int(found[1]))
                line = self._file.readline()
                said += line

    def close(self) -> None:
        """Leave."""
        self._file.close()
        self._socket.close()


# ---------------------------------------------------------------- reasons


@dataclass(frozen=True, slots=True)
class Reason:
    """Why two servers may differ. `parts`: the session goes on in two states and is ended."""

    name: str
    why: str
    holds: Callable[[bytes, Outcome, Outcome], bool]
    parts: bool = False


def _texts(value: object) -> list[str]:
    """Every text in a nested value, in order."""
    if isinstance(value, list):
        return [text for each in value for text in _texts(each)]
    if isinstance(value, dict):
        return [text for key, each in sorted(value.items()) for text in (key, *_texts(each))]
    return [str(value)]


def _fetched(outcome: Outcome) -> dict[str, dict[str, object]]:
    found = outcome.told.get("FETCH", {})
    assert isinstance(found, dict)
    return found


def _differing(ours: Outcome, theirs: Outcome) -> list[tuple[str, object, object]]:
    """Items of messages that differ: name, ours, theirs."""
    one, other = _fetched(ours), _fetched(theirs)
    return [
        (name, one.get(number, {}).get(name), other.get(number, {}).get(name))
        for number in {*one, *other}
        for name in {*one.get(number, {}), *other.get(number, {})}
        if one.get(number, {}).get(name) != other.get(number, {}).get(name)
    ]


def _only_items(ours: Outcome, theirs: Outcome) -> bool:
    """Nothing differs but items of messages."""
    rest = [{k: v for k, v in each.told.items() if k != "FETCH"} for each in (ours, theirs)]
    return (
        ours.condition == theirs.condition
        and ours.code == theirs.code
        and rest[0] == rest[1]
        and bool(_differing(ours, theirs))
    )


def _is_line_count(name: str, ours: object, theirs: object) -> bool:
    one, other = _texts(ours), _texts(theirs)
    pairs = [(a, b) for a, b in zip(one, other, strict=False) if a != b]
    return (
        name in ("BODY", "BODYSTRUCTURE")
        and len(one) == len(other)
        and all(a.isdigit() and b.isdigit() and int(a) == int(b) + 1 for a, b in pairs)
    )


def _items(*kinds: Callable[[str, object, object], bool]) -> Callable[..., bool]:
    def holds(command: bytes, ours: Outcome, theirs: Outcome) -> bool:
        return _only_items(ours, theirs) and all(
            any(kind(*each) for kind in kinds) for each in _differing(ours, theirs)
        )

    return holds


def _is_absent_part(name: str, ours: object, theirs: object) -> bool:
    return name.startswith("BODY[") and ours == "NIL"


def _is_unchanged(name: str, ours: object, theirs: object) -> bool:
    return name in ("FLAGS", "UID") and theirs is None


def _verb(command: bytes) -> str:
    words = command.split(b" ")
    return (words[1] if words[0] == b"UID" and len(words) > 1 else words[0]).decode()


_SEARCHES = ("SEARCH", "SORT", "THREAD")


def _both_search(command: bytes, ours: Outcome, theirs: Outcome) -> bool:
    return _verb(command) in _SEARCHES and ours.is_ok and theirs.is_ok


def _same_members(ours: Outcome, theirs: Outcome) -> bool:
    one, other = ours.told.get("THREAD"), theirs.told.get("THREAD")
    return isinstance(one, list) and isinstance(other, list) and sorted(one) == sorted(other)


def _names(outcome: Outcome) -> set[str]:
    found = outcome.told.get("LIST", outcome.told.get("LSUB", {}))
    assert isinstance(found, dict)
    return set(found)


def _is_refused_level(command: bytes, theirs: Outcome) -> bool:
    """`Patients` is the one name of the sessions that has children."""
    looks = _verb(command) in ("STATUS", "SELECT", "EXAMINE")
    return looks and command.split(b" ")[1] == b"Patients" and theirs.condition == "NO"


def _levels(outcome: Outcome) -> int:
    """How many names cannot be selected."""
    found = outcome.told.get("LIST", {})
    assert isinstance(found, dict)
    return sum(found.values())


DIED = Reason(
    "no answer at all",
    "Dovecot 2.3.19 ends with an assertion in some THREAD ORDEREDSUBJECT.",
    lambda command, ours, theirs: (
        ours.is_ok and not theirs.condition and b"THREAD ORDEREDSUBJECT" in command
    ),
    parts=True,
)
"""Its log must say so too: another server is started then, `deaths_borne` times."""

REASONS: list[Reason] = [
    Reason(
        "refused more exactly",
        "RFC 5530 gives a code to what is not there, or cannot be; Dovecot says it in words only.",
        lambda _, ours, theirs: ours.condition == theirs.condition == "NO" and not theirs.code,
    ),
    Reason(
        "a last line without its end",
        "It is a line of text: a body of `abc` has one line (7.4.2). Dovecot counts line ends.",
        _items(_is_line_count),
    ),
    Reason(
        "a part that is not there",
        "NIL, as RFC 3501 7.4.2 has nstring for it; Dovecot says an empty string, and takes .1 of a"
        " part without parts for that part.",
        _items(_is_absent_part, _is_line_count),
    ),
    Reason(
        "STORE that changes nothing",
        "Without .SILENT the new value is told (6.4.6), also when it is the old one.",
        lambda command, ours, theirs: (
            _verb(command) == "STORE" and _items(_is_unchanged)(command, ours, theirs)
        ),
    ),
    Reason(
        "a number beyond the mailbox",
        "A sequence number that is not there is BAD, in SEARCH too (RFC 3501 9, seq-number).",
        lambda command, ours, theirs: (
            _verb(command) in _SEARCHES and (ours.condition, theirs.condition) == ("BAD", "OK")
        ),
    ),
    Reason(
        "a set in an empty mailbox",
        "1:* of nothing is nothing, with us; a client need not know that a mailbox was emptied.",
        lambda command, ours, theirs: (
            theirs.condition == "BAD" and ours.is_ok and b"*" in command and not ours.told
        ),
    ),
    Reason(
        "a letter without a date",
        "No Date field is on, before or since no day (6.4.4); Dovecot takes it for 1970.",
        lambda command, ours, theirs: _both_search(command, ours, theirs) and b"SENT" in command,
    ),
    Reason(
        "the header of a letter within",
        "BODY finds the header of a forwarded letter, a text of the body. Dovecot passes it over.",
        lambda command, ours, theirs: _both_search(command, ours, theirs) and b"BODY" in command,
    ),
    Reason(
        "threads in the order of arrival",
        "REFS sorts threads by what arrived last in each (draft-ietf-morg-inthread); Dovecot by"
        " when it was sent.",
        lambda command, ours, theirs: (
            b"REFS" in command and _same_members(ours, theirs) and ours.condition == "OK"
        ),
    ),
    Reason(
        "flags that are left out",
        "`STORE 1 FLAGS` is not in the grammar; Dovecot takes it for an empty list.",
        lambda command, ours, theirs: (
            command.endswith(b"FLAGS") and (ours.condition, theirs.condition) == ("BAD", "OK")
        ),
        parts=True,
    ),
    Reason(
        "special mailboxes stay",
        "CL-34: what clients look for by its use is neither deleted nor renamed.",
        lambda command, ours, theirs: (
            _verb(command) in ("DELETE", "RENAME") and ours.code == "CANNOT" and theirs.is_ok
        ),
        parts=True,
    ),
    Reason(
        "children do not hold their parent",
        "A mailbox with children can be deleted, and its name stays for them (RFC 9051 6.3.5).",
        lambda command, ours, theirs: (
            _verb(command) == "DELETE" and ours.is_ok and theirs.condition == "NO"
        ),
        parts=True,
    ),
    Reason(
        "what is made is subscribed",
        "GEN-14: Thunderbird shows nothing else.",
        lambda command, ours, theirs: (
            _verb(command) in ("LIST", "LSUB") and _names(theirs) < _names(ours)
        ),
    ),
    Reason(
        "every parent is a mailbox",
        "GEN-13: what CREATE makes on the way can be selected; with Dovecot it is only a level.",
        lambda command, ours, theirs: (
            _verb(command) == "LIST" and ours.is_ok and _levels(theirs) > _levels(ours)
        ),
        parts=True,
    ),
    Reason(
        "a level is a mailbox that takes letters",
        "GEN-13 again: what goes into such a parent is taken, and it can be looked at; Dovecot asks"
        " for CREATE first, and knows of nothing there.",
        lambda command, ours, theirs: (
            ours.is_ok and (theirs.code == "TRYCREATE" or _is_refused_level(command, theirs))
        ),
        parts=True,
    ),
    DIED,
    Reason(
        "nothing to change, read-only",
        "After EXAMINE what changes is refused before it is asked what it would change (6.3.2).",
        lambda command, ours, theirs: (
            _verb(command) in ("STORE", "MOVE", "EXPUNGE")
            and ours.condition == "NO"
            and not theirs.told
        ),
    ),
]


@dataclass(frozen=True, slots=True)
class Difference:
    """A command with two outcomes, and why, if that is known."""

    seed: int
    command: bytes
    ours: Outcome
    theirs: Outcome
    reason: Reason | None


def compare(seed: int, place: Path, peer: Dovecot) -> tuple[int, list[Difference]]:
    """Commands played and their differences."""
    world = World(place)
    ours, theirs = Ours(world), Theirs(peer.port, f"seed{seed}")
    for name in (b"INBOX", b"Archive", b"Drafts", b"Junk", b"Sent", b"Trash"):
        theirs.play(b"CREATE " + name, b"create")
        theirs.play(b"SUBSCRIBE " + name, b"subscribe")
    filling = [
        b"APPEND INBOX %b {%d+}\r\n%b" % (DATES[n % 3], len(letter), letter)
        for n, letter in enumerate(LETTERS)
    ]
    found, played = [], 0
    for number, command in enumerate([*filling, *session(seed)]):
        tag = b"d%dq" % number
        one, other = (outcome(each.play(command, tag), tag) for each in (ours, theirs))
        played += 1
        if one == other:
            continue
        reason = next((each for each in REASONS if each.holds(command, one, other)), None)
        if reason is DIED and not peer.complains_of("assertion failed"):
            reason = None
        found.append(Difference(seed, command, one, other, reason))
        if reason is None or reason.parts:
            break
    theirs.close()
    world.clients.clear()
    world.close()
    return played, found


def deaths_borne(sessions: int) -> int:
    """How often the peer may die in so many sessions, before nothing is compared any more."""
    return 1 + sessions // 10


def run(
    seeds: range, start: Callable[[], AbstractContextManager[Dovecot]] = dovecot
) -> tuple[int, list[Difference]]:
    """Every difference of these sessions. Raises PeerGone when the peer dies again and again."""
    total, found, deaths = 0, list[Difference](), 0
    waiting = deque(seeds)
    while waiting:
        with start() as peer:
            while waiting:
                with tempfile.TemporaryDirectory(prefix="mssmtp-compare-") as place:
                    try:
                        played, differences = compare(waiting[0], Path(place), peer)
                    except PeerGone as gone:
                        died = str(gone)
                    else:
                        total += played
                        found += differences
                        waiting.popleft()
                        died = "".join(repr(e.command) for e in differences if e.reason is DIED)
                if died:
                    deaths += 1
                    if deaths > deaths_borne(len(seeds)):
                        raise PeerGone(f"{deaths} times, the last after {died}\n{peer.log[-2000:]}")
                    break
    return total, found


def shown(ours: Outcome, theirs: Outcome) -> str:
    """Only what differs."""
    out = []
    if (ours.condition, ours.code) != (theirs.condition, theirs.code):
        out.append(f"  {ours.condition} {ours.code} | {theirs.condition} {theirs.code}")
    for name in sorted({*ours.told, *theirs.told}):
        one, other = ours.told.get(name), theirs.told.get(name)
        if isinstance(one, dict) and isinstance(other, dict):
            for key in sorted({*one, *other}):
                if one.get(key) != other.get(key):
                    out.append(f"  {name} {key}: {one.get(key)} | {other.get(key)}")
        elif one != other:
            out.append(f"  {name}: {one} | {other}")
    return "\n".join(out)


def main() -> int:
    """0 when every difference is explained."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.imap_server.differential", description=__doc__
    )
    parser.add_argument("--sessions", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    played, found = run(range(asked.seed, asked.seed + asked.sessions))
    unknown = [each for each in found if each.reason is None]
    counted = Counter(each.reason.name for each in found if each.reason)
    print(f"{asked.sessions} sessions, {played} commands, {len(found)} differences")
    for reason in REASONS:
        print(f"{counted[reason.name]:6}  {reason.name}: {reason.why}")
    for each in unknown[:30]:
        print(f"\nseed {each.seed}: {each.command!r}\n{shown(each.ours, each.theirs)}")
    print(f"{len(unknown)} unexplained")
    return 1 if unknown else 0


if __name__ == "__main__":
    sys.exit(main())
