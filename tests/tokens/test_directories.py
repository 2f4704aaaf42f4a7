"""Hospitals' own directories as first factor, against a real slapd over TLS (T29, ATT-22)."""

from __future__ import annotations

import asyncio
import logging
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from mssmtp import directories
from mssmtp.config_tokens import DirectorySettings
from mssmtp.demo.authority import Authority, Identity
from mssmtp.directories import Directories, DirectoryAway, Entry, LdapDirectory
from mssmtp.errors import BadAddress, MailError
from mssmtp.identity import BadCredentials
from mssmtp.mail import Address
from tests import slapd
from tests.authority import A_DOMAIN
from tests.slapd import PASSWORDS, READER, READER_PASSWORD, Slapd

ANNE = Address.parse("anne@chu-g.test")


@pytest.fixture(scope="module")
def server(
    authority: Authority, healthy: dict[str, Identity], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Slapd]:
    directory = tmp_path_factory.mktemp("slapd")
    with slapd.running(directory, healthy[A_DOMAIN], authority.anchors_pem) as server:
        yield server


def made(server: Slapd, **changes: object) -> DirectorySettings:
    secret = server.anchors.parent / "secret"
    secret.write_text(READER_PASSWORD)
    secret.chmod(0o600)
    return DirectorySettings.model_validate(
        {
            "name": "chu-g",
            "usual_domains": ["chu-g.test"],
            "url": f"ldaps://127.0.0.1:{server.port_tls}",
            "anchors_file": server.anchors,
            "base": slapd.BASE,
            "bind_name": READER,
            "bind_password_file": secret,
        }
        | changes
    )


def opened(settings: DirectorySettings) -> LdapDirectory:
    context = ssl.create_default_context(cafile=str(settings.anchors_file))
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return LdapDirectory(settings, context)


@pytest.fixture(scope="module")
def directory(server: Slapd) -> LdapDirectory:
    return opened(made(server))


def test_a_password_of_the_directory_is_right_over_ldaps_and_starttls(
    server: Slapd, directory: LdapDirectory
) -> None:
    expected = Entry(f"uid=anne,{slapd.BASE}", ANNE)
    assert directory.check(ANNE, PASSWORDS["anne"]) == expected
    by_starttls = opened(made(server, url=f"ldap://127.0.0.1:{server.port}"))
    assert by_starttls.check(ANNE, PASSWORDS["anne"]) == expected


@pytest.mark.parametrize(
    ("login", "password"),
    [
        ("anne@chu-g.test", PASSWORDS["luc"]),
        ("anne@chu-g.test", ""),  # RFC 4513 5.1.2: would be taken for nobody in particular
        ("anne@chu-g.test", "x" * 300),
        ("anne@chu-g.test", PASSWORDS["anne"] + "\0"),
        ("nobody@chu-g.test", PASSWORDS["anne"]),
        ("deux@chu-g.test", "meme-mot-de-passe"),  # two entries: neither
    ],
)
def test_what_is_wrong_is_refused(directory: LdapDirectory, login: str, password: str) -> None:
    with pytest.raises(BadCredentials):
        directory.check(Address.parse(login), password)


PIECES = ["*", "(", ")", "\\", "|", "&", "!", "=", "~", "anne", "mail=", "uid=*", "\\2a", "'", "/"]


@pytest.mark.attack("ATT-22")
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(["*"])
@example(["anne", "*"])
@example(["\\2a"])
@example(["*)(uid=anne"])
@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=5))
def test_att_22_metacharacters_of_a_login_find_nobody_else(
    directory: LdapDirectory, pieces: list[str]
) -> None:
    """With Anne's password: whatever stands in the login, only her own address is she."""
    text = "".join(pieces)
    for local in (text, f'"{text}"'):
        try:
            address = Address.parse(f"{local}@chu-g.test")
        except BadAddress:
            continue
        if address == ANNE:
            continue
        with pytest.raises(BadCredentials):
            directory.check(address, PASSWORDS["anne"])


@pytest.mark.attack("ATT-22")
def test_att_22_a_filter_that_finds_more_still_gives_nobody_anothers_entry(server: Slapd) -> None:
    wide = opened(made(server, filter="(|(mail={})(uid=anne))"))
    with pytest.raises(BadCredentials):
        wide.check(Address.parse("luc2@chu-g.test"), PASSWORDS["anne"])


def test_a_directory_that_cannot_be_asked_is_an_outage(
    server: Slapd, authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("not-the-password")
    wrong.chmod(0o600)
    for changes in (
        {"url": "ldaps://127.0.0.1:1"},
        {"url": f"ldaps://localhost.test:{server.port_tls}"},
        {"url": f"ldaps://127.0.0.1:{server.port}"},  # no TLS there
        {"bind_password_file": wrong},
    ):
        with caplog.at_level(logging.INFO), pytest.raises(DirectoryAway) as caught:
            opened(made(server, **changes)).check(ANNE, PASSWORDS["anne"])
        assert (caught.value.reply.code, caught.value.imap) == (454, "UNAVAILABLE")
    assert PASSWORDS["anne"] not in caplog.text
    assert READER_PASSWORD not in caplog.text


@pytest.mark.parametrize(
    "changes",
    [
        {"url": "http://x"},
        {"url": "ldap://user@x"},
        {"filter": "mail={}"},
        {"filter": "(mail=*)"},
        {"filter": "(|(mail={})(uid={}))"},
    ],
)
def test_settings_that_cannot_work_are_refused(server: Slapd, changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        made(server, **changes)


class Slow:
    """A directory that answers when it is let."""

    def __init__(self) -> None:
        self.gate = threading.Event()

    def check(self, address: Address, password: str) -> Entry:
        self.gate.wait(10)
        return Entry("uid=anne", address)


async def test_nobody_waits_longer_than_a_client_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directories, "WITHIN_S", 0.05)
    slow = Slow()
    all_of_them = Directories([(("chu-g.test",), slow)])
    assert all_of_them.of_person(ANNE) is slow
    assert all_of_them.of_person(Address.parse("zoe@ordinaire.example")) is None
    found = await asyncio.gather(
        *(all_of_them.check(ANNE, "x") for _ in range(6)), return_exceptions=True
    )
    assert all(isinstance(each, DirectoryAway) for each in found)
    slow.gate.set()
    monkeypatch.setattr(directories, "WITHIN_S", 5.0)
    assert (await all_of_them.check(ANNE, "x")).address == ANNE
    with pytest.raises(MailError):
        await all_of_them.check(Address.parse("zoe@ordinaire.example"), "x")
    all_of_them.close()
