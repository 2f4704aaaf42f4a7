"""Who may be let into an ORG box, and who may not."""

from __future__ import annotations

import pytest

from tests.admin.conftest import DAY, OPERATOR, Desk, Said


@pytest.mark.requirement("DEF-08")
@pytest.mark.parametrize("type", ["INT", "MED"])
def test_an_int_box_opens_org_boxes_of_its_own_structure_alone(desk: Desk, type: str) -> None:
    """Even the operator lets nobody with an INT box into another structure's; a MED box may."""
    orgs = []
    _, dsi = desk.structure()
    _, other = desk.structure()
    for each in (dsi, other):
        given = {"local": f"accueil{desk.number()}", "label": "Accueil", "agreed_on": DAY}
        number = desk.person(each)["national_id"]
        made = desk.ask(each, "bal.create", type="ORG", responsible=number, **given)
        orgs.append(made["address"])
    person = desk.person(dsi, national_id=None, type=type, profession="91")
    login = person["usual_address"]
    desk.ask(OPERATOR, "bal.member.add", org=orgs[0], person=login, role="secretaire")
    if type == "MED":
        desk.ask(OPERATOR, "bal.member.add", org=orgs[1], person=login, role="secretaire")
        return
    with pytest.raises(Said, match="DEF-08"):
        desk.ask(OPERATOR, "bal.member.add", org=orgs[1], person=login, role="secretaire")
    rows = desk.ask(other, "bal.member.list", org=orgs[1])
    assert login not in [row["person"] for row in rows]
