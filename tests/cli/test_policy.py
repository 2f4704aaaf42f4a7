"""`mssmtp policy`: the table as it stands, and a change tried on letters of the last days."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from mssmtp.mail import Bal, Door, Envelope, Facts, Recipient, RecipientFacts, Stage
from mssmtp.policy import facts_to_bytes
from mssmtp.storage import Transfer, Writing
from tests.home import CLOCK, PATIENT_DOMAIN, SECRETARIAT, ZOE, Home
from tests.policy.samples import at, principal

LUC = at("luc.dupont@cabinet-b.test")
NARROWER = '[[policy.habilitation]]\nname = "services"\nboxes = ["ORG"]\nto = ["here"]\n'


def refused_letters(home: Home, author: Bal, count: int) -> list[str]:
    """Letters of `author` to another operator, as a door leaves their facts."""
    facts = Facts(
        stage=Stage.CONTENT,
        door=Door.SUBMISSION,
        now=CLOCK.now(),
        sender=author.address,
        principal=principal(author),
        acting=author,
        recipients=(RecipientFacts(LUC, is_local_domain=False, is_listed=True),),
        from_addresses=(author.address,),
        size_octets=2048,
    )
    transfer = Transfer(
        direction="in",
        door=Door.SUBMISSION,
        peer_address="192.0.2.7",
        verdict="reject: size.total",
        reply="552 5.3.4 Trop",
        tls_version="TLSv1.3",
        tls_cipher="AES256",
    )
    ids = []
    with home.store() as store:
        for _ in range(count):
            envelope = Envelope(
                store.new_envelope_id(), author.address, (Recipient(LUC),), CLOCK.now()
            )
            octets = facts_to_bytes(replace(facts, now=CLOCK.now()))
            store.write(
                partial(
                    Writing.reject,
                    envelope=envelope,
                    transfer=transfer,
                    facts=octets,
                    owner=author.id,
                )
            ).result()
            ids.append(str(envelope.id))
    return ids


def box_of(home: Home, address: object) -> Bal:
    with home.store() as store:
        found = store.read(lambda reading: reading.bal(address)).result()  # type: ignore[arg-type]
    assert found is not None
    return found


def test_show_prints_who_may_write_to_whom_and_by_which_line(home: Home) -> None:
    told = home.mssmtp("policy", "show", "--json").json
    med = next(r for r in told["habilitation"] if (r["box"], r["holder"]) == ("MED", "certified"))
    assert med == {
        "box": "MED",
        "holder": "certified",
        "number": "any",
        "here": "yes",
        "operators": "-",
        "patients": "-",
        "hears_operators": "-",
        "lines": "inside",
    }
    assert told["beyond"] == []
    rule = '[[policy.domain_rules]]\ndomain = "*.loin.test"\naction = "refuse"\n'
    home.edit("[queue]", f"{rule}\n[queue]")
    people = home.mssmtp("policy", "show").out
    assert "professionals" in people
    assert "*.loin.test" in people


@pytest.mark.requirement("SEED-32")
def test_a_change_shows_whom_it_would_hit_before_it_counts(home: Home) -> None:
    author, other = box_of(home, SECRETARIAT), box_of(home, ZOE)
    ids = refused_letters(home, author, 3)
    refused_letters(home, other, 2)
    changed = home.directory / "changed.toml"
    text = home.config_file.read_text("utf-8")
    changed.write_text(text.replace("[queue]", f"{NARROWER}\n[queue]", 1), "utf-8")
    answer = home.mssmtp("policy", "try", str(changed), "--json", "--examples", "2")
    assert answer.code == 1
    told = answer.json
    assert (told["tried"], told["changed"], told["unreadable"]) == (5, 3, 0)
    refusal = "habilitation.trust-space 550 5.7.1"
    assert told["ways"] == [{"now": "accept", "then": refusal, "letters": 3}]
    assert told["stopped"] == {str(SECRETARIAT): 3}
    assert [each["envelope"] for each in told["examples"]] == ids[:2]
    people = home.mssmtp("policy", "try", str(changed))
    assert (people.code, "Would be stopped" in people.out) == (1, True)
    assert str(ZOE) not in people.out


def test_the_same_rules_change_nothing_and_patients_are_masked(home: Home) -> None:
    refused_letters(home, box_of(home, ZOE), 1)
    answer = home.mssmtp("policy", "try", str(home.config_file))
    assert answer.code == 0
    assert "1 letters tried, 0 would fare otherwise." in answer.out
    assert PATIENT_DOMAIN not in answer.out


def test_a_file_that_is_no_settings_is_a_usage_error(home: Home, tmp_path: Path) -> None:
    missing = home.mssmtp("policy", "try", str(tmp_path / "none.toml"))
    assert (missing.code, "cannot be read" in missing.err) == (2, True)
    bad = home.directory / "bad.toml"
    line = NARROWER.replace("ORG", "ORGA")
    bad.write_text(home.config_file.read_text("utf-8").replace("[queue]", f"{line}\n[queue]", 1))
    assert home.mssmtp("policy", "try", str(bad)).code == 2
