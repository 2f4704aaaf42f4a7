"""Sealed facts come back as they were, and decide as they did."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mssmtp.mail import Domain, Facts, Stage
from mssmtp.policy import BadFacts, condensed, facts_from_bytes, facts_to_bytes
from tests.policy import samples
from tests.policy.samples import ENGINE, INS, OURS, PATIENTS, ZOE, received, submitted, to


@given(samples.facts)
@settings(max_examples=300)
def test_facts_come_back_as_they_were(facts: Facts) -> None:
    octets = facts_to_bytes(facts)
    assert facts_from_bytes(octets) == condensed(facts)
    assert facts_to_bytes(facts_from_bytes(octets)) == octets


@given(samples.facts)
@settings(max_examples=300)
def test_facts_that_come_back_decide_the_same(facts: Facts) -> None:
    again = ENGINE.decide(facts_from_bytes(facts_to_bytes(facts)))
    first = ENGINE.decide(facts)
    assert again.final == first.final
    assert again.verdicts == first.verdicts


def test_the_local_part_comes_back_as_it_was_typed() -> None:
    facts = submitted(Stage.CONTENT, ZOE, to("JEAN.Dupont@medical69.apicrypt.test"))
    back = facts_from_bytes(facts_to_bytes(facts))
    assert back.recipients[0].address.local == "JEAN.Dupont"


def test_a_peer_with_a_thousand_domains_does_not_fill_the_store() -> None:
    many = frozenset(Domain(f"d{i}.test") for i in range(2000)) | samples.OPERATOR.domains
    operator = replace(samples.OPERATOR, domains=many)
    facts = received(Stage.CONTENT, to(f"zoe@{OURS}"), operator=operator)
    assert len(facts_to_bytes(facts)) < 1500


_GOOD = json.loads(
    facts_to_bytes(submitted(Stage.CONTENT, ZOE, to(f"{INS}@{PATIENTS}"), to(f"x@{OURS}")))
)
_TOKENS = st.sampled_from(
    [None, True, -1, 2**80, "", "x", "a@b.test", [], ["a"], [[1, 2, 3]], {}, {"v": 1}]
)


@given(st.sampled_from(sorted(_GOOD)), _TOKENS)
def test_a_changed_value_is_read_or_refused_and_nothing_else(key: str, value: object) -> None:
    with contextlib.suppress(BadFacts):
        facts_from_bytes(json.dumps(_GOOD | {key: value}).encode())


@given(st.binary(max_size=40))
def test_any_octets_are_read_or_refused_and_nothing_else(octets: bytes) -> None:
    with pytest.raises(BadFacts):
        facts_from_bytes(octets)


@pytest.mark.parametrize(
    "octets", [b"", b"[]", b"{}", b'{"v":2}', b'{"v":true}', b"[" * 100_000, b"9" * 5_000]
)
def test_other_octets_are_refused(octets: bytes) -> None:
    with pytest.raises(BadFacts):
        facts_from_bytes(octets)
