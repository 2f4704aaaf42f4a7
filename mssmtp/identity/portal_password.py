"""The password of the portal: its rules (SEED-11), and what is stored of it.

People choose it, so its hash is slower than that of application passwords. It opens neither SMTP
nor IMAP (client-access.md 1).
"""

from __future__ import annotations

import unicodedata

from mssmtp.identity.app_password import Cost, WeakPassword, hash_of, matching
from mssmtp.outside import Entropy

LEAST = 7
MOST_OCTETS = 255
COST = Cost(passes=3, memory_kib=65_536)
"""About 100 ms on one core of the reference machine."""
_SALT_OCTETS = 16


def check(password: str, again: str) -> None:
    """Raises WeakPassword, which says the first rule that is broken, in French."""
    reasons = (
        (password != again, "les deux saisies diffèrent"),
        (len(password) < LEAST, f"moins de {LEAST} caractères"),
        (len(password.encode("utf-8", "surrogatepass")) > MOST_OCTETS, "trop long"),
        (any(unicodedata.category(one).startswith("C") for one in password), "caractère invisible"),
        (not any(one.isalpha() for one in password), "aucune lettre"),
        (not any(one.isdigit() for one in password), "aucun chiffre"),
        (
            not any(one.isupper() or not one.isalnum() for one in password),
            "ni majuscule, ni caractère autre que lettre ou chiffre",
        ),
    )
    for is_broken, why in reasons:
        if is_broken:
            remedy = (
                f"Choisissez au moins {LEAST} caractères, avec des lettres, un chiffre et une"
                " majuscule ou un signe, et saisissez-les deux fois."
            )
            raise WeakPassword("mot de passe", why, remedy)


def hashed(password: str, entropy: Entropy) -> str:
    """What to store."""
    return hash_of(_normal(password), entropy.token_bytes(_SALT_OCTETS), COST)


def is_right(password: str, stored: str | None) -> bool:
    """The same work when nothing is stored (ATT-21)."""
    secret = _normal(password)
    return bool(matching(secret, () if stored is None else (stored,), cost=COST))


def _normal(password: str) -> str:
    return unicodedata.normalize("NFC", password)
