"""What an introspected token is worth (client-access.md 3): each claim that can be wrong."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssmtp.identity.tokens import (
    MAX_ANSWER_OCTETS,
    MOST_KEPT,
    SKEW,
    CannotBeAsked,
    Known,
    Rules,
    Subject,
    TokenRefused,
    judged,
)

ISSUER = "https://psc.example/realms/test"
RULES = Rules(ISSUER)
SAMPLE: dict[str, object] = {
    "active": True,
    "exp": 1767604800,
    "iat": 1767604560,
    "auth_time": 1767600000,
    "jti": "2f0c-test",
    "iss": ISSUER,
    "sub": "f:test:899900000110",
    "typ": "Bearer",
    "azp": "lps-essai",
    "SubjectNameID": "899900000110",
}
END = datetime.fromtimestamp(1767604800, UTC)
NOW = END - timedelta(seconds=200)


def said(**changes: object) -> bytes:
    return json.dumps({k: v for k, v in (SAMPLE | changes).items() if v is not ...}).encode()


def test_the_sample_of_the_specification_is_a_subject() -> None:
    found = judged(said(), RULES, NOW)
    assert found == Subject("899900000110", "lps-essai", "2f0c-test", END)


@pytest.mark.attack("ATT-20")
@pytest.mark.parametrize(
    "changes",
    [
        {"active": False},
        {"active": "true"},
        {"active": 1},
        {"active": ...},
        {"iss": "https://psc.example/realms/other"},
        {"iss": ISSUER + "/"},
        {"iss": [ISSUER]},
        {"iss": ...},
        {"exp": ...},
        {"exp": True},
        {"exp": "1767604800"},
        {"exp": float("inf")},
        {"exp": -1},
        {"exp": 1767604800 - 231},
        {"iat": 1767604800},
        {"nbf": 1767604800},
        {"nbf": "x"},
        {"typ": "Refresh"},
        {"typ": "ID"},
        {"typ": ...},
        {"SubjectNameID": ...},
        {"SubjectNameID": ""},
        {"SubjectNameID": 899900000110},
        {"SubjectNameID": ["899900000110"]},
        {"SubjectNameID": "899900000110\n"},
        {"SubjectNameID": "899900000110' OR '1'='1"},
        {"SubjectNameID": "x" * 65},
    ],
)
def test_att_20_each_claim_that_is_wrong_refuses_the_token(changes: dict[str, object]) -> None:
    with pytest.raises(TokenRefused) as caught:
        judged(said(**changes), RULES, NOW)
    assert (caught.value.reply.code, caught.value.reply.enhanced) == (535, "5.7.8")


@pytest.mark.attack("ATT-20")
def test_att_20_only_named_clients_pass_where_clients_are_named() -> None:
    some = Rules(ISSUER, frozenset({"lps-essai"}))
    assert judged(said(), some, NOW).client == "lps-essai"
    for azp in ("lps-autre", "LPS-ESSAI", "", None, ["lps-essai"], ...):
        with pytest.raises(TokenRefused):
            judged(said(azp=azp), some, NOW)


def test_clocks_may_differ_by_thirty_seconds() -> None:
    judged(said(), RULES, END + SKEW - timedelta(seconds=1))
    with pytest.raises(TokenRefused):
        judged(said(), RULES, END + SKEW)


@pytest.mark.parametrize("answer", [b"", b"<html>", b"[]", b'"active"', b"[" * 40_000, b"\xff"])
def test_what_is_no_answer_is_no_refusal(answer: bytes) -> None:
    for octets in (answer, said() + b" " * MAX_ANSWER_OCTETS):
        with pytest.raises(CannotBeAsked) as caught:
            judged(octets, RULES, NOW)
        assert caught.value.reply.code == 454


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=3,
)


@given(st.dictionaries(st.sampled_from(sorted(SAMPLE)), JSON, max_size=4))
def test_any_claims_are_a_subject_or_a_refusal(changes: dict[str, object]) -> None:
    try:
        found = judged(json.dumps(SAMPLE | changes).encode(), RULES, NOW)
    except (TokenRefused, CannotBeAsked):
        return
    assert found.client.isprintable()
    assert len(found.jti) <= 64


@pytest.mark.requirement("CL-22")
@given(
    st.integers(-100, 7 * 86_400), st.lists(st.integers(0, 300), max_size=6), st.integers(1, 3_600)
)
def test_nothing_that_was_learnt_by_a_token_outlives_it(
    life_s: int, looks_s: list[int], longest_s: int
) -> None:
    """However long answers may be kept."""
    until = NOW + timedelta(seconds=life_s)
    known = Known(timedelta(seconds=longest_s))
    known.keep(Known.digest("t"), Subject("899900000110", "", "", until), NOW)
    for at in (NOW + timedelta(seconds=after) for after in looks_s):
        if known.get(Known.digest("t"), at) is not None:
            assert at < until
            assert at < NOW + timedelta(seconds=longest_s)


def test_what_is_known_is_bounded_and_holds_no_token() -> None:
    known = Known()
    subject = Subject("899900000110", "", "", END)
    for number in range(MOST_KEPT + 10):
        known.keep(number.to_bytes(32, "big"), subject, NOW)
    assert len(known._found) == MOST_KEPT
    assert known.get((0).to_bytes(32, "big"), NOW) is None
    assert Known.digest("TEST-TOKEN") != b"TEST-TOKEN"
