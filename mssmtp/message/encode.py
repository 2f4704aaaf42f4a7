"""8-bit values of a message made 7-bit, for ENVELOPE and BODYSTRUCTURE (RFC 2047, RFC 2231).

Controls become spaces before anything is encoded (ATT-09).
"""

from __future__ import annotations

import binascii

from mssmtp.message.words import decode_unlabelled

_WORD_PAYLOAD = 39  # octets in one B word: 64 characters, so that `Subject: ` fits before it
_CONTROLS = dict.fromkeys((*range(32), 127, *range(128, 160), 0x2028, 0x2029), " ")
_ATTR = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$&+-.^_`{}~")


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
