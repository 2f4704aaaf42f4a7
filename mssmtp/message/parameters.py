"""Parametrised header values: Content-Type, Content-Disposition, RFC 2231 (RFC 2045 5.1).

Counts and sizes are bounded and each octet is looked at a constant number of times (ATT-06).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from mssmtp.message.words import decode_charset, decode_unlabelled, decode_words

MAX_PARAMETERS = 100
MAX_VALUE_OCTETS = 4_096
MAX_SEGMENTS = 64
_TOKEN = bytes(c for c in range(33, 127) if c not in b'()<>@,;:\\"/[]?=')
_IN_QUOTES = re.compile(rb'[^"\\]*')  # one negated class: nothing to backtrack into
_HEX = b"0123456789ABCDEFabcdef"

RawParameters = tuple[tuple[bytes, bytes], ...]
"""Names in lower case and unquoted values as in the message, RFC 2231 and 2047 not decoded."""


@dataclass(frozen=True, slots=True)
class Parametrised:
    """`main; name=value; …`; `is_cut` when parameters beyond the bounds were left out."""

    main: bytes
    parameters: RawParameters
    is_cut: bool

    def raw(self, name: bytes) -> bytes | None:
        """The first parameter called exactly `name`."""
        return next((value for key, value in self.parameters if key == name), None)


def parse_parametrised(value: bytes) -> Parametrised:
    """Split an unfolded value. Never raises; what has no `=` is ignored."""
    end = _run_to_semicolon(value, 0)
    main = _without_comment(value[:end]).strip(b" \t").lower()
    found: list[tuple[bytes, bytes]] = []
    is_cut = False
    position = end + 1
    while position < len(value):
        if len(found) >= MAX_PARAMETERS:
            is_cut = True
            break
        name, text, position = _parameter(value, position)
        if name and not name.translate(None, _TOKEN):
            if len(text) > MAX_VALUE_OCTETS:
                is_cut, text = True, text[:MAX_VALUE_OCTETS]
            found.append((name, text))
    return Parametrised(main, tuple(found), is_cut)


def _run_to_semicolon(value: bytes, position: int) -> int:
    end = value.find(b";", position)
    return len(value) if end < 0 else end


def _parameter(value: bytes, position: int) -> tuple[bytes, bytes, int]:
    """Name, value and where the next one begins."""
    semicolon = _run_to_semicolon(value, position)
    equals = value.find(b"=", position, semicolon)
    if equals < 0:
        return b"", b"", semicolon + 1
    name = _without_comment(value[position:equals]).strip(b" \t").lower()
    start = equals + 1
    while value[start : start + 1] in (b" ", b"\t"):
        start += 1
    if value[start : start + 1] == b'"':
        text, end = _quoted(value, start + 1)
        return name, text, _run_to_semicolon(value, end) + 1
    # Not quoted although it should be: `name=Compte rendu.pdf` is read to the semicolon, as
    # Outlook and Thunderbird show it.
    return name, _without_comment(value[start:semicolon]).strip(b" \t"), semicolon + 1


def _quoted(value: bytes, position: int) -> tuple[bytes, int]:
    """Content after the opening quote, unescaped, and the place after the closing one."""
    pieces: list[bytes] = []
    while position < len(value):
        plain = _IN_QUOTES.match(value, position)
        if plain is not None:
            pieces.append(plain.group())
            position = plain.end()
        if value[position : position + 1] == b'"':
            break
        pieces.append(value[position + 1 : position + 2])
        position += 2
    return b"".join(pieces), position + 1


def _without_comment(text: bytes) -> bytes:
    """`text` without one trailing comment: `us-ascii (Plain text)` (RFC 2045 5.1)."""
    trimmed = text.rstrip(b" \t")
    if not trimmed.endswith(b")"):
        return text
    for opening in (b" (", b"\t("):
        before, found, _ = trimmed.partition(opening)
        if found:
            return before
    return b"" if trimmed.startswith(b"(") else text


# ---------------------------------------------------------------- RFC 2231


def decode_parameters(parameters: RawParameters) -> tuple[tuple[str, str], ...]:
    """Names and values as a client shows them, one each, in order of first appearance.

    An RFC 2231 form (`name*`, `name*0*`…, in any order) is preferred over a plain one, and the
    first of several equal ones is taken: the same choice as for BODYSTRUCTURE's readers.
    """
    if not parameters:
        return ()
    if not any(b"*" in name for name, _ in parameters):
        plain: dict[bytes, bytes] = {}
        for name, value in parameters:
            plain.setdefault(name, value)
        return tuple((n.decode("latin-1"), decode_words(v)) for n, v in plain.items())
    order: dict[bytes, None] = {}
    simple: dict[bytes, bytes] = {}
    segments: dict[bytes, dict[int, tuple[bytes, bool]]] = {}
    for name, value in parameters:
        base, index, is_encoded = _split_name(name)
        order.setdefault(base)
        if index is None:
            simple.setdefault(base, value)
        else:
            segments.setdefault(base, {}).setdefault(index, (value, is_encoded))
    return tuple(
        (base.decode("latin-1"), text)
        for base in order
        if (text := _chosen(simple.get(base), segments.get(base))) is not None
    )


def _split_name(name: bytes) -> tuple[bytes, int | None, bool]:
    """Base name, segment number (None: no RFC 2231 form), percent-encoded."""
    base, star, rest = name.partition(b"*")
    if not star:
        return name, None, False
    if not rest:
        return base, 0, True
    digits = rest.removesuffix(b"*")
    if digits.isdigit() and len(digits) <= 3:
        return base, int(digits), rest.endswith(b"*")
    return name, None, False


def without_continuations(parameters: RawParameters) -> RawParameters:
    """Segments put together, as RFC 2231 6 asks of IMAP servers: `name*0`, `name*1*`… are `name`,
    or `name*` when one of them is percent-encoded. What cannot be put together stays as it is; a
    plain `name` beside segments is what `decode_parameters` would not choose either."""
    if not any(b"*" in name for name, _ in parameters):
        return parameters
    segments: dict[bytes, dict[int, tuple[bytes, bool]]] = {}
    for name, value in parameters:
        base, index, is_encoded = _split_name(name)
        if index is not None and name != base + b"*":
            segments.setdefault(base, {}).setdefault(index, (value, is_encoded))
    wholes = {base: _whole(base, found) for base, found in segments.items() if 0 in found}
    told: list[tuple[bytes, bytes]] = []
    for name, value in parameters:
        base, index, _ = _split_name(name)
        whole = wholes.get(base)
        if whole is None or name == base + b"*":
            told.append((name, value))
        elif index is None:
            if whole.name != base:
                told.append((name, value))
        elif index == 0 and whole.pair not in told:
            told.append(whole.pair)
        elif index >= whole.segments:
            told.append((name, value))
    return tuple(told)


class _Whole(NamedTuple):
    """So many segments put together."""

    name: bytes
    value: bytes
    segments: int

    @property
    def pair(self) -> tuple[bytes, bytes]:
        """As a parameter."""
        return self.name, self.value


def _whole(base: bytes, found: dict[int, tuple[bytes, bool]]) -> _Whole:
    count = 1
    while count in found and count < MAX_SEGMENTS:
        count += 1
    texts = [found[index] for index in range(count)]
    if not any(is_encoded for _, is_encoded in texts):
        return _Whole(base, b"".join(text for text, _ in texts)[:MAX_VALUE_OCTETS], count)
    pieces = [text if is_encoded else text.replace(b"%", b"%25") for text, is_encoded in texts]
    head = b"" if texts[0][1] else b"''"  # no charset, no language
    return _Whole(base + b"*", (head + b"".join(pieces))[:MAX_VALUE_OCTETS], count)


def _chosen(plain: bytes | None, found: dict[int, tuple[bytes, bool]] | None) -> str | None:
    if found and 0 in found:
        return _joined(found)
    return None if plain is None else decode_words(plain)


def _joined(found: dict[int, tuple[bytes, bool]]) -> str:
    """Segments 0, 1, 2… up to the first gap, charset of the first (RFC 2231 4.1)."""
    first, is_encoded = found[0]
    charset = ""
    if is_encoded and first.count(b"'") >= 2:
        name, _language, first = first.split(b"'", 2)
        charset = name.decode("latin-1")
    octets = bytearray(_percent_decoded(first) if is_encoded else first)
    index = 1
    while index in found and index < MAX_SEGMENTS and len(octets) < MAX_VALUE_OCTETS:
        text, encoded = found[index]
        octets += _percent_decoded(text) if encoded else text
        index += 1
    text_octets = bytes(octets[:MAX_VALUE_OCTETS])
    if charset:
        return decode_charset(text_octets, charset)
    return decode_words(text_octets) if not is_encoded else decode_unlabelled(text_octets)


def _percent_decoded(text: bytes) -> bytes:
    first, *rest = text.split(b"%")
    pieces = [first]
    for piece in rest:
        if len(piece) >= 2 and not piece[:2].translate(None, _HEX):
            pieces.append(bytes((int(piece[:2], 16),)) + piece[2:])
        else:
            pieces.append(b"%" + piece)
    return b"".join(pieces)
