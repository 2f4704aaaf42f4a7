"""`mssmtp bal auto-reply`, `signature`, `templates`, `xdm`."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from mssmtp.mail import Structure, StructureId
from mssmtp.storage import Writing
from tests.home import SECRETARIAT, ZOE, Home

FINESS = "130000011"
DPI = "dpi@hopital-a.test"


def give_structure(home: Home) -> None:
    """The box of Zoé belongs to a clinic, and is hers."""

    def job(writing: Writing) -> None:
        clinic = writing.create_structure(Structure(StructureId(0), "Clinique des Lilas", FINESS))
        bal, account = writing.bal(ZOE), writing.account(str(ZOE))
        assert bal is not None
        assert account is not None
        writing.set_bal_structure(bal.id, clinic.id)

    with home.store() as store:
        store.write(job).result()


@pytest.mark.requirement("SEED-44")
def test_an_absence_is_set_shown_and_ended(home: Home) -> None:
    shown = home.mssmtp("bal", "auto-reply", str(ZOE), "--json")
    assert shown.json == {"address": str(ZOE), "answers": False, "text": None}
    command = ("bal", "auto-reply", str(ZOE), "--text", "Absente.", "--subject", "Congés")
    done = home.mssmtp(*command, "--until", "2999-01-01", "--json")
    assert done.code == 0
    shown = home.mssmtp("bal", "auto-reply", str(ZOE), "--json")
    assert shown.json["answers"]
    assert (shown.json["text"], shown.json["subject"]) == ("Absente.", "Congés")
    last = datetime.fromisoformat(shown.json["until"]).astimezone(ZoneInfo("Europe/Paris"))
    assert last.isoformat().startswith("2999-01-01T23:59:59"), "the last day is one of absence"
    assert "Absente." in home.mssmtp("bal", "auto-reply", str(ZOE)).out
    with home.store() as store:
        bal = store.read(lambda r: r.bal(ZOE)).result()
        assert bal is not None
        assert bal.reacts
        traces = store.read(lambda r: r.traces(bal=bal.id)).result()
        assert not any("Absente" in each.request for each in traces)  # never content
    assert home.mssmtp("bal", "auto-reply", str(ZOE), "--off").code == 0
    assert home.mssmtp("bal", "auto-reply", str(ZOE), "--json").json["text"] is None


_NO_ANSWERS = (
    ((str(ZOE), "--text", ""), "vide"),
    ((str(ZOE), "--text", "x", "--from", "2030-01-02", "--until", "2030-01-01"), "fin"),
    ((str(ZOE), "--text", "x", "--file", "y"), "la même chose"),
    ((str(ZOE), "--file", "/nowhere"), "ne se lit pas"),
    (("personne@hopital-a.test", "--text", "x"), "personne@hopital-a.test"),
    ((DPI, "--text", "x"), "applicative"),
)


def test_what_cannot_be_answered_is_refused(home: Home) -> None:
    assert home.mssmtp("bal", "add", DPI, "--type", "APP").code == 0
    for arguments, why in _NO_ANSWERS:
        answer = home.mssmtp("bal", "auto-reply", *arguments)
        assert answer.code == 2
        assert why in answer.err


def test_a_text_is_read_from_a_file_or_standard_input(home: Home, tmp_path: Path) -> None:
    file = tmp_path / "absence.txt"
    file.write_text("Je suis absente.\n", "utf-8")
    assert home.mssmtp("bal", "auto-reply", str(ZOE), "--file", str(file)).code == 0
    found = home.mssmtp("bal", "auto-reply", str(ZOE), "--json").json
    assert found["text"] == "Je suis absente.\n"
    assert home.mssmtp("bal", "auto-reply", str(ZOE), "--file", "-", stdin="Bref.").code == 0
    assert home.mssmtp("bal", "auto-reply", str(ZOE), "--json").json["text"] == "Bref."


@pytest.mark.requirement("SEED-45")
def test_templates_are_offered_until_a_box_has_a_signature_of_its_own(home: Home) -> None:
    give_structure(home)
    for kind, text in (("signature", "-- {structure}\n{adresse}"), ("footer", "Confidentiel")):
        command = ("structure", "templates", FINESS, "--kind", kind, "--text", text)
        assert home.mssmtp(*command).code == 0
    found = home.mssmtp("bal", "signature", str(ZOE), "--json").json
    assert found["signature"] == f"-- Clinique des Lilas\n{ZOE}"
    assert found["footer"] == "Confidentiel"
    assert not found["is_own"]
    assert home.mssmtp("bal", "signature", str(ZOE), "--text", "Dr {nom}").code == 0
    found = home.mssmtp("bal", "signature", str(ZOE), "--json").json
    assert (found["signature"], found["is_own"]) == ("Dr {nom}", True)
    assert home.mssmtp("bal", "signature", str(ZOE), "--off").code == 0
    assert not home.mssmtp("bal", "signature", str(ZOE), "--json").json["is_own"]
    assert home.mssmtp("structure", "templates", FINESS, "--kind", "footer", "--off").code == 0
    assert home.mssmtp("structure", "templates", FINESS, "--json").json["footer"] == ""


_NO_TEMPLATES = (
    (("--kind", "signature", "--text", "{mot_de_passe}"), "n'est pas connu"),
    (("--kind", "signature", "--text", "x" * 4_001), "plus de"),
    (("--kind", "footer", "--text", "a\x07"), "contrôle"),
    (("--kind", "autre", "--text", "x"), "kind"),
    (("--text", "x"), "--kind"),
)


def test_a_template_that_cannot_be_filled_is_refused(home: Home) -> None:
    give_structure(home)
    for arguments, why in _NO_TEMPLATES:
        answer = home.mssmtp("structure", "templates", FINESS, *arguments)
        assert answer.code == 2
        assert why in answer.err


@pytest.mark.requirement("CL-72")
def test_an_org_box_sends_xdm_letters_to_the_box_of_its_software(home: Home) -> None:
    assert home.mssmtp("bal", "add", DPI, "--type", "APP").code == 0
    assert home.mssmtp("bal", "xdm", str(SECRETARIAT), "--to", DPI).code == 0
    with home.store() as store:
        box = store.read(lambda r: r.bal(SECRETARIAT)).result()
        assert box is not None
        script = store.read(lambda r: r.active_script(box.id)).result()
        assert script is not None
        assert DPI.encode() in script.octets
    assert home.mssmtp("bal", "xdm", str(SECRETARIAT), "--off").code == 0
    for address, to in ((str(ZOE), DPI), (str(SECRETARIAT), str(ZOE))):
        answer = home.mssmtp("bal", "xdm", address, "--to", to)
        assert answer.code == 2
        assert "ORG" in answer.err
    assert home.mssmtp("bal", "xdm", str(SECRETARIAT)).code == 2

    def own(writing: Writing) -> None:
        writing.put_script(box.id, "tri", b"keep;")
        writing.activate_script(box.id, "tri")

    with home.store() as store:
        store.write(own).result()
    answer = home.mssmtp("bal", "xdm", str(SECRETARIAT), "--to", DPI)
    assert answer.code == 2
    assert "est actif" in answer.err
