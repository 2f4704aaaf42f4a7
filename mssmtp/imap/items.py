"""What FETCH can be asked for (RFC 3501 6.4.5, RFC 3516): attributes, sections, macros."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from mssmtp.errors import BadSyntax
from mssmtp.imap import responses
from mssmtp.imap.syntax import Cursor
from mssmtp.message.summary import SectionText

MAX_PATH = 100
MAX_NAMES = 200


class Simple(Enum):
    """Attributes without arguments; the value is the name in commands and responses."""

    FLAGS = "FLAGS"
    UID = "UID"
    INTERNALDATE = "INTERNALDATE"
    SIZE = "RFC822.SIZE"
    ENVELOPE = "ENVELOPE"
    BODY = "BODY"
    BODYSTRUCTURE = "BODYSTRUCTURE"
    MODSEQ = "MODSEQ"
    EMAILID = "EMAILID"
    THREADID = "THREADID"
    SAVEDATE = "SAVEDATE"
    PREVIEW = "PREVIEW"


@dataclass(frozen=True, slots=True)
class Section:
    """`section`: a part number, what of it, and the fields of HEADER.FIELDS[.NOT]."""

    path: tuple[int, ...] = ()
    text: SectionText = ""
    names: tuple[str, ...] | None = None
    negate: bool = False

    @property
    def is_of_body(self) -> bool:
        """Octets of the body (DEF-06): the header of the letter itself is none, nor MIME headers;
        that of a letter attached to it is."""
        return self.text in ("", "TEXT") or (self.text == "HEADER" and bool(self.path))

    def render(self) -> bytes:
        """Between the brackets."""
        path = [str(number) for number in self.path]
        if self.names is None:
            return ".".join([*path, *([self.text] if self.text else [])]).encode("ascii")
        verb = "HEADER.FIELDS.NOT" if self.negate else "HEADER.FIELDS"
        names = responses.listed(map(_field_name, self.names))
        return ".".join([*path, verb]).encode("ascii") + b" " + names


def _field_name(name: str) -> bytes:
    octets = name.encode("latin-1")
    return (
        octets if name.replace("-", "").isalnum() and name.isascii() else responses.quoted(octets)
    )


@dataclass(frozen=True, slots=True)
class Body:
    """`BODY[section]<start.length>` and its RFC822 ancestors; `label` names it in the response."""

    section: Section
    partial: tuple[int, int] | None = None
    peek: bool = False
    label: bytes = b""

    def render(self) -> bytes:
        """As a client writes it."""
        verb = b"BODY.PEEK" if self.peek else b"BODY"
        partial = b"<%d.%d>" % self.partial if self.partial else b""
        return b"%b[%b]%b" % (verb, self.section.render(), partial)

    @property
    def name(self) -> bytes:
        """As the response writes it (7.4.2)."""
        origin = b"<%d>" % self.partial[0] if self.partial else b""
        return self.label or b"BODY[%b]%b" % (self.section.render(), origin)


@dataclass(frozen=True, slots=True)
class Binary:
    """`BINARY[part]<start.length>`: a part without its transfer encoding (RFC 3516 4.2)."""

    path: tuple[int, ...]
    partial: tuple[int, int] | None = None
    peek: bool = False

    @property
    def name(self) -> bytes:
        """As the response writes it (4.3)."""
        origin = b"<%d>" % self.partial[0] if self.partial else b""
        return b"BINARY[%b]%b" % (Section(self.path).render(), origin)


@dataclass(frozen=True, slots=True)
class BinarySize:
    """`BINARY.SIZE[part]`: of as many octets (RFC 3516 4.2)."""

    path: tuple[int, ...]

    @property
    def name(self) -> bytes:
        """As the response writes it (4.3)."""
        return b"BINARY.SIZE[%b]" % Section(self.path).render()


Item = Simple | Body | Binary | BinarySize


def label_of(item: Item) -> bytes:
    """As the response writes it."""
    return item.value.encode("ascii") if isinstance(item, Simple) else item.name


_RFC822 = {
    "RFC822": Body(Section(), label=b"RFC822"),
    "RFC822.HEADER": Body(Section(text="HEADER"), peek=True, label=b"RFC822.HEADER"),
    "RFC822.TEXT": Body(Section(text="TEXT"), label=b"RFC822.TEXT"),
}
_FAST = (Simple.FLAGS, Simple.INTERNALDATE, Simple.SIZE)
_MACROS: dict[str, tuple[Item, ...]] = {
    "FAST": _FAST,
    "ALL": (*_FAST, Simple.ENVELOPE),
    "FULL": (*_FAST, Simple.ENVELOPE, Simple.BODY),
}
_SIMPLE = {each.value: each for each in Simple}


def parse(cursor: Cursor) -> tuple[Item, ...]:
    """`"ALL" / "FULL" / "FAST" / fetch-att / "(" fetch-att *(SP fetch-att) ")"`."""
    if cursor.sees(b"("):
        return listed(cursor)
    word = cursor.word()
    return _MACROS[word] if word in _MACROS else (_item(cursor, word),)


def listed(cursor: Cursor) -> tuple[Item, ...]:
    """`"(" fetch-att *(SP fetch-att) ")"`, each once."""
    return tuple(dict.fromkeys(cursor.listed(lambda: _item(cursor, cursor.word()))))


def unread(cursor: Cursor) -> tuple[Item, ...]:
    """The same without `\\Seen`: what is shown unasked was read by nobody (RFC 5465 5.2)."""
    return tuple(
        replace(each, peek=True) if isinstance(each, Body | Binary) else each
        for each in listed(cursor)
    )


def _item(cursor: Cursor, word: str) -> Item:
    if word in ("BODY", "BODY.PEEK") and cursor.takes(b"["):
        return Body(section(cursor), _partial(cursor), peek=word == "BODY.PEEK")
    if word in _BINARY and cursor.takes(b"["):
        return _binary(cursor, word)
    if word in _RFC822:
        return _RFC822[word]
    if word not in _SIMPLE:
        raise BadSyntax("unknown fetch item")
    if word == "PREVIEW":
        # RFC 8970 3.2: it never takes long here, so that LAZY changes nothing.
        cursor.takes(b" (LAZY)")
    return _SIMPLE[word]


_BINARY = frozenset(("BINARY", "BINARY.PEEK", "BINARY.SIZE"))


def _binary(cursor: Cursor, word: str) -> Item:
    """`section-binary = "[" [section-part] "]"` and what follows it."""
    found = section(cursor)
    if found.text or found.names is not None:
        raise BadSyntax("BINARY is of a part")
    if word == "BINARY.SIZE":
        return BinarySize(found.path)
    return Binary(found.path, _partial(cursor), peek=word == "BINARY.PEEK")


_TEXTS: dict[str, SectionText] = {"": "", "HEADER": "HEADER", "TEXT": "TEXT", "MIME": "MIME"}


def section(cursor: Cursor) -> Section:
    """`[section-spec] "]"`, what follows the opening bracket."""
    if cursor.takes(b"]"):
        return Section()
    words = cursor.word().split(".")
    numbers: list[int] = []
    while words and words[0].isdigit():
        numbers.append(_part_number(words.pop(0)))
    if len(numbers) > MAX_PATH:
        raise BadSyntax("section too deep")
    text = ".".join(words)
    names, negate = None, text == "HEADER.FIELDS.NOT"
    if negate or text == "HEADER.FIELDS":
        cursor.space()
        names = tuple(name.decode("latin-1") for name in cursor.listed(cursor.astring))
        text = "HEADER"
        if len(names) > MAX_NAMES:
            raise BadSyntax("too many fields")
    cursor.expect(b"]")
    if text not in _TEXTS or (text == "MIME" and not numbers):
        raise BadSyntax("unknown section")
    return Section(tuple(numbers), _TEXTS[text], names, negate)


def _part_number(digits: str) -> int:
    if len(digits) > 9 or not int(digits):
        raise BadSyntax("part numbers begin at 1")
    return int(digits)


def _partial(cursor: Cursor) -> tuple[int, int] | None:
    if not cursor.takes(b"<"):
        return None
    start = cursor.number64()
    cursor.expect(b".")
    length = cursor.number64()
    cursor.expect(b">")
    if not length:
        raise BadSyntax("empty range")
    return start, length
