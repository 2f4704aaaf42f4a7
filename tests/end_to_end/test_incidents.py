"""The magic local parts of the demo: write to one, and the incident happens (operability.md §1).

Other vendors test their clients and servers by them, so each is held to what it promises.
"""

from __future__ import annotations

import email
import email.policy
import time

import pytest

from mssmtp.demo.incidents import INCIDENT_NAMES
from mssmtp.demo.space import INCIDENTS, PATIENTS
from mssmtp.mail import EnvelopeId
from tests.end_to_end.mail import Letter, Received, letter, mailbox, submit
from tests.space import RunningSpace

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.xdist_group("space"),
    pytest.mark.timeout(120),
]

WITHIN_S = 40.0


@pytest.fixture(scope="module")
def sent(space: RunningSpace) -> dict[str, tuple[Letter, str]]:
    """One letter to each, all at once: the letter and its queue id by local part."""
    sender = space.a.doctor(0)
    made = {}
    for name in INCIDENT_NAMES:
        to = f"{name}@{INCIDENTS}"
        one = letter(sender, [to], subject=f"essai {name}")
        made[name] = (one, submit(space, space.a, sender, [to], one.octets).envelope)
    return made


def came(space: RunningSpace, *criteria: str) -> Received:
    """The newest message of the sender's INBOX that fits, waited for."""
    with mailbox(space, space.a, space.a.doctor(0)) as client:
        deadline = time.monotonic() + WITHIN_S
        while not (found := client.search(list(criteria))):
            assert time.monotonic() < deadline, f"{criteria} did not come"
            client.idle()
            client.idle_check(timeout=1)
            client.idle_done()
        octets = client.fetch(found[-1:], ["BODY.PEEK[]"])[found[-1]][b"BODY[]"]
    return Received(found[-1], bytes(octets))


def test_every_magic_local_part_of_the_specification_is_there() -> None:
    promised = "temperror permerror slow dsn bigfile expired-cert revoked not-listed dn-changed"
    assert {*promised.split(), "poison"} <= set(INCIDENT_NAMES)


def test_permerror_comes_back_as_a_failure(
    space: RunningSpace, sent: dict[str, tuple[Letter, str]]
) -> None:
    told = came(space, "FROM", "MAILER-DAEMON", "BODY", f"permerror@{INCIDENTS}")
    assert b"Status: 5.1.1" in told.octets
    assert sent["permerror"][0].message_id.encode() in told.octets


def test_temperror_waits_for_another_attempt(
    space: RunningSpace, sent: dict[str, tuple[Letter, str]]
) -> None:
    name = EnvelopeId(sent["temperror"][1])
    deadline = time.monotonic() + WITHIN_S
    with space.a.store() as store:
        while True:
            (entry,) = store.read(lambda r: r.queue_entry(name)).result()
            if entry.attempts:
                break
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert (entry.last_reply or "").startswith("450 4.2.0")
    assert space.a.command("queue", "drop", name, "--reason", "essai").code == 0


def test_dsn_reports_the_letter_itself(
    space: RunningSpace, sent: dict[str, tuple[Letter, str]]
) -> None:
    told = came(space, "FROM", f"MAILER-DAEMON@{INCIDENTS}")
    assert b"Action: failed" in told.octets
    assert sent["dsn"][0].message_id.encode() in told.octets


def test_mdn_says_that_it_was_read(
    space: RunningSpace, sent: dict[str, tuple[Letter, str]]
) -> None:
    told = came(space, "FROM", f"mdn@{INCIDENTS}")
    assert b"; displayed" in told.octets
    named = f"Original-Message-ID: {sent['mdn'][0].message_id}"
    assert named.encode() in told.octets


@pytest.mark.usefixtures("sent")
def test_bigfile_answers_with_almost_ten_mebioctets(space: RunningSpace) -> None:
    assert len(came(space, "SUBJECT", "Incident bigfile").octets) > 13_000_000


@pytest.mark.usefixtures("sent")
def test_poison_is_stored_as_it_came(space: RunningSpace) -> None:
    assert b"octets sans declaration \x80" in came(space, "SUBJECT", "Incident poison").octets


REFUSALS = {
    "expired-cert": "554 5.7.5 Certificat expire",
    "revoked": "554 5.7.5 Certificat revoque",
    "not-listed": "554 5.7.1 Operateur absent de la liste blanche",
    "dn-changed": "554 5.7.1 Operateur absent de la liste blanche",
}


@pytest.mark.attack("ATT-16")
@pytest.mark.usefixtures("sent")
@pytest.mark.parametrize("name", REFUSALS)
def test_a_visit_with_a_bad_certificate_is_refused_and_told(space: RunningSpace, name: str) -> None:
    told = came(space, "SUBJECT", f"Incident {name}").octets
    text = email.message_from_bytes(told, policy=email.policy.default).get_content()
    assert f"Essai avec ce certificat : refusé : {REFUSALS[name]}" in text.replace("\n", " ")


@pytest.mark.requirement("SEED-79", "OP-93")
@pytest.mark.parametrize("name", [n for n in INCIDENT_NAMES if n.startswith("patient-")])
def test_a_notice_of_mon_espace_sante_comes_from_the_patients_domain(
    space: RunningSpace, sent: dict[str, tuple[Letter, str]], name: str
) -> None:
    identifier = sent[name][0].message_id
    told = came(space, "FROM", f"MAILER-DAEMON@{PATIENTS}", "HEADER", "In-Reply-To", identifier)
    assert told.octets.startswith(b"Return-Path: <>\r\n")


def test_slow_is_delivered_all_the_same(
    space: RunningSpace, sent: dict[str, tuple[Letter, str]]
) -> None:
    name = EnvelopeId(sent["slow"][1])
    deadline = time.monotonic() + WITHIN_S
    with space.a.store() as store:
        while store.read(lambda r: r.queue_entry(name)).result():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        kinds = [event.kind for event in store.read(lambda r: r.events(name)).result()]
    assert kinds == ["scellement", "relais"]
