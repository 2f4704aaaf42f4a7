"""`mssmtp trust show`: the list in force, as the server would load it."""

from __future__ import annotations

import logging
import shutil
from datetime import timedelta

import pytest

from mssmtp.demo.authority import Authority
from mssmtp.log import SentenceFormatter
from mssmtp.trust_feed.fetch import Validators
from tests.authority import B_SUBJECT
from tests.home import CLOCK, CRL_URLS, Home


def test_the_list_and_the_crls_in_force(home: Home) -> None:
    shown = home.mssmtp("trust", "show", "--json").json
    assert shown["rows"] == 3
    assert shown["signer"].startswith("CN=alb.mssante.example")
    assert len(shown["crls"]) == len(CRL_URLS)
    people = home.mssmtp("trust", "show").out
    assert shown["sha256"] in people
    assert "AC RACINE IGC-SANTE" in people
    assert "{" not in people


@pytest.mark.requirement("DEF-01")
def test_our_domains_with_their_state(home: Home) -> None:
    home.edit('domains = ["hopital-a.test"]', 'domains = ["hopital-a.test", "autre.test"]')
    own = home.mssmtp("trust", "show", "--json").json["own_domains"]
    assert [(each["domain"], each["state"], each["our_names"]) for each in own] == [
        ("hopital-a.test", "listed", 1),
        ("autre.test", "requested", 0),
    ]
    people = home.mssmtp("trust", "show").out
    assert "Our domains" in people
    assert "requested" in people


@pytest.mark.requirement("DEF-01")
def test_boxes_are_prepared_in_a_requested_domain(home: Home) -> None:
    home.edit('domains = ["hopital-a.test"]', 'domains = ["hopital-a.test", "autre.test"]')
    made = home.mssmtp("bal", "add", "secretariat@autre.test", "--type", "ORG")
    assert made.code == 0, made.err


def test_who_may_speak_for_a_domain(home: Home) -> None:
    rows = home.mssmtp("trust", "show", "Cabinet-B.test", "--json").json
    assert [row["dn"] for row in rows] == [B_SUBJECT.text]
    assert B_SUBJECT.text in home.mssmtp("trust", "show", "cabinet-b.test").out


def test_a_domain_that_is_not_listed_or_none_at_all(home: Home) -> None:
    answer = home.mssmtp("trust", "show", "inconnu.test")
    assert (answer.code, answer.out) == (1, "")
    assert "Only listed domains can be written to." in answer.err
    assert home.mssmtp("trust", "show", "pas un domaine").code == 2


def test_no_list_yet(home: Home) -> None:
    shutil.rmtree(home.directory / "store/trust")
    answer = home.mssmtp("trust", "show")
    assert answer.code == 1
    assert "whitelist: none was ever accepted" in answer.err


@pytest.mark.requirement("OP-09")
def test_a_kept_list_without_crls_in_force_is_not_told_as_never_accepted(
    home: Home, authority: Authority
) -> None:
    past = CLOCK.now() - timedelta(days=8)
    crls = authority.crls(this_update=past, next_update=past + timedelta(days=7))
    for url, crl in zip(CRL_URLS, crls, strict=True):
        home.trust_files.keep_crl(url, crl, past, Validators())
    for command in (("trust", "show"), ("doctor",)):
        answer = home.mssmtp(*command)
        told = answer.out + answer.err
        assert answer.code == 1
        assert "does not verify now, because no CRL in force" in told
        assert "none was ever accepted" not in told


def test_a_file_that_several_findings_need_is_told_once(home: Home) -> None:
    anchors = home.settings.pki.anchors_file
    anchors.rename(anchors.with_suffix(".away"))
    answer = home.mssmtp("doctor")
    assert answer.code == 1
    assert answer.out.count(f"{anchors}: cannot be read") == 1


def test_what_a_room_logs_is_a_sentence_with_its_facts() -> None:
    record = logging.makeLogRecord({"msg": "kept list unusable", "file": "a.xml"})
    assert SentenceFormatter().format(record) == "mssmtp: kept list unusable (file: a.xml)"


def test_a_kept_list_that_was_changed_is_not_in_force(home: Home) -> None:
    kept = next((home.directory / "store/trust/lists").glob("*.xml"))
    kept.write_bytes(kept.read_bytes().replace(b"cabinet-b.test", b"cabinet-x.test", 1))
    assert home.mssmtp("trust", "show").code == 1
