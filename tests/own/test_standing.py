"""Where our domains stand in the list, since when, and what doctor and the log say (DEF-01)."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest

from mssmtp.finding import Finding, Severity
from mssmtp.mail import Domain
from mssmtp.own import OwnFiles, findings, standings
from mssmtp.own.memory import KEPT_CHANGES, Memory
from mssmtp.own.standing import remember
from tests.authority import A_DOMAIN, A_SUBJECT, B_DOMAIN, B_SUBJECT
from tests.own.operator import RENAMED, Own

A = Domain(A_DOMAIN)


@pytest.mark.requirement("DEF-01")
async def test_a_domain_is_requested_then_listed_then_withdrawn(
    own: Own, caplog: pytest.LogCaptureFixture
) -> None:
    """Never typed in: the list says it, and a list that gives the domain to others only is a no."""
    caplog.set_level(logging.INFO)
    keys = own.keys()
    watch = own.watch(keys)
    lists = (
        ((B_DOMAIN, B_SUBJECT.text),),
        ((A_DOMAIN, A_SUBJECT.text),),
        ((A_DOMAIN, B_SUBJECT.text),),
    )
    for rows, state in zip(lists, ("requested", "listed", "withdrawn"), strict=True):
        own.clock.moment += timedelta(days=1)
        own.publish(*rows)
        await watch.tick()
        assert keys.state(A) == state
        assert keys.unlisted == (() if state == "listed" else ((A, state),))
        assert keys.memory.since(A, state) == own.clock.now()
        assert any(f"own domain is {state}" in each.message for each in caplog.records)
    assert [change.state for change in keys.memory.domains[A]] == [
        "requested",
        "listed",
        "withdrawn",
    ]
    own.clock.moment += timedelta(days=1)
    await watch.tick()
    assert keys.memory.since(A, "withdrawn") == own.clock.now() - timedelta(days=1)
    assert own.keys().state(A) == "withdrawn", "after a restart too"


@pytest.mark.requirement("DEF-01")
def test_without_a_list_nobody_is_told_that_the_domain_is_not_in_it(own: Own) -> None:
    snapshot = own.trust.snapshot
    own.trust.swap(type(snapshot)(None, None, snapshot.anchors))
    keys = own.keys()
    assert keys.unlisted == ()
    assert keys.state(A) == "requested"


def test_standings_name_our_rows_and_count_those_of_others(own: Own) -> None:
    own.publish((A_DOMAIN, A_SUBJECT.text), (A_DOMAIN, B_SUBJECT.text))
    leaves = (own.keys().slots[0].own.leaf,)
    (found,) = standings((A,), leaves, own.trust.snapshot.whitelist, Memory())
    assert (found.state, found.since, len(found.ours), found.others) == ("listed", None, 1, 1)


def test_the_memory_does_not_grow_for_ever_and_keeps_its_first_day(own: Own) -> None:
    memory, start = Memory(), own.clock.now()
    for day in range(2 * KEPT_CHANGES):
        own.publish((A_DOMAIN, (A_SUBJECT if day % 2 else B_SUBJECT).text))
        found = standings(
            (A,), (own.keys().slots[0].own.leaf,), own.trust.snapshot.whitelist, memory
        )
        memory = remember(memory, start + timedelta(days=day), found)
    assert len(memory.domains[A]) == KEPT_CHANGES
    assert memory.domains[A][0].since == start.isoformat()


# ---------------------------------------------------------------- what doctor says


def told(own: Own) -> list[Finding]:
    return list(findings(own.settings, own.clock.now(), own.trust.snapshot.whitelist))


def of(own: Own, what: str) -> Finding:
    return next(each for each in told(own) if each.what.endswith(what))


@pytest.mark.requirement("DEF-01", "OP-21")
async def test_doctor_says_since_when_a_domain_or_a_certificate_waits(own: Own) -> None:
    own.put(own.authority.issue(RENAMED), "next")
    own.domains = (A_DOMAIN, "annexe-a.test")
    await own.watch(own.keys()).tick()
    day = f"{own.clock.now():%Y-%m-%d}"
    assert of(own, A_DOMAIN) == Finding(
        Severity.OK, A_DOMAIN, f"listed since {day} with our certificate's name"
    )
    requested = of(own, "annexe-a.test")
    assert requested.severity is Severity.ERROR
    assert requested.why.startswith(f"requested since {day}: not in the whitelist")
    assert "Boxes can be prepared" in requested.remedy
    waiting = of(own, "next.pem")
    assert waiting.severity is Severity.WARNING
    assert f"waits since {day} for its name in the whitelist" in waiting.why


async def test_doctor_says_that_a_withdrawn_domain_exchanges_nothing(own: Own) -> None:
    watch = own.watch(own.keys())
    await watch.tick()
    own.publish((B_DOMAIN, B_SUBJECT.text))
    await watch.tick()
    found = of(own, A_DOMAIN)
    assert found.severity is Severity.ERROR
    assert found.why.startswith("withdrawn since ")


def test_a_damaged_memory_is_an_empty_one(own: Own) -> None:
    files = OwnFiles(own.directory)
    assert files.take_lock()
    files.keep(Memory(space="test"))
    assert files.memory() == Memory(space="test")
    for octets in (b"", b"{}", b"[]", b'{"space": 1, "domains": 3}', b"\xff"):
        (files.directory / "memory.json").write_bytes(octets)
        assert files.memory() == Memory()
    files.release()
