"""The whole way with a real provider over HTTPS: authorization code, token, introspection, box."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from joserfc.jwk import RSAKey

from mssmtp.config_tokens import PscSettings
from mssmtp.demo.authority import Authority, Identity
from mssmtp.demo.provider import Client, Provider
from mssmtp.demo.web import https_context
from mssmtp.identity.tokens import CannotBeAsked, TokenRefused
from mssmtp.introspection import HttpAsk, introspection_of
from tests.authority import A_DOMAIN
from tests.tokens.house import CLOCK
from tests.tokens.people import ZOE

LPS = Client("lps-essai", "lps-secret")
OPERATOR = Client("mssmtp", "registration-secret", may_introspect=True)
VERIFIER = "v" * 64
KEY = RSAKey.generate_key(2048, {"use": "sig"}, auto_kid=True)


@pytest.fixture
async def provider(healthy: dict[str, Identity], tmp_path: Path) -> AsyncIterator[Provider]:
    files = healthy[A_DOMAIN].write(tmp_path, "provider")
    context = https_context(files.certificate_file, files.key_file)
    async with Provider(0, context, (LPS, OPERATOR), key=KEY) as provider:
        yield provider


@pytest.fixture
def context(authority: Authority) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=authority.anchors_pem.decode())
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def settings(provider: Provider, directory: Path, **changes: object) -> PscSettings:
    secret = directory / "secret"
    secret.write_text("registration-secret")
    secret.chmod(0o600)
    return PscSettings.model_validate(
        {
            "issuer": provider.issuer,
            "introspection_url": provider.introspection_url,
            "client_id": OPERATOR.client_id,
            "client_secret_file": secret,
            "anchors_file": directory / "unused",
        }
        | changes
    )


async def token_of(provider: Provider, context: ssl.SSLContext, person: str) -> dict[str, object]:
    """What business software does before it opens a box."""
    digest = hashlib.sha256(VERIFIER.encode()).digest()
    challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    asked = {
        "response_type": "code",
        "client_id": LPS.client_id,
        "redirect_uri": "https://127.0.0.1/back",
        "scope": "openid",
        "nonce": "n-1",
        "state": "s-1",
        "login_hint": person,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    pages = f"{provider.base}/protocol/openid-connect"
    async with httpx.AsyncClient(verify=context, trust_env=False) as client:
        shown = await client.get(f"{pages}/auth", params=asked)
        back = parse_qs(urlsplit(shown.headers["location"]).query)
        form = {
            "grant_type": "authorization_code",
            "code": back["code"][0],
            "redirect_uri": "https://127.0.0.1/back",
            "code_verifier": VERIFIER,
        }
        given = await client.post(f"{pages}/token", data=form, auth=(LPS.client_id, LPS.secret))
        answer: dict[str, object] = given.json()
        return answer


@pytest.mark.requirement("CL-21", "CL-23", "OP-82")
async def test_a_token_of_a_real_provider_names_its_subject(
    provider: Provider, context: ssl.SSLContext, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    given = await token_of(provider, context, ZOE)
    token = str(given["access_token"])
    assert given["id_token"]
    psc = settings(provider, tmp_path)
    tokens = introspection_of(psc, HttpAsk(psc, context), CLOCK)
    subject = await tokens.subject(token)
    assert (subject.national_id, subject.client) == (ZOE, LPS.client_id)
    await asyncio.gather(*(tokens.subject(token) for _ in range(10)))
    assert provider.asked == 1
    with pytest.raises(TokenRefused):
        await tokens.subject("never-given-out")
    await tokens.close()
    assert token not in caplog.text
    assert "registration-secret" not in caplog.text


async def test_a_revoked_token_is_refused_and_another_clients_too(
    provider: Provider, context: ssl.SSLContext, tmp_path: Path
) -> None:
    token = provider.token_for(ZOE, LPS.client_id)
    provider.tokens[token].revoked = True
    psc = settings(provider, tmp_path, allowed_azp=("lps-autre",))
    tokens = introspection_of(psc, HttpAsk(psc, context), CLOCK)
    for each in (token, provider.token_for(ZOE, LPS.client_id)):
        with pytest.raises(TokenRefused):
            await tokens.subject(each)
    await tokens.close()


@pytest.mark.requirement("CL-21")
async def test_a_provider_that_is_slow_refuses_us_or_is_not_there_is_an_outage(
    provider: Provider, context: ssl.SSLContext, tmp_path: Path
) -> None:
    """Slow, away, behind another certificate, or our own registration is wrong: never 535."""
    token = provider.token_for(ZOE, LPS.client_id)
    stranger = ssl.create_default_context()
    cases: tuple[tuple[dict[str, object], ssl.SSLContext], ...] = (
        ({"client_id": "unknown"}, context),
        ({"introspection_url": f"{provider.base}/nowhere"}, context),
        ({"introspection_url": "https://127.0.0.1:1/"}, context),
        ({}, stranger),
    )
    for changes, trusted in cases:
        psc = settings(provider, tmp_path, **changes)
        tokens = introspection_of(psc, HttpAsk(psc, trusted), CLOCK)
        with pytest.raises(CannotBeAsked):
            await tokens.subject(token)
        await tokens.close()
    provider.silent.set()
    psc = settings(provider, tmp_path, timeout_s=0.2)
    tokens = introspection_of(psc, HttpAsk(psc, context), CLOCK)
    with pytest.raises(CannotBeAsked):
        await tokens.subject(token)
    await tokens.close()
