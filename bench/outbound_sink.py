"""A server that takes everything, for `bench.outbound`: mutual TLS, pipelining, chunks; it counts.

    python -m bench.outbound_sink CERTIFICATE KEY ANCHORS PORT HOSTS

It listens on 127.0.0.1 to 127.0.0.HOSTS, prints "ready", and for each line on its standard input
the messages, connections and processor seconds so far.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import sys
from collections.abc import Sequence
from typing import cast

import uvloop

_EHLO = b"250-sink.test\r\n250-PIPELINING\r\n250-SIZE 100000000\r\n250-CHUNKING\r\n250-8BITMIME\r\n"


class Counts:
    """Of all connections."""

    messages = 0
    connections = 0


class Sink(asyncio.Protocol):
    """One connection."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._transport: asyncio.Transport | None = None
        self._input = bytearray()
        self._chunk = 0
        self._is_last = self._in_data = False
        self._secure = self._is_upgrading = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet, once."""
        first = self._transport is None
        self._transport = cast(asyncio.Transport, transport)
        if first:
            Counts.connections += 1
            self._say(b"220 sink.test ESMTP\r\n")

    def _say(self, octets: bytes) -> None:
        if self._transport is not None:
            self._transport.write(octets)

    def data_received(self, data: bytes) -> None:
        """Commands, chunks, content."""
        self._input += data
        if not self._is_upgrading:
            self._answer()

    def _answer(self) -> None:
        replies: list[bytes] = []
        while self._step(replies):
            pass
        if replies:
            self._say(b"".join(replies))

    def _step(self, replies: list[bytes]) -> bool:
        if self._chunk:
            taken = min(self._chunk, len(self._input))
            del self._input[:taken]
            self._chunk -= taken
            if self._chunk:
                return False
            self._end(replies, is_last=self._is_last)
            return True
        if self._in_data:
            at = self._input.find(b"\r\n.\r\n")
            if at < 0:
                return False
            del self._input[: at + 5]
            self._in_data = False
            self._end(replies, is_last=True)
            return True
        at = self._input.find(b"\r\n")
        if at < 0:
            return False
        line = bytes(self._input[:at])
        del self._input[: at + 2]
        self._command(line, replies)
        return bool(self._input) or bool(self._chunk)

    def _end(self, replies: list[bytes], *, is_last: bool) -> None:
        Counts.messages += is_last
        replies.append(b"250 2.0.0 ok\r\n")

    def _command(self, line: bytes, replies: list[bytes]) -> None:
        verb = line[:4].upper()
        if verb == b"BDAT":
            words = line.split()
            self._chunk, self._is_last = int(words[1]), len(words) > 2
            if not self._chunk:
                self._end(replies, is_last=self._is_last)
        elif verb == b"DATA":
            self._in_data = True
            replies.append(b"354 go\r\n")
        elif verb == b"EHLO":
            tls = b"" if self._secure else b"250-STARTTLS\r\n"
            replies.append(_EHLO + tls + b"250 ENHANCEDSTATUSCODES\r\n")
        elif verb == b"STAR":
            self._say(b"220 2.0.0 ready\r\n")
            self._is_upgrading = True
            self._tls = asyncio.ensure_future(self._upgrade())
        elif verb == b"QUIT":
            replies.append(b"221 2.0.0 bye\r\n")
        else:
            replies.append(b"250 2.0.0 ok\r\n")

    async def _upgrade(self) -> None:
        loop = asyncio.get_running_loop()
        if self._transport is None:
            return
        try:
            secure = await loop.start_tls(self._transport, self, self._context, server_side=True)
        except OSError:
            return
        self._transport, self._secure, self._is_upgrading = secure, True, False
        self._answer()

    def eof_received(self) -> bool:
        """Close."""
        return False


async def serve(files: Sequence[str], port: int, hosts: int) -> None:
    """Until standard input ends."""
    certificate, key, anchors = files
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(anchors)
    context.verify_mode = ssl.CERT_REQUIRED
    loop = asyncio.get_running_loop()
    places = [f"127.0.0.{number}" for number in range(1, hosts + 1)]
    server = await loop.create_server(lambda: Sink(context), places, port, backlog=1_000)
    print("ready", flush=True)
    while await loop.run_in_executor(None, sys.stdin.readline):
        times = os.times()
        cpu = times.user + times.system
        print(f"{Counts.messages} {Counts.connections} {cpu:.3f}", flush=True)
    server.close()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1:4], int(sys.argv[4]), int(sys.argv[5])))
