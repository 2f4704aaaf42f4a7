"""Mailbox names on the wire: modified UTF-7 (RFC 3501 5.1.3), and what a name may be."""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata

from mssmtp.errors import BadSyntax

DELIMITER = "/"
MAX_NAME = 255
MAX_LEVELS = 20

_ENCODED = re.compile(rb"&([A-Za-z0-9+,]*)-")
_DIRECT = re.compile(rb"[\x20-\x25\x27-\x7e]*\Z")
_NEEDS_SHIFT = re.compile(r"[^\x20-\x7e]+|&")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufffe\uffff]")


class BadName(BadSyntax):
    """The octets are no mailbox name of ours: nothing can exist under them (RFC 5530 CANNOT)."""

    imap = "CANNOT"


def encode(name: str) -> bytes:
    """`name` in modified UTF-7; printable ASCII stays as it is, `&` becomes `&-`."""
    return _NEEDS_SHIFT.sub(_shift, name).encode("ascii")


def _shift(found: re.Match[str]) -> str:
    text = found.group()
    if text == "&":
        return "&-"
    packed = base64.b64encode(text.encode("utf-16-be", "surrogatepass")).rstrip(b"=")
    return f"&{packed.decode('ascii').replace('/', ',')}-"


def decode(octets: bytes) -> str:
    """The Unicode name behind `octets`. Raises BadName.

    Only the one canonical spelling is taken (5.1.3: no `&AGE-` for `a`), so that two spellings
    can never name one mailbox. INBOX is folded: it is the same in any case (5.1). 8-bit octets
    never stand in modified UTF-7: they are UTF-8, which RFC 6855 3 lets any client send.
    """
    if not octets.isascii():
        return decode_utf8(octets)
    name = "".join(_pieces(octets))
    if encode(name) != octets:
        raise BadName
    return folded(name)


def encode_utf8(name: str) -> bytes:
    """`name` in UTF-8, for who has enabled it (RFC 9051 5.1, RFC 6855 3)."""
    return name.encode("utf-8")


def spelling(name: str, *, utf8: bool) -> bytes:
    """`name` as the client reads and writes names."""
    return encode_utf8(name) if utf8 else encode(name)


def decode_utf8(octets: bytes) -> str:
    """The Unicode name behind UTF-8 `octets`, INBOX folded. Raises BadSyntax (RFC 6855 3)."""
    try:
        return folded(octets.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise BadSyntax("not UTF-8") from error


def normal_utf8(octets: bytes) -> bytes:
    """UTF-8 in the form names are kept in; nothing for octets that are no UTF-8."""
    try:
        return unicodedata.normalize("NFC", octets.decode("utf-8")).encode("utf-8")
    except UnicodeDecodeError:
        return b""


def _pieces(octets: bytes) -> list[str]:
    out: list[str] = []
    position = 0
    for found in _ENCODED.finditer(octets):
        out.append(_direct(octets[position : found.start()]))
        out.append(_unshift(found.group(1)))
        position = found.end()
    out.append(_direct(octets[position:]))
    return out


def _direct(octets: bytes) -> str:
    if not _DIRECT.match(octets):
        raise BadName
    return octets.decode("ascii")


def _unshift(packed: bytes) -> str:
    if not packed:
        return "&"
    try:
        raw = base64.b64decode(packed.replace(b",", b"/") + b"=" * (-len(packed) % 4))
        return raw.decode("utf-16-be")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise BadName from error


def folded(name: str) -> str:
    """`name` with a leading INBOX level in capitals (RFC 3501 5.1: case-insensitive).

    Composed (RFC 9051 5.1, Net-Unicode): an accent typed on a Mac and one typed elsewhere are the
    same name.
    """
    if not name.isascii():
        name = unicodedata.normalize("NFC", name)
    if name[:5].upper() == "INBOX" and name[5:6] in ("", DELIMITER):
        return "INBOX" + name[5:]
    return name


def creatable(name: str) -> str:
    """`name` for CREATE and RENAME, without trailing delimiter (6.3.3). Raises BadName.

    A name never becomes a path (ATT-23): `..` is a name like any other.
    """
    stripped = name.removesuffix(DELIMITER)
    levels = stripped.split(DELIMITER)
    if not all(levels) or len(levels) > MAX_LEVELS or len(stripped) > MAX_NAME:
        raise BadName
    if _CONTROL.search(stripped):
        raise BadName
    try:
        stripped.encode("utf-8")
    except UnicodeEncodeError as error:  # a lone surrogate is not a character
        raise BadName from error
    return folded(stripped)
