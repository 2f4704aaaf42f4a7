"""A hospital's table: usual address <-> MSSanté address, applied to a header section (OP-63).

Only the addresses of seven fields are replaced, and only those of the table: every other octet of
the section, folding, comments and display names included, stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from mssmtp.errors import BadAddress, MailError
from mssmtp.mail import Address
from mssmtp.message.headers import fields

NAMED_FIELDS = frozenset(
    {
        "from",
        "sender",
        "reply-to",
        "to",
        "cc",
        "disposition-notification-to",
        "return-receipt-to",
    }
)
"""OP-63 names them; Resent fields, Bcc and everything else are left alone."""

MAX_TABLE_OCTETS = 8_388_608
_UNQUOTED = re.compile(rb'"([A-Za-z0-9!#$%&\'*+/=?^_`{|}~.-]+)"\Z')

# One look at each octet (`++`, `*+`): time grows with the octets alone (ATT-27).
_TOKEN = re.compile(
    rb"(?P<space>[ \t\r\n]++)"
    rb'|(?P<word>"(?:[^"\\]|\\(?s:.))*+"|[^\x00-\x20\x7f()<>\[\]:;@,"\\]++)'
    rb'|(?P<unclosed>"(?s:.)*+)'
    rb"|(?P<special>[<>@,:;])"
    rb"|(?P<literal>\[[^\]]*+\]?)"
    rb"|(?P<open>\()"
    rb"|(?P<other>(?s:.))"
)
_IN_COMMENT = re.compile(rb"[^()\\]++|\\(?s:.)|(?P<open>\()|(?P<close>\))|\\")

Replace = Callable[[Address], Address | None]


class BadAliases(MailError):
    """The table cannot be used; the text says which line and why."""


@dataclass(frozen=True, slots=True)
class Aliases:
    """The table, both ways. One usual address has one MSSanté address and the other way round."""

    to_mss: dict[Address, Address] = field(default_factory=dict)
    to_usual: dict[Address, Address] = field(default_factory=dict)

    @classmethod
    def of(cls, pairs: Iterable[tuple[Address, Address]]) -> Aliases:
        """Of (usual, MSSanté) pairs. Raises BadAliases when one address stands in two lines."""
        to_mss: dict[Address, Address] = {}
        to_usual: dict[Address, Address] = {}
        for number, (usual, mss) in enumerate(pairs, 1):
            for address, known in ((usual, to_mss), (mss, to_usual)):
                if address in known:
                    raise BadAliases(
                        f"pair {number}: {address} stands in two pairs; which mail is whose?"
                    )
            to_mss[usual], to_usual[mss] = mss, usual
        if both := to_mss.keys() & to_usual.keys():
            raise BadAliases(f"{min(map(str, both))} is a usual and an MSSanté address at once")
        return cls(to_mss, to_usual)

    @classmethod
    def parse(cls, octets: bytes) -> Aliases:
        """The file: one `usual;mssante` per line, `#` and empty lines aside. Raises BadAliases."""
        if len(octets) > MAX_TABLE_OCTETS:
            raise BadAliases("it is larger than 8 MiB")
        try:
            lines = octets.decode("utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise BadAliases("it is not UTF-8 text") from error
        return cls.of(_pairs(lines))

    def __len__(self) -> int:
        return len(self.to_mss)

    def outward(self, address: Address) -> Address | None:
        """The MSSanté address of a usual one."""
        return self.to_mss.get(address)

    def inward(self, address: Address) -> Address | None:
        """The usual address of an MSSanté one."""
        return self.to_usual.get(address)


def _pairs(lines: list[str]) -> Iterator[tuple[Address, Address]]:
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        cells = [cell.strip().strip('"') for cell in re.split(r"[;,\t]", line)]
        if number == 1 and not any("@" in cell for cell in cells):
            continue  # a title line
        try:
            usual, mss = map(Address.parse, cells)
        except ValueError as error:  # not two of them
            raise BadAliases(f"line {number} is not usual;mssante") from error
        except BadAddress as error:
            raise BadAliases(f"line {number} holds no proper address") from error
        yield usual, mss


class Rewritten(NamedTuple):
    """A section after the table, and how many addresses of which fields were replaced."""

    header: bytes
    replaced: dict[str, int]


def rewritten(header: bytes, replace: Replace) -> Rewritten:
    """`header` with every address that `replace` knows put in the place of the old one."""
    pieces: list[bytes] = []
    replaced: dict[str, int] = {}
    kept = 0
    for each in fields(header):
        if each.name not in NAMED_FIELDS:
            continue
        start = header.index(b":", each.start) + 1
        for spans in _addresses(header, start, each.end):
            new = _replacement(header, spans, replace)
            if new is None:
                continue
            replaced[each.name] = replaced.get(each.name, 0) + 1
            for (begin, end), octets in zip(spans, new, strict=True):
                pieces += (header[kept:begin], octets)
                kept = end
    if not replaced:
        return Rewritten(header, {})
    return Rewritten(b"".join([*pieces, header[kept:]]), replaced)


Spans = tuple[tuple[int, int], tuple[int, int]]
"""Where the local part and the domain of one address stand."""


def _replacement(header: bytes, spans: Spans, replace: Replace) -> tuple[bytes, bytes] | None:
    local, host = (header[begin:end] for begin, end in spans)
    if plain := _UNQUOTED.match(local):
        local = plain[1]  # "a.b"@c and a.b@c are one mailbox
    try:
        address = Address.parse(f"{local.decode('ascii')}@{host.decode('ascii')}")
    except (BadAddress, UnicodeDecodeError):
        return None
    new = replace(address)
    return None if new is None else (new.local.encode("ascii"), new.domain.encode("ascii"))


def _addresses(octets: bytes, start: int, end: int) -> Iterator[Spans]:
    """Every address in a value: of a mailbox with angle brackets the one inside them alone."""
    found: list[Spans] = []
    in_angle = has_angle = False
    word: tuple[int, int] | None = None
    at = False
    for kind, begin, stop in _tokens(octets, start, end):
        if kind == "word":
            if at and word is not None:
                found.append((word, (begin, stop)))
                word, at = None, False
            else:
                word, at = (begin, stop), False
            continue
        mark = octets[begin:stop]
        if mark == b"@":
            at = word is not None
            continue
        word, at = None, False
        if mark == b"<":
            found.clear()  # what stood before is the name that is shown
            in_angle = has_angle = True
        elif mark == b">":
            in_angle = False
        elif mark in (b",", b";", b":") and not in_angle:
            yield from found
            found.clear()
            has_angle = False
        if has_angle and not in_angle:
            yield from found[-1:]  # behind a source route, the last
            found.clear()
            has_angle = False
    yield from found[-1:] if in_angle else found


def _tokens(octets: bytes, start: int, end: int) -> Iterator[tuple[str, int, int]]:
    """Words and specials; white space and comments are passed over."""
    position = start
    while position < end:
        token = _TOKEN.match(octets, position, end)
        if token is None:  # cannot be: every octet is of some kind
            return
        kind = str(token.lastgroup)
        begin, position = token.span()
        if kind == "open":
            position = _behind_comment(octets, position, end)
        elif kind != "space":
            yield kind, begin, position


def _behind_comment(octets: bytes, position: int, end: int) -> int:
    depth = 1
    while depth and position < end:
        piece = _IN_COMMENT.match(octets, position, end)
        if piece is None:
            return end
        depth += (piece.lastgroup == "open") - (piece.lastgroup == "close")
        position = piece.end()
    return position
