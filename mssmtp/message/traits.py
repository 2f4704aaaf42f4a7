"""What is worth knowing of an attachment beyond its name: XDM, TNEF, an archive nobody can scan.

Only the first and the last octets are looked at, and nothing is unpacked: a bomb stays folded.
"""

from __future__ import annotations

from mssmtp.mail import Trait
from mssmtp.message.transfer import decoded

HEAD_OCTETS = 128
TAIL_OCTETS = 16_384
"""Octets kept of a body, in its transfer encoding; the tail only of what begins like an archive."""
_XDM_NAME = "ihe_xdm.zip"
_TNEF_NAME = "winmail.dat"
_TNEF_TYPES = frozenset(("application/ms-tnef", "application/vnd.ms-tnef"))
_TNEF = b"\x78\x9f\x3e\x22"
_ZIP, _ZIP_ENTRY, _ZIP_END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_SEVEN_ZIP, _SEVEN_ZIP_AES = b"7z\xbc\xaf\x27\x1c", b"\x06\xf1\x07\x01"
_RAR_4, _RAR_5 = b"Rar!\x1a\x07\x00", b"Rar!\x1a\x07\x01\x00"
_MOST_ENTRIES = TAIL_OCTETS // 46


class Peek:
    """The two ends of a body that comes in blocks of any split."""

    __slots__ = ("_encoding", "_head", "_octets", "_tail", "_watches")

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._head = self._tail = b""
        self._octets = 0
        self._watches = True  # until its head says that it is no archive

    def add(self, chunk: bytes | bytearray) -> None:
        """The next octets."""
        self._octets += len(chunk)
        missing = HEAD_OCTETS - len(self._head)
        if missing > 0:
            self._head += bytes(chunk[:missing])
            if len(self._head) == HEAD_OCTETS:
                self._watches = self.head().startswith((_ZIP, _SEVEN_ZIP))
        if self._watches:
            self._tail = (self._tail + bytes(chunk[-TAIL_OCTETS:]))[-TAIL_OCTETS:]

    def head(self) -> bytes:
        """Its first octets, decoded."""
        return decoded(self._encoding, self._head)

    def tail(self) -> bytes:
        """Its last octets, decoded."""
        tail = self._tail
        if self._octets > len(tail) and self._encoding == "base64":
            # Quanta of four letters are counted from the end: its beginning is cut.
            letters = tail.translate(None, b"\r\n \t")
            tail = letters[len(letters) % 4 :]
        return decoded(self._encoding, tail)


def traits_of(name: str, full_type: str, peek: Peek | None) -> tuple[Trait, ...]:
    """Of a leaf called `name`."""
    found = []
    folded = name.strip().lower()
    head = b"" if peek is None else peek.head()
    if folded == _XDM_NAME:  # R10: in any case
        found.append(Trait.XDM)
    if full_type in _TNEF_TYPES or folded == _TNEF_NAME or head.startswith(_TNEF):
        found.append(Trait.TNEF)
    if peek is not None and _is_encrypted(head, peek):
        found.append(Trait.ENCRYPTED)
    return tuple(found)


def _is_encrypted(head: bytes, peek: Peek) -> bool:
    """An archive some member of which asks for a password."""
    if head.startswith(_ZIP):
        return bool(head[6:7]) and bool(head[6] & 1) or _has_encrypted_entry(peek.tail())
    if head.startswith(_SEVEN_ZIP):
        return _SEVEN_ZIP_AES in peek.tail()
    if head.startswith(_RAR_5):
        # Checksum of four octets, size, type: 4 is "what follows is encrypted".
        return head[len(_RAR_5) + 5 : len(_RAR_5) + 6] == b"\x04"
    if head.startswith(_RAR_4):
        return _rar_4_is_encrypted(head)
    return False


def _has_encrypted_entry(tail: bytes) -> bool:
    """Bit 0 of the flags of an entry in the directory at the end (APPNOTE 4.4.4)."""
    end = tail.rfind(_ZIP_END)
    if end < 0:
        return False
    at = end - int.from_bytes(tail[end + 12 : end + 16], "little")
    if at < 0:  # a long directory: from its first entry that is still there
        at = tail.find(_ZIP_ENTRY)
    for _ in range(_MOST_ENTRIES):
        entry = tail[at : at + 46] if at >= 0 else b""
        if len(entry) < 46 or not entry.startswith(_ZIP_ENTRY):
            return False
        if entry[8] & 1:
            return True
        at += 46 + sum(int.from_bytes(entry[n : n + 2], "little") for n in (28, 30, 32))
    return False


def _rar_4_is_encrypted(head: bytes) -> bool:
    """Its headers, or its first file: flags 0x80 of the archive, 0x04 of the file."""
    flags, size = head[10:12], int.from_bytes(head[12:14], "little")
    if flags[:1] and flags[0] & 0x80:
        return True
    file = head[7 + size :][:5]
    return len(file) == 5 and file[2] == 0x74 and bool(file[3] & 0x04)
