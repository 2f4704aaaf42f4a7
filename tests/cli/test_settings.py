"""Wrong settings and files: every command says what, why and what to do, and starts nothing."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from mssmtp.demo.authority import Authority, Make, new_key
from tests.authority import A_SUBJECT, B_SUBJECT
from tests.home import Home, typed

Damage = Callable[[Home], object]


def edited(old: str, new: str) -> Damage:
    return lambda home: home.edit(old, new)


def removed(file: str) -> Damage:
    return lambda home: (home.directory / file).unlink()


def mode(file: str, bits: int) -> Damage:
    return lambda home: (home.directory / file).chmod(bits)


def holding(file: str, octets: bytes) -> Damage:
    return lambda home: (home.directory / file).write_bytes(octets)


def of_a_newer_release(home: Home) -> None:
    with closing(sqlite3.connect(home.directory / "store/store.db")) as db, db:
        db.execute("UPDATE alembic_version SET version_num = '9999'")


KEY, CHAIN, MASTER = "certs/operator.key", "certs/operator.pem", "keys/master.key"

WRONG: dict[str, tuple[Damage, str, str]] = {
    "unknown key": (
        edited("[store]\n", "[store]\nsmal_octets = 5\n"),
        "store.smal_octets: unknown setting",
        "The nearest known setting is store.small_octets.",
    ),
    "unknown section": (
        edited("[store]", "[stroe]"),
        "stroe: unknown setting",
        "The nearest known setting is store.",
    ),
    "not TOML": (edited("[store]", "[store"), "is not TOML", "(at line "),
    "wrong kind": (
        edited('name = "hopital-a"', "name = 5"),
        "operator.name: Input should be a valid string",
        "Correct the value.",
    ),
    "not a domain": (
        edited('"hopital-a.test"', '"hôpital.test"'),
        "operator.domains.0: « hôpital.test » is not a domain name",
        "Correct the value.",
    ),
    "weak suite": (
        edited("[tls]\n", '[tls]\nciphers = ["AES256-SHA"]\n'),
        "tls.ciphers: « AES256-SHA » is not allowed (OP-05)",
        "Choose from: ECDHE-",
    ),
    "floor below 1.2": (
        edited("[tls]\n", '[tls]\nmin_version = "1.0"\n'),
        "tls.min_version: Input should be '1.2' or '1.3'",
        "Correct the value.",
    ),
    "unknown rule relaxed": (
        edited("[policy]\n", '[policy]\nrelax = ["nothing"]\n'),
        "policy.relax: « nothing » is not the name of a must rule",
        "The must rules are:",
    ),
    "key missing": (removed(KEY), f"{KEY}: cannot be read", "Put there the PEM private key."),
    "key open to others": (
        mode(KEY, 0o644),
        "the key can be read by others (mode 0644)",
        "Run: chmod 600 ",
    ),
    "certificate missing": (removed(CHAIN), f"{CHAIN}: cannot be read", "Put there the PEM file"),
    "no certificate in it": (
        holding(CHAIN, b"nothing"),
        "holds no PEM certificate",
        "Export the certificate as PEM",
    ),
    "anchors missing": (removed("certs/ca.pem"), "certs/ca.pem: cannot be read", "Check the path"),
    "no anchor in it": (
        holding("certs/ca.pem", b"nothing"),
        "holds no readable certificate",
        "Give PEM certificates.",
    ),
    "store missing": (removed("store/store.db"), "there is no store in", "Run `mssmtp init`"),
    "store open to others": (
        mode("store", 0o755),
        "others may enter the directory",
        "Set its mode to 0700.",
    ),
    "store damaged": (
        holding("store/store.db", b"nothing" * 1_000),
        "store.db is damaged or no store at all",
        "restore the last good one",
    ),
    "store of a newer release": (
        of_a_newer_release,
        "written by a newer release (schema 9999)",
        "Install that release again",
    ),
    "master key missing": (
        removed(MASTER),
        "store.master_key_file: cannot be read",
        "Restore it from its safe copy",
    ),
    "master key open to others": (mode(MASTER, 0o640), "others may read", "mode to 0600"),
    "master key cut": (holding(MASTER, b"k" * 31), "exactly 32 octets", "Restore it"),
    "another master key": (
        holding(MASTER, b"k" * 32),
        "is not the key of this store: the store wants key",
        "Restore the right file",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_check_config_says_what_is_wrong_why_and_what_to_do(home: Home, name: str) -> None:
    damage, why, remedy = WRONG[name]
    assert home.mssmtp("check-config").code == 0
    damage(home)
    answer = home.mssmtp("check-config")
    assert (answer.code, answer.out) == (2, "")
    assert why in answer.err
    assert remedy in answer.err
    assert "Traceback" not in answer.err


@pytest.mark.parametrize(
    "command",
    [
        ("bal", "list"),
        ("bal", "show", "a@hopital-a.test"),
        ("queue", "list"),
        ("explain", "a@hopital-a.test", "--from", "a@hopital-a.test"),
        ("trust", "show"),
        ("doctor",),
        ("serve",),
    ],
)
def test_no_command_works_on_settings_it_does_not_understand(
    home: Home, command: tuple[str, ...]
) -> None:
    home.edit("[queue]\n", "[queue]\nlonguest_retry = 5\n")
    answer = home.mssmtp(*command)
    assert (answer.code, answer.out) == (2, "")
    assert "The nearest known setting is queue.longest_retry." in answer.err


def test_the_key_of_another_certificate_is_refused(home: Home, authority: Authority) -> None:
    # Certificates of the tests take turns with a few keys: this one has to be another.
    other = dataclasses.replace(authority.issue(B_SUBJECT), key=new_key())
    (home.directory / KEY).write_bytes(other.key_pem)
    answer = home.mssmtp("check-config")
    assert answer.code == 2
    assert "is not the key of the first certificate in" in answer.err
    assert "Put the own certificate first in the file" in answer.err


def test_an_expired_certificate_of_ours_fails_the_check(home: Home, authority: Authority) -> None:
    now = authority.now
    old = authority.issue(A_SUBJECT, Make(now - timedelta(days=40), now - timedelta(days=10)))
    old.write(home.directory / "certs", "operator")
    answer = home.mssmtp("check-config")
    assert (answer.code, answer.out) == (1, "")
    assert "operator.pem: the certificate has expired" in answer.err
    machine = home.mssmtp("check-config", "--json")
    assert (machine.code, machine.json["ok"]) == (1, False)
    assert machine.json["expired"] == [str(home.directory / CHAIN)]


def test_good_settings_are_said_to_be_in_order(home: Home) -> None:
    assert home.mssmtp("check-config").out == f"{home.config_file}: in order.\n"
    assert home.mssmtp("check-config", "--json").json == {
        "config_file": str(home.config_file),
        "ok": True,
        "expired": [],
    }


def test_no_settings_file_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    answer = typed("bal", "list")
    assert answer.code == 2
    assert "Use --config, or run `mssmtp init`." in answer.err
    answer = typed("bal", "list", "--config", "nowhere.toml")
    assert answer.code == 2
    assert "nowhere.toml: cannot be read (No such file or directory)" in answer.err


def test_the_settings_are_found_without_an_option(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home.directory)
    assert typed("bal", "list").code == 0
    monkeypatch.chdir("/")
    monkeypatch.setenv("MSSMTP_CONFIG", str(home.config_file))
    assert typed("bal", "list").code == 0


def test_relative_paths_start_at_the_settings_file(home: Home, tmp_path: Path) -> None:
    shutil.move(home.directory, tmp_path / "elsewhere")
    assert Home(tmp_path / "elsewhere").mssmtp("check-config").code == 0


WRONG_USES = [
    # typed; which command is meant; what is said of it
    (("bal", "add", "x@hopital-a.test", "--type", "FOO"), "bal add", "'--type': 'FOO' is not one"),
    (("bal", "add", "--type", "MED"), "bal add", "Missing argument 'ADDRESS'"),
    (("bal", "list", "--jsn"), "bal list", "No such option: --jsn"),
    (("bal", "nothing"), "bal", "No such command 'nothing'"),
    (("queue", "list", "--limit", "x"), "queue list", "'--limit': Input should be"),
    (("nothing",), "command line", "No such command 'nothing'"),
]


@pytest.mark.parametrize(("typed_", "what", "why"), WRONG_USES)
def test_wrong_use_says_what_why_and_how_in_words_of_ours(
    typed_: tuple[str, ...], what: str, why: str
) -> None:
    told = typed(*typed_)
    assert (told.code, told.out) == (2, "")
    assert told.err.startswith(f"mssmtp: {what}: ")
    assert why in told.err
    assert "Value error" not in told.err
    assert "--help` says more" in told.err


def test_wrong_use_is_json_for_machines() -> None:
    told = typed("bal", "add", "x@hopital-a.test", "--json", "--type", "FOO")
    said = json.loads(told.err)
    assert (told.code, said["error"]) == (2, "bal add")
    assert said["why"].startswith("Invalid value for '--type': 'FOO' is not one of 'PER'")
    assert said["remedy"].startswith("Usage: mssmtp bal add")


def test_wrong_use_names_every_option_that_is_needed_and_is_one_line_each() -> None:
    told = typed("bal", "add", "x@hopital-a.test")
    why, remedy = told.err.splitlines()
    assert "Missing option '--type'. Choose from: PER, ORG, APP" in why
    assert "Usage: mssmtp bal add --type … [OPTIONS]" in remedy
    remedy = typed("person", "change-usual-address", "a@b.example", "c@d.example").err
    assert "--letter … --last-name … --first-name … --rpps … --activity … " in remedy


@pytest.mark.parametrize("wrong", [(), ("nothing",), ("bal",), ("bal", "list", "--jsn")])
def test_wrong_use_is_code_2_and_shows_how(wrong: tuple[str, ...]) -> None:
    answer = typed(*wrong)
    assert answer.code == 2
    assert "Usage: mssmtp" in answer.out + answer.err
