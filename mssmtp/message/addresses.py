"""Address lists (RFC 5322 3.4, 4.4) from octets: lenient in what is shown, strict in `is_exact`.

One pass over the octets, one pass over the tokens, no recursion: time and memory grow with the
value only (ATT-07, ATT-08, ATT-10, ATT-27).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import NamedTuple

# Single negated classes: each octet is looked at once, nothing to backtrack into.
_ATOM = re.compile(rb'[^\x00-\x20\x7f()<>\[\]:;@,"\\]+')
_IN_QUOTES = re.compile(rb'[^"\\]*')
_IN_COMMENT = re.compile(rb"[^()\\]*")
_IN_LITERAL = re.compile(rb"[^\]\\]*")
_SPACE = re.compile(rb"[ \t\r\n]+")
_CONTROL = bytes(range(32)) + b"\x7f"
_ATEXT = bytes(c for c in range(33, 127) if c not in b'()<>[]:;@,"\\')
_PLAIN = _ATEXT + b" <>@"


@dataclass(frozen=True, slots=True)
class Mailbox:
    """One address as octets of the message: `local` keeps its quotes, `display` has lost its own.

    An empty `local` or `domain` was missing. RFC 2047 words are not decoded.
    """

    display: bytes
    local: bytes
    domain: bytes


@dataclass(frozen=True, slots=True)
class Group:
    """`name: members;` (RFC 5322 3.4)."""

    name: bytes
    members: tuple[Mailbox, ...]


@dataclass(frozen=True, slots=True)
class AddressList:
    """What a value holds; `is_exact` when it is in the grammar and can be read in one way only."""

    entries: tuple[Mailbox | Group, ...]
    is_exact: bool


class _Kind(Enum):
    ATOM = auto()
    QUOTED = auto()
    LITERAL = auto()
    COMMENT = auto()
    SPECIAL = auto()


class _Token(NamedTuple):
    kind: _Kind
    text: bytes
    spaced: bool
    """White space or a comment stands before it."""


def parse_addresses(value: bytes) -> AddressList:
    """The address list of an unfolded header value. Never raises."""
    return _single(value) or parse_any(value)


def _single(value: bytes) -> AddressList | None:
    """The common case, one plain `Name <local@domain>`, without tokens; None for anything else."""
    if value.translate(None, _PLAIN):
        return None
    display, bracket, spec = value.partition(b"<")
    if bracket:
        if not spec.endswith(b">") or b"@" in display or b">" in display:
            return None
        spec = spec[:-1]
    else:
        display, spec = b"", value.strip(b" ")
    local, _, host = spec.partition(b"@")
    if not local or not host or host.translate(None, _ATEXT) or local.translate(None, _ATEXT):
        return None
    return AddressList((Mailbox(b" ".join(display.split()), local, host),), True)


def parse_any(value: bytes) -> AddressList:
    """`parse_addresses` token by token."""
    tokens, is_clean = _tokens(value)
    reader = _Reader()
    for token in tokens:
        reader.take(token)
    entries = reader.finish()
    return AddressList(entries, is_clean and reader.is_exact)


# ---------------------------------------------------------------- octets to tokens


def _tokens(value: bytes) -> tuple[list[_Token], bool]:
    found: list[_Token] = []
    is_clean = True
    spaced = False
    position = 0
    while position < len(value):
        if space := _SPACE.match(value, position):
            position, spaced = space.end(), True
            continue
        if atom := _ATOM.match(value, position):
            found.append(_Token(_Kind.ATOM, atom.group(), spaced))
            position, spaced = atom.end(), False
            continue
        octet = value[position : position + 1]
        if octet in (b'"', b"[", b"("):
            kind, text, position, closed = _enclosed(value, position)
            is_clean = is_clean and closed
            found.append(_Token(kind, text, spaced))
            spaced = kind is _Kind.COMMENT
            continue
        if octet in b"<>@,;:":
            found.append(_Token(_Kind.SPECIAL, octet, spaced))
        else:  # a control, a stray backslash or bracket
            is_clean = False
            if octet not in _CONTROL:
                found.append(_Token(_Kind.ATOM, octet, spaced))
        position, spaced = position + 1, False
    return found, is_clean


def _enclosed(value: bytes, position: int) -> tuple[_Kind, bytes, int, bool]:
    """A quoted-string, comment or literal: kind, content unescaped, end, well formed."""
    opening = value[position : position + 1]
    if opening == b"(":
        return _comment(value, position)
    run, closing, kind = (
        (_IN_QUOTES, b'"', _Kind.QUOTED) if opening == b'"' else (_IN_LITERAL, b"]", _Kind.LITERAL)
    )
    pieces: list[bytes] = []
    is_clean = True
    position += 1
    while position < len(value):
        plain = run.match(value, position)
        if plain is not None:
            pieces.append(plain.group())
            position = plain.end()
        mark = value[position : position + 1]
        if mark == closing:
            text = b"".join(pieces)
            return kind, text, position + 1, is_clean and _has_no_control(text)
        # ATT-10: a trailing backslash escapes nothing and must not read past the end.
        pieces.append(value[position + 1 : position + 2])
        position += 2
    return kind, b"".join(pieces), min(position, len(value)), False


def _comment(value: bytes, position: int) -> tuple[_Kind, bytes, int, bool]:
    pieces: list[bytes] = []
    depth = 0
    while position < len(value):
        mark = value[position : position + 1]
        position += 1
        if mark == b"(":
            depth += 1
            if depth > 1:
                pieces.append(mark)
        elif mark == b")":
            depth -= 1
            if depth == 0:
                text = b"".join(pieces)
                return _Kind.COMMENT, text, position, _has_no_control(text)
            pieces.append(mark)
        elif mark == b"\\":
            pieces.append(value[position : position + 1])
            position += 1
        else:
            position -= 1
            plain = _IN_COMMENT.match(value, position)
            if plain is not None:
                pieces.append(plain.group())
                position = plain.end()
    return _Kind.COMMENT, b"".join(pieces), min(position, len(value)), False


def _has_no_control(text: bytes) -> bool:
    return len(text.translate(None, _CONTROL)) == len(text.replace(b"\t", b""))


# ---------------------------------------------------------------- tokens to addresses


@dataclass(slots=True)
class _Reader:
    is_exact: bool = True
    _entries: list[Mailbox | Group] = field(default_factory=list)
    _members: list[Mailbox] | None = None
    _group_name: bytes = b""
    _pending: list[_Token] = field(default_factory=list)
    _comments: list[bytes] = field(default_factory=list)
    _angle: list[_Token] | None = None
    _mailbox: Mailbox | None = None
    _is_separated: bool = False
    """A comma was seen since the last address: another one must follow."""

    def take(self, token: _Token) -> None:
        if token.kind is _Kind.COMMENT:
            self._take_comment(token)
        elif self._angle is not None:
            self._take_inside(token)
        elif token.kind is not _Kind.SPECIAL or token.text == b"@":
            self._pending.append(token)
        elif token.text == b",":
            self.is_exact &= self._flush()
            self._is_separated = True
        elif token.text == b"<":
            self.is_exact &= self._mailbox is None
            self._flush_if_mailbox()
            self._angle = []
        elif token.text == b":":
            self._open_group()
        elif token.text == b";":
            self._close_group()
        else:
            self.is_exact = False

    def _take_comment(self, token: _Token) -> None:
        self._comments.append(token.text)
        if self._angle is not None:
            self.is_exact = False

    def _take_inside(self, token: _Token) -> None:
        if token.kind is _Kind.SPECIAL and token.text in b"><":
            self.is_exact &= token.text == b">"
            self._end_angle()
        elif self._angle is not None:
            self._angle.append(token)

    def _end_angle(self) -> None:
        inside, self._angle = self._angle or [], None
        route = next((i for i, t in enumerate(inside) if _is(t, b":")), None)
        if route is not None:
            self.is_exact = False  # RFC 5322 4.4: source routes are obsolete and read in many ways
            inside = inside[route + 1 :]
        local, host, is_exact = _addr_spec(inside)
        self.is_exact &= is_exact and not any(_is(t, b"@") for t in self._pending)
        self._mailbox = Mailbox(_phrase(self._pending), local, host)
        self._pending = []

    def _flush_if_mailbox(self) -> None:
        if self._mailbox is not None:
            self._flush()

    def _flush(self) -> bool:
        """Write what is pending as one address; False when it was none or not exact."""
        mailbox, is_exact = self._mailbox, not self._pending
        if mailbox is None:
            if not self._pending:
                self._comments = []
                return False
            mailbox, is_exact = self._bare()
        elif not mailbox.display and self._comments:
            mailbox = Mailbox(self._comments[-1], mailbox.local, mailbox.domain)
        (self._entries if self._members is None else self._members).append(mailbox)
        self._pending, self._comments, self._mailbox = [], [], None
        self._is_separated = False
        return is_exact

    def _bare(self) -> tuple[Mailbox, bool]:
        if not any(_is(token, b"@") for token in self._pending):
            if len(self._pending) == 1:
                return Mailbox(b"", _spec_text(self._pending), b""), False
            return Mailbox(_phrase(self._pending), b"", b""), False
        local, host, is_exact = _addr_spec(self._pending)
        return Mailbox(self._comments[-1] if self._comments else b"", local, host), is_exact

    def _open_group(self) -> None:
        if self._members is not None or self._mailbox is not None or not self._pending:
            self.is_exact = False
            return
        self.is_exact &= not any(_is(token, b"@") for token in self._pending)
        self._group_name, self._members = _phrase(self._pending), []
        self._pending, self._comments = [], []

    def _close_group(self) -> None:
        if self._pending or self._mailbox:
            self.is_exact &= self._flush()
        if self._members is None:
            self.is_exact = False
            return
        self._entries.append(Group(self._group_name, tuple(self._members)))
        self._members, self._is_separated = None, False

    def finish(self) -> tuple[Mailbox | Group, ...]:
        if self._angle is not None:
            self.is_exact = False
            self._end_angle()
        if self._pending or self._mailbox:
            self.is_exact &= self._flush()
        elif self._is_separated:
            self.is_exact = False
        if self._members is not None:
            self.is_exact = False
            self._close_group()
        return tuple(self._entries)


def _is(token: _Token, special: bytes) -> bool:
    return token.kind is _Kind.SPECIAL and token.text == special


def _addr_spec(tokens: list[_Token]) -> tuple[bytes, bytes, bool]:
    """Local part, domain, exact. The last `@` divides, as in every client looked at."""
    at = max((i for i, token in enumerate(tokens) if _is(token, b"@")), default=None)
    if at is None:
        return _spec_text(tokens), b"", False
    local, host = tokens[:at], tokens[at + 1 :]
    is_exact = len(local) == 1 and len(host) == 1
    is_exact = is_exact and local[0].kind in (_Kind.ATOM, _Kind.QUOTED)
    # Space around the `@` is obsolete syntax, and some parsers cut the address there.
    is_exact = is_exact and not tokens[at].spaced and not host[0].spaced
    return _spec_text(local), _spec_text(host), is_exact


def _spec_text(tokens: list[_Token]) -> bytes:
    pieces = []
    for token in tokens:
        if token.kind is _Kind.QUOTED:
            inner = token.text.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
            pieces.append(b'"' + inner + b'"')
        elif token.kind is _Kind.LITERAL:
            pieces.append(b"[" + token.text + b"]")
        else:
            pieces.append(token.text)
    return b"".join(pieces)


def _phrase(tokens: list[_Token]) -> bytes:
    """Words of a display name; white space between them becomes one space."""
    pieces: list[bytes] = []
    for token in tokens:
        if pieces and token.spaced:
            pieces.append(b" ")
        pieces.append(b"[" + token.text + b"]" if token.kind is _Kind.LITERAL else token.text)
    return b"".join(pieces)
