"""Application passwords (CL-31): 20 random characters per device, stored as verifiers only.

The secret is random (99 bits), so a login need not be slow: the hash costs about 25 ms, enough to
make a stolen table useless against the few that people have chosen themselves.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from argon2 import extract_parameters
from argon2.low_level import Type, hash_secret

from mssmtp.errors import ConfigError
from mssmtp.identity import scram
from mssmtp.outside import Entropy

ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
"""Lower case and digits without i, l, o, 0, 1: what is read aloud or copied from paper."""
LENGTH = 20
GROUP = 5
LEAST_CHOSEN = 16
LEAST_DISTINCT = 6
MOST_OCTETS = 255
"""RFC 4616 2: a password is at most 255 octets."""

_SALT_OCTETS = 16
_HASH_OCTETS = 32


@dataclass(frozen=True, slots=True)
class Cost:
    """What one argon2id evaluation takes: passes and KiB of memory; one lane."""

    passes: int = 3
    memory_kib: int = 16_384


COST = Cost()
"""About 25 ms on one core of the reference machine."""


class WeakPassword(ConfigError):
    """A chosen password that must not be stored."""


@dataclass(frozen=True, slots=True)
class Verifiers:
    """What is stored of a password: an argon2id hash, and SCRAM verifiers (RFC 5803) with a space
    between them."""

    argon2: str
    scram: str


def new_password(entropy: Entropy) -> str:
    """A new secret of 20 characters, every one equally likely."""
    fair = 256 - 256 % len(ALPHABET)
    letters: list[str] = []
    while len(letters) < LENGTH:
        letters += [ALPHABET[o % len(ALPHABET)] for o in entropy.token_bytes(LENGTH) if o < fair]
    return "".join(letters[:LENGTH])


def grouped(password: str) -> str:
    """`password` for display: groups of five with hyphens, which `canonical` takes away again."""
    return "-".join(password[i : i + GROUP] for i in range(0, len(password), GROUP))


def canonical(password: str) -> str:
    """The secret that is hashed: a generated one without groups and case, another as it is.

    So a person may type the groups, spaces or capitals as printed; a chosen password is not
    changed but for Unicode NFC, since two keyboards may write one accent differently.
    """
    bare = password.replace("-", "").replace(" ", "").lower()
    return bare if _is_generated(bare) else unicodedata.normalize("NFC", password)


def _is_generated(secret: str) -> bool:
    return len(secret) == LENGTH and all(letter in ALPHABET for letter in secret)


def check_chosen(password: str) -> None:
    """Raises WeakPassword for a chosen password that is too short, too simple or untypable."""
    remedy = "N'en donnez pas : un bon mot de passe est alors fait et affiché."
    if len(password) < LEAST_CHOSEN:
        raise WeakPassword("mot de passe", f"moins de {LEAST_CHOSEN} caractères", remedy)
    if len(set(password)) < LEAST_DISTINCT:
        why = f"moins de {LEAST_DISTINCT} caractères différents"
        raise WeakPassword("mot de passe", why, remedy)
    if len(canonical(password).encode("utf-8", "surrogatepass")) > MOST_OCTETS:
        raise WeakPassword("mot de passe", f"plus de {MOST_OCTETS} octets", remedy)
    if any(unicodedata.category(letter).startswith("C") for letter in password):
        raise WeakPassword("mot de passe", "un caractère de commande s'y trouve", remedy)


def verifiers(password: str, entropy: Entropy, *, beside: Iterable[str] = ()) -> Verifiers:
    """What to store of `password`.

    `beside`: the argon2 hashes the account already has. Their salt is used again, so that one
    evaluation tests every device of an account, and a login with ten devices takes no longer,
    nor shows by its time that it exists, than one with none. SCRAM tells the salt before it knows
    the device: its salt, which everybody may see, is made of the other, which nobody does.
    """
    secret = canonical(password)
    salt = next((_salt(encoded) for encoded in beside), None)
    if salt is None:
        salt = entropy.token_bytes(_SALT_OCTETS)
    told = hmac.digest(salt, b"scram", hashlib.sha256)[: scram.SALT_OCTETS]
    typed = dict.fromkeys((grouped(secret), secret) if _is_generated(secret) else (secret,))
    return Verifiers(
        _argon2(secret.encode(), salt, COST), " ".join(scram.verifier(one, told) for one in typed)
    )


def matching(password: str, hashes: Iterable[str], *, cost: Cost | None = None) -> frozenset[str]:
    """Those of `hashes` that are of `password`. One slow evaluation per different salt.

    Every hash is compared in constant time (ATT-21). With no hash at all one evaluation (of
    `cost`) is done all the same: an unknown login takes as long as a wrong password.
    """
    secret = canonical(password).encode("utf-8", "surrogatepass")
    stored = list(hashes)
    groups = {(_salt(encoded), _cost(encoded)) for encoded in stored}
    found: set[str] = set()
    for salt, found_cost in groups or {(bytes(_SALT_OCTETS), cost or COST)}:
        computed = _argon2(secret, salt, found_cost)
        found |= {encoded for encoded in stored if hmac.compare_digest(computed, encoded)}
    return frozenset(found)


def hash_of(secret: str, salt: bytes, cost: Cost) -> str:
    """One argon2id hash of `secret`, as `matching` compares it."""
    return _argon2(canonical(secret).encode("utf-8", "surrogatepass"), salt, cost)


def _argon2(secret: bytes, salt: bytes, cost: Cost) -> str:
    encoded = hash_secret(
        secret,
        salt,
        time_cost=cost.passes,
        memory_cost=cost.memory_kib,
        parallelism=1,
        hash_len=_HASH_OCTETS,
        type=Type.ID,
    )
    return encoded.decode("ascii")


def _cost(encoded: str) -> Cost:
    found = extract_parameters(encoded)
    return Cost(found.time_cost, found.memory_cost)


def _salt(encoded: str) -> bytes:
    """The salt of `$argon2id$v=19$m=…,t=…,p=…$salt$hash` (unpadded base64)."""
    salt = encoded.split("$")[4]
    return base64.b64decode(salt + "=" * (-len(salt) % 4))
