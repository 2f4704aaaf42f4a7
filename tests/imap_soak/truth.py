"""What all sessions together know of the mailboxes, and what cannot be true at once.

Nothing here comes from the store: only from what sessions were told, and when.
"""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, field

Message = tuple[int, int]
"""UIDVALIDITY and UID: never given twice (RFC 3501 2.3.1.1)."""
Flags = frozenset[str]
UNORDERED = "$rev1"
"""The keyword of sessions that are not told modseqs: its changes have no place in a history."""


class Violation(AssertionError):
    """Something was said that cannot be."""


@dataclass
class Truth:
    """Shared by the sessions of a soak. `holey`: some change of it was told to nobody."""

    subjects: dict[Message, str] = field(default_factory=dict)
    gone: dict[Message, float] = field(default_factory=dict)
    flags: defaultdict[Message, dict[int, Flags]] = field(default_factory=lambda: defaultdict(dict))
    appended: set[Message] = field(default_factory=set)
    holey: set[Message] = field(default_factory=set)
    stored: list[tuple[Message, int, int]] = field(default_factory=list)
    refused: list[tuple[Message, int]] = field(default_factory=list)
    deletions: int = 0
    told: defaultdict[Message, deque[str]] = field(
        default_factory=lambda: defaultdict(lambda: deque(maxlen=60))
    )
    """Who was told which flags, and when, for a person who has to understand a violation."""

    def has_subject(self, message: Message, subject: str) -> None:
        """One message, one content, for ever."""
        if self.subjects.setdefault(message, subject) != subject:
            raise Violation(f"{message} was {self.subjects[message]}, now it is {subject}")

    def is_told(self, message: Message, since: float) -> None:
        """A message is shown by a command that began at `since`."""
        if self.gone.get(message, since) < since:
            raise Violation(f"{message} was expunged before, and somebody was told")

    def had_flags(self, message: Message, modseq: int, flags: Flags) -> None:
        """One modseq of a message, one set of flags, whoever is told."""
        if self.flags[message].setdefault(modseq, flags) != flags:
            known = sorted(self.flags[message][modseq])
            raise Violation(f"{message} at {modseq} had {known}, now {sorted(flags)}")

    def judge(self) -> None:
        """What can be said only when all has been told: conditions of STORE (RFC 7162 3.1.3)."""
        for message, since, modseq in self.stored:
            between = [m for m in self.flags[message] if since < m < modseq]
            if between:
                raise Violation(
                    f"{message} was stored at {modseq}, unchanged since {since}: {between}"
                )
        for message, since in self.refused:
            if message not in self.holey and not any(m > since for m in self.flags[message]):
                raise Violation(f"{message} was said to be MODIFIED since {since}, and was not")
        self.stored.clear()
        self.refused.clear()

    def forget(self) -> None:
        """Of what is gone only that remains."""
        for message in self.gone:
            self.flags.pop(message, None)
            self.told.pop(message, None)
            self.subjects.pop(message, None)

    def in_order(self, message: Message, seen: list[Flags]) -> None:
        """What one session saw without modseqs: flags never go back."""
        if message not in self.appended or message in self.holey:
            return
        known = self.flags.get(message, {})
        history = [known[modseq] - {UNORDERED} for modseq in sorted(known)]
        at = 0
        for flags in seen:
            if flags in history[at:]:
                at += history[at:].index(flags)
            elif flags in history:
                told = "\n".join(self.told[message])
                raise Violation(f"flags of {message} went back to {sorted(flags)}; told:\n{told}")
