"""Which well-signed lists wait for a person, and which do not."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import pytest

from mssmtp.demo.authority import Subject, row
from mssmtp.mail import domain
from mssmtp.pki import certificate_name
from mssmtp.trust_feed.brakes import Own, reasons_to_hold
from mssmtp.whitelist import Whitelist
from tests.authority import A_DOMAIN, A_SUBJECT, B_SUBJECT

NOW = datetime.fromisoformat("2026-03-02T09:00:00+00:00")
OURS = (A_DOMAIN, A_SUBJECT)
NEW_NAME = Subject("mx2.hopital-a.test")


def listed(*pairs: tuple[str, Subject], others: int = 0, each: int = 1) -> Whitelist:
    """`pairs`, and `others` domains of B with `each` rows."""
    names = [(f"d{number}.test", B_SUBJECT) for number in range(others)] * each
    rows = [row(name, subject.text, updated=NOW) for name, subject in (*pairs, *names)]
    return Whitelist(NOW, "0" * 64, "signer", tuple(rows))


def own(*subjects: Subject, domains: Sequence[str] = (A_DOMAIN,)) -> Own:
    names = [certificate_name(subject.name) for subject in subjects or (A_SUBJECT,)]
    return Own(tuple(map(domain, domains)), frozenset(name for name in names if name is not None))


def reasons(
    before: Whitelist, after: Whitelist, *, ours: Own | None = None, percent: float = 5.0
) -> tuple[str, ...]:
    return reasons_to_hold(before, after, ours or own(), percent)


@pytest.mark.requirement("OP-28")
@pytest.mark.parametrize(
    ("before", "after", "percent", "held"),
    [
        (100, 95, 5.0, False),
        (100, 94, 5.0, True),
        (1_000, 949, 5.0, True),
        (100, 100, 5.0, False),
        (100, 1_000, 5.0, False),
        (100, 99, 0.0, True),
        (100, 100, 0.0, False),
        (100, 1, 100.0, False),
        (0, 10, 5.0, False),
    ],
)
def test_list_is_held_when_more_than_the_setting_is_lost(
    before: int, after: int, percent: float, held: bool
) -> None:
    found = reasons(listed(others=before), listed(others=after), percent=percent)
    assert bool(found) == held


def test_rows_and_domains_are_counted_each_for_itself() -> None:
    fewer_rows = reasons(listed(others=100, each=2), listed(others=100))
    assert fewer_rows == ("shrinks by 50.0 %: 200 rows to 100",)
    fewer_domains = reasons(listed(others=100), listed(others=50, each=2))
    assert fewer_domains == ("shrinks by 50.0 %: 100 domains to 50",)


@pytest.mark.requirement("OP-35")
def test_our_entry_lost_is_a_reason_of_its_own() -> None:
    before = listed(OURS, others=100)
    assert reasons(before, listed(others=101)) == (f"our entry is lost: {A_DOMAIN}",)
    by_another = listed((A_DOMAIN, B_SUBJECT), others=100)
    assert reasons(before, by_another) == (f"our entry is lost: {A_DOMAIN}",)


def test_our_entry_under_another_certificate_of_ours_is_not_lost() -> None:
    """OP-21: the old name leaves the list when the new one is published."""
    both = own(A_SUBJECT, NEW_NAME)
    before, after = listed(OURS, others=100), listed((A_DOMAIN, NEW_NAME), others=100)
    assert reasons(before, after, ours=both) == ()
    assert reasons(before, after) == (f"our entry is lost: {A_DOMAIN}",)


def test_entry_that_was_not_there_is_not_lost() -> None:
    served = own(domains=(A_DOMAIN, "pas-encore.test"))
    before = listed(OURS, ("pas-encore.test", B_SUBJECT), others=100)
    assert reasons(before, listed(OURS, others=101), ours=served) == ()


def test_entry_that_only_grace_kept_was_lost_before() -> None:
    graced = listed(others=100).with_grace([listed(OURS, others=100)])
    assert reasons(graced, listed(others=100)) == ()
    assert reasons(graced, listed(others=95)) == ()  # grace is not counted either
