"""Door: the administration API, on a Unix socket (and over TLS with a client certificate).

    POST /v1/OPERATION   the input as JSON; 200 with the answer, or what, why and remedy
    GET  /v1             the operations the caller may use, with the schema of each input

Who calls is known before the first octet of a request: the kernel says which user holds the other
end of the socket. There is no password here, no cookie and no page (ATT-38).
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import struct
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from aiohttp import web

from mssmtp import processors
from mssmtp.admin import MOST_OCTETS, OPERATIONS, Answered, Denied, Office, answer, listed, refusal
from mssmtp.admin.answering import octets
from mssmtp.admin.callers import actor_of_user
from mssmtp.errors import ConfigError
from mssmtp.log import connection_id
from mssmtp.mail import Actor

logger = logging.getLogger(__name__)

SOCKET = "admin.sock"
"""In `run` of the home."""
_THREADS = 4
_BACKLOG = 64
_BODY_WITHIN_S = 30.0
_CREDENTIALS = struct.Struct("3i")
_MOST = {each.name: each.most_octets for each in OPERATIONS}


def bind_socket(run: Path) -> socket.socket:
    """The socket of a home, bound before the workers are forked: they all accept from it.

    Only the server's own user passes its directory and its mode. Raises ConfigError.
    """
    directory = os.open(run, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        place = f"/proc/self/fd/{directory}/{SOCKET}"  # a path of a socket is 107 octets at most
        try:
            (run / SOCKET).unlink(missing_ok=True)  # of a server that was killed: we hold the lock
            sock.bind(place)
            (run / SOCKET).chmod(0o600)
            sock.listen(_BACKLOG)
        except OSError as error:
            sock.close()
            raise ConfigError(
                str(run / SOCKET), f"cannot be made ({error.strerror})", "Correct owner and modes."
            ) from error
        return sock
    finally:
        os.close(directory)


class AdminDoor:
    """Answers on one socket. `start` once, `stop` once."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._threads = ThreadPoolExecutor(_THREADS, "admin", processors.roam)
        self._calls = 0
        # The limit of each operation is checked before its body is read.
        application = web.Application(client_max_size=max(MOST_OCTETS, *_MOST.values()))
        application.router.add_get("/v1", self._list)
        application.router.add_post("/v1/{operation}", self._perform)
        self._runner = web.AppRunner(application, access_log=None, keepalive_timeout=30.0)

    async def start(self, sock: socket.socket) -> None:
        """Listen on a bound socket."""
        await self._runner.setup()
        await web.SockSite(self._runner, sock).start()

    async def stop(self, grace_s: float) -> None:
        """Take no more, finish what is in flight."""
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await self._runner.cleanup()
        await asyncio.to_thread(self._threads.shutdown)

    async def _list(self, request: web.Request) -> web.Response:
        try:
            return _response(listed(self._actor(request)))
        except ConfigError as error:
            return _response(refusal(error))

    async def _perform(self, request: web.Request) -> web.Response:
        self._calls += 1
        connection_id.set(f"admin-{os.getpid()}-{self._calls}")
        name = request.match_info["operation"]
        try:
            actor = self._actor(request)
            body = await _body(request, _MOST.get(name, MOST_OCTETS))
        except ConfigError as error:
            return _response(refusal(error))
        loop = asyncio.get_running_loop()
        try:
            return _response(
                await loop.run_in_executor(self._threads, answer, self._office, actor, name, body)
            )
        except Exception:
            # A bug of ours: nothing half-done (one transaction), nothing of it told to the peer.
            logger.exception("administration failed", extra={"operation": name})
            why = f"erreur interne ; le journal la garde sous {connection_id.get()}"
            return _response(_failed(name, why))

    def _actor(self, request: web.Request) -> Actor:
        """Who holds the other end. Raises Denied."""
        if request.transport is None:
            raise Denied("administration", "la connexion est close", "Recommencez.")
        sock = request.transport.get_extra_info("socket")
        raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        _, uid, _ = _CREDENTIALS.unpack(raw)
        return actor_of_user(uid)


async def _body(request: web.Request, most: int) -> bytes:
    """What was sent, if it is no more than `most`. Raises ConfigError."""
    too_long = ConfigError("entrée", f"plus de {most} octets", "Envoyez-en moins à la fois.")
    if request.content_length is not None and request.content_length > most:
        raise too_long
    body = bytearray()
    async with asyncio.timeout(_BODY_WITHIN_S):
        async for block in request.content.iter_any():
            body += block
            if len(body) > most:
                raise too_long
    return bytes(body)


def _failed(name: str, why: str) -> Answered:
    return Answered(500, octets({"what": name, "why": why, "remedy": "Prévenez l'opérateur."}))


def _response(answered: Answered) -> web.Response:
    return web.Response(status=answered.status, body=answered.body, content_type="application/json")
