"""The ManageSieve door: what is said, to whom, and what a stranger cannot do (RFC 5804)."""

from __future__ import annotations

import base64
import fcntl
import threading
from typing import Any

import pytest

from mssmtp.mail import Address, Role
from mssmtp.sieve.script import Script
from mssmtp.sieve.signatures import EXTENSIONS
from tests.imap_server.rig import LUC, PASSWORD, SERVICE, ZOE
from tests.managesieve.conftest import House

SCRIPT = b'require "fileinto";\r\nif header :contains "subject" "x" { fileinto "Suivi"; }\r\n'
MEMBER = "membre0@hopital-a.test"


def literal(octets: bytes) -> bytes:
    return b"{%d+}\r\n" % len(octets) + octets


async def test_a_conversation_from_the_greeting_to_the_end(house: House) -> None:
    async with house.door() as port:
        wire = await house.wire(port)
        before = await wire.say(b"CAPABILITY")
        assert f'"SIEVE" "{" ".join(EXTENSIONS)}"\r\n' in before
        assert '"STARTTLS"\r\n' in before
        assert '"SASL" ""\r\n' in before  # no password in clear (OP-81)
        announced = await wire.secure()
        assert "STARTTLS" not in announced
        assert "SCRAM-SHA-256-PLUS" in announced
        token = base64.b64encode(f"\0{ZOE}\0{PASSWORD}".encode())
        assert (await wire.say(b'AUTHENTICATE "PLAIN" "' + token + b'"')).startswith("OK")
        assert f'"OWNER" "{ZOE}"\r\n' in await wire.say(b"CAPABILITY")
        assert await wire.say(b"LISTSCRIPTS") == "OK\r\n"
        assert await wire.say(b'HAVESPACE "tri" 999') == "OK\r\n"
        assert await wire.say('PUTSCRIPT "tri é" '.encode() + literal(SCRIPT)) == "OK\r\n"
        assert await wire.say(b'PUTSCRIPT "b" "keep;"') == "OK\r\n"
        assert await wire.say('SETACTIVE "tri é"'.encode()) == "OK\r\n"
        assert await wire.say(b"LISTSCRIPTS") == '"b"\r\n"tri é" ACTIVE\r\nOK\r\n'
        got = await wire.say('GETSCRIPT "tri é"'.encode())
        assert got == f"{{{len(SCRIPT)}}}\r\n{SCRIPT.decode()}\r\nOK\r\n"
        assert (await wire.say('DELETESCRIPT "tri é"'.encode())).startswith("NO (ACTIVE)")
        assert await wire.say('RENAMESCRIPT "tri é" "c"'.encode()) == "OK\r\n"
        assert (await wire.say(b'RENAMESCRIPT "c" "b"')).startswith("NO (ALREADYEXISTS)")
        assert (await wire.say(b'GETSCRIPT "none"')).startswith("NO (NONEXISTENT)")
        assert await wire.say(b'SETACTIVE ""') == "OK\r\n"
        for name in (b"b", b"c"):
            assert await wire.say(b'DELETESCRIPT "' + name + b'"') == "OK\r\n"
        assert await wire.say(b'NOOP "x"') == 'OK (TAG "x")\r\n'
        assert (await wire.say(b"LOGOUT")).startswith("OK")
        assert await wire.ends() == b""


async def test_a_script_that_cannot_be_read_is_refused_with_its_line(house: House) -> None:
    async with house.door() as port:
        wire = await house.client(port)
        bad = b'require "fileinto";\r\nfileinto;\r\n'
        for command in (b'PUTSCRIPT "x" ' + literal(bad), b"CHECKSCRIPT " + literal(bad)):
            assert (
                await wire.say(command) == 'NO "ligne 2 : « fileinto » : nombre d\'arguments"\r\n'
            )
        assert await wire.say(b"LISTSCRIPTS") == "OK\r\n"
        assert await wire.say(b"CHECKSCRIPT " + literal(SCRIPT)) == "OK\r\n"


@pytest.mark.attack("ATT-27")
async def test_att_27_a_script_is_never_read_on_the_loop(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """64 KiB of it are a tenth of a second of work, during which nobody else would be served."""
    reading: list[bool] = []

    def noting(octets: bytes) -> Script:
        reading.append(threading.current_thread() is threading.main_thread())
        return Script((), frozenset())

    monkeypatch.setattr(Script, "read", noting)
    async with house.door() as port:
        wire = await house.client(port)
        assert await wire.say(b"CHECKSCRIPT " + literal(SCRIPT)) == "OK\r\n"
        assert await wire.say(b'PUTSCRIPT "fil" ' + literal(SCRIPT)) == "OK\r\n"
        assert await wire.say(b'DELETESCRIPT "fil"') == "OK\r\n"
    assert reading == [False, False]


async def test_what_is_wrong_is_refused_and_survived(house: House) -> None:
    async with house.door() as port:
        wire = await house.client(port)
        for command in (
            *(b"NONSENSE", b'"LISTSCRIPTS"', b"PUTSCRIPT x y", b'PUTSCRIPT "x"', b"LISTSCRIPTS 1"),
            *(
                b'HAVESPACE "x" "1"',
                b'HAVESPACE "x" 99999999999',
                b'SETACTIVE "\xff"',
                b'NOOP "a"b',
            ),
            *(b'PUTSCRIPT "" "keep;"', b"PUTSCRIPT " + literal(b"a\nb") + b' "keep;"', b"NOOP 1"),
            *(b'PUTSCRIPT "%s" "keep;"' % (b"n" * 200), b"STARTTLS", b'AUTHENTICATE "PLAIN"'),
        ):
            assert (await wire.say(command)).startswith("NO"), command
        assert await wire.say(b"NOOP") == "OK\r\n"


@pytest.mark.requirement("CL-79")
async def test_a_store_that_does_not_answer_is_a_later_try_in_time(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether nothing can be written or nothing read (RFC 5804 1.3, TRYLATER)."""
    go = threading.Event()
    async with house.door() as port:
        wire = await house.client(port)
        with monkeypatch.context() as patch:
            patch.setattr(house.store._deadlines, "within_s", 0.5)
            with (house.rig.settings.store.home / "commit.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                assert (await wire.say(b'PUTSCRIPT "t" "keep;"')).startswith("NO (TRYLATER)")
            threads = range(house.rig.settings.store.read_threads)
            stuck = [house.store.read(lambda r: go.wait(20)) for _ in threads]
            assert (await wire.say(b"LISTSCRIPTS")).startswith("NO (TRYLATER)")
            go.set()
            for each in stuck:
                each.exception(20)
        assert await wire.say(b"LISTSCRIPTS") == "OK\r\n"


async def test_commands_in_one_packet_are_answered_in_order(house: House) -> None:
    async with house.door() as port:
        wire = await house.client(port)
        wire.writer.write(b'NOOP "1"\r\nPUTSCRIPT "p" ' + literal(b"keep;") + b'\r\nNOOP "2"\r\n')
        assert [await wire.answer() for _ in range(3)] == [
            *('OK (TAG "1")\r\n', "OK\r\n", 'OK (TAG "2")\r\n')
        ]
        assert await wire.say(b'DELETESCRIPT "p"') == "OK\r\n"


@pytest.mark.attack("ATT-13")
async def test_att_13_a_login_cut_anywhere_leaves_nobody_logged_in(house: House) -> None:
    async with house.door() as port:
        wire = await house.wire(port)
        assert (await wire.say(b'AUTHENTICATE "PLAIN" "x"')).startswith("NO (ENCRYPT-NEEDED)")
        await wire.secure()
        for initial in (b"", b' "not base64"', b' "AAAA"', b' ""'):
            wire.writer.write(b'AUTHENTICATE "PLAIN"' + initial + b"\r\n")
            if not initial:
                assert await wire.line() == '""\r\n'
                wire.writer.write(b'"*"\r\n')
            assert (await wire.answer()).startswith("NO")
            assert (await wire.say(b"LISTSCRIPTS")).startswith("NO")
        assert (await wire.say(b'AUTHENTICATE "NTLM"')).startswith("NO")
        token = base64.b64encode(f"{LUC}\0{ZOE}\0{PASSWORD}".encode())  # ATT-17
        assert (await wire.say(b'AUTHENTICATE "PLAIN" "' + token + b'"')).startswith("NO")
        for part in (ZOE, PASSWORD):
            wire.writer.write(b'AUTHENTICATE "LOGIN"\r\n' if part == ZOE else b"")
            assert base64.b64decode((await wire.line()).strip().strip('"')) in (
                *(b"Username:", b"Password:"),
            )
            wire.writer.write(b'"' + base64.b64encode(part.encode()) + b'"\r\n')
        assert (await wire.answer()).startswith("OK")


@pytest.mark.attack("ATT-14")
async def test_att_14_guesses_end_with_the_connection(house: House) -> None:
    async with house.door() as port:
        wire = await house.wire(port)
        await wire.secure()
        token = base64.b64encode(f"\0{ZOE}\0wrong".encode())
        wire.writer.write((b'AUTHENTICATE "PLAIN" "' + token + b'"\r\n') * 100)
        lines = (await wire.ends()).decode().splitlines()
    assert [line[:3] for line in lines] == ["NO "] * (len(lines) - 1) + ["BYE"]
    assert len(lines) == house.rig.settings.limits.wrong_passwords + 1


@pytest.mark.attack("ATT-02")
async def test_att_02_what_comes_behind_starttls_in_clear_is_never_obeyed(house: House) -> None:
    async with house.door() as port:
        wire = await house.wire(port)
        wire.writer.write(b'STARTTLS\r\nNOOP "injected"\r\n')
        left = await wire.ends()
        assert b"injected" not in left
        assert left.startswith(b"BYE")


@pytest.mark.attack("ATT-03")
@pytest.mark.parametrize(
    "octets",
    [
        b'AUTHENTICATE "PLAIN" {4294967295+}\r\n',
        b"PUTSCRIPT {4000000000+}\r\n",
        b"x" * 20_000,
        b'NOOP "' + b"x" * 20_000,
    ],
)
async def test_att_03_a_stranger_announces_gigabytes_and_is_left(
    house: House, octets: bytes
) -> None:
    async with house.door() as port:
        wire = await house.wire(port)
        await wire.secure()
        wire.writer.write(octets)
        assert (await wire.ends()).startswith(b"BYE")


@pytest.mark.attack("ATT-03")
async def test_att_03_a_script_above_the_limit_is_skipped_and_told(house: House) -> None:
    async with house.door() as port:
        wire = await house.client(port)
        said = await wire.say(b'PUTSCRIPT "x" ' + literal(b"#" * 100_000))
        assert said.startswith("NO (QUOTA/MAXSIZE)")
        assert await wire.say(b"NOOP") == "OK\r\n"
        wire.writer.write(b'PUTSCRIPT "x" {4294967295+}\r\n')
        assert (await wire.ends()).startswith(b"BYE")


async def test_nonsense_has_an_end(house: House) -> None:
    async with house.door() as port:
        wire = await house.wire(port)
        wire.writer.write(b'NOOP "a"b\r\n' * 100)
        assert b"BYE" in await wire.ends()


@pytest.mark.attack("ATT-18")
async def test_att_18_an_open_session_ends_when_its_password_is_revoked(house: House) -> None:
    async with house.door() as port:
        wire = await house.client(port, LUC)
        assert await wire.say(b"LISTSCRIPTS") == "OK\r\n"

        def revoke(writing: Any) -> None:
            account = writing.account(LUC)
            for each in writing.app_passwords(account.id):
                writing.revoke_app_password(each.id)

        house.store.write(revoke).result()
        assert (await wire.say(b"LISTSCRIPTS")).startswith("BYE")
        assert await wire.ends() == b""


@pytest.mark.attack("ATT-25")
async def test_att_25_only_who_is_responsible_sorts_the_mail_of_a_service(house: House) -> None:
    """A password made for the box of the service opens its scripts, if the role allows it."""
    store = house.store

    def role(writing: Any, name: Role) -> None:
        box, member = writing.bal(Address.parse(SERVICE)), writing.account(MEMBER)
        writing.add_member(box.id, member.id, name)

    def device(writing: Any) -> None:
        box, member = writing.bal(Address.parse(SERVICE)), writing.account(MEMBER)
        made = next(iter(writing.app_passwords(member.id)))
        writing.add_app_password(member.id, "service", made.argon2, made.scram, box.id)

    store.write(device).result()
    async with house.door() as port:
        wire = await house.client(port, SERVICE)
        assert (await wire.say(b'PUTSCRIPT "x" "keep;"')).startswith("NO")
        store.write(lambda w: role(w, Role.RESPONSABLE)).result()
        wire = await house.client(port, SERVICE)
        assert await wire.say(b'PUTSCRIPT "x" "keep;"') == "OK\r\n"
        store.write(lambda w: role(w, Role.SECRETAIRE)).result()
        assert (await wire.say(b'SETACTIVE "x"')).startswith("NO")

    def look(reading: Any) -> tuple[list[str], list[str]]:
        box = reading.bal(Address.parse(SERVICE))
        names = [each.name for each in reading.scripts(box.id)]
        traces = reading.traces(bal=box.id)
        return names, [each.request for each in traces if each.kind != "login"]

    assert store.read(look).result() == (["x"], ["script stored"])
