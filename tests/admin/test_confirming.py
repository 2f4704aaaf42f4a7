"""The portal lets an invited person in (SEED-35)."""

from __future__ import annotations

import pytest

from mssmtp.config_notices import NoticeSettings
from mssmtp.mail import Actor, Address, AdminLevel
from mssmtp.notices import Desk as Notices
from mssmtp.notices.inviting import Inviting
from tests.admin.conftest import OPERATOR, Desk, Said


@pytest.mark.requirement("SEED-35")
def test_a_confirmed_address_has_an_account_and_a_box_and_the_token_no_trace(desk: Desk) -> None:
    store, office = desk.office.store, desk.office
    settings = NoticeSettings(relay_host="relais.example")
    served = office.settings.operator.domains
    inviting = Inviting(Notices(settings, served, office.clock), office.clock, office.entropy)
    bob = Address.parse("bob@ailleurs.example")
    store.write(lambda w: inviting.mail_link(w, bob, None)).result()
    (notice,) = store.read(lambda r: r.waiting_notices()).result()
    token = str(notice.values["link"]).rpartition("#")[2]
    given = {"token": token, "last_name": "Marley", "first_name": "Bob"}
    _, structure = desk.structure()
    with pytest.raises(Said):
        desk.ask(structure, "person.confirm", **given)
    with pytest.raises(Said):
        desk.ask(OPERATOR, "person.confirm", **(given | {"token": "x"}))
    done = desk.ask(Actor(AdminLevel.OPERATOR, "portail"), "person.confirm", **given)
    assert (done["person"], done["state"], done["letters"]) == (str(bob), "not-certified", 0)
    assert done["box"].startswith("bob.marley@")
    with pytest.raises(Said, match="plus valable"):
        desk.ask(OPERATOR, "person.confirm", **given)
    account = store.read(lambda r: r.account(str(bob))).result()
    assert account is not None
    traces = store.read(lambda r: r.traces(account=account.id, most=10)).result()
    assert traces
    assert token not in repr(traces)
