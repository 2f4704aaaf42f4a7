"""Addresses of boxes (SEED-25, OP-44): `prenom.nom`, `.2` for a homonym, what is reserved."""

from __future__ import annotations

import re
import unicodedata
from typing import Protocol

from mssmtp.mail import MAX_LOCAL_OCTETS, Address, Bal, BalType, Domain
from mssmtp.people.refusing import NotAllowed

RESERVED = frozenset({"postmaster", "abuse", "mailer-daemon"})
SOFTWARE = "noreply"
MOST_HOMONYMS = 9_999

_LETTERS = str.maketrans({"œ": "oe", "æ": "ae", "ß": "ss", "ø": "o", "ł": "l", "đ": "d", "ð": "d"})
_NO_LETTER = re.compile(r"[^a-z0-9]+")
_ROOM = MAX_LOCAL_OCTETS - len(f".{MOST_HOMONYMS}")


class Known(Protocol):
    """The part of `storage.Reading` that naming asks."""

    def bal(self, address: Address) -> Bal | None: ...
    def bal_by_usual(self, address: Address) -> Bal | None: ...
    def is_retired(self, address: Address) -> bool: ...


def folded(name: str) -> str:
    """`name` in letters of an address: without accents, anything between letters is a hyphen."""
    bare = unicodedata.normalize("NFKD", name.casefold().translate(_LETTERS))
    letters = "".join(each for each in bare if not unicodedata.combining(each))
    return _NO_LETTER.sub("-", letters).strip("-")


def personal(first_name: str, last_name: str) -> str:
    """`prenom.nom`. Raises NotAllowed when nothing of a name can be written in ASCII."""
    first, last = folded(first_name), folded(last_name)
    if not (first and last):
        raise NotAllowed(
            "adresse",
            "ce nom ne s'écrit pas en lettres latines sans accent",
            "Donnez vous-même la partie qui précède l'arobase.",
        )
    return f"{first}.{last}"[:_ROOM].rstrip(".-")


def free_address(known: Known, local: str, domain: Domain) -> Address:
    """`local`, or with `.2`, `.3`… the first that nobody has or had (OP-51). Raises NotAllowed."""
    for number in range(1, MOST_HOMONYMS + 1):
        address = Address(local if number == 1 else f"{local}.{number}", domain)
        if is_free(known, address):
            return address
    raise NotAllowed(f"{local}@{domain}", "trop d'homonymes", "Donnez une autre partie locale.")


def is_free(known: Known, address: Address) -> bool:
    """Nobody has it as address or usual address, and nobody ever had it."""
    taken = known.bal(address) or known.bal_by_usual(address)
    return taken is None and not known.is_retired(address)


def require_allowed(local: str, type: BalType) -> None:
    """Raises NotAllowed for what is reserved, and for `noreply` of anything but an APP box."""
    plain = local.casefold()
    if plain in RESERVED:
        raise NotAllowed(
            local, "cette adresse est réservée à l'opérateur", "Choisissez-en une autre."
        )
    if plain == SOFTWARE and type is not BalType.APP:
        raise NotAllowed(
            local, "« noreply » est réservé aux boîtes APP", "Choisissez-en une autre."
        )
