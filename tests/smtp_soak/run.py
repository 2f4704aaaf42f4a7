"""A whole soak of the mail service: a real server, senders of all kinds, partners in bad moods.

Workers are killed, the whole server too, and the list changes meanwhile. Each round ends in peace:
everybody takes mail again, the queue runs empty, and then every letter ever sent is judged.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

from mssmtp.accounts import NewBal, add_bal
from mssmtp.config_example import Value
from mssmtp.demo.authority import row
from mssmtp.demo.dns import DnsServer, Zone
from mssmtp.mail import Address, BalType, EnvelopeId
from mssmtp.storage import Reading, Store
from mssmtp.whitelist import Row
from tests.app.server import Server, Site
from tests.authority import A_DOMAIN, A_SUBJECT
from tests.home import CLOCK, ENTROPY, PASSWORD, RPPS, put_list, put_rows
from tests.smtp_soak.journal import Arrivals, Arrived, Journal
from tests.smtp_soak.judge import Evidence, violations
from tests.smtp_soak.peers import Partner
from tests.smtp_soak.senders import Account, Sender

BOXES = tuple(Address.parse(f"{name}@{A_DOMAIN}") for name in ("zoe.soak", "ali.soak", "ines.soak"))
SETTINGS: dict[str, Value] = {
    "queue__first_retry": "PT1S",
    "queue__longest_retry": "PT2S",
    "queue__warn_after": "PT4S",
    "queue__give_up_after": "PT12S",
    "queue__lease": "PT40S",
    "smtp_out__connect_timeout_s": 3,
    "smtp_out__command_timeout_s": 3,
    "policy__rates__per_hour": 0,
    "policy__rates__app_per_hour": 0,
}
BRISK = """
import sys
from mssmtp import cli, smtp_lanes
smtp_lanes.FIRST_PAUSE_S, smtp_lanes.LONGEST_PAUSE_S = 1.0, 2.0
sys.argv[0] = "mssmtp"
cli.main()
"""
"""The server itself, but a partner nobody could reach is left alone for seconds, not a minute."""
DRAINED_WITHIN_S = 120.0
MAX_VIOLATIONS = 20


@dataclass(frozen=True, slots=True)
class Wanted:
    """How to soak. `round_s`: how long everything goes wrong before the peace in between."""

    seconds: float
    seed: str
    round_s: float = 40.0
    kills: bool = True
    code: str = BRISK
    """What is run in place of the module: the server, or a weakened one for the judge to find."""


@dataclass(slots=True)
class Outcome:
    """What was done, and what was wrong."""

    rounds: int = 0
    letters: Counter[str] = field(default_factory=Counter)
    copies: int = 0
    reports: int = 0
    in_doubt: int = 0
    kills: int = 0
    crashes: int = 0
    lists: int = 0
    moods: int = 0
    violations: list[str] = field(default_factory=list)


class Soak:
    """One run on a site that nobody serves yet."""

    def __init__(
        self,
        site: Site,
        partners: list[Partner],
        wanted: Wanted,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._site, self._partners, self._wanted, self._say = site, partners, wanted, say
        self._chance = random.Random(f"{wanted.seed} run")  # noqa: S311 - the same seed, the same acts
        self.outcome, self._journal = Outcome(), Journal()
        self._arrivals = Arrivals(self._journal)
        self._read: dict[str, int] = {}
        self._server: Server | None = None
        self._under_way: set[asyncio.Task[None]] = set()

    async def run(self) -> Outcome:
        """Play until the time is over or something is wrong."""
        async with self._peers(), self._dns() as dns:
            mx_ports = {each.mx: each.peer.port for each in self._partners}
            self._site.write(
                **SETTINGS, smtp_out__nameserver_port=dns.port, smtp_out__ports=mx_ports
            )
            await asyncio.to_thread(self._prepare)
            try:
                await asyncio.to_thread(self._start)
                until = time.monotonic() + self._wanted.seconds
                while time.monotonic() < until and not self.outcome.violations:
                    await self._round(min(self._wanted.round_s, until - time.monotonic()))
            finally:
                await asyncio.to_thread(self._stop)
        return self.outcome

    @asynccontextmanager
    async def _peers(self) -> AsyncIterator[None]:
        for each in self._partners:
            await each.peer.__aenter__()
        try:
            yield
        finally:
            for each in self._partners:
                each.calm()
                await each.peer.__aexit__()

    @asynccontextmanager
    async def _dns(self) -> AsyncIterator[DnsServer]:
        zone = Zone(
            mx={each.domain: (f"10 {each.mx}.",) for each in self._partners},
            a=dict.fromkeys([each.mx for each in self._partners], ("127.0.0.1",)),
        )
        async with DnsServer(zone) as server:
            yield server

    def _prepare(self) -> None:
        put_list(self._site.home, self._site.authority)
        self._publish(self._rows())
        with self._site.home.store() as store:
            for address in BOXES:
                new = NewBal(address, BalType.PER, national_id="8" + RPPS)
                add_bal(store, new, ENTROPY, PASSWORD)

    # ------------------------------------------------------------ the server

    def _start(self) -> None:
        self._server = Server(self._site, 2, code=self._wanted.code)
        self._server.wait_ready()

    def _stop(self) -> None:
        if self._server is not None and self._server.process.poll() is None:
            self._server.end()

    def _crash(self) -> None:
        """Power loss, as far as processes go: everything of it at once."""
        assert self._server is not None
        self._server.kill()
        self._start()
        self.outcome.crashes += 1

    def _kill(self) -> None:
        assert self._server is not None
        with suppress(ProcessLookupError, FileNotFoundError):
            workers = sorted(self._server.workers)
            os.kill(self._chance.choice(workers), signal.SIGKILL)
            self.outcome.kills += 1

    # ------------------------------------------------------------ the list

    def _rows(self, *, without: str = "", renamed: str = "") -> list[Row]:
        now = CLOCK.now()
        rows = [row(A_DOMAIN, A_SUBJECT.text, updated=now)]
        for each in self._partners:
            name = "CN=autre" if each.domain == renamed else each.subject.text
            if each.domain != without:
                rows.append(row(each.domain, name, updated=now))
        return rows

    def _publish(self, rows: list[Row]) -> None:
        put_rows(self._site.home, self._site.authority, rows)
        self.outcome.lists += 1

    # ------------------------------------------------------------ one round

    async def _round(self, seconds: float) -> None:
        self.outcome.rounds += 1
        over = threading.Event()
        senders = self._senders(over)
        for sender in senders:
            sender.start()
        trouble = [
            asyncio.create_task(self._again_and_again(self._change_mood, (0.2, 0.8))),
            asyncio.create_task(self._again_and_again(self._change_list, (3.0, 6.0))),
        ]
        if self._wanted.kills:
            trouble.append(asyncio.create_task(self._again_and_again(self._end_some, (2.5, 4.0))))
        await asyncio.sleep(seconds)
        for task in trouble:
            task.cancel()
        for failed in await asyncio.gather(*trouble, return_exceptions=True):
            if not isinstance(failed, asyncio.CancelledError):
                raise AssertionError("the troublemaker failed") from failed
        while self._under_way:
            await self._under_way.pop()  # what was cut short ends first
        over.set()
        for partner in self._partners:
            partner.calm()
        await asyncio.gather(*(asyncio.to_thread(sender.join) for sender in senders))
        await asyncio.to_thread(self._publish, self._rows())
        await asyncio.to_thread(self._drain)
        self._look_at_peers()
        await asyncio.to_thread(self._judge)
        self._tell()

    async def _again_and_again(self, act: Callable[[], None], pause: tuple[float, float]) -> None:
        while True:
            await asyncio.sleep(self._chance.uniform(*pause))
            if act == self._change_mood:
                act()  # of this loop's own peers
            else:
                # Cut short in the middle, a server would be left behind that nobody knows, and a
                # list would come behind the one of the peace.
                self._under_way.add(doing := asyncio.create_task(asyncio.to_thread(act)))
                await asyncio.shield(doing)
                self._under_way.discard(doing)

    def _change_mood(self) -> None:
        self._chance.choice(self._partners).change(self._chance)
        self.outcome.moods += 1

    def _change_list(self) -> None:
        domain = self._chance.choice(self._partners).domain
        match self._chance.randrange(3):
            case 0:
                self._publish(self._rows(without=domain))
            case 1:
                self._publish(self._rows(renamed=domain))
            case _:
                self._publish(self._rows())

    def _end_some(self) -> None:
        if self._chance.random() < 0.2:
            self._crash()
        else:
            self._kill()

    def _senders(self, over: threading.Event) -> list[Sender]:
        site = self._site
        everybody = [str(box) for box in BOXES]
        everybody += [to for each in self._partners for to in each.addresses()]
        inside = [
            Account(str(box), site.ports["submission"], site.context(), PASSWORD) for box in BOXES
        ]
        outside = [
            Account(each.addresses()[3], site.ports["operators"], each.client)
            for each in self._partners[:2]
        ]
        return [
            Sender(account, to, self._journal, random.Random(self._chance.random()), over)  # noqa: S311
            for account, to in [
                *((each, everybody) for each in inside),
                *((each, everybody[: len(BOXES)]) for each in outside),
            ]
        ]

    # ------------------------------------------------------------ peace

    def _drain(self) -> None:
        """Until nothing waits. A server whose workers were killed has to be back first."""
        deadline = time.monotonic() + DRAINED_WITHIN_S
        with self._site.home.store() as store:
            while depth := store.read(lambda r: r.queue_depth()).result():
                if time.monotonic() > deadline:
                    self.outcome.violations.append(f"stuck: {_stuck(store)}")
                    return
                self._say(f"{depth} recipients wait")
                store.write(lambda w: w.retry_now(None, CLOCK.now())).result()
                time.sleep(0.5)

    def _look_at_peers(self) -> None:
        for partner in self._partners:
            for message in partner.peer.messages:
                if b"report-type=delivery-status" in message.body:
                    for recipient in message.recipients:
                        self._arrivals.report(message.body, recipient)
                else:
                    self._arrivals.letter(message.body, message.recipients, partner.domain)
            partner.peer.messages.clear()
            partner.peer.sessions.clear()

    def _judge(self) -> None:
        ours = frozenset(map(str, BOXES))
        found: list[str] = []
        with self._site.home.store() as store:
            for box in BOXES:
                store.read(partial(self._look_at_box, box), patient=True).result()
            for sent in self._journal.all():
                arrived = self._arrivals.letters.get(sent.number, Arrived())
                evidence = _evidence(store, sent.envelope)
                found += violations(sent, arrived, evidence, ours)
                self.outcome.in_doubt += bool(evidence.in_doubt)
            found += [f"check: {each}" for each in store.check(deep=True).problems]
        self.outcome.violations += [*self._arrivals.oddities, *found][:MAX_VIOLATIONS]

    def _look_at_box(self, box: Address, reading: Reading) -> None:
        """What has come since the last round."""
        bal = reading.bal(box)
        assert bal is not None
        inbox = reading.mailbox(bal.id, "INBOX")
        assert inbox is not None
        name = str(box)
        for each in reading.messages(inbox.id):
            if each.uid <= self._read.get(name, 0):
                continue
            octets = reading.body(inbox.id, each.uid)
            if b"report-type=delivery-status" in octets.partition(b"\r\n\r\n")[0]:
                self._arrivals.report(octets, name)
            else:
                self._arrivals.letter(octets, [name], name)
            self._read[name] = each.uid

    def _tell(self) -> None:
        outcome = self.outcome
        outcome.letters = Counter(each.outcome for each in self._journal.all())
        outcome.copies, outcome.reports = self._arrivals.copies, self._arrivals.reports
        self._say(
            f"round {outcome.rounds}: {dict(outcome.letters)}, {outcome.copies} copies, "
            f"{outcome.reports} reports, {outcome.kills} kills, {outcome.crashes} crashes, "
            f"{outcome.lists} lists, {outcome.moods} moods, "
            f"{len(outcome.violations)} violations"
        )


def _evidence(store: Store, envelope: str) -> Evidence:
    if not envelope:
        return Evidence()
    name = EnvelopeId(envelope)
    events, hops = store.read(lambda r: (r.events(name), r.transfers(name))).result()
    in_doubt = sum(hop.transfer.verdict == "in doubt" for hop in hops)
    return Evidence(tuple(event.kind for event in events), in_doubt)


def _stuck(store: Store) -> str:
    entries = store.read(lambda r: r.queue()).result()
    return "; ".join(
        f"{one.envelope} to {one.recipient.address}: {one.attempts} attempts, {one.last_reply}"
        for one in entries[:5]
    )
