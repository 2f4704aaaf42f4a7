"""One bounded GET at a time, with our own anchors, no redirect, no proxy, no compression."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from typing import Protocol

DEADLINE_S = 60.0
"""For the whole answer: a server that drips does not hold the next fetch back for ever."""

_STEP_TIMEOUT_S = 20.0


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


class HttpFetch:
    """`Fetch` by httpx. `context` verifies https servers; the system's anchors are never read."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context

    async def __call__(self, url: str, validators: Validators, max_octets: int) -> Fetched | None:
        import httpx  # 5 MB that only the one worker that fetches has to carry

        try:
            async with asyncio.timeout(DEADLINE_S):
                return await self._get(url, validators, max_octets)
        except TimeoutError as error:
            raise FetchFailed("no whole answer in time") from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise FetchFailed(type(error).__name__) from error

    async def _get(self, url: str, validators: Validators, max_octets: int) -> Fetched | None:
        import httpx

        client = httpx.AsyncClient(
            verify=self._context,
            trust_env=False,
            follow_redirects=False,
            timeout=_STEP_TIMEOUT_S,
        )
        async with client, client.stream("GET", url, headers=_headers(validators)) as response:
            if response.status_code == httpx.codes.NOT_MODIFIED:
                return None
            if response.status_code != httpx.codes.OK:
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
            return Fetched(
                bytes(octets),
                Validators(response.headers.get("etag"), response.headers.get("last-modified")),
            )


def _headers(validators: Validators) -> dict[str, str]:
    headers = {"Accept-Encoding": "identity", "User-Agent": "mssmtp"}
    if validators.etag is not None:
        headers["If-None-Match"] = validators.etag
    if validators.last_modified is not None:
        headers["If-Modified-Since"] = validators.last_modified
    return headers
