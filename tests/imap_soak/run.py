"""A whole soak: eight clients on two workers of a real server, compared with the store in between.

Between two epochs nobody acts: what each client believes is then exactly what the store holds.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from mssmtp.storage import Letter, Reading, Store, Writing
from tests.app.server import Site, serving
from tests.home import PASSWORD, ZOE
from tests.imap_soak.listener import Counters, Listener
from tests.imap_soak.play import OTHER, PASSING, SHARED, Player
from tests.imap_soak.session import Session
from tests.imap_soak.truth import Truth, Violation

DIALECTS: tuple[tuple[str, ...], ...] = (
    (),
    (),
    ("CONDSTORE",),
    ("QRESYNC",),
    ("QRESYNC",),
    ("CONDSTORE", "IMAP4rev2"),
    ("QRESYNC", "IMAP4rev2", "UIDONLY"),
    ("CONDSTORE", "UIDONLY"),
)
EPOCH_S = 3.0
SMALL_COMMITS = """
from mssmtp.cli import main
from mssmtp.imap import fetch
from mssmtp.imap.commands import copy, delete, expunge, rename, store
copy.BATCH = rename.BATCH = 1
expunge.BATCH = delete.BATCH = 2
store.BATCH = 3
fetch.BODIES, fetch.ROWS, fetch.GROUP = 2, 4, 5
main()
"""
"""A server whose commands are several commits for the few letters of a soak, as they are for the
hundreds of a real mailbox: the others act between them."""
Rows = dict[int, tuple[frozenset[str], int]]


@dataclass
class Outcome:
    """What was done, and what was wrong ("" when nothing was)."""

    violation: str = ""
    epochs: int = 0
    acts: Counter[str] = field(default_factory=Counter)
    compared: int = 0


async def soak(
    site: Site,
    seconds: float,
    seed: str,
    say: Callable[[str], None] = lambda _: None,
    *,
    code: str = "",
) -> Outcome:
    """Play for so long; the first violation ends it. `code` serves in place of the module."""
    outcome = Outcome()
    truth = Truth()
    chance = random.Random(seed)  # noqa: S311 - the same seed draws the same acts
    with serving(site, code=code), site.home.store() as store:
        sessions = [
            Session(chr(97 + at) * 2, each, truth, site.context(), site.ports["imaps"], _LOGIN)
            for at, each in enumerate(DIALECTS)
        ]
        sessions[-1].is_notified = True
        listener = Listener(site.context(), site.ports["imaps"], _LOGIN)
        players = [
            Player(each, random.Random(chance.random()), outcome.acts)  # noqa: S311
            for each in sessions
        ]
        try:
            await _set_out(sessions)
            await listener.connect()
            ends = time.monotonic() + seconds
            while time.monotonic() < ends:
                await _epoch(players, store, truth, outcome)
                outcome.compared += await listener.agrees(lambda: store.read(_counters).result())
                say(f"{outcome.epochs} epochs, {sum(outcome.acts.values())} acts")
        except* Violation as violations:
            outcome.violation = "\n\n".join(map(str, violations.exceptions))
        finally:
            listener.close()
            for session in sessions:
                with suppress(AttributeError):
                    session.close()
        problems = store.check().problems
        if problems and not outcome.violation:
            outcome.violation = f"the store: {problems}"
    return outcome


_LOGIN = str(ZOE), PASSWORD


async def _set_out(sessions: list[Session]) -> None:
    for session in sessions:
        await session.connect()
    for name in (SHARED, OTHER, PASSING):
        await sessions[0].command(f"CREATE {name}")


async def _epoch(players: list[Player], store: Store, truth: Truth, outcome: Outcome) -> None:
    until = time.monotonic() + EPOCH_S
    delivering = asyncio.create_task(_deliver(store, outcome, until))
    async with asyncio.TaskGroup() as group:
        for player in players:
            group.create_task(player.play(until))
    await delivering
    for player in players:
        await player.settle()
    boxes = store.read(_boxes).result()
    for player in players:
        outcome.compared += _compare(player.session, boxes)
    truth.judge()
    for player in players:
        for message, seen in player.session.seen.items():
            try:
                truth.in_order(message, seen)
            except Violation as error:
                raise player.session.violation(str(error)) from error
            del seen[:-1]
    truth.forget()
    outcome.epochs += 1


async def _deliver(store: Store, outcome: Outcome, until: float) -> None:
    """Mail comes by another process, as from the operators' door."""
    while time.monotonic() < until:
        await asyncio.sleep(0.25)
        outcome.acts["delivery"] += 1
        subject = f"livraison-{outcome.acts['delivery']}".encode()
        letter = store.seal(b"Subject: %b\r\n\r\nBonjour\r\n" % subject)

        await asyncio.wrap_future(store.write(_delivering(letter)))


def _delivering(letter: Letter) -> Callable[[Writing], None]:
    def job(writing: Writing) -> None:
        bal = writing.bal(ZOE)
        mailbox = writing.mailbox(bal.id, SHARED) if bal else None
        if mailbox is not None and mailbox.messages < 60:
            writing.append(mailbox.id, letter, frozenset(), datetime.now(UTC))

    return job


def _boxes(reading: Reading) -> dict[int, Rows]:
    bal = reading.bal(ZOE)
    assert bal is not None
    return {
        mailbox.uid_validity: {
            int(row.uid): (row.flags, int(row.modseq)) for row in reading.messages(mailbox.id)
        }
        for mailbox in reading.mailboxes(bal.id)
    }


def _counters(reading: Reading) -> dict[str, Counters]:
    bal = reading.bal(ZOE)
    assert bal is not None
    return {
        each.name: (each.messages, each.uid_next, each.uid_validity, each.highest_modseq)
        for each in reading.mailboxes(bal.id)
    }


def _compare(session: Session, boxes: dict[int, Rows]) -> int:
    """Whether a client that has heard everything believes what is."""
    if not session.selected:
        return 0
    rows = boxes.get(session.view.validity)
    if rows is None:
        raise session.violation("its mailbox is not there any more")
    if session.view.uids != sorted(rows):
        raise session.violation(f"it counts {session.view.uids}, there are {sorted(rows)}")
    for uid, (flags, modseq) in rows.items():
        if session.view.flags.get(uid) != flags:
            told = session.view.flags.get(uid)
            raise session.violation(f"UID {uid} has {sorted(flags)}, it was told {told}")
        told_modseq = session.view.modseqs.get(uid, modseq)
        if told_modseq != modseq:
            raise session.violation(f"UID {uid} has modseq {modseq}, it was told {told_modseq}")
    return len(rows)
