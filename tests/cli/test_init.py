"""`mssmtp init`: a real operator's home, made without a question."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from mssmtp.demo.authority import Authority, Identity
from tests.authority import A_DOMAIN
from tests.home import Home, typed
from tests.postgres import Cluster


@pytest.fixture
def made(tmp_path: Path) -> Home:
    answer = typed("init", "--home", str(tmp_path / "op"), "--domain", A_DOMAIN)
    assert answer.code == 0
    return Home(tmp_path / "op")


def test_init_asks_nothing_and_prints_what_is_missing(tmp_path: Path) -> None:
    directory = tmp_path / "op"
    answer = typed("init", "--home", str(directory), "--domain", A_DOMAIN, "--json")
    assert answer.code == 0
    missing = [row["what"] for row in answer.json["missing"]]
    for name in ("operators.pem", "operators.key", "users.pem", "users.key", "igc-sante.pem"):
        assert any(what.endswith(f"certs/{name}") for what in missing), name
    assert any("declaration of hopital-a.test" in what for what in missing)
    assert any("MX record" in what for what in missing)
    assert all(row["remedy"] for row in answer.json["missing"])
    remedies = [row["remedy"] for row in answer.json["missing"]]
    assert "Publish the output of `mssmtp domain dns hopital-a.test`." in remedies
    assert answer.json["config_file"] == str(directory / "mssmtp.toml")


def test_init_without_any_option_works_in_an_empty_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = typed("init")
    assert answer.code == 0
    assert "Still missing" in answer.out
    assert (tmp_path / "mssmtp-home" / "mssmtp.toml").is_file()


def test_only_the_owner_can_read_the_home(made: Home) -> None:
    for path in (made.directory, *made.directory.rglob("*")):
        if path.name == "mssmtp.toml" or path.parent.name == "lists":
            continue
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path
    assert made.directory.joinpath("keys/master.key").stat().st_size == 32


def test_a_store_can_be_made_in_postgresql(tmp_path: Path, postgres: Cluster) -> None:
    directory = tmp_path / "op"
    url = postgres.new_database()
    command = ("init", "--home", str(directory), "--domain", A_DOMAIN, "--json", "--database")
    refused = typed(*command, url.replace("t_", "nowhere_"))
    assert refused.code == 2
    assert "store.database" in refused.err
    assert typed(*command, url).code == 0
    home = Home(directory)
    assert home.settings.store.database == url
    assert not (directory / "store" / "store.db").exists()
    added = home.mssmtp(
        "bal", "add", f"zoe@{A_DOMAIN}", "--type", "PER", "--rpps", "99900000110", "--json"
    )
    assert added.code == 0, added.err
    assert home.mssmtp("store", "check", "--json").code == 0
    assert home.mssmtp("queue", "list", "--json").code == 0


def test_a_second_init_changes_nothing(made: Home) -> None:
    before = made.config_file.read_bytes(), (made.directory / "keys/master.key").read_bytes()
    answer = typed("init", "--home", str(made.directory), "--domain", "autre.test")
    assert answer.code == 2
    assert "exists already" in answer.err
    assert before == (
        made.config_file.read_bytes(),
        (made.directory / "keys/master.key").read_bytes(),
    )


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--domain", "hôpital.test"), "is not a domain name"),
        (("--domain", "a b"), "is not a domain name"),
        (("--domain", A_DOMAIN, "--host-name", "mx_1.test."), "is not a domain name"),
    ],
)
def test_a_wrong_name_is_refused(tmp_path: Path, arguments: tuple[str, ...], why: str) -> None:
    answer = typed("init", "--home", str(tmp_path / "op"), *arguments)
    assert answer.code == 2
    assert why in answer.err
    assert not (tmp_path / "op").exists()


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    answer = typed("init", "--home", str(tmp_path / "file" / "op"), "--domain", A_DOMAIN)
    assert answer.code == 2
    assert "cannot be written" in answer.err


def test_the_check_passes_once_the_certificates_are_in_place(
    made: Home, authority: Authority, healthy: dict[str, Identity]
) -> None:
    before = made.mssmtp("check-config")
    assert before.code == 2
    assert "certs/igc-sante.pem: cannot be read" in before.err  # the space is told by the anchors
    for stem in ("operators", "users"):
        healthy[A_DOMAIN].write(made.directory / "certs", stem)
    (made.directory / "certs/igc-sante.pem").write_bytes(authority.anchors_pem)
    assert made.mssmtp("check-config").code == 0
    assert made.mssmtp("bal", "add", f"a@{A_DOMAIN}", "--type", "MED").code == 0


def test_doctor_of_a_fresh_home_names_each_missing_file(made: Home) -> None:
    answer = made.mssmtp("doctor", "--json")
    assert answer.code == 1
    errors = " ".join(f["what"] for f in answer.json if f["severity"] == "error")
    for name in ("operators.pem", "users.pem", "igc-sante.pem"):
        assert f"certs/{name}" in errors
