"""`mssmtp bal delegation`, `hand-over`, `break-glass`: given, refused, told, traced, taken back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mssmtp.mail import AccountId, DelegateRight, MailboxId, Principal, Uid
from mssmtp.storage import Trace, Writing
from tests.home import CLOCK, PASSWORD, SECRETARIAT, ZOE, Home
from tests.storage.support import read_by

HOLDER, ORG = str(ZOE), str(SECRETARIAT)
PAULE, REMI = "paule.martin@hopital-a.test", "remi.durand@hopital-a.test"
"""Her secretary, and a colleague with an RPPS."""
ANNE, ANNES_RPPS = "anne.petit@hopital-a.test", "10000000116"
REASON = "patient en detresse, dossier joint"


@pytest.fixture(scope="module")
def furnished(template: Home, tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = template.copy(tmp_path_factory.mktemp("delegations") / "home")
    for address, given in (
        (PAULE, ("--type", "MED")),
        (REMI, ("--type", "PER", "--rpps", "10000000108")),
    ):
        made = home.mssmtp("bal", "add", address, *given, "--json")
        assert made.code == 0, made.err
    return home


@pytest.fixture
def home(furnished: Home, tmp_path: Path) -> Home:
    return furnished.copy(tmp_path / "home")


def who(home: Home, login: str) -> Principal:
    with home.store() as store:
        account = store.read(lambda reading: reading.account(login)).result()
        assert account is not None
        return store.read(lambda reading: reading.principal(account.id)).result()


def traces(home: Home, login: str) -> list[Trace]:
    with home.store() as store:
        account = store.read(lambda reading: reading.account(login)).result()
        assert account is not None
        return list(store.read(lambda reading: reading.traces(account=account.id)).result())


def told(home: Home) -> list[tuple[str, str, str]]:
    """Service mail that waits: kind, to whom, values."""
    with home.store() as store:
        found = store.read(lambda reading: reading.waiting_notices()).result()
    return [(each.kind, str(each.to), str(each.values)) for each in found]


@pytest.mark.requirement("SEED-42", "DEF-12")
def test_a_holder_lends_the_box_to_the_secretary_and_takes_it_back(home: Home) -> None:
    given = ("bal", "delegation", "add", HOLDER, PAULE, "--right", "send", "--until", "2090-12-31")
    made = home.mssmtp(*given, "--reason", "secrétariat", "--json")
    assert made.code == 0, made.err
    row = made.json
    assert (row["person"], row["kind"], row["right"]) == (PAULE, "delegation", "send")
    assert row["until"] == "2090-12-31T22:59:59+00:00"  # the end of that day in Paris
    assert row["in_force"] is True
    principal = who(home, PAULE)
    assert [str(bal.address) for bal in principal.bals] == [PAULE, HOLDER]
    assert principal.lent(principal.bals[1].id) is DelegateRight.SEND
    for login in (HOLDER, PAULE):  # both see it in their activity
        (trace,) = [each for each in traces(home, login) if each.kind == "rights"]
        assert PAULE in trace.request
        assert HOLDER in trace.request
        assert "send" in trace.request
    assert home.mssmtp(*given[:4], PAULE, "--right", "read").code == 0
    assert who(home, PAULE).rights_in(principal.bals[1].id) == "lrs", "the new one takes its place"
    rows = home.mssmtp("bal", "delegation", "list", HOLDER, "--json").json
    assert [each["in_force"] for each in rows] == [False, True]
    assert home.mssmtp("bal", "delegation", "end", HOLDER, str(rows[1]["id"])).code == 0
    assert [str(bal.address) for bal in who(home, PAULE).bals] == [PAULE]
    again = home.mssmtp("bal", "delegation", "end", HOLDER, str(rows[1]["id"]))
    assert (again.code, "n'existe pas" in again.err) == (2, True)


@pytest.mark.requirement("DEF-12", "SEED-22")
@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("delegation", "add", ORG, PAULE), "une boîte ORG n'est pas déléguée"),
        (("delegation", "add", HOLDER, HOLDER), "est le titulaire"),
        (("delegation", "add", HOLDER, ORG), "n'est le compte d'aucune personne"),
        (("delegation", "add", HOLDER, "personne@hopital-a.test"), "aucune personne"),
        (("delegation", "add", "personne@hopital-a.test", PAULE), "n'existe pas"),
        (("delegation", "add", HOLDER, PAULE, "--until", "2001-01-01"), "la fin précède"),
        (("delegation", "add", HOLDER, PAULE, "--until", "demain"), "n'est pas une date"),
        (("delegation", "add", HOLDER, PAULE, "--right", "delete"), "delete"),
        (("hand-over", HOLDER, PAULE, "--until", "2090-12-31"), "finit au plus tard"),
        (("break-glass", HOLDER, PAULE, "--reason", REASON), "professionnel certifié"),
        (("break-glass", HOLDER, REMI, "--reason", "vite"), "se motive"),
        (("break-glass", HOLDER, REMI, "--reason", REASON, "--hours", "5"), "finit au plus tard"),
    ],
)
def test_what_cannot_be_lent_is_refused_in_french_and_nothing_is_half_done(
    home: Home, arguments: tuple[str, ...], why: str
) -> None:
    answer = home.mssmtp("bal", *arguments)
    assert answer.code == 2
    assert why in answer.err
    assert home.mssmtp("bal", "delegation", "list", HOLDER, "--json").json == []


def test_a_colleague_looks_after_the_box_of_who_has_left_until_a_date(home: Home) -> None:
    until = (datetime.now(UTC) + timedelta(days=30)).isoformat(timespec="seconds")
    home.mssmtp("bal", "suspend", HOLDER)
    made = home.mssmtp("bal", "hand-over", HOLDER, REMI, "--until", until, "--json")
    assert made.code == 0, made.err
    assert (made.json["kind"], made.json["until"]) == ("handover", until)
    assert HOLDER in [str(bal.address) for bal in who(home, REMI).bals]
    assert any(REMI in each.request for each in traces(home, HOLDER))


@pytest.mark.requirement("DEF-23", "OP-49")
def test_a_handover_ends_with_the_mail_of_a_closed_box(home: Home) -> None:
    assert home.mssmtp("bal", "close", HOLDER).code == 0
    for days, code in ((91, 2), (89, 0)):
        until = (CLOCK.now() + timedelta(days=days)).isoformat()
        made = home.mssmtp("bal", "hand-over", HOLDER, REMI, "--until", until)
        assert made.code == code, made.err


@pytest.mark.requirement("DEF-23", "SEED-48")
def test_each_opening_stands_in_the_activity_of_the_colleague_and_of_the_holder(
    home: Home,
) -> None:
    until = (CLOCK.now() + timedelta(days=30)).isoformat()
    assert home.mssmtp("bal", "hand-over", HOLDER, REMI, "--until", until).code == 0
    remi = who(home, REMI)
    (bal,) = remi.handed

    def job(writing: Writing) -> tuple[MailboxId, Uid]:
        inbox = writing.mailbox(bal, "INBOX")
        assert inbox is not None
        return inbox.id, writing.append(inbox.id, letter, frozenset(), writing.now())

    with home.store() as store:
        letter = store.seal(b"Subject: a\r\n\r\nb\r\n")
        inbox, uid = store.write(job).result()
        store.write(lambda w: read_by(w, remi.account, inbox, [uid], "lu")).result()
        store.write(lambda writing: writing.record_readings()).result()
    for person in (HOLDER, REMI):
        rows = home.mssmtp("person", "activity", person, "--days", "7", "--json").json
        (opened,) = [row for row in rows if row["action"] == "read"]
        assert opened["author"] == REMI


@pytest.mark.requirement("DEF-12", "SEED-42")
def test_an_emergency_is_for_hours_read_only_with_a_reason_the_holder_sees(home: Home) -> None:
    relay = 'relay_host = "relais.courriel.example"\n'
    relay += 'from_address = "service@courriel.example"\n'
    home.edit("[notices]\n", f"[notices]\n{relay}")
    usual = ("--rpps", ANNES_RPPS, "--usual-address", "anne@courriel.example")
    assert home.mssmtp("bal", "add", ANNE, "--type", "PER", *usual).code == 0
    asked = ("bal", "break-glass", ANNE, REMI, "--reason", REASON, "--hours", "2", "--json")
    row = home.mssmtp(*asked).json
    ends = datetime.fromisoformat(row["until"])
    assert (row["kind"], row["right"]) == ("break-glass", "read")
    assert timedelta(hours=1, minutes=55) < ends - CLOCK.now() <= timedelta(hours=2)
    for login in (ANNE, REMI):
        (trace,) = [each for each in traces(home, login) if each.kind == "break-glass"]
        assert REASON in trace.request
    ((kind, to, values),) = told(home)
    assert (kind, to) == ("break-glass", "anne@courriel.example")
    assert REASON in values
    # SEED-42: each delegation is told to its holder, a handover too.
    home.mssmtp("bal", "delegation", "add", ANNE, PAULE, "--right", "reply")
    home.mssmtp("bal", "hand-over", ANNE, REMI, "--until", ends.isoformat())
    assert [(kind, to) for kind, to, _ in told(home)][1:] == [
        ("delegation", "anne@courriel.example"),
        ("handover", "anne@courriel.example"),
    ]


def test_no_password_of_the_holder_is_ever_asked(home: Home) -> None:
    """SEED-22: what is lent opens with the delegate's own login alone."""
    home.mssmtp("bal", "delegation", "add", HOLDER, PAULE)
    assert PASSWORD not in home.mssmtp("bal", "delegation", "list", HOLDER, "--json").out
    principal = who(home, PAULE)
    assert principal.login == PAULE
    assert principal.account != AccountId(0)
