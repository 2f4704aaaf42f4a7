"""A small authoritative DNS server for the demo's trust space and for tests: UDP and TCP.

It answers from plain data, is authoritative for everything, recurses nowhere.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

logger = logging.getLogger(__name__)
_UDP_OCTETS = 512  # RFC 1035 4.2.1, for a client without EDNS
_TCP_TIMEOUT_S = 10.0
_TTL_S = 60


@dataclass(frozen=True, slots=True)
class Zone:
    """Records by owner name (without the last dot), in master-file notation.

    `mx` values are ("10 mx.cabinet-b.test.", …), `srv` ("0 1 993 imap.cabinet-b.test.", …), a null
    MX is ("0 .",). A name in `failing` is answered SERVFAIL; one in `silent` not at all.
    """

    mx: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    a: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    aaaa: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    txt: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    srv: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    failing: frozenset[str] = frozenset()
    silent: frozenset[str] = frozenset()

    def records(self, name: str, kind: str) -> tuple[str, ...] | None:
        """Records of one type; empty: the name exists without it; None: no such name."""
        tables = {"MX": self.mx, "A": self.a, "AAAA": self.aaaa, "TXT": self.txt, "SRV": self.srv}
        if any(name in table for table in tables.values()):
            return tuple(tables.get(kind, {}).get(name, ()))
        below = f".{name}"
        if any(owner.endswith(below) for table in tables.values() for owner in table):
            return ()  # RFC 8020: an empty non-terminal exists
        return None


def answer(query: bytes, zone: Zone, *, limit: int | None) -> bytes | None:
    """The reply to one query, None where none is due. `limit`: octets that fit, None over TCP."""
    try:
        request = dns.message.from_wire(query)
    except dns.exception.DNSException:
        return None
    if request.flags & dns.flags.QR:
        return None
    response = dns.message.make_response(request)
    response.flags |= dns.flags.AA
    if request.opcode() != dns.opcode.QUERY or len(request.question) != 1:
        response.set_rcode(dns.rcode.NOTIMP)
        return response.to_wire()
    question = request.question[0]
    name = question.name.to_text(omit_final_dot=True).lower()
    if name in zone.silent:
        return None
    if name in zone.failing:
        response.set_rcode(dns.rcode.SERVFAIL)
    elif (found := zone.records(name, dns.rdatatype.to_text(question.rdtype))) is None:
        response.set_rcode(dns.rcode.NXDOMAIN)
    elif found:
        response.answer.append(
            dns.rrset.from_text_list(
                question.name, _TTL_S, dns.rdataclass.IN, question.rdtype, found
            )
        )
    return _fitted(response, limit, request.payload)


def _fitted(response: dns.message.Message, limit: int | None, payload: int) -> bytes:
    """Octets of `response`; with the truncation bit and no answer when they would not fit."""
    wire = response.to_wire()
    if limit is None or len(wire) <= max(limit, payload):
        return wire
    response.answer.clear()
    response.flags |= dns.flags.TC
    return response.to_wire()


class DnsServer:
    """Serves `zone` on one port of `host`, UDP and TCP; `zone` may be replaced while it runs."""

    def __init__(self, zone: Zone, host: str = "127.0.0.1", port: int = 0) -> None:
        self.zone = zone
        self.host = host
        self.port = port
        self.queries: int = 0
        self._tcp: asyncio.Server | None = None
        self._udp: asyncio.DatagramTransport | None = None
        self._clients: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen; with port 0 `port` holds the chosen one afterwards. Raises OSError."""
        loop = asyncio.get_running_loop()
        attempts = 1 if self.port else 20  # a free TCP port may be taken for UDP
        for attempt in range(attempts):
            server = await asyncio.start_server(self._serve, self.host, self.port)
            port = server.sockets[0].getsockname()[1]
            try:
                transport, _ = await loop.create_datagram_endpoint(
                    lambda: _Udp(self), local_addr=(self.host, port)
                )
            except OSError:
                server.close()
                if attempt + 1 == attempts:
                    raise
                continue
            self._tcp, self._udp, self.port = server, transport, port
            return

    async def stop(self) -> None:
        """Close both sockets and the open TCP clients."""
        if self._udp is not None:
            self._udp.close()
        if self._tcp is not None:
            self._tcp.close()
        for task in self._clients:
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)

    async def __aenter__(self) -> DnsServer:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._clients.add(task)
            task.add_done_callback(self._clients.discard)
        try:
            async with asyncio.timeout(_TCP_TIMEOUT_S):
                size = int.from_bytes(await reader.readexactly(2), "big")
                query = await reader.readexactly(size)
                self.queries += 1
                reply = answer(query, self.zone, limit=None)
                if reply is not None:
                    writer.write(len(reply).to_bytes(2, "big") + reply)
                    await writer.drain()
        except (asyncio.IncompleteReadError, TimeoutError, ConnectionError):
            logger.debug("a TCP client went away")
        finally:
            writer.close()


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not isinstance: uvloop's transport is no subclass of asyncio's.
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._server.queries += 1
        reply = answer(data, self._server.zone, limit=_UDP_OCTETS)
        if reply is not None and self._transport is not None:
            self._transport.sendto(reply, addr)
