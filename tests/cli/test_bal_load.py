"""`mssmtp bal load`: what an administrator sees of a file, and what is done with it."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from mssmtp.admin import Office, answer
from mssmtp.bulk import Column
from mssmtp.mail import Actor, Address, AdminLevel, Domain, Structure, StructureId
from tests.authority import A_DOMAIN
from tests.bulk.files import APP, FINESS, INT, MED, ORG, PER, csv_of
from tests.home import CLOCK, ENTROPY, Home, Typed, typed

ZOE = Address.parse(PER[Column.USUAL])


@pytest.fixture
def hospital(home: Home) -> Home:
    new = Structure(StructureId(0), "CH de Valmont", finess=FINESS, domain=Domain(A_DOMAIN))
    with home.store() as store:
        store.write(lambda writing: writing.create_structure(new)).result()
    return home


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "comptes.csv"
    file.write_bytes(csv_of(PER, ORG, APP, INT, {**MED, Column.USUAL: "léa@x.example"}))
    return file


@pytest.mark.requirement("SEED-39", "DEF-10")
def test_a_file_is_tried_then_loaded_then_changes_nothing(
    hospital: Home, file: Path, tmp_path: Path
) -> None:
    tried = hospital.mssmtp("bal", "load", str(file), "--dry-run")
    assert tried.code == 1
    assert "Rien n'a été écrit" in tried.out
    assert (
        "Lignes : 5 (créées : 4, modifiées : 0, closes : 0, inchangées : 0, refusées : 1)."
        in tried.out
    )
    assert "écrivez nom@domaine" in tried.out
    with hospital.store() as store:
        assert store.read(lambda r: r.person(ZOE)).result() is None

    report = tmp_path / "rapport.csv"
    loaded = hospital.mssmtp("bal", "load", str(file), "--json", "--report", str(report))
    assert loaded.code == 1
    assert loaded.json["written"] is True
    assert loaded.json["counts"]["created"] == 4
    assert [line["line"] for line in loaded.json["lines"]] == [2, 3, 4, 5, 6]
    assert loaded.json["lines"][0]["address"] == f"zoe.tartempion.2@{A_DOMAIN}"
    rows = list(csv.reader(io.StringIO(report.read_text("utf-8-sig")), delimiter=";"))
    assert [row[4] for row in rows[1:]] == ["créée"] * 4 + ["refusée"]
    assert report.stat().st_mode & 0o777 == 0o600

    again = hospital.mssmtp("bal", "load", str(file), "--json")
    assert again.json["counts"]["unchanged"] == 4


@pytest.mark.requirement("DEF-10")
def test_all_or_nothing_writes_nothing_while_a_line_is_wrong(hospital: Home, file: Path) -> None:
    refused = hospital.mssmtp("bal", "load", str(file), "--all-or-nothing", "--json")
    assert refused.code == 1
    assert refused.json["written"] is False
    with hospital.store() as store:
        assert store.read(lambda r: r.person(ZOE)).result() is None
    file.write_bytes(csv_of(PER, ORG, APP, INT))
    loaded = hospital.mssmtp("bal", "load", str(file), "--all-or-nothing", "--json")
    assert (loaded.code, loaded.json["written"]) == (0, True)


def test_a_file_that_is_none_is_refused_with_a_remedy(hospital: Home, tmp_path: Path) -> None:
    file = tmp_path / "comptes.csv"
    for octets, why in ((csv_of(PER, encoding="cp1252"), "Windows-1252"), (b"", "vide")):
        file.write_bytes(octets)
        answer = hospital.mssmtp("bal", "load", str(file))
        assert answer.code == 2
        assert why in answer.err
        assert "CSV UTF-8" in answer.err
    answer = hospital.mssmtp("bal", "load", str(tmp_path / "absent.csv"))
    assert answer.code == 2


def test_a_template_is_written_once(tmp_path: Path) -> None:
    for name in ("comptes.csv", "comptes.xlsx"):
        file = str(tmp_path / name)
        assert typed("bal", "template", file).code == 0
        assert typed("bal", "template", file).code == 2
    assert typed("bal", "template", str(tmp_path / "comptes.txt")).code == 2


def test_the_report_for_programs_is_json(hospital: Home, file: Path, tmp_path: Path) -> None:
    report = tmp_path / "rapport.json"
    hospital.mssmtp("bal", "load", str(file), "--dry-run", "--report", str(report))
    told = json.loads(report.read_text("utf-8"))
    assert told[4]["problems"][0]["column"] == "adresse_usuelle"
    assert hospital.mssmtp("bal", "load", str(file), "--report", "x.pdf").code == 2


@pytest.mark.requirement("SEED-40", "DEF-11")
def test_people_are_told_at_once_or_later_and_finalise_by_choosing_a_password(
    hospital: Home, file: Path
) -> None:
    chosen = "Medecin1\nMedecin1\n"
    second = {**MED, Column.NOTIFY: "N"}
    file.write_bytes(csv_of(PER, second))
    refused = hospital.mssmtp("bal", "load", str(file), "--notify")
    assert refused.code == 2
    assert "aucun relais de courrier" in refused.err
    assert links(hospital) == {}

    hospital.edit("[notices]", '[notices]\nrelay_host = "127.0.0.1"\nrelay_tls = "none"')
    assert hospital.mssmtp("bal", "load", str(file), "--notify").code == 0
    assert list(links(hospital)) == [PER[Column.USUAL]]
    told = hospital.mssmtp("person", "notify", "--structure", FINESS, "--json").json
    assert told == {"told": [MED[Column.USUAL]]}
    tokens = links(hospital)

    def finalise(usual: str, password: str, *more: str) -> Typed:
        return hospital.mssmtp("person", "finalise", *more, stdin=f"{tokens[usual]}\n{password}")

    assert "deux saisies" in finalise(str(ZOE), "Medecin1\nMedecin2\n").err
    assert "aucun chiffre" in finalise(str(ZOE), "Medecins\nMedecins\n").err
    done = finalise(str(ZOE), chosen, "--json")
    assert done.json["state"] == "certified"
    assert "a déjà servi" in finalise(str(ZOE), chosen).err
    assert "trois conditions" in finalise(MED[Column.USUAL], chosen).err
    assert finalise(MED[Column.USUAL], chosen, "--attests", "--json").json["state"] == "certified"
    late = hospital.mssmtp("person", "notify", str(ZOE))
    assert "déjà activé" in late.err
    traces = hospital.mssmtp("person", "activity", str(ZOE), "--json").out
    assert tokens[str(ZOE)] not in traces
    assert "Medecin1" not in traces


def links(home: Home) -> dict[str, str]:
    """The secret each waiting mail brings, by its address."""
    with home.store() as store:
        waiting = store.read(lambda r: r.waiting_notices()).result()
    return {str(each.to): str(each.values["link"]).partition("#")[2] for each in waiting}


def test_a_structures_administrator_loads_its_own_people_and_nobody_elses(
    hospital: Home, file: Path
) -> None:
    """The operation itself, as the doors call it for an administrator of a structure (SEED-38)."""
    file.write_bytes(csv_of(PER))
    with hospital.store() as store:
        own = store.read(lambda r: r.structure_by_number(FINESS)).result()
        assert own is not None
        office = Office(store, hospital.settings, CLOCK, ENTROPY)
        lines = [{"number": 2, "cells": {str(name): text for name, text in PER.items()}}]
        body = json.dumps({"lines": lines}).encode()

        def load(structure: StructureId) -> str:
            actor = Actor(AdminLevel.STRUCTURE, "dsi", structure=structure)
            (told,) = json.loads(answer(office, actor, "bal.load", body).body)
            return str(told["outcome"])

        assert load(StructureId(own.id + 1)) == "refused"
        assert load(own.id) == "created"


@pytest.mark.attack("ATT-27")
@pytest.mark.parametrize(
    ("level", "lines", "status"),
    [
        (AdminLevel.STRUCTURE, 5_001, 400),
        (AdminLevel.STRUCTURE, 5_000, 200),
        (AdminLevel.OPERATOR, 5_001, 200),
    ],
)
def test_att_27_a_structure_does_not_stop_all_writes_by_a_large_file(
    hospital: Home, level: AdminLevel, lines: int, status: int
) -> None:
    with hospital.store() as store:
        own = store.read(lambda r: r.structure_by_number(FINESS)).result()
        assert own is not None
        office = Office(store, hospital.settings, CLOCK, ENTROPY)
        numbered = [{"number": number, "cells": {}} for number in range(1, lines + 1)]
        body = json.dumps({"lines": numbered, "all_or_nothing": True}).encode()
        structure = own.id if level is AdminLevel.STRUCTURE else None
        said = answer(office, Actor(level, "dsi", structure=structure), "bal.load", body)
    assert said.status == status
    assert (b"tout ou rien" in said.body) is (status != 200)


def test_nothing_is_loaded_when_a_later_line_asks_for_mail_that_cannot_go(
    hospital: Home, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mssmtp.cli.bal_load.BATCH", 1)
    file.write_bytes(csv_of(PER, {**MED, Column.NOTIFY: "O"}))
    refused = hospital.mssmtp("bal", "load", str(file))
    assert (refused.code, "colonne notifier" in refused.err) == (2, True)
    with hospital.store() as store:
        assert store.read(lambda r: r.person(ZOE)).result() is None, "told nobody, wrote half"


def test_a_file_that_cannot_be_opened_is_told_in_french(hospital: Home, tmp_path: Path) -> None:
    gone = hospital.mssmtp("bal", "load", str(tmp_path / "absent.csv"))
    assert (gone.code, "n'existe pas" in gone.err) == (2, True)
    place = hospital.mssmtp("bal", "load", str(tmp_path))
    assert (place.code, "c'est un répertoire" in place.err) == (2, True)
