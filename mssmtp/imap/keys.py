"""Search keys (RFC 3501 6.4.4): parsed, and rendered again."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import Literal

from mssmtp.errors import BadSyntax
from mssmtp.imap import dates, responses
from mssmtp.imap.numbers import NumberSet
from mssmtp.imap.responses import Refused
from mssmtp.imap.syntax import MAX_DEPTH, Cursor
from mssmtp.mail import ModSeq
from mssmtp.message.decode import decode_unlabelled
from mssmtp.message.words import codec_of

_OBJECT_ID = re.compile(r"[A-Za-z0-9_-]{1,255}")
MAX_KEYS = 1_000
"""Keys of one command (ATT-04, ATT-27): time is bounded by keys x messages."""
MAX_TEXTS = 100
"""Keys of one command that look through texts."""


@dataclass(frozen=True, slots=True)
class All:
    """ALL."""


@dataclass(frozen=True, slots=True)
class Flagged:
    """A system flag or keyword that is, or is not, set."""

    flag: str
    is_set: bool


@dataclass(frozen=True, slots=True)
class Recent:
    """RECENT or OLD."""

    is_recent: bool


@dataclass(frozen=True, slots=True)
class Numbers:
    """A sequence set, or `UID` and a set."""

    numbers: NumberSet
    by_uid: bool


@dataclass(frozen=True, slots=True)
class Dated:
    """BEFORE, ON, SINCE by INTERNALDATE, or by the Date field (`sent`)."""

    relation: Literal["BEFORE", "ON", "SINCE"]
    day: date
    sent: bool


@dataclass(frozen=True, slots=True)
class Saved:
    """SAVEDBEFORE, SAVEDON, SAVEDSINCE (RFC 8514 4.1)."""

    relation: Literal["BEFORE", "ON", "SINCE"]
    day: date


@dataclass(frozen=True, slots=True)
class Aged:
    """OLDER or YOUNGER: by INTERNALDATE and the time of the search (RFC 5032)."""

    is_older: bool
    seconds: int


@dataclass(frozen=True, slots=True)
class Identified:
    """EMAILID or THREADID (RFC 8474 5.3)."""

    name: Literal["EMAILID", "THREADID"]
    id: str


@dataclass(frozen=True, slots=True)
class Sized:
    """LARGER or SMALLER."""

    larger: bool
    octets: int


@dataclass(frozen=True, slots=True)
class Header:
    """HEADER, and FROM, TO, CC, BCC, SUBJECT which are shorthands of it."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Content:
    """BODY, or TEXT which reads the header section too."""

    text: str
    with_header: bool


@dataclass(frozen=True, slots=True)
class Modseq:
    """MODSEQ (RFC 7162 3.1.5)."""

    at_least: ModSeq


@dataclass(frozen=True, slots=True)
class Not:
    """NOT."""

    key: Key


@dataclass(frozen=True, slots=True)
class Or:
    """OR."""

    first: Key
    second: Key


@dataclass(frozen=True, slots=True)
class And:
    """Keys in parentheses, or beside one another."""

    keys: tuple[Key, ...]


Leaf = All | Flagged | Recent | Numbers | Dated | Sized | Header | Content
Newer = Modseq | Saved | Aged | Identified
"""Keys of extensions."""
Key = Leaf | Newer | Not | Or | And

_SYSTEM = ("Answered", "Deleted", "Draft", "Flagged", "Seen")
_FIXED: dict[str, Key] = {
    "ALL": All(),
    "NEW": And((Recent(True), Flagged("\\Seen", False))),
    "OLD": Recent(False),
    "RECENT": Recent(True),
    "SAVEDATESUPPORTED": All(),
    **{name.upper(): Flagged(f"\\{name}", True) for name in _SYSTEM},
    **{f"UN{name.upper()}": Flagged(f"\\{name}", False) for name in _SYSTEM},
}
_ADDRESSES = ("BCC", "CC", "FROM", "SUBJECT", "TO")
_RELATIONS: dict[str, Literal["BEFORE", "ON", "SINCE"]] = {
    "BEFORE": "BEFORE",
    "ON": "ON",
    "SINCE": "SINCE",
}


def parse(cursor: Cursor) -> And:
    """`["CHARSET" SP astring SP] search-key *(SP search-key)`. Raises BADCHARSET too."""
    charset = None
    if cursor.takes(b"CHARSET "):
        charset = _charset(cursor)
    return _program(cursor, charset)


def parse_criteria(cursor: Cursor) -> And:
    """`charset SP search-key *(SP search-key)`, as SORT and THREAD take it (RFC 5256 5)."""
    return _program(cursor, _charset(cursor))


def _charset(cursor: Cursor) -> str:
    charset = cursor.astring().decode("latin-1")
    cursor.space()
    if codec_of(charset) is None:
        raise Refused("BADCHARSET (US-ASCII UTF-8)", b"Unknown charset")
    return charset


def _program(cursor: Cursor, charset: str | None) -> And:
    parser = _Parser(cursor, charset)
    keys = [parser.key(0)]
    while not cursor.at_end() and not cursor.is_trailing_space():
        cursor.space()
        keys.append(parser.key(0))
    cursor.end()
    return And(tuple(keys))


class _Parser:
    def __init__(self, cursor: Cursor, charset: str | None) -> None:
        self._cursor = cursor
        self._charset = charset
        self._count = 0
        self._texts = 0

    def key(self, depth: int) -> Key:
        self._count += 1
        if depth > MAX_DEPTH or self._count > MAX_KEYS:
            raise BadSyntax("too many search keys")
        cursor = self._cursor
        if cursor.sees(b"("):
            return And(tuple(cursor.listed(lambda: self.key(depth + 1))))
        if cursor.sees_number_set():
            return Numbers(cursor.number_set(), by_uid=False)
        word = cursor.word()
        if word in _FIXED:
            return _FIXED[word]
        cursor.space()
        return self._with_argument(word, depth)

    def _with_argument(self, word: str, depth: int) -> Key:
        cursor = self._cursor
        if word in _ADDRESSES:
            return Header(word, self._text())
        if word.removeprefix("SENT") in _RELATIONS:
            relation = _RELATIONS[word.removeprefix("SENT")]
            return Dated(relation, cursor.date(), sent=word.startswith("SENT"))
        if word.removeprefix("SAVED") in _RELATIONS:
            return Saved(_RELATIONS[word.removeprefix("SAVED")], cursor.date())
        match word:
            case "OLDER" | "YOUNGER":
                return self._aged(word)
            case "EMAILID" | "THREADID":
                return self._identified(word)
            case "KEYWORD" | "UNKEYWORD":
                return Flagged(cursor.atom().decode("ascii"), word == "KEYWORD")
            case "LARGER" | "SMALLER":
                return Sized(word == "LARGER", cursor.number64())
            case "BODY" | "TEXT":
                return Content(self._text(), word == "TEXT")
            case "UID":
                return Numbers(cursor.number_set(), by_uid=True)
            case "MODSEQ":
                return self._modseq()
            case "NOT":
                return Not(self.key(depth + 1))
            case "OR":
                first = self.key(depth + 1)
                cursor.space()
                return Or(first, self.key(depth + 1))
            case "HEADER":
                name = cursor.astring().decode("latin-1")
                cursor.space()
                return Header(name.upper(), self._text())
        raise BadSyntax("unknown search key")

    def _aged(self, word: str) -> Aged:
        seconds = self._cursor.number()
        if not seconds:
            raise BadSyntax("a number of seconds expected")
        return Aged(word == "OLDER", seconds)

    def _identified(self, word: Literal["EMAILID", "THREADID"]) -> Identified:
        id = self._cursor.atom().decode("ascii")
        if not _OBJECT_ID.fullmatch(id):
            raise BadSyntax("not an objectid")
        return Identified(word, id)

    def _modseq(self) -> Modseq:
        """`[entry-name SP entry-type-req SP] mod-sequence-valzer`: every flag of a message shares
        its mod-sequence here (RFC 7162 3.1.5)."""
        cursor = self._cursor
        if cursor.sees(b'"'):
            name = cursor.string()
            cursor.space()
            if not name.startswith(b"/flags/") or cursor.word() not in ("PRIV", "SHARED", "ALL"):
                raise BadSyntax("not a metadata item")
            cursor.space()
        return Modseq(cursor.modseq())

    def _text(self) -> str:
        """An argument as text: by its CHARSET, else as whatever it most likely is (GEN-15)."""
        octets = self._cursor.astring()
        self._texts += bool(octets)
        if self._texts > MAX_TEXTS:
            raise BadSyntax("too many search keys")
        codec = codec_of(self._charset) if self._charset else None
        if codec is None:
            return decode_unlabelled(octets)
        try:
            return octets.decode(codec)
        except (UnicodeDecodeError, LookupError) as error:
            raise BadSyntax("not in that charset") from error


def render(key: Key) -> bytes:
    """`key` as a client writes it, in UTF-8."""
    match key:
        case And(keys):
            return responses.listed(map(render, keys))
        case Or(first, second):
            return b"OR %b %b" % (render(first), render(second))
        case Not(inner):
            return b"NOT " + render(inner)
        case Numbers(numbers, by_uid):
            return (b"UID " if by_uid else b"") + numbers.render()
        case Dated(relation, day, sent):
            name = ("SENT" if sent else "") + relation
            return name.encode("ascii") + b" " + dates.render_date(day)
        case Sized(larger, octets):
            return b"%b %d" % (b"LARGER" if larger else b"SMALLER", octets)
        case Saved(relation, day):
            return b"SAVED%b %b" % (relation.encode("ascii"), dates.render_date(day))
        case Aged(is_older, seconds):
            return b"%b %d" % (b"OLDER" if is_older else b"YOUNGER", seconds)
        case Identified(name, id):
            return f"{name} {id}".encode("ascii")
        case Modseq(at_least):
            return b"MODSEQ %d" % at_least
        case Content(text, with_header):
            return b"%b %b" % (b"TEXT" if with_header else b"BODY", _argument(text))
        case Header(name, text):
            return b"HEADER %b %b" % (_argument(name), _argument(text))
        case Flagged(flag, is_set) if flag.startswith("\\"):
            return (("" if is_set else "UN") + flag[1:].upper()).encode("ascii")
        case Flagged(flag, is_set):
            return b"%b %b" % (b"KEYWORD" if is_set else b"UNKEYWORD", flag.encode("ascii"))
        case Recent(is_recent):
            return b"RECENT" if is_recent else b"OLD"
        case All():
            return b"ALL"


def _argument(text: str) -> bytes:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return b'"%b"' % escaped.encode("utf-8")
