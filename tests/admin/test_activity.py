"""The log of an account (SEED-48): what its holder did, and what was done to it."""

from __future__ import annotations

import pytest

from mssmtp.mail import BalType
from mssmtp.storage import Writing
from tests.admin.conftest import Desk, Refuses


@pytest.mark.requirement("SEED-48")
def test_the_activity_of_an_account_is_its_log_the_newest_first_and_nobody_elses(
    desk: Desk, refuses: Refuses
) -> None:
    _, dsi = desk.structure()
    _, other = desk.structure()
    made = desk.person(dsi, type=BalType.MED.value, national_id=None)
    login = made["usual_address"]
    desk.ask(dsi, "person.change", person=login, phone="0102030405")
    account = desk.office.store.read(lambda r: r.account(login)).result()
    assert account is not None

    def acts(writing: Writing) -> None:
        writing.trace("login", login, "imap from 192.0.2.7", account=account.id)
        writing.trace("send", login, "submission to b@b.test", "250 2.0.0", account=account.id)

    desk.office.store.write(acts).result()
    log = desk.ask(dsi, "person.activity", person=login)
    assert [(row["action"], row["answer"]) for row in log] == [
        ("send", "250 2.0.0"),
        ("login", "ok"),
        ("administration", "ok"),
        ("administration", "ok"),
    ]
    assert [row["author"] for row in log][:2] == [login, login]
    assert log[2]["author"].startswith(dsi.name)
    assert log[2]["request"].startswith("person.change ")
    older = desk.ask(dsi, "person.activity", person=login, before=log[1]["number"], limit=1)
    assert [row["number"] for row in older] == [log[2]["number"]]
    refuses(404, other, "person.activity", person=login)
