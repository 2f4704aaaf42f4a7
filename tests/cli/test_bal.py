"""`mssmtp bal`: a working box in one command, and every refusal with its remedy."""

from __future__ import annotations

import string

import pytest

from mssmtp.identity import Authenticator
from tests.home import (
    CLOCK,
    ENTROPY,
    PASSWORD,
    PATIENT_DOMAIN,
    RPPS,
    SECRETARIAT,
    UNCERTIFIED,
    ZOE,
    Home,
)

NEW = "lea.nouvelle@hopital-a.test"


def opens(home: Home, login: str, password: str) -> str:
    """The addresses a login may act as."""
    with home.store() as store:
        principal = Authenticator(store, CLOCK, ENTROPY).authenticate(login, password)
    return " ".join(str(bal.address) for bal in principal.bals)


@pytest.mark.requirement("OP-38", "OP-81")
def test_one_command_makes_a_working_box_and_prints_its_settings_once(home: Home) -> None:
    home.edit("# imaps = ", 'imaps = { host = "127.0.0.1", port = 993 }\n# imaps = ')
    added = home.mssmtp("bal", "add", NEW, "--type", "PER", "--rpps", RPPS, "--json")
    assert added.code == 0
    assert added.json["address"] == NEW
    assert added.json["imap_tls"] == "mx.hopital-a.test:993"
    assert added.json["submission_tls"] is None
    password = added.json["password"]
    assert len(password) == 20
    assert set(password) <= set(string.ascii_lowercase + string.digits)
    assert opens(home, NEW, password) == NEW
    shown = home.mssmtp("bal", "show", NEW)
    assert password not in shown.out
    assert NEW in shown.out


def test_the_table_for_people_holds_the_same(home: Home) -> None:
    home.edit("# submissions = ", "submissions = { port = 465 }\n# submissions = ")
    added = home.mssmtp("bal", "add", NEW, "--type", "MED")
    assert added.code == 0
    assert "Box added: MED" in added.out
    assert "mx.hopital-a.test:465" in added.out
    grouped = next(line for line in added.out.splitlines() if "password" in line).split("│")[2]
    assert opens(home, NEW, grouped.strip()) == NEW


def test_a_chosen_password_is_read_from_standard_input(home: Home) -> None:
    command = ("bal", "add", NEW, "--type", "MED", "--password-stdin")
    added = home.mssmtp(*command, stdin="une phrase assez longue\n")
    assert added.code == 0
    assert opens(home, NEW, "une phrase assez longue") == NEW


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("court\n", "moins de 16 caractères"),
        ("", "moins de 16 caractères"),
        ("a" * 30 + "\n", "moins de 6 caractères différents"),
    ],
)
def test_a_weak_password_is_refused_and_no_box_made(home: Home, password: str, why: str) -> None:
    command = ("bal", "add", NEW, "--type", "MED", "--password-stdin")
    answer = home.mssmtp(*command, stdin=password)
    assert answer.code == 2
    assert f"mot de passe: {why}" in answer.err
    assert "un bon mot de passe est alors fait et affiché" in answer.err
    assert home.mssmtp("bal", "show", NEW).code == 2


@pytest.mark.requirement("OP-38")
@pytest.mark.parametrize(
    ("numbers", "why"),
    [
        ((), "une boîte personnelle demande un RPPS ou un ADELI"),
        (("--rpps", "10000000001"), "la clé (dernier chiffre) est fausse"),
        (("--rpps", "123"), "ni un RPPS ni un ADELI"),
        (("--adeli", "69"), "ni un RPPS ni un ADELI"),
    ],
)
def test_per_without_a_valid_number_is_refused_and_med_proposed(
    home: Home, numbers: tuple[str, ...], why: str
) -> None:
    answer = home.mssmtp("bal", "add", NEW, "--type", "PER", *numbers)
    assert answer.code == 2
    assert why in answer.err
    assert "ou --type MED" in answer.err
    assert home.mssmtp("bal", "show", NEW).code == 2


@pytest.mark.requirement("OP-38")
@pytest.mark.parametrize(("option", "number"), [("--adeli", "699999999"), ("--rpps", RPPS)])
def test_per_with_a_valid_number_is_made(home: Home, option: str, number: str) -> None:
    assert home.mssmtp("bal", "add", NEW, "--type", "PER", option, number).code == 0
    stored = home.mssmtp("bal", "show", NEW, "--json").json["national_id"]
    assert stored == {"--adeli": "0", "--rpps": "8"}[option] + number


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        ((str(ZOE), "--type", "MED"), 1, "Cette adresse existe déjà"),
        (("zoe@ailleurs.test", "--type", "MED"), 2, "son domaine n'est pas servi ici"),
        (("zoé@hopital-a.test", "--type", "MED"), 2, "Adresse non ASCII"),
        (("zoe", "--type", "MED"), 2, "Adresse mal formée"),
        ((NEW, "--type", "MED", "--rpps", RPPS), 2, "seule une boîte PER porte"),
        ((NEW, "--type", "APP", "--member", str(ZOE)), 2, "seule une boîte ORG a des membres"),
        ((NEW, "--type", "XYZ"), 2, "is not one of"),
        ((NEW,), 2, "Missing option '--type'"),
        ((NEW, "--type", "MED", "--usual-address", "x"), 2, "Adresse mal formée"),
        (
            (NEW, "--type", "ORG", "--member", "nobody@hopital-a.test"),
            2,
            "n'est le login de personne ici",
        ),
    ],
)
def test_a_wrong_use_of_bal_add_changes_nothing(
    home: Home, arguments: tuple[str, ...], code: int, why: str
) -> None:
    before = home.mssmtp("bal", "list", "--json").json
    answer = home.mssmtp("bal", "add", *arguments)
    assert (answer.code, answer.out) == (code, "")
    assert why in answer.err
    assert len(answer.err.strip().splitlines()) >= 2, "there is no remedy"
    assert home.mssmtp("bal", "list", "--json").json == before


def test_a_member_of_an_organisation_may_act_in_it(home: Home) -> None:
    command = ("bal", "add", "urgences@hopital-a.test", "--type", "ORG", "--member", str(ZOE))
    assert home.mssmtp(*command).code == 0
    acting = opens(home, str(ZOE), PASSWORD)
    assert acting == f"{ZOE} {SECRETARIAT} urgences@hopital-a.test"


def test_list_and_show_for_people_and_for_machines(home: Home) -> None:
    listed = home.mssmtp("bal", "list", "--json").json
    assert [(row["address"], row["type"], row["person"]) for row in listed] == [
        (str(ZOE), "PER", "certified"),
        (str(UNCERTIFIED), "PER", "not-certified"),
        (str(SECRETARIAT), "ORG", "certified"),
    ]
    table = home.mssmtp("bal", "list").out
    assert all(row["address"] in table for row in listed)
    shown = home.mssmtp("bal", "show", str(ZOE).upper(), "--json").json
    assert [device["name"] for device in shown["devices"]] == ["premier appareil"]
    assert {box["name"] for box in shown["mailboxes"]} == {
        "INBOX",
        "Archive",
        "Drafts",
        "Junk",
        "Sent",
        "Trash",
    }
    people = home.mssmtp("bal", "show", str(ZOE)).out
    assert "premier appareil" in people
    assert "{" not in people


@pytest.mark.parametrize("verb", ["show", "suspend"])
def test_a_box_that_is_not_there_is_code_2(home: Home, verb: str) -> None:
    answer = home.mssmtp("bal", verb, NEW)
    assert (answer.code, answer.out) == (2, "")
    assert f"{NEW}: n'existe pas ici" in answer.err
    assert "Les commandes `list`" in answer.err


def test_a_suspended_box_says_so(home: Home) -> None:
    assert home.mssmtp("bal", "suspend", str(ZOE)).out == f"{ZOE} is suspended.\n"
    assert home.mssmtp("bal", "show", str(ZOE), "--json").json["state"] == "suspended"
    again = home.mssmtp("bal", "suspend", str(ZOE), "--json")
    assert again.json == {"address": str(ZOE), "state": "suspended"}


@pytest.mark.requirement("OP-87")
def test_a_patients_address_is_masked_in_every_answer(home: Home) -> None:
    home.edit('domains = ["hopital-a.test"]', f'domains = ["hopital-a.test", "{PATIENT_DOMAIN}"]')
    local = "199019999999979"
    patient, hidden = f"{local}@{PATIENT_DOMAIN}", f"199**********79@{PATIENT_DOMAIN}"
    for command in (
        ("add", patient, "--type", "INT"),
        ("add", patient, "--type", "INT"),  # exists already
        ("list",),
        ("list", "--json"),
        ("show", patient),
        ("show", patient, "--json"),
        ("suspend", patient),
        ("suspend", patient, "--json"),
        ("show", f"{local}0@{PATIENT_DOMAIN}"),
        ("add", f"{local}0@{PATIENT_DOMAIN}", "--type", "ORG", "--member", "x" + patient),
        ("show", f"é{patient}"),
    ):
        answer = home.mssmtp("bal", *command)
        assert local not in answer.out + answer.err, command
        assert hidden in answer.out + answer.err or "9***" in answer.err, command
