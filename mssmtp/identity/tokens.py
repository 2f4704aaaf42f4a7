"""What an access token of Pro Santé Connect is worth (client-access.md 3, CL-21).

The issuer is asked (RFC 7662); its answer is judged here, without network. A token is known by its
SHA-256 alone and only in memory (CL-23); what was learnt by it is forgotten when it ends (CL-22).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from mssmtp.errors import Reply
from mssmtp.identity.refusals import LoginRefused

SKEW = timedelta(seconds=30)
"""The issuer's clock and ours may differ by so much."""
LONGEST_KEPT = timedelta(seconds=60)
MOST_KEPT = 20_000
MAX_ANSWER_OCTETS = 65_536
_LAST = datetime(9999, 1, 1, tzinfo=UTC)
_NATIONAL_ID = re.compile(r"(8[0-9]{11}|0[0-9A-Z]{9}|[0-9A-Za-z./-]{4,64})\Z", re.ASCII)
"""`8`+RPPS, `0`+ADELI; other numbers of the national directory have other forms."""


class TokenRefused(LoginRefused):
    """Unknown, ended, forged or foreign token, or one without a right on the box: one answer."""

    smtp = Reply(
        535,
        "5.7.8",
        "Jeton Pro Santé Connect refusé pour cette boîte ; reconnectez-vous avec un nouveau jeton.",
    )
    imap = "AUTHENTICATIONFAILED"
    is_guess = False
    imap_text = "Jeton refuse pour cette boite ; reconnectez-vous"

    def __init__(self, why: str = "") -> None:
        """`why` is for the log; it holds nothing of the token."""
        super().__init__(why)
        self.why = why


class CannotBeAsked(LoginRefused):
    """The issuer gave no usable answer in time: nothing is known against the token."""

    smtp = Reply(
        454,
        "4.7.0",
        "Pro Santé Connect ne répond pas pour le moment ; réessayez dans quelques minutes.",
    )
    imap = "UNAVAILABLE"
    is_guess = False
    imap_text = "Pro Sante Connect ne repond pas ; recommencez plus tard"


@dataclass(frozen=True, slots=True)
class Rules:
    """What a token must satisfy beside being active. `clients`: allowed `azp`, none: any."""

    issuer: str
    clients: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom a token speaks of. `client` and `jti` may be traced; the token may not (CL-23)."""

    national_id: str
    client: str
    jti: str
    until: datetime


def judged(answer: bytes, rules: Rules, now: datetime) -> Subject:
    """The subject of an introspected token. Raises TokenRefused, CannotBeAsked.

    An answer that is not JSON is the issuer's trouble and no refusal of the token.
    """
    claims = _claims(answer)
    if claims.get("active") is not True:
        raise TokenRefused("not active")
    if claims.get("iss") != rules.issuer:
        raise TokenRefused("another issuer")
    until = _moment(claims.get("exp"))
    if until is None or until + SKEW <= now:
        raise TokenRefused("ended, or without end")
    begins = _moment(claims.get("nbf", claims.get("iat", 0)))
    if begins is None or begins - SKEW > now:
        raise TokenRefused("not yet valid")
    if claims.get("typ") != "Bearer":
        raise TokenRefused("not an access token")
    client = claims.get("azp")
    if rules.clients and (not isinstance(client, str) or client not in rules.clients):
        raise TokenRefused("another client")
    subject = national_id_of(claims.get("SubjectNameID"))
    return Subject(subject, _short(client), _short(claims.get("jti")), until)


def national_id_of(said: object) -> str:
    """The identifier that Pro Santé Connect says. Raises TokenRefused."""
    if not isinstance(said, str) or not _NATIONAL_ID.match(said):
        raise TokenRefused("without national identifier")
    return said


def _claims(answer: bytes) -> dict[str, object]:
    if len(answer) > MAX_ANSWER_OCTETS:
        raise CannotBeAsked("answer too long")
    try:
        found: object = json.loads(answer)
    except (ValueError, RecursionError) as error:
        raise CannotBeAsked("answer is not JSON") from error
    if not isinstance(found, dict):
        raise CannotBeAsked("answer is not an object")
    return found


def _moment(seconds: object) -> datetime | None:
    """NumericDate of RFC 7519 2."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return None
    try:
        return min(datetime.fromtimestamp(seconds, UTC), _LAST)
    except (OverflowError, ValueError, OSError):
        return None


def _short(value: object) -> str:
    """A claim as it is traced: printable and bounded, since the issuer's client chose it."""
    text = value if isinstance(value, str) else ""
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:64]


class Known:
    """Tokens that were judged lately, by digest; bounded. One event loop."""

    def __init__(self, longest: timedelta = LONGEST_KEPT) -> None:
        self._longest = longest
        self._found: OrderedDict[bytes, tuple[Subject, datetime]] = OrderedDict()

    @staticmethod
    def digest(token: str) -> bytes:
        """What a token is known by."""
        return hashlib.sha256(token.encode("ascii")).digest()

    def get(self, digest: bytes, now: datetime) -> Subject | None:
        """Whom it speaks of, while that may still be believed."""
        found = self._found.get(digest)
        if found is None:
            return None
        subject, until = found
        if now < until:
            return subject
        del self._found[digest]
        return None

    def keep(self, digest: bytes, subject: Subject, now: datetime) -> None:
        """Until min(`exp`, 60 s) (CL-21); nothing of a token outlives it (CL-22)."""
        self._found[digest] = subject, min(subject.until, now + self._longest)
        self._found.move_to_end(digest)
        while len(self._found) > MOST_KEPT:
            self._found.popitem(last=False)
