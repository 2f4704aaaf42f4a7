"""One MIME entity while its end is not known yet."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from mssmtp.message.content import Content
from mssmtp.message.traits import Peek
from mssmtp.message.transfer import Counter, counter_of
from mssmtp.message.tree import Part

_ENCODED = frozenset(("base64", "quoted-printable"))
_MESSAGES = frozenset(("rfc822", "global"))
"""RFC 6532 3.7: the second one may hold UTF-8 where the first one has RFC 2047."""
_SHOWN = frozenset(("text", "multipart", "image"))
"""Not what hides in an archive."""


@dataclass(slots=True)
class Entity:
    """Collects what `Part` holds. `lines_before` is the scanner's line count at `body_start`."""

    content: Content
    base: tuple[int, ...]
    """Path of the multipart or message it stands in, with its own number under a multipart."""
    is_numbered: bool
    header_start: int
    body_start: int
    counter: Counter | None
    counts_lines: bool
    is_message: bool
    """Its body is a message with a header of its own."""
    peek: Peek | None = None
    """Of a leaf that is no text."""
    lines_before: int = 0
    envelope: bytes = b""
    has_8bit: bool = False
    is_closed: bool = False
    children: list[Part] = field(default_factory=list)

    @classmethod
    def under(
        cls, parent: Entity | None, content: Content, header_start: int, body_start: int
    ) -> Entity:
        """The next child of `parent`, or the root."""
        is_message = content.media_type == "message" and content.subtype in _MESSAGES
        if is_message and content.encoding in _ENCODED:
            content, is_message = _as_file(content), False
        is_numbered = parent is not None and not parent.is_message
        if parent is None:
            base: tuple[int, ...] = ()
        elif is_numbered:
            base = (*parent.path, len(parent.children) + 1)
        else:
            base = parent.path
        return cls(
            content=content,
            base=base,
            is_numbered=is_numbered,
            header_start=header_start,
            body_start=body_start,
            counter=counter_of(content.encoding) if content.encoding in _ENCODED else None,
            counts_lines=is_message or content.media_type in ("text", "multipart"),
            is_message=is_message,
            peek=None if is_message or content.media_type in _SHOWN else Peek(content.encoding),
        )

    @property
    def path(self) -> tuple[int, ...]:
        """Part specifier (RFC 3501 6.4.5) as far as it is known before the end."""
        is_container = self.content.media_type == "multipart"
        return self.base if self.is_numbered or is_container else (*self.base, 1)

    @property
    def is_digest(self) -> bool:
        """Its parts are messages unless they say otherwise (RFC 2046 5.1.5)."""
        return self.content.media_type == "multipart" and self.content.subtype == "digest"

    @property
    def is_open_multipart(self) -> bool:
        """Its delimiters are to be looked for."""
        return self.content.boundary is not None and not self.is_closed

    def add(self, chunk: bytes | bytearray) -> None:
        """Body octets that belong to no part of this entity."""
        if self.counter is not None:
            self.counter.add(chunk)
        if self.counts_lines and not self.has_8bit:
            self.has_8bit = not chunk.isascii()
        if self.peek is not None:
            self.peek.add(chunk)

    def finish(self, end: int, lines: int) -> Part:
        """The part, when its body is known to stop at `end`."""
        content = self.content
        if content.media_type == "multipart" and not self.children:
            content = _as_text(content, has_8bit=self.has_8bit)
            self.counter = None
        end = max(end, self.body_start)
        is_container = content.media_type == "multipart"
        return Part(
            path=self.base if self.is_numbered or is_container else (*self.base, 1),
            content=content,
            header_start=self.header_start,
            body_start=self.body_start,
            body_end=end,
            lines=lines if self.counts_lines else 0,
            decoded_octets=end - self.body_start if self.counter is None else self.counter.total(),
            text_has_8bit=self.has_8bit,
            envelope=self.envelope,
            children=tuple(self.children),
        )


def _as_file(content: Content) -> Content:
    """RFC 2046 5.2.1 forbids encoding a message; one that is encoded can only be a file."""
    return replace(
        content,
        media_type="application",
        subtype="octet-stream",
        defects=(*content.defects, "encoded message"),
    )


def _as_text(content: Content, *, has_8bit: bool) -> Content:
    """A multipart whose parts cannot be told apart is shown whole, as the text it is (OP-63)."""
    return replace(
        content,
        media_type="text",
        subtype="plain",
        raw_parameters=(),
        parameters=(),
        encoding="8bit" if has_8bit else "7bit",
        raw_encoding=b"8BIT" if has_8bit else b"7BIT",
        is_declared=False,
    )
