"""The log of an account (SEED-48): what its holder did, and what was done to it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from mssmtp.admin.activity import summed
from mssmtp.mail import AccountId, Address, Bal, BalId, BalType
from mssmtp.storage import Reading, Writing
from mssmtp.storage.readings import ReadingEvent
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


class Logins:
    """All that is asked of the store."""

    def account_login(self, account: AccountId) -> str:
        return f"personne {account}"


def test_readings_are_summed_by_day_person_box_and_kind_at_their_first_moment() -> None:
    """F10: a secretary's morning is one line, and not one for each letter."""
    noon = datetime(2026, 1, 5, 12, tzinfo=UTC)
    own = Bal(BalId(1), Address.parse("zoe@hopital-a.test"), BalType.PER)
    org = Bal(BalId(2), Address.parse("accueil@hopital-a.test"), BalType.ORG)

    def event(who: int, hours: int, kind: str = "lu") -> ReadingEvent:
        return ReadingEvent(kind, noon + timedelta(hours=hours), AccountId(who), 7, None)

    read = [(own, event(1, 1)), (own, event(1, 0)), (own, event(2, 0)), (own, event(1, 24))]
    read += [(org, event(1, 0)), (own, event(1, 0, "releve"))]
    found = {
        (row["at"], row["author"], row["box"], row["request"])
        for row in summed(cast(Reading, Logins()), read, UTC)
    }
    today, tomorrow = noon.isoformat(), (noon + timedelta(days=1)).isoformat()
    assert found == {
        (today, "personne 1", "zoe@hopital-a.test", "lu 2 messages"),
        (today, "personne 2", "zoe@hopital-a.test", "lu 1 messages"),
        (tomorrow, "personne 1", "zoe@hopital-a.test", "lu 1 messages"),
        (today, "personne 1", "accueil@hopital-a.test", "lu 1 messages"),
        (today, "personne 1", "zoe@hopital-a.test", "releve 1 messages"),
    }
