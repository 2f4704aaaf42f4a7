"""Reading and changing flags: rows as they came, and the states that say what they are now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from sqlalchemy import bindparam, delete, insert, select

from mssmtp.mail import MailboxId, ModSeq
from mssmtp.storage.flags import FlagReading, FlagWriting
from mssmtp.storage.schema import sql, states
from mssmtp.storage.states import STATE_UIDS, Mark, State, packed, state_of, unpacked
from mssmtp.storage.view import Row, ranges

_STATE = select(states.c.window, states.c.octets).where(states.c.mailbox == bindparam("mailbox"))
_IN = states.c.window.between(bindparam("low"), bindparam("high"))
_STATES = sql(_STATE.where(_IN).order_by(states.c.window))
_CHANGED_STATES = sql(_STATE.where(states.c.modseq > bindparam("modseq")).order_by(states.c.window))
_DROP = delete(states).where(states.c.mailbox == bindparam("mailbox"))
_DROP_STATES = sql(_DROP.where(_IN))
_DROP_ALL = sql(_DROP)
_NEW = sql(insert(states))
_LAST = (1 << 32) // STATE_UIDS


class StateReading(FlagReading):
    """What messages are now."""

    def _states(self, mailbox: MailboxId, low: int = 0, high: int = _LAST) -> list[State]:
        """Of the windows `low` to `high`, ascending. Raises Damaged."""
        rows = self._all(_STATES, mailbox=mailbox, low=low, high=high)
        return [unpacked(window, octets) for window, octets in rows]

    def _marks_since(self, mailbox: MailboxId, modseq: ModSeq) -> list[Mark]:
        """Messages that were changed with a modseq above `modseq`, ascending. Raises Damaged."""
        found: list[Mark] = []
        # Sorted here: asked to do it, SQLite looks at every window.
        rows = self._all(_CHANGED_STATES, mailbox=mailbox, modseq=modseq)
        for window, octets in sorted(rows):
            found += (mark for mark in unpacked(window, octets).marks() if mark[1] > modseq)
        return found

    def _as_now(self, mailbox: MailboxId, rows: list[Row]) -> list[Row]:
        """Rows (UID, modseq, bits, …; ascending) as they came, as they are now. Raises Damaged."""
        found: list[Row] = []
        for state, part in self._with_states(mailbox, rows):
            if state is None:
                found += part
            elif len(part) == len(state.uids) and [row[0] for row in part] == list(state.uids):
                news = zip(part, state.marks(), strict=True)
                found += [mark + row[3:] for row, mark in news]
            else:
                found += [(state.mark(row[0]) or row[:3]) + row[3:] for row in part]
        return found

    def _with_states(
        self, mailbox: MailboxId, rows: list[Row]
    ) -> Iterator[tuple[State | None, list[Row]]]:
        """`rows` window by window."""
        if not rows:
            return
        low, high = rows[0][0] // STATE_UIDS, rows[-1][0] // STATE_UIDS
        if high - low <= len(rows):
            states = {state.window: state for state in self._states(mailbox, low, high)}
            if not states:
                yield None, rows
                return
        else:
            windows = ranges([row[0] // STATE_UIDS for row in rows])
            found = (state for span in windows for state in self._states(mailbox, *span))
            states = {state.window: state for state in found}
        for window, part in groupby(rows, lambda row: row[0] // STATE_UIDS):
            yield states.get(window), list(part)


class StateWriting(StateReading, FlagWriting):
    """Changing what messages are."""

    def _set_marks(self, mailbox: MailboxId, marks: Iterable[Mark]) -> None:
        """These messages (ascending) are so from now on."""
        made = []
        for window, some in groupby(marks, lambda mark: mark[0] // STATE_UIDS):
            new = {mark[0]: mark for mark in some}
            for state in self._states(mailbox, window, window):
                new = {mark[0]: mark for mark in state.marks()} | new
            made.append(state_of(new[uid] for uid in sorted(new)))
        self._keep_states(mailbox, made)

    def _keep_states(self, mailbox: MailboxId, made: Sequence[State]) -> None:
        """In the place of what was kept for these windows."""
        for low, high in ranges([state.window for state in made]):
            self._run(_DROP_STATES, mailbox=mailbox, low=low, high=high)
        rows: list[dict[str, object]] = [
            {
                "mailbox": mailbox,
                "window": state.window,
                "modseq": state.modseq,
                "octets": packed(state),
            }
            for state in made
        ]
        if rows:
            self._run_many(_NEW, rows)

    def _unmark(self, mailbox: MailboxId, uids: Iterable[int]) -> None:
        """These messages (ascending) are gone."""
        for window, some in groupby(uids, lambda uid: uid // STATE_UIDS):
            gone = set(some)
            for state in self._states(mailbox, window, window):
                left = [mark for mark in state.marks() if mark[0] not in gone]
                if len(left) == len(state.uids):
                    continue
                self._run(_DROP_STATES, mailbox=mailbox, low=window, high=window)
                if left:
                    self._keep_states(mailbox, [state_of(left)])

    def _unmark_all(self, mailbox: MailboxId) -> None:
        self._run(_DROP_ALL, mailbox=mailbox)
