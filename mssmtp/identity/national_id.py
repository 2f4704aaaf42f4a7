"""The national identifier of a professional: idNatPS = `8` + RPPS or `0` + ADELI (OP-37)."""

from __future__ import annotations

import re

from mssmtp.errors import ConfigError
from mssmtp.mail import BalType

_RPPS = re.compile(r"[0-9]{11}\Z", re.ASCII)
_ADELI = re.compile(r"(?:[0-9]{2}|2[AB]|9[A-F])[0-9]{7}\Z", re.ASCII)
"""Department (Corsica and overseas have a letter), profession, order, key; no public key rule."""

_REMEDY = "Donnez le RPPS (11 chiffres) ou l'ADELI (9 caractères) de la personne, ou --type MED."


class BadNationalId(ConfigError):
    """Not an RPPS nor an ADELI number; the box can be of type MED instead (OP-38)."""


def luhn(digits: str) -> bool:
    """True when the last of `digits` is the Luhn key of the others (ISO/IEC 7812-1 annex B)."""
    total = 0
    for position, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + position % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def parse(text: str) -> str:
    """idNatPS of an RPPS, an ADELI, or an idNatPS; spaces are ignored. Raises BadNationalId."""
    compact = "".join(text.split()).upper()
    if (len(compact), compact[:1]) in ((12, "8"), (10, "0")):
        compact = compact[1:]
    if _RPPS.match(compact):
        if not luhn(compact):
            raise BadNationalId("RPPS", "la clé (dernier chiffre) est fausse", _REMEDY)
        return f"8{compact}"
    if _ADELI.match(compact):
        return f"0{compact}"
    raise BadNationalId("identifiant national", "ce n'est ni un RPPS ni un ADELI", _REMEDY)


def required(bal_type: BalType, text: str | None) -> str | None:
    """The idNatPS a box of `bal_type` is stored with. Raises BadNationalId.

    OP-38: a PER box without a valid number is refused and MED proposed. The number of a person
    belongs to the PER box alone: another type with one is refused, so that it is not lost unseen.
    """
    if bal_type is BalType.PER:
        if text is None or not text.strip():
            raise BadNationalId("PER", "une boîte personnelle demande un RPPS ou un ADELI", _REMEDY)
        return parse(text)
    if text is not None and text.strip():
        raise BadNationalId(
            str(bal_type),
            "seule une boîte PER porte un RPPS ou un ADELI",
            "Ôtez le numéro, ou prenez --type PER.",
        )
    return None
