"""RPPS and ADELI numbers, and the boxes that need one (OP-37, OP-38)."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssmtp.identity import BadNationalId
from mssmtp.identity.national_id import luhn, parse, required
from mssmtp.mail import BalType

SAMPLES = ["99900000110", "99900000128", "99900000136", "99900000144", "99900000151", "99900000169"]


@pytest.mark.requirement("OP-37")
@pytest.mark.parametrize("rpps", SAMPLES)
def test_an_rpps_becomes_eight_and_its_digits(rpps: str) -> None:
    assert parse(rpps) == f"8{rpps}"
    assert parse(f"8{rpps}") == f"8{rpps}"
    assert parse(f" {rpps[:2]} {rpps[2:6]} {rpps[6:]} ") == f"8{rpps}"


@pytest.mark.requirement("OP-37")
@pytest.mark.parametrize(
    ("adeli", "expected"),
    [
        ("990000017", "0990000017"),
        ("0990000017", "0990000017"),
        ("2a0000017", "02A0000017"),
        ("9D0000017", "09D0000017"),
    ],
)
def test_an_adeli_becomes_zero_and_its_characters(adeli: str, expected: str) -> None:
    assert parse(adeli) == expected


@pytest.mark.requirement("OP-37")
@given(st.sampled_from(SAMPLES), st.integers(0, 10), st.integers(1, 9))
def test_one_wrong_digit_of_an_rpps_is_seen(rpps: str, place: int, more: int) -> None:
    digit = str((int(rpps[place]) + more) % 10)
    with pytest.raises(BadNationalId):
        parse(rpps[:place] + digit + rpps[place + 1 :])


@given(st.integers(0, 10**10 - 1))
def test_every_number_has_exactly_one_key(number: int) -> None:
    assert sum(luhn(f"{number:010d}{key}") for key in range(10)) == 1


@pytest.mark.parametrize(
    "text",
    ["", "8", "9990000011", "999000001100", "A9900000110", "٩٩٩٠٠٠٠٠١١٠", "99000001X", "1A0000017"],
)
def test_other_texts_are_no_national_identifier(text: str) -> None:
    with pytest.raises(BadNationalId):
        parse(text)


@given(st.text(max_size=14))
def test_any_text_is_read_or_refused_and_nothing_else(text: str) -> None:
    found = ""
    with contextlib.suppress(BadNationalId):
        found = parse(text)
    assert found == "" or (found[0] in "08" and len(found) in (10, 12))


@pytest.mark.requirement("OP-38")
@pytest.mark.parametrize("number", [None, "", " ", "99900000111"])
def test_a_per_box_without_a_valid_number_is_refused_and_med_proposed(number: str | None) -> None:
    with pytest.raises(BadNationalId, match="--type MED"):
        required(BalType.PER, number)


@pytest.mark.requirement("OP-37", "OP-38")
def test_only_a_per_box_carries_a_number() -> None:
    assert required(BalType.PER, SAMPLES[0]) == f"8{SAMPLES[0]}"
    assert required(BalType.MED, None) is None
    with pytest.raises(BadNationalId):
        required(BalType.ORG, SAMPLES[0])
