"""One-time codes by mail: six digits, ten minutes, once (SEED-10, DEF-03).

A code belongs to one attempt, whose token only the asking browser or command has: the hash that is
stored is of both, so that neither alone says anything. Everything happens in the caller's
transaction, where the store puts concurrent entries in order.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from mssmtp.errors import Reply
from mssmtp.identity import LoginRefused
from mssmtp.mail import AccountId, Person
from mssmtp.notices import Desk, Kind
from mssmtp.outside import Entropy
from mssmtp.storage import Reading, Writing

VALID = timedelta(minutes=10)
"""Up to and including the last second."""
ONE_PER = timedelta(seconds=60)
MOST_WRONG = 5
DIGITS = 6
_TOKEN_OCTETS = 16

Purpose = Literal["login", "bind", "reset"]
"""What the code confirms; one is never taken for another."""


class CodeRefused(LoginRefused):
    """Wrong, spent, expired or another attempt's: one answer for all."""

    smtp = Reply(535, "5.7.8", "Code incorrect, déjà utilisé ou expiré ; demandez-en un nouveau.")
    imap = "AUTHENTICATIONFAILED"


class CodeTooSoon(LoginRefused):
    """One code per minute and account (DEF-03); the one before is still good."""

    smtp = Reply(454, "4.7.0", "Un code vient d'être envoyé ; attendez une minute.")
    imap = "UNAVAILABLE"


@dataclass(frozen=True, slots=True)
class Drawn:
    """An attempt and its code, drawn outside the transaction."""

    at: datetime
    attempt: str = field(repr=False)
    code: str = field(repr=False)
    beside: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What else was shown, and counts once the code has come back (`beside`)."""


def draw(entropy: Entropy, now: datetime) -> Drawn:
    """A new one."""
    return Drawn(now, entropy.token_bytes(_TOKEN_OCTETS).hex(), _digits(entropy))


def issue(writing: Writing, desk: Desk, person: Person, purpose: Purpose, drawn: Drawn) -> str:
    """Mail a code to the person's usual address; the token of the attempt.

    Raises CodeTooSoon, NoticesDown.
    """
    now = drawn.at
    before = writing.newest_secret("code", person.account)
    if before is not None and now - before.created_at < ONE_PER:
        raise CodeTooSoon
    content = {**drawn.beside, "purpose": purpose, "hash": _hash(drawn.attempt, drawn.code)}
    writing.new_secret("code", drawn.attempt, person.account, now + VALID, content)
    desk.tell(writing, Kind.CODE, person, {"code": drawn.code})
    return drawn.attempt


def accept(
    writing: Writing, attempt: str, code: str, purpose: Purpose, now: datetime
) -> AccountId | None:
    """Whose code that is, once; None: refused, and counted. Not raised: a refusal is a commit."""
    found = writing.secret("code", attempt)
    if (
        found is None
        or found.spent_at is not None
        or now > found.expires_at
        or found.content["purpose"] != purpose
    ):
        return None
    if not hmac.compare_digest(_hash(attempt, code), found.content["hash"]):
        writing.miss_secret(found.id)
        if found.tries + 1 >= MOST_WRONG:
            writing.spend_secret(found.id)
        return None
    return found.subject if writing.spend_secret(found.id) else None


def beside(reading: Reading, attempt: str) -> Mapping[str, str]:
    """What was shown beside the first factor of an attempt."""
    found = reading.secret("code", attempt)
    return {} if found is None else found.content


def _digits(entropy: Entropy) -> str:
    """Every one of a million equally likely."""
    fair = (1 << 32) - (1 << 32) % 10**DIGITS
    while (drawn := int.from_bytes(entropy.token_bytes(4), "big")) >= fair:
        pass
    return f"{drawn % 10**DIGITS:0{DIGITS}}"


def _hash(attempt: str, code: str) -> str:
    return hashlib.sha256(f"{attempt}\0{code}".encode("utf-8", "surrogatepass")).hexdigest()
