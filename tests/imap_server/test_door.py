"""The door on real sockets: TLS, limits, hostile peers, IDLE, orderly stop."""

from __future__ import annotations

import asyncio
import resource
import threading
import zlib
from typing import Any

import pytest

from mssmtp import imap_server
from mssmtp.errors import StorageFull
from mssmtp.imap.command import Done
from mssmtp.imap.commands import noop, select, starttls
from mssmtp.imap.effects import StartTls, Steps
from mssmtp.imap.session import Session, Timing
from mssmtp.imap_server import _Connection
from mssmtp.mail import Change, Principal
from mssmtp.outside import SystemClock, SystemEntropy
from mssmtp.storage import Letter, Reading, Store, readings
from tests.imap.world import ManualClock, message
from tests.imap_server.rig import LUC, PASSWORD, SERVICE, ZOE, Raw, Rig, until
from tests.stopped_clock import clock_stopped

pytestmark = pytest.mark.end_to_end

LOGIN = f'LOGIN {ZOE} "{PASSWORD}"'.encode()


@pytest.mark.requirement("OP-81")
async def test_before_tls_no_password_is_offered_or_taken(rig: Rig) -> None:
    async with rig.door(implicit_tls=False) as (_, port):
        raw = await rig.raw(port, tls=False)
        greeting = await raw.line()
        assert b"LOGINDISABLED" in greeting
        assert b"STARTTLS" in greeting
        assert b"AUTH=" not in greeting
        assert b"NO [PRIVACYREQUIRED]" in (await raw.command(LOGIN))[-1]
        assert b"NO [PRIVACYREQUIRED]" in (await raw.command(b"AUTHENTICATE PLAIN AAAA"))[-1]
        await raw.starttls(rig.context)
        capability = (await raw.ok(b"CAPABILITY"))[0]
        assert b"AUTH=PLAIN" in capability
        assert b"LOGINDISABLED" not in capability
        assert b"STARTTLS" not in capability
        await raw.login()
        assert b"BAD" in (await raw.command(b"STARTTLS"))[-1]


async def _injected(rig: Rig, port: int) -> bytes:
    """Whatever comes back when NOOP is written in clear behind STARTTLS."""
    raw = await rig.raw(port, tls=False)
    await raw.line()
    await raw.send(b"a STARTTLS\r\nb NOOP\r\n")
    return await raw.ends()


@pytest.mark.attack
@pytest.mark.parametrize("split", [False, True])
async def test_att_02_octets_behind_starttls_are_never_executed(rig: Rig, *, split: bool) -> None:
    async with rig.door(implicit_tls=False) as (_, port):
        if not split:
            heard = await _injected(rig, port)
            assert b"b OK" not in heard
            assert b"BYE" in heard
            return
        raw = await rig.raw(port, tls=False)
        await raw.line()
        await raw.send(b"a STARTTLS\r\n")
        await raw.line()
        await raw.send(b"b NOOP\r\n")  # read as a ClientHello: the handshake fails
        assert b"b OK" not in await raw.ends()


@pytest.mark.attack
async def test_att_02_a_door_that_keeps_them_is_seen(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The detector above fires on a build without the guard."""

    def weak(self: starttls.Starttls, session: Session, tag: bytes) -> Steps[None]:
        yield StartTls(tag + b" OK go\r\n")

    async def in_clear(self: _Connection, reply: bytes) -> None:
        self._transport.write(reply)

    monkeypatch.setattr(starttls.Starttls, "run", weak)
    monkeypatch.setattr(_Connection, "_start_tls", in_clear)
    async with rig.door(implicit_tls=False) as (_, port):
        raw = await rig.raw(port, tls=False)
        await raw.line()
        await raw.send(b"a STARTTLS\r\nb NOOP\r\n")
        assert any(line.startswith(b"b OK") for line in await raw.until(b"b "))


def _peak_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.mark.attack
@pytest.mark.parametrize(
    ("announcement", "survives"), [(b"{4294967296}", True), (b"{4294967296+}", False)]
)
async def test_att_03_a_4_gib_literal_before_login_is_refused_unread(
    rig: Rig, announcement: bytes, *, survives: bool
) -> None:
    async with rig.door() as (_, port):
        before = _peak_kib()
        raws = [await rig.raw(port) for _ in range(20)]
        for raw in raws:
            await raw.line()
            await raw.send(b"a LOGIN " + announcement + b"\r\n")
            assert (await raw.line()).startswith(b"a NO [TOOBIG]")
            if survives:
                await raw.ok(b"NOOP")
            else:
                assert (await raw.line()).startswith(b"* BYE")
                assert await raw.ends() == b""
        assert _peak_kib() - before < 32_768


@pytest.mark.attack
async def test_an_http_request_hears_bad_and_bye(rig: Rig) -> None:
    async with rig.door() as (_, port):
        raw = await rig.raw(port)
        await raw.line()
        await raw.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        heard = await raw.ends()
        assert b"BAD" in heard
        assert b"* BYE" in heard


@pytest.mark.attack
async def test_a_thousand_wrong_passwords_never_keep_an_honest_client_out(rig: Rig) -> None:
    """Each connection ends after `limits.wrong_passwords`; the others do not notice."""
    wrong = b'LOGIN %b "wrong"' % LUC.encode()
    rig.limit(wrong_passwords=5)
    async with rig.door() as (_, port):
        attackers = [await rig.raw(port) for _ in range(4)]

        async def attack(raw: Raw) -> int:
            await raw.line()
            tries = 0
            while lines := await raw.command(wrong):
                tries += 1
                if not any(b"NO" in line for line in lines) or tries == 5:
                    break
            assert b"BYE" in await raw.ends()
            return tries

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(attack(raw)) for raw in attackers]
            honest = await rig.client(port)
            await honest.ok(b"NOOP")
        assert [task.result() for task in tasks] == [5, 5, 5, 5]


@pytest.mark.attack
async def test_att_14_broken_logins_leave_others_alone(rig: Rig) -> None:
    bad = (
        b"AUTHENTICATE PLAIN !!!!",
        b"AUTHENTICATE PLAIN =",
        b"AUTHENTICATE PLAIN AGEAYgBj",
        b"AUTHENTICATE LOGIN gICA",
        b'LOGIN "\xff\xfe" "\xff"',
        b"AUTHENTICATE NTLM",
        b"LOGIN",
    )
    async with rig.door() as (_, port):
        for text in bad:
            raw = await rig.raw(port)
            await raw.line()
            await raw.send(b"a " + text + b"\r\n")
            assert b" OK" not in await raw.line()
            raw.close()
        honest = await rig.client(port)
        await honest.ok(b"NOOP")


@pytest.mark.attack
async def test_att_18_a_revoked_password_ends_an_open_session(rig: Rig) -> None:
    async with rig.door() as (_, port):
        raw = await rig.client(port)
        await raw.ok(b"NOOP")

        def revoke(writing: object) -> None:
            account = writing.account(ZOE)  # type: ignore[attr-defined]
            for password in writing.app_passwords(account.id):  # type: ignore[attr-defined]
                writing.revoke_app_password(password.id)  # type: ignore[attr-defined]

        await asyncio.wrap_future(rig.store.write(revoke))
        assert b"* BYE [EXPIRED]" in b"".join(await raw.command(b"FETCH 1:* FLAGS"))
        assert await raw.ends() == b""


@pytest.mark.attack
async def test_att_41_connections_of_one_address_are_bounded(rig: Rig) -> None:
    rig.limit(connections_per_address=3)
    async with rig.door() as (_, port):
        for _ in range(3):
            assert b"* OK" in await (await rig.raw(port)).line()
        assert b"* BYE [LIMIT]" in await (await rig.raw(port)).line()


@pytest.mark.attack
async def test_att_41_a_stranger_who_says_nothing_is_sent_away(rig: Rig) -> None:
    rig.limit(idle_prelogin_s=0.05)
    async with rig.door() as (_, port):
        with clock_stopped():
            raw = await rig.raw(port)
        assert b"* BYE" in await raw.ends()


async def test_login_with_an_initial_response_and_without(rig: Rig) -> None:
    import base64

    token = base64.b64encode(f"\0{ZOE}\0{PASSWORD}".encode())
    async with rig.door() as (_, port):
        raw = await rig.raw(port)
        await raw.line()
        assert b"CAPABILITY" in (await raw.ok(b"AUTHENTICATE PLAIN " + token))[-1]
        raw = await rig.raw(port)
        await raw.line()
        await raw.send(b"a AUTHENTICATE PLAIN\r\n")
        assert await raw.line() == b"+ \r\n"
        await raw.send(token + b"\r\n")
        assert (await raw.line()).startswith(b"a OK")


async def test_a_delivery_wakes_idle(rig: Rig) -> None:
    async with rig.door() as (_, port):
        raw = await rig.client(port)
        await raw.send(b"i IDLE\r\n")
        assert (await raw.line()).startswith(b"+ ")
        await asyncio.to_thread(rig.deliver, message(1))
        assert await raw.line() == b"* 1 EXISTS\r\n"
        await raw.send(b"DONE\r\nj NOOP\r\n")
        lines = await raw.until(b"j ")
        assert b"i OK IDLE completed\r\n" in lines


async def test_a_delivery_by_another_worker_wakes_idle(rig: Rig) -> None:
    other = Store(rig.settings.store, SystemClock(), SystemEntropy(), worker="other")
    try:
        async with rig.door() as (_, port), rig.door(store=other) as (_, other_port):
            here, there = await rig.client(port), await rig.client(other_port)
            await there.send(b"i IDLE\r\n")
            assert (await there.line()).startswith(b"+ ")
            letter = message(1)
            await here.ok(b"APPEND INBOX {%d+}\r\n%b" % (len(letter), letter))
            assert await there.line() == b"* 1 EXISTS\r\n"
    finally:
        other.close()


async def test_events_of_other_mailboxes_come_by_themselves_from_every_worker(rig: Rig) -> None:
    """NOTIFY (RFC 5465): without a command, and only of the boxes that are listened to."""
    other = Store(rig.settings.store, SystemClock(), SystemEntropy(), worker="other")
    try:
        async with rig.door() as (door, port), rig.door(store=other) as (_, other_port):
            here, there = await rig.client(port), await rig.client(other_port)
            events = b"(MessageNew MessageExpunge MailboxName)"
            await here.ok(
                b"NOTIFY SET (personal %b) (selected (MessageNew MessageExpunge))" % events
            )
            await there.ok(b"CREATE Fax")
            assert (await here.line()).startswith(b"* LIST")
            await there.ok(b"APPEND Fax {5+}\r\nhello")
            assert (await here.line()).startswith(b'* STATUS "Fax" (MESSAGES 1 ')
            await there.ok(b"APPEND INBOX {5+}\r\nhello")
            assert await here.line() == b"* 1 EXISTS\r\n"
            assert (await here.line()).endswith(b" RECENT\r\n")
            await here.ok(b"NOTIFY NONE")
            assert not door.hub._listeners
            await there.ok(b"APPEND Fax {5+}\r\nhello")
            assert len(await here.ok(b"NOOP")) == 1
    finally:
        other.close()


async def test_the_loop_is_woken_only_for_what_somebody_looks_at(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    dispatched: list[tuple[Change, ...]] = []
    dispatch = imap_server._Hub._dispatch

    def noting(hub: imap_server._Hub, changes: tuple[Change, ...]) -> None:
        dispatched.append(changes)
        dispatch(hub, changes)

    monkeypatch.setattr(imap_server._Hub, "_dispatch", noting)
    async with rig.door() as (door, port):
        idle, writer = await rig.client(port), await rig.client(port)
        await writer.ok(b"CREATE Fax")
        await idle.send(b"i IDLE\r\n")
        await idle.line()
        heard = door.hub.times_heard
        await writer.ok(b"APPEND Fax {5+}\r\nhello")
        await until(lambda: door.hub.times_heard > heard)
        assert dispatched == []
        await writer.ok(b"APPEND INBOX {5+}\r\nhello")
        assert await idle.line() == b"* 1 EXISTS\r\n"
    assert len(dispatched) == 1


async def test_idle_says_something_at_each_interval(rig: Rig) -> None:
    rig.timing = Timing(keep_alive_s=0.01, refresh_s=0.0)
    async with rig.door() as (_, port):
        raw = await rig.client(port)
        await raw.send(b"i IDLE\r\n")
        await raw.line()
        assert await raw.line() == b"* OK Still here\r\n"
        assert await raw.line() == b"* OK Still here\r\n"


async def test_an_orderly_stop_says_bye(rig: Rig) -> None:
    async with rig.door() as (door, port):
        idle, quiet = await rig.client(port), await rig.client(port)
        await idle.send(b"i IDLE\r\n")
        await idle.line()
        await door.stop(2.0)
        assert b"* BYE [UNAVAILABLE]" in await idle.ends()
        assert b"* BYE [UNAVAILABLE]" in await quiet.ends()


async def test_a_client_that_vanishes_in_the_middle_of_an_append_leaves_nothing(rig: Rig) -> None:
    async with rig.door() as (door, port):
        raw = await rig.client(port)
        await raw.send(b"a APPEND INBOX {1000000+}\r\n" + b"x" * 500_000)
        raw.close()
        await asyncio.wait([connection.task for connection in door.connections])
        honest = await rig.client(port)
        assert b"* 0 EXISTS\r\n" in await honest.ok(b"SELECT INBOX")


async def test_a_slow_reader_of_a_large_letter_holds_no_memory(rig: Rig) -> None:
    """OLC-04: 15 MB are streamed; the door holds at most its water marks."""
    rig.deliver(message(1) + (b"x" * 76 + b"\r\n") * 200_000)
    async with rig.door() as (door, port):
        raw = await rig.client(port)
        before = _peak_kib()
        await raw.send(b"a FETCH 1 BODY.PEEK[]\r\n")
        await raw.line()
        connection = next(iter(door.connections))
        await until(lambda: not connection._writable.is_set())
        assert connection._transport.get_write_buffer_size() < 2_000_000
        other = await rig.client(port)
        await other.ok(b"NOOP")
        tail = b""
        async with asyncio.timeout(15):
            while b"\r\na OK" not in tail:
                tail = tail[-20:] + await raw.reader.read(1 << 18)
        assert _peak_kib() - before < 12_288


@pytest.mark.requirement("OP-66")
@pytest.mark.parametrize("sign", [b"", b"+"])
async def test_a_letter_too_big_is_refused_and_the_session_goes_on(rig: Rig, sign: bytes) -> None:
    rig.limit(message_octets=100_000)
    async with rig.door() as (_, port):
        raw = await rig.client(port)
        assert b"APPENDLIMIT=100000" in (await raw.ok(b"CAPABILITY"))[0]
        octets = b"x" * 100_001 + b"\r\n" if sign else b""
        await raw.send(b"a APPEND INBOX {100001%b}\r\n" % sign + octets)
        assert (await raw.line()).startswith(b"a NO [TOOBIG]")
        await raw.ok(b"APPEND INBOX {100000+}\r\n" + b"y" * 100_000)


async def test_our_own_bug_answers_serverbug_and_the_session_goes_on(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(self: noop.Noop, session: Session, tag: bytes) -> Steps[None]:
        raise ZeroDivisionError
        yield

    async with rig.door() as (_, port):
        raw = await rig.client(port)
        with monkeypatch.context() as patch:
            patch.setattr(noop.Noop, "run", broken)
            assert b"NO [SERVERBUG]" in (await raw.command(b"NOOP"))[-1]
        await raw.ok(b"NOOP")
    assert "imap command failed" in caplog.text


@pytest.mark.attack
async def test_att_27_pipelined_commands_do_not_stop_the_others(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine_run, genuine_sleep = noop.Noop.run, asyncio.sleep
    in_a_row: list[int] = [0]

    def counted(self: noop.Noop, session: Session, tag: bytes) -> Steps[Done]:
        in_a_row[-1] += 1
        return (yield from genuine_run(self, session, tag))

    async def turn(seconds: float) -> None:
        in_a_row.append(0)
        await genuine_sleep(seconds)

    async with rig.door() as (_, port):
        busy, other = await rig.client(port), await rig.raw(port)
        await other.line()
        monkeypatch.setattr(noop.Noop, "run", counted)
        monkeypatch.setattr(asyncio, "sleep", turn)
        busy.writer.write(b"n NOOP\r\n" * 2_000 + b"z NOOP\r\n")

        async def drained() -> None:
            tail = b""
            while b"\r\nz OK" not in tail:
                octets = await busy.reader.read(1 << 18)
                assert octets
                tail = tail[-20:] + octets

        reading = asyncio.create_task(drained())
        await other.ok(b"NOOP")
        await reading
    assert sum(in_a_row) > 2_000
    assert max(in_a_row) <= imap_server.TURNS


async def test_every_door_speaks_to_eight_clients_at_once(rig: Rig) -> None:
    async with rig.door() as (_, port):

        async def one(number: int) -> None:
            raw = await rig.client(port)
            letter = message(number)
            await raw.ok(b"APPEND Archive {%d+}\r\n%b" % (len(letter), letter))
            await raw.ok(b"SELECT Archive")
            await raw.ok(b"FETCH 1:* (FLAGS ENVELOPE)")

        async with asyncio.TaskGroup() as group:
            for number in range(8):
                group.create_task(one(number))
        raw = await rig.client(port)
        assert b"* 8 EXISTS\r\n" in await raw.ok(b"EXAMINE Archive")


async def test_a_change_between_the_snapshot_of_a_select_and_its_watch_is_told(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine = select._open
    loop = asyncio.get_running_loop()
    is_told = threading.Event()

    def and_mail_comes(
        reading: Reading, principal: Principal, name: str, parameters: select.Parameters
    ) -> select._Opened:
        opened = genuine(reading, principal, name, parameters)
        rig.deliver(message(1))
        assert is_told.wait(10)
        return opened

    def tell(_changes: tuple[Change, ...]) -> None:
        loop.call_soon_threadsafe(is_told.set)

    async with rig.door() as (_, port):
        raw = await rig.raw(port)
        await raw.line()
        await raw.ok(LOGIN)
        # Called behind the door, whose turn on the loop is over when this one comes.
        rig.store.subscribe(tell)
        monkeypatch.setattr(select, "_open", and_mail_comes)
        exists = [line for line in await raw.ok(b"SELECT INBOX") if b"EXISTS" in line]
    assert exists == [b"* 0 EXISTS\r\n", b"* 1 EXISTS\r\n"]


async def test_a_mailbox_nobody_has_changed_is_opened_without_a_query(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And one that another worker has changed, or whose rights have ended, never is."""
    queries: list[object] = []
    genuine = rig.store.read

    def counted(query: Any, **how: Any) -> Any:
        queries.append(query)
        return genuine(query, **how)

    asked = (b"SELECT INBOX", b"STATUS INBOX (MESSAGES UIDNEXT)")
    shared = b'STATUS "Other Users/%b/INBOX" (MESSAGES)' % SERVICE.encode()
    who = rig.team(1)[0]
    rig.timing = Timing(refresh_s=60.0)
    monkeypatch.setattr(rig.store.answers, "_clock", ManualClock())
    other = Store(rig.settings.store, SystemClock(), SystemEntropy(), worker="other")
    async with rig.door() as (_, port):
        raw = await rig.client(port)
        member = await rig.client(port, who)
        await member.ok(shared)
        first = [await raw.ok(each) for each in asked]
        monkeypatch.setattr(rig.store, "read", counted)
        assert [(await raw.ok(each))[:-1] for each in asked] == [each[:-1] for each in first]
        assert queries == []
        rig.deliver(message(1), store=other)
        assert b"* 1 EXISTS\r\n" in await raw.ok(asked[0])
        assert b'* STATUS "INBOX" (MESSAGES 1 UIDNEXT 2)\r\n' in await raw.ok(asked[1])
        await asyncio.to_thread(rig.dismiss, who)
        assert b" NO " in (await member.command(shared))[-1]
    other.close()


# ---------------------------------------------------------------- COMPRESS


class Deflated:
    """A client's end of a compressed connection (RFC 4978)."""

    def __init__(self, raw: Raw) -> None:
        self._raw = raw
        self._out = zlib.compressobj(wbits=-15)
        self._in = zlib.decompressobj(-15)

    async def command(self, text: bytes) -> bytes:
        """A command tagged `z`; the whole answer, which comes without a further octet of ours."""
        octets = self._out.compress(b"z " + text + b"\r\n")
        await self._raw.send(octets + self._out.flush(zlib.Z_SYNC_FLUSH))
        heard = b""
        async with asyncio.timeout(10):
            while b"\r\nz " not in b"\r\n" + heard:
                heard += self._in.decompress(await self._raw.reader.read(65_536))
        return heard


async def test_compress_is_off_unless_the_settings_say_otherwise(rig: Rig) -> None:
    """APL-04."""
    async with rig.door() as (_, port):
        raw = await rig.client(port)
        assert b"COMPRESS" not in (await raw.ok(b"CAPABILITY"))[0]
        assert b" BAD " in (await raw.command(b"COMPRESS DEFLATE"))[-1]


async def test_compressed_answers_are_flushed_whole(rig: Rig) -> None:
    """APL-04, RFC 4978 3: also those of many blocks, and literals a client sends."""
    letter = message(1) + b"".join(b"%0100d\r\n" % n for n in range(10_000))
    rig.limit(imap_compress=True)
    rig.deliver(letter)
    async with rig.door() as (_, port):
        raw = await rig.client(port)
        assert b" COMPRESS=DEFLATE" in (await raw.ok(b"CAPABILITY"))[0]
        assert b" BAD " in (await raw.command(b"COMPRESS GZIP"))[-1]
        await raw.ok(b"COMPRESS DEFLATE")
        client = Deflated(raw)
        assert b"z OK" in await client.command(b"NOOP")
        assert letter in await client.command(b"FETCH 1 BODY.PEEK[]")
        append = b"APPEND Drafts {%d+}\r\n%b" % (len(letter), letter)
        assert b"z OK [APPENDUID" in await client.command(append)
        assert b"COMPRESS" not in await client.command(b"CAPABILITY")
        assert b"z NO [COMPRESSIONACTIVE]" in await client.command(b"COMPRESS DEFLATE")
        assert b"* BYE" in await client.command(b"LOGOUT")


@pytest.mark.attack
async def test_octets_behind_compress_are_never_executed(rig: Rig) -> None:
    """As behind STARTTLS (ATT-02): the client has to wait for the answer."""
    rig.limit(imap_compress=True)
    async with rig.door() as (_, port):
        raw = await rig.client(port)
        await raw.send(b"a COMPRESS DEFLATE\r\nb NOOP\r\n")
        heard = await raw.ends()
        assert b"BYE" in heard
        assert b"b OK" not in heard


@pytest.mark.attack
async def test_what_is_not_deflate_ends_the_connection(rig: Rig) -> None:
    rig.limit(imap_compress=True)
    async with rig.door() as (_, port):
        raw = await rig.client(port)
        await raw.ok(b"COMPRESS DEFLATE")
        await raw.send(b"b NOOP\r\n" * 10)
        assert b"BYE" in zlib.decompressobj(-15).decompress(await raw.ends())


async def test_a_group_waits_for_letters_that_are_written_next_and_for_no_others(rig: Rig) -> None:
    """However an APPEND ends, nobody's commit is held up for it any more."""
    seen: list[int] = []
    seal = rig.store.seal
    committer = rig.store._committer

    def watched(octets: bytes, *, may_be_sent: bool = False) -> Letter:
        seen.append(committer.coming)
        return seal(octets, may_be_sent=may_be_sent)

    async with rig.door() as (_, port):
        raw = await rig.raw(port)
        await raw.line()
        await raw.login()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(rig.store, "seal", watched)
            assert b" OK" in (await raw.command(b"APPEND INBOX {5+}\r\nhello"))[-1]
            assert b"TRYCREATE" in (await raw.command(b"APPEND Nowhere {5+}\r\nhello"))[-1]
            assert b"BAD" in (await raw.command(b"APPEND INBOX {5+}\r\nhello x"))[-1]
            await raw.send(b"x APPEND INBOX {5+}\r\nhello")  # and no CRLF
            await until(lambda: len(seen) == 4)
            raw.close()
    assert seen == [1, 1, 1, 1]
    assert committer.coming == 0


@pytest.mark.requirement("DEF-06")
async def test_mail_is_read_while_nobody_can_write_that_it_was(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: readings.ReadingsWriting) -> None:
        raise StorageFull

    monkeypatch.setattr(readings, "MOST_NOTED", 1)
    rig.deliver(message(1))
    async with rig.door() as (_, port):
        raw = await rig.client(port)
        await raw.ok(b"SELECT INBOX")
        with monkeypatch.context() as patch:
            patch.setattr(readings.ReadingsWriting, "record_readings", full)
            assert any(b"Bonjour 1" in line for line in await raw.ok(b"FETCH 1 BODY.PEEK[]"))
        assert rig.store.noted
        await raw.ok(b"FETCH 1 BODY.PEEK[]")
        assert not rig.store.noted
        raw.close()


@pytest.mark.requirement("CL-36")
async def test_fifty_sessions_of_five_people_wait_in_one_box_of_an_organisation(rig: Rig) -> None:
    """Ten of each, all at once: each is told, and those of whom it is no longer are sent away."""
    team = await asyncio.to_thread(rig.team, 5)
    async with rig.door() as (_, port):
        place = f'SELECT "Other Users/{SERVICE}/INBOX"'.encode()
        sessions = {who: [await rig.client(port, who) for _ in range(10)] for who in team}
        for raw in (raw for raws in sessions.values() for raw in raws):
            await raw.ok(place)
            await raw.send(b"i IDLE\r\n")
            assert (await raw.line()).startswith(b"+ ")
        await asyncio.to_thread(rig.deliver, message(1), "INBOX", None, SERVICE)
        for raw in (raw for raws in sessions.values() for raw in raws):
            assert await raw.line() == b"* 1 EXISTS\r\n"
            assert (await raw.line()).endswith(b" RECENT\r\n")
        await asyncio.to_thread(rig.dismiss, team[0])
        await asyncio.to_thread(rig.deliver, message(2), "INBOX", None, SERVICE)
        for who, raws in sessions.items():
            told = b"* BYE" if who == team[0] else b"* 2 EXISTS"
            for raw in raws:
                assert (await raw.line()).startswith(told)
