"""`mssmtp gateway`: from the form to the settings and back, and what it says of a bad form."""

from __future__ import annotations

import fcntl
import os
import signal
from pathlib import Path

import pytest

from mssmtp.config import load
from mssmtp.demo.authority import Authority, Subject
from tests.free_ports import free_ports
from tests.home import ZOE, Home, typed

RELAY = Subject("relais.chu.test", "1690000099", "CHU", "Rhône (69)")
USUAL = "zoe@chu.example"

FORM = """\
name = "chu"
domains = ["hopital-a.test"]
aliases = "alias.csv"
correspondent = "anne.tournesol@cabinet-b.test"
listen = { host = "127.0.0.1", port = 2525 }
[outbound]
certificates = ["relais.pem"]
addresses = ["192.0.2.10/32"]
[inbound]
mode = "store"
"""


@pytest.fixture
def form(home: Home, authority: Authority, tmp_path: Path) -> Path:
    """What a hospital has sent."""
    identity = authority.issue(RELAY)
    identity.write(tmp_path, "made").certificate_file.rename(tmp_path / "relais.pem")
    (tmp_path / "alias.csv").write_text(f"usuelle;mssante\n{USUAL};{ZOE}\n")
    (tmp_path / "form.toml").write_text(FORM)
    return tmp_path / "form.toml"


def change(form: Path, before: str, after: str) -> None:
    text = form.read_text()
    assert before in text
    form.write_text(text.replace(before, after))


@pytest.mark.requirement("SEED-82", "SEED-81", "DEF-19")
def test_the_form_becomes_a_gateway_and_undo_leaves_the_settings_as_they_were(
    home: Home, form: Path
) -> None:
    before = home.config_file.read_bytes()
    done = home.mssmtp("gateway", "init", str(form), "--json")
    assert done.code == 0, done.out + done.err
    assert done.json["switched_on"] is True
    assert {each["severity"] for each in done.json["findings"]} == {"ok"}
    (gateway,) = load(home.config_file).gateways
    assert gateway.client_names == (RELAY.text,)
    assert load(home.config_file).listen.gateways is not None
    assert home.mssmtp("check-config").code == 0
    (row,) = home.mssmtp("gateway", "list", "--json").json
    assert (row["name"], row["aliases"], row["inbound"]) == ("chu", 1, "store")
    assert home.mssmtp("gateway", "show", "chu", "--json").json["aliases"] == {USUAL: str(ZOE)}
    assert home.mssmtp("gateway", "check", "chu").code == 0
    doctor = {each["what"]: each["why"] for each in home.mssmtp("doctor", "--json").json}
    assert doctor["gateway chu"] == "1 aliases, mail for its boxes: store"
    undone = home.mssmtp("gateway", "undo", "chu", "--json")
    assert undone.code == 0, undone.err
    assert home.config_file.read_bytes() == before
    assert list((home.config_file.parent / "gateways").iterdir()) == []


@pytest.mark.requirement("SEED-82")
def test_a_dry_try_changes_nothing(home: Home, form: Path) -> None:
    before = home.config_file.read_bytes()
    done = home.mssmtp("gateway", "init", str(form), "--dry")
    assert done.code == 0, done.out + done.err
    assert "Nothing was changed." in done.out
    assert home.config_file.read_bytes() == before
    assert list((home.config_file.parent / "gateways").iterdir()) == []


@pytest.mark.requirement("SEED-82", "DEF-19")
def test_a_hospital_that_does_not_answer_is_said_and_nothing_is_switched_on(
    home: Home, form: Path
) -> None:
    (port,) = free_ports(1)
    change(form, 'mode = "store"', f'mode = "forward"\nhosts = ["127.0.0.1:{port}"]')
    before = home.config_file.read_bytes()
    done = home.mssmtp("gateway", "init", str(form), "--json")
    assert done.code == 1
    (found,) = [each for each in done.json["findings"] if each["severity"] == "error"]
    assert found["what"].startswith("inbound, dry: 127.0.0.1")
    assert "451 4.4.1" in found["why"]
    assert home.config_file.read_bytes() == before
    done = home.mssmtp("gateway", "init", str(form), "--in-spite", "--json")
    assert done.json["switched_on"] is True


SAID = [
    # of the form, its alias file or settings; what init says
    ('["hopital-a.test"]', '["ailleurs.test"]', "ailleurs.test is not in operator.domains"),
    ('mode = "store"', 'mode = "forward"', "mail is passed on to its hosts"),
    ('mode = "store"', 'mode = "fax"', "inbound.mode"),
    ("192.0.2.10/32", "partout", "outbound.addresses"),
    ('"relais.pem"', '"absent.pem"', "absent.pem"),
    ('"alias.csv"', '"absent.csv"', "absent.csv"),
    ('name = "chu"', 'name = "CHU 1"', "name"),
    ("[outbound]", "[sortant]", "outbound"),
]


@pytest.mark.requirement("SEED-82")
@pytest.mark.parametrize(("before", "after", "said"), SAID)
def test_a_form_that_cannot_be_is_refused_with_the_place(
    home: Home, form: Path, before: str, after: str, said: str
) -> None:
    settings = home.config_file.read_bytes()
    change(form, before, after)
    done = home.mssmtp("gateway", "init", str(form))
    assert done.code == 2, done.out
    assert said in done.err
    assert "Value error" not in done.err
    assert home.config_file.read_bytes() == settings


TABLES = [
    # lines of the table; exit code; what is said
    (f"{USUAL};{ZOE}\n{USUAL};secretariat@hopital-a.test\n", 2, "stands in two pairs"),
    (f"{USUAL};{ZOE}\nz@chu.example;{ZOE}\n", 2, "stands in two pairs"),
    (f"{USUAL};zoe@cabinet-b.test\n", 2, "is not behind this gateway"),
    (f"{ZOE};{USUAL}\n", 2, "is not behind this gateway"),
]


@pytest.mark.requirement("DEF-19")
@pytest.mark.parametrize(("table", "code", "said"), TABLES)
def test_conflicts_in_the_table_are_said(
    home: Home, form: Path, table: str, code: int, said: str
) -> None:
    (form.parent / "alias.csv").write_text(table)
    done = home.mssmtp("gateway", "init", str(form))
    assert done.code == code, done.out
    assert said in done.out + done.err
    assert str(form.parent / "alias.csv") in done.err, "the file people know"


@pytest.mark.requirement("DEF-19")
def test_boxes_that_lack_and_domains_on_the_wrong_side_are_said(home: Home, form: Path) -> None:
    table = f"{USUAL};personne@hopital-a.test\nzoe@cabinet-b.test;{ZOE}\n"
    (form.parent / "alias.csv").write_text(table)
    done = home.mssmtp("gateway", "init", str(form))
    assert done.code == 1
    assert "no box personne@hopital-a.test" in done.out
    assert "cabinet-b.test is a domain of the trust space" in done.out


@pytest.mark.requirement("DEF-19")
def test_a_certificate_the_door_would_refuse_is_said_before(
    home: Home, form: Path, authority: Authority
) -> None:
    stranger = Authority(authority.now).issue(RELAY)
    made = stranger.write(form.parent, "stranger").certificate_file
    made.rename(form.parent / "relais.pem")
    done = home.mssmtp("gateway", "init", str(form))
    assert done.code == 1
    assert "is refused at the door: chain" in done.out


@pytest.mark.requirement("SEED-82")
def test_a_second_init_and_an_undo_of_nobody_say_what_to_do(home: Home, form: Path) -> None:
    for command in ("undo", "check", "show"):
        nobody = home.mssmtp("gateway", command, "chu")
        assert nobody.code == 2
        assert "gateway chu: is not in the settings" in nobody.err
    assert home.mssmtp("gateway", "init", str(form)).code == 0
    again = home.mssmtp("gateway", "init", str(form))
    assert again.code == 2
    assert "gateway undo chu" in again.err
    assert load(home.config_file).gateways


def test_only_a_server_that_runs_is_told(home: Home, form: Path) -> None:
    """A killed server leaves its number behind, which may be somebody else's since."""
    heard: list[int] = []
    before = signal.signal(signal.SIGHUP, lambda number, _: heard.append(number))
    run = home.config_file.parent / load(home.config_file).store.home / "run"
    run.mkdir(exist_ok=True)
    (run / "ready").write_text(f"{os.getpid()}\n")
    (run / "serve.lock").touch()
    try:
        assert home.mssmtp("gateway", "init", str(form), "--json").json["reloaded"] is False
        assert heard == []
        with (run / "serve.lock").open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            assert home.mssmtp("gateway", "undo", "chu", "--json").json["reloaded"] is True
        assert heard == [signal.SIGHUP]
    finally:
        signal.signal(signal.SIGHUP, before)


def test_the_printed_form_is_one(home: Home, tmp_path: Path) -> None:
    """Only its files are missing."""
    (tmp_path / "printed.toml").write_text(typed("gateway", "form").out)
    done = home.mssmtp("gateway", "init", str(tmp_path / "printed.toml"))
    assert "relais.ch-valmont.pem" in done.err
