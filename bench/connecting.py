"""Processor time of one short IMAP connection: TLS, LOGIN, LOGOUT, one after the other.

    python -m bench.connecting [--logins 500] [--rounds 5] [--key rsa|p256] [--resume]
                               [--floor] [--people 10] [--profile]

The real door over a real store, in a process of its own; passwords were right before, as those of
a mail program that comes back all day. Time is told of the server's loop, of its other threads, and
of the client, which is the generator of `bench.beside_peers`. `--resume`: the client comes back
with its TLS session, as mail programs do. `--floor`: a server in the same stack that knows neither
store nor passwords and answers three fixed lines. `--profile`: where the time of the loop goes.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import logging
import os
import pstats
import signal
import socket
import ssl
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import TextIO, cast

import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from bench.logins import PASSWORD, filled
from bench.space import thread_seconds
from bench.targets import Imap
from mssmtp import log, tls
from mssmtp.config import (
    CertificateSettings,
    OperatorSettings,
    PkiSettings,
    Settings,
    StoreSettings,
    TlsSettings,
)
from mssmtp.identity import Authenticator
from mssmtp.imap_server import ImapDoor
from mssmtp.outside import SystemClock, SystemEntropy

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
Serve = Callable[[socket.socket, cProfile.Profile | None], Coroutine[object, object, None]]

_GREETING = b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] ready\r\n"
_LOGGED_IN = b"x1q7 OK [CAPABILITY " + b"x" * 500 + b"] Logged in\r\n"
_BYE = b"* BYE Logging out\r\nx2q7 OK LOGOUT completed\r\n"


@dataclass(frozen=True, slots=True)
class _Port:
    imaps_port: int


# ---------------------------------------------------------------- certificates


def _new_key(kind: str) -> Key:
    if kind == "p256":
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def certificate(folder: Path, kind: str) -> CertificateSettings:
    """A certificate below an issuer of its own, both with keys of this kind, for localhost."""
    issuing, key = _new_key(kind), _new_key(kind)
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bench issuer")])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    pem = serialization.Encoding.PEM
    chain = b"".join(
        _certified(name, of, issuer, issuing).public_bytes(pem)
        for name, of in ((subject, key), (issuer, issuing))
    )
    files = CertificateSettings(
        certificate_file=folder / f"{kind}.pem", key_file=folder / f"{kind}.key"
    )
    files.certificate_file.write_bytes(chain)
    form, secret = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    files.key_file.touch(mode=0o600)
    files.key_file.write_bytes(key.private_bytes(pem, form, secret))
    return files


def _certified(subject: x509.Name, key: Key, issuer: x509.Name, issuing: Key) -> x509.Certificate:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .sign(issuing, hashes.SHA256())
    )


# ---------------------------------------------------------------- servers


def _door(folder: Path, files: CertificateSettings, people: int) -> Serve:
    """The real one. Log lines go where a service's go, to a file of the system."""

    async def serve(sock: socket.socket, watched: cProfile.Profile | None) -> None:
        nowhere = open(os.devnull, "a")  # noqa: ASYNC230, SIM115 - nothing is served yet
        log.configure("info")
        (handler,) = logging.getLogger().handlers
        cast("logging.StreamHandler[TextIO]", handler).setStream(nowhere)
        home = folder / "home"
        settings = Settings(
            operator=OperatorSettings(
                name="bench", host_name="localhost", domains=("hopital-a.test",)
            ),
            tls=TlsSettings(operators=(files,), users=files),
            pki=PkiSettings(anchors_file=files.certificate_file),
            store=StoreSettings(home=home, master_key_file=home / "master.key"),
        )
        with closing(filled(home, people)) as store:
            clock = SystemClock()
            authenticator = Authenticator(store, clock, SystemEntropy())
            door = ImapDoor(settings, store, authenticator, clock, implicit_tls=True)
            await door.start(sock)
            await _terminated(watched)
            await door.stop(1.0)

    return serve


class _Bare(asyncio.Protocol):
    """Three fixed lines."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(_GREETING)

    def data_received(self, data: bytes) -> None:
        is_last = b"LOGOUT" in data
        self._transport.write(_BYE if is_last else _LOGGED_IN)
        if is_last:
            self._transport.close()


def _bare(files: CertificateSettings) -> Serve:
    async def serve(sock: socket.socket, watched: cProfile.Profile | None) -> None:
        settings = TlsSettings(operators=(files,), users=files)
        context = tls.server_context(settings, files, ask_certificate=False, resumes=True)
        server = await tls.listen(sock, _Bare, context)
        await _terminated(watched)
        server.close()

    return serve


async def _terminated(watched: cProfile.Profile | None) -> None:
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    if watched is not None:
        watched.enable()
    await told.wait()
    if watched is not None:
        watched.disable()
        pstats.Stats(watched).sort_stats("tottime").print_stats(80)


@contextmanager
def _serving(serve: Serve, *, profile: bool) -> Iterator[tuple[int, _Port]]:
    """Process and port of a server."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        server = os.fork()
        if not server:
            _serve(serve, sock, profile=profile)
        try:
            yield server, _Port(sock.getsockname()[1])
        finally:
            os.kill(server, signal.SIGTERM)
            os.waitpid(server, 0)


def _serve(serve: Serve, sock: socket.socket, *, profile: bool) -> None:
    """The child: never returns."""
    code, watched = 1, cProfile.Profile(time.thread_time) if profile else None
    try:
        uvloop.run(serve(sock, watched))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


# ---------------------------------------------------------------- the measurement


def measure(port: _Port, server: int, options: argparse.Namespace) -> list[list[float]]:
    """Milliseconds a connection of the loop, of other threads and of the client, by round."""
    found = []
    sessions: dict[int, ssl.SSLSession | None] = {}

    def connect(number: int) -> None:
        who = number % options.people
        login = (f"p{who}@hopital-a.test", PASSWORD)
        client = Imap(port, login, sessions.get(who) if options.resume else None)
        if options.resume and number >= options.people and not client.is_resumed:
            raise SystemExit("the server does not take a session up again")
        sessions[who] = client.session
        client.close()

    for number in range(options.people):
        connect(number)
    for _ in range(options.rounds):
        before, client_s = thread_seconds(server), time.process_time()
        for number in range(options.logins):
            connect(options.people + number)
        spent = time.process_time() - client_s
        after = thread_seconds(server)
        loop, others = after[0] - before[0], sum(after[1:]) - sum(before[1:])
        found.append([each * 1_000 / options.logins for each in (loop, others, spent)])
    return found


def main() -> None:
    """Print the least and the median of the rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--logins", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--people", type=int, default=10)
    parser.add_argument("--key", choices=("rsa", "p256"), default="rsa")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--floor", action="store_true")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mssmtp-bench-") as folder:
        place = Path(folder)
        files = certificate(place, options.key)
        serve = _bare(files) if options.floor else _door(place, files, options.people)
        with _serving(serve, profile=options.profile) as (server, port):
            rounds = measure(port, server, options)
    parts = list(zip(*rounds, strict=True))
    ours = [loop + others for loop, others, _ in rounds]
    loop, others, client = (min(part) for part in parts)
    print(  # noqa: T201
        f"{'floor' if options.floor else 'door'}, {options.key}"
        f"{', resumed' if options.resume else ''}: server {min(ours):.3f} ms a connection"
        f" (median {median(ours):.3f}): loop {loop:.3f}, others {others:.3f}; client {client:.3f}"
    )


if __name__ == "__main__":
    main()
