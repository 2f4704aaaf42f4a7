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
"""Of one account and purpose: who tries at its login does not keep its holder from another
password, which ends that."""
MOST_WRONG = 5
FREE_WRONG = 10
"""Wrong entries of an account in a day without a wait. Each MOST_WRONG more double the time between
two codes, up to LONGEST: who has learnt a password guesses a hundred times a day at most."""
LONGEST = timedelta(hours=1)
_LOOKED_BACK = timedelta(days=1)
_MOST_LOOKED_AT = 64
DIGITS = 6
_TOKEN_OCTETS = 16

Purpose = Literal["login", "bind", "reset", "password"]
"""What the code confirms; one is never taken for another."""


class CodeRefused(LoginRefused):
    """Wrong, spent, expired or another attempt's: one answer for all."""

    smtp = Reply(535, "5.7.8", "Code incorrect, déjà utilisé ou expiré ; demandez-en un nouveau.")
    imap = "AUTHENTICATIONFAILED"


class CodeTooSoon(LoginRefused):
    """One code per minute and account (DEF-03); the one before is still good."""

    smtp = Reply(454, "4.7.0", "Un code vient d'être envoyé ; attendez une minute.")
    imap = "UNAVAILABLE"


class CodesGuessed(LoginRefused):
    """Many wrong codes were entered for this account today: somebody may have its password."""

    smtp = Reply(
        454,
        "4.7.0",
        "Trop de codes faux ; changez de mot de passe (« oublié »), ou attendez une heure.",
    )
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

    Raises CodeTooSoon, CodesGuessed, NoticesDown.
    """
    now = drawn.at
    _demand_pace(writing, person.account, purpose, now)
    content = {**drawn.beside, "purpose": purpose, "hash": _hash(drawn.attempt, drawn.code)}
    writing.new_secret("code", drawn.attempt, person.account, now + VALID, content)
    desk.tell(writing, Kind.CODE, person, {"code": drawn.code})
    return drawn.attempt


def _demand_pace(reading: Reading, account: AccountId, purpose: Purpose, now: datetime) -> None:
    """Raises CodeTooSoon, CodesGuessed."""
    found = reading.newest_secrets("code", account, _MOST_LOOKED_AT)
    before = [each for each in found if each.content["purpose"] == purpose]
    if not before:
        return
    waited = now - before[0].created_at
    if waited < ONE_PER:
        raise CodeTooSoon
    since = reading.portal_password_since(account)  # what was guessed with another one is over
    begins = now - _LOOKED_BACK if since is None else max(since, now - _LOOKED_BACK)
    wrong = sum(each.tries for each in before if each.created_at >= begins)
    doublings = min(max(0, wrong - FREE_WRONG) // MOST_WRONG, 10)
    if waited < min(ONE_PER * 2**doublings, LONGEST):
        raise CodesGuessed


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
