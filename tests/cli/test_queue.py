"""`mssmtp queue`: look at what waits, hurry it, give it up."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from mssmtp.demo.authority import RESPONSIBLE, SUPPORT
from mssmtp.mail import (
    Address,
    BalId,
    BalState,
    Door,
    Envelope,
    EnvelopeId,
    Facts,
    Recipient,
    Stage,
)
from mssmtp.policy import facts_to_bytes
from mssmtp.storage import Outcome, Transfer
from tests.home import CLOCK, PATIENT_DOMAIN, ZOE, Home

LUC = Recipient(Address.parse("luc.dupont@cabinet-b.test"))
PATIENT = Recipient(Address.parse(f"199019999999979@{PATIENT_DOMAIN}"))
IN = Transfer("in", Door.SUBMISSION, "192.0.2.7", "accept: recipient.listed", "250 2.0.0 pris")
LETTER = b"Return-Path: <zoe.tartempion@hopital-a.test>\r\nSubject: essai\r\n\r\ntexte\r\n"
DEFERRED = f"451 4.3.0 pas maintenant pour {PATIENT.address}"


@pytest.fixture
def queue_id(home: Home) -> EnvelopeId:
    """A letter to two recipients; the peer has deferred it once."""
    now = CLOCK.now()
    to = (LUC, PATIENT)
    facts = facts_to_bytes(Facts(Stage.RECIPIENT, Door.SUBMISSION, now, ZOE))
    with home.store() as store:
        envelope = Envelope(store.new_envelope_id(), ZOE, to, now)
        letter = store.seal(LETTER)
        owner = store.read(lambda r: r.bal(ZOE)).result()
        assert owner is not None
        bal: BalId = owner.id
        store.write(
            lambda w: w.accept(
                envelope, letter, local=(), queued=to, skip=46, owner=bal, transfer=IN, facts=facts
            )
        ).result()
        later = now + timedelta(minutes=5)
        out = Transfer("out", Door.OPERATOR, "192.0.2.9", "relais", DEFERRED)
        outcomes = [Outcome(envelope.id, each, "retry", DEFERRED, later) for each in to]
        store.write(lambda w: w.record(outcomes, out)).result()
    return envelope.id


def test_an_empty_queue_says_so(home: Home) -> None:
    assert home.mssmtp("queue", "list").out == "The queue is empty.\n"
    assert home.mssmtp("queue", "list", "--json").json == []


def test_list_shows_each_recipient_its_next_attempt_and_last_reply(
    home: Home, queue_id: EnvelopeId
) -> None:
    rows = home.mssmtp("queue", "list", "--json").json
    assert [(row["queue_id"], row["attempts"], row["state"]) for row in rows] == [
        (queue_id, 1, "waiting")
    ] * 2
    assert rows[0]["recipient"] == str(LUC.address)
    assert rows[0]["next_attempt"] > rows[0]["queued_at"]
    table = home.mssmtp("queue", "list").out
    assert queue_id in table
    assert str(LUC.address) in table


def test_tables_tell_the_operators_clock_and_machines_get_utc(
    home: Home, queue_id: EnvelopeId
) -> None:
    home.edit('# time_zone = "Europe/Paris"', 'time_zone = "America/Guadeloupe"')
    table = home.mssmtp("queue", "list").out
    machine = home.mssmtp("queue", "list", "--json").json
    at = datetime.fromisoformat(machine[0]["next_attempt"])
    assert at.utcoffset() == timedelta()
    there = at.astimezone(ZoneInfo("America/Guadeloupe"))
    assert table.count("(times: America/Guadeloupe)") == 1
    assert f"{there:%Y-%m-%d %H:%M:%S}" in " ".join(table.split())
    assert f"{at:%H:%M:%S}" not in table
    assert f"{there:%Y-%m-%d %H:%M:%S} (UTC-4)" in home.mssmtp("queue", "why", queue_id).out
    assert f"{at:%Y-%m-%d %H:%M:%S} (UTC)" in home.mssmtp("queue", "why", queue_id, "--json").out


def test_show_gives_recipients_and_hops(home: Home, queue_id: EnvelopeId) -> None:
    shown = home.mssmtp("queue", "show", queue_id, "--json").json
    assert len(shown["waiting"]) == 2
    assert [hop["direction"] for hop in shown["hops"]] == ["in", "out"]
    assert shown["hops"][0]["reply"] == IN.reply
    people = home.mssmtp("queue", "show", queue_id).out
    assert "Waiting" in people
    assert "Hops" in people


@pytest.mark.requirement("OP-80")
def test_show_tells_whom_to_call_where_delivery_fails(home: Home, queue_id: EnvelopeId) -> None:
    contacts = home.mssmtp("queue", "show", queue_id, "--json").json["contacts"]
    assert contacts == [
        {"domain": name, "responsible": RESPONSIBLE, "support": SUPPORT}
        for name in (LUC.address.domain, PATIENT_DOMAIN)
    ]
    people = home.mssmtp("queue", "show", queue_id).out
    assert "Whom to call" in people
    assert SUPPORT in people


def test_retry_makes_it_due_at_once(home: Home, queue_id: EnvelopeId) -> None:
    def due() -> int:
        with home.store() as store:
            now = CLOCK.now()
            leases = store.write(lambda w: w.lease(now, 10, "test")).result()
            store.write(lambda w: w.release("test")).result()
        return len(leases)

    assert due() == 0
    assert home.mssmtp("queue", "retry", queue_id).out == "2 recipient(s) made due.\n"
    assert due() == 2
    assert home.mssmtp("queue", "retry", "--json").json == {"queue_id": None, "recipients": 2}


def test_explain_says_that_it_waits(home: Home, queue_id: EnvelopeId) -> None:
    told = home.mssmtp("explain", queue_id).out
    assert f"{LUC.address}: Dans la file d'attente : `mssmtp queue why {queue_id}`" in told
    assert str(PATIENT.address) not in told, "OP-87"


def test_trying_everything_again_lets_nothing_go_that_is_held(
    home: Home, queue_id: EnvelopeId
) -> None:
    home.mssmtp("queue", "hold", queue_id, "--reason", "soupçon")
    assert home.mssmtp("queue", "retry", "--json").json == {"queue_id": None, "recipients": 0}
    states = [row["state"] for row in home.mssmtp("queue", "list", "--json").json]
    assert states == ["held", "held"]


def test_drop_needs_a_reason_and_keeps_it(home: Home, queue_id: EnvelopeId) -> None:
    without = home.mssmtp("queue", "drop", queue_id)
    assert without.code == 2
    assert "--reason" in without.err
    done = home.mssmtp("queue", "drop", queue_id, "--reason", "demande du service", "--json")
    assert done.json == {"queue_id": queue_id, "recipients": 2}
    assert home.mssmtp("queue", "list", "--json").json == []
    with home.store() as store:
        events = store.read(lambda r: r.events(queue_id)).result()
    assert [event.kind for event in events].count("rejet") == 2
    assert "demande du service" in repr(events[-1])
    assert home.mssmtp("queue", "show", queue_id, "--json").json["waiting"] == []


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("show",), "01ABC: is not known here"),
        (("retry",), "01ABC: has no waiting recipient"),
        (("drop", "--reason", "x"), "01ABC: has no waiting recipient"),
        (("hold",), "01ABC: has no waiting recipient"),
        (("release",), "01ABC: is not held"),
        (("why",), "01ABC: nothing waits under this name"),
        (("show", "--json"), '{"error": "01ABC", "why": "is not known here", "remedy": '),
    ],
)
def test_an_unknown_queue_id_is_code_1(home: Home, command: tuple[str, ...], said: str) -> None:
    answer = home.mssmtp("queue", command[0], "01ABC", *command[1:])
    assert (answer.code, answer.out) == (1, "")
    assert said in answer.err
    assert "`mssmtp queue list` prints what waits" in answer.err


@pytest.mark.requirement("OP-87")
def test_patients_are_masked_as_recipients_and_inside_replies(
    home: Home, queue_id: EnvelopeId
) -> None:
    for command in (
        ("list",),
        ("list", "--json"),
        ("show", queue_id),
        ("show", queue_id, "--json"),
    ):
        answer = home.mssmtp("queue", *command)
        assert PATIENT.address.local not in answer.out
        assert "199**********79@" in answer.out


def test_the_list_comes_in_pages(home: Home, queue_id: EnvelopeId) -> None:
    (first,) = home.mssmtp("queue", "list", "--limit", "1", "--json").json
    (second,) = home.mssmtp("queue", "list", "--after", first["place"], "--json").json
    assert [first["recipient"], second["recipient"][:3]] == [str(LUC.address), "199"]
    assert home.mssmtp("queue", "list", "--after", second["place"], "--json").json == []
    people = home.mssmtp("queue", "list", "--limit", "1").out
    assert f"More: --after {first['place']}" in people
    of = home.mssmtp("queue", "list", "--domain", LUC.address.domain, "--json").json
    assert [row["recipient"] for row in of] == [str(LUC.address)]
    assert home.mssmtp("queue", "list", "--after", "01ABC").code == 2


def test_hold_release_and_why(home: Home, queue_id: EnvelopeId) -> None:
    def causes() -> set[str]:
        return {row["cause"] for row in home.mssmtp("queue", "why", queue_id, "--json").json}

    assert causes() == {"deferred"}
    assert "the peer's system has trouble" in home.mssmtp("queue", "why", LUC.address.domain).out
    held = home.mssmtp("queue", "hold", queue_id, "--reason", "incident", "--json")
    assert held.json == {"queue_id": queue_id, "recipients": 2}
    assert causes() == {"held"}
    assert "incident" in home.mssmtp("queue", "why", queue_id).out
    listed = home.mssmtp("queue", "list", "--held", "--json").json
    assert {row["state"] for row in listed} == {"held"}
    assert home.mssmtp("queue", "release", "--all").out == "2 recipient(s) released.\n"
    assert causes() == {"deferred"}
    with home.store() as store:
        events = store.read(lambda r: r.events(queue_id)).result()
    assert [event.kind for event in events][1:] == ["intervention"] * 2
    assert home.mssmtp("queue", "hold").code == 2, "of what?"
    assert home.mssmtp("queue", "hold", queue_id, "--all").code == 2


def test_why_says_what_has_become_of_the_sender(home: Home) -> None:
    """SEC-06, OP-79: what was wished later comes back once its box is closed or suspended."""
    now = CLOCK.now()
    with home.store() as store:
        until = now + timedelta(hours=2)
        envelope = Envelope(store.new_envelope_id(), ZOE, (LUC,), now, hold_until=until)
        letter = store.seal(LETTER)
        box = store.read(lambda r: r.bal(ZOE)).result()
        assert box is not None
        store.write(
            lambda w: w.accept(
                envelope,
                letter,
                local=(),
                queued=(LUC,),
                skip=46,
                owner=box.id,
                transfer=IN,
                facts=b"{}",
            )
        ).result()

    def why(state: BalState) -> tuple[str, str]:
        with home.store() as store:
            store.write(lambda w: w.set_bal_state(box.id, state)).result()
        (row,) = home.mssmtp("queue", "why", envelope.id, "--json").json
        return row["cause"], row["why"]

    assert why(BalState.ACTIVE)[0] == "wished later"
    assert why(BalState.SUSPENDED)[0] == "sender suspended"
    cause, sentence = why(BalState.CLOSED)
    assert cause == "sender closed"
    assert "comes back" in sentence
    with home.store() as store:
        store.write(lambda w: w.set_bal_state(box.id, BalState.ACTIVE)).result()
    home.mssmtp("suspend", "domain", ZOE.domain, "--reason", "incident")
    (row,) = home.mssmtp("queue", "why", envelope.id, "--json").json
    assert (row["cause"], "operator has suspended" in row["why"]) == ("sender suspended", True)


@pytest.mark.parametrize(
    "command", [("hold",), ("drop", "01ABC"), ("list", "--after", "01ABC")], ids=lambda c: c[0]
)
def test_wrong_use_is_json_too(home: Home, command: tuple[str, ...]) -> None:
    answer = home.mssmtp("queue", *command, "--json")
    assert (answer.code, answer.out) == (2, "")
    assert set(json.loads(answer.err)) == {"error", "why", "remedy"}


@pytest.mark.requirement("OP-18")
def test_show_prints_the_schedule(home: Home, queue_id: EnvelopeId) -> None:
    plans = home.mssmtp("queue", "show", queue_id, "--json").json["schedule"]
    first = plans[0]
    assert len(first["next"]) == 5
    assert first["next"] == sorted(first["next"])
    assert first["given_up"] > first["next"][-1]
    told = home.mssmtp("queue", "show", queue_id).out
    assert "If every attempt fails" in told
    assert "['" not in told


def test_top_shows_where_it_waits_and_on_whose_behalf(home: Home, queue_id: EnvelopeId) -> None:
    rows = home.mssmtp("queue", "top", "--json").json
    assert [(row["name"], row["waiting"], row["5_min"]) for row in rows] == [
        (LUC.address.domain, 1, 1),
        (PATIENT_DOMAIN, 1, 1),
    ]
    (sender,) = home.mssmtp("queue", "top", "--senders", "--json").json
    assert (sender["name"], sender["waiting"]) == (str(ZOE), 2)
    assert "longest first" in home.mssmtp("queue", "top").out


def test_doctor_counts_the_conservation_law(home: Home, queue_id: EnvelopeId) -> None:
    home.mssmtp("queue", "drop", queue_id, "--reason", "essai")
    found = {each["what"]: each for each in home.mssmtp("doctor", "--json").json}
    law = found["conservation law"]
    assert (law["severity"], law["why"].partition(" = ")[2]) == (
        "ok",
        "0 delivered + 0 bounced + 0 queued + 2 dropped",
    )
