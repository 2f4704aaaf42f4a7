"""The first words of a message, for a list of mail (RFC 8970 3.1).

Made when it is asked for, of a bounded piece of the first text, whatever the message holds: never
on the delivery path, and nothing is expanded, fetched or rendered (ATT-29, ATT-30).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from mssmtp.message.hypertext import Hypertext
from mssmtp.message.readable import Read
from mssmtp.message.summary import Node, Summary
from mssmtp.message.transfer import decoded
from mssmtp.message.words import decode_charset

MAX_CHARACTERS = 200
MOST_READ = 65_536
"""Octets of one text that are looked at: some HTML begins with as many of style."""
MOST_TEXTS = 3
_SHOWN = ("text/plain", "text/html")
_WHITE = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]+")
"""What would be seen as nothing, or turn the direction of what stands beside it, too."""


def preview_of(summary: Summary, read: Read) -> str:
    """At most `MAX_CHARACTERS`; "" when there is no text to show. Raises what `read` does."""
    texts = (node for node in _own(summary.root) if node.full_type in _SHOWN)
    for node, _ in zip(texts, range(MOST_TEXTS), strict=False):
        if shown := _beginning(node, read):
            return shown
    return ""


def _own(root: Node) -> Iterator[Node]:
    """The leaves in order, without those of attached messages."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if node.is_leaf:
            yield node
        elif not node.is_message:
            waiting.extend(reversed(node.children))


def _beginning(node: Node, read: Read) -> str:
    stop = min(node.body_end, node.body_start + MOST_READ)
    octets = decoded(node.encoding, read(node.body_start, stop))
    text = decode_charset(octets, node.charset)
    if stop < node.body_end:
        text = text.rstrip("\ufffd")  # a character that was cut in two
    if node.full_type == "text/html":
        text = Hypertext().feed(text)
    return _WHITE.sub(" ", text).strip()[:MAX_CHARACTERS].rstrip()
