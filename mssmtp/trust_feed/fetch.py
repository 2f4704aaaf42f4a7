"""One bounded GET at a time, with our own anchors, no redirect, no compression."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mssmtp.config import Settings
from mssmtp.errors import ConfigError
from mssmtp.responder import AskFailed
from mssmtp.secret_files import secret_in
from mssmtp.tls_stdlib import client_context

if TYPE_CHECKING:
    import httpx

DEADLINE_S = 60.0
"""For the whole answer: a server that drips does not hold the next fetch back for ever."""

_STEP_TIMEOUT_S = 20.0
_TOLD_CHARACTERS = 200
_OK, _NOT_MODIFIED = 200, 304
_SAID = ("etag", "last-modified")
_VALIDATOR_CHARACTERS = 512


@dataclass(frozen=True, slots=True)
class Validators:
    """What the server said about the copy we have (RFC 9110 8.8)."""

    etag: str | None = None
    last_modified: str | None = None


@dataclass(frozen=True, slots=True)
class Fetched:
    """A whole answer of 200."""

    octets: bytes
    validators: Validators


class FetchFailed(Exception):
    """Nothing new was obtained; what is in force stays (OP-27). The text is for the log."""


class Fetch(Protocol):
    """How the feed reaches the network."""

    async def __call__(self, url: str, validators: Validators, max_octets: int) -> Fetched | None:
        """The answer, or None when our copy is current (304). Raises FetchFailed."""
        ...


@dataclass(frozen=True)
class Proxy:
    """What stands between us and the servers; `context` verifies an https proxy."""

    url: str
    context: ssl.SSLContext
    password_file: Path | None = None

    def password(self) -> str:
        """Read for each fetch. Raises FetchFailed."""
        if self.password_file is None:
            return ""
        where = "password of the proxy"
        try:
            return secret_in(self.password_file, where)
        except ConfigError as error:
            raise FetchFailed(f"{where}: {error.why}. {error.remedy}") from error


def http_fetch(settings: Settings) -> HttpFetch:
    """The network as the settings describe it. Raises ConfigError."""
    listed = settings.whitelist
    anchors_file = listed.https_anchors_file or settings.pki.anchors_file
    context = client_context(settings.tls, None, anchors_file)
    if listed.proxy is None:
        return HttpFetch(context)
    own_anchors = listed.proxy_anchors_file
    behind = client_context(settings.tls, None, own_anchors) if own_anchors else context
    return HttpFetch(context, Proxy(listed.proxy, behind, listed.proxy_password_file))


class HttpFetch:
    """`Fetch` by httpx. `context` verifies https servers; the system's anchors are never read."""

    def __init__(self, context: ssl.SSLContext, proxy: Proxy | None = None) -> None:
        self._context, self._proxy = context, proxy

    async def __call__(self, url: str, validators: Validators, max_octets: int) -> Fetched | None:
        import httpx  # 5 MB that only the one worker that fetches has to carry

        try:
            async with asyncio.timeout(DEADLINE_S):
                return await self._get(url, validators, max_octets)
        except TimeoutError as error:
            raise FetchFailed("no whole answer in time") from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise FetchFailed(f"{type(error).__name__}: {error}"[:_TOLD_CHARACTERS]) from error

    async def post(self, url: str, question: bytes, max_octets: int) -> bytes:
        """`responder.Post`: an OCSP question and its answer (RFC 6960 A.1). Raises AskFailed."""
        import httpx

        headers = _headers(Validators()) | {"Content-Type": "application/ocsp-request"}
        try:
            async with (
                self._client() as client,
                client.stream("POST", url, headers=headers, content=question) as response,
            ):
                return await _whole(response, max_octets)
        except FetchFailed as error:
            raise AskFailed(str(error)) from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise AskFailed(f"{type(error).__name__}: {error}"[:_TOLD_CHARACTERS]) from error

    async def _get(self, url: str, validators: Validators, max_octets: int) -> Fetched | None:
        headers = _headers(validators)
        async with self._client() as client, client.stream("GET", url, headers=headers) as response:
            if response.status_code == _NOT_MODIFIED and validators != Validators():
                return None
            octets = await _whole(response, max_octets)
            said = response.headers
            return Fetched(octets, Validators(*(_sendable(said.get(each)) for each in _SAID)))

    def _client(self) -> httpx.AsyncClient:
        import httpx

        return httpx.AsyncClient(
            verify=self._context,
            proxy=_behind(self._proxy),
            trust_env=False,
            follow_redirects=False,
            timeout=_STEP_TIMEOUT_S,
        )


async def _whole(response: httpx.Response, max_octets: int) -> bytes:
    """The body of a 200, as long as it may be and as it was sent. Raises FetchFailed."""
    if response.status_code != _OK:
        raise FetchFailed(f"status {response.status_code}")
    if response.headers.get("content-encoding", "identity") != "identity":
        # The size limit counts what arrives; a compressed answer would escape it.
        raise FetchFailed("compressed answer")
    announced = response.headers.get("content-length", "0")
    if not announced.isdigit() or int(announced) > max_octets:
        raise FetchFailed("too big, as announced")
    octets = bytearray()
    async for block in response.aiter_raw():
        octets += block
        if len(octets) > max_octets:
            raise FetchFailed("too big")
    return bytes(octets)


def _sendable(said: str | None) -> str | None:
    """A validator that can be sent back; whoever sits on the way chose it, and it is kept."""
    if said is None or len(said) > _VALIDATOR_CHARACTERS:
        return None
    return said if said.isascii() and said.isprintable() else None


def _behind(proxy: Proxy | None) -> httpx.Proxy | None:
    import httpx

    if proxy is None:
        return None
    url = httpx.URL(proxy.url)
    secure = proxy.context if url.scheme == "https" else None
    auth = (url.username, proxy.password()) if url.username else None
    return httpx.Proxy(url.copy_with(userinfo=b""), ssl_context=secure, auth=auth)


def _headers(validators: Validators) -> dict[str, str]:
    headers = {"Accept-Encoding": "identity", "User-Agent": "mssmtp"}
    if validators.etag is not None:
        headers["If-None-Match"] = validators.etag
    if validators.last_modified is not None:
        headers["If-Modified-Since"] = validators.last_modified
    return headers
