"""`mssmtp person app-password`: made, shown once, listed, revoked; a structure's switch (CL-31)."""

from __future__ import annotations

import pytest

from mssmtp.identity import Authenticator, BadCredentials
from tests.home import CLOCK, ENTROPY, ZOE, Home

LOGIN = str(ZOE)


def opens(home: Home, password: str) -> bool:
    with home.store() as store:
        try:
            Authenticator(store, CLOCK, ENTROPY).authenticate(LOGIN, password)
        except BadCredentials:
            return False
    return True


@pytest.mark.requirement("CL-31")
def test_a_device_gets_a_password_of_its_own_until_it_is_revoked(home: Home) -> None:
    create = ("person", "app-password", "create", LOGIN, "--device", "Thunderbird", "--json")
    made = home.mssmtp(*create, "--days", "30").json
    assert (made["login"], made["device"], len(made["password"])) == (LOGIN, "Thunderbird", 20)
    other = home.mssmtp(*create, "--service", "imap").json
    assert opens(home, made["password"])
    assert opens(home, other["password"])
    rows = home.mssmtp("person", "app-password", "list", LOGIN, "--json").json
    shown = {row["number"]: row for row in rows}
    assert shown[made["number"]]["state"] == "live"
    assert shown[made["number"]]["expires"]
    assert shown[made["number"]]["last_used"]
    assert shown[other["number"]]["service"] == "imap"
    assert made["password"] not in home.mssmtp("person", "app-password", "list", LOGIN).out
    home.mssmtp("person", "app-password", "revoke", LOGIN, str(made["number"]))
    assert not opens(home, made["password"])
    assert opens(home, other["password"])


@pytest.mark.parametrize(
    "arguments",
    [
        ("create", "personne@hopital-a.test", "--device", "x"),
        ("create", LOGIN, "--device", "a\tb"),
        ("create", LOGIN, "--device", "x", "--days", "9999"),
        ("revoke", LOGIN, "999999"),
        ("list", "personne@hopital-a.test"),
    ],
)
def test_what_cannot_be_is_refused(home: Home, arguments: tuple[str, ...]) -> None:
    answer = home.mssmtp("person", "app-password", *arguments)
    assert answer.code == 2
    assert answer.err
