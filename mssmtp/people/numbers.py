"""Numbers of structures: FINESS, SIRET, SIREN (SEED-26), with their keys."""

from __future__ import annotations

import re

from mssmtp.identity.national_id import luhn
from mssmtp.people.refusing import NotAllowed

_FINESS = re.compile(r"(?:[0-9]{2}|2[AB])[0-9]{7}\Z", re.ASCII)
_SIREN = re.compile(r"[0-9]{9}\Z", re.ASCII)
_SIRET = re.compile(r"[0-9]{14}\Z", re.ASCII)
_LA_POSTE = "356000000"
"""Its establishments have no Luhn key: the sum of their digits is a multiple of five."""


def finess(text: str) -> str:
    """A FINESS, 9 characters. Raises NotAllowed.

    The last is the Luhn key of the others; no rule is published for the letter of Corsica.
    """
    compact = "".join(text.split()).upper()
    if not _FINESS.match(compact):
        raise NotAllowed("FINESS", "ce n'est pas un FINESS (9 caractères)", "Vérifiez le numéro.")
    if compact.isdigit() and not luhn(compact):
        raise NotAllowed("FINESS", "sa clé (dernier chiffre) est fausse", "Vérifiez le numéro.")
    return compact


def siret(text: str) -> str:
    """A SIRET (14 digits) or a SIREN (9). Raises NotAllowed."""
    compact = "".join(text.split())
    if not (_SIRET.match(compact) or _SIREN.match(compact)):
        raise NotAllowed(
            "SIRET", "ni SIRET (14 chiffres) ni SIREN (9 chiffres)", "Vérifiez le numéro."
        )
    is_right = luhn(compact)
    if not is_right and len(compact) == 14 and compact.startswith(_LA_POSTE):
        is_right = sum(map(int, compact)) % 5 == 0
    if not is_right:
        raise NotAllowed("SIRET", "sa clé (dernier chiffre) est fausse", "Vérifiez le numéro.")
    return compact
