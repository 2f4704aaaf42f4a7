"""`mssmtp machine`: the records of scanners and analysers (MAC-02)."""

from __future__ import annotations

from mssmtp.identity import app_password
from tests.home import ZOE, Home, typed

RECORD = """
[[machines]]
name = "scanner-radio"
box = "{box}"
addresses = ["10.1.2.0/28"]
password_hash = "$argon2id$v=19$m=16384,t=3,p=1$YWJjZGVmZ2hpamtsbW5vcA$x"
"""


def with_machine(home: Home, box: str) -> Home:
    text = home.config_file.read_text("utf-8") + RECORD.format(box=box)
    home.config_file.write_text(text, "utf-8")
    return home


def test_a_password_is_made_with_the_line_for_the_settings() -> None:
    made = typed("machine", "password", "--json").json
    assert app_password.matching(made["password"], [made["password_hash"]])
    shown = typed("machine", "password").out
    assert 'password_hash = "$argon2id$' in shown
    assert "its table [[machines]]:" in shown


def test_list_says_what_keeps_a_machine_from_sending(home: Home) -> None:
    assert home.mssmtp("machine", "list", "--json").json == []
    assert home.mssmtp("machine", "list").out.endswith("a table [[machines]].\n")
    (row,) = with_machine(home, "scanner@hopital-a.test").mssmtp("machine", "list", "--json").json
    assert row["name"] == "scanner-radio"
    assert row["known_by"] == "password"
    assert "closed" in row["state"]
    home.edit("[listen]\n", '[listen]\nappliances = { host = "127.0.0.1", port = 2587 }\n')
    (row,) = home.mssmtp("machine", "list", "--json").json
    assert "no such box" in row["state"]
    home.mssmtp("bal", "add", "scanner@hopital-a.test", "--type", "APP")
    (row,) = home.mssmtp("machine", "list", "--json").json
    assert row["state"] == "ready"
    assert "scanner-radio" in home.mssmtp("machine", "list").out


def test_a_persons_box_is_no_machines(home: Home) -> None:
    home.edit("[listen]\n", '[listen]\nappliances = { host = "127.0.0.1", port = 2587 }\n')
    (row,) = with_machine(home, str(ZOE)).mssmtp("machine", "list", "--json").json
    assert "only an APP box" in row["state"]


def test_a_record_of_a_box_elsewhere_is_refused_with_its_remedy(home: Home) -> None:
    refused = with_machine(home, "scanner@cabinet-b.test").mssmtp("check-config")
    assert refused.code == 2
    assert "operator.domains" in refused.err
