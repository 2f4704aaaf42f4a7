"""Header sections from raw octets (RFC 5322 2.2, 3.6): fields, their values, who a letter is from.

A line ends at LF, with or without CR before it; a header section ends at its first empty line and
nowhere else, so that a line without a colon can never hide a second `From:` from us (ATT-42).
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from itertools import takewhile
from typing import NamedTuple

from mssmtp.errors import BadAddress, MailError, Reply
from mssmtp.mail import Address, Domain, domain
from mssmtp.message.addresses import Group, Mailbox, parse_addresses
from mssmtp.message.words import decode_words

_FTEXT = bytes(c for c in range(33, 127) if c != ord(":"))
_EMPTY = (b"", b"\r")
# The names of nearly every field, as nearly everybody spells them: checked and folded already.
_SPELLED = {
    name.encode("ascii"): name.lower()
    for name in (
        *("Return-Path", "Received", "From", "To", "Cc", "Subject", "Date", "Message-ID"),
        *("Message-Id", "MIME-Version", "Mime-Version", "Reply-To", "Sender", "In-Reply-To"),
        *("References", "User-Agent", "X-Mailer", "Content-Type", "Content-Disposition"),
        *("Content-Transfer-Encoding", "Content-ID", "Content-Description", "Content-Language"),
        *("X-MSS-NIL", "X-MSS-INS", "X-MSS-CODECDA", "Disposition-Notification-To"),
    )
}
# A section piece by piece, as (octets, name): a field with its folded lines, or a line of no field;
# last what begins with the empty line, as (b"", b""). Agrees with `fields`. Nothing in it goes back
# (`++`, `*+`), so that its time grows with the octets alone whatever they are.
_PIECES = re.compile(
    rb"\r?(?:\n|\Z)(?s:.)*+"
    rb"|(([!-9;-~]++)[ \t]*+:[^\n]*+(?:\n[ \t][^\n]*+)*+\n?+|[^\n]++\n?+)"
)
LISTED = (
    *("from", "to", "cc", "bcc", "subject", "date", "message-id", "in-reply-to", "references"),
    *("reply-to", "sender", "content-type", "priority", "x-priority", "importance", "newsgroups"),
    *("disposition-notification-to", "list-id", "list-post", "list-unsubscribe"),
)
"""The fields that clients ask for to show a list of mail. At most 32."""
_LISTED_BITS = {name.encode(): 1 << bit for bit, name in enumerate(LISTED)}
_HOST = frozenset(string.ascii_letters + string.digits + ".-")
_LONGEST_DOMAIN = 253
_REMEMBERED_OCTETS = 16_384
MAX_MESSAGE_ID_OCTETS = 998
MAX_FROM_ADDRESSES = 100


class BadFrom(MailError):
    """`From:` does not name its authors in a way that can authorise (OP-15, OP-86, ATT-08)."""

    smtp = Reply(
        550,
        "5.6.0",
        "L'en-tête From est absent, répété ou illisible ; indiquez une seule ligne From avec"
        " une adresse complète.",
    )
    imap = "CLIENTBUG"


class Field(NamedTuple):
    """One header field. `value` is unfolded and trimmed; `start`, `end`: octets of the section.

    The raw field, with its line ends, is `header[start:end]`.
    """

    name: str
    raw_name: bytes
    value: bytes
    start: int
    end: int


def field_name(line: bytes) -> bytes | None:
    """The name before the colon, or None when the line does not begin a field (RFC 5322 2.2).

    White space before the colon is obsolete syntax (4.5) and accepted: `From :` is a From.
    """
    colon = line.find(b":")
    if colon <= 0:
        return None
    name = line[:colon].rstrip(b" \t")
    return name if name and not name.translate(None, _FTEXT) else None


def fields(header: bytes) -> tuple[Field, ...]:
    """Every field of the section, in order. Lines that belong to no field are left out."""
    # One section is asked about a dozen times on its way in.
    return _fields_lately(header) if len(header) <= _REMEMBERED_OCTETS else _fields(header)


def _fields(header: bytes) -> tuple[Field, ...]:
    found: list[Field] = []
    name: bytes | None = None
    pieces: list[bytes] = []
    start = position = 0
    for line in header.split(b"\n"):
        if line in _EMPTY:
            break
        if line[0] in b" \t":
            pieces.append(_continuation(line))
        else:
            if name is not None:
                found.append(_field(name, pieces, start, position))
            start = position
            raw, _, rest = line.partition(b":")
            name = raw if raw in _SPELLED else field_name(line)
            pieces = [rest.removesuffix(b"\r")]
        position += len(line) + 1
    if name is not None:
        found.append(_field(name, pieces, start, min(position, len(header))))
    return tuple(found)


_fields_lately = lru_cache(maxsize=8)(_fields)


def _continuation(line: bytes) -> bytes:
    # A folding TAB shows as a control character in some lists: unfolded as a space.
    return b" " + line[1:].removesuffix(b"\r")


def _field(name: bytes, pieces: list[bytes], start: int, end: int) -> Field:
    value = (pieces[0] if len(pieces) == 1 else b"".join(pieces)).strip(b" \t")
    return Field(_SPELLED.get(name) or name.decode("ascii").lower(), name, value, start, end)


def values(header: bytes, name: str) -> tuple[bytes, ...]:
    """Unfolded values of every field called `name` (any case)."""
    wanted = name.lower()
    return tuple(field.value for field in fields(header) if field.name == wanted)


def has(header: bytes, name: str) -> bool:
    """True when the section holds a field called `name` (any case)."""
    return bool(values(header, name))


def message_id(header: bytes) -> str | None:
    """The first Message-ID as written, with its angle brackets; None when absent or not ASCII.

    At most 998 octets are looked at (RFC 5322 2.1.1): more is no identifier.
    """
    for value in values(header, "message-id"):
        if value and len(value) <= MAX_MESSAGE_ID_OCTETS and value.isascii():
            text = value.decode("ascii")
            return text if text.isprintable() else None
    return None


def addresses(value: bytes) -> tuple[Mailbox | Group, ...]:
    """The address list of an unfolded value, best effort (RFC 5322 3.4)."""
    return parse_addresses(value).entries


def from_addresses(header: bytes) -> tuple[Address, ...]:
    """Every author, strict enough to authorise. Raises BadFrom.

    Exactly one `From:` field; a mailbox-list without groups, source routes or anything that two
    parsers could read differently (ATT-08); ASCII addresses. Display names may be anything.
    """
    return _strict(values(header, "from"))


def sender_address(header: bytes) -> Address | None:
    """The one address of `Sender:`, None when there is no such field. Raises BadFrom."""
    found = values(header, "sender")
    if not found:
        return None
    authors = _strict(found)
    if len(authors) != 1:
        raise BadFrom
    return authors[0]


def resent_addresses(header: bytes) -> tuple[Address, ...]:
    """Everybody who says to have sent the letter again (RFC 5322 3.6.6). Raises BadFrom."""
    found = values(header, "resent-from") + values(header, "resent-sender")
    return tuple(address for value in found for address in _strict((value,)))


def shown_domains(header: bytes) -> frozenset[Domain]:
    """The domain behind every `@` a reader sees in `From` and `Sender`, the true ones included.

    A client that shows the display name alone shows whatever address was written there (ATT-42):
    in encoded words, comments, quoted local parts and letters of other widths too. Raises BadFrom.
    """
    found: set[Domain] = set()
    for value in values(header, "from") + values(header, "sender"):
        shown = unicodedata.normalize("NFKC", decode_words(value)).split("@")
        if len(shown) > 2 * MAX_FROM_ADDRESSES:
            raise BadFrom  # no reader can tell who that is
        for behind in shown[1:]:
            name = "".join(takewhile(_HOST.__contains__, behind.lstrip()[:_LONGEST_DOMAIN]))
            try:
                found.add(domain(name.strip(".-")))
            except BadAddress:
                continue
    return frozenset(found)


def _strict(found: tuple[bytes, ...]) -> tuple[Address, ...]:
    if len(found) != 1:
        raise BadFrom
    parsed = parse_addresses(found[0])
    if not parsed.is_exact or not 0 < len(parsed.entries) <= MAX_FROM_ADDRESSES:
        raise BadFrom
    return tuple(_address(entry) for entry in parsed.entries)


def _address(entry: Mailbox | Group) -> Address:
    if isinstance(entry, Group):
        raise BadFrom
    try:
        local, host = entry.local.decode("ascii"), entry.domain.decode("ascii")
        return Address(local, domain(host))
    except (BadAddress, UnicodeDecodeError) as error:
        raise BadFrom from error


def header_fields(header: bytes, names: tuple[str, ...], negate: bool = False) -> bytes:
    """Octets of `HEADER.FIELDS` or, with `negate`, `HEADER.FIELDS.NOT` (RFC 3501 6.4.5).

    The fields keep their octets and order; the empty line follows in every case.
    """
    wanted = _compared(names)
    kept = b"".join(
        [
            octets
            for octets, name in _PIECES.findall(header)
            if (name.lower() in wanted) is not negate
        ]
    )
    if kept and not kept.endswith(b"\n"):
        kept += b"\r\n"
    return kept + b"\r\n"


def listed_fields(header: bytes) -> tuple[int, bytes]:
    """`header_fields` of all LISTED, and which of them there are, as in `listed_bits`."""
    kept: list[bytes] = []
    present = 0
    for octets, name in _PIECES.findall(header):
        if bit := _LISTED_BITS.get(name.lower(), 0):
            present |= bit
            kept.append(octets)
    if kept and not kept[-1].endswith(b"\n"):
        kept.append(b"\r\n")
    return present, b"".join([*kept, b"\r\n"])


def listed_bits(names: Iterable[str]) -> int | None:
    """A bit for each of `names`; None when one of them is not LISTED."""
    bits = 0
    for name in names:
        bit = _LISTED_BITS.get(name.lower().encode())
        if bit is None:
            return None
        bits |= bit
    return bits


@lru_cache(maxsize=64)
def _compared(names: tuple[str, ...]) -> frozenset[bytes]:
    # A line of no field has the name b"" in `_PIECES`: nobody can ask for it.
    return frozenset(name.lower().encode() for name in names if name)
