"""List and CRLs through a proxy (OP-22): end to end TLS stays ours, and nothing waits for it."""

from __future__ import annotations

import asyncio
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from mssmtp.config import WhitelistSettings
from mssmtp.demo.authority import Authority, Identity, Make, Subject
from mssmtp.trust_feed.fetch import FetchFailed, HttpFetch, Validators, http_fetch
from tests.authority import A_DOMAIN, A_SUBJECT, shared_keys
from tests.trust.feeding import settings_for
from tests.trust.test_fetch import LIMIT, Server, listening, ok

CRL_URL = "http://crl.test/organisations.crl"
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Proxy:
    """Tunnels CONNECT, answers a plain GET by itself, and may ask for a password."""

    asked_for: str | None = None
    requests: list[bytes] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.requests.append(head)
            if self.asked_for is not None and self._lacks_password(head):
                writer.write(b"HTTP/1.1 407 Who?\r\nContent-Length: 0\r\n\r\n")
            elif head.startswith(b"CONNECT "):
                await self._tunnel(head, (reader, writer))
            else:
                writer.write(ok(b"CRL"))
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass  # whoever gives up first
        finally:
            writer.close()

    def _lacks_password(self, head: bytes) -> bool:
        expected = b64encode(str(self.asked_for).encode())
        return b"proxy-authorization: basic " + expected.lower() not in head.lower()

    async def _tunnel(self, head: bytes, client: Streams) -> None:
        host, _, port = head.split()[1].decode().rpartition(":")
        server = await asyncio.open_connection(host, int(port))
        client[1].write(b"HTTP/1.1 200 Yes\r\n\r\n")
        try:
            await asyncio.gather(_pour(client[0], server[1]), _pour(server[0], client[1]))
        finally:
            server[1].close()


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while octets := await reader.read(65_536):
        writer.write(octets)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
    else:
        writer.close()


@asynccontextmanager
async def running(proxy: Proxy, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


def behind(authority: Authority, directory: Path, **whitelist: object) -> HttpFetch:
    return http_fetch(settings_for(directory, authority, **whitelist))


@pytest.fixture
def own_server(healthy: dict[str, Identity]) -> Identity:
    return healthy[A_DOMAIN]


@pytest.mark.requirement("OP-22", "OP-29")
async def test_list_comes_through_a_tunnel_whose_far_end_has_our_anchors(
    authority: Authority, own_server: Identity, tmp_path: Path
) -> None:
    proxy, server = Proxy(), Server(ok(b"<x/>"))
    async with running(proxy) as port, listening(server, own_server, tmp_path) as url:
        fetch = behind(authority, tmp_path, proxy=f"http://127.0.0.1:{port}")
        fetched = await fetch(url, Validators(etag='"1"'), LIMIT)
    assert fetched is not None
    assert fetched.octets == b"<x/>"
    target = urlsplit(url).netloc.encode()
    assert proxy.requests[0].startswith(b"CONNECT " + target)
    assert b'if-none-match: "1"' in server.requests[0].lower()


@pytest.mark.attack
async def test_proxy_that_answers_in_place_of_the_list_server_is_not_believed(
    authority: Authority, tmp_path: Path
) -> None:
    stranger = Authority(authority.now, make_key=shared_keys(20))
    proxy, server = Proxy(), Server(ok(b"<x/>"))
    identity = stranger.issue(A_SUBJECT, Make(hosts=("127.0.0.1",)))
    async with running(proxy) as port, listening(server, identity, tmp_path) as url:
        fetch = behind(authority, tmp_path, proxy=f"http://127.0.0.1:{port}")
        with pytest.raises(FetchFailed):
            await fetch(url, Validators(), LIMIT)
    assert proxy.requests
    assert server.requests == []


@pytest.mark.requirement("OP-09")
async def test_crl_is_asked_of_the_proxy_by_its_whole_address(
    authority: Authority, tmp_path: Path
) -> None:
    proxy = Proxy()
    async with running(proxy) as port:
        fetch = behind(authority, tmp_path, proxy=f"http://127.0.0.1:{port}")
        fetched = await fetch(CRL_URL, Validators(), LIMIT)
    assert fetched is not None
    assert fetched.octets == b"CRL"
    assert proxy.requests[0].startswith(b"GET " + CRL_URL.encode() + b" HTTP/1.1\r\n")


async def test_password_of_the_proxy_is_read_for_each_fetch(
    authority: Authority, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("vieux\n")
    secret.chmod(0o600)
    proxy = Proxy(asked_for="mss:neuf")
    async with running(proxy) as port:
        fetch = behind(
            authority,
            tmp_path,
            proxy=f"http://mss@127.0.0.1:{port}",
            proxy_password_file=secret,
        )
        with pytest.raises(FetchFailed, match="407"):
            await fetch(CRL_URL, Validators(), LIMIT)
        secret.write_text("neuf\n")
        assert await fetch(CRL_URL, Validators(), LIMIT) is not None
        asked = len(proxy.requests)
        secret.chmod(0o640)
        with pytest.raises(FetchFailed, match="0600"):
            await fetch(CRL_URL, Validators(), LIMIT)
        secret.unlink()
        with pytest.raises(FetchFailed, match="cannot be read"):
            await fetch(CRL_URL, Validators(), LIMIT)
    assert len(proxy.requests) == asked


async def test_https_proxy_is_verified_with_its_own_anchors(
    authority: Authority, own_server: Identity, tmp_path: Path
) -> None:
    house = Authority(authority.now, make_key=shared_keys(20))
    files = house.issue(Subject("127.0.0.1")).write(tmp_path / "proxy", "proxy")
    anchors = tmp_path / "house.pem"
    anchors.write_bytes(house.anchors_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate_file, files.key_file)
    proxy, server = Proxy(), Server(ok(b"<x/>"))
    async with running(proxy, context) as port, listening(server, own_server, tmp_path) as url:
        named = f"https://127.0.0.1:{port}"
        with_its_own = behind(authority, tmp_path, proxy=named, proxy_anchors_file=anchors)
        assert await with_its_own(CRL_URL, Validators(), LIMIT) is not None
        assert await with_its_own(url, Validators(), LIMIT) is not None
        asked = len(proxy.requests)
        with pytest.raises(FetchFailed):
            await behind(authority, tmp_path, proxy=named)(CRL_URL, Validators(), LIMIT)
    assert len(proxy.requests) == asked


async def test_proxy_that_is_gone_fails_the_fetch_and_nothing_else(
    authority: Authority, tmp_path: Path
) -> None:
    async with running(Proxy()) as port:
        pass
    fetch = behind(authority, tmp_path, proxy=f"http://127.0.0.1:{port}")
    with pytest.raises(FetchFailed):
        await fetch(CRL_URL, Validators(), LIMIT)


async def test_proxy_of_the_environment_is_not_ours(
    authority: Authority,
    own_server: Identity,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    proxy, server = Proxy(), Server(ok(b"<x/>"))
    async with running(proxy) as port, listening(server, own_server, tmp_path) as url:
        for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
        assert await behind(authority, tmp_path)(url, Validators(), LIMIT) is not None
    assert proxy.requests == []


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("socks5://proxy.test:1080", "http://host:port"),
        ("proxy.test:3128", "http://host:port"),
        ("http://proxy.test/path", "http://host:port"),
        ("http://mss:secret@proxy.test:3128", "a password has no place"),
    ],
)
def test_proxy_is_named_without_its_password(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        WhitelistSettings(proxy=url)
    for good in ("http://proxy.test:3128", "https://mss@proxy.test:3128/"):
        assert WhitelistSettings(proxy=good).proxy == good


@pytest.mark.requirement("OP-22")
@pytest.mark.parametrize(
    "url", ["http://liste.test/liste.xml", "file:///liste.xml", "https://", ""]
)
def test_list_is_fetched_over_https_only(url: str) -> None:
    with pytest.raises(ValueError, match="over https only"):
        WhitelistSettings(url=url)
