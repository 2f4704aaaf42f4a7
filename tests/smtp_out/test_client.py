"""One conversation with a peer over real TLS: what is said, what is never said."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
import warnings
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import uvloop
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from mssmtp import smtp_wire
from mssmtp.config import CertificateSettings, TlsSettings
from mssmtp.demo.authority import Authority, Identity
from mssmtp.mail import Address, Domain, Recipient
from mssmtp.smtp_client import ClientSettings, Content, PeerConnection, Target
from mssmtp.smtp_transaction import BLOCK_OCTETS
from mssmtp.smtp_wire import (
    DotStuffer,
    NotTransmissible,
    PeerFailed,
    PeerGone,
    PeerNotTrusted,
    PeerReply,
    PeerViolates,
    TlsUnavailable,
)
from mssmtp.tls_stdlib import client_context
from tests.authority import A_DOMAIN, B_DOMAIN
from tests.smtp_out.peer import Peer, Script

ZOE = Address.parse("zoe.tartempion@hopital-a.test")
LUC = Recipient(Address.parse("luc.dupont@cabinet-b.test"))
EVE = Recipient(Address.parse("eve.durand@cabinet-b.test"))
LETTER = b"From: zoe\r\nSubject: essai\r\n\r\n.point\r\n..deux\r\nfin\r\n"

MakePeer = Callable[[Script], Peer]
Connect = Callable[[Peer], Awaitable[PeerConnection]]


@pytest.fixture
def make_peer(authority: Authority, healthy: dict[str, Identity], tmp_path: Path) -> MakePeer:
    return lambda script: Peer(healthy[B_DOMAIN], authority, tmp_path, script)


@pytest.fixture
def settings(healthy: dict[str, Identity], tmp_path: Path) -> ClientSettings:
    files = healthy[A_DOMAIN].write(tmp_path, "ours")
    own = CertificateSettings(certificate_file=files.certificate_file, key_file=files.key_file)
    tls = TlsSettings(operators=own, users=own)
    return ClientSettings(
        host_name=Domain("smtp.hopital-a.test"),
        context=client_context(tls, own),
        connect_timeout_s=30.0,
        command_timeout_s=30.0,
        handshake_timeout_s=30.0,
    )


@pytest.fixture
def connect(settings: ClientSettings) -> Connect:
    async def open_one(peer: Peer) -> PeerConnection:
        return await PeerConnection.open(
            Target("mx.cabinet-b.test", "127.0.0.1", peer.port), settings
        )

    return open_one


def content(octets: bytes) -> Content:
    async def read(start: int, stop: int) -> bytes:
        return octets[start:stop]

    return Content(len(octets), read)


# ---------------------------------------------------------------- stuffing


def stuffed(blocks: list[bytes]) -> bytes:
    stuffer = DotStuffer()
    return b"".join([*(stuffer.feed(block) for block in blocks), stuffer.finish()])


def unstuffed(octets: bytes) -> bytes:
    """RFC 5321 4.5.2, line by line, written another way than the code under test."""
    lines = octets.split(b"\r\n")
    assert lines[-2:] == [b".", b""]
    lines = lines[:-2]
    assert b"." not in lines
    return b"".join(line.removeprefix(b".") + b"\r\n" for line in lines)


LINES = [b"\r\n", b".", b"..", b"x", b".\r\n", b"x.", b"long " * 40]


@given(st.lists(st.sampled_from(LINES)))
def test_stuffing_ignores_how_octets_were_split(blocks: list[bytes]) -> None:
    whole = b"".join(blocks)
    expected = stuffed([whole])
    assert stuffed(blocks) == expected
    assert stuffed([whole[i : i + 1] for i in range(len(whole))]) == expected


@given(st.lists(st.sampled_from(LINES)).map(b"".join))
def test_a_peer_that_unstuffs_gets_the_content_back(octets: bytes) -> None:
    complete = octets if octets.endswith(b"\r\n") or not octets else octets + b"\r\n"
    assert unstuffed(stuffed([octets])) == complete


@pytest.mark.attack
@given(st.lists(st.sampled_from([b"\r", b"\n", b".", b"\0", b"x", b"\r\n"]), max_size=7))
def test_att_01_no_ambiguous_line_end_is_ever_emitted(blocks: list[bytes]) -> None:
    """Either refused, or every CR is before an LF, every LF behind a CR, and one end of data."""
    try:
        octets = stuffed(blocks)
    except NotTransmissible:
        joined = b"".join(blocks)
        assert joined.replace(b"\r\n", b"").strip(b"x.") != b""
        return
    assert octets.count(b"\r") == octets.count(b"\n") == octets.count(b"\r\n")
    assert b"\0" not in octets
    assert (b"\r\n" + octets).count(b"\r\n.\r\n") == 1


@pytest.mark.attack
def test_att_01_the_detector_sees_a_stuffer_without_its_check(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def weak(self: DotStuffer, block: bytes) -> bytes:
        return block.replace(b"\r\n.", b"\r\n..")

    monkeypatch.setattr(smtp_wire.DotStuffer, "feed", weak)
    octets = stuffed([b"x\n.\nMAIL FROM:<a@b>\r\n"])
    assert octets.count(b"\n") != octets.count(b"\r\n")


@pytest.mark.parametrize(
    ("reply", "enhanced"),
    [
        (PeerReply(550, "5.1.1 unknown"), "5.1.1"),
        (PeerReply(550, "5.7.1"), "5.7.1"),
        (PeerReply(550, "unknown"), "5.1.1"),
        (PeerReply(550, "2.0.0 lies"), "5.1.1"),
        (PeerReply(554, "no"), "5.0.0"),
        (PeerReply(451, "4.7.1 later"), "4.7.1"),
        (PeerReply(250, "ok"), "2.0.0"),
    ],
)
def test_enhanced_code_is_the_peers_or_the_nearest(reply: PeerReply, enhanced: str) -> None:
    assert reply.enhanced == enhanced


# ---------------------------------------------------------------- conversations


@pytest.mark.requirement("OP-01")
async def test_a_letter_crosses_octet_for_octet_with_our_certificate(
    make_peer: MakePeer, connect: Connect
) -> None:
    async with make_peer(Script()) as peer:
        connection = await connect(peer)
        answers = await connection.send(ZOE, (LUC,), content(LETTER))
        await connection.quit()
    assert answers.by_recipient[LUC].is_positive
    message = peer.messages[0]
    assert message.body == LETTER
    assert (message.sender, message.recipients) == (str(ZOE), (str(LUC.address),))
    assert "mx.hopital-a.test" in peer.sessions[0].client_subject
    assert peer.sessions[0].verbs == [
        "EHLO", "STARTTLS", "EHLO", "MAIL", "RCPT", "DATA", "QUIT",
    ]  # fmt: skip
    mail = peer.sessions[0].commands[3]
    assert mail == f"MAIL FROM:<{ZOE}> SIZE={len(LETTER)} BODY=8BITMIME"
    assert connection.chain[0].subject.rfc4514_string().count("mx.cabinet-b.test") == 1
    assert connection.tls_version == "TLSv1.3"


async def test_parameters_are_sent_only_when_announced(
    make_peer: MakePeer, connect: Connect
) -> None:
    wishes = Recipient(LUC.address, notify=frozenset({"SUCCESS"}), orcpt="rfc822;luc@b.test")
    asked = Content(len(LETTER), content(LETTER).read, envid="QQ1", ret="HDRS")
    async with (
        make_peer(Script(extensions=())) as bare,
        make_peer(Script(extensions=(b"DSN",))) as full,
    ):
        for peer in (bare, full):
            connection = await connect(peer)
            await connection.send(None, (wishes,), asked)
            await connection.quit()
    assert bare.sessions[0].commands[3:5] == ["MAIL FROM:<>", f"RCPT TO:<{LUC.address}>"]
    assert full.sessions[0].commands[3:5] == [
        "MAIL FROM:<> RET=HDRS ENVID=QQ1",
        f"RCPT TO:<{LUC.address}> NOTIFY=SUCCESS ORCPT=rfc822;luc@b.test",
    ]


async def test_each_recipient_has_its_own_outcome(make_peer: MakePeer, connect: Connect) -> None:
    script = Script(replies={"RCPT eve.durand": b"550 5.1.1 unknown"})
    async with make_peer(script) as peer:
        connection = await connect(peer)
        answers = await connection.send(ZOE, (LUC, EVE), content(LETTER))
        await connection.quit()
    assert answers.by_recipient[LUC].code == 250
    assert str(answers.by_recipient[EVE]) == "550 5.1.1 unknown"
    assert peer.messages[0].recipients == (str(LUC.address),)


@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA", "."])
async def test_a_refusal_at_any_step_is_that_of_every_recipient(
    make_peer: MakePeer, connect: Connect, verb: str
) -> None:
    async with make_peer(Script(replies={verb: b"451-4.3.0 not\r\n451 4.3.0 now"})) as peer:
        connection = await connect(peer)
        answers = await connection.send(ZOE, (LUC, EVE), content(LETTER))
        assert {str(r) for r in answers.by_recipient.values()} == {"451 4.3.0 not 4.3.0 now"}
        assert await connection.is_alive()
        await connection.quit()
    assert not peer.messages


@pytest.mark.requirement("OP-03", "OP-01")
@pytest.mark.parametrize(
    "script",
    [
        Script(starttls=False),
        Script(starttls_reply=b"454 4.7.0 not now"),
        Script(starttls_reply=b"502 5.5.1 no"),
    ],
    ids=["not offered", "refused now", "unknown"],
)
async def test_without_tls_nothing_about_the_letter_is_said(
    make_peer: MakePeer, connect: Connect, script: Script
) -> None:
    async with make_peer(script) as peer:
        with pytest.raises(TlsUnavailable) as failure:
            await connect(peer)
    assert failure.value.reply.enhanced == "4.7.4"
    assert not {"MAIL", "RCPT", "DATA"} & set(peer.sessions[0].verbs)


async def test_a_certificate_that_cannot_be_read_is_not_trusted(
    make_peer: MakePeer, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(octets: bytes) -> x509.Certificate:
        raise x509.InvalidVersion("version 3 is not known", 3)

    monkeypatch.setattr(x509, "load_der_x509_certificate", unreadable)
    async with make_peer(Script()) as peer:
        with pytest.raises(PeerNotTrusted):
            await connect(peer)


async def test_a_peer_that_refuses_our_certificate_is_a_tls_failure(
    make_peer: MakePeer, settings: ClientSettings
) -> None:
    assert isinstance(settings.context, ssl.SSLContext)
    settings.context.set_alpn_protocols([])
    bare = type(settings.context)(settings.context.protocol)
    bare.check_hostname = False
    bare.verify_mode = settings.context.verify_mode
    without = ClientSettings(settings.host_name, bare, 5.0, 5.0, 5.0)
    async with make_peer(Script()) as peer:
        with pytest.raises(TlsUnavailable):
            await PeerConnection.open(Target("mx.test", "127.0.0.1", peer.port), without)


INJECTED = b"250-mx\r\n250 SIZE 1\r\n"


@pytest.mark.attack
@pytest.mark.requirement("OP-01")
async def test_att_02_octets_behind_the_220_end_the_connection(
    make_peer: MakePeer, connect: Connect
) -> None:
    async with make_peer(Script(behind_220=INJECTED)) as peer:
        with pytest.raises(PeerViolates):
            await connect(peer)
    assert peer.sessions[0].verbs[:2] == ["EHLO", "STARTTLS"]
    assert not peer.sessions[0].tls


@pytest.mark.attack
async def test_att_02_the_detector_sees_a_client_that_forgives(
    make_peer: MakePeer, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without our guard aiosmtplib drops the injected octets in silence and goes on."""
    monkeypatch.setattr(smtp_wire.Wire, "_violate", lambda self, what: None)
    async with make_peer(Script(behind_220=INJECTED)) as peer:
        connection = await connect(peer)
        assert peer.sessions[0].tls
        await connection.quit()


@pytest.mark.attack
async def test_att_02_unasked_octets_inside_tls_end_the_connection(
    make_peer: MakePeer, connect: Connect
) -> None:
    async with make_peer(Script(in_tls=b"250 SIZE 1\r\n")) as peer:
        with pytest.raises(PeerFailed):
            await (await connect(peer)).send(ZOE, (LUC,), content(LETTER))
    assert not peer.messages


@pytest.mark.attack
@pytest.mark.parametrize(
    "greeting",
    [
        b"220 " + b"x" * 40_000,
        b"220-x\r\n" * 10_000 + b"220 x",
        b"99 low",
        b"abc",
        b"",
        b"220 ok\r\n220 twice",
        b"\xff\xfe",
    ],
    ids=["long line", "many lines", "low code", "words", "closed", "two replies", "8-bit"],
)
async def test_a_greeting_that_is_none_fails_within_bounds(
    make_peer: MakePeer, connect: Connect, greeting: bytes
) -> None:
    async with make_peer(Script(greeting=greeting)) as peer:
        with pytest.raises(PeerFailed):
            await connect(peer)


@pytest.mark.parametrize("greeting", [b"421 4.3.2 busy", b"554 5.7.1 go away"])
async def test_a_greeting_never_bounces_mail(
    make_peer: MakePeer, connect: Connect, greeting: bytes
) -> None:
    async with make_peer(Script(greeting=greeting)) as peer:
        with pytest.raises(PeerFailed) as failure:
            await connect(peer)
    assert failure.value.reply.is_temporary


async def test_nobody_listening_is_temporary(make_peer: MakePeer, connect: Connect) -> None:
    async with make_peer(Script()) as peer:
        pass
    with pytest.raises(PeerFailed) as failure:
        await connect(peer)
    assert failure.value.reply.enhanced == "4.4.1"


async def test_a_silent_server_costs_one_timeout(
    make_peer: MakePeer, settings: ClientSettings
) -> None:
    quick = ClientSettings(settings.host_name, settings.context, 1.0, 0.05, 1.0)
    async with make_peer(Script(silent=True)) as peer:
        with pytest.raises(PeerGone):
            await PeerConnection.open(Target("mx.test", "127.0.0.1", peer.port), quick)


@pytest.mark.requirement("OP-01")
async def test_a_lost_final_reply_leaves_the_recipient_in_doubt(
    make_peer: MakePeer, connect: Connect
) -> None:
    async with make_peer(Script(lost_finals=1)) as peer:
        connection = await connect(peer)
        answers = await connection.send(ZOE, (LUC,), content(LETTER))
        assert not connection.is_open
    assert connection.in_doubt
    assert not answers.by_recipient[LUC].is_permanent
    assert len(peer.messages) == 1


@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA"])
async def test_a_connection_lost_before_the_dot_is_not_in_doubt(
    make_peer: MakePeer, connect: Connect, verb: str
) -> None:
    async with make_peer(Script(replies={verb: b""})) as peer:
        connection = await connect(peer)
        with pytest.raises(PeerGone):
            await connection.send(ZOE, (LUC,), content(LETTER))


async def endless(start: int, stop: int) -> bytes:
    return b"x" * (stop - start - 2) + b"\r\n"


BIG = Content(40 * 1_048_576, endless)
"""More than all the buffers between us and a peer that stops reading."""


async def test_a_refusal_in_the_middle_of_the_content_is_taken(
    make_peer: MakePeer, connect: Connect
) -> None:
    async with make_peer(Script(early=b"552 5.3.4 too big")) as peer:
        connection = await connect(peer)
        answers = await connection.send(ZOE, (LUC,), BIG)
        assert not connection.is_open
    assert answers.by_recipient[LUC].enhanced == "5.3.4"
    assert not connection.in_doubt
    assert not peer.messages


@pytest.mark.attack
async def test_an_acceptance_before_the_dot_is_not_believed(
    make_peer: MakePeer, connect: Connect
) -> None:
    async with make_peer(Script(early=b"250 2.0.0 stored, trust me")) as peer:
        connection = await connect(peer)
        with pytest.raises(PeerViolates):
            await connection.send(ZOE, (LUC,), BIG)
    assert not peer.messages


@pytest.mark.attack
async def test_att_01_bare_line_ends_never_reach_a_peer(
    make_peer: MakePeer, connect: Connect
) -> None:
    bad = LETTER + b"\n.\nMAIL FROM:<x@y.test>\r\n"
    async with make_peer(Script()) as peer:
        connection = await connect(peer)
        with pytest.raises(NotTransmissible) as refusal:
            await connection.send(ZOE, (LUC,), content(bad))
        assert not connection.is_open
    assert refusal.value.reply.enhanced == "5.6.0"
    assert not peer.messages


async def test_one_connection_carries_many_messages(make_peer: MakePeer, connect: Connect) -> None:
    async with make_peer(Script()) as peer:
        connection = await connect(peer)
        for _ in range(3):
            await connection.send(ZOE, (LUC,), content(LETTER))
            assert await connection.is_alive()
        await connection.quit()
        assert not await connection.is_alive()
    assert len(peer.sessions) == 1
    assert len(peer.messages) == 3


@pytest.mark.parametrize("value", [b"SIZE 1000", b"SIZE", b"SIZE 0", b"SIZE x1"])
async def test_size_is_read_as_rfc_1870_says(
    make_peer: MakePeer, connect: Connect, value: bytes
) -> None:
    async with make_peer(Script(extensions=(value,))) as peer:
        connection = await connect(peer)
        assert connection.largest_octets == (1000 if value == b"SIZE 1000" else None)
        await connection.quit()


def _dotted(size_octets: int) -> bytes:
    """Lines that begin with dots, also exactly where the blocks meet, before and after."""
    line = b"." * 2 + b"ligne" * 13 + b"\r\n"
    octets = bytearray(line * (size_octets // len(line)))
    for border in range(BLOCK_OCTETS, len(octets) - 16, BLOCK_OCTETS):
        shift = (border // BLOCK_OCTETS) % 6
        octets[border - 8 : border + 8] = b"x" * 16
        if octets[border - 9] == 0x0D:
            octets[border - 9] = 0x78
        if octets[border + 8] == 0x0A:
            octets[border + 8] = 0x78
        octets[border - shift : border - shift + 5] = b"\r\n.\r\n"
    return bytes(octets)


async def test_ten_mebioctets_with_dots_at_block_borders_arrive_unchanged(
    make_peer: MakePeer, connect: Connect
) -> None:
    octets = _dotted(10 * 1_048_576)
    held = 0

    async def read(start: int, stop: int) -> bytes:
        nonlocal held
        held = max(held, stop - start)
        return octets[start:stop]

    async with make_peer(Script()) as peer:
        connection = await connect(peer)
        answers = await connection.send(ZOE, (LUC,), Content(len(octets), read))
        await connection.quit()
    assert answers.by_recipient[LUC].is_positive
    assert peer.messages[0].sha256 == hashlib.sha256(octets).hexdigest()
    assert held <= BLOCK_OCTETS


# ---------------------------------------------------------------- TLS and event loops


def _old(context: ssl.SSLContext) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the standard library warns of what is tested here
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")


def _suite(name: str) -> Callable[[ssl.SSLContext], None]:
    def weaken(context: ssl.SSLContext) -> None:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(f"{name}:@SECLEVEL=0")

    return weaken


@pytest.mark.attack
@pytest.mark.requirement("OP-05", "OP-01")
@pytest.mark.parametrize(
    "weaken",
    [
        _old,
        _suite("AES128-GCM-SHA256"),
        _suite("ECDHE-RSA-AES128-SHA256"),
        _suite("ECDHE-RSA-AES128-SHA"),
        _suite("NULL-SHA256"),
        _suite("ADH-AES128-GCM-SHA256"),
    ],
    ids=["TLS 1.1", "static RSA", "CBC SHA-256", "CBC SHA-1", "NULL", "anonymous"],
)
async def test_a_server_with_weak_tls_only_gets_nothing(
    make_peer: MakePeer, connect: Connect, weaken: Callable[[ssl.SSLContext], None]
) -> None:
    async with make_peer(Script()) as peer:
        weaken(peer.context)
        with pytest.raises(TlsUnavailable):
            await connect(peer)
    assert not {"MAIL", "DATA"} & set(peer.sessions[0].verbs)


@pytest.mark.requirement("OP-05")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_both_allowed_versions_are_spoken(
    make_peer: MakePeer, connect: Connect, version: ssl.TLSVersion
) -> None:
    async with make_peer(Script()) as peer:
        peer.context.maximum_version = version
        connection = await connect(peer)
        answers = await connection.send(ZOE, (LUC,), content(LETTER))
        await connection.quit()
    assert answers.by_recipient[LUC].is_positive
    assert connection.tls_version == version.name.replace("_", ".")


def test_the_servers_own_event_loop_behaves_alike(make_peer: MakePeer, connect: Connect) -> None:
    """uvloop has other transports: the same letter, the same guard."""

    async def scene() -> None:
        async with (
            make_peer(Script()) as honest,
            make_peer(Script(behind_220=INJECTED)) as hostile,
            make_peer(Script(early=b"552 5.3.4 too big")) as full,
        ):
            connection = await connect(honest)
            assert (await connection.send(ZOE, (LUC,), content(LETTER))).by_recipient
            await connection.quit()
            with pytest.raises(PeerViolates):
                await connect(hostile)
            connection = await connect(full)
            answers = await connection.send(ZOE, (LUC,), BIG)
            assert answers.by_recipient[LUC].enhanced == "5.3.4"
        assert honest.messages[0].body == LETTER

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scene())
