"""Four bad days of a new administrator: do the commands say what, why, and what to do?

A demo's space in which our operator really runs; the authority is in the hands of the test.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import smtplib
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from datetime import timedelta
from typing import Any

import pytest

from mssmtp import doctor
from mssmtp.demo.authority import RESPONSIBLE, SUPPORT, Identity, Make, row
from mssmtp.demo.running import Server, running
from mssmtp.demo.space import (
    CRL_NAMES,
    GUEST_SUBJECT,
    INCIDENTS_SUBJECT,
    Laid,
    Space,
    first_doctor,
    lay,
    publish_crls,
    publish_list,
)
from mssmtp.outside import SystemClock, SystemEntropy
from mssmtp.whitelist import Row
from tests.home import Typed, typed
from tests.space import free_base_port

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.timeout(180),
    pytest.mark.xdist_group("trust-incidents"),
]

CLOCK = SystemClock()
WITHIN_S = 60.0
A, PEER = "hopital-a.test", "incidents.test"


class Bench:
    """The running space; everything a test breaks it also mends."""

    def __init__(self, space: Space, servers: tuple[Server, ...]) -> None:
        self.space, self.servers = space, servers

    @property
    def a(self) -> Laid:
        return self.space.operator("hopital-a")

    def mssmtp(self, *arguments: str) -> Typed:
        """As the administrator of hopital-a."""
        return typed(*arguments, "--config", str(self.a.config_file))

    def publish(self, *rows: Row) -> None:
        """A list of this moment; the authority's clock has seconds only."""
        publish_list(self.space.authority, self.space.directory, CLOCK.now(), rows)

    def rows(self, *, ours: bool = True, peer: str = INCIDENTS_SUBJECT.text) -> list[Row]:
        """Ours, the scripted peer's under that name, and forty others."""
        names = [(f"autre-{number}.test", GUEST_SUBJECT.text) for number in range(40)]
        own = [domain for domain in self.a.plan.domains if ours or domain != A]
        names += [*((domain, self.a.plan.subject.text) for domain in own), (PEER, peer)]
        return [row(name, dn, updated=CLOCK.now()) for name, dn in names]

    def install(self, identity: Identity) -> None:
        """Put another certificate in the place of ours; the server watches its files."""
        identity.write(self.a.config_file.parent / "certs", "operator")

    def logged(self, event: str) -> list[dict[str, Any]]:
        log = (self.a.config_file.parent / "server.log").read_text("utf-8")
        lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == event]

    def send(self) -> str:
        """A letter from a doctor of ours to the peer; its queue id."""
        login, door = first_doctor(self.a), self.a.settings.listen.submissions
        assert door is not None
        sender, to = str(login.bal.address), f"dsn@{PEER}"
        context = ssl.create_default_context(cafile=str(self.space.ca_file))
        with smtplib.SMTP_SSL("localhost", door.port, timeout=WITHIN_S, context=context) as client:
            client.login(sender, login.password)
            client.mail(sender)
            client.rcpt(to)
            letter = f"From: {sender}\r\nTo: {to}\r\nSubject: x\r\n\r\nx\r\n"
            _, text = client.data(letter)
        return text.decode().rsplit(" ", 1)[1]


def wait(happened: Any) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Our operator, a scripted peer, DNS, list and CRLs on loopback, in a thread of their own."""
    directory = tmp_path_factory.mktemp("incidents") / "space"
    whole = lay(directory, free_base_port(), 1, (CLOCK, SystemEntropy()))
    space = dataclasses.replace(whole, operators=whole.operators[:1])
    up: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event, tuple[Server, ...]]] = Future()

    async def play() -> None:
        over = asyncio.Event()
        async with running(space, 1) as servers:
            up.set_result((asyncio.get_running_loop(), over, servers))
            await over.wait()

    def run() -> None:
        try:
            asyncio.run(play())
        except BaseException as error:
            if not up.done():
                up.set_exception(error)
            raise

    thread = threading.Thread(target=run, name="space")
    thread.start()
    try:
        loop, over, servers = up.result(WITHIN_S)
        yield Bench(space, servers)
        loop.call_soon_threadsafe(over.set)
    finally:
        thread.join(WITHIN_S)


def findings(bench: Bench, severity: str) -> dict[str, dict[str, str]]:
    told = bench.mssmtp("doctor", "--json").json
    return {f["what"]: f for f in told if f["severity"] == severity}


@pytest.mark.requirement("OP-80", "OP-32")
def test_a_peers_certificate_changes_its_name(bench: Bench) -> None:
    """The list still has its old name."""
    old = dataclasses.replace(INCIDENTS_SUBJECT, o="ANCIENNE RAISON SOCIALE").text
    bench.publish(*bench.rows(peer=old))
    bench.mssmtp("trust", "refresh")
    queue_id = bench.send()
    alarm = "alarm: server certificate refused"
    wait(lambda: bench.logged(alarm))
    said = bench.logged(alarm)[-1]
    assert (said["domain"], said["reason"]) == (PEER, "name not of domain")
    assert said["support"] == SUPPORT
    wait(lambda: "4.7.5" in bench.mssmtp("queue", "show", queue_id).out)
    shown = bench.mssmtp("queue", "show", queue_id, "--json").json
    assert shown["contacts"] == [{"domain": PEER, "responsible": RESPONSIBLE, "support": SUPPORT}]
    theirs = str(bench.space.incidents.certificate_file)
    why = bench.mssmtp("trust", "explain", theirs, "--domain", PEER)
    assert why.code == 1
    assert "refused: name not listed" in why.out
    assert "O: list « ancienne raison sociale », certificate « incidents de test »" in why.out
    assert "Its operator must have the authority list this name." in why.out
    # The authority lists the new name; the running server is asked and takes it up.
    bench.publish(*bench.rows())
    refreshed = bench.mssmtp("trust", "refresh", "--json")
    assert refreshed.code == 0, refreshed.json
    assert refreshed.json["fetched_by"] == "server"
    [change] = bench.mssmtp("trust", "diff", "--json").json["changed"]
    assert change["domain"] == PEER
    assert change["added_names"] == [INCIDENTS_SUBJECT.text]
    assert change["removed_names"] == [old]
    assert bench.mssmtp("trust", "explain", theirs, "--domain", PEER).code == 0

    def delivered() -> bool:
        bench.mssmtp("queue", "retry", queue_id)
        return not bench.mssmtp("queue", "show", queue_id, "--json").json["waiting"]

    wait(delivered)


@pytest.mark.requirement("OP-35", "OP-28")
def test_the_list_loses_us(bench: Bench) -> None:
    bench.publish(*bench.rows())
    assert bench.mssmtp("trust", "refresh").code == 0
    bench.publish(*bench.rows(ours=False))
    refreshed = bench.mssmtp("trust", "refresh")
    assert refreshed.code == 1
    assert f"our entry is lost: {A}" in refreshed.err
    assert "mssmtp trust confirm" in refreshed.err
    held = next(f for what, f in findings(bench, "error").items() if what.startswith("whitelist"))
    assert f"is held and not used: our entry is lost: {A}" in held["why"]
    assert "ask ANS" in held["remedy"]
    assert bench.mssmtp("trust", "diff", "--json").json["removed"] == [A]
    assert bench.mssmtp("trust", "explain", A).code == 0, "the previous list is in force"
    # A person takes it all the same: from then on every command says that we are out.
    digest = bench.mssmtp("trust", "show", "--json").json["held"]
    assert bench.mssmtp("trust", "confirm", digest).code == 0
    lost = findings(bench, "error")[A]
    assert "no longer in the whitelist" in lost["why"]
    assert "ANS" in lost["remedy"]
    expected = bench.mssmtp("trust", "expected")
    assert expected.code == 1
    assert f"{A}: no row binds it to {bench.a.plan.subject.text}" in expected.err
    wait(lambda: bench.logged("alarm: the list shows something else for us"))
    # Back to the list before, until the authority has mended it.
    assert bench.mssmtp("trust", "rollback").code == 0
    assert A not in findings(bench, "error")
    bench.publish(*bench.rows())
    assert bench.mssmtp("trust", "refresh").code == 0
    assert bench.mssmtp("trust", "expected").code == 0
    events = bench.mssmtp("trust", "history", "--json").json["events"]
    assert [event["what"] for event in events[:4]] == [
        "accepted",
        "rolled back",
        "confirmed",
        "held",
    ]


@pytest.mark.requirement("OP-09")
def test_the_server_of_the_crls_dies(bench: Bench) -> None:
    folder = bench.space.revocation
    for name in CRL_NAMES:
        (folder / name).rename(folder / f"{name}.away")
    try:
        refreshed = bench.mssmtp("trust", "refresh")
        assert refreshed.code == 1
        assert "404" in refreshed.out
        warned = findings(bench, "warning")["CRLs"]
        assert "then operators are deferred" in warned["why"]
        assert CRL_NAMES[0] in warned["why"]
        assert "404" in warned["why"]
        assert "`mssmtp trust refresh` tries now" in warned["remedy"]
        weather = bench.mssmtp("trust", "forecast", "--json").json
        ends = next(each for each in weather if each["what"].startswith("CRL"))
        assert "every operator below it is deferred" in ends["then"]
        # Eight days later nobody has looked.
        settings, later = bench.a.settings, CLOCK.now() + timedelta(days=8)
        told = doctor.examine(settings, later, deep=False)
        late = next(finding for finding in told if finding.what == "CRLs")
        assert late.severity == "error"
        assert late.why.startswith("out of date since")
    finally:
        publish_crls(bench.space.authority, bench.space.directory)
    assert bench.mssmtp("trust", "refresh").code == 0
    assert "CRLs" in findings(bench, "ok")


def test_our_certificate_has_ten_days_left(bench: Bench) -> None:
    authority = bench.space.authority
    ends = CLOCK.now() + timedelta(days=10, minutes=5)
    make = Make(not_after=ends, hosts=("localhost", "127.0.0.1"))
    bench.install(authority.issue(bench.a.plan.subject, make))
    told = findings(bench, "warning")
    own = next(finding for what, finding in told.items() if "operators" in what)
    assert "10 days" in own["why"]
    assert own["remedy"]
    weather = bench.mssmtp("trust", "forecast", "--json")
    assert weather.code == 0
    ours = [each for each in weather.json if each["whose"] == "ours"]
    assert [each["days_left"] for each in ours] == [10]
    assert "with the same name: then nothing changes in the list" in ours[0]["remedy"]

    def ticked() -> set[str]:
        told = bench.mssmtp("doctor", "--joining", "--json").json
        return {step["title"] for step in told if step["mark"] == "done"}

    wait(lambda: "doors" in ticked())  # the door presents the new one within seconds
    assert {"names in DNS", "entry in the list", "certificates"} <= ticked()
    # The renewed one has the same name: the list needs no change, nobody notices.
    hosts = Make(hosts=(bench.a.plan.mx, "localhost", "127.0.0.1"))
    bench.install(authority.issue(bench.a.plan.subject, hosts))
    assert not any("operators" in what for what in findings(bench, "warning"))
    assert bench.mssmtp("trust", "expected").code == 0
