"""`mssmtp trust expected`: what should be published for us; any difference is an alarm."""

from __future__ import annotations

import csv
import io
from datetime import timedelta

import pytest

from mssmtp.demo.authority import RESPONSIBLE, SUPPORT, Authority, Subject, row
from mssmtp.own_rows import Column, listed_text
from mssmtp.pki import certificate_name, listed_name
from mssmtp.trust_feed.own import OwnRows
from mssmtp.whitelist import Row, Whitelist
from tests.authority import A_DOMAIN, A_SUBJECT, B_SUBJECT
from tests.home import CLOCK, Home, put_rows
from tests.trust.feeding import FakeClock

COLUMNS = [
    "Nom",
    "Description",
    "DNCertificatOperateur",
    "ResponsableContact",
    "SupportContact",
    "DateMAJ",
]


def publish(home: Home, authority: Authority, *rows: Row) -> None:
    """A newer list comes into force."""
    put_rows(home, authority, rows)


def ours(**other: str) -> Row:
    texts = {"dn": A_SUBJECT.text, "responsible": RESPONSIBLE, "support": SUPPORT} | other
    plain = row(A_DOMAIN, texts["dn"], updated=CLOCK.now())
    return Row(
        A_DOMAIN,
        other.get("description", plain.description),
        texts["dn"],
        texts["responsible"],
        texts["support"],
        plain.updated,
    )


@pytest.mark.requirement("OP-35", "OP-80")
def test_the_six_columns_are_ready_to_send(home: Home) -> None:
    answer = home.mssmtp("trust", "expected")
    assert answer.code == 0
    header, sent = csv.reader(io.StringIO(answer.out), delimiter=";")
    assert header == COLUMNS
    assert sent[0] == A_DOMAIN
    assert sent[2:5] == [A_SUBJECT.text, RESPONSIBLE, SUPPORT]
    assert len(sent[5]) == len("2026-03-02T09:00:00Z")
    assert "says the same" in answer.err
    told = home.mssmtp("trust", "expected", "--json").json
    assert list(told["rows"][0]) == COLUMNS
    assert told["differences"] == []


@pytest.mark.requirement("OP-35", "OP-80")
@pytest.mark.parametrize(
    ("published", "column", "says"),
    [
        ((), Column.ROW, "peers refuse that certificate"),
        ((ours(dn=B_SUBJECT.text),), Column.ROW, "peers refuse that certificate"),
        ((ours(responsible="Autre, x@y.test"),), Column.RESPONSIBLE, "« Autre, x@y.test »"),
        ((ours(support="09"),), Column.SUPPORT, f"should be « {SUPPORT} »"),
        ((ours(), ours(dn=B_SUBJECT.text)), Column.NAME, f"also bound to {B_SUBJECT.text}"),
    ],
)
def test_any_difference_is_an_alarm_here_and_in_doctor(
    home: Home, authority: Authority, published: tuple[Row, ...], column: Column, says: str
) -> None:
    other = row("cabinet-b.test", B_SUBJECT.text, updated=CLOCK.now())
    publish(home, authority, other, *published)
    told = home.mssmtp("trust", "expected", "--json")
    assert told.code == 1
    assert column in {each["column"] for each in told.json["differences"]}
    people = home.mssmtp("trust", "expected")
    assert people.code == 1
    assert says in people.err
    assert people.out.startswith("Nom;"), "what is sent stays what is sent"
    doctor = home.mssmtp("doctor", "--json")
    assert doctor.code == 1
    findings = [f for f in doctor.json if f["severity"] == "error" and A_DOMAIN in f["what"]]
    assert findings, doctor.json
    assert any("ANS" in finding["remedy"] for finding in findings)


@pytest.mark.requirement("OP-35")
def test_a_description_counts_once_the_settings_give_one(home: Home, authority: Authority) -> None:
    publish(home, authority, ours(description="Autre texte"))
    assert home.mssmtp("trust", "expected").code == 0
    home.edit("[operator]\n", '[operator]\nrow_description = "Domaine du CH"\n')
    assert "Description is « Autre texte »" in home.mssmtp("trust", "expected").err


@pytest.mark.requirement("OP-35")
def test_white_space_is_no_difference(home: Home, authority: Authority) -> None:
    publish(home, authority, ours(support=SUPPORT.replace(" ", "\u00a0 ")))
    assert home.mssmtp("trust", "expected").code == 0


@pytest.mark.requirement("OP-35")
def test_another_certificate_of_ours_is_named_in_the_settings(
    home: Home, authority: Authority
) -> None:
    publish(home, authority, ours(), ours(dn=B_SUBJECT.text))
    home.edit("[operator]\n", f'[operator]\nother_names = ["{B_SUBJECT.text}"]\n')
    answer = home.mssmtp("trust", "expected")
    assert answer.code == 0
    assert answer.out.count(f"\n{A_DOMAIN};") == 2
    publish(home, authority, ours())
    doctor = {f["what"]: f for f in home.mssmtp("doctor", "--json").json}
    waits = doctor[f"published row of {A_DOMAIN}"]
    assert (waits["severity"], B_SUBJECT.text in waits["why"]) == ("warning", True)
    home.edit(B_SUBJECT.text, "sans nom")
    assert "can never match" in home.mssmtp("trust", "expected").err


@pytest.mark.requirement("OP-35", "OP-101")
def test_while_a_domain_moves_both_operators_may_be_listed(
    home: Home, authority: Authority
) -> None:
    publish(home, authority, ours(dn=B_SUBJECT.text))
    later = (CLOCK.now() + timedelta(days=3)).isoformat()
    with home.config_file.open("a", encoding="utf-8") as file:
        file.write(f'\n[[domains]]\nname = "{A_DOMAIN}"\nserved_from = "{later}"\n')
    assert home.mssmtp("trust", "expected").code == 0


@pytest.mark.requirement("OP-80")
def test_contacts_of_one_domain_are_its_own(home: Home) -> None:
    with home.config_file.open("a", encoding="utf-8") as file:
        file.write(f'\n[[domains]]\nname = "{A_DOMAIN}"\nsupport_contact = "15"\n')
    answer = home.mssmtp("trust", "expected")
    assert answer.code == 1
    assert "should be « 15 »" in answer.err


@pytest.mark.requirement("OP-80")
def test_without_contacts_nothing_can_be_asked_for(home: Home) -> None:
    home.edit(f'support_contact = "{SUPPORT}"\n', "")
    answer = home.mssmtp("trust", "expected")
    assert (answer.code, answer.out) == (2, "")
    assert "operator.support_contact" in answer.err
    doctor = home.mssmtp("doctor", "--json")
    assert doctor.code == 0
    assert doctor.json[0]["what"] == "operator.support_contact"
    assert doctor.json[0]["severity"] == "warning"


@pytest.mark.requirement("OP-35")
def test_a_column_is_255_characters_at_most(home: Home) -> None:
    home.edit(f'support_contact = "{SUPPORT}"', f'support_contact = "{"x" * 255}"')
    assert home.mssmtp("trust", "expected").code == 1
    home.edit("x" * 255, "x" * 256)
    answer = home.mssmtp("trust", "expected")
    assert answer.code == 2
    assert "support_contact" in answer.err


@pytest.mark.requirement("OP-35")
@pytest.mark.parametrize(
    "organisation", ["CH D'ÉTÉ", "A, B ET FILS", 'CENTRE "X-Y"', "A\\B", "A+B; C", "  DEUX  "]
)
def test_a_name_is_printed_so_that_it_matches_again(organisation: str) -> None:
    name = Subject("mx.test", o=organisation).name
    assert listed_name(listed_text(name)) == certificate_name(name)


@pytest.mark.requirement("OP-35", "OP-80")
def test_the_log_says_it_at_each_list_and_then_once_an_hour(
    home: Home, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    clock = FakeClock(CLOCK.now())
    own = OwnRows(home.settings, clock)

    def alarms(*rows: Row) -> int:
        caplog.clear()
        own.look(Whitelist(authority.now, str(len(rows)), "CN=test", rows))
        return sum(record.getMessage().startswith("alarm: ") for record in caplog.records)

    own.look(None)
    wrong = ours(support="09")
    assert alarms(wrong) == 1
    assert caplog.records[0].levelname == "ERROR"
    assert vars(caplog.records[0])["published"] == "09"
    assert alarms(wrong) == 0
    clock.advance(minutes=61)
    assert alarms(wrong) == 1
    assert alarms(wrong, ours(dn=B_SUBJECT.text)) == 2, "another list is looked at when it comes"
    assert alarms() == 1, "the row is not there"
    clock.advance(minutes=61)
    assert alarms(ours()) == 0
