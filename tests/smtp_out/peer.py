"""Another operator's server for tests: real TLS on loopback, honest or hostile by its script."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from mssmtp.demo.authority import Authority, Identity

REPLIES: Mapping[str, bytes] = {
    "MAIL": b"250 2.1.0 ok",
    "RCPT": b"250 2.1.5 ok",
    "DATA": b"354 go on",
    "RSET": b"250 2.0.0 ok",
    "NOOP": b"250 2.0.0 ok",
    "QUIT": b"221 2.0.0 bye",
    ".": b"250 2.0.0 stored",
}


@dataclass(frozen=True, slots=True)
class Script:
    """What the server does. A reply of b"" closes the connection instead of answering.

    `replies`: by verb, by `RCPT local-part`, or `.` for the answer to the message; `lost_finals`:
    that many first messages get no answer; `early`: sent in the middle of the content;
    `behind_220`: octets in clear behind the answer to STARTTLS; `hold`: answers to the message
    wait until the event is set.
    """

    greeting: bytes = b"220 mx ESMTP"
    starttls: bool = True
    starttls_reply: bytes = b"220 2.0.0 ready"
    behind_220: bytes = b""
    in_tls: bytes = b""
    extensions: tuple[bytes, ...] = (b"8BITMIME", b"SIZE 62914560", b"ENHANCEDSTATUSCODES")
    replies: Mapping[str, bytes] = field(default_factory=dict)
    lost_finals: int = 0
    early: bytes = b""
    silent: bool = False
    hold: asyncio.Event | None = None
    closes_after: int = 0
    """A connection is closed when so many messages have come over it; 0: never."""


@dataclass(slots=True)
class Session:
    """What one connection said, in order."""

    commands: list[str] = field(default_factory=list)
    tls: bool = False
    client_subject: str = ""

    @property
    def verbs(self) -> list[str]:
        return [line.split()[0].upper() for line in self.commands if line]


@dataclass(frozen=True, slots=True)
class Message:
    """A message that was taken; `body` is its unstuffed content when it is small."""

    sender: str
    recipients: tuple[str, ...]
    size_octets: int
    sha256: str
    body: bytes


class Line(asyncio.Protocol):
    """Octets of one client; StreamWriter's own STARTTLS leaks its transport on Python 3.11."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self.reader = asyncio.StreamReader(limit=1_048_576)
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self.transport is None:
            self.transport = cast(asyncio.Transport, transport)
            self._peer.welcome(self)

    def data_received(self, data: bytes) -> None:
        self.reader.feed_data(data)

    def eof_received(self) -> None:
        self.reader.feed_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        self.reader.feed_eof()

    def say(self, reply: bytes, behind: bytes = b"") -> None:
        if not reply:
            raise ConnectionResetError
        assert self.transport is not None
        self.transport.write(reply + b"\r\n" + behind)

    async def start_tls(self, context: ssl.SSLContext) -> ssl.SSLObject:
        assert self.transport is not None
        loop = asyncio.get_running_loop()
        secure = await loop.start_tls(self.transport, self, context, server_side=True)
        if secure is None:
            raise ConnectionResetError
        self.transport = secure
        return cast(ssl.SSLObject, secure.get_extra_info("ssl_object"))


class Peer:
    """Listens on 127.0.0.1; `sessions` and `messages` are the record.

    `holding`: a whole message came and its answer is held back; `left`: a client is gone.
    """

    def __init__(
        self,
        identity: Identity,
        authority: Authority,
        directory: Path,
        script: Script | None = None,
        *,
        weak: bool = False,
    ) -> None:
        """`weak`: present also what OpenSSL itself would not, such as a key of 1024 bits."""
        self.script = script or Script()
        self.sessions: list[Session] = []
        self.messages: list[Message] = []
        self.port = 0
        self.open_now = 0
        self.most_open = 0
        self._taken = 0
        files = identity.write(directory, f"peer-{id(self)}")
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if weak:
            self.context.set_ciphers("DEFAULT:@SECLEVEL=0")
        self.context.load_cert_chain(files.certificate_file, files.key_file)
        self.context.verify_mode = ssl.CERT_REQUIRED
        self.context.load_verify_locations(cadata=authority.anchors_pem.decode())
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._lines: set[Line] = set()
        self._ending = asyncio.Event()
        self.holding = asyncio.Event()
        self.left = asyncio.Event()

    async def __aenter__(self) -> Peer:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Line(self), "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self._ending.set()
        if self.script.hold is not None:
            self.script.hold.set()
        for line in self._lines:
            assert line.transport is not None
            line.transport.abort()
        await asyncio.gather(*self._tasks)

    def welcome(self, line: Line) -> None:
        """One task per client, ended before the peer is."""
        self._lines.add(line)
        task = asyncio.get_running_loop().create_task(self._serve(line))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, line: Line) -> None:
        session = Session()
        self.sessions.append(session)
        self.open_now += 1
        self.most_open = max(self.most_open, self.open_now)
        try:
            await self._talk(session, line)
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            session.commands.append("(broken)")
        finally:
            self.open_now -= 1
            self.left.set()
            self._lines.discard(line)
            assert line.transport is not None
            line.transport.close()

    async def _talk(self, session: Session, line: Line) -> None:
        sender, address, taken = "", "", 0
        recipients: list[str] = []
        if self.script.silent:
            await self._ending.wait()
            return
        line.say(self.script.greeting)
        while octets := await line.reader.readline():
            text = octets.decode("latin-1").rstrip("\r\n")
            session.commands.append(text)
            verb = text.split(" ", 1)[0].upper()
            key = verb
            if verb == "EHLO":
                line.say(self._ehlo(session))
                continue
            if verb == "STARTTLS":
                await self._upgrade(session, line)
                continue
            if verb == "DATA" and self._reply("DATA").startswith(b"354"):
                line.say(self._reply("DATA"))
                if not await self._take(line, sender, tuple(recipients)):
                    return
                taken += 1
                if taken == self.script.closes_after:
                    return
                continue
            if verb == "MAIL":
                sender = text[text.index("<") + 1 : text.index(">")]
                recipients = []
            elif verb == "RCPT":
                address = text[text.index("<") + 1 : text.index(">")]
                key = f"RCPT {address.partition('@')[0]}"
            reply = self.script.replies.get(key) or self._reply(verb)
            if verb == "RCPT" and reply.startswith(b"2"):
                recipients.append(address)
            line.say(reply)
            if verb == "QUIT":
                return

    async def _upgrade(self, session: Session, line: Line) -> None:
        line.say(self.script.starttls_reply, self.script.behind_220)
        if not self.script.starttls_reply.startswith(b"220"):
            return
        secure = await line.start_tls(self.context)
        session.tls = True
        session.client_subject = str((secure.getpeercert() or {}).get("subject"))
        if self.script.in_tls:
            line.say(self.script.in_tls)

    def _reply(self, key: str) -> bytes:
        if key in self.script.replies:
            return self.script.replies[key]
        return REPLIES.get(key, b"500 5.5.2 what")

    def _ehlo(self, session: Session) -> bytes:
        offered = list(self.script.extensions)
        if self.script.starttls and not session.tls:
            offered.append(b"STARTTLS")
        lines = [b"mx greets you", *offered]
        return b"\r\n".join(
            b"250%c%s" % (b" " if n + 1 == len(lines) else b"-", line)
            for n, line in enumerate(lines)
        )

    async def _take(self, line: Line, sender: str, recipients: tuple[str, ...]) -> bool:
        """Read the content up to the dot and answer; False ends the session."""
        digest, size, body = hashlib.sha256(), 0, bytearray()
        while (octets := await line.reader.readuntil(b"\r\n")) != b".\r\n":
            octets = octets.removeprefix(b".")
            digest.update(octets)
            size += len(octets)
            if size < 1_000_000:
                body += octets
            if self.script.early and size > 400_000:
                line.say(self.script.early)
                assert line.transport is not None
                line.transport.pause_reading()
                await self._ending.wait()
                return False
        if self.script.hold is not None:
            self.holding.set()
            await self.script.hold.wait()
        self._taken += 1
        if self._reply(".").startswith(b"250"):
            self.messages.append(Message(sender, recipients, size, digest.hexdigest(), bytes(body)))
        if self._taken <= self.script.lost_finals:
            return False
        line.say(self._reply("."))
        return True
