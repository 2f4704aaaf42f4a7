"""The conversation with a relay that is not of our making (DEF-04)."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest

from mssmtp.config_notices import NoticeSettings
from mssmtp.demo.authority import Authority, Identity
from mssmtp.errors import ConfigError
from mssmtp.mail import Address, Domain
from mssmtp.notices.relay import Relay, RelayFailed, Taken
from tests.authority import A_DOMAIN
from tests.free_ports import free_ports
from tests.notices.relays import Said, listening

HOST = Domain("mx.hopital-a.test")
ZOE = Address.parse("zoe@poste.example")
OCTETS = b"Subject: Bonjour\r\n\r\n.\r\n..\r\nligne\r\n"


def in_clear(port: int, **changed: object) -> Relay:
    named = {"relay_host": "127.0.0.1", "relay_port": port, "relay_tls": "none", **changed}
    return Relay(NoticeSettings.model_validate(named), HOST)


class _Silent(asyncio.Protocol):
    """Takes a connection and says nothing."""


@pytest.fixture
def encrypted(
    tmp_path: Path, authority: Authority, healthy: dict[str, Identity]
) -> tuple[ssl.SSLContext, dict[str, object]]:
    """Of the relay, and our settings for it."""
    identity = healthy[A_DOMAIN]
    files = identity.write(tmp_path, "relay")
    (tmp_path / "anchors.pem").write_bytes(authority.anchors_pem)
    password = tmp_path / "password"
    password.write_text("secret-du-relais\n")
    password.chmod(0o600)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate_file, files.key_file)
    return context, {
        "relay_host": "localhost",
        "relay_anchors_file": tmp_path / "anchors.pem",
        "relay_login": "mssmtp",
        "relay_password_file": password,
    }


async def sent(relay: Relay, to: Address = ZOE) -> Taken:
    async with relay.conversation() as conversation:
        return await conversation.send(to, OCTETS)


async def test_a_letter_goes_over_starttls_with_a_login(
    encrypted: tuple[ssl.SSLContext, dict[str, object]],
) -> None:
    context, named = encrypted
    async with listening(Said(), context) as said:
        named |= {"relay_port": said.port}
        assert (await sent(Relay(NoticeSettings.model_validate(named), HOST))).is_sent
    assert said.logins == [b"mssmtp"]
    assert said.letters == [(str(ZOE), OCTETS)]
    assert said.senders == ["ne-pas-repondre@medimail.example"]


async def test_a_wrong_password_is_the_relays_trouble_and_no_letters(
    encrypted: tuple[ssl.SSLContext, dict[str, object]],
) -> None:
    context, named = encrypted
    async with listening(Said(password=b"another"), context) as said:
        named |= {"relay_port": said.port}
        with pytest.raises(RelayFailed) as failed:
            await sent(Relay(NoticeSettings.model_validate(named), HOST))
    assert "535" in str(failed.value)
    assert "secret" not in repr(failed.value)
    assert said.letters == []


@pytest.mark.parametrize("mode", [0o644, None], ids=["readable by others", "missing"])
async def test_the_password_comes_from_a_private_file_only(
    encrypted: tuple[ssl.SSLContext, dict[str, object]], mode: int | None
) -> None:
    context, named = encrypted
    file = named["relay_password_file"]
    assert isinstance(file, Path)
    file.unlink() if mode is None else file.chmod(mode)
    async with listening(Said(), context) as said:
        named |= {"relay_port": said.port}
        with pytest.raises(RelayFailed, match="relay_password_file"):
            await sent(Relay(NoticeSettings.model_validate(named), HOST))
    assert said.logins == []


async def test_a_relay_with_a_strangers_certificate_gets_nothing(
    encrypted: tuple[ssl.SSLContext, dict[str, object]],
) -> None:
    context, named = encrypted
    async with listening(Said(), context) as said:
        named |= {"relay_port": said.port, "relay_anchors_file": None}
        with pytest.raises(RelayFailed):
            await sent(Relay(NoticeSettings.model_validate(named), HOST))
    assert said.logins == []


async def test_a_relay_without_starttls_gets_nothing() -> None:
    async with listening(Said()) as said:
        named = {"relay_host": "localhost", "relay_port": said.port}
        with pytest.raises(RelayFailed):
            await sent(Relay(NoticeSettings.model_validate(named), HOST))
    assert said.senders == []


@pytest.mark.parametrize(
    ("replies", "code", "is_final"),
    [
        ({str(ZOE): "550 5.1.1 no such user"}, 550, True),
        ({str(ZOE): "450 4.2.0 greylisted"}, 450, False),
        ({"DATA": "554 5.7.1 spam"}, 554, True),
        ({"DATA": "452 4.3.1 full"}, 452, False),
    ],
)
async def test_what_the_relay_says_of_one_letter_is_told_apart(
    replies: dict[str, str], code: int, is_final: bool
) -> None:
    async with listening(Said(replies)) as said, in_clear(said.port).conversation() as spoken:
        taken = await spoken.send(ZOE, OCTETS)
        assert (taken.code, taken.is_sent, taken.is_final) == (code, False, is_final)
        said.replies.clear()
        assert (await spoken.send(ZOE, OCTETS)).is_sent


async def test_a_refused_sender_stops_all_letters_and_loses_none() -> None:
    async with listening(Said({"MAIL": "550 5.7.1 not yours"})) as said:
        with pytest.raises(RelayFailed):
            await sent(in_clear(said.port))


async def test_a_relay_that_does_not_answer_is_not_waited_for() -> None:
    (port,) = free_ports(1)
    with pytest.raises(RelayFailed):
        await sent(in_clear(port))
    loop = asyncio.get_running_loop()
    silent = await loop.create_server(_Silent, "127.0.0.1", port)
    async with silent:
        with pytest.raises(RelayFailed):
            await sent(in_clear(port, timeout_s=0.05))


def test_settings_that_would_send_in_clear_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="loopback"):
        NoticeSettings(relay_host="relais.example", relay_tls="none")
    with pytest.raises(ValueError, match="go together"):
        NoticeSettings(relay_host="relais.example", relay_login="x")
    with pytest.raises(ValueError, match="https"):
        NoticeSettings(portal_url="http://portail.example")
    with pytest.raises(ValueError, match="not an address"):
        NoticeSettings(from_address="nobody")
    with pytest.raises(ValueError, match="brand"):
        NoticeSettings(brand="x\r\nBcc: y")
    with pytest.raises(ConfigError):
        Relay(NoticeSettings(relay_host="r.example", relay_anchors_file=tmp_path / "no"), HOST)
