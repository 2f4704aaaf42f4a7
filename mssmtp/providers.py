"""A hospital's own OIDC provider or Pro Santé Connect, over the network.

Its configuration, its keys, the code exchange: OpenID Connect Core 3.1, Discovery 4, RFC 6749
4.1.3, RFC 7636. Neither code nor token is kept or logged. What comes back by the browser is
`identity.detour`'s, what an id_token is worth `identity.id_token`'s; who that is here,
`provider_login`'s and `psc_login`'s.
"""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from joserfc.jwk import KeySet

from mssmtp.config import Settings
from mssmtp.config_tokens import ProviderSettings, PscSettings, Registration, over_https, secret_of
from mssmtp.identity import id_token
from mssmtp.identity.detour import DetourRefused, ProviderAway, Ticket, code_of
from mssmtp.identity.id_token import Expected, OidcSubject, UnknownKey
from mssmtp.identity.tokens import TokenRefused
from mssmtp.mail import Address
from mssmtp.outside import Clock
from mssmtp.tls_stdlib import client_context

if TYPE_CHECKING:
    import httpx

logger = logging.getLogger(__name__)

WITHIN_S = 9.0
"""For all that one step asks of the provider: a browser's user gives up after ten seconds."""
KEPT_S = 3_600.0
"""Configuration and keys; keys are fetched again before that when a token names another one."""
AWAY_FOR_S = 5.0
"""After an outage nobody waits for the next one."""
AT_ONCE = 8
WAITING = 200
MAX_ANSWER_OCTETS = 262_144
_OK, _BAD_REQUEST = 200, 400
_OURS = ("invalid_client", "unauthorized_client", "unsupported_grant_type")
"""RFC 6749 5.2: our registration is wrong, which says nothing of the code."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """What the provider says of itself.

    `says_issuer`: in each answer (RFC 9207 3). `by_form`: our secret goes in the form alone
    (RFC 6749 2.3.1).
    """

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    says_issuer: bool
    by_form: bool


class OidcProvider:
    """One provider, as its settings describe it. One event loop."""

    def __init__(self, ours: Registration, context: ssl.SSLContext, clock: Clock) -> None:
        """`context` verifies chain and name. Raises ConfigError when the secret of our
        registration cannot be read."""
        self.registration = ours
        self._context, self._clock = context, clock
        self._secret = secret_of(ours.client_secret_file)
        self._configuration: tuple[Configuration, float] | None = None
        self._keys: tuple[KeySet, float] | None = None
        self._away_until = 0.0
        self._client: httpx.AsyncClient | None = None
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0

    async def way(self, ticket: Ticket) -> str:
        """Where to send the browser. Raises ProviderAway."""
        from authlib.oauth2.client import OAuth2Client

        async with self._in_time():
            configuration = await self._configured()
        ours = self.registration
        client = OAuth2Client(
            None,
            ours.client_id,
            redirect_uri=ours.redirect_uri,
            scope=ours.scope,
            code_challenge_method="S256",
        )
        url, _ = client.create_authorization_url(
            configuration.authorization_endpoint,
            state=ticket.state,
            code_verifier=ticket.verifier,
            nonce=ticket.nonce,
            **({"acr_values": ours.levels[0]} if ours.levels else {}),
        )
        return str(url)

    async def subject(self, query: str, ticket: Ticket) -> OidcSubject:
        """Who has logged in there, by what the browser brought back. Raises DetourRefused,
        ProviderAway."""
        ours = self.registration
        expected = Expected(ours.issuer, ours.client_id, ticket.nonce, ours.claim, ours.levels)
        try:
            async with self._in_time():
                says_issuer = (await self._configured()).says_issuer
                code = code_of(query, ticket, ours.issuer, says_issuer=says_issuer)
                token = await self._exchanged(code, ticket.verifier)
                return await self._read(token, expected)
        except TokenRefused as error:
            raise DetourRefused(error.why) from None

    async def close(self) -> None:
        """No more questions."""
        if self._client is not None:
            await self._client.aclose()

    @asynccontextmanager
    async def _in_time(self) -> AsyncIterator[None]:
        """All that one step asks, as long as a browser waits; then nobody waits for a while."""
        if self._clock.monotonic() < self._away_until:
            raise ProviderAway("away a moment ago")
        if self._waiting >= WAITING:
            raise ProviderAway("too many wait")
        self._waiting += 1
        try:
            async with asyncio.timeout(WITHIN_S), self._turns:
                yield
        except TimeoutError:
            raise self._silent("no answer in time") from None
        finally:
            self._waiting -= 1

    def _silent(self, why: str) -> ProviderAway:
        self._away_until = self._clock.monotonic() + AWAY_FOR_S
        return self._away(why)

    def _away(self, why: str) -> ProviderAway:
        logger.warning("provider away", extra={"provider": self.registration.name, "why": why})
        return ProviderAway(why)

    async def _configured(self) -> Configuration:
        known = self._configuration
        if known is not None and self._clock.monotonic() < known[1]:
            return known[0]
        url = self.registration.issuer.rstrip("/") + "/.well-known/openid-configuration"
        status, said = await self._asked("GET", url)
        if status != _OK or said.get("issuer") != self.registration.issuer:
            raise self._away("configuration of another issuer, or none")
        try:
            found = _configuration(said)
        except ValueError:
            raise self._away("unusable configuration") from None
        self._configuration = found, self._clock.monotonic() + KEPT_S
        return found

    async def _exchanged(self, code: str, verifier: str) -> str:
        """The id_token for the code: RFC 6749 4.1.3, OpenID Connect Core 3.1.3."""
        from authlib.oauth2.rfc6749.parameters import prepare_token_request

        configuration, ours = await self._configured(), self.registration
        given = {"code": code, "code_verifier": verifier}
        auth: tuple[str, str] | None = None
        if configuration.by_form:
            given |= {"client_id": ours.client_id, "client_secret": self._secret}
        else:  # RFC 6749 2.3.1: both are form-encoded before they are put together
            auth = quote(ours.client_id, ""), quote(self._secret, "")
        body = str(
            prepare_token_request("authorization_code", redirect_uri=ours.redirect_uri, **given)
        )
        status, said = await self._asked("POST", configuration.token_endpoint, body, auth)
        if status == _BAD_REQUEST and said.get("error") not in _OURS:
            raise DetourRefused("the code is not good")
        if status != _OK:
            raise self._away(f"token endpoint: status {status}")
        token = said.get("id_token")
        if not isinstance(token, str):
            raise self._away("no id_token")
        return token

    async def _read(self, token: str, expected: Expected) -> OidcSubject:
        known = self._keys
        if known is not None and self._clock.monotonic() < known[1]:
            with suppress(UnknownKey):  # keys may have changed since: they are asked for below
                return id_token.read(token, known[0], expected, self._clock.now())
        return id_token.read(token, await self._fetched_keys(), expected, self._clock.now())

    async def _fetched_keys(self) -> KeySet:
        status, said = await self._asked("GET", (await self._configured()).jwks_uri)
        if status != _OK:
            raise self._away(f"keys: status {status}")
        keys = id_token.keys_of(json.dumps(said).encode())
        self._keys = keys, self._clock.monotonic() + KEPT_S
        return keys

    async def _asked(
        self, method: str, url: str, body: str = "", auth: tuple[str, str] | None = None
    ) -> tuple[int, Mapping[str, object]]:
        """Status and object of an answer; an error without one is told by its status alone."""
        import httpx

        headers = {"Content-Type": "application/x-www-form-urlencoded"} if body else {}
        octets = bytearray()
        try:
            async with self._opened().stream(
                method, url, content=body.encode(), headers=headers, auth=auth
            ) as answer:
                async for block in answer.aiter_raw():
                    octets += block
                    if len(octets) > MAX_ANSWER_OCTETS:
                        raise self._away("answer too long")
                status = answer.status_code
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            # The text of the error may quote what was sent.
            raise self._silent(type(error).__name__) from None
        try:
            said: object = json.loads(octets)
        except (ValueError, RecursionError):
            said = None
        if isinstance(said, dict):
            return status, said
        if status == _OK:
            raise self._away("answer is not an object")
        return status, {}

    def _opened(self) -> httpx.AsyncClient:
        import httpx  # 5 MB that only a worker with such a provider has to carry

        if self._client is None:
            self._client = httpx.AsyncClient(
                verify=self._context,
                trust_env=False,
                follow_redirects=False,
                timeout=WITHIN_S,
                headers={"Accept": "application/json", "Accept-Encoding": "identity"},
            )
        return self._client


def _configuration(said: Mapping[str, object]) -> Configuration:
    """Raises ValueError for one that cannot be used."""
    found = {}
    for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
        url = said.get(name)
        if not isinstance(url, str):
            raise ValueError(name)
        found[name] = over_https(url)
    methods = said.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
    takes = methods if isinstance(methods, list) else []
    return Configuration(
        **found,
        says_issuer=said.get("authorization_response_iss_parameter_supported") is True,
        by_form="client_secret_basic" not in takes and "client_secret_post" in takes,
    )


class HospitalProvider(OidcProvider):
    """A hospital's: whose people log in there."""

    def __init__(self, settings: ProviderSettings, context: ssl.SSLContext, clock: Clock) -> None:
        """Raises ConfigError, as above."""
        super().__init__(settings.registration, context, clock)
        self.settings = settings


def provider_of_psc(settings: Settings, psc: PscSettings, clock: Clock) -> OidcProvider | None:
    """Pro Santé Connect, where browsers are sent to it. Raises ConfigError."""
    ours = psc.registration
    if ours is None:
        return None
    return OidcProvider(ours, client_context(settings.tls, None, psc.anchors_file), clock)


class Providers:
    """All of them, by name and by the domain of a person's usual address."""

    def __init__(self, providers: Collection[HospitalProvider]) -> None:
        self._by_name = {each.settings.name: each for each in providers}

    @classmethod
    def of(cls, settings: Settings, clock: Clock) -> Providers:
        """As the settings describe them. Raises ConfigError."""
        return cls(
            [
                HospitalProvider(each, client_context(settings.tls, None, each.anchors_file), clock)
                for each in settings.providers
            ]
        )

    def named(self, name: str) -> HospitalProvider:
        """Raises DetourRefused."""
        found = self._by_name.get(name)
        if found is None:
            raise DetourRefused("no such provider")
        return found

    def of_person(self, address: Address) -> str | None:
        """The name of the provider where this person logs in; None: nowhere else."""
        settings = (each.settings for each in self._by_name.values())
        return next((each.name for each in settings if address.domain in each.usual_domains), None)

    async def close(self) -> None:
        """No more questions."""
        for each in self._by_name.values():
            await each.close()
