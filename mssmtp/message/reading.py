"""A message as a page shows it: who, when, its text, its files (SEED-35, SEED-37).

Text alone: of HTML what a reader would see of it, so that nothing is fetched, run or styled
(ATT-30). Bounded whatever the message holds (ATT-29). Files are those that the policy counts, under
the same names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from mssmtp.message.content import Content, read_content
from mssmtp.message.headers import fields, values
from mssmtp.message.hypertext import seen
from mssmtp.message.readable import Read
from mssmtp.message.summary import Node, Summary
from mssmtp.message.transfer import Decoder, decoded, decoder_of
from mssmtp.message.words import decode_charset, decode_words

MOST_TEXT_OCTETS = 524_288
"""Of a message, as it is encoded; what is beyond is in the file of the whole."""
MOST_LINE = 400
MOST_NAME = 120
BLOCK_OCTETS = 262_144
_HEADER_OCTETS = 65_536

_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
"""What is not seen, or turns the direction of what stands beside it."""
_NEVER_IN_NAMES = dict.fromkeys(map(ord, '<>:"|?*\\/'), "_")
_MARK = "\ue000"
_LINE_END = re.compile(r"(<(?:br|/p|/div|/tr|/li|/h[1-6])(?=[\s/>]))", re.IGNORECASE)
_BLANK_LINES = re.compile(r"\n{3,}")


@dataclass(frozen=True, slots=True)
class File:
    """Something attached, by its place in the message."""

    number: int
    name: str
    media_type: str
    octets: int
    start: int
    stop: int
    encoding: str

    def blocks(self, read: Read) -> Iterator[bytes]:
        """Its octets, without their transfer encoding."""
        decoder: Decoder = decoder_of(self.encoding)
        for start in range(self.start, self.stop, BLOCK_OCTETS):
            yield decoder.feed(read(start, min(start + BLOCK_OCTETS, self.stop)))
        yield decoder.close()


@dataclass(frozen=True, slots=True)
class Opened:
    """`is_cut`: there is more text than a page shows."""

    author: str
    subject: str
    text: str
    is_cut: bool
    files: tuple[File, ...]


def shown(summary: Summary, read: Read) -> Opened:
    """All of it. Raises what `read` does."""
    texts, found = _leaves(summary, read)
    pieces, room = [], MOST_TEXT_OCTETS
    for node in texts:
        if room <= 0:
            break
        pieces.append(_text(node, read, room))
        room -= node.body_end - node.body_start
    return Opened(
        line(summary, "from"),
        line(summary, "subject"),
        "\n\n".join(filter(None, pieces)),
        room < 0,
        tuple(found),
    )


def files(summary: Summary, read: Read) -> tuple[File, ...]:
    """What is attached, in order, numbered from 1."""
    return tuple(_leaves(summary, read)[1])


def line(summary: Summary, name: str) -> str:
    """One field of the header as a reader sees it, bounded, without line ends."""
    found = values(summary.header, name)
    text = _UNSEEN.sub("", " ".join(decode_words(found[0]).split())) if found else ""
    return text if len(text) <= MOST_LINE else text[: MOST_LINE - 1] + "…"


def safe_name(name: str, number: int) -> str:
    """A name to be kept under: no path, no control, no direction, nothing hidden."""
    plain = _UNSEEN.sub("", name.replace("\\", "/").rpartition("/")[2])
    plain = " ".join(plain.translate(_NEVER_IN_NAMES).split()).strip(". ")
    if len(plain) > MOST_NAME:
        stem, dot, end = plain.rpartition(".")
        is_short = bool(dot) and len(end) <= 10
        plain = f"{stem[: MOST_NAME - 11]}.{end}" if is_short else plain[:MOST_NAME]
    return plain or f"piece-{number}"


def _leaves(summary: Summary, read: Read) -> tuple[list[Node], list[File]]:
    """Texts to be shown, and files. What is inside an attached message counts with it."""
    if summary.is_stub:
        size = summary.size_octets
        return [], [File(1, "message.eml", "message/rfc822", size, 0, size, "8bit")]
    texts: list[Node] = []
    found: list[File] = []
    waiting: list[tuple[Node, bool]] = [(summary.root, False)]
    while waiting:
        node, has_plain = waiting.pop()
        if not (node.is_leaf or node.is_message):
            is_choice = node.full_type == "multipart/alternative"
            plain = is_choice and any(each.full_type == "text/plain" for each in node.children)
            waiting += [(child, plain) for child in reversed(node.children)]
            continue
        content = _content(node, read)
        if _is_shown(node, content):
            if not (has_plain and node.full_type == "text/html"):
                texts.append(node)
            continue
        found.append(_file(node, content, len(found) + 1))
    return texts, found


def _content(node: Node, read: Read) -> Content:
    stop = min(node.body_start, node.header_start + _HEADER_OCTETS)
    return read_content(fields(read(node.header_start, stop)))


def _is_shown(node: Node, content: Content) -> bool:
    """As the scanner counts attachments (messages.md §2)."""
    return node.is_text and content.file_name is None and content.disposition != "attachment"


def _file(node: Node, content: Content, number: int) -> File:
    name = safe_name(content.file_name or "", number)
    if node.is_message and not content.file_name:
        name = f"message-{number}.eml"
    is_encoded = node.is_leaf
    return File(
        number,
        name,
        node.full_type,
        node.decoded_octets if is_encoded else node.body_end - node.body_start,
        node.body_start,
        node.body_end,
        node.encoding if is_encoded else "8bit",
    )


def _text(node: Node, read: Read, room: int) -> str:
    stop = min(node.body_end, node.body_start + room)
    octets = decoded(node.encoding, read(node.body_start, stop))
    text = decode_charset(octets, node.charset).replace("\r\n", "\n").replace("\r", "\n")
    if node.full_type == "text/html":
        text = seen(_LINE_END.sub(_MARK + r"\1", text.replace(_MARK, "")))
        lines = (each.strip() for each in text.split(_MARK))
        text = _BLANK_LINES.sub("\n\n", "\n".join(lines))
    return _UNSEEN.sub("", text).strip()
