"""What is looked at while the server runs: CRLs our certificates name, our own ends (CL-10)."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from pathlib import Path

import pytest

from mssmtp import metrics
from mssmtp.demo.authority import Authority, Make
from mssmtp.finding import Severity
from mssmtp.own import OwnFiles, OwnWatch, findings
from mssmtp.own.watch import crl_urls
from tests.authority import A_DOMAIN, A_SUBJECT
from tests.own.operator import Own

CRL = "http://crl.test/organisations.crl"
DAY = timedelta(days=1)


@pytest.fixture
def watched(authority: Authority, tmp_path: Path) -> Own:
    """Its certificate names where the CRL is; the CRL is there and good for seven days."""
    own = Own(authority, tmp_path)
    own.put(authority.issue(A_SUBJECT, Make(crl_urls=("ldap://crl.test/x", CRL))))
    own.publish((A_DOMAIN, A_SUBJECT.text))
    own.net.files[CRL] = authority.crls()[1]
    return own


def told(own: Own) -> tuple[Severity, str]:
    found = findings(own.settings, own.clock.now(), own.trust.snapshot.whitelist)
    return next((each.severity, each.why) for each in found if CRL in each.what)


@pytest.mark.requirement("CL-10")
async def test_the_crl_our_certificate_names_is_looked_at_at_least_once_a_day(watched: Own) -> None:
    watch = watched.watch(watched.keys())
    assert tuple(crl_urls(watched.keys().slots[0].own.chain)) == (CRL,)
    await watch.tick()
    await watch.tick()
    assert watched.net.asked == [CRL]
    assert told(watched)[0] is Severity.OK
    for _ in range(5):
        watched.clock.moment += DAY
        await watch.tick()
    assert len(watched.net.asked) == 6


@pytest.mark.requirement("CL-10")
async def test_a_crl_that_cannot_be_had_is_a_warning_then_an_error(
    watched: Own, caplog: pytest.LogCaptureFixture
) -> None:
    watch = watched.watch(watched.keys())
    await watch.tick()
    del watched.net.files[CRL]
    watched.clock.moment += DAY
    await watch.tick()
    severity, why = told(watched)
    assert severity is Severity.WARNING
    assert why.startswith("cannot be had (status 404); last seen: ")
    assert "CRL of our certificate not had" in caplog.text
    asked = len(watched.net.asked)
    watched.clock.moment += timedelta(hours=1)
    await watch.tick()
    assert len(watched.net.asked) == asked + 1, "again within the hour"
    watched.clock.moment += 2 * DAY
    await watch.tick()
    assert told(watched)[0] is Severity.ERROR
    watched.net.files[CRL] = watched.authority.crls(this_update=watched.clock.now())[1]
    watched.clock.moment += timedelta(hours=1)
    await watch.tick()
    assert told(watched)[0] is Severity.OK


@pytest.mark.requirement("CL-10")
async def test_a_crl_past_its_end_or_no_crl_is_an_error(
    watched: Own, caplog: pytest.LogCaptureFixture
) -> None:
    watched.clock.moment += 10 * DAY
    watch = watched.watch(watched.keys())
    await watch.tick()
    severity, why = told(watched)
    assert severity is Severity.ERROR
    assert "who checks it refuses us" in why
    assert "CRL of our certificate is out of date" in caplog.text
    left = metrics.own_crl_seconds_left._value.get()
    assert left < 0
    watched.net.files[CRL] = b"<html>"
    watched.clock.moment += 2 * DAY
    await watch.tick()
    memory = OwnFiles(watched.directory).memory()
    assert memory.crls[CRL].trouble == "what is there is no CRL"


async def test_a_clock_that_was_put_back_does_not_end_the_looks(watched: Own) -> None:
    watch = watched.watch(watched.keys())
    watched.clock.moment += 1_000 * DAY
    await watch.tick()
    watched.clock.moment -= 1_000 * DAY
    await watch.tick()
    assert len(watched.net.asked) == 2


# ---------------------------------------------------------------- our own ends


@pytest.mark.requirement("OP-06")
@pytest.mark.parametrize(
    ("days", "severity", "level"),
    [
        (91, Severity.OK, None),
        (89, Severity.WARNING, logging.INFO),
        (29, Severity.WARNING, logging.WARNING),
        (9, Severity.ERROR, logging.ERROR),
    ],
)
async def test_its_end_is_announced_at_90_30_and_10_days(
    own: Own, days: int, severity: Severity, level: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    ends = own.clock.now() + timedelta(days=days, hours=1)
    own.put(own.authority.issue(A_SUBJECT, Make(not_after=ends)))
    watch = own.watch(own.keys())
    await watch.tick()
    await watch.tick()
    found = findings(own.settings, own.clock.now(), own.trust.snapshot.whitelist)
    first = next(each for each in found if each.what == "certificate for operators")
    assert first.severity is severity
    assert f"{days} days" in first.why
    assert bool(first.remedy) is (severity is not Severity.OK)
    said = [each.levelno for each in caplog.records if "own certificate ends" in each.message]
    assert said == ([] if level is None else [level, level]), "each door's, once a day"
    left = metrics.own_certificate_seconds_left.labels("operators")._value.get()
    assert left == timedelta(days=days, hours=1).total_seconds()


async def test_one_worker_remembers_and_the_others_read(own: Own) -> None:
    first, second = own.keys(), own.keys()
    await own.watch(first).tick()
    before = OwnFiles(own.directory).version()
    own.publish((A_DOMAIN, "CN=autre,C=FR"))
    await own.watch(second).tick()
    assert OwnFiles(own.directory).version() == before, "the lock is the first one's"
    assert second.memory == first.memory
    first.files.release()
    await own.watch(second).tick()
    assert OwnFiles(own.directory).version() != before


async def test_no_failure_ends_the_watch(
    own: Own, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    watch = own.watch(own.keys())
    twice = asyncio.Event()
    rounds: list[OwnWatch] = []

    async def fails(self: OwnWatch) -> None:
        rounds.append(self)
        if len(rounds) > 1:
            twice.set()
        raise RuntimeError("disk")

    monkeypatch.setattr(OwnWatch, "tick", fails)
    monkeypatch.setattr("mssmtp.own.watch.POLL_S", 0.0)
    running = asyncio.create_task(watch.run())
    await twice.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert "it goes on" in caplog.text
