"""UIDs, modseqs and flags against a model small enough to believe (D5)."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import settings as examples
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from mssmtp.mail import MailboxId, Uid
from mssmtp.storage import FlagsOperation, Writing
from mssmtp.storage.model import MessageRow
from tests.storage.support import SteppingClock, add_bal, message, open_new, reopen

pytestmark = pytest.mark.timeout(90)  # one test, many stores

FLAGS = st.frozensets(st.sampled_from(["\\Seen", "\\Deleted", "\\Flagged", "$Un", "$Deux"]))
UIDS = st.lists(st.integers(1, 25), max_size=6)
BOXES = st.sampled_from([0, 1])


@dataclass
class ModelBox:
    """What a mailbox should hold."""

    uid_next: int = 1
    flags: dict[int, frozenset[str]] = field(default_factory=dict)
    modseq: dict[int, int] = field(default_factory=dict)
    buried: dict[int, int] = field(default_factory=dict)
    highest: int = 1


class StoreMachine(RuleBasedStateMachine):
    """Two mailboxes, every operation, reopened at any time."""

    def __init__(self) -> None:
        super().__init__()
        self._directory = tempfile.TemporaryDirectory()
        self.home = Path(self._directory.name) / "home"

    @initialize()
    def start(self) -> None:
        self.store = open_new(self.home)
        bal = add_bal(self.store)
        made = self.store.write(lambda w: w.create_mailbox(bal.id, "Autre")).result()
        box = self.store.read(lambda r: r.mailbox(bal.id, "INBOX")).result()
        assert box is not None
        self.ids: list[MailboxId] = [box.id, made.id]
        self.model = [ModelBox(), ModelBox()]

    @rule(box=BOXES, flags=FLAGS)
    def append(self, box: int, flags: frozenset[str]) -> None:
        letter = self.store.seal(message())
        when = SteppingClock().now()
        uid = self.store.write(lambda w: w.append(self.ids[box], letter, flags, when)).result()
        self._added(box, uid, flags)

    @rule(box=BOXES, uids=UIDS, operation=st.sampled_from(["+", "-", "="]), flags=FLAGS)
    def store_flags(
        self, box: int, uids: list[int], operation: FlagsOperation, flags: frozenset[str]
    ) -> None:
        model = self.model[box]
        named = [Uid(uid) for uid in uids]
        rows = self.store.write(
            lambda w: w.store_flags(self.ids[box], named, operation, flags)
        ).result()
        assert [row.uid for row in rows] == sorted(set(uids) & model.flags.keys())
        for row in rows:
            old = model.flags[row.uid]
            new = {"+": old | flags, "-": old - flags, "=": flags}[operation]
            assert row.flags == new
            if new == old:
                assert row.modseq == model.modseq[row.uid]
            else:
                assert row.modseq > model.highest
            model.flags[row.uid], model.modseq[row.uid] = new, row.modseq
        self._highest(box)

    @rule(box=BOXES, flags=FLAGS, operation=st.sampled_from(["+", "-", "="]), data=st.data())
    def store_flags_by_image(
        self, box: int, flags: frozenset[str], operation: FlagsOperation, data: st.DataObject
    ) -> None:
        model = self.model[box]
        count = len(model.flags)
        cuts = sorted(data.draw(st.lists(st.integers(0, count), max_size=4, unique=True)))
        spans = list(zip(cuts[::2], cuts[1::2], strict=False))

        def job(writing: Writing) -> None:
            image = writing.image(self.ids[box])
            assert image is not None
            assert writing.flag(self.ids[box], image, spans, operation, flags) is not None

        self.store.write(job).result()
        uids = sorted(model.flags)
        for start, stop in spans:
            for uid in uids[start:stop]:
                old = model.flags[uid]
                new = {"+": old | flags, "-": old - flags, "=": flags}[operation]
                if new != old:
                    model.flags[uid], model.modseq[uid] = new, model.highest + 1
        self._highest(box)

    @rule(box=BOXES, uids=st.none() | UIDS)
    def expunge(self, box: int, uids: list[int] | None) -> None:
        named = None if uids is None else [Uid(uid) for uid in uids]
        gone = self.store.write(lambda w: w.expunge(self.ids[box], named)).result()
        model = self.model[box]
        wanted = [
            uid
            for uid, flags in sorted(model.flags.items())
            if "\\Deleted" in flags and (uids is None or uid in uids)
        ]
        assert gone == wanted
        self._buried(box, gone)

    @rule(source=BOXES, into=BOXES, uids=UIDS, moving=st.booleans())
    def copy_or_move(self, source: int, into: int, uids: list[int], *, moving: bool) -> None:
        named = [Uid(uid) for uid in uids]
        known = dict(self.model[source].flags)
        pairs = self.store.write(
            lambda w: (w.move if moving else w.copy)(self.ids[source], named, self.ids[into])
        ).result()
        assert [old for old, _ in pairs] == sorted(set(uids) & known.keys())
        for old, new in pairs:
            self._added(into, new, known[old])
        if moving:
            self._buried(source, [old for old, _ in pairs])

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = reopen(self.home)

    @invariant()
    def the_store_is_the_model(self) -> None:
        for box, model in enumerate(self.model):
            id = self.ids[box]
            rows = self.store.read(lambda r, id=id: r.messages(id)).result()  # type: ignore[misc]
            assert {row.uid: row.flags for row in rows} == model.flags
            self._views_agree(id, rows)
            uids = self.store.read(lambda r, id=id: r.uids(id)).result()  # type: ignore[misc]
            assert uids == sorted(model.flags)
            assert all(row.modseq >= model.modseq[row.uid] for row in rows)
            mailbox = self.store.read(lambda r, id=id: r.mailbox_by_id(id)).result()  # type: ignore[misc]
            assert mailbox is not None
            assert mailbox.uid_next == model.uid_next
            assert mailbox.highest_modseq >= model.highest
            model.highest = mailbox.highest_modseq
            model.modseq = {row.uid: row.modseq for row in rows}

    def _views_agree(self, id: MailboxId, rows: list[MessageRow]) -> None:
        """Images and the shorter questions say what the rows say."""
        read = self.store.read
        image = read(lambda r: r.image(id)).result()
        sets = read(lambda r: r.flag_sets(id)).result()
        assert image is not None
        flags = [sets.of(image.sets[code]) for code in image.codes]
        shown = list(zip(image.uids, image.modseqs, flags, strict=True))
        assert shown == [(row.uid, row.modseq, row.flags) for row in rows]
        for since in {row.modseq for row in rows}:
            changed = read(lambda r, since=since: r.messages(id, None, since)).result()  # type: ignore[misc]
            assert changed == [row for row in rows if row.modseq > since]
            some = read(lambda r, since=since: r.messages(id, [(2, 3), (5, 9)], since)).result()  # type: ignore[misc]
            assert some == [row for row in changed if row.uid in (2, 3, *range(5, 10))]
        assert read(lambda r: r.deleted(id)).result() == [
            row.uid for row in rows if "\\Deleted" in row.flags
        ]
        unseen = [row.uid for row in rows if "\\Seen" not in row.flags]
        assert read(lambda r: r.first_unseen(id)).result() == min(unseen, default=None)

    def teardown(self) -> None:
        assert self.store.check(deep=True).problems == ()
        self.store.close()
        self._directory.cleanup()

    def _added(self, box: int, uid: int, flags: frozenset[str]) -> None:
        model = self.model[box]
        assert uid == model.uid_next
        model.uid_next = uid + 1
        model.flags[uid] = flags
        model.modseq[uid] = 0

    def _buried(self, box: int, uids: list[Uid]) -> None:
        model = self.model[box]
        before = model.highest
        for uid in uids:
            del model.flags[uid], model.modseq[uid]
        gone = self.store.read(
            lambda r: r.expunged_since(self.ids[box], before)  # type: ignore[arg-type]
        ).result()
        assert set(uids) <= set(gone)

    def _highest(self, box: int) -> None:
        model = self.model[box]
        model.highest = max([model.highest, *model.modseq.values()])


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = examples(max_examples=15, stateful_step_count=25, deadline=None)
