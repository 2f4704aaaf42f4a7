"""ENVELOPE, BODY and BODYSTRUCTURE as octets for a FETCH answer (RFC 3501 7.4.2, 9).

Everything is 7-bit: RFC 2047 and 2231 forms stay as in the message, with their continuations put
together (RFC 2231 6); undeclared 8-bit is given one (AND-03: raw UTF-8 there stops Android
clients). A string goes out quoted, or as a literal when it is long or holds a line end.
"""

from __future__ import annotations

from collections.abc import Iterable

from mssmtp.message.addresses import Group, Mailbox, parse_addresses
from mssmtp.message.content import Content
from mssmtp.message.encode import encode_8bit, percent_encoded
from mssmtp.message.headers import Field
from mssmtp.message.parameters import RawParameters, without_continuations
from mssmtp.message.tree import Part
from mssmtp.message.words import decode_unlabelled

MAX_QUOTED_OCTETS = 1_000
NIL = b"NIL"
_SAFE = bytes(c for c in range(1, 128) if c not in b'\r\n"\\')
_ENVELOPE_NAMES = frozenset(
    (
        "date",
        "subject",
        "from",
        "sender",
        "reply-to",
        "to",
        "cc",
        "bcc",
        "in-reply-to",
        "message-id",
    )
)
_ABSENT_MAILBOX = b'"MISSING_MAILBOX"'
_ABSENT_DOMAIN = b'"MISSING_DOMAIN"'


def string(value: bytes) -> bytes:
    """An IMAP string; NUL, which no string may hold, is left out."""
    if len(value) <= MAX_QUOTED_OCTETS and not value.translate(None, _SAFE):
        return b'"' + value + b'"'
    if not value.isascii():
        value = encode_8bit(value)
    if b"\0" in value:
        value = value.replace(b"\0", b"")
    if len(value) > MAX_QUOTED_OCTETS or b"\n" in value or b"\r" in value:
        return b"{%d}\r\n%s" % (len(value), value)
    if b"\\" in value or b'"' in value:
        value = value.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    return b'"' + value + b'"'


def nstring(value: bytes | None) -> bytes:
    """A string, or NIL for None."""
    return NIL if value is None else string(value)


# ---------------------------------------------------------------- ENVELOPE


def envelope_of(section: Iterable[Field]) -> bytes:
    """The ENVELOPE of the fields of a header section. `Sender` and `Reply-To` default to `From`."""
    found: dict[str, list[bytes]] = {}
    for field in section:
        if field.name in _ENVELOPE_NAMES:
            found.setdefault(field.name, []).append(field.value)

    def text(name: str) -> bytes:
        return nstring(found[name][0] if name in found else None)

    def people(name: str, default: bytes = NIL) -> bytes:
        return _addresses(found[name], default) if name in found else default

    author = people("from")
    return b"(%b %b %b %b %b %b %b %b %b %b)" % (
        text("date"),
        text("subject"),
        author,
        people("sender", author),
        people("reply-to", author),
        people("to"),
        people("cc"),
        people("bcc"),
        text("in-reply-to"),
        text("message-id"),
    )


def _addresses(found: list[bytes], default: bytes) -> bytes:
    pieces: list[bytes] = []
    for value in found:
        for entry in parse_addresses(value).entries:
            if isinstance(entry, Group):
                pieces.append(b"(NIL NIL %b NIL)" % string(entry.name))
                pieces.extend(_mailbox(member) for member in entry.members)
                pieces.append(b"(NIL NIL NIL NIL)")
            else:
                pieces.append(_mailbox(entry))
    return b"(" + b"".join(pieces) + b")" if pieces else default


def _mailbox(entry: Mailbox) -> bytes:
    """A host of NIL would mean a group: a missing one needs a word."""
    return b"(%b NIL %b %b)" % (
        string(entry.display) if entry.display else NIL,
        string(_unquoted(entry.local)) if entry.local else _ABSENT_MAILBOX,
        string(entry.domain) if entry.domain else _ABSENT_DOMAIN,
    )


def _unquoted(local: bytes) -> bytes:
    if len(local) < 2 or not (local.startswith(b'"') and local.endswith(b'"')):
        return local
    return local[1:-1].replace(b'\\"', b'"').replace(b"\\\\", b"\\")


# ---------------------------------------------------------------- BODY and BODYSTRUCTURE


def body_of(part: Part, *, extended: bool) -> bytes:
    """BODY or, `extended`, BODYSTRUCTURE with all its extension data (GEN-03).

    The tree is at most `mime_depth` deep, so the recursion is.
    """
    content = part.content
    if part.is_multipart:
        children = b"".join(body_of(child, extended=extended) for child in part.children)
        subtype = string(content.subtype.upper().encode("ascii"))
        if not extended:
            return b"(%b %b)" % (children, subtype)
        return b"(%b %b %b %b)" % (
            children,
            subtype,
            _parameters(content.raw_parameters),
            _extension(content),
        )
    pieces = [_basic(part)]
    if part.is_message:
        pieces += [part.envelope, body_of(part.children[0], extended=extended)]
    if part.is_message or part.media_type == "text":
        pieces.append(b"%d" % part.lines)
    if extended:
        pieces += [nstring(content.md5), _extension(content)]
    return b"(" + b" ".join(pieces) + b")"


def _basic(part: Part) -> bytes:
    """A `message/global` (RFC 6532 3.7) is told as what IMAP4rev1 has a grammar for: of a GLOBAL,
    which only IMAP4rev2 knows, an older client could not read the answer."""
    content = part.content
    parameters = _parameters(content.raw_parameters)
    if _is_plainly_ascii(part):
        # RFC 2045 5.2, unless the octets may say otherwise: then the client's guess is better.
        implied = b'"CHARSET" "US-ASCII"'
        parameters = b"(" + implied + (b")" if parameters == NIL else b" " + parameters[1:])
    return b"%b %b %b %b %b %b %d" % (
        string(content.media_type.upper().encode("ascii")),
        b'"RFC822"' if part.is_message else string(content.subtype.upper().encode("ascii")),
        parameters,
        nstring(content.identifier),
        nstring(content.description),
        string(content.raw_encoding),
        part.octets,
    )


def _is_plainly_ascii(part: Part) -> bool:
    """Text of undeclared charset that is ASCII as it stands."""
    names = (name.partition(b"*")[0] for name, _ in part.content.raw_parameters)
    return (
        part.media_type == "text"
        and not part.text_has_8bit
        and part.encoding not in ("base64", "quoted-printable")
        and b"charset" not in names
    )


def _extension(content: Content) -> bytes:
    disposition = NIL
    if content.disposition:
        kind = string(content.disposition.upper().encode("ascii"))
        disposition = b"(%b %b)" % (kind, _parameters(content.raw_disposition))
    return b"%b %b %b" % (disposition, _language(content.language), nstring(content.location))


def _language(value: bytes | None) -> bytes:
    tags = [tag.strip(b" \t") for tag in (value or b"").split(b",")]
    tags = [tag for tag in tags if tag]
    if len(tags) < 2:
        return string(tags[0]) if tags else NIL
    return b"(" + b" ".join(string(tag) for tag in tags) + b")"


def _parameters(raw: RawParameters) -> bytes:
    found = _seven_bit(without_continuations(raw))
    pieces = [string(n.upper()) + b" " + string(v) for n, v in found]
    return b"(" + b" ".join(pieces) + b")" if pieces else NIL


def _seven_bit(raw: RawParameters) -> Iterable[tuple[bytes, bytes]]:
    """8-bit values in the RFC 2231 form, unless the message already has one of that name."""
    for name, value in raw:
        if value.isascii():
            yield name, value
        elif b"*" in name:
            yield name, percent_encoded(value, keep=b"%'")
        elif not any(key.partition(b"*")[0] == name and b"*" in key for key, _ in raw):
            text = decode_unlabelled(value)
            yield name + b"*", b"UTF-8''" + percent_encoded(text.encode("utf-8"))
