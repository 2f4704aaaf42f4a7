"""Patterns of LIST and LSUB (RFC 3501 6.3.8): what they match, and what they mean."""

from __future__ import annotations

from mssmtp.errors import BadSyntax
from mssmtp.imap import names
from mssmtp.imap.names import DELIMITER

MAX_PATTERN = 1_024
MAX_PATTERNS = 20
_SLASH = DELIMITER.encode("ascii")


def matches(pattern: bytes, name: bytes) -> bool:
    """True when `name` is one of `pattern`: `*` is anything, `%` anything within one level.

    Time grows with the product of the two lengths, never faster (ATT-27).
    """
    alive = {0}
    for octet in pattern:
        if octet in b"*%":
            first = min(alive)
            stop = len(name)
            if octet == 0x2A:
                alive = set(range(first, stop + 1))
            else:
                alive = (
                    {i for start in alive for i in range(start, _level_end(name, start) + 1)}
                    if len(alive) < 3
                    else _spread(name, alive)
                )
        else:
            alive = {i + 1 for i in alive if i < len(name) and name[i] == octet}
        if not alive:
            return False
    return len(name) in alive


def _level_end(name: bytes, start: int) -> int:
    end = name.find(_SLASH, start)
    return len(name) if end < 0 else end


def _spread(name: bytes, alive: set[int]) -> set[int]:
    """Every position reachable from `alive` without crossing a delimiter."""
    out: set[int] = set()
    reach = -1
    for i in range(len(name) + 1):
        if i in alive:
            reach = _level_end(name, i)
        if i <= reach:
            out.add(i)
    return out


def joined(reference: bytes, pattern: bytes) -> bytes:
    """Reference and pattern as one (6.3.8); INBOX in any case; a trailing delimiter forgiven."""
    whole = reference + pattern
    if len(whole) > MAX_PATTERN:
        raise BadSyntax("pattern too long")
    if len(whole) > 1:
        whole = whole.removesuffix(_SLASH)
    if whole[:5].upper() == b"INBOX" and whole[5:6] in (b"", _SLASH):
        whole = b"INBOX" + whole[5:]
    return whole


def spelt(patterns: tuple[bytes, ...], *, utf8: bool) -> tuple[bytes, ...]:
    """`patterns` as names are spelt; one that no name can match is left out (RFC 9051 6.3.9)."""
    if not utf8:
        return patterns
    return tuple(filter(None, map(names.normal_utf8, patterns)))
