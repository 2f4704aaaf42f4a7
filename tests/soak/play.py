"""What a thread of the soak does next, drawn at random."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from mssmtp.errors import MailError
from mssmtp.mail import (
    Address,
    BalId,
    Domain,
    Envelope,
    EnvelopeId,
    MailboxId,
    ModSeq,
    Recipient,
    Uid,
)
from mssmtp.message.readable import Needle
from mssmtp.storage import Letter, LocalDelivery, NoSuchMessage, Outcome, Reading, Store, Writing
from mssmtp.storage.model import FlagsOperation, OutcomeResult, from_us, to_us
from mssmtp.storage.textsealing import TextKind
from tests.soak.hand import Hand, Undone, entries, names, short
from tests.soak.journal import Journal
from tests.storage.support import TRANSFER

FLAGS = ("\\Seen", "\\Deleted", "\\Flagged", "\\Answered", "$Lu", "$LU", "$Urgent", "Suivi")
OPERATIONS: tuple[FlagsOperation, ...] = ("+", "+", "-", "=")
RESULTS: tuple[OutcomeResult, ...] = ("delivered", "delivered", "failed", "retry", "expired")
COMMON = ("Commun", "Commun/Bas", "Projet", "Projet/2026")
ROOMY = 60
ARCHIVE_ROOMY = 700
LEASE = timedelta(seconds=2)
SENDER = Address.parse("marius@cabinet-b.test")
CABINET = Domain("cabinet-b.test")

_ASKED_AGAIN = 20
"""Times, of a store that said that it cannot just now."""


class Player(Hand):
    """A hand with a memory of what it last saw, and habits."""

    def __init__(
        self,
        store: Store,
        journal: Journal,
        chance: random.Random,
        who: str,
        bals: list[int],
        focus: Sequence[str] = (),
    ) -> None:
        """With `focus`, only the acts of these names."""
        super().__init__(store, journal, chance)
        self.who = who
        self.bals = bals
        self.names: dict[int, dict[str, int]] = {}
        self.uids: dict[int, list[int]] = {}
        self.highest: dict[int, int] = {}
        self.told: list[tuple[int, int]] = []
        self.mark = "0" * 12
        self._made = 0
        self._acts: list[Callable[[], None]] = []
        for times, act in (
            (14, self.deliver), (6, self.append), (10, self.store_flags), (5, self.expunge),
            (5, self.copy), (5, self.move), (3, self.create), (2, self.delete), (2, self.rename),
            (3, self.claim), (3, self.undone), (20, self.look), (6, self.look_told),
            (4, self.list_names), (5, self.lease), (3, self.drop_or_now), (5, self.waiting),
            (4, self.burst), (2, self.unfinished), (1, self.prune), (1, self.check),
            (1, self.rotate),
        ):  # fmt: skip
            if not focus or act.__name__ in focus:
                self._acts += [act] * times

    def play(self, until: float) -> None:
        """Act until the clock of the machine says `until`."""
        for bal in self.bals:
            self._list(bal)
        while time.monotonic() < until:
            self.chance.choice(self._acts)()

    def fill(self, bal: int, name: str, count: int) -> None:
        """Many letters in one mailbox."""
        self._list(bal)
        box = self.names[bal][name]
        for asked in [self._append(box) for _ in range(count)]:
            self.answer(asked)

    def look_at_everything(self, envelopes: Sequence[str]) -> None:
        """All names, all mailboxes, and these envelopes."""
        for bal in self.bals:
            self._list(bal)
            boxes = list(self.names[bal].values())
            self._look(boxes, {"boxes": boxes}, [f"recent:{box}" for box in boxes])
        for envelope in envelopes:
            self._waiting(envelope)

    # ------------------------------------------------------------ choosing

    def _list(self, bal: int) -> None:
        for _ in range(_ASKED_AGAIN):
            found = self.read("list", {"bal": bal}, lambda r: names(r, bal), [f"bal:{bal}"])
            if found is not None:
                self.names[bal] = found
                return

    def _name(self) -> tuple[int, str]:
        bal = self.chance.choice(self.bals)
        return bal, self.chance.choice(list(self.names[bal]))

    def _box(self) -> int:
        bal, name = self._name()
        return self.names[bal][name]

    def _some_uids(self, box: int) -> list[int]:
        known = self.uids.get(box, [])
        if not known or self.chance.random() < 0.05:
            return [self.chance.randrange(1, 50)]
        if self.chance.random() < 0.2:
            return known[-3:]
        return sorted(self.chance.sample(known, min(len(known), self.chance.randrange(1, 8))))

    def _flags(self) -> list[str]:
        return self.chance.sample(FLAGS, self.chance.randrange(0, 4))

    def _letter(self) -> tuple[Letter, dict[str, Any]]:
        self._made += 1
        draw = self.chance.random()
        octets = 60_000 if draw > 0.97 else 3_000 if draw > 0.8 else 200
        body = self.chance.randbytes(octets).hex()
        self.mark = body[:12]
        lines = "\r\n".join(body[at : at + 76] for at in range(0, len(body), 76))
        text = (
            f"Message-ID: <{self.who}-{self._made}@cabinet-b.test>\r\nFrom: marius@cabinet-b.test"
            f"\r\nSubject: lettre {self.who} {self._made}\r\n\r\n{lines}\r\n"
        )
        sealed, content = self.letter(text.encode())
        return sealed, content | {"subject": f"lettre {self.who} {self._made}", "mark": body[:12]}

    def _made_boxes(self, result: dict[str, int]) -> list[str]:
        return [f"box:{id}" for id in result.values()]

    # ------------------------------------------------------------ writing

    def deliver(self) -> None:
        """To one or several BALs, sometimes to elsewhere too."""
        self.answer(self._deliver())

    def _deliver(self) -> Any:
        letter, content = self._letter()
        local = []
        for bal in self.chance.sample(self.bals, self.chance.choice((0, 1, 1, 1, 2, 3))):
            name = self.chance.choice([*self.names[bal], "INBOX", "Perdu"])
            local.append((bal, name, self._flags() if self.chance.random() < 0.3 else []))
        waiting = self.chance.choice((0, 0, 1, 3)) if local else self.chance.randrange(1, 4)
        queued = [f"a{n}@ailleurs-{self.chance.randrange(3)}.test" for n in range(waiting)]
        now = datetime.now(UTC)
        to = tuple(Recipient(Address.parse(address)) for address in queued)
        copies = [
            LocalDelivery(
                BalId(bal), Recipient(Address.parse(f"b{bal}@hopital-a.test")), name, frozenset(f)
            )
            for bal, name, f in local
        ]
        id = self.store.new_envelope_id()
        everybody = (*(copy.recipient for copy in copies), *to)
        envelope = Envelope(id, SENDER, everybody, now)

        def body(w: Writing) -> Any:
            done = w.accept(
                envelope,
                letter,
                local=copies,
                queued=to,
                skip=0,
                owner=CABINET,
                transfer=TRANSFER,
                facts=b"{}",
            )
            return {
                "stored": {bal: [one.mailbox, one.uid] for bal, one in done.stored.items()},
                "events": len(done.events),
            }

        def touched(w: Writing) -> list[str]:
            found = [f"bal:{bal}" for bal, _, _ in local]
            for bal, name, _ in local:
                there = names(w, bal)
                found.append(f"box:{there.get(name, there['INBOX'])}")
            return found

        arguments = {
            "envelope": id,
            "content": content,
            "local": local,
            "queued": queued,
            "date": to_us(now),
        }
        return self.ask(
            "accept", arguments, body, touched, lambda _: [f"env:{id}"] if queued else []
        )

    def append(self) -> None:
        """A letter without envelope."""
        self.answer(self._append(self._box()))

    def _append(self, box: int) -> Any:
        letter, content = self._letter()
        flags, now = self._flags(), datetime.now(UTC)
        arguments = {"box": box, "content": content, "flags": flags, "date": to_us(now)}
        return self.ask(
            "append",
            arguments,
            lambda w: w.append(MailboxId(box), letter, frozenset(flags), now),
            [f"box:{box}"],
        )

    def store_flags(self) -> None:
        """+FLAGS, -FLAGS or FLAGS."""
        box = self._box()
        self.answer(self._store(box, self._some_uids(box), self._flags()))

    def _store(self, box: int, uids: list[int], flags: list[str]) -> Any:
        how: FlagsOperation = self.chance.choice(OPERATIONS)
        arguments = {"box": box, "uids": uids, "how": how, "flags": flags}
        named = [Uid(uid) for uid in uids]
        return self.ask(
            "store",
            arguments,
            lambda w: rows(w.store_flags(MailboxId(box), named, how, frozenset(flags))),
            [f"box:{box}"],
        )

    def expunge(self) -> None:
        """By name or all; a mailbox that became too large is emptied down first."""
        box = self._box()
        known = self.uids.get(box, [])
        roomy = ARCHIVE_ROOMY if len(known) > 2 * ROOMY else ROOMY
        if len(known) > roomy:
            doomed = known[: len(known) // 2] if roomy == ROOMY else self.chance.sample(known, 60)
            self.answer(self._store(box, sorted(doomed), ["\\Deleted"]))
        uids = None if self.chance.random() < 0.6 else self._some_uids(box)
        named = None if uids is None else [Uid(uid) for uid in uids]
        self.write(
            "expunge",
            {"box": box, "uids": uids},
            lambda w: w.expunge(MailboxId(box), named),
            [f"box:{box}"],
        )

    def copy(self) -> None:
        """Between any two mailboxes, also of two BALs."""
        self._copy_or_move("copy")

    def move(self) -> None:
        """The same, as one with the expunge."""
        self._copy_or_move("move")

    def _copy_or_move(self, act: str) -> None:
        box, target = self._box(), self._box()
        uids = self._some_uids(box)
        named = [Uid(uid) for uid in uids]

        def body(w: Writing) -> Any:
            return (w.move if act == "move" else w.copy)(MailboxId(box), named, MailboxId(target))

        resources = dict.fromkeys((f"box:{box}", f"box:{target}"))
        self.write(act, {"box": box, "uids": uids, "target": target}, body, resources)

    def undone(self) -> None:
        """A job that writes everywhere and then fails: nothing of it may stay."""
        box, target = self._box(), self._box()
        letter, _ = self._letter()

        def body(w: Writing) -> None:
            now = datetime.now(UTC)
            w.append(MailboxId(box), letter, frozenset({"$Jamais"}), now)
            w.move(MailboxId(box), w.uids(MailboxId(box))[-3:], MailboxId(target))
            w.create_mailbox(BalId(self.bals[0]), f"Jamais {self.who}")
            raise Undone

        try:
            resources = dict.fromkeys((f"box:{box}", f"box:{target}"))
            self.write("undone", {}, _undoing(body), resources)
        finally:
            if self.chance.random() < 0.5:
                Store.discard(letter)

    def claim(self) -> None:
        """`\\Recent` for one session only."""
        box = self._box()
        self.write(
            "claim",
            {"box": box},
            lambda w: w.claim_recent(MailboxId(box)),
            [f"box:{box}", f"recent:{box}"],
        )

    def burst(self) -> None:
        """Several jobs at once, so that commits have company."""
        box = self._box()
        asked = []
        for _ in range(self.chance.randrange(2, 9)):
            draw = self.chance.randrange(3)
            if draw == 0:
                asked.append(self._append(box))
            elif draw == 1:
                asked.append(self._store(box, self._some_uids(box), self._flags()))
            else:
                asked.append(self._deliver())
        for one in asked:
            self.answer(one)

    # ------------------------------------------------------------ mailboxes

    def _change_names(self, act: str, arguments: dict[str, Any], body: Any, more: Any) -> None:
        bal = arguments["bal"]

        def touched(w: Writing) -> list[str]:
            there = names(w, bal)
            return [f"bal:{bal}", *(f"box:{there[name]}" for name in more(there))]

        def made(result: Any) -> list[str]:
            return self._made_boxes(result) if isinstance(result, dict) else []

        self.write(act, arguments, body, touched, made)
        self._list(bal)

    def create(self) -> None:
        """A mailbox of its own, or one that others want too."""
        bal = self.chance.choice(self.bals)
        self._made += 1
        own = f"{self.who}/{self._made}"
        name = own if self.chance.random() < 0.4 else self.chance.choice(COMMON)
        if len(self.names[bal]) > 14:
            self.delete()
            return

        def body(w: Writing) -> dict[str, int]:
            return _making(w, bal, lambda: w.create_mailbox(BalId(bal), name))

        self._change_names("create", {"bal": bal, "name": name}, body, lambda there: ())

    def delete(self) -> None:
        """A mailbox with everything in it."""
        bal = self.chance.choice(self.bals)
        mortal = [n for n in self.names[bal] if n.startswith(("Commun", "Projet", "p", "Boîte"))]
        name = self.chance.choice([*mortal, *COMMON])
        self._change_names(
            "delete",
            {"bal": bal, "name": name},
            lambda w: w.delete_mailbox(BalId(bal), name),
            lambda there: [name] if name in there else [],
        )

    def rename(self) -> None:
        """A mailbox and its children, to a name never used before; sometimes INBOX."""
        bal = self.chance.choice(self.bals)
        mortal = [n for n in self.names[bal] if n.startswith(("Commun", "Projet", "p", "Boîte"))]
        old = self.chance.choice([*mortal, "INBOX", COMMON[0]])
        self._made += 1
        new = f"Boîte {self.who} {self._made}"

        def body(w: Writing) -> dict[str, int]:
            return _making(w, bal, lambda: w.rename_mailbox(BalId(bal), old, new))

        self._change_names(
            "rename",
            {"bal": bal, "old": old, "new": new},
            body,
            lambda there: [n for n in there if n == old or n.startswith(old + "/")],
        )

    # ------------------------------------------------------------ looking

    def list_names(self) -> None:
        """All names of a BAL."""
        self._list(self.chance.choice(self.bals))

    def look(self) -> None:
        """At one or two mailboxes in one snapshot."""
        boxes = list(dict.fromkeys(self._box() for _ in range(self.chance.choice((1, 1, 2)))))
        self._look(boxes, {"boxes": boxes})

    def look_told(self) -> None:
        """At what a change told of; what it told of must be there."""
        if self.told:
            box, modseq = self.told[-1]
            self._look([box], {"boxes": [box], "least": modseq})

    def _look(self, boxes: list[int], arguments: dict[str, Any], more: Sequence[str] = ()) -> None:
        seed = self.chance.getrandbits(64)

        def query(r: Reading) -> dict[int, Any]:
            chance = random.Random(seed)  # noqa: S311
            return {box: self._seen(r, MailboxId(box), chance) for box in boxes}

        self.read("look", arguments, query, [*(f"box:{box}" for box in boxes), *more])

    def _seen(self, r: Reading, box: MailboxId, chance: random.Random) -> dict[str, Any] | None:
        mailbox = r.mailbox_by_id(box)
        if mailbox is None:
            self.uids.pop(box, None)
            return None
        counters = [mailbox.uid_next, mailbox.highest_modseq, mailbox.messages, mailbox.unseen]
        seen: dict[str, Any] = {"counters": [*counters, mailbox.size_octets]}
        uids = r.uids(box)
        seen["uids"] = self.uids[box] = list(map(int, uids))
        draw = chance.random()
        if draw < 0.5:
            picked = chance.sample(uids, min(len(uids), 3))
            seen["bodies"] = [(uid, short(r.body(box, uid))) for uid in picked]
        if draw > 0.3:
            since = ModSeq(self.highest.get(box, 0))
            seen["since"] = since
            seen["changed"] = rows(r.messages(box, changed_since=since))
            seen["expunged"] = r.expunged_since(box, since)
        if draw < 0.7:
            seen["rows"] = rows(r.messages(box))
            seen["keywords"] = r.keywords(box)
        if 0.2 < draw < 0.9:
            seen["asked"] = uids if chance.random() < 0.3 else uids[-5:]
            found = r.summaries(box, seen["asked"])
            seen["summaries"] = [(uid, short(octets)) for uid, octets in found]
            seen["first_unseen"] = r.first_unseen(box)
            seen["deleted"] = r.deleted(box)
        if draw < 0.1 or draw > 0.95:
            seen["searched"] = self._searched(r, box, uids, chance)
        self.highest[box] = mailbox.highest_modseq
        return seen

    def _searched(
        self, r: Reading, box: MailboxId, uids: list[Uid], chance: random.Random
    ) -> list[tuple[str, int, list[int]]]:
        """Needles, where they were looked for, and who has them."""
        kind = chance.choice((TextKind.HEADER, TextKind.BODY))
        needles = ["lettre", f"lettre {self.who}", "lettre fill 7", self.mark, "jamais"]
        found: list[set[int]] = [set() for _ in needles]
        for step in r.find_texts(box, kind, [Needle(needle.encode()) for needle in needles], uids):
            for all_of_it, some in zip(found, step.found, strict=True):
                all_of_it |= some
        return [(n, int(kind), sorted(some)) for n, some in zip(needles, found, strict=True)]

    # ------------------------------------------------------------ the queue

    def lease(self) -> None:
        """Take due recipients, read one letter, tell outcomes of some."""
        now = datetime.now(UTC)
        limit = self.chance.choice((1, 3, 10, 40))  # what is delivered has to be worked off

        def body(w: Writing) -> Any:
            leased: dict[str, list[str]] = {}
            for lease in w.lease(now, limit, self.who, duration=LEASE):
                to = [str(recipient.address) for recipient in lease.recipients]
                leased.setdefault(lease.envelope.id, []).extend(to)
            return leased

        arguments = {"now": to_us(now), "until": to_us(now + LEASE)}
        asked = self.ask(
            "lease", arguments, body, (), met=lambda found: [f"env:{id}" for id in found]
        )
        leased = self.answer(asked) or {}
        for envelope, addresses in leased.items():
            if self.chance.random() < 0.3:
                self._waiting(envelope)
            if self.chance.random() < 0.8:
                self._record(envelope, addresses)

    def _record(self, envelope: str, addresses: list[str]) -> None:
        following = datetime.now(UTC) + timedelta(milliseconds=self.chance.randrange(1, 500))
        outcomes: list[tuple[str, OutcomeResult, int | None]] = []
        for address in addresses:
            result = self.chance.choice(RESULTS)
            outcomes.append((address, result, to_us(following) if result == "retry" else None))

        def body(w: Writing) -> Any:
            told = [
                Outcome(
                    EnvelopeId(envelope),
                    Recipient(Address.parse(address)),
                    result,
                    f"451 {address}",
                    None if at is None else from_us(at),
                )
                for address, result, at in outcomes
            ]
            return [str(one.recipient.address) for one in w.record(told, TRANSFER)]

        arguments = {"envelope": envelope, "outcomes": outcomes}
        self.write("record", arguments, body, [f"env:{envelope}"])

    def drop_or_now(self) -> None:
        """The administrator gives up, or is impatient."""
        if not (found := self._queued()):
            return
        envelope = self.chance.choice(found)
        if self.chance.random() < 0.5:
            self.write(
                "drop",
                {"envelope": envelope},
                lambda w: w.drop(EnvelopeId(envelope), "essai"),
                [f"env:{envelope}"],
            )
            return
        now = datetime.now(UTC)
        self.write(
            "now",
            {"envelope": envelope, "date": to_us(now)},
            lambda w: w.retry_now(EnvelopeId(envelope), now),
            [f"env:{envelope}"],
        )

    def waiting(self) -> None:
        """Look at an envelope that waits, or did a moment ago."""
        if found := self._queued():
            self._waiting(self.chance.choice(found))

    def _queued(self) -> list[str]:
        found = self.store.read(lambda r: [str(one.envelope) for one in r.queue()]).result()
        return list(dict.fromkeys(found))

    def _waiting(self, envelope: str) -> None:
        def query(r: Reading) -> dict[str, Any]:
            try:
                sha = short(r.letter_octets(EnvelopeId(envelope)))
            except NoSuchMessage:
                sha = None
            return {"entries": entries(r.queue_entry(EnvelopeId(envelope))), "sha": sha}

        self.read("waiting", {"envelope": envelope}, query, [f"env:{envelope}"])

    # ------------------------------------------------------------ housekeeping

    def unfinished(self) -> None:
        """Letters that nobody takes: begun and broken off, or finished and forgotten."""
        if self.chance.random() < 0.5:
            writer = self.store.writer()
            writer.write(b"Subject: jamais\r\n\r\n" + self.chance.randbytes(90_000).hex().encode())
            writer.abort()
        else:
            letter, _ = self._letter()
            Store.discard(letter)

    def prune(self) -> None:
        """What the daily job does; packs are thrown away too, they come back by themselves."""
        now = datetime.now(UTC)
        self.write("prune", {}, lambda w: (w.prune(now), w.drop_packs(), w.drop_texts())[0], ())

    def rotate(self) -> None:
        """New keys for a BAL, for everybody, or a new master key, beside everything else."""
        draw = self.chance.random()
        if draw > 0.4:
            return
        number = self.journal.begin("rotate", {})
        try:
            if draw < 0.05:
                report = self.store.rotate_master()
            else:
                bal = None if draw < 0.1 else BalId(self.chance.choice(self.bals))
                report = self.store.rotate_owners(bal)
        except MailError as error:
            self.journal.end(number, type(error).__name__)
            return
        self.journal.ran(number, [], list(report.damaged))
        self.journal.end(number)

    def check(self) -> None:
        """Every invariant, beside everything else."""
        number = self.journal.begin("check", {})
        report = self.store.check(deep=self.chance.random() < 0.3)
        self.journal.ran(number, [], list(report.problems))
        self.journal.end(number)


def rows(found: Any) -> list[list[Any]]:
    """`MessageRow`s as the reference writes them."""
    return [[r.uid, r.modseq, sorted(r.flags), r.size_octets, r.internal_date_us] for r in found]


def _making(w: Writing, bal: int, act: Callable[[], object]) -> dict[str, int]:
    """Names and ids of the mailboxes that `act` made, parents first."""
    before = set(names(w, bal).values())
    act()
    return {name: id for name, id in sorted(names(w, bal).items()) if id not in before}


def _undoing(body: Callable[[Writing], None]) -> Callable[[Writing], None]:
    """`body`, which fails in any case: a mailbox that is gone does it sooner."""

    def job(w: Writing) -> None:
        try:
            body(w)
        except MailError as error:
            raise Undone from error

    return job
