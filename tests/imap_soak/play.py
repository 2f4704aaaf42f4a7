"""What a client of the soak does next, drawn at random, and what must hold after it."""

from __future__ import annotations

import random
import re
import time
from collections import Counter

from tests.imap_soak.session import Gone, Session
from tests.imap_soak.truth import UNORDERED

SHARED, OTHER, PASSING, RENAMED = "Commun", "Autre", "Passager", "Voyageur"
FLAGS = ("\\Seen", "\\Flagged", "\\Answered", "\\Deleted", "$Urgent")
ROOMY = 40


class Player:
    """One session and its habits."""

    def __init__(self, session: Session, chance: random.Random, acts: Counter[str]) -> None:
        self.session, self.chance, self.acts = session, chance, acts
        self._letters = 0

    async def play(self, until: float) -> None:
        """Act until then; a mailbox that goes away under it is left, and another selected."""
        while time.monotonic() < until:
            try:
                if not self.session.selected:
                    await self._select()
                    continue
                act = self.chance.choices(list(_ACTS), list(_ACTS.values()))[0]
                self.acts[act] += 1
                await getattr(self, f"_{act}")()
            except Gone as gone:
                await self.reconnect(gone)

    async def reconnect(self, gone: Gone) -> None:
        """BYE is right when somebody deletes mailboxes, and only then."""
        if not self.session.truth.deletions:
            raise self.session.violation(f"nobody deletes mailboxes: {gone}")
        self.acts["bye"] += 1
        self.session.close()
        await self.session.connect()

    async def settle(self) -> None:
        """Hear all there is, before it is compared."""
        try:
            if not self.session.selected:
                await self._select()
            if self.session.selected:
                await self.session.ok("NOOP")
                await self.session.learn()
        except Gone as gone:
            await self.reconnect(gone)
            await self.settle()

    # ------------------------------------------------------------ acts

    async def _select(self) -> None:
        name = self.chance.choices([SHARED, OTHER, PASSING, RENAMED], [10, 2, 2, 1])[0]
        await self.session.select(name)

    async def _noop(self) -> None:
        await self.session.ok(self.chance.choice(["NOOP", "CHECK"]))

    async def _learn(self) -> None:
        await self.session.learn()

    async def _idle(self) -> None:
        split = self.chance.random() < 0.5
        await self.session.idle(self.chance.random() * 0.2, split=split)

    async def _append(self) -> None:
        if len(self.session.view.uids) > ROOMY:
            await self._expunge()
            return
        self._letters += 1
        letter = f"Subject: {self.session.name}-{self._letters}\r\n\r\nBonjour\r\n".encode()
        flags = self._flags()
        mailbox = self.chance.choice([SHARED, SHARED, OTHER, self.session.selected])
        tagged = await self.session.command(f"APPEND {mailbox} ({' '.join(flags)})", letter)
        if found := re.search(r"\[APPENDUID (\d+) (\d+)\]", tagged):
            message = int(found[1]), int(found[2])
            self.session.truth.appended.add(message)
            self.session.truth.flags[message][0] = flags

    async def _fetch(self) -> None:
        numbers, by_uid = self._numbers()
        if numbers:
            items = self.chance.choice(["(FLAGS)", "(UID FLAGS)", "(UID)", "FAST"])
            await self._command(f"FETCH {numbers} {items}", by_uid=by_uid)

    async def _read(self) -> None:
        """It marks them as seen; where no modseq is told, nobody may ever learn at which one."""
        numbers, by_uid = self._numbers()
        if numbers:
            self._leaves_holes()
            await self._command(
                f"FETCH {numbers} (UID BODY[HEADER.FIELDS (Subject)])", by_uid=by_uid
            )
            self._leaves_holes()  # those it has learned the UIDs of

    def _leaves_holes(self) -> None:
        session = self.session
        if not session.knows_modseqs:
            known = [uid for uid in session.view.uids if uid is not None]
            session.truth.holey.update((session.view.validity, uid) for uid in known)

    async def _store(self) -> None:
        numbers, by_uid = self._numbers()
        if not numbers:
            return
        if not self.session.knows_modseqs:
            sign = self.chance.choice("+-")
            await self._command(f"STORE {numbers} {sign}FLAGS ({UNORDERED})", by_uid=by_uid)
            return
        sign = self.chance.choice(["+", "-", ""])
        silent = ".SILENT" if self.chance.random() < 0.15 else ""
        if silent:
            known = [uid for uid in self.session.view.uids if uid is not None]
            self.session.truth.holey.update((self.session.view.validity, uid) for uid in known)
        flags = " ".join(self._flags())
        await self._command(f"STORE {numbers} {sign}FLAGS{silent} ({flags})", by_uid=by_uid)
        if silent:  # what it did not say
            await self.session.learn()
            await self.session.ok("UID FETCH 1:* (FLAGS MODSEQ)")

    async def _store_if(self) -> None:
        """RFC 7162 3.1.3, of one message, by the modseq that was told last."""
        session = self.session
        known = [uid for uid in session.view.uids if uid in session.view.modseqs]
        if not known or not session.knows_modseqs:
            return
        uid = self.chance.choice([uid for uid in known if uid is not None])
        message, since = (session.view.validity, uid), session.view.modseqs[uid]
        flags = " ".join(self._flags())
        tagged = await session.command(f"UID STORE {uid} (UNCHANGEDSINCE {since}) FLAGS ({flags})")
        if "[MODIFIED" in tagged:
            session.truth.refused.append((message, since))
        elif (now := session.first.get(uid, 0)) > since:
            session.truth.stored.append((message, since, now))

    async def _search(self) -> None:
        session = self.session
        key = self.chance.choice(["ALL", "UNDELETED", "SEEN", "NOT FLAGGED"])
        if self.chance.random() < 0.5 and not session.uids_only:
            session.found = []
            await session.command(f"SEARCH {key}", numbers=True)
            if max(session.found, default=0) > len(session.view.uids):
                raise session.violation("no such number")
        else:
            before = set(session.view.uids)
            session.found = []
            await session.command(f"UID SEARCH {key}")
            if session.is_notified:  # what came before the answer was announced, and may be gone
                before |= set(session.view.uids) | session.first.keys()
            if None not in before and not set(session.found) <= before:
                raise session.violation("UIDs that were never announced")

    async def _expunge(self) -> None:
        _, uid = await self._one()
        named = uid and self.chance.random() < 0.4
        await self.session.command(f"UID EXPUNGE {uid}:*" if named else "EXPUNGE")

    async def _move(self) -> None:
        numbers, by_uid = self._numbers(most=3)
        if numbers:
            verb = self.chance.choice(["MOVE", "COPY", "COPY"])
            target = self.chance.choice([SHARED, OTHER])
            await self._command(f"{verb} {numbers} {target}", by_uid=by_uid, numbers=False)

    async def _leave(self) -> None:
        if self.chance.random() < 0.3:
            await self.session.command(self.chance.choice(["CLOSE", "UNSELECT"]))
            self.session.selected = ""
        elif self.chance.random() < 0.4:
            self.session.close()
            await self.session.connect()
        await self._select()

    async def _resync(self) -> None:
        view = self.session.view
        if "QRESYNC" in self.session.dialect and view.highest:
            await self.session.ok(f"UID FETCH 1:* (FLAGS) (CHANGEDSINCE {view.highest} VANISHED)")
        elif self.session.knows_modseqs:
            await self.session.ok(f"UID FETCH 1:* (FLAGS) (CHANGEDSINCE {view.highest})")

    async def _mailbox(self) -> None:
        """Mailboxes come, go and change their names while others have them selected."""
        match self.chance.randrange(4):
            case 0:
                name = self.chance.choice([PASSING, RENAMED])
                if self.session.is_notified and self.session.selected in (PASSING, RENAMED):
                    return  # somebody may have given it the other name
                self.session.truth.deletions += 1
                await self.session.command(f"DELETE {name}")
                if not self.session.is_notified:
                    self.session.selected = ""  # it may have been one's own
            case 1:
                await self.session.command(f"CREATE {PASSING}")
            case 2:
                await self.session.command(f"RENAME {PASSING} {RENAMED}")
            case _:
                await self.session.command(f"RENAME {RENAMED} {PASSING}")

    # ------------------------------------------------------------ draws

    def _flags(self) -> frozenset[str]:
        return frozenset(self.chance.sample(FLAGS, self.chance.randint(1, 2)))

    async def _one(self) -> tuple[int, int]:
        uids = self.session.view.uids
        if not uids:
            return 0, 0
        at = self.chance.randrange(len(uids))
        return at + 1, uids[at] or 0

    def _numbers(self, most: int = 100) -> tuple[str, bool]:
        """A set of numbers or UIDs; "" when there is none."""
        uids = self.session.view.uids
        if not uids:
            return "", False
        first = self.chance.randrange(len(uids))
        last = min(first + self.chance.randrange(most), len(uids) - 1)
        if self.chance.random() < 0.5 and not self.session.uids_only:
            return f"{first + 1}:{last + 1}", False
        if uids[first] is None or uids[last] is None:
            return "", True
        return f"{uids[first]}:{uids[last]}", True

    async def _command(self, text: str, *, by_uid: bool, numbers: bool = True) -> None:
        """NO is right for numbers of messages that are gone, and for a mailbox that is."""
        await self.session.command(
            f"UID {text}" if by_uid else text, numbers=numbers and not by_uid
        )


_ACTS = {
    "noop": 6,
    "learn": 4,
    "idle": 4,
    "append": 9,
    "fetch": 8,
    "read": 3,
    "store": 9,
    "store_if": 5,
    "search": 4,
    "expunge": 5,
    "move": 5,
    "leave": 3,
    "resync": 3,
    "mailbox": 1,
}
