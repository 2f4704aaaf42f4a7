"""Our client side against every kind of answer: in one write or many, honest or not.

The peer is memory: what it says is drawn, and where its octets are cut.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mssmtp import smtp_transaction
from mssmtp.mail import Address, DeliverBy, Domain, Recipient
from mssmtp.smtp_client import Answers, ClientSettings, Content, PeerConnection, Target
from mssmtp.smtp_wire import NotTransmissible, PeerFailed, PeerViolates, Wire

ZOE = Address.parse("zoe.tartempion@hopital-a.test")
TO = tuple(Recipient(Address.parse(f"r{number}@cabinet-b.test")) for number in range(6))
LETTER = b"Subject: essai\r\n\r\n" + b".point et texte\r\n" * 20
SETTINGS = ClientSettings(Domain("smtp.hopital-a.test"), cast(ssl.SSLContext, None), 1.0, 1.0, 1.0)
CLOSE = b""
ALL = {"pipelining": "", "chunking": "", "8bitmime": "", "size": "60000000"}


@dataclass
class MemoryPeer:
    """A server that answers as it is told, and keeps what it was given. It is the transport too.

    `says`: by verb, `RCPT` n, or `.` for the whole letter; `b""` closes the connection instead.
    `crowd`: from that recipient on, 452.
    """

    wire: Wire
    says: dict[str, bytes] = field(default_factory=dict)
    crowd: int = 99
    cut: int = 7
    stored: list[tuple[tuple[str, ...], bytes]] = field(default_factory=list)
    commands: list[bytes] = field(default_factory=list)
    writes: int = 0
    is_closed: bool = False
    _input: bytes = b""
    _accepted: list[str] = field(default_factory=list)
    _number: int = 0
    _body: bytes = b""
    _in_data: bool = False
    _began: bool = False

    def write(self, octets: bytes) -> None:
        self.writes += 1
        self._input += octets
        while not self.is_closed and self._step():
            pass

    def is_closing(self) -> bool:
        return self.is_closed

    def get_extra_info(self, name: str, default: object = None) -> object:
        return default

    def abort(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            asyncio.get_running_loop().call_soon(self.wire.connection_lost, None)

    close = abort

    def _say(self, key: str, usual: bytes) -> bytes:
        reply = self.says.get(key, usual)
        loop = asyncio.get_running_loop()
        if reply == CLOSE:
            loop.call_soon(self.abort)
            self._input = b""
            self.is_closed = self.is_closed or False
            return reply
        octets = reply + b"\r\n"
        for start in range(0, len(octets), self.cut):
            loop.call_soon(self._hand, octets[start : start + self.cut])
        return reply

    def _hand(self, octets: bytes) -> None:
        if not self.is_closed:
            self.wire.data_received(octets)

    def _step(self) -> bool:
        if self._in_data:
            body, end, rest = self._input.partition(b"\r\n.\r\n")
            if not end:
                return False
            self._in_data, self._input = False, rest
            self._body = (body + b"\r\n").replace(b"\r\n..", b"\r\n.")
            self._finish()
            return True
        line, end, rest = self._input.partition(b"\r\n")
        if not end:
            return False
        verb = line[:4].decode()
        if verb == "BDAT":
            return self._chunk(line, rest)
        self._input = rest
        self.commands.append(line)
        if verb == "MAIL":
            self._accepted, self._number, self._body = [], 0, b""
            self._began = self._say("MAIL", b"250 2.1.0 ok").startswith(b"2")
        elif verb == "RCPT":
            self._number += 1
            usual = b"452 4.5.3 too many" if self._number > self.crowd else b"250 2.1.5 ok"
            if not self._began:
                self._say("", b"503 5.5.1 no")
            elif self._say(f"RCPT {self._number}", usual).startswith(b"2"):
                self._accepted.append(line[9 : line.index(b">")].decode())
        elif verb == "DATA":
            usual = b"354 go" if self._accepted else b"503 5.5.1 no"
            self._in_data = self._say("DATA", usual).startswith(b"354")
        return True

    def _chunk(self, line: bytes, rest: bytes) -> bool:
        words = line.split()
        size = int(words[1])
        if len(rest) < size:
            return False
        self.commands.append(line)
        self._body, self._input = self._body + rest[:size], rest[size:]
        if words[2:] == [b"LAST"]:
            self._finish()
        else:
            self._say("BDAT", b"250 2.0.0 chunk")
        return True

    def _finish(self) -> None:
        usual = b"250 2.0.0 stored" if self._accepted else b"503 5.5.1 nobody"
        reply = self._say(".", usual)
        if self._accepted and (reply.startswith(b"2") or reply == CLOSE):
            self.stored.append((tuple(self._accepted), self._body))


def connected(extensions: dict[str, str], **script: Any) -> tuple[PeerConnection, MemoryPeer]:
    wire = Wire()
    peer = MemoryPeer(wire, **script)
    wire.connection_made(cast(asyncio.BaseTransport, peer))
    wire._response_pending = False
    connection = PeerConnection(Target("mx.test", "127.0.0.1", 25), SETTINGS, wire)
    connection.extensions = extensions
    return connection, peer


def content(octets: bytes = LETTER, **wishes: Any) -> Content:
    async def read(start: int, stop: int) -> bytes:
        return octets[start:stop]

    return Content(len(octets), read, **wishes)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(smtp_transaction, "BLOCK_OCTETS", 100)
    monkeypatch.setattr(smtp_transaction, "SMALL_OCTETS", 150)
    return iter(())


@pytest.mark.parametrize(
    ("extensions", "writes"),
    [({}, 6), ({"pipelining": ""}, 4), ({"chunking": ""}, 4), (ALL, 1)],
)
async def test_a_small_letter_goes_out_in_as_few_writes_as_the_peer_allows(
    extensions: dict[str, str], writes: int
) -> None:
    """RFC 2920, RFC 3030."""
    connection, peer = connected(extensions)
    answers = await connection.send(ZOE, TO[:2], content())
    assert all(reply.is_positive for reply in answers.by_recipient.values())
    assert peer.stored == [(("r0@cabinet-b.test", "r1@cabinet-b.test"), LETTER)]
    assert peer.writes == writes
    assert not connection.in_doubt


@pytest.mark.usefixtures("small_blocks")
async def test_a_large_letter_goes_out_in_chunks_when_somebody_wants_it() -> None:
    connection, peer = connected(ALL)
    await connection.send(ZOE, TO[:1], content())
    assert peer.stored == [(("r0@cabinet-b.test",), LETTER)]
    chunks = [line for line in peer.commands if line.startswith(b"BDAT")]
    assert chunks == [b"BDAT 100"] * 3 + [b"BDAT 58 LAST"]
    connection, peer = connected(ALL, says={"RCPT 1": b"550 5.1.1 no"})
    answers = await connection.send(ZOE, TO[:1], content())
    assert answers.by_recipient[TO[0]].code == 550
    assert peer.commands[-1].startswith(b"RCPT"), "nobody wants it: it is not sent"


@pytest.mark.usefixtures("small_blocks")
async def test_a_refused_chunk_ends_the_letter() -> None:
    connection, peer = connected(ALL, says={"BDAT": b"552 5.3.4 too big"})
    answers = await connection.send(ZOE, TO[:1], content())
    assert answers.by_recipient[TO[0]].code == 552
    assert len(peer.commands) == 3
    assert not peer.stored


async def test_who_is_one_too_many_goes_into_the_next_transaction() -> None:
    """RFC 5321 4.5.3.1.10."""
    for extensions in ({}, ALL):
        connection, peer = connected(extensions, crowd=4)
        first = await connection.send(ZOE, TO, content())
        assert (len(first.by_recipient), first.left) == (4, TO[4:])
        second = await connection.send(ZOE, first.left, content())
        assert (set(second.by_recipient), second.left) == (set(TO[4:]), ())
        assert [len(to) for to, _ in peer.stored] == [4, 2]
    connection, peer = connected(ALL, crowd=0)
    nobody = await connection.send(ZOE, TO[:2], content())
    assert (len(nobody.by_recipient), nobody.left) == (2, ()), "nobody at all: that is an answer"


async def test_the_limits_a_peer_names_are_kept() -> None:
    """RFC 9422."""
    connection, peer = connected(ALL | {"limits": "MAILMAX=2 RCPTMAX=2 RCPTDOMAINMAX=1"})
    left: tuple[Recipient, ...] = TO
    while left and not connection.is_spent:
        left = (await connection.send(ZOE, left, content())).left
    assert [len(to) for to, _ in peer.stored] == [2, 2]
    assert left == TO[4:]
    for nonsense in ("RCPTMAX=0", "RCPTMAX=x MAILMAX=", "RCPTMAX=99999999999"):
        connection.extensions = {"limits": nonsense}
        assert connection.most_recipients == 1_000
        assert not connection.is_spent


@pytest.mark.parametrize(
    ("offered", "said"),
    [
        ({}, b"MAIL FROM:<zoe.tartempion@hopital-a.test>"),
        (
            {"requiretls": "", "mt-priority": "", "deliverby": "", "dsn": ""},
            b"MAIL FROM:<zoe.tartempion@hopital-a.test> RET=HDRS ENVID=x+2B1"
            b" REQUIRETLS MT-PRIORITY=-3 BY=600;NT",
        ),
    ],
)
async def test_what_the_sender_asks_of_the_way_is_handed_on_to_who_knows_it(
    offered: dict[str, str], said: bytes
) -> None:
    """RFC 8689, 6710, 2852, 3461."""
    connection, peer = connected(offered)
    by = DeliverBy(datetime(2026, 3, 1, tzinfo=UTC), "N", trace=True)
    wishes: dict[str, Any] = {"envid": "x+2B1", "ret": "HDRS", "priority": -3, "by": by}
    wished = content(**wishes, by_s=600, require_tls="requiretls" in offered)
    await connection.send(ZOE, TO[:1], wished)
    assert peer.commands[0] == said


REPLIES = st.sampled_from(
    [
        b"250 2.0.0 ok",
        b"250-2.0.0 ok\r\n250 2.0.0 two lines",
        b"451 4.3.0 later",
        b"550 5.1.1 never",
        b"452 4.5.3 too many",
        b"354 go on",
        b"421 4.3.2 bye",
        b"bonjour",
        b"999 what",
        b"25",
        b"250 ok\rx",
        CLOSE,
    ]
)
STAGES = ("MAIL", "RCPT 1", "RCPT 2", "DATA", "BDAT", ".")
OFFERS = st.sampled_from([{}, {"pipelining": ""}, {"chunking": ""}, ALL])


@pytest.mark.attack
@settings(max_examples=150, deadline=None)
@given(
    offers=OFFERS,
    says=st.dictionaries(st.sampled_from(STAGES), REPLIES, max_size=3),
    cut=st.integers(1, 40),
    is_small=st.booleans(),
)
def test_att_02_nothing_is_lost_doubled_or_stuck_whatever_the_peer_answers(
    offers: dict[str, str], says: dict[str, bytes], cut: int, is_small: bool
) -> None:
    """What the peer stored is delivered or in doubt; what is delivered the peer has stored."""

    async def play() -> None:
        connection, peer = connected(offers, says=says, cut=cut)
        letter = LETTER if is_small else LETTER * 250
        answers = Answers()
        try:
            async with asyncio.timeout(30):
                answers = await connection.send(ZOE, TO[:2], content(letter))
        except PeerFailed:
            assert not peer.stored or connection.in_doubt
            assert not connection.is_open
            return
        assert set(answers.by_recipient) | set(answers.left) == set(TO[:2])
        stored = {address for to, _ in peer.stored for address in to}
        for recipient, reply in answers.by_recipient.items():
            if reply.is_positive:
                assert str(recipient.address) in stored
                assert peer.stored == [(tuple(sorted(stored)), letter)]
            elif str(recipient.address) in stored:
                assert connection.in_doubt
        if connection.in_doubt:
            assert not connection.is_open

    asyncio.run(play())


_SAID = [b"250 ok\r\n", b"250-a\r\n", b"354 go\n", b"25", b"0 x\r\n", b"abc\r\n", b"\r\n"]
_SAID += [b"250\r\n", b"421 4.3.2 \xff bye \r\n", b"999 x\r\n", b" ", b"\x00"]
_SAID += [b"550 " + b"x" * 5_000 + b"\r\n"]


def _heard(pieces: list[bytes], expected: int) -> tuple[list[tuple[int, str]], bool]:
    """The replies of a wire that expects so many and is cut off at the first violation."""

    async def listening() -> tuple[list[tuple[int, str]], bool]:
        wire = Wire()
        wire.connection_made(cast(asyncio.BaseTransport, MemoryPeer(wire)))
        wire.expect(expected)
        for piece in pieces:
            if not wire.violation:
                wire.data_received(piece)
        return [(each.code, each.text) for each in wire._replies], bool(wire.violation)

    return asyncio.run(listening())


@given(st.lists(st.sampled_from(_SAID), min_size=1, max_size=6), st.integers(1, 4), st.data())
@settings(max_examples=150, deadline=None)
def test_replies_are_the_same_however_their_octets_were_cut(
    said: list[bytes], expected: int, data: st.DataObject
) -> None:
    whole = b"".join(said)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True) if a < b]
    assert _heard(pieces, expected) == _heard([whole], expected)


@pytest.mark.attack
async def test_att_02_replies_that_nobody_asked_for_end_the_connection() -> None:
    """Behind the answers to a group of commands: taken for the next answer, they would accept."""
    says = {"RCPT 1": b"250 2.1.5 ok\r\n354 go on\r\n250 2.0.0 stored"}
    connection, peer = connected({"pipelining": ""}, says=says, cut=999)
    with pytest.raises(PeerViolates):
        await connection.send(ZOE, TO[:1], content())
    assert not peer.stored
    assert not connection.is_open
    connection, peer = connected(ALL, says={"MAIL": b"250 " + b"x" * 70_000}, cut=50_000)
    answers = await connection.send(ZOE, TO[:1], content())
    assert answers.by_recipient[TO[0]].code == 451, "a reply without end"


@pytest.mark.attack
@pytest.mark.parametrize("bad", [b"a\nb\r\n", b"a\r", b"a\0\r\n", b"\r\n.\r\r\n"])
async def test_att_01_chunks_carry_no_line_end_that_data_could_not(bad: bytes) -> None:
    """BDAT would carry it whole; whoever hands it on by DATA would be smuggling."""
    for size in (1, 1_000):
        connection, peer = connected(ALL)
        with pytest.raises(NotTransmissible):
            await connection.send(ZOE, TO[:1], content(LETTER * size + bad))
        assert not peer.stored
