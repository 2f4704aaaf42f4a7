"""The MIME tree of a message as offsets, and the limits of reading it."""

from __future__ import annotations

from dataclasses import dataclass

from mssmtp.errors import MailError, Reply
from mssmtp.mail import Attachment
from mssmtp.message.content import Content


class TooComplex(MailError):
    """A limit of messages.md §2 was passed: header section, depth, parts (ATT-05, ATT-07)."""

    smtp = Reply(
        554,
        "5.6.0",
        "Message trop complexe : trop d'en-têtes ou de parties imbriquées ; joignez les documents"
        " directement ou dans une archive, puis renvoyez.",
    )
    imap = "LIMIT"


@dataclass(frozen=True, slots=True)
class ScanLimits:
    """Octets of one header section with its empty line; nesting below the message; parts."""

    header_octets: int = 262_144
    mime_depth: int = 50
    mime_parts: int = 1_000


@dataclass(frozen=True, slots=True)
class Part:
    """One entity of the tree; offsets are octets from the start of the message.

    `path` is the part specifier of RFC 3501 6.4.5: the root is () when it is a multipart, (1,)
    otherwise; the message inside `message/rfc822` is its only child. `lines` is counted for text,
    for nested messages and for everything inside these. `envelope` is the rendered ENVELOPE of
    the message inside a `message/rfc822`. `text_has_8bit`: octets above 127 in a text body.
    """

    path: tuple[int, ...]
    content: Content
    header_start: int
    body_start: int
    body_end: int
    lines: int
    decoded_octets: int
    text_has_8bit: bool
    envelope: bytes
    children: tuple[Part, ...]

    @property
    def media_type(self) -> str:
        """Lower case."""
        return self.content.media_type

    @property
    def subtype(self) -> str:
        """Lower case."""
        return self.content.subtype

    @property
    def full_type(self) -> str:
        """`text/plain`, lower case."""
        return f"{self.content.media_type}/{self.content.subtype}"

    @property
    def charset(self) -> str:
        """Lower case, "" when not declared."""
        return self.content.charset

    @property
    def parameters(self) -> tuple[tuple[str, str], ...]:
        """Of the Content-Type, RFC 2231 and 2047 decoded."""
        return self.content.parameters

    @property
    def encoding(self) -> str:
        """Transfer encoding, lower case."""
        return self.content.encoding

    @property
    def disposition(self) -> str:
        """Lower case, "" when there is none."""
        return self.content.disposition

    @property
    def file_name(self) -> str | None:
        """As clients show it."""
        return self.content.file_name

    @property
    def octets(self) -> int:
        """Encoded octets of the body."""
        return self.body_end - self.body_start

    @property
    def is_multipart(self) -> bool:
        """It has parts of its own and no body to show."""
        return self.media_type == "multipart" and bool(self.children)

    @property
    def is_message(self) -> bool:
        """A `message/rfc822` that was read."""
        return self.media_type == "message" and bool(self.children)


@dataclass(frozen=True, slots=True)
class Scan:
    """`header`: the raw top header section with its empty line, as fed; `envelope`: of it."""

    size_octets: int
    header: bytes
    envelope: bytes
    root: Part
    attachments: tuple[Attachment, ...]
    defects: tuple[str, ...]
