"""Forged id_tokens: alg, kid, key, issuer, audience, time (ATT-20)."""

from __future__ import annotations

import base64
import hmac
import json
from dataclasses import replace
from datetime import timedelta

import pytest
from joserfc import jws, jwt
from joserfc.jwk import KeySet, RSAKey

from mssmtp.identity.id_token import Expected, keys_of, read
from mssmtp.identity.tokens import TokenRefused
from tests.tokens.house import CLOCK

NOW = CLOCK.now()
EXPECTED = Expected("https://sso.chu-g.test", "mssmtp", "n-1")
KEY = RSAKey.generate_key(2048, {"use": "sig"}, auto_kid=True)
OTHER = RSAKey.generate_key(2048, {"use": "sig"}, auto_kid=True)
KEYS = keys_of(json.dumps({"keys": [KEY.as_dict(private=False)]}).encode())
CLAIMS: dict[str, object] = {
    "iss": EXPECTED.issuer,
    "aud": ["mssmtp"],
    "sub": "anne",
    "nonce": "n-1",
    "iat": int(NOW.timestamp()),
    "exp": int((NOW + timedelta(minutes=5)).timestamp()),
    "email": "Anne@chu-g.test",
    "email_verified": True,
}


def made(key: RSAKey = KEY, header: dict[str, object] | None = None, /, **changes: object) -> str:
    claims = {k: v for k, v in (CLAIMS | changes).items() if v is not ...}
    return jwt.encode({"alg": "RS256", "kid": KEY.kid} | (header or {}), claims, key, ["RS256"])


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def test_a_token_of_the_provider_names_its_subject() -> None:
    found = read(made(), KEYS, EXPECTED, NOW)
    assert (found.subject, str(found.address)) == ("anne", "Anne@chu-g.test")
    assert found.text == "https://sso.chu-g.test anne"
    assert read(made(email_verified=False), KEYS, EXPECTED, NOW).address is None
    assert read(made(email="no address"), KEYS, EXPECTED, NOW).address is None


@pytest.mark.attack("ATT-20")
@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://sso.chu-g.test.example"},
        {"iss": ...},
        {"aud": ["other"]},
        {"aud": "other"},
        {"aud": ...},
        {"aud": ["mssmtp", "other"]},
        {"azp": "other"},
        {"nonce": "n-2"},
        {"nonce": ...},
        {"exp": int(NOW.timestamp()) - 31},
        {"exp": ...},
        {"exp": "never"},
        {"iat": int(NOW.timestamp()) + 60},
        {"iat": ...},
        {"nbf": int(NOW.timestamp()) + 60},
        {"nbf": "soon"},
        {"sub": ""},
        {"sub": 7},
        {"sub": ...},
    ],
)
def test_att_20_each_claim_of_an_id_token_that_is_wrong_refuses_it(
    changes: dict[str, object],
) -> None:
    with pytest.raises(TokenRefused):
        read(made(**changes), KEYS, EXPECTED, NOW)


@pytest.mark.attack("ATT-20")
@pytest.mark.parametrize(
    "kid",
    ["", "../../../dev/null", "/etc/passwd", "x' OR '1'='1", "unknown", 7, None, ["a"], "k" * 129],
)
def test_att_20_a_key_is_looked_up_by_name_and_never_guessed(kid: object) -> None:
    signing = part({"alg": "RS256", "kid": kid}) + "." + part(CLAIMS)
    good = jws.serialize_compact({"alg": "RS256"}, json.dumps(CLAIMS), KEY)
    tokens = [f"{signing}.{good.rpartition('.')[2]}", good]
    if isinstance(kid, str):
        tokens.append(made(KEY, {"kid": kid}))  # signed by the only key there is
    for token in tokens:
        with pytest.raises(TokenRefused):
            read(token, KEYS, EXPECTED, NOW)


@pytest.mark.attack("ATT-20")
def test_att_20_neither_none_nor_an_hmac_with_the_public_key_passes() -> None:
    body = part(CLAIMS)
    unsigned = part({"alg": "none", "kid": KEY.kid}) + "." + body
    tokens = [f"{unsigned}.", f"{unsigned}.AA"]
    signing = part({"alg": "HS256", "kid": KEY.kid}) + "." + body
    mac = hmac.digest(KEY.as_pem(private=False), signing.encode(), "sha256")
    tokens.append(f"{signing}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}")
    tokens.append(made(OTHER))  # another key under a known name
    tokens.append(made(OTHER, {"jwk": OTHER.as_dict(private=False)}))  # brings its own
    tokens.append(made(OTHER, {"kid": OTHER.kid}))
    first, second, third = made().split(".")
    tokens += [f"{first}.{part(CLAIMS | {'sub': 'luc'})}.{third}", f"{first}.{second}.", first]
    tokens += ["", "a.b.c", made() + ".x", "é.b.c", "x" * 20_000, made() + "\n"]
    for token in tokens:
        with pytest.raises(TokenRefused):
            read(token, KEYS, EXPECTED, NOW)


@pytest.mark.attack("ATT-20")
def test_att_20_a_login_of_a_lower_level_than_was_asked_for_is_refused() -> None:
    strict = replace(EXPECTED, levels=("eidas2", "eidas3"))
    for told in ("eidas2", "eidas3"):
        assert read(made(acr=told), KEYS, strict, NOW).subject == "anne"
    for wrong in ("eidas1", "", "0", "EIDAS2", ["eidas2"], 2, None, ...):
        with pytest.raises(TokenRefused):
            read(made(acr=wrong), KEYS, strict, NOW)
        assert read(made(acr=wrong), KEYS, EXPECTED, NOW).subject == "anne"


def test_what_is_no_key_set_is_refused() -> None:
    for octets in (b"", b"[]", b"{}", b'{"keys":[{"kty":"RSA"}]}', b"\xff"):
        with pytest.raises(TokenRefused):
            keys_of(octets)
    assert isinstance(KEYS, KeySet)
