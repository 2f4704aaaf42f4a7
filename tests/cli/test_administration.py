"""`mssmtp structure|person|domain|admin|bal`: a structure from its request form to its end."""

from __future__ import annotations

import csv
import json
import stat
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from mssmtp.cli import bal, domain, person, structure
from mssmtp.cli.exporting import cell
from tests.home import RPPS, Home

FINESS = "690000013"
USUAL = "zoe.tartempion@clinique.example"


def test_a_certificate_file_that_is_not_there_is_not_said_to_be_a_wrong_one(
    home: Home, tmp_path: Path
) -> None:
    create = ("structure", "create", "Clinique du Lac", "--finess", FINESS)
    named = ("--administrator", "Paul Dési", "--certificate")
    absent, other = tmp_path / "absent.pem", tmp_path / "other.pem"
    told = home.mssmtp(*create, *named, str(absent))
    assert (told.code, "cannot be read (No such file" in told.err) == (2, True), told.err
    other.write_text("nothing")
    assert "holds no PEM certificate" in home.mssmtp(*create, *named, str(other)).err


def test_a_box_that_no_certificate_opens_is_said_to_be_one(home: Home) -> None:
    assert home.mssmtp("bal", "add", "noreply@hopital-a.test", "--type", "APP").code == 0
    shown = home.mssmtp("bal", "certificate", "list", "noreply@hopital-a.test")
    assert (shown.code, "No certificate opens noreply@hopital-a.test" in shown.out) == (0, True)


def test_a_structure_from_its_request_form_to_its_end(home: Home, tmp_path: Path) -> None:
    made = home.mssmtp(
        *("structure", "create", "Clinique du Lac", "--finess", FINESS, "--region", "84"),
        *("--administrator", "Paul Dési", "--user", "4242", "--json"),
    )
    assert (made.code, made.json["state"]) == (0, "open"), made.err
    listed = home.mssmtp("admin", "list", "--json").json
    assert [(row["name"], row["level"], row["structure"]) for row in listed] == [
        ("Paul Dési", "structure", FINESS)
    ]
    assert home.mssmtp("structure", "domain", FINESS, "hopital-a.test").code == 0
    agreed = home.mssmtp("structure", "agree", FINESS, "--signed-by", "La directrice", "--json")
    assert len(agreed.json["missing"]) == 4
    step = ("structure", "declare", FINESS, "project-lead", "--on", "2026-01-05")
    assert home.mssmtp(*step, "--value", "name=Chef", "--json").code == 0
    assert "Écrivez --value name=" in home.mssmtp(*step, "--value", "Chef").err
    shown = home.mssmtp("structure", "show", FINESS, "--json").json
    assert shown["declared"]["project-lead"] == {"at": "2026-01-05", "name": "Chef"}
    # A person with a box, an ORG box; both are listed, exported, closed.
    added = home.mssmtp(
        *("person", "create", USUAL, "--last-name", "Tartempion", "--first-name", "Zoé"),
        *("--structure", FINESS, "--rpps", RPPS, "--profession", "10", "--json"),
    )
    assert added.code == 0, added.err
    box = added.json["box"]
    assert box.startswith("zoe.tartempion.2@"), "the first one has it already"
    org = home.mssmtp(
        *("bal", "create", "--type", "ORG", "--structure", FINESS, "--local", "accueil"),
        *("--label", "Accueil", "--json"),
    )
    assert org.json["address"] == "accueil@hopital-a.test"
    assert org.json["missing"]
    shown = home.mssmtp("bal", "show", org.json["address"], "--json").json
    assert (shown["state"], shown["missing"]) == ("suspended", org.json["missing"])
    assert org.json["missing"][0] in " ".join(
        home.mssmtp("bal", "show", org.json["address"]).out.split()
    )
    target = tmp_path / "people.csv"
    assert home.mssmtp("person", "export", str(target)).code == 0
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    with target.open(encoding="utf-8", newline="") as file:
        [row] = csv.DictReader(file, delimiter=";")
    assert (row["usual_address"], row["structure"]) == (USUAL, FINESS)
    again = home.mssmtp("person", "export", str(target))
    assert (again.code, "cannot be made" in again.err) == (2, True)
    listed = home.mssmtp("domain", "list", "--json").json
    assert [(row["domain"], row["controlled_by"]) for row in listed] == [("hopital-a.test", FINESS)]
    refused = home.mssmtp("structure", "close", FINESS)
    assert (refused.code, "Fermez-les d'abord" in refused.err) == (2, True)
    assert home.mssmtp("person", "close", USUAL).code == 0
    assert home.mssmtp("bal", "close", org.json["address"]).code == 0
    assert home.mssmtp("structure", "close", FINESS, "--json").json["state"] == "closed"
    log = home.mssmtp("person", "activity", USUAL, "--json").json
    assert [row["request"].split()[0] for row in log] == ["person.close", "person.add"]


def test_what_is_wrong_is_said_in_json_too_with_code_2(home: Home) -> None:
    for command in (
        ("structure", "show", FINESS),
        ("structure", "create", "X", "--finess", "123"),
        ("person", "show", "nul@clinique.example"),
        ("person", "show", "sans-arobase"),
        ("domain", "show", "ailleurs.test"),
        ("admin", "remove", "personne"),
        ("admin", "add", "x", "--level", "structure"),
        ("bal", "close", "nul@hopital-a.test"),
    ):
        answer = home.mssmtp(*command, "--json")
        assert (answer.code, answer.out) == (2, ""), command
        told = json.loads(answer.err)
        assert told.keys() == {"error", "why", "remedy"}
        assert all(told.values()), command


@pytest.mark.parametrize("text", ["=1+1", "+33", "-2", "@sum", "\tx"])
def test_what_a_spreadsheet_would_compute_is_text(text: str) -> None:
    assert cell(text) == f"'{text}"
    assert cell("Zoé") == "Zoé"


def test_every_operation_is_listed_with_its_level(home: Home) -> None:
    rows = {
        row["operation"]: row["least level"]
        for row in home.mssmtp("admin", "operations", "--json").json
    }
    assert rows["structure.create"] == "operator"
    assert rows["person.certify"] == "region"
    assert rows["person.add"] == "structure"


def test_a_refusal_is_told_once_and_in_one_language(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    step = home.mssmtp("structure", "declare", FINESS, "patience", "--on", "2026-01-05")
    assert (step.code, "parmi 'project-lead'" in step.err) == (2, True), step.err
    assert " ou 'osis'" in step.err
    finger = home.mssmtp("suspend", "certificate", "zzz")
    assert (finger.code, "zzz: n'est ni un fichier ni une empreinte" in finger.err) == (2, True)
    assert home.mssmtp("structure", "show", "123").code == 2
    assert not caplog.records, "the command says it; the log is the server's"


def test_what_was_declared_is_told_in_words(home: Home) -> None:
    home.mssmtp("structure", "create", "Clinique du Lac", "--finess", FINESS)
    home.mssmtp("structure", "declare", FINESS, "osis", "--on", "2026-01-05")
    assert "osis (at 2026-01-05)" in home.mssmtp("structure", "show", FINESS).out


NOUNS = ("bal", "person", "structure", "domain")
VERBS = ("create", "list", "show", "change", "close", "export")


@pytest.mark.parametrize("noun", NOUNS)
def test_every_noun_has_every_verb_and_says_it_in_json(noun: str) -> None:
    """An export is a file: its name says whether it is JSON."""
    group = typer.main.get_command(commands_of(noun))
    assert isinstance(group, TyperGroup)
    assert set(VERBS) <= set(group.commands)
    for verb in VERBS:
        spoken = {option for each in group.commands[verb].params for option in each.opts}
        assert verb == "export" or "--json" in spoken, verb


def commands_of(noun: str) -> typer.Typer:
    apps = {"bal": bal.app, "person": person.app, "structure": structure.app, "domain": domain.app}
    return apps[noun]


@pytest.mark.requirement("OP-42", "OP-43")
def test_a_box_and_a_domain_are_changed_by_their_own_commands(home: Home) -> None:
    first, second = "690000013", "750000002"
    for finess in (first, second):
        assert home.mssmtp("structure", "create", "Clinique", "--finess", finess).code == 0
    name = "hopital-a.test"
    made = home.mssmtp("domain", "create", name, "--structure", first, "--json")
    assert made.json["controlled_by"] == first, made.err
    box = ("bal", "create", "--type", "ORG", "--structure", first, "--local", "accueil")
    assert home.mssmtp(*box, "--label", "Accueil").code == 0
    address = f"accueil@{name}"
    changed = home.mssmtp("bal", "change", address, "--phone", "01 02 03 04 05", "--json").json
    assert (changed["label"], changed["phone"]) == ("Accueil", "01 02 03 04 05")
    refused = home.mssmtp("bal", "change", address, "--label", " ")
    assert (refused.code, "libellé" in refused.err) == (2, True)
    refused = home.mssmtp("domain", "change", name, "--structure", second)
    assert (refused.code, "Fermez-les" in refused.err) == (2, True)
    assert home.mssmtp("bal", "close", address).code == 0
    unknown = home.mssmtp("domain", "change", name, "--structure", "010000024")
    assert unknown.code == 2
    assert home.mssmtp("domain", "show", name, "--json").json["controlled_by"] == first
    moved = home.mssmtp("domain", "change", name, "--structure", second, "--json").json
    assert (moved["controlled_by"], moved["structures"]) == (second, [second])
    closed = home.mssmtp("domain", "close", name, "--structure", second, "--json").json
    assert (closed["controlled_by"], closed["structures"]) == ("", [])
    assert home.mssmtp("bal", "change", address, "--label", "Autre").code == 2
