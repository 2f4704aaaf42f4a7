"""Domains as the list writes them, and rows as they come out of the table (OP-30, OP-33)."""

from __future__ import annotations

import pytest

from mssmtp.demo.authority import Authority
from mssmtp.mail import domain
from mssmtp.whitelist import SignedList, Whitelist
from tests.authority import A_SUBJECT, unsigned_whitelist

_LISTED = domain("xn--hpital-ixa.test")


def _table(listed: Whitelist) -> bytes:
    return SignedList(listed.date, listed.sha256, listed.signer, listed.rows).to_table()


def listing(authority: Authority, *texts: str) -> Whitelist:
    return unsigned_whitelist(authority, *((text, A_SUBJECT.text) for text in texts))


@pytest.mark.requirement("OP-30")
@pytest.mark.parametrize(
    "text", ["hôpital.test", "HÔPITAL.Test", " hôpital.test\t", "ho\u0302pital.test"]
)
def test_a_domain_beyond_ascii_is_its_idna_form_whatever_its_case(
    authority: Authority, text: str
) -> None:
    listed = listing(authority, text)
    assert listed.lists(_LISTED)
    assert listed.unusable == ()


@pytest.mark.parametrize(
    "text", ["é..test", "é_x.test", "\u200d.test", "é.test.", "é" * 70 + ".test", "a b.test"]
)
def test_a_row_whose_domain_is_none_is_unusable_and_costs_no_other_row(
    authority: Authority, text: str
) -> None:
    listed = listing(authority, text, "hopital-a.test")
    assert listed.unusable == (1,)
    assert listed.domains == {domain("hopital-a.test")}


@pytest.mark.requirement("OP-33")
def test_a_repeated_pair_is_one_binding(authority: Authority) -> None:
    listed = listing(authority, "hopital-a.test", "hopital-a.test", "HOPITAL-A.test")
    assert len(listed.rows) == 3
    assert len(listed.rows_of(domain("hopital-a.test"))) == 1
    assert len(list(listed.bindings())) == 1


def test_rows_out_of_the_table_are_the_rows_and_no_others(authority: Authority) -> None:
    one, other = listing(authority, "hopital-a.test"), listing(authority, "cabinet-b.test")
    rows = SignedList.from_table(_table(one)).rows
    assert rows == one.rows
    assert rows != other.rows
    assert len(rows) == 1
    assert (rows == object()) is False


def test_whoever_waits_is_let_in_while_a_table_is_taken_up(authority: Authority) -> None:
    table = _table(listing(authority, *(f"d{number}.test" for number in range(1_000))))
    breaths: list[None] = []
    taken_up = SignedList.from_table(table, lambda: breaths.append(None))
    while_read = len(breaths)
    taken_up.indexed(lambda: breaths.append(None))
    assert 1_000 / 64 < while_read < 1_000
    assert 1_000 / 64 <= len(breaths) - while_read < 1_000
