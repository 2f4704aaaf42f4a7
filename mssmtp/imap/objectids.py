"""EMAILID and THREADID (RFC 8474 5): made of the octets of the message and of nothing else.

So they survive COPY, MOVE, rotation of any key, restore and rebuild; two messages share an EMAILID
only when all their octets are equal. Nothing about them is stored but the summary.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from hashlib import sha256

from mssmtp.message.headers import fields
from mssmtp.message.summary import Summary

_MESSAGE_ID = re.compile(rb"<[^<>\s]{1,998}>")
_OCTETS = 24
"""192 bits: nobody finds two messages with the same."""


def email_id(summary: Summary) -> bytes:
    """The EMAILID of a message."""
    return b"M" + _text(summary.sha256)


def thread_id(summary: Summary) -> bytes:
    """The THREADID: of the first message that it says it goes back to, or of itself.

    RFC 5322 3.6.4: References begins with the root of the thread. What belongs together by its
    subject alone does not: an id never changes, and replies come in any order.
    """
    found: dict[str, bytes] = {}
    for field in fields(summary.header):
        if field.name in ("references", "in-reply-to", "message-id"):
            found.setdefault(field.name, field.value)
    for name in ("references", "in-reply-to", "message-id"):
        if root := _MESSAGE_ID.search(found.get(name, b"")):
            return b"T" + _text(sha256(root[0]).digest())
    return b"T" + _text(summary.sha256)


def _text(digest: bytes) -> bytes:
    return urlsafe_b64encode(digest[:_OCTETS])
