"""The collation `i;unicode-casemap` (RFC 5051), by which SORT and THREAD compare texts."""

from __future__ import annotations

import unicodedata


class _Casemap(dict[int, str]):
    """What each character becomes, filled as characters are met."""

    def __missing__(self, code: int) -> str:
        """Its simple titlecase, decomposed for compatibility (RFC 5051 2.2)."""
        title = chr(code).title()
        mapped = title if len(title) == 1 else chr(code)
        self[code] = found = unicodedata.normalize("NFKD", mapped)
        return found


_CASEMAP = _Casemap()


def casemapped(text: str) -> bytes:
    """Texts that compare equal have the same octets; others are ordered as their octets are."""
    if text.isascii():
        return text.upper().encode("ascii")
    return text.translate(_CASEMAP).encode("utf-8", "surrogatepass")
