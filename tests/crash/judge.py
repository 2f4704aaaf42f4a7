"""Is a store that was cut off what was promised? One verdict per state (D1, D2, D5, D6).

The database must be, row for row, what it was after an acknowledged step, or after a step that had
begun; every file of a large content must be there, octet for octet, and no other file; every
invariant of Store.check must hold; and the store must go on: a letter and a mailbox more get
numbers nobody had.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from enum import IntEnum
from pathlib import Path

from mssmtp.mail import Address, MailboxId, Uid
from mssmtp.outside import SystemEntropy
from mssmtp.storage import Reading, Store, Writing
from tests.crash.ledger import Ledger, Photograph, photograph
from tests.crash.session import Progress
from tests.crash.workload import PEOPLE, STARTED, LabClock, settings

_LATER = timedelta(days=2)
_PROBE = b"Return-Path: <>\r\nMessage-ID: <apres@cabinet-b.test>\r\nSubject: apres\r\n\r\napres\r\n"


@dataclass
class Verdict:
    """What was found in one state, or in many."""

    states: int = 0
    acknowledged: int = 0
    lost: int = 0
    doubled: int = 0
    reused: int = 0
    deep: int = 0
    problems: list[str] = field(default_factory=list)

    def add(self, other: Verdict) -> None:
        """Take another verdict in."""
        for name in ("states", "acknowledged", "lost", "doubled", "reused", "deep"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.problems += other.problems


class Look(IntEnum):
    """How closely a state is looked at."""

    ROWS = 0
    """Every row, every octet of every file. Equal to a state on which Store.check passed."""
    CHECK = 1
    """And Store.check again."""
    DEEP = 2
    """And Store.check opens everything sealed, and every letter is read and compared with what was
    sent."""


def judge(
    home: Path, told: Progress, answered: int, begun: int, look: Look, later: timedelta = _LATER
) -> Verdict:
    """Open the store of `home` as after a power cut and compare it with what was `told`."""
    ledger = told.ledgers[answered]
    verdict = Verdict(states=1, acknowledged=ledger.promises, deep=int(look is Look.DEEP))
    clock = LabClock()
    clock.time = STARTED + later
    try:
        store = Store(settings(home), clock, SystemEntropy(), worker="judge")
    except Exception as error:  # whatever it is: what was promised cannot be read
        verdict.lost += ledger.promises
        verdict.problems.append(f"the store does not open: {error}")
        return verdict
    try:
        allowed = [taken for taken in told.photographs[answered : begun + 1] if taken is not None]
        found = photograph(home)
        _compare(found, allowed, verdict)
        _account(found, told, answered, verdict)
        _strays(home, found, verdict)
        if look is not Look.ROWS or verdict.problems:
            verdict.problems += store.check(deep=look is Look.DEEP).problems
        if look is Look.DEEP:
            _read(store, found, told, verdict)
        _go_on(store, found, told.ledgers[answered], verdict)
    except Exception as error:  # likewise
        verdict.problems.append(f"the store does not go on: {error!r}")
    finally:
        store.close()
    return verdict


def _compare(found: Photograph, allowed: list[Photograph], verdict: Verdict) -> None:
    if found not in allowed:
        differing = min((found.differs(one) for one in allowed), key=len)
        verdict.problems.append(f"neither before nor after the step: {', '.join(differing)}")


def _account(found: Photograph, told: Progress, answered: int, verdict: Verdict) -> None:
    """Message by message against the answers: lost, doubled, UID given to another."""
    promised, ledger = told.photographs[answered], told.ledgers[answered]
    following = told.ledgers[min(answered + 1, len(told.ledgers) - 1)]
    assert promised is not None
    after = told.photographs[min(answered + 1, len(told.photographs) - 1)]
    coming = {} if after is None else after.places
    leaving = ledger.messages.keys() - following.messages.keys()
    for place, content in promised.places.items():
        there = found.places.get(place)
        if there is None and place not in leaving:
            verdict.lost += 1
            verdict.problems.append(f"lost: mailbox {place[0]} UID {place[1]}")
        elif there is not None and there not in (content, coming.get(place)):
            verdict.reused += 1
            verdict.problems.append(f"another message: mailbox {place[0]} UID {place[1]}")
    gone = (promised.queued - found.queued) & following.queued
    verdict.lost += len(gone)
    verdict.problems += [f"lost from the queue: {row}" for row in sorted(gone)]
    most = Counter(promised.places.values())
    most |= Counter(coming.values())
    doubled = Counter(found.places.values()) - most
    known = [id for id in doubled if id in most]
    verdict.doubled += len(known)
    verdict.problems += [f"doubled: content {id}" for id in known]


def _strays(home: Path, found: Photograph, verdict: Verdict) -> None:
    """Nothing remains of what was not acknowledged (D2)."""
    for directory in os.listdir(home / "incoming"):
        names = set(os.listdir(f"{home}/incoming/{directory}")) - {"lock"}
        verdict.problems += [f"not swept: incoming/{directory}/{name}" for name in names]
    there = {
        name for shard in os.listdir(home / "blobs") for name in os.listdir(f"{home}/blobs/{shard}")
    }
    strays = there - found.files.keys() - found.doomed
    verdict.problems += [f"stray file: {name}" for name in sorted(strays)]
    missing = found.files.keys() - there
    verdict.problems += [f"missing file: {name}" for name in sorted(missing)]


def _read(store: Store, found: Photograph, told: Progress, verdict: Verdict) -> None:
    """Every letter, through the store's own door, is what was sent."""
    sent = {**told.ledgers[-1].sent}

    def bodies(reading: Reading) -> None:
        for mailbox, uid in found.places:
            octets = reading.body(MailboxId(mailbox), Uid(uid))
            if hashlib.sha256(octets).hexdigest() != sent[mailbox, uid]:
                verdict.problems.append(f"another content: mailbox {mailbox} UID {uid}")

    store.read(bodies, patient=True).result()


def _go_on(store: Store, found: Photograph, ledger: Ledger, verdict: Verdict) -> None:
    """New mail gets a UID, a new mailbox a UIDVALIDITY, that nothing ever had (D5)."""
    bals = [store.read(lambda r, a=a: r.bal(Address.parse(a))).result() for a in PEOPLE]  # type: ignore[misc]
    letters = [store.seal(_PROBE) for bal in bals if bal is not None]

    def job(writing: Writing) -> None:
        for bal, letter in zip([bal for bal in bals if bal is not None], letters, strict=True):
            boxes = writing.mailboxes(bal.id)
            inbox = next(box for box in boxes if box.name == "INBOX")
            uid = writing.append(inbox.id, letter, frozenset(), STARTED)
            if (inbox.id, uid) in ledger.sent or (inbox.id, uid) in found.places:
                verdict.reused += 1
                verdict.problems.append(f"reused: mailbox {inbox.id} UID {uid}")
            made = writing.create_mailbox(bal.id, "Après la coupure")
            if made.uid_validity <= max(box.uid_validity for box in boxes):
                verdict.problems.append(f"UIDVALIDITY {made.uid_validity} goes back")

    store.write(job).result()
