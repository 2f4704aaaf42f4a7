"""`mssmtp suspend`: one command stops, one command starts again (OP-79)."""

from __future__ import annotations

import pytest

from tests.home import ZOE, Home


@pytest.mark.requirement("OP-79")
def test_an_account_is_stopped_listed_and_started_again(home: Home) -> None:
    stopped = home.mssmtp("suspend", "account", str(ZOE), "--reason", "vol du poste", "--json")
    assert stopped.json["suspended"] is True
    (row,) = home.mssmtp("suspend", "list", "--json").json
    assert (row["kind"], row["name"], row["reason"]) == ("account", str(ZOE), "vol du poste")
    assert "vol du poste" in home.mssmtp("suspend", "list").out
    ended = home.mssmtp("suspend", "account", str(ZOE), "--end", "--json").json
    assert ended == {"kind": "account", "name": str(ZOE), "suspended": False}
    assert "Nothing is suspended" in home.mssmtp("suspend", "list").out


@pytest.mark.requirement("OP-79")
def test_whom_to_tell_of_an_incident_is_a_setting_and_is_said_beside_what_is_suspended(
    home: Home,
) -> None:
    contact = "01 00 00 00 01, incidents@autorite.example"
    assert contact not in home.mssmtp("suspend", "list").out
    home.edit("[operator]\n", f'[operator]\nincident_contact = "{contact}"\n')
    assert contact in home.mssmtp("suspend", "list").out


def test_a_domain_and_a_certificate_are_stopped_and_started_again(home: Home) -> None:
    sha256 = ":".join(["AB"] * 32)
    for kind, name in (("domain", "Cabinet-B.test"), ("certificate", sha256)):
        assert home.mssmtp("suspend", kind, name).code == 0
    shown = [(row["kind"], row["name"]) for row in home.mssmtp("suspend", "list", "--json").json]
    assert sorted(shown) == [("certificate", "ab" * 32), ("domain", "cabinet-b.test")]
    assert home.mssmtp("suspend", "domain", "cabinet-b.test", "--end").code == 0
    assert home.mssmtp("suspend", "certificate", sha256, "--end").code == 0
    assert home.mssmtp("suspend", "list", "--json").json == []


def test_what_is_no_domain_is_said_of_the_domain(home: Home) -> None:
    for wrong in ("a b", "hôpital.test"):
        told = home.mssmtp("suspend", "domain", wrong)
        assert (told.code, "domain: ce n'est pas un nom de domaine" in told.err) == (2, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ("account", "personne@hopital-a.test"),
        ("account", str(ZOE), "--end"),
        ("domain", "pas un domaine"),
        ("certificate", "ab"),
    ],
)
def test_what_is_not_there_is_refused_with_a_reason(home: Home, arguments: tuple[str, ...]) -> None:
    answer = home.mssmtp("suspend", *arguments)
    assert answer.code in (1, 2)
    assert answer.err
