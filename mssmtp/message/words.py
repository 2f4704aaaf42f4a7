"""Charsets and RFC 2047 encoded words. Decoding never raises; unknown charsets read as Latin-1."""

from __future__ import annotations

import binascii
import codecs
from typing import NamedTuple

# An allow-list: `codecs.lookup` on a peer's word would import modules and reach codecs that are
# no charsets or not linear (zlib, punycode, unicode_escape).
_ISO = {f"iso-8859-{n}": f"iso8859-{n}" for n in (*range(1, 12), *range(13, 17))}
_WINDOWS = {f"windows-{n}": f"cp{n}" for n in range(1250, 1259)}
_CODECS = {
    **_ISO,
    **_WINDOWS,
    **{f"cp{n}": f"cp{n}" for n in (*range(1250, 1259), 437, 850, 852, 858, 865, 866, 932, 949)},
    **{f"ibm{n}": f"cp{n}" for n in (437, 850, 852, 858, 865, 866)},
    "us-ascii": "ascii",
    "ascii": "ascii",
    "ansi-x3.4-1968": "ascii",
    "utf-8": "utf-8",
    "utf8": "utf-8",
    "unicode-1-1-utf-8": "utf-8",
    "utf-7": "utf-7",
    "unicode-1-1-utf-7": "utf-7",
    "utf-16": "utf-16",
    "utf-16be": "utf-16-be",
    "utf-16le": "utf-16-le",
    "latin1": "iso8859-1",
    "latin-1": "iso8859-1",
    "iso8859-1": "iso8859-1",
    "iso8859-15": "iso8859-15",
    "latin-9": "iso8859-15",
    "latin9": "iso8859-15",
    "iso-8859-8-i": "iso8859-8",
    "macintosh": "mac-roman",
    "x-mac-roman": "mac-roman",
    "koi8-r": "koi8-r",
    "koi8-u": "koi8-u",
    "tis-620": "tis-620",
    "big5": "big5",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "gb18030": "gb18030",
    "euc-jp": "euc_jp",
    "shift-jis": "cp932",
    "iso-2022-jp": "iso2022_jp",
    "euc-kr": "cp949",
    "iso-2022-kr": "iso2022_kr",
}
_LINEAR_WHITE = b" \t\r\n"


def codec_of(charset: str) -> str | None:
    """Python's codec of a MIME charset name, None when it is not one we read."""
    return _CODECS.get(charset.strip().lower().replace("_", "-"))


def decode_charset(octets: bytes, charset: str) -> str:
    """`octets` as text. Undeclared or wrongly declared ASCII is tried as UTF-8, then Windows-1252.

    An unknown charset reads as Latin-1; undecodable octets become U+FFFD.
    """
    codec = codec_of(charset)
    if codec == "ascii" or (codec is None and not charset):
        return decode_unlabelled(octets)
    if codec == "utf-16":
        codec, octets = _utf_16(octets)
    return octets.decode(codec or "iso8859-1", "replace")


def _utf_16(octets: bytes) -> tuple[str, bytes]:
    """Byte order by the mark, which goes; big-endian without one (RFC 2781 4.3)."""
    if octets.startswith(codecs.BOM_UTF16_LE):
        return "utf-16-le", octets[2:]
    return "utf-16-be", octets.removeprefix(codecs.BOM_UTF16_BE)


def decode_unlabelled(octets: bytes) -> str:
    """8-bit text of which nobody said the charset: UTF-8 if it is, else Windows-1252."""
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        return octets.decode("cp1252", "replace")


class _Word(NamedTuple):
    charset: str
    octets: bytes
    end: int


def decode_words(value: bytes) -> str:
    """An unstructured value or a phrase with its RFC 2047 words decoded.

    Neighbouring words of one charset are joined before decoding: some senders cut characters in
    two. White space between two words is dropped (RFC 2047 6.2).
    """
    if b"=?" not in value:
        return decode_unlabelled(value)
    pieces: list[str] = []
    pending: tuple[str, bytearray] | None = None
    position = plain = 0
    while (start := value.find(b"=?", position)) >= 0:
        word = _word_at(value, start)
        if word is None:
            position = start + 2
            continue
        between = value[plain:start]
        if pending is not None and between.strip(_LINEAR_WHITE):
            pieces.append(decode_charset(bytes(pending[1]), pending[0]))
            pending = None
        if pending is None:
            pieces.append(decode_unlabelled(between))
        if pending is not None and pending[0] == word.charset:
            pending[1].extend(word.octets)
        else:
            if pending is not None:
                pieces.append(decode_charset(bytes(pending[1]), pending[0]))
            pending = (word.charset, bytearray(word.octets))
        position = plain = word.end
    if pending is not None:
        pieces.append(decode_charset(bytes(pending[1]), pending[0]))
    pieces.append(decode_unlabelled(value[plain:]))
    return "".join(pieces)


def _word_at(value: bytes, start: int) -> _Word | None:
    """The encoded word at `start`. Each search ends at the next `?`: linear over the value."""
    after_charset = value.find(b"?", start + 2)
    if after_charset < 0 or value[after_charset + 2 : after_charset + 3] != b"?":
        return None
    end = value.find(b"?", after_charset + 3)
    if end < 0 or value[end + 1 : end + 2] != b"=":
        return None
    name, _, _language = value[start + 2 : after_charset].partition(b"*")  # RFC 2231 5
    kind = value[after_charset + 1 : after_charset + 2].upper()
    text = value[after_charset + 3 : end]
    if kind == b"B":
        octets = decode_base64(text)
    elif kind == b"Q":
        octets = binascii.a2b_qp(text, header=True)
    else:
        return None
    charset = name.decode("latin-1").lower()
    return _Word(charset, octets, end + 2) if charset else None


BASE64_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
NOT_BASE64 = bytes(set(range(256)) - set(BASE64_ALPHABET))


def decode_base64(text: bytes) -> bytes:
    """Base64 with anything else ignored and padding supplied; a single left-over sextet is lost."""
    kept = text.translate(None, NOT_BASE64)
    if len(kept) % 4 == 1:
        kept = kept[:-1]
    return binascii.a2b_base64(kept + b"=" * (-len(kept) % 4))
