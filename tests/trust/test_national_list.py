"""A list with the habits of the genuine one is taken as it is (OP-30, OP-31, OP-33)."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest

from mssmtp.mail import DnKey, Domain, domain
from mssmtp.pki import certificate_name, listed_name
from mssmtp.whitelist import Whitelist
from tests import lists


@pytest.fixture(scope="module")
def national() -> Whitelist:
    return Whitelist(lists.DATE, "0" * 64, "CN=alb", lists.rows())


def organisation(key: DnKey) -> str:
    return next(rdn.value for rdn in key if rdn.type == "OU")


@pytest.mark.requirement("OP-33")
def test_generated_list_has_the_figures_of_the_genuine_one(national: Whitelist) -> None:
    rows = national.rows
    assert (len(rows), len(national.domains)) == (lists.ROWS, lists.DOMAINS)
    assert len({row.dn for row in rows}) == 391
    assert len({listed_name(row.dn) for row in rows}) == 380
    printed = {row.dn for row in rows}
    kinds = Counter("SIRET" if "OU=3" in dn else "FINESS" for dn in printed)
    assert kinds == {"FINESS": 319, "SIRET": 72}
    operators = Counter(
        len({organisation(key) for key in national.names(name)}) for name in national.domains
    )
    assert operators[2] >= 410
    assert operators[3] == 5
    assert sum(row.updated == "2026-06-02T14:05:32Z" for row in rows) == 26
    assert sum("@" not in row.responsible for row in rows) == 20
    assert sum("@" not in row.support for row in rows) == 14
    assert max(len(row.domain) for row in rows) == 52
    assert max(len(row.description) for row in rows) == 156
    assert any("\u00a0" in row.description for row in rows)
    assert any(row.domain.isupper() for row in rows)


@pytest.mark.requirement("OP-33", "OP-32")
def test_repeated_pairs_several_operators_and_spellings_are_one_binding_each(
    national: Whitelist, caplog: pytest.LogCaptureFixture
) -> None:
    assert national.unusable == ()
    expected: defaultdict[Domain, set[object]] = defaultdict(set)
    for row in national.rows:
        expected[domain(row.domain)].add(listed_name(row.dn))
    assert {name: set(national.names(name)) for name in national.domains} == expected
    for number in lists._VARIANTS:
        key = certificate_name(lists.subject(number).name)
        assert key is not None
        assert national.names(domain(lists.domain_name(number))) == {key}
        assert domain(lists.domain_name(number)) in national.domains_of(key)
    assert caplog.records == []


@pytest.mark.requirement("OP-20", "OP-33")
def test_any_certificate_of_a_domain_speaks_for_it_and_no_other_does(national: Whitelist) -> None:
    number = lists.CERTIFICATES + lists.TWO_OPERATORS  # the first with three operators
    name = domain(lists.domain_name(number))
    three = lists._certificates(number)
    keys = {certificate_name(lists.subject(each).name) for each in three}
    assert national.names(name) == keys
    assert len(keys) == 3
    other = certificate_name(lists.subject(3).name)
    assert other is not None
    assert name not in national.domains_of(other)


@pytest.mark.requirement("OP-30", "OP-31")
def test_no_name_is_inherited_from_a_parent_or_a_suffix(national: Whitelist) -> None:
    listed = national.domains
    children = [name for name in listed if name.partition(".")[2] in listed]
    assert len(children) == lists.CHILDREN
    foreign = [
        name
        for name in children
        if not {organisation(k) for k in national.names(name)}
        & {organisation(k) for k in national.names(Domain(name.partition(".")[2]))}
    ]
    assert len(foreign) == lists.FOREIGN_CHILDREN
    for name in children:
        parent = Domain(name.partition(".")[2])
        assert not national.lists(domain(f"autre.{parent}"))
    assert not national.lists(domain("mssante.example"))
    assert not national.lists(domain("inconnu.mssante.example"))
    assert any(not name.endswith("mssante.example") for name in listed)


def test_upper_case_and_white_space_around_a_domain_change_nothing(national: Whitelist) -> None:
    assert any(row.domain == lists.domain_name(23).upper() for row in national.rows)
    assert national.lists(domain(lists.domain_name(23)))
