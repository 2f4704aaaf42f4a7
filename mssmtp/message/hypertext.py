"""What a reader sees of HTML, for SEARCH (RFC 3501 6.4.4): nothing is rendered, nothing fetched.

Linear in the octets (ATT-27), bounded in what it holds and in what it resolves (ATT-29). What
cannot be told for a tag stays text: a search finds rather too much than too little.
"""

from __future__ import annotations

import html
import re

MAX_HELD = 1_048_576
"""Characters of a tag that may wait for their `>` (pictures are written into tags)."""
MAX_REFERENCES = 1_000_000
"""`&…;` that are resolved in one text, a second of work; further ones stay as they are written."""
_REFERENCE_LENGTH = 40

_OPENER = re.compile(r"<(?:(!--)|(style|script)(?=[\s/>]))", re.IGNORECASE)
_CLOSERS = {
    "!--": re.compile("-->"),
    "style": re.compile("</style", re.IGNORECASE),
    "script": re.compile("</script", re.IGNORECASE),
}
_LONGEST_CLOSER = len("</script")
_TAG = re.compile(
    r"</?(?:((?:address|article|blockquote|body|br|center|dd|div|dl|dt|footer|form|h[1-6]|header|hr"
    r"|img|input|li|ol|option|p|pre|section|table|tbody|td|tfoot|th|thead|title|tr|ul)(?=[\s/>]))"
    r"|[a-z!?])[^<>]*+>",
    re.IGNORECASE,
)
"""A tag; its first group is there when it begins a line or a cell."""
_MARK = "\0"
_WHITE = re.compile(r"[ \t\r\n\f]+")
_HUGE_REFERENCE = re.compile("&#[0-9]{12,}+")


class Hypertext:
    """HTML fed in pieces of any size; what a reader sees comes out, white space as one space.

    Left out: tags, comments, style sheets, scripts. A tag that begins a line or a cell counts as
    white space, another one as nothing.
    """

    __slots__ = ("_ends_white", "_held", "_inside", "_references")

    def __init__(self) -> None:
        self._held = ""
        self._inside = ""
        self._ends_white = False
        self._references = 0

    def feed(self, piece: str) -> str:
        """Text that is certain by now."""
        data = self._held + piece
        shown, at = self._told_apart(data)
        if self._inside:
            self._held = data[max(at, len(data) - _LONGEST_CLOSER + 1) :]
        else:
            end = _certain(data, at)
            shown.append(self._visible(data[at:end]))
            self._held = data[end:]
        return "".join(shown)

    def close(self) -> str:
        """The rest: an unfinished tag is text."""
        held, self._held = self._held, ""
        return "" if self._inside else self._visible(held)

    def _told_apart(self, data: str) -> tuple[list[str], int]:
        """What is seen before and between comments, styles and scripts, and where it stopped."""
        shown: list[str] = []
        at = 0
        while True:
            if self._inside:
                closer = _CLOSERS[self._inside].search(data, at)
                if closer is None:
                    return shown, at
                at = closer.end() if self._inside == "!--" else closer.start()
                self._inside = ""
            opener = _OPENER.search(data, at)
            if opener is None:
                return shown, at
            shown.append(self._visible(data[at : opener.start()]))
            self._inside = (opener[1] or opener[2]).lower()
            at = opener.start() + 2  # `<!-->` is a comment already

    def _visible(self, markup: str) -> str:
        # In one pass: what is left around a tag must not be taken for another tag, nor, with the
        # mark in its place, for a reference.
        text = _TAG.sub(_instead, markup.replace(_MARK, ""))
        self._references += text.count("&")
        if self._references <= MAX_REFERENCES and "&" in text:
            # Python refuses to read thousands of digits as a number; no character has more.
            text = html.unescape(_HUGE_REFERENCE.sub("\ufffd", text))
        text = _WHITE.sub(" ", text.replace(_MARK, ""))
        if self._ends_white and text.startswith(" "):
            text = text[1:]
        if text:
            self._ends_white = text.endswith(" ")
        return text


def _instead(tag: re.Match[str]) -> str:
    return " " if tag[1] else _MARK


def _certain(data: str, start: int) -> int:
    """Where, from `start` on, a tag or a reference begins that may go on in the next piece."""
    tag = data.rfind("<", start)
    if tag >= 0 and data.find(">", tag) < 0 and len(data) - tag <= MAX_HELD:
        return tag
    # No reference goes on behind a `>`, and cutting at an `&` within a tag would spoil the tag.
    after = data.rfind(">", start) + 1
    reference = data.rfind("&", max(start, after, len(data) - _REFERENCE_LENGTH))
    return len(data) if reference < 0 or data.find(";", reference) >= 0 else reference


def seen(markup: str) -> str:
    """A whole text at once."""
    reader = Hypertext()
    return reader.feed(markup) + reader.close()
