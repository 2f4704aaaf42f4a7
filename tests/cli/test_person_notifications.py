"""`mssmtp person notifications`."""

from __future__ import annotations

import pytest

from mssmtp.mail import Address, Bal, BalId, BalType
from mssmtp.storage import Writing
from mssmtp.storage.people_values import NewPerson
from tests.home import Home

USUAL = Address.parse("zoe@poste.example")


@pytest.mark.requirement("SEED-47")
def test_a_person_sees_and_chooses_what_to_be_told_of(home: Home) -> None:
    def person(writing: Writing) -> None:
        made = writing.create_person(NewPerson(USUAL, "Tartempion", "Zoé"))
        address = Address.parse("zoe.autre@hopital-a.test")
        box = writing.add_box(Bal(BalId(0), address, BalType.MED, usual_address=USUAL))
        writing.give_box(made.account, box.id)

    with home.store() as store:
        store.write(person).result()
    command = ("person", "notifications", str(USUAL))
    (row,) = home.mssmtp(*command, "--json").json
    assert (row["arrival"], row["opening"], row["sealing"]) == ("at-once", "at-once", "never")
    chosen = home.mssmtp(*command, "--arrival", "daily", "--opening", "never", "--json")
    assert (chosen.json["arrival"], chosen.json["opening"]) == ("daily", "never")
    assert "daily" in home.mssmtp(*command).out
    for wrong in (
        ("--opening", "hourly"),
        ("--arrival", "parfois"),
        ("--box", "x@y.test", "--arrival", "never"),
    ):
        answer = home.mssmtp(*command, *wrong)
        assert answer.code == 2
        assert answer.err
    assert home.mssmtp("person", "notifications", "nul@poste.example").code == 2
