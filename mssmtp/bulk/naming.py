"""The MSSanté address of a person, built from the name (OP-44)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection

from mssmtp.mail import MAX_LOCAL_OCTETS, Address, BalType, Domain
from mssmtp.storage import Reading

RESERVED = frozenset({"postmaster", "abuse", "mailer-daemon"})
FOR_SOFTWARE = "noreply"
_SPLITS = {"œ": "oe", "æ": "ae", "ß": "ss", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th"}
_MOST_HOMONYMS = 10_000


def personal(
    reading: Reading, first: str, last: str, domain: Domain, promised: Collection[str] = ()
) -> Address | None:
    """`prenom.nom@domain`, `.2`, `.3`… for homonyms; None when the name has no Latin letter.

    An address that was ever somebody's is not given again (OP-51). `promised`: given already by
    what is not written yet.
    """
    base = f"{_bare(first)}.{_bare(last)}"
    if not re.search(r"[a-z].*\.[a-z]", base):
        return None
    for number in range(1, _MOST_HOMONYMS):
        end = "" if number == 1 else f".{number}"
        local = base[: MAX_LOCAL_OCTETS - len(end)].rstrip(".-") + end
        address = Address(local, domain)
        if str(address) not in promised and is_free(reading, address):
            return address
    return None


def is_free(reading: Reading, address: Address) -> bool:
    """Nobody has it, in any state, and nobody had it."""
    return reading.bal(address) is None and reading.bal_by_usual(address) is None


def why_not(local: str, type: BalType) -> str | None:
    """A sentence when no box of this type may be called so."""
    if local in RESERVED:
        return "ce nom est réservé ; choisissez-en un autre"
    if local == FOR_SOFTWARE and type is not BalType.APP:
        return "noreply est gardé pour les BAL APP ; choisissez un autre nom"
    return None


def _bare(name: str) -> str:
    folded = "".join(_SPLITS.get(each, each) for each in name.casefold())
    letters = unicodedata.normalize("NFKD", folded)
    ascii_only = re.sub(r"[ '\u2019_]+", "-", letters).encode("ascii", "ignore").decode()
    return re.sub(r"[.-]+", "-", re.sub(r"[^a-z0-9.-]", "", ascii_only)).strip("-")
