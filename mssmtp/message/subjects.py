"""The base subject, by which SORT and THREAD compare (RFC 5256 2.1, 5)."""

from __future__ import annotations

import re
from typing import NamedTuple

_SPACES = re.compile(r"[ \t\r\n]+")
_BLOB = re.compile(r"\[[^\[\]]*\] *")
_REFWD = re.compile(r"(?:re|fwd?+) *+(?:\[[^\[\]]*+\] *+)?+:", re.ASCII | re.IGNORECASE)
_FWD_TRAILER = "(fwd)"
_FWD_HEADER = "[fwd:"


class Base(NamedTuple):
    """`is_reply`: an artifact of a reply or of forwarding was taken away (RFC 5256 3)."""

    text: str
    is_reply: bool


def base_subject(subject: str) -> Base:
    """What is left of a decoded subject. Time is linear in it (ATT-27)."""
    text = _SPACES.sub(" ", subject)
    start, end, is_reply = 0, len(text), False
    while True:
        end, was_forwarded = _before_trailers(text, start, end)
        start, was_reply = _behind_leaders(text, start, end)
        is_reply |= was_forwarded or was_reply
        # (6), at least "[fwd:" and "]"
        if end - start <= len(_FWD_HEADER) or text[end - 1] != "]":
            break
        if text[start : start + len(_FWD_HEADER)].lower() != _FWD_HEADER:
            break
        start, end, is_reply = start + len(_FWD_HEADER), end - 1, True
    return Base(text[start:end], is_reply)


def _before_trailers(text: str, start: int, end: int) -> tuple[int, bool]:
    """(2): where the text ends without every `subj-trailer`; whether one was "(fwd)"."""
    was_forwarded = False
    while end > start:
        if text[end - 1] == " ":
            end -= 1
        elif text[max(end - len(_FWD_TRAILER), start) : end].lower() == _FWD_TRAILER:
            end -= len(_FWD_TRAILER)
            was_forwarded = True
        else:
            break
    return end, was_forwarded


def _behind_leaders(text: str, start: int, end: int) -> tuple[int, bool]:
    """(3) to (5): where the text begins without `subj-leader` and `subj-blob`; whether "re:" or
    "fwd:" stood there. All blobs go at once, but for one behind which nothing is left."""
    was_reply = False
    while True:
        while start < end and text[start] == " ":
            start += 1
        last, at = start, start
        while blob := _BLOB.match(text, at, end):
            last, at = at, blob.end()
        refwd = _REFWD.match(text, at, end)
        if refwd is None:
            return (at if at < end else last), was_reply
        start, was_reply = refwd.end(), True
