"""Fetching is bounded and trusts our own anchors only; verification runs in a child process."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import os
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from mssmtp import tls, whitelist_child
from mssmtp.config import WhitelistSettings
from mssmtp.demo.authority import Authority, Identity, Make, Subject
from mssmtp.mail import domain
from mssmtp.pki import Anchors
from mssmtp.revocation import Revocation
from mssmtp.trust_feed import fetch
from mssmtp.trust_feed.fetch import Fetched, FetchFailed, HttpFetch, Validators
from mssmtp.whitelist import ListRefused, ListRules
from mssmtp.whitelist_child import verify_in_child
from mssmtp.whitelist_signature import verify
from tests.authority import A_DOMAIN, A_SUBJECT, rows_for, shared_keys
from tests.trust.feeding import settings_for

LIMIT = 1_000


class Server:
    """Answers every request with the same octets and remembers what was asked."""

    def __init__(self, answer: bytes, *, hold: bool = False) -> None:
        self.answer, self.hold = answer, hold
        self.requests: list[bytes] = []
        self.released = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.requests.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(self.answer)
            await writer.drain()
            if self.hold:
                await self.released.wait()
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass  # the client gave up, which is what some tests want
        finally:
            writer.close()


@asynccontextmanager
async def listening(server: Server, identity: Identity, tmp_path: Path) -> AsyncIterator[str]:
    files = identity.write(tmp_path / "web", "web")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate_file, files.key_file)
    running = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=context)
    try:
        yield f"https://127.0.0.1:{running.sockets[0].getsockname()[1]}/liste.xml"
    finally:
        server.released.set()
        running.close()
        await running.wait_closed()


def ok(body: bytes, *headers: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@pytest.fixture
def http(authority: Authority, tmp_path: Path) -> HttpFetch:
    settings = settings_for(tmp_path, authority)
    return HttpFetch(tls.client_context(settings.tls, None, settings.pki.anchors_file))


@pytest.mark.requirement("OP-22", "OP-29")
async def test_answer_comes_back_with_its_validators_and_they_are_sent_next(
    authority: Authority, healthy: dict[str, Identity], http: HttpFetch, tmp_path: Path
) -> None:
    server = Server(ok(b"<x/>", 'ETag: "1"', "Last-Modified: Mon, 02 Mar 2026 09:00:00 GMT"))
    async with listening(server, healthy[A_DOMAIN], tmp_path) as url:
        fetched = await http(url, Validators(), LIMIT)
        assert fetched == Fetched(b"<x/>", Validators('"1"', "Mon, 02 Mar 2026 09:00:00 GMT"))
        server.answer = b"HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n"
        assert fetched is not None
        assert await http(url, fetched.validators, LIMIT) is None
    asked = server.requests[1].lower()
    assert b'if-none-match: "1"' in asked
    assert b"if-modified-since: mon, 02 mar 2026 09:00:00 gmt" in asked


def _chunked(body: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    return head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


BAD_ANSWERS = {
    "announced too big": ok(b"x" * (LIMIT + 1)),
    "too big without announcing": _chunked(b"x" * (LIMIT + 1)),
    "compressed": ok(gzip.compress(b"x" * 100_000), "Content-Encoding: gzip"),
    "redirect": b"HTTP/1.1 302 Found\r\nLocation: http://ailleurs.test/\r\n"
    b"Content-Length: 0\r\nConnection: close\r\n\r\n",
    "server error": b"HTTP/1.1 503 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    "cut short": ok(b"x" * 100)[:-50],
    "not HTTP": b"220 mx.hopital-a.test ESMTP\r\n",
    "nothing": b"",
    "length in words": b"HTTP/1.1 200 OK\r\nContent-Length: beaucoup\r\n\r\nx",
}


@pytest.mark.attack
@pytest.mark.parametrize("name", BAD_ANSWERS)
async def test_bad_answer_fails_the_fetch_and_nothing_else(
    healthy: dict[str, Identity], http: HttpFetch, tmp_path: Path, name: str
) -> None:
    server = Server(BAD_ANSWERS[name])
    async with listening(server, healthy[A_DOMAIN], tmp_path) as url:
        with pytest.raises(FetchFailed):
            await http(url, Validators(), LIMIT)
        server.answer = ok(b"x" * LIMIT)
        fetched = await http(url, Validators(), LIMIT)  # the limit itself passes
    assert fetched is not None
    assert len(fetched.octets) == LIMIT


@pytest.mark.attack
async def test_announced_size_is_compared_before_anything_is_read(
    healthy: dict[str, Identity], http: HttpFetch, tmp_path: Path
) -> None:
    server = Server(ok(b"x" * (LIMIT + 1)).partition(b"\r\n\r\n")[0] + b"\r\n\r\n", hold=True)
    async with listening(server, healthy[A_DOMAIN], tmp_path) as url:
        with pytest.raises(FetchFailed, match="as announced"):
            await http(url, Validators(), LIMIT)


@pytest.mark.attack
async def test_endless_answer_is_read_up_to_the_limit_only(
    healthy: dict[str, Identity], http: HttpFetch, tmp_path: Path
) -> None:
    server = Server(_chunked(b"x" * (LIMIT + 1))[:-5], hold=True)
    async with listening(server, healthy[A_DOMAIN], tmp_path) as url:
        with pytest.raises(FetchFailed, match="too big"):
            await http(url, Validators(), LIMIT)


@pytest.mark.attack
@pytest.mark.requirement("OP-23")
async def test_wt_26_of_two_hundred_megabytes_no_more_is_read_than_a_list_may_have(
    healthy: dict[str, Identity], http: HttpFetch, tmp_path: Path
) -> None:
    block, limit = bytes(1 << 20), WhitelistSettings().max_octets
    poured = 0

    class Pouring(Server):
        async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal poured
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await reader.readuntil(b"\r\n\r\n")
                writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                for _ in range(200):
                    writer.write(b"100000\r\n" + block + b"\r\n")
                    await writer.drain()
                    poured += len(block)
            writer.close()

    async with listening(Pouring(b""), healthy[A_DOMAIN], tmp_path) as url:
        with pytest.raises(FetchFailed, match="too big"):
            await http(url, Validators(), limit)
    assert limit <= poured + (2 << 20)
    assert poured < limit + (16 << 20)  # what lies in buffers between the two


@pytest.mark.attack
async def test_dripping_server_is_left_at_the_deadline(
    healthy: dict[str, Identity],
    http: HttpFetch,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fetch, "DEADLINE_S", 0.2)
    server = Server(ok(b"x" * 100)[:-50], hold=True)
    async with listening(server, healthy[A_DOMAIN], tmp_path) as url:
        with pytest.raises(FetchFailed, match="in time"):
            await http(url, Validators(), LIMIT)


@pytest.mark.attack
@pytest.mark.requirement("OP-22")
async def test_list_server_of_another_authority_or_name_is_not_asked(
    authority: Authority, http: HttpFetch, tmp_path: Path
) -> None:
    stranger = Authority(authority.now, make_key=shared_keys(20))
    elsewhere = Subject("liste.ailleurs.test")
    for identity in (
        stranger.issue(A_SUBJECT, Make(hosts=("127.0.0.1",))),
        authority.issue(elsewhere),
    ):
        server = Server(ok(b"<x/>"))
        async with listening(server, identity, tmp_path) as url:
            with pytest.raises(FetchFailed):
                await http(url, Validators(), LIMIT)
        assert server.requests == []


# ---------------------------------------------------------------- the child process


@pytest.fixture(scope="module")
def rules(authority: Authority) -> ListRules:
    anchors = Anchors.from_pem(authority.anchors_pem)
    return ListRules(authority.pin, anchors, Revocation.of(authority.crls(), anchors), 1_048_576)


@pytest.fixture(scope="module")
def signed(authority: Authority) -> bytes:
    return authority.sign_whitelist(rows_for(authority, (A_DOMAIN, A_SUBJECT.text)), authority.now)


def test_child_gives_back_the_same_list(
    authority: Authority, rules: ListRules, signed: bytes
) -> None:
    listed = verify_in_child(signed, rules, authority.now)
    here = verify(signed, rules, authority.now)
    assert (listed.date, listed.sha256, listed.signer) == (here.date, here.sha256, here.signer)
    assert listed.rows == here.rows
    assert listed.lists(domain(A_DOMAIN))


def test_child_gives_back_the_reason_of_a_refusal(
    authority: Authority, rules: ListRules, signed: bytes
) -> None:
    with pytest.raises(ListRefused) as caught:
        verify_in_child(signed.replace(b"hopital-a", b"hopital-x"), rules, authority.now)
    assert caught.value.reason == "signature"
    with pytest.raises(ListRefused) as caught:
        verify_in_child(signed, replace(rules, revocation=None), authority.now)
    assert (caught.value.reason, caught.value.detail) == (
        "signer certificate",
        "revocation unknown",
    )
    with pytest.raises(ListRefused) as caught:
        verify_in_child(signed, replace(rules, max_octets=10), authority.now)
    assert caught.value.reason == "too big"


def test_child_gets_nothing_of_our_environment(
    authority: Authority, rules: ListRules, signed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MSSMTP_CANARY", "secret")
    seen: dict[str, str] = {}
    real = subprocess.run

    def run(command: list[str], *, env: dict[str, str], **options: object) -> object:
        seen.update(env)
        assert command[0] == sys.executable
        return real(command, env=env, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "run", run)
    verify_in_child(signed, rules, authority.now)
    assert set(seen) == {"PYTHONPATH"}
    assert "MSSMTP_CANARY" in os.environ
    assert whitelist_child.TIMEOUT_S <= 60


@pytest.mark.attack
def test_child_takes_nothing_from_the_directory_it_is_started_in(
    authority: Authority,
    rules: ListRules,
    signed: bytes,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """A command called where somebody left a `json.py` of his."""
    (tmp_path / "json.py").write_text("raise SystemExit(3)")
    monkeypatch.chdir(tmp_path)
    assert verify_in_child(signed, rules, authority.now).lists(domain(A_DOMAIN))
