"""Tokens in SASL: XOAUTH2 as mail clients have it, and OAUTHBEARER (RFC 7628).

Both say the same: the address of a box, and a bearer token (RFC 6750). What a token is worth is
asked elsewhere; here it is only found, and never shown again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from mssmtp.identity.refusals import BadExchange
from mssmtp.identity.sasl import Bearer, Mechanisms, Presented, text_of

MAX_TOKEN_OCTETS = 8_192
_SEPARATOR = b"\x01"
_MOST_PAIRS = 16
_BEARER = re.compile(rb"bearer +([A-Za-z0-9._~+/-]+=*)\Z", re.IGNORECASE)
"""RFC 6750 2.1; the scheme in any case (RFC 9110 11.1)."""
_GS2 = re.compile(rb"([ny]),(?:a=([^,\x01]+))?,\Z")
"""RFC 5801 4; no channel binding, which RFC 7628 does not have."""


class XOAuth2:
    """`user=<box>^Aauth=Bearer <token>^A^A`: the form of the API LPS (client-access.md 2)."""

    opening = b""
    refusal: bytes | None = json.dumps(
        {"status": "401", "schemes": "bearer", "scope": "openid"}, separators=(",", ":")
    ).encode()

    def step(self, response: bytes) -> Bearer:
        pairs = _pairs(response)
        return Bearer(_box(pairs.get(b"user", b"")), _token(pairs))


class SilentXOAuth2(XOAuth2):
    """The same for clients that take a challenge for success: the refusal comes at once
    (auth.xoauth2_challenge)."""

    refusal: bytes | None = None


class OAuthBearer:
    """RFC 7628 3.1: `n,a=<box>,^Ahost=…^Aport=…^Aauth=Bearer <token>^A^A`."""

    opening = b""
    refusal: bytes | None = b'{"status":"invalid_token"}'

    def step(self, response: bytes) -> Bearer:
        header, separator, rest = response.partition(_SEPARATOR)
        found = _GS2.match(header)
        if found is None or not separator:
            raise BadExchange("no GS2 header without channel binding")
        return Bearer(_box(_unescaped(found[2] or b"")), _token(_pairs(rest)))


class External:
    """RFC 4422 A: the certificate says who it is, `authzid` in which box."""

    opening = b""
    refusal: bytes | None = None

    def step(self, response: bytes) -> Presented:
        box = text_of(response)
        if "\0" in box:
            raise BadExchange("NUL in authzid")
        return Presented(box)


EXTERNAL: Mechanisms = {"EXTERNAL": External}
"""On the listeners of systems, and nothing else there (CL-15, CL-16)."""


def with_tokens(mechanisms: Mechanisms, *, challenge: bool) -> Mechanisms:
    """`mechanisms` after those for tokens. `challenge`: XOAUTH2 says why before it refuses."""
    xoauth2 = XOAuth2 if challenge else SilentXOAuth2
    return {"XOAUTH2": xoauth2, "OAUTHBEARER": OAuthBearer, **mechanisms}


def _pairs(octets: bytes) -> Mapping[bytes, bytes]:
    """`key=value^A…^A` and one `^A` more; no key twice."""
    parts = octets.split(_SEPARATOR, _MOST_PAIRS)
    if len(parts) < 3 or parts[-2:] != [b"", b""]:
        raise BadExchange("not ended by two separators")
    pairs: dict[bytes, bytes] = {}
    for part in parts[:-2]:
        key, equals, value = part.partition(b"=")
        if not key or not equals or key in pairs:
            raise BadExchange("not key=value, or a key twice")
        pairs[key] = value
    return pairs


def _token(pairs: Mapping[bytes, bytes]) -> str:
    found = _BEARER.match(pairs.get(b"auth", b""))
    if found is None or len(found[1]) > MAX_TOKEN_OCTETS:
        raise BadExchange("no bearer token, or too long")
    return found[1].decode("ascii")


def _box(octets: bytes) -> str:
    """CL-13: the box to open is always named; there is no other to fall back to."""
    box = text_of(octets)
    if not box or "\0" in box:
        raise BadExchange("no box named")
    return box


def _unescaped(saslname: bytes) -> bytes:
    """RFC 5801 4: `=2C` is a comma, `=3D` the equals sign, any other `=` an error."""
    bare = saslname.replace(b"=2C", b"").replace(b"=3D", b"")
    if b"=" in bare:
        raise BadExchange("equals sign in authzid")
    return saslname.replace(b"=2C", b",").replace(b"=3D", b"=")
