"""Door: the administration API, on a Unix socket and over TLS with a client certificate.

    POST /v1/OPERATION   the input as JSON; 200 with the answer, or what, why and remedy
    GET  /v1             the operations the caller may use, with the schema of each input

Who calls is known before the first octet of a request: the kernel says which user holds the other
end of the socket, the handshake whose certificate it is. There is no password here, no cookie and
no page (ATT-38).
"""

from __future__ import annotations

import asyncio
import contextvars
import hashlib
import logging
import os
import socket
import ssl
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus

from aiohttp import web
from cryptography import x509

from mssmtp import processors
from mssmtp.admin import MOST_OCTETS, OPERATIONS, Answered, Denied, Office, answer, listed, refusal
from mssmtp.admin.answering import octets
from mssmtp.admin.callers import actor_of_certificate, actor_of_user
from mssmtp.admin.table import BY_NAME
from mssmtp.errors import ConfigError, MailError
from mssmtp.log import connection_id
from mssmtp.mail import Actor
from mssmtp.storage import Store

logger = logging.getLogger(__name__)

_THREADS = 4
_BODY_WITHIN_S = 30.0
_CREDENTIALS = struct.Struct("3i")
_MOST = {each.name: each.most_octets for each in OPERATIONS}


class AdminDoor:
    """Answers on its sockets. `start` for each, `stop` once."""

    def __init__(self, office: Office, guard: Guard | None = None) -> None:
        """`guard`: of the TLS door; without one this is the Unix socket."""
        self._office = office
        self._guard = guard
        self._threads = ThreadPoolExecutor(_THREADS, "admin", processors.roam)
        self._calls = 0
        # The limit of each operation is checked before its body is read.
        application = web.Application(client_max_size=max(MOST_OCTETS, *_MOST.values()))
        application.router.add_get("/v1", self._list)
        application.router.add_post("/v1/{operation}", self._perform)
        self._runner = web.AppRunner(application, access_log=None, keepalive_timeout=30.0)

    async def start(self, sock: socket.socket) -> None:
        """Listen on a bound socket; of several, one after the other."""
        if self._runner.server is None:
            await self._runner.setup()
        context = None if self._guard is None else self._guard.context
        await web.SockSite(self._runner, sock, ssl_context=context).start()

    async def stop(self, grace_s: float) -> None:
        """Take no more, finish what is in flight."""
        try:
            async with asyncio.timeout(grace_s):
                await self._runner.cleanup()
        except TimeoutError:
            logger.warning("calls of administration were cut short by the stop")
        await asyncio.to_thread(self._threads.shutdown)

    async def _list(self, request: web.Request) -> web.Response:
        return await self._answered(request, "administration", lambda actor: listed(actor))

    async def _perform(self, request: web.Request) -> web.Response:
        name = request.match_info["operation"]
        most = _MOST.get(name, MOST_OCTETS)
        if most > MOST_OCTETS and not await self._is_known(request):
            most = MOST_OCTETS  # ATT-41: nobody here keeps a whole file of a stranger
        try:
            body = await _body(request, most)
        except ConfigError as error:
            return _response(refusal(error))
        return await self._answered(
            request, name, lambda actor: _noted(self._office, actor, name, body)
        )

    async def _is_known(self, request: web.Request) -> bool:
        """Whether who is calling is anybody here; `_answered` says so, and why not."""
        caller = self._caller(request)
        try:
            await asyncio.get_running_loop().run_in_executor(self._threads, caller)
        except (ConfigError, MailError):
            return False
        return True

    async def _answered(
        self, request: web.Request, name: str, say: Callable[[Actor], Answered]
    ) -> web.Response:
        """What `say` answers to who is calling, found out and said in a thread."""
        self._calls += 1
        connection_id.set(f"admin-{os.getpid()}-{self._calls}")
        ask = contextvars.copy_context().run
        caller = self._caller(request)

        def work() -> Answered:
            try:
                return say(caller())
            except ConfigError as error:
                return refusal(error)

        try:
            loop = asyncio.get_running_loop()
            return _response(await loop.run_in_executor(self._threads, ask, work))
        except Exception:
            # A bug of ours: nothing half-done (one transaction), nothing of it told to the peer.
            logger.exception("administration failed", extra={"operation": name})
            why = f"erreur interne ; le journal la garde sous {connection_id.get()}"
            return _response(_failed(name, why))

    def _caller(self, request: web.Request) -> Callable[[], Actor]:
        """How to learn who holds the other end; taken now, while the connection is open."""
        transport, store = request.transport, self._office.store
        if transport is None:
            raise ConnectionResetError
        if self._guard is not None:
            shown = transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
            guard = self._guard
            return lambda: guard.actor(store, shown)
        sock = transport.get_extra_info("socket")
        raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        _, uid, _ = _CREDENTIALS.unpack(raw)
        return lambda: actor_of_user(store, uid)


@dataclass(frozen=True, slots=True)
class Guard:
    """Of the TLS door: what is presented and asked for, and what is thought of a certificate.

    `judge` raises CertificateRefused (chain, dates, revocation) at every call (ATT-25).
    """

    context: ssl.SSLContext
    judge: Callable[[x509.Certificate], object]

    def actor(self, store: Store, shown: bytes) -> Actor:
        """Whose certificate this is. Raises Denied."""
        try:
            self.judge(x509.load_der_x509_certificate(shown))
        except MailError as error:
            raise Denied(
                "certificat", error.reply.text, "Présentez un certificat en vigueur."
            ) from error
        return actor_of_certificate(store, hashlib.sha256(shown).hexdigest())


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


def _noted(office: Office, actor: Actor, name: str, body: bytes) -> Answered:
    """The answer, and its line in the log; a command in a process of its own prints it instead."""
    answered = answer(office, actor, name, body)
    facts = {"operation": name, "level": actor.level.value, "scope": actor.scope}
    if answered.status == HTTPStatus.OK:
        logger.info("administration", extra=facts)
    elif name in BY_NAME:
        logger.warning("administration refused", extra=facts | {"status": answered.status})
    return answered
