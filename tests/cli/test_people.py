"""People from the command line: who waits, the register, another address, the year of a box."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from mssmtp.admin import OPERATIONS
from mssmtp.config_example import render
from mssmtp.mail import Address, BalType
from mssmtp.people import persons, structures
from mssmtp.people.boxes import NewBox
from mssmtp.people.rules import Rules
from mssmtp.people.structures import NewStructure
from mssmtp.storage import Writing
from mssmtp.storage.people_values import NewPerson
from mssmtp.storage.schema import metadata
from tests.home import CLOCK, RPPS, ZOE, Home

ROOT = Path(__file__).resolve().parents[2]
ALONE = Address.parse("lea@poste.example")
ADDRESS_HEADER = "rpps_adeli;nom;prenom;profession_code;ouvert\n"


def _waiting(writing: Writing) -> None:
    person = persons.self_register(writing, NewPerson(ALONE, "Seule", "Léa", profession="10"))
    writing.mark_person(person.id, "pending_since", CLOCK.now() - timedelta(hours=49))


@pytest.mark.requirement("SEED-36")
def test_a_request_that_waits_for_more_than_48_hours_is_an_alarm_with_its_age(home: Home) -> None:
    with home.store() as store:
        store.write(_waiting).result()
    (row,) = home.mssmtp("person", "pending", "--json").json
    assert (row["person"], row["hours"]) == (str(ALONE), 49)
    told = home.mssmtp("doctor", "--json").json
    (found,) = (each for each in told if each["what"] == "certification")
    assert found["severity"] == "error"
    assert "49 h" in found["why"]
    assert "person pending" in found["remedy"]
    assert home.mssmtp("person", "certify", str(ALONE), "--json").code == 0
    told = home.mssmtp("doctor", "--json").json
    (found,) = (each for each in told if each["what"] == "certification")
    assert found["severity"] == "ok"


@pytest.mark.requirement("SEED-36", "OP-50")
def test_who_was_refused_can_ask_again(home: Home) -> None:
    with home.store() as store:
        store.write(_waiting).result()
    assert home.mssmtp("person", "request", str(ALONE)).code == 0, "asked twice is asked once"
    assert [row["hours"] for row in home.mssmtp("person", "pending", "--json").json] == [49]
    home.mssmtp("person", "refuse", str(ALONE), "--reason", "doublon")
    assert home.mssmtp("person", "pending", "--json").json == []
    assert home.mssmtp("person", "request", str(ALONE), "--json").code == 0
    assert [row["hours"] for row in home.mssmtp("person", "pending", "--json").json] == [0]
    home.mssmtp("person", "certify", str(ALONE))
    refused = home.mssmtp("person", "request", str(ALONE))
    assert refused.code == 2
    assert "n'attend pas de certification" in refused.err


@pytest.mark.requirement("OP-45")
def test_the_local_register_is_loaded_from_a_file_and_shown(home: Home, tmp_path: Path) -> None:
    file = tmp_path / "annuaire.csv"
    file.write_text(f"{ADDRESS_HEADER}{RPPS};Tartempion;Zoé;10;N\n", "utf-8")
    assert home.mssmtp("register", "load", str(file), "--json").json == {"entries": 1}
    shown = home.mssmtp("register", "show", RPPS, "--json").json
    assert (shown["last_name"], shown["is_open"]) == ("Tartempion", False)
    for wrong in (
        "rpps;nom\n",
        f"{ADDRESS_HEADER}{RPPS};Tartempion;Zoé;10;peut-être\n",
        f"{ADDRESS_HEADER}{RPPS};Tartempion\n",
    ):
        file.write_text(wrong, "utf-8")
        refused = home.mssmtp("register", "load", str(file))
        assert refused.code == 2
    file.write_text(f"{ADDRESS_HEADER}10000000001;Faux;Zoé;10;O\n", "utf-8")
    assert home.mssmtp("register", "load", str(file)).code == 2
    missing = home.mssmtp("register", "load", str(tmp_path / "absent.csv"))
    assert missing.code == 2
    assert "n'existe pas" in missing.err


@pytest.mark.requirement("OP-48")
def test_the_year_of_a_box_begins_again_on_request(home: Home) -> None:
    kept = home.mssmtp("bal", "keep", str(ZOE), "--json")
    assert kept.code == 0
    assert kept.json["active_since"].startswith(f"{CLOCK.now():%Y-%m-%d}")
    assert home.mssmtp("bal", "keep", "personne@hopital-a.test").code == 2


@pytest.mark.requirement("SEED-50", "SEED-49")
def test_an_address_is_changed_by_the_operator_alone_and_only_for_a_letter(home: Home) -> None:
    usual = Address.parse("marie@poste.example")

    def made(writing: Writing) -> None:
        rules = Rules.of(home.settings)
        structure = structures.create(writing, NewStructure("Cabinet", "690000013"))
        structures.take_domain(writing, rules, structure.id, home.settings.operator.domains[0])
        new = NewPerson(usual, "Port", "Marie", national_id=None, structure=structure.id)
        persons.load(writing, rules, new, NewBox(BalType.MED, structure.id))

    with home.store() as store:
        store.write(made).result()
    refused = home.mssmtp(
        "person",
        "change-usual-address",
        str(usual),
        "autre@poste.example",
        *("--letter", "0" * 26, "--last-name", "Port", "--first-name", "Marie", "--rpps", RPPS),
        *("--activity", "secrétaire", "--postal-address", "1 rue", "--telephone", "0400000000"),
    )
    assert refused.code == 2
    assert "support" in refused.err
    assert home.mssmtp("person", "show", str(usual), "--json").json["usual_address"] == str(usual)


@pytest.mark.requirement("SEED-52")
def test_nothing_here_charges_anybody() -> None:
    """No setting, operation, table or text of people speaks of money."""
    words = ("tarif", "factur", "paiement", "abonnement", "payment", "invoice", "billing", "price")
    code = [path for path in (ROOT / "mssmtp").rglob("*.py") if "demo" not in path.parts]
    # The header that forbids pages the browser's means of payment names them.
    texts = [render({}), *(path.read_text("utf-8").replace("payment=()", "") for path in code)]
    texts += [f"{table} {list(table.columns)}" for table in metadata.tables.values()]
    texts += [f"{operation.name} {operation.meaning}" for operation in OPERATIONS]
    assert [word for word in words for text in texts if word in text.lower()] == []
