"""Connections of browsers: how many at once, from where, and how long one may stay silent."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from http import HTTPStatus

from aiohttp import web
from aiohttp.web_protocol import RequestHandler, _RequestHandler

from mssmtp import metrics
from mssmtp.config_web import WebSettings
from mssmtp.mail import AccountId, counted_as
from mssmtp.web import headers

HEAD_WITHIN_S = 20.0
"""From the handshake, or from the answer before, to the end of a request's head."""
_MINUTE_S = 60.0
_LAST_WORD_S = 1.0
"""For the end of TLS with browsers that are there."""
_MOST_PLACES = 4_096
UPLOADED_OCTETS = 268_435_456
"""Of forms with files that one worker reads and works on at a time; beyond, one is to come back."""
UPLOADED_OF_ONE = 41_943_040
"""Of these, of one account: it holds up nobody else."""
_DOOR = "web"


class Crowd:
    """Who is connected, and how fast each address sends forms; one per worker."""

    def __init__(self, settings: WebSettings) -> None:
        self._settings = settings
        self._from: Counter[str] = Counter()
        self._paces: OrderedDict[str, float] = OrderedDict()
        self._uploaded: Counter[AccountId] = Counter()

    def enter(self, address: str) -> bool:
        """Whether there is room; then it is taken."""
        settings, peer = self._settings, counted_as(address)
        if (
            self._from.total() >= settings.connections
            or self._from[peer] >= settings.connections_per_address
        ):
            metrics.refused.labels(_DOOR, "0", "connections").inc()
            return False
        self._from[peer] += 1
        metrics.connections.labels(_DOOR).inc()
        metrics.open_connections.labels(_DOOR).inc()
        return True

    def leave(self, address: str) -> None:
        """One less."""
        peer = counted_as(address)
        self._from[peer] -= 1
        if not self._from[peer]:
            del self._from[peer]
        metrics.open_connections.labels(_DOOR).dec()

    def may_post(self, address: str, now: float) -> bool:
        """One more form of this address is within its pace; then it is counted (GCRA)."""
        step, peer = _MINUTE_S / self._settings.posts_per_minute, counted_as(address)
        moment = max(now, self._paces.pop(peer, now))
        is_within = moment - now <= _MINUTE_S - step
        self._paces[peer] = moment + step if is_within else moment
        while len(self._paces) > _MOST_PLACES:
            self._paces.popitem(last=False)
        return is_within

    def take(self, account: AccountId, octets: int) -> bool:
        """Whether there is memory for a form of so many octets (ATT-41); then it is taken."""
        is_room = self._uploaded.total() + octets <= UPLOADED_OCTETS
        if not is_room or self._uploaded.get(account, 0) + octets > UPLOADED_OF_ONE:
            return False
        self._uploaded[account] += octets
        return True

    def give_back(self, account: AccountId, octets: int) -> None:
        """Nothing of the form is held any more."""
        self._uploaded[account] -= octets
        if not self._uploaded[account]:
            del self._uploaded[account]


class Server(web.Server):
    """Makes a connection for each browser."""

    def __init__(self, handler: _RequestHandler, crowd: Crowd) -> None:
        super().__init__(
            handler, access_log=None, keepalive_timeout=HEAD_WITHIN_S, lingering_time=2.0
        )
        self.crowd = crowd

    async def leave(self, grace_s: float) -> None:
        """Finish what is in flight, then let go of every connection."""
        open_now = [each for each in self.connections if isinstance(each, Connection)]
        self.pre_shutdown()
        await self.shutdown(grace_s)
        gone = [asyncio.ensure_future(each.gone.wait()) for each in open_now]
        if gone:
            await asyncio.wait(gone, timeout=_LAST_WORD_S)
        for each, waits in zip(open_now, gone, strict=True):
            if not waits.done():
                each.abort()
            waits.cancel()
        await asyncio.gather(*gone, return_exceptions=True)

    def __call__(self) -> RequestHandler:
        return Connection(self)


class Connection(RequestHandler):
    """One browser. A head that does not come in time ends it, whatever has come of it: otherwise a
    few octets a minute would hold a place for ever."""

    __slots__ = ("_address", "_crowd", "_late", "_wire", "gone")

    def __init__(self, server: Server) -> None:
        super().__init__(server, loop=server._loop, **server._kwargs)
        self._crowd = server.crowd
        self._address = ""
        self._late: asyncio.TimerHandle | None = None
        self._wire: asyncio.BaseTransport | None = None
        self.gone = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """There is room, or it is over."""
        self._wire = transport
        address = str((transport.get_extra_info("peername") or ("?",))[0])
        if not self._crowd.enter(address):
            self.abort()
            return
        self._address = address
        super().connection_made(transport)
        self.waits()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Its place is free."""
        is_between_requests, task = self._late is not None, self._task_handler
        self.serves()
        self.gone.set()
        if self._address:
            self._crowd.leave(self._address)
            self._address = ""
            super().connection_lost(exc)
        if is_between_requests and task is not None:
            task.cancel()  # else it waits `lingering_time` for the rest of a refused body

    def abort(self) -> None:
        """Without waiting for what the other side may still say."""
        if isinstance(self._wire, asyncio.Transport):
            self._wire.abort()

    def waits(self) -> None:
        """A head is awaited from now on."""
        self.serves()
        self._late = self._loop.call_later(HEAD_WITHIN_S, self.force_close)

    def serves(self) -> None:
        """A request has come; what it takes is measured elsewhere."""
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What is no HTTP: nothing of it is sent back, and nothing of it reaches the log."""
        metrics.web_requests.labels("-", str(status)).inc()
        if request.writer.output_size > 0:
            raise ConnectionResetError
        text = HTTPStatus(status).phrase
        answer = web.Response(status=status, text=text, headers=headers.OF_PAGES)
        answer.force_close()
        return answer
