"""Lists of IMAP flags as scripts write them (RFC 5232 2)."""

from __future__ import annotations

import re
from collections.abc import Iterable

SYSTEM = {
    name.lower(): name for name in ("\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft")
}
MAX_FLAGS = 64
_KEYWORD = re.compile(r'[^\x00-\x20\x7f-\U0010ffff(){%*"\\\]]{1,64}\Z')


def flags_of(texts: Iterable[str]) -> tuple[str, ...]:
    """The flags in `texts`, each perhaps several words; once each, and only what is a flag.

    `\\Recent` is not a script's to set (RFC 5232 2); at most MAX_FLAGS.
    """
    found: dict[str, str] = {}
    for text in texts:
        for word in text.split():
            flag = SYSTEM.get(word.lower()) if word.startswith("\\") else word
            if flag is not None and (flag in SYSTEM.values() or _KEYWORD.match(flag)):
                found.setdefault(flag.lower(), flag)
            if len(found) >= MAX_FLAGS:
                return tuple(found.values())
    return tuple(found.values())


def joined(flags: Iterable[str]) -> str:
    """As a variable holds them."""
    return " ".join(flags)
