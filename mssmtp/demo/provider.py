"""The demo's Pro Santé Connect: an OIDC provider of Authlib on aiohttp, over HTTPS on loopback.

Authorization code with PKCE (RFC 6749, 7636), its own name in the answer (RFC 9207), id_token
(OpenID Connect), introspection (RFC 7662) with `SubjectNameID`, revocation by a call. Whoever names
a test identity is logged in as it: there is no card here. With `people` it is a hospital's own.
For a test space alone.
"""

from __future__ import annotations

import asyncio
import html
import json
import secrets
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web
from authlib.common.urls import add_params_to_uri
from authlib.oauth2.rfc6749 import AuthorizationServer, OAuth2Request
from authlib.oauth2.rfc6749.errors import OAuth2Error
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oauth2.rfc7662 import IntrospectionEndpoint
from authlib.oauth2.rfc9207 import IssuerParameter
from authlib.oidc.core.grants import OpenIDCode
from joserfc.jwk import RSAKey

from mssmtp.demo.space import PSC_REALM as REALM

TOKEN_LIVES_S = 240
"""Access tokens of Pro Santé Connect live four to five minutes."""
_CODE_LIVES_S = 60
SOMEBODY = "899900000110"
"""Whom its page proposes to be."""
_MOST_BODY = 65_536


@dataclass(frozen=True, slots=True)
class Client:
    """A registration: business software, or the operator that only introspects."""

    client_id: str
    secret: str = field(repr=False)
    may_introspect: bool = False

    def get_client_id(self) -> str:
        return self.client_id

    def get_default_redirect_uri(self) -> str:
        return "https://127.0.0.1/back"

    def get_allowed_scope(self, scope: str | None) -> str:
        return scope or "openid"

    def check_redirect_uri(self, uri: str) -> bool:
        return uri.startswith(("https://127.0.0.1", "http://127.0.0.1", "https://localhost"))

    def check_client_secret(self, secret: str) -> bool:
        return secrets.compare_digest(self.secret, secret)

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == "client_secret_basic"

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == "authorization_code"


@dataclass(slots=True)
class Code:
    """What an authorization code stands for."""

    code: str
    client_id: str
    national_id: str
    redirect_uri: str
    scope: str
    nonce: str
    code_challenge: str
    code_challenge_method: str
    auth_time: int = field(default_factory=lambda: int(time.time()))

    def is_expired(self) -> bool:
        return self.auth_time + _CODE_LIVES_S < time.time()

    def get_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_scope(self) -> str:
        return self.scope

    def get_nonce(self) -> str:
        return self.nonce

    def get_auth_time(self) -> int:
        return self.auth_time

    def get_acr(self) -> None:
        return None

    def get_amr(self) -> None:
        return None


@dataclass(slots=True)
class Token:
    """An access token that was given out."""

    national_id: str
    client_id: str
    issued_at: int
    expires_at: int
    jti: str
    revoked: bool = False

    def is_expired(self) -> bool:
        return self.expires_at < time.time()

    def is_revoked(self) -> bool:
        return self.revoked


class _Request(OAuth2Request):  # type: ignore[misc]  # Authlib has no types
    """An aiohttp request as Authlib wants it."""

    def __init__(self, request: web.Request, form: Mapping[str, str]) -> None:
        super().__init__(request.method, str(request.url), headers=request.headers)
        self._args, self._form = dict(request.query), dict(form)
        self.payload = BasicOAuth2Payload({**self._args, **self._form})

    @property
    def args(self) -> dict[str, str]:
        return self._args

    @property
    def form(self) -> dict[str, str]:
        return self._form


class _CodeGrant(AuthorizationCodeGrant):  # type: ignore[misc]
    TOKEN_ENDPOINT_AUTH_METHODS = ("client_secret_basic",)

    def save_authorization_code(self, code: str, request: Any) -> None:
        asked = request.payload.data
        self.server.provider.codes[code] = Code(
            code,
            request.client.client_id,
            request.user,
            request.payload.redirect_uri or "",
            request.payload.scope or "openid",
            asked.get("nonce", ""),
            asked.get("code_challenge", ""),
            asked.get("code_challenge_method", ""),
        )

    def query_authorization_code(self, code: str, client: Client) -> Code | None:
        found = self.server.provider.codes.get(code)
        is_good = found is not None and found.client_id == client.client_id
        return found if is_good and not found.is_expired() else None

    def delete_authorization_code(self, authorization_code: Code) -> None:
        self.server.provider.codes.pop(authorization_code.code, None)

    def authenticate_user(self, authorization_code: Code) -> str:
        return authorization_code.national_id


class _IdToken(OpenIDCode):  # type: ignore[misc]
    def __init__(self, provider: Provider) -> None:
        super().__init__(require_nonce=False)
        self._provider = provider

    def exists_nonce(self, nonce: str, request: Any) -> bool:
        return False

    def resolve_client_private_key(self, client: Client) -> RSAKey:
        return self._provider.key

    def get_client_algorithm(self, client: Client) -> str:
        return "RS256"

    def get_encode_header(self, client: Client) -> dict[str, str]:
        return {"alg": "RS256", "kid": str(self._provider.key.kid)}

    def get_client_claims(self, client: Client) -> dict[str, object]:
        end = int(time.time()) + TOKEN_LIVES_S
        issuer, name = self._provider.issuer, client.client_id
        return {"iss": issuer, "aud": [name], "azp": name, "exp": end}

    def generate_user_info(self, user: str, scope: str) -> dict[str, object]:
        named: dict[str, object] = {
            "sub": f"f:test:{user}",
            "SubjectNameID": user,
            "acr": "eidas1",
        }
        return named | dict(self._provider.people.get(user, {}))


class _Introspection(IntrospectionEndpoint):  # type: ignore[misc]
    def check_permission(self, token: Token, client: Client, request: Any) -> bool:
        return client.may_introspect

    def query_token(self, token_string: str, token_type_hint: str | None) -> Token | None:
        found: Token | None = self.server.provider.tokens.get(token_string)
        return found

    def introspect_token(self, token: Token) -> dict[str, object]:
        provider = self.server.provider
        provider.asked += 1
        return {
            "active": True,
            "exp": token.expires_at,
            "iat": token.issued_at,
            "auth_time": token.issued_at,
            "jti": token.jti,
            "iss": provider.issuer,
            "sub": f"f:test:{token.national_id}",
            "typ": "Bearer",
            "azp": token.client_id,
            "SubjectNameID": token.national_id,
        }


class _Named(IssuerParameter):  # type: ignore[misc]
    """RFC 9207 2: the answer says whose it is."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    def add_issuer_parameter(self, server: _Server, response: web.Response) -> None:
        if place := response.headers.get("Location"):
            named = add_params_to_uri(place, {"iss": self._provider.issuer})
            response.headers["Location"] = named


class _Server(AuthorizationServer):  # type: ignore[misc]
    def __init__(self, provider: Provider) -> None:
        super().__init__(scopes_supported=["openid", "email", "profile", "scope_all"])
        self.provider = provider
        self.register_token_generator("default", self._new_token)
        self.register_grant(_CodeGrant, [_IdToken(provider), CodeChallenge(required=True)])
        self.register_endpoint(_Introspection)
        self.register_extension(_Named(provider))

    def query_client(self, client_id: str) -> Client | None:
        return self.provider.clients.get(client_id)

    def save_token(self, token: dict[str, Any], request: Any) -> None:
        self.provider.keep(token["access_token"], request.user, request.client.client_id)

    def _new_token(self, **asked: Any) -> dict[str, object]:
        return {
            "token_type": "Bearer",
            "access_token": secrets.token_urlsafe(48),
            "expires_in": TOKEN_LIVES_S,
            "scope": asked["scope"] or "openid",
        }

    def send_signal(self, name: str, *args: Any, **kwargs: Any) -> None:
        return

    def create_oauth2_request(self, request: _Request) -> _Request:
        return request

    def handle_response(self, status: int, body: Any, headers: Any) -> web.Response:
        text = json.dumps(body) if isinstance(body, dict) else body or ""
        return web.Response(status=status, text=text, headers=dict(headers))


class Provider:
    """One provider on one port, until it is left. `host` is in its certificate."""

    def __init__(
        self,
        port: int,
        context: ssl.SSLContext,
        clients: tuple[Client, ...],
        people: Mapping[str, Mapping[str, object]] = MappingProxyType({}),
        key: RSAKey | None = None,
    ) -> None:
        """`people`: what an id_token says of who logs in, beside their `sub`; `key`: signs it."""
        self.port, self._context = port, context
        self.people = people
        self.clients = {each.client_id: each for each in clients}
        self.codes: dict[str, Code] = {}
        self.tokens: dict[str, Token] = {}
        self.key = key or RSAKey.generate_key(2048, {"use": "sig"}, auto_kid=True)
        self.asked = 0
        self.silent = asyncio.Event()
        """Cleared: introspection is answered; set: it is not."""
        self._server = _Server(self)
        self._runner: web.AppRunner | None = None

    @property
    def base(self) -> str:
        """Where its pages are."""
        return f"https://127.0.0.1:{self.port}{REALM}"

    @property
    def issuer(self) -> str:
        """`iss` of its tokens."""
        return self.base

    @property
    def introspection_url(self) -> str:
        """RFC 7662."""
        return f"{self.base}/protocol/openid-connect/token/introspect"

    def keep(self, token: str, national_id: str, client_id: str) -> None:
        """Remember a token that was given out."""
        now = int(time.time())
        end, jti = now + TOKEN_LIVES_S, secrets.token_hex(8)
        self.tokens[token] = Token(national_id, client_id, now, end, jti)

    def token_for(self, national_id: str, client_id: str) -> str:
        """A token without the detour by the authorization page."""
        token = secrets.token_urlsafe(48)
        self.keep(token, national_id, client_id)
        return token

    def discovery(self) -> dict[str, object]:
        """OpenID Connect Discovery 1.0."""
        pages = f"{self.base}/protocol/openid-connect"
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{pages}/auth",
            "token_endpoint": f"{pages}/token",
            "introspection_endpoint": self.introspection_url,
            "jwks_uri": f"{pages}/certs",
            "response_types_supported": ["code"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "subject_types_supported": ["public"],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
        }

    async def __aenter__(self) -> Provider:
        pages = f"{REALM}/protocol/openid-connect"
        application = web.Application(client_max_size=_MOST_BODY)
        application.add_routes(
            [
                web.get(f"{REALM}/.well-known/openid-configuration", self._discovery),
                web.get(f"{pages}/certs", self._certs),
                web.get(f"{pages}/auth", self._authorize),
                web.post(f"{pages}/token", self._token),
                web.post(f"{pages}/token/introspect", self._introspect),
            ]
        )
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self._context)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _discovery(self, request: web.Request) -> web.Response:
        return web.json_response(self.discovery())

    async def _certs(self, request: web.Request) -> web.Response:
        return web.json_response({"keys": [self.key.as_dict(private=False)]})

    async def _authorize(self, request: web.Request) -> web.Response:
        """`login_hint` is the test identity; a real provider asks for its card."""
        if "login_hint" not in request.query and "text/html" in request.headers.get("Accept", ""):
            return _asked_who(request)
        asked = _Request(request, {})
        try:
            grant = self._server.get_consent_grant(asked, request.query.get("login_hint"))
        except OAuth2Error as error:
            return web.json_response({"error": error.error}, status=400)
        person = request.query.get("login_hint") or None
        answer: web.Response = self._server.create_authorization_response(asked, person, grant)
        return answer

    async def _token(self, request: web.Request) -> web.Response:
        answer: web.Response = self._server.create_token_response(await _posted(request))
        return answer

    async def _introspect(self, request: web.Request) -> web.Response:
        if self.silent.is_set():
            await asyncio.sleep(3_600)
        posted = await _posted(request)
        answer: web.Response = self._server.create_endpoint_response("introspection", posted)
        return answer


def _asked_who(request: web.Request) -> web.Response:
    """What stands for the card or the telephone where a browser comes."""
    kept = "".join(
        f'<input type="hidden" name="{html.escape(name)}" value="{html.escape(value)}">'
        for name, value in request.query.items()
    )
    page = (
        '<!doctype html><html lang="fr"><title>Pro Santé Connect (démonstration)</title><form>'
        f'{kept}<label>Identifiant national <input name="login_hint" value="{SOMEBODY}"></label>'
        " <button>Continuer</button></form></html>"
    )
    return web.Response(text=page, content_type="text/html", charset="utf-8")


async def _posted(request: web.Request) -> _Request:
    body = (await request.read()).decode("utf-8", "replace")
    return _Request(request, dict(parse_qsl(body)))
