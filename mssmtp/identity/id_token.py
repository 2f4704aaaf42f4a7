"""id_tokens of a hospital's own OIDC provider (OpenID Connect Core 3.1.3.7, ATT-20).

Which key verifies is looked up among the provider's own keys by `kid`, and by nothing else the
token says: no `jwk`, `jku` or `x5u`, no algorithm but those for public keys. No network.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from mssmtp.errors import BadAddress
from mssmtp.identity.tokens import SKEW, TokenRefused
from mssmtp.mail import Address

ALGORITHMS = ("RS256", "PS256", "ES256")
"""Of public keys: a key that everybody may read never verifies an HMAC."""
MAX_OCTETS = 16_384
_MOST_NAME = 320
_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\Z", re.ASCII)
_KID = re.compile(r"[A-Za-z0-9_.=-]{1,128}\Z", re.ASCII)


class UnknownKey(TokenRefused):
    """Of a key that is not among those: the provider may have changed its keys since."""


@dataclass(frozen=True, slots=True)
class Expected:
    """Whose tokens are taken, for whom, in answer to which question; `claim`: what is asked for.

    `levels`: of `acr`, one of which has to be told; none where nothing was asked of the login.
    """

    issuer: str
    client_id: str
    nonce: str
    claim: str = "email"
    levels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OidcSubject:
    """Who has logged in at the provider. `address`: its verified e-mail address, if it says one.

    `named`: what the claim that was asked for says.
    """

    issuer: str
    subject: str
    address: Address | None
    named: str = ""

    @property
    def text(self) -> str:
        """As it is bound to an account (`storage.bindings`)."""
        return f"{self.issuer} {self.subject}"


def read(token: str, keys: KeySet, expected: Expected, now: datetime) -> OidcSubject:
    """Who `token` is about. Raises TokenRefused; UnknownKey."""
    claims = _verified(token, keys)
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    if claims.get("iss") != expected.issuer:
        raise TokenRefused("another issuer")
    if expected.client_id not in audiences:
        raise TokenRefused("another audience")
    if (len(audiences) > 1 or "azp" in claims) and claims.get("azp") != expected.client_id:
        raise TokenRefused("another authorized party")
    if not expected.nonce or claims.get("nonce") != expected.nonce:
        raise TokenRefused("another nonce")
    # Core 2, 3.1.2.1: what was asked for is voluntary, so that only the token says what was done.
    if expected.levels and claims.get("acr") not in expected.levels:
        raise TokenRefused("logged in at another level")
    end, begin = _moment(claims.get("exp")), _moment(claims.get("iat"))
    if end is None or begin is None or end + SKEW <= now or begin - SKEW > now:
        raise TokenRefused("ended, or not yet valid")
    opens = _moment(claims.get("nbf", 0))
    if opens is None or opens - SKEW > now:
        raise TokenRefused("not yet valid")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subject or len(subject) > 255:
        raise TokenRefused("without subject")
    named = claims.get(expected.claim)
    text = named if isinstance(named, str) and len(named) <= _MOST_NAME else ""
    return OidcSubject(expected.issuer, subject, _address(claims), text)


def keys_of(jwks: bytes) -> KeySet:
    """The provider's published keys. Raises TokenRefused for what is no key set."""
    try:
        return KeySet.import_key_set(json.loads(jwks))
    except (ValueError, KeyError, TypeError, AttributeError, JoseError) as error:
        raise TokenRefused("no keys") from error


def _verified(token: str, keys: KeySet) -> dict[str, object]:
    if len(token) > MAX_OCTETS or not _COMPACT.match(token):
        raise TokenRefused("not a compact token")
    try:
        header = jws.extract_compact(token.encode("ascii")).headers()
        kid = header.get("kid")
        # ATT-20: a `kid` is looked up, never opened; without one no key is guessed.
        if not isinstance(kid, str) or not _KID.match(kid) or "crit" in header:
            raise TokenRefused("names no key")
        found = [key for key in keys.keys if key.kid == kid]
        if len(found) != 1:
            raise UnknownKey("of an unknown key")
        made = jws.deserialize_compact(token, found[0], algorithms=list(ALGORITHMS))
        claims: object = json.loads(made.payload)
    except (JoseError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise TokenRefused("does not verify") from error
    if not isinstance(claims, dict):
        raise TokenRefused("not an object")
    return claims


def _moment(seconds: object) -> datetime | None:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return None
    try:
        return datetime.fromtimestamp(min(seconds, 32_503_680_000), UTC)
    except (OverflowError, ValueError, OSError):
        return None


def _address(claims: dict[str, object]) -> Address | None:
    """Only one that the provider has verified."""
    email = claims.get("email")
    if claims.get("email_verified") is not True or not isinstance(email, str):
        return None
    try:
        return Address.parse(email)
    except BadAddress:
        return None
