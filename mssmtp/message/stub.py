"""What is shown of a message that cannot be (D10): a letter of ours that says so, in French.

Two cases. One that nobody can take apart within our limits comes with its raw copy, as second part
and as `BODY[]`. One that cannot be opened any more is a text alone.
"""

from __future__ import annotations

from dataclasses import dataclass

ENVELOPE = b'(NIL "Message illisible" NIL NIL NIL NIL NIL NIL NIL NIL)'
_BOUNDARY = b"illisible"
_TOP = b"Subject: Message illisible\r\nMIME-Version: 1.0\r\n"
_TEXT_TYPE = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
_MIXED_TYPE = b'Content-Type: multipart/mixed; boundary="%b"\r\n\r\n' % _BOUNDARY
_RAW_TYPE = (
    b"Content-Type: application/octet-stream; name=message.eml\r\n"
    b"Content-Transfer-Encoding: binary\r\n"
    b"Content-Disposition: attachment; filename=message.eml\r\n\r\n"
)
_RAW = (
    b'("APPLICATION" "OCTET-STREAM" ("NAME" "message.eml") NIL NIL "BINARY" %d%b)',
    b' NIL ("ATTACHMENT" ("FILENAME" "message.eml")) NIL NIL',
)


@dataclass(frozen=True, slots=True)
class Stub:
    """`text` is what a reader sees; `has_raw`: the message itself is part 2."""

    text: bytes
    has_raw: bool

    @property
    def header(self) -> bytes:
        """The header section."""
        return _TOP + (_MIXED_TYPE if self.has_raw else _TEXT_TYPE)

    @property
    def letter(self) -> bytes:
        """All of it, for one without a raw copy."""
        return self.header + self.text

    def structure(self, size_octets: int, *, extended: bool) -> bytes:
        """BODYSTRUCTURE or BODY; `size_octets` of the raw copy."""
        leaf = b'("TEXT" "PLAIN" ("CHARSET" "utf-8") NIL NIL "8BIT" %d %d%b)' % (
            len(self.text),
            self.text.count(b"\n"),
            b" NIL NIL NIL NIL" if extended else b"",
        )
        if not self.has_raw:
            return leaf
        raw = _RAW[0] % (size_octets, _RAW[1] if extended else b"")
        rest = b' ("BOUNDARY" "%b") NIL NIL NIL' % _BOUNDARY if extended else b""
        return b'(%b%b "MIXED"%b)' % (leaf, raw, rest)

    def mime(self, number: int) -> bytes:
        """The MIME header of part 1 or 2."""
        return _RAW_TYPE if number == 2 else _TEXT_TYPE


UNPARSABLE = Stub(
    "Ce message est trop complexe pour être affiché : il a trop de parties ou des en-têtes trop\r\n"
    "longs. Il est joint tel qu'il a été reçu, dans le fichier message.eml.\r\n".encode(),
    has_raw=True,
)
DAMAGED = Stub(
    "Ce message ne peut plus être ouvert : sa copie sur le serveur est endommagée. Vos autres\r\n"
    "messages ne sont pas touchés. Prévenez votre administrateur : il peut exister une\r\n"
    "sauvegarde.\r\n".encode(),
    has_raw=False,
)
