"""The listener of scanners and analysers: lenient about their age, strict about the rest."""

from __future__ import annotations

import asyncio
import base64
import itertools
import smtplib
import ssl
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mssmtp.config_senders import MachineSettings
from mssmtp.identity import BadCredentials, app_password
from mssmtp.machines import Machines, machines_of
from mssmtp.mail import BalState, BalType
from mssmtp.outside import SystemEntropy
from mssmtp.smtp_appliance import ApplianceMachine
from mssmtp.smtp_link import Link
from tests.smtp_in.fakes import PASSWORD, PAUL, ZOE, per
from tests.smtp_in.rig import APP_BOX, SCANNER, NowClock, Rig, Wire, greeted, logged_in

LETTER = f"From: <{APP_BOX}>\nSubject: scan 12\n\nNumérisation.\n.\n".encode()
OUTSIDE = "anne.tournesol@cabinet-b.test"


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


LOGIN = f"AUTH PLAIN {b64(chr(0) + 'scanner-radio' + chr(0) + PASSWORD)}"


async def begin(wire: Wire, sender: object = APP_BOX) -> None:
    assert (await wire.say(f"MAIL FROM:<{sender}>")).startswith("250 2.1.0")
    assert (await wire.say(f"RCPT TO:<{PAUL}>")).startswith("250 2.1.5")
    assert (await wire.say("DATA")).startswith("354 ")


async def test_a_scanner_with_bare_line_feeds_is_understood_and_stored_with_crlf(rig: Rig) -> None:
    async with rig.appliances() as (_, port), await greeted(rig, port) as wire:
        assert (await wire.say(LOGIN.encode() + b"\n")).startswith("235 2.7.0")
        wire.send(f"MAIL FROM:<{APP_BOX}>\nRCPT TO:<{PAUL}>\nRCPT TO:<{OUTSIDE}>\nDATA\n".encode())
        assert [(await wire.reply())[:3] for _ in range(4)] == ["250", "250", "250", "354"]
        assert (await wire.say(LETTER)).startswith("250 2.0.0")
    (kept,) = rig.store.kept
    mended = LETTER.removesuffix(b".\n").replace(b"\n", b"\r\n")
    assert kept.octets.endswith(b"\r\n" + mended)
    assert b"\n" not in kept.octets.replace(b"\r\n", b"")
    assert kept.envelope.sender == APP_BOX
    assert [str(one.address) for one in kept.queued] == [OUTSIDE]
    assert b"127.0.0.1" not in kept.octets


OLD_LOGINS = {
    "PLAIN without its first NUL": [
        (f"AUTH PLAIN {b64(f'scanner-radio{chr(0)}{PASSWORD}')}", "235")
    ],
    "PLAIN asked": [("AUTH PLAIN", "334"), (b64(f"\0scanner-radio\0{PASSWORD}"), "235")],
    "LOGIN without padding, with blanks": [
        ("AUTH LOGIN", "334 VXNlcm5hbWU6"),
        (b64("scanner-radio").rstrip("=") + " ", "334 UGFzc3dvcmQ6"),
        (b64(PASSWORD).rstrip("=") + "  ", "235"),
    ],
    "LOGIN inline, by the box": [
        (f"auth login {b64(str(APP_BOX)).rstrip('=')}", "334 UGFzc3dvcmQ6"),
        (b64(PASSWORD), "235"),
    ],
}


@pytest.mark.parametrize("name", OLD_LOGINS)
async def test_old_forms_of_auth_log_a_machine_in(rig: Rig, name: str) -> None:
    async with rig.appliances() as (_, port), await greeted(rig, port) as wire:
        assert "AUTH=PLAIN LOGIN" in (await wire.say("EHLO scanner")).replace("-AUTH", " AUTH")
        for line, answer in OLD_LOGINS[name]:
            assert (await wire.say(line)).startswith(answer)
        await begin(wire)


async def test_old_forms_are_taken_at_no_other_door(rig: Rig) -> None:
    async with rig.submission() as (_, port), await greeted(rig, port) as wire:
        assert "AUTH=" not in await wire.say("EHLO x")
        bare = b64(f"{ZOE}\0{PASSWORD}")
        assert (await wire.say(f"AUTH PLAIN {bare}")).startswith("501 5.5.2")
        assert (await wire.say(f"AUTH LOGIN {b64(str(ZOE)).rstrip('=')}")).startswith("501 ")
    async with rig.submission() as (_, port), await logged_in(rig, port) as wire:
        assert (await wire.say(b"NOOP\n")).startswith("500 5.5.2")


async def test_a_certificate_stands_for_the_password(rig: Rig) -> None:
    identity = rig.b
    shown = identity.certificate.fingerprint(identity.certificate.signature_hash_algorithm)  # type: ignore[arg-type]
    async with rig.appliances(password_hash=None, certificate_sha256=shown.hex()) as (_, port):
        async with await greeted(rig, port, identity) as wire:
            await begin(wire)
            assert (await wire.say(LETTER)).startswith("250 2.0.0")
        async with await greeted(rig, port) as wire:
            assert (await wire.say(f"MAIL FROM:<{APP_BOX}>")).startswith("530 5.7.0")
            assert (await wire.say(LOGIN)).startswith("535 5.7.8")
        other = rig.healthy["hopital-a.test"]
        async with await greeted(rig, port, other) as wire:
            assert (await wire.say(f"MAIL FROM:<{APP_BOX}>")).startswith("530 5.7.0")


@pytest.mark.attack
@pytest.mark.requirement("OP-86")
async def test_att_42_a_machine_sends_as_its_one_box_only(rig: Rig) -> None:
    async with rig.appliances() as (_, port), await greeted(rig, port) as wire:
        assert (await wire.say(LOGIN)).startswith("235 ")
        for other in (ZOE, PAUL, "x@cabinet-b.test"):
            assert (await wire.say(f"MAIL FROM:<{other}>")).startswith("553 5.7.1")
        await begin(wire)
        forged = LETTER.replace(str(APP_BOX).encode(), str(ZOE).encode())
        assert (await wire.say(forged)).startswith("553 5.7.1")
    assert rig.store.kept == []


@pytest.mark.attack
async def test_a_machine_is_known_at_its_addresses_only(rig: Rig) -> None:
    far_away = rig.appliances(addresses=["192.0.2.0/24"])
    async with far_away as (_, port), await Wire.connect(port) as wire:
        assert (await wire.reply()).startswith("554 5.7.1")
        assert await wire.is_closed()
    async with rig.appliances(addresses=["127.0.0.1"]) as (_, port):
        streams = await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.7", 0))
        async with Wire(*streams) as wire:
            assert (await wire.reply()).startswith("554 5.7.1")


def test_the_password_of_a_machine_is_none_where_another_of_its_box_stands(rig: Rig) -> None:
    """MAC-02: also when both log in by the name of the box, and the first has done so."""
    rig.store.bals[APP_BOX] = per(9, APP_BOX, type=BalType.APP)
    other = {
        "name": "scanner-etage",
        "addresses": ["127.0.0.16/28"],
        "password_hash": app_password.verifiers("another", SystemEntropy()).argon2,
    }
    records = [MachineSettings.model_validate(SCANNER | changes) for changes in ({}, other)]
    machines = Machines(machines_of(records), rig.store, NowClock(), SystemEntropy())
    assert machines.authenticate(str(APP_BOX), PASSWORD, "127.0.0.1").login == "scanner-radio"
    with pytest.raises(BadCredentials):
        machines.authenticate(str(APP_BOX), PASSWORD, "127.0.0.17")
    assert machines.authenticate(str(APP_BOX), "another", "127.0.0.18").login == "scanner-etage"


@pytest.mark.attack
async def test_att_17_the_credential_of_a_machine_opens_no_other_door(rig: Rig) -> None:
    async with rig.appliances() as (_, port), await greeted(rig, port) as wire:
        people = b64(f"\0{ZOE}\0{PASSWORD}")
        assert (await wire.say(f"AUTH PLAIN {people}")).startswith("535 5.7.8")
    async with rig.submission() as (_, port), await greeted(rig, port) as wire:
        assert (await wire.say(LOGIN)).startswith("535 5.7.8")


@pytest.mark.attack
@pytest.mark.parametrize("change", [{"state": BalState.SUSPENDED}, {"type": BalType.ORG}, None])
async def test_att_18_a_machine_whose_box_is_no_active_app_box_sends_nothing(
    rig: Rig, change: dict[str, object] | None
) -> None:
    async with rig.appliances() as (_, port), await greeted(rig, port) as wire:
        assert (await wire.say(LOGIN)).startswith("235 ")
        if change is None:
            del rig.store.bals[APP_BOX]
        else:
            rig.store.bals[APP_BOX] = replace(rig.store.bals[APP_BOX], **change)  # type: ignore[arg-type]
        assert (await wire.say(f"MAIL FROM:<{APP_BOX}>")).startswith("530 5.7.0")
        assert (await wire.say(LOGIN)).startswith("535 5.7.8")


@pytest.mark.requirement("OP-04")
async def test_tls_is_asked_for_and_is_that_of_every_door(rig: Rig) -> None:
    async with rig.appliances() as (_, port):
        async with await Wire.connect(port) as wire:
            await wire.reply()
            assert "AUTH" not in await wire.say(b"EHLO scanner\n")
            assert (await wire.say(LOGIN)).startswith("538 5.7.11")
            assert (await wire.say(f"MAIL FROM:<{APP_BOX}>")).startswith("530 5.7.0")
        old = rig.client(None)
        with pytest.warns(DeprecationWarning, match="TLSv1"):
            old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
        async with await Wire.connect(port) as wire:
            await wire.reply()
            await wire.say("EHLO scanner")
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await wire.start_tls(old)


@pytest.mark.attack
async def test_att_02_octets_behind_starttls_close_the_connection_here_too(rig: Rig) -> None:
    async with rig.appliances() as (_, port), await Wire.connect(port) as wire:
        await wire.reply()
        await wire.say("EHLO x")
        wire.send(b"STARTTLS\nMAIL FROM:<x@cabinet-b.test>\n")
        assert await wire.is_closed()


@pytest.mark.attack
async def test_att_01_a_bare_cr_or_nul_is_refused_here_too(rig: Rig) -> None:
    async with rig.appliances() as (_, port), await greeted(rig, port) as wire:
        await wire.say(LOGIN)
        for wrong in (b"a\rb", b"a\0b"):
            await begin(wire)
            assert (await wire.say(LETTER[:-2] + wrong + b"\n.\n")).startswith("550 5.6.0")
        wire.send(b"BDAT 4 LAST\r\nQUIT\r\n")
        assert (await wire.reply()).startswith("502 5.5.1")
        assert await wire.is_closed()
    assert rig.store.kept == []


async def test_smtplib_sends_over_tls_from_the_first_octet(rig: Rig) -> None:
    def program(port: int) -> None:
        with smtplib.SMTP_SSL("127.0.0.1", port, timeout=10, context=rig.client(None)) as client:
            client.login("scanner-radio", PASSWORD)
            client.sendmail(str(APP_BOX), [str(PAUL)], LETTER[:-2].decode("ascii", "ignore"))

    async with rig.appliances(implicit_tls=True) as (_, port):
        await asyncio.to_thread(program, port)
    assert len(rig.store.kept) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"password_hash": None},
        {"password_hash": "secret"},
        {"addresses": []},
        {"addresses": ["10.0.0.1/8x"]},
        {"box": "scanner"},
        {"name": "Sc anner"},
        {"certificate_sha256": "12"},
    ],
)
def test_a_record_that_ties_nothing_is_no_record(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        MachineSettings.model_validate(SCANNER | changes)


# ---------------------------------------------------------------- line ends


class Ear(ApplianceMachine):
    """Only what is heard."""

    def __init__(self) -> None:
        self._ended_in_cr = False


def heard(blocks: list[bytes], monkeypatch: pytest.MonkeyPatch) -> bytes:
    found: list[bytes] = []
    monkeypatch.setattr(Link, "data_received", lambda self, data: found.append(data))
    ear = Ear()
    for block in blocks:
        ear.data_received(block)
    return b"".join(found)


@pytest.mark.attack
def test_att_01_every_short_string_is_mended_alike_however_it_is_split(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for combination in itertools.product((b"\r", b"\n", b".", b"x"), repeat=5):
        octets = b"".join(combination)
        expected = octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        assert heard([octets], monkeypatch) == expected
        assert heard([octets[i : i + 1] for i in range(5)], monkeypatch) == expected


@given(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b".", b"text", b""]), max_size=20))
def test_line_ends_are_mended_block_by_block_as_at_once(blocks: list[bytes]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        assert heard(blocks, patch) == heard([b"".join(blocks)], patch)
