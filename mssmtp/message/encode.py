"""Unicode into header octets (RFC 2047, 2231, 5322): for what we write, never for what passes.

Whatever the text holds, exactly one field comes out (ATT-09): controls become spaces before
anything is encoded, and lines are folded by us alone.
"""

from __future__ import annotations

import binascii
import re

from mssmtp.mail import Address
from mssmtp.message.words import decode_unlabelled

MAX_LINE = 76
_WORD_PAYLOAD = 39  # octets in one B word: 64 characters, so that `Subject: ` fits before it
_CONTROLS = dict.fromkeys((*range(32), 127, *range(128, 160), 0x2028, 0x2029), " ")
_ATTR = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$&+-.^_`{}~")
_NAME = re.compile(r"[!-9;-~]+\Z")
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]*\Z")


def encode_words(text: str) -> bytes:
    """`text` as it may stand in an unstructured field: ASCII as it is, else encoded words."""
    clean = text.translate(_CONTROLS)
    if clean.isascii() and "=?" not in clean:
        return clean.encode("ascii")
    return b" ".join(_words(clean))


def _words(text: str) -> list[bytes]:
    """B words, well below 75 octets; a character is never cut in two (RFC 2047 5)."""
    words: list[bytes] = []
    pending = b""
    for character in text:
        octets = character.encode("utf-8", "replace")
        if len(pending) + len(octets) > _WORD_PAYLOAD:
            words.append(_word(pending))
            pending = b""
        pending += octets
    if pending:
        words.append(_word(pending))
    return words


def _word(octets: bytes) -> bytes:
    return b"=?utf-8?B?" + binascii.b2a_base64(octets, newline=False) + b"?="


def encode_8bit(value: bytes) -> bytes:
    """Octets of a message made 7-bit for display; ASCII words stay as they are."""
    pieces: list[bytes] = []
    run: list[bytes] = []
    for word in value.split(b" "):
        if word.isascii():
            if run:
                pieces.append(_run(run))
                run = []
            pieces.append(word)
        else:
            run.append(word)
    if run:
        pieces.append(_run(run))
    return b" ".join(pieces)


def _run(words: list[bytes]) -> bytes:
    text = decode_unlabelled(b" ".join(words)).translate(_CONTROLS)
    return b" ".join(_words(text))


def percent_encoded(octets: bytes, keep: bytes = b"") -> bytes:
    """RFC 2231 7 `attribute-char` kept, and `keep`; anything else as %XX."""
    kept = _ATTR.union(keep)
    return b"".join(bytes((o,)) if o in kept else b"%%%02X" % o for o in octets)


def header_line(name: str, text: str) -> bytes:
    """One unstructured field with its CRLF, folded at 76 octets. ValueError on a bad `name`."""
    return _folded(name, encode_words(text))


def address_line(name: str, people: list[tuple[str, Address]]) -> bytes:
    """One address field: (display name or "", address) each."""
    return _folded(name, b", ".join(mailbox(display, address) for display, address in people))


def mailbox(display: str, address: Address) -> bytes:
    """`display <address>`, the name quoted or encoded as it needs (RFC 5322 3.4)."""
    spec = str(address).encode("ascii")
    clean = display.translate(_CONTROLS).strip()
    if not clean:
        return spec
    if not clean.isascii() or "=?" in clean:
        return encode_words(clean) + b" <" + spec + b">"
    if not _ATOMS.match(clean):
        clean = '"' + clean.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return clean.encode("ascii") + b" <" + spec + b">"


def _folded(name: str, value: bytes) -> bytes:
    if not _NAME.match(name):
        raise ValueError(f"not a field name: {name!r}")
    lines: list[bytes] = []
    line = name.encode("ascii") + b":"
    is_bare = True  # only the name, or nothing but the fold, stands on the line
    for word in value.split(b" "):
        if not is_bare and len(line) + 1 + len(word) > MAX_LINE and word:
            lines.append(line)
            line, is_bare = b"", True
        line += b" " + word
        is_bare = is_bare and not word
    lines.append(line)
    return b"\r\n".join(lines) + b"\r\n"
