"""Door: HTTPS for browsers. A request in, an answer out; pages are worked out in threads.

    GET, HEAD, POST of a page (`pages/`); GET of a static file under a name that holds its digest
    what mail programs ask to be set up (`programs.py`), under names of domains served here too

Refused before anything is looked up: another method, another host, too much, too slow, too many.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import ip_address
from typing import TypeAlias, TypeVar
from urllib.parse import urlsplit

from aiohttp import web
from cryptography import x509

from mssmtp import metrics, processors
from mssmtp.autoconfig.autodiscover import MOST_OCTETS as MOST_OF_PROGRAM
from mssmtp.errors import MailError
from mssmtp.log import connection_id
from mssmtp.web import cookies, headers
from mssmtp.web.answering import Answering, Asked, Made
from mssmtp.web.connections import Connection, Crowd, Server
from mssmtp.web.page import MOST_OCTETS, Needs, Page
from mssmtp.web.programs import Kind, Programs, Question
from mssmtp.web.reading import Body, TooLong, body_of, octets_of, query_of
from mssmtp.web.routing import Routes
from mssmtp.web.sessions import Sessions
from mssmtp.web.showing import Showing
from mssmtp.web.site import Site
from mssmtp.web.texts import language_of

logger = logging.getLogger(__name__)
T = TypeVar("T")

THREADS = 4
WAITING = 64
"""Requests that wait for one of them; who comes beyond is told to come back."""
_BACKLOG = 256
_HANDSHAKE_S = 20.0
_METHODS = ("GET", "HEAD", "POST")
_LOOPBACK_NAMES = ("localhost",)

Listen: TypeAlias = Callable[[socket.socket, Server], Awaitable[asyncio.AbstractServer]]


class Refused(Exception):
    """Answered with a page about it: `status`, and which text."""

    def __init__(self, status: int, what: str) -> None:
        super().__init__(what)
        self.status, self.what = status, what


@dataclass(frozen=True, slots=True)
class Port:
    """Where browsers come in: how it is reached, what listens there, what is shown.

    `name`: in the log. `answers_once`: whoever asks again shows again what was shown in the
    handshake. `programs`: what mail programs are told here; None: nothing.
    """

    url: str
    listen: Listen
    pages: Iterable[Page]
    name: str = "web"
    answers_once: bool = False
    programs: Programs | None = None


class WebDoor:
    """Answers on its sockets. `start` for each, `stop` once."""

    def __init__(self, site: Site, port: Port, close: Callable[[], Awaitable[None]]) -> None:
        """`close`: what the site holds beside the rooms of the worker."""
        settings, pages = site.settings, port.pages
        reached = urlsplit(port.url)
        self.site, self._port, self._close = site, port, close
        self._host, self._prefix = reached.netloc.lower(), reached.path.rstrip("/")
        self._routes = Routes(pages)
        self._showing = Showing(self._prefix, settings.operator.zone)
        self._sessions = Sessions(site.store, settings.web, site.clock, site.entropy)
        self._answering = Answering(site, self._sessions, self._showing, self._routes)
        self._crowd = Crowd(settings.web)
        self._threads = ThreadPoolExecutor(THREADS, "web", processors.roam)
        self._busy = self._calls = 0
        self._server: Server | None = None
        self._listening: list[asyncio.AbstractServer] = []

    async def start(self, sock: socket.socket) -> None:
        """Listen on a bound socket; of several, one after the other."""
        self.site.loop = asyncio.get_running_loop()
        if self._server is None:
            self._server = Server(self._handle, self._crowd)
        self._listening.append(await self._port.listen(sock, self._server))

    async def stop(self, grace_s: float) -> None:
        """Take no more, finish what is in flight."""
        for each in self._listening:
            each.close()
        if self._server is not None:
            await self._server.leave(grace_s)
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)
        await self._close()

    # ------------------------------------------------------------ one request

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = request.protocol
        if not isinstance(connection, Connection):
            raise TypeError("a request of another server")
        connection.serves()
        self._calls += 1
        connection_id.set(f"{self._port.name}-{os.getpid()}-{self._calls}")
        began = time.monotonic()
        name, made = await self._answered(request)
        metrics.web_requests.labels(name, str(int(made.status))).inc()
        facts = {"page": name, "method": request.method[:8], "status": int(made.status)}
        logger.info("page", extra=facts | {"seconds": round(time.monotonic() - began, 3)})
        try:
            response = await self._response(request, made)
            if self._port.answers_once:
                response.force_close()
            return response
        finally:
            connection.waits()

    async def _answered(self, request: web.BaseRequest) -> tuple[str, Made]:
        """The name of the page for logs, which is none of the peer's words, and the answer."""
        name = "-"
        try:
            programs = self._port.programs
            kind = None if programs is None else self._kind_of(request, programs)
            if programs is not None and kind is not None:
                name = kind.value
                return name, await self._of_program(request, programs, kind)
            path = self._local(request)
            if path.startswith("static/"):
                return "static", self._static(path.removeprefix("static/"))
            found = self._routes.find(path)
            if found is None:
                raise Refused(HTTPStatus.NOT_FOUND, "missing")
            page, args = found
            name = page.path or "accueil"
            if request.method not in page.methods:
                raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, "missing")
            with ExitStack() as held:
                body = await self._body(request, page, held)
                asked = _asked(request, path, page, args, body)
                made = await self._in_thread(lambda: self._answering.answer(asked))
            if made.delay_s:
                await asyncio.sleep(made.delay_s)
            return name, made
        except Refused as refused:
            return name, await self._told(request, refused.what, refused.status)
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception:
            # A bug of ours: nothing half-done (one transaction), nothing of it told to the peer.
            metrics.internal_errors.labels("web").inc()
            logger.exception("page failed", extra={"page": name})
            return name, await self._told(request, "broken", HTTPStatus.INTERNAL_SERVER_ERROR)

    def _local(self, request: web.BaseRequest) -> str:
        """The path below our own, without its leading slash. Raises Refused."""
        if request.method not in _METHODS:
            raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, "missing")
        if not self._is_ours(request.headers.get("Host", "")):
            raise Refused(HTTPStatus.MISDIRECTED_REQUEST, "host")
        path = request.path
        if not path.startswith(f"{self._prefix}/"):
            raise Refused(HTTPStatus.NOT_FOUND, "missing")
        return path.removeprefix(f"{self._prefix}/")

    def _is_ours(self, host: str) -> bool:
        """The host that links name, or this machine: nobody else's name leads here."""
        if host.lower() == self._host:
            return True
        try:
            name = urlsplit(f"//{host}").hostname or ""
            return name in _LOOPBACK_NAMES or ip_address(name).is_loopback
        except ValueError:
            return False

    def _kind_of(self, request: web.BaseRequest, programs: Programs) -> Kind | None:
        """What a mail program asks; None: a page, or under a name that is nobody's."""
        host = request.headers.get("Host", "")
        is_here = self._is_ours(host) or programs.is_host(host)
        return programs.kind_of(request.path) if is_here else None

    async def _of_program(self, request: web.BaseRequest, programs: Programs, kind: Kind) -> Made:
        """Raises Refused."""
        if request.method not in (_METHODS if kind is Kind.POX else _METHODS[:2]):
            raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, "missing")
        octets = None
        if request.method == "POST":
            self._demand_pace(request)
            octets = await _read(octets_of(request, MOST_OF_PROGRAM))
        query, host = query_of(request.query_string), request.headers["Host"]
        made = programs.answer(Question(kind, host, request.path, query, octets))
        if made is None:
            raise Refused(HTTPStatus.NOT_FOUND, "missing")
        return made

    def _demand_pace(self, request: web.BaseRequest) -> None:
        """Raises Refused."""
        now = asyncio.get_running_loop().time()
        if not self._crowd.may_post(request.remote or "", now):
            raise Refused(HTTPStatus.TOO_MANY_REQUESTS, "fast")

    async def _body(self, request: web.BaseRequest, page: Page, held: ExitStack) -> Body:
        """What a POST brings; the memory of a large one until `held` is closed. Raises Refused."""
        if request.method != "POST":
            return Body()
        self._demand_pace(request)
        if page.most_octets > MOST_OCTETS and page.needs is Needs.SESSION:
            token = cookies.brought(request.cookies, cookies.SESSION)
            try:
                account = await self._in_thread(lambda: self._answering.whose(token))
            except MailError as error:  # the store does not answer
                raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "full") from error
            if account is None:
                return Body()  # ATT-41: not a stranger's; the page answers that nobody is there
            told = request.content_length
            octets = page.most_octets if told is None else min(told, page.most_octets)
            if not self._crowd.take(account, octets):
                raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "full")
            held.callback(self._crowd.give_back, account, octets)
        return await _read(body_of(request, page))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """Raises Refused when too many wait."""
        if self._busy >= THREADS + WAITING:
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "full")
        self._busy += 1
        try:
            run = contextvars.copy_context().run
            return await asyncio.get_running_loop().run_in_executor(self._threads, run, work)
        finally:
            self._busy -= 1

    def _static(self, name: str) -> Made:
        found = self._showing.statics.get(name)
        if found is None:
            raise Refused(HTTPStatus.NOT_FOUND, "missing")
        return Made(
            HTTPStatus.OK, headers.OF_STATICS | {"Content-Type": found.media_type}, found.octets
        )

    async def _told(self, request: web.BaseRequest, what: str, status: int) -> Made:
        """A page about us, made without anything that may be what is wrong."""
        chosen = cookies.brought(request.cookies, cookies.LANGUAGE)
        language = language_of(chosen, request.headers.get("Accept-Language", ""))
        return self._answering.failed(
            language, "trouble.html", status, what=what, reference=connection_id.get()
        )

    # ------------------------------------------------------------ onto the wire

    async def _response(self, request: web.BaseRequest, made: Made) -> web.StreamResponse:
        if made.blocks is not None:
            return await self._streamed(request, made)
        response = web.Response(status=made.status, body=made.body, headers=made.headers)
        for each in made.cookies:
            response.headers.add("Set-Cookie", each)
        if made.status >= HTTPStatus.BAD_REQUEST and not request.content.is_eof():
            response.force_close()  # what is left of a refused body is not waited for
        return response

    async def _streamed(self, request: web.BaseRequest, made: Made) -> web.StreamResponse:
        """Block by block: a large file is never whole in memory."""
        response = web.StreamResponse(status=made.status, headers=made.headers)
        await response.prepare(request)
        blocks = iter(made.blocks or ())
        try:
            while request.method != "HEAD":
                block = await self._in_thread(lambda: next(blocks, None))
                if block is None:
                    break
                await response.write(block)
            await response.write_eof()
        finally:
            close = getattr(blocks, "close", None)
            if close is not None:
                await asyncio.to_thread(close)
        return response


def for_browsers(context: ssl.SSLContext) -> Listen:
    """TLS that asks nobody for a certificate."""

    async def listen(sock: socket.socket, server: Server) -> asyncio.AbstractServer:
        return await asyncio.get_running_loop().create_server(
            server,
            sock=sock,
            ssl=context,
            ssl_handshake_timeout=_HANDSHAKE_S,
            backlog=_BACKLOG,
        )

    return listen


async def _read(reading: Awaitable[T]) -> T:
    """Raises Refused."""
    try:
        return await reading
    except TooLong as error:
        raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "long") from error
    except MailError as error:
        raise Refused(HTTPStatus.BAD_REQUEST, "unreadable") from error


def _asked(
    request: web.BaseRequest, path: str, page: Page, args: Mapping[str, str], body: Body
) -> Asked:
    return Asked(
        "GET" if request.method == "HEAD" else request.method,
        request.headers["Host"].lower(),
        path,
        page,
        request.remote or "",
        request.headers,
        request.cookies,
        args,
        query_of(request.query_string),
        request.query_string,
        body.form,
        body.files,
        _chain(request),
    )


def _chain(request: web.BaseRequest) -> tuple[x509.Certificate, ...]:
    """What the browser has shown in the handshake of this connection, unverified."""
    transport = request.transport
    return () if transport is None else transport.get_extra_info("peer_chain") or ()
