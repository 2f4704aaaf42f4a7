"""Professional categories (SEED-30) by the code of the profession (directory.md §6)."""

from __future__ import annotations

from mssmtp.mail import Category

HEALTH = frozenset(
    str(code)
    for code in (10, 21, 26, 28, *range(31, 33), *range(35, 41), 50, 60, 69, 70, *range(80, 87))
    + (91, 92, 94, 95, 96, 98)
)
"""TRE_G15."""
TITLES = frozenset({"71", "72", "73", "93", "97", "171", "172", "173", "193", "194"})
"""TRE_R95: osteopath, psychotherapist, chiropractor, psychologist, genetic counsellor. 93 moved
there from TRE_G15."""


def category(profession: str) -> Category:
    """Of a profession code; everybody else is medico-social, social or other."""
    if profession in HEALTH:
        return Category.HEALTH_PROFESSIONAL
    return Category.TITLE_USER if profession in TITLES else Category.OTHER
