"""Phrases of ours that stand as values in service mail, and their English.

Who queues a mail says them in French, whatever language its reader has; a phrase that is not known
here stays as it is, as do names, addresses and what people write.
"""

from __future__ import annotations

import re

FIELDS = frozenset({"event", "rights", "until", "reason"})
"""Values that may be such a phrase."""

_ENGLISH = {
    "Un appareil a reçu un mot de passe.": "A device was given a password.",
    "Un appareil a reçu un mot de passe pour la boîte {}.": "A device was given a password for the"
    " mailbox {}.",
    "Votre administrateur a donné un mot de passe à un appareil : {}.": "Your administrator has"
    " given a device a password: {}.",
    "Un appareil a été révoqué.": "A device was revoked.",
    "Tous les mots de passe ont été révoqués.": "All passwords were revoked.",
    "Votre mot de passe a été remplacé.": "Your password was replaced.",
    "lire": "read",
    "lire, répondre": "read, answer",
    "lire, répondre, écrire au nom du titulaire": "read, answer, write on behalf of the holder",
    "retrait": "it is withdrawn",
    "son droit d'exercer est clos dans l'annuaire": "the register has closed the right to exercise",
    "son numéro est celui d'une autre personne dans l'annuaire": "the register has the number of"
    " another person",
}
_PATTERNS = tuple(
    (re.compile(r"(\S+)".join(map(re.escape, french.split("{}")))), english)
    for french, english in _ENGLISH.items()
)


def in_language(text: str, language: str) -> str:
    """`text` as a reader of `language` has it."""
    if language == "en":
        for pattern, english in _PATTERNS:
            if (found := pattern.fullmatch(text)) is not None:
                return english.format(*found.groups())
    return text
