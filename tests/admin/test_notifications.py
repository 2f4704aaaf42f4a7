"""Who is told of what, chosen through the operations (SEED-47)."""

from __future__ import annotations

import pytest

from mssmtp.mail import Address, Bal, BalId, BalType, Role
from tests.admin.conftest import OPERATOR, Desk, Said


def someone(desk: Desk) -> str:
    """A person with a box, who is secretary of an ORG box too."""
    store, number = desk.office.store, desk.number()
    finess, actor = desk.structure()
    usual = f"zoe{number}@poste.example"
    desk.ask(actor, "person.add", usual_address=usual, last_name=f"Nom{number}", first_name="Zoé",
             type="MED", structure=finess)  # fmt: skip
    account = store.read(lambda r: r.account(usual)).result()
    assert account is not None
    org = Bal(BalId(0), Address.parse(f"accueil{number}@commun.test"), BalType.ORG)
    made = store.write(lambda w: w.add_box(org)).result()
    store.write(lambda w: w.add_member(made.id, account.id, Role.SECRETAIRE)).result()
    return usual


@pytest.mark.requirement("SEED-47")
def test_a_person_chooses_for_each_box_and_sees_the_whole_table(desk: Desk) -> None:
    usual = someone(desk)
    own, org = desk.ask(OPERATOR, "person.notifications", person=usual)
    assert (own["as"], own["arrival"], own["opening"], own["told_at"]) == (
        "titulaire",
        "at-once",
        "at-once",
        usual,
    )
    assert (org["as"], org["arrival"], org["opening"]) == ("secretaire", "hourly", "never")
    desk.ask(OPERATOR, "person.notify-of", person=usual, box=org["box"], arrival="daily")
    desk.ask(OPERATOR, "person.notify-of", person=usual, opening="never", arrival="never")
    own, org = desk.ask(OPERATOR, "person.notifications", person=usual)
    assert (own["arrival"], own["opening"]) == ("never", "never")
    assert org["arrival"] == "daily"


@pytest.mark.parametrize(
    "given",
    [{"opening": "hourly"}, {"arrival": "sometimes"}, {"box": "autre@commun.test"}, {"code": "x"}],
)
def test_what_cannot_be_chosen_is_refused(desk: Desk, given: dict[str, str]) -> None:
    usual = someone(desk)
    with pytest.raises(Said):
        desk.ask(OPERATOR, "person.notify-of", person=usual, **given)
    own, _ = desk.ask(OPERATOR, "person.notifications", person=usual)
    assert own["opening"] == "at-once"
