"""Pro Santé Connect is asked about tokens: once for each, and never for longer than a client waits.

RFC 7662. A token goes to the issuer and nowhere else; here it is known by its digest (CL-21,
CL-23, CL-24). What the answer means is `identity.tokens`'.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import OrderedDict
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote

from mssmtp import metrics
from mssmtp.config import Settings
from mssmtp.config_tokens import PscSettings, secret_of
from mssmtp.identity.tokens import (
    MAX_ANSWER_OCTETS,
    CannotBeAsked,
    Known,
    Rules,
    Subject,
    TokenRefused,
    judged,
)
from mssmtp.outside import Clock
from mssmtp.tls_stdlib import client_context

if TYPE_CHECKING:
    import httpx

logger = logging.getLogger(__name__)

AT_ONCE = 32
"""Questions at the same time; who comes then waits, within the same limit."""
WAITING = 1_000
"""More than so many different tokens wait for nothing but an outage."""
REFUSED_FOR_S = 10.0
"""A token that was refused is not asked about again for so long: clients in a loop."""
MOST_REFUSED = 20_000
_OK = 200


class Ask(Protocol):
    """How the issuer is reached."""

    async def __call__(self, token: str) -> bytes:
        """The octets of its answer. Raises CannotBeAsked."""
        ...

    async def close(self) -> None:
        """No more questions come."""
        ...


class Introspection:
    """What tokens are worth, remembered for a minute. One event loop."""

    def __init__(self, ask: Ask, rules: Rules, clock: Clock, timeout_s: float = 8.0) -> None:
        self._ask, self._rules, self._clock = ask, rules, clock
        self._timeout_s = timeout_s
        self._known = Known()
        self._refused: OrderedDict[bytes, float] = OrderedDict()
        self._asking: dict[bytes, asyncio.Task[Subject]] = {}
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def subject(self, token: str) -> Subject:
        """Whom `token` speaks of. Raises TokenRefused, CannotBeAsked.

        Logins that come with one token at the same time ask once (CL-24).
        """
        digest = Known.digest(token)
        known = self._known.get(digest, self._clock.now())
        if known is not None:
            metrics.introspections.labels("known").inc()
            return known
        if self._refused.get(digest, 0.0) > self._clock.monotonic():
            raise TokenRefused("refused a moment ago")
        task = self._asking.get(digest)
        if task is None:
            if len(self._asking) >= WAITING:
                raise CannotBeAsked("too many wait")
            task = asyncio.create_task(self._asked(digest, token), name="introspection")
            self._asking[digest] = task
            task.add_done_callback(lambda done: self._answered(digest, done))
        # One who gives up waiting does not take the answer away from the others.
        return await asyncio.shield(task)

    async def close(self) -> None:
        """No more questions."""
        for task in tuple(self._asking.values()):
            task.cancel()
        await asyncio.gather(*self._asking.values(), return_exceptions=True)
        await self._ask.close()

    def _answered(self, digest: bytes, task: asyncio.Task[Subject]) -> None:
        self._asking.pop(digest, None)
        if not task.cancelled():
            task.exception()  # those who waited have it, if they are still there

    async def _asked(self, digest: bytes, token: str) -> Subject:
        try:
            async with asyncio.timeout(self._timeout_s), self._turns:
                answer = await self._ask(token)
            subject = judged(answer, self._rules, self._clock.now())
        except TimeoutError as error:
            metrics.introspections.labels("none").inc()
            raise CannotBeAsked("no answer in time") from error
        except CannotBeAsked:
            metrics.introspections.labels("none").inc()
            raise
        except TokenRefused:
            metrics.introspections.labels("refused").inc()
            self._remember_refused(digest)
            raise
        metrics.introspections.labels("accepted").inc()
        self._known.keep(digest, subject, self._clock.now())
        return subject

    def _remember_refused(self, digest: bytes) -> None:
        self._refused[digest] = self._clock.monotonic() + REFUSED_FOR_S
        self._refused.move_to_end(digest)
        while len(self._refused) > MOST_REFUSED:
            self._refused.popitem(last=False)


class HttpAsk:
    """`Ask` by httpx: POST of a form, Basic authentication, our own anchors, no redirect."""

    def __init__(self, settings: PscSettings, context: ssl.SSLContext) -> None:
        """Raises ConfigError when the secret cannot be read."""
        self._settings, self._context = settings, context
        # RFC 6749 2.3.1: both are form-encoded before they are put together.
        secret = secret_of(settings.client_secret_file)
        self._auth = quote(settings.client_id, ""), quote(secret, "")
        self._client: httpx.AsyncClient | None = None

    async def __call__(self, token: str) -> bytes:
        import httpx  # 5 MB that only a worker which sees a token has to carry

        form = {"token": token, "token_type_hint": "access_token"}
        try:
            async with self._opened().stream(
                "POST", self._settings.introspection_url, data=form
            ) as answer:
                return await _whole(answer)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            # The text of the error may quote what was sent.
            told = {"kind": type(error).__name__}
            logger.warning("Pro Sante Connect cannot be asked", extra=told)
            raise CannotBeAsked(type(error).__name__) from None

    def _opened(self) -> httpx.AsyncClient:
        import httpx

        if self._client is None:
            self._client = httpx.AsyncClient(
                verify=self._context,
                auth=self._auth,
                trust_env=False,
                follow_redirects=False,
                timeout=self._settings.timeout_s,
                headers={"Accept": "application/json", "Accept-Encoding": "identity"},
            )
        return self._client

    async def close(self) -> None:
        """Let go of the connections."""
        if self._client is not None:
            await self._client.aclose()


async def _whole(answer: httpx.Response) -> bytes:
    """The body of a 200, as long as it may be. Raises CannotBeAsked."""
    if answer.status_code != _OK:
        # 401: our own registration is wrong, which says nothing about the token.
        told = {"kind": f"status {answer.status_code}"}
        logger.warning("Pro Sante Connect cannot be asked", extra=told)
        raise CannotBeAsked(told["kind"])
    octets = bytearray()
    async for block in answer.aiter_raw():
        octets += block
        if len(octets) > MAX_ANSWER_OCTETS:
            raise CannotBeAsked("answer too long")
    return bytes(octets)


def asking(settings: Settings, psc: PscSettings) -> HttpAsk:
    """The network as the settings describe it. Raises ConfigError."""
    return HttpAsk(psc, client_context(settings.tls, None, psc.anchors_file))


def introspection_of(psc: PscSettings, ask: Ask, clock: Clock) -> Introspection:
    """What the settings say of tokens."""
    rules = Rules(psc.issuer, frozenset(psc.allowed_azp))
    return Introspection(ask, rules, clock, psc.timeout_s)
