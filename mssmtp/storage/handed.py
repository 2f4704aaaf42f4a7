"""Which messages of a box were handed over to a colleague (DEF-23): what was to be done then, and
what has come since.

Said once, by UID, when the handover is given, and sealed with it. What a colleague reads or marks
as done stays where it is: counters, sequence numbers and modseqs of the part follow from the UIDs
alone, and no flag makes a message appear in the middle of a session or vanish from it. Each part
has a UIDVALIDITY of its own, so that a client never takes one part for another, or for the whole.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from sqlalchemy import bindparam, func, select

from mssmtp.mail import MailboxId, Uid, UidValidity
from mssmtp.storage.delegations import Delegation, DelegationReading, DelegationWriting
from mssmtp.storage.messages import MAX_UID, MessageReading, MessageWriting, within
from mssmtp.storage.model import Mailbox, Part
from mssmtp.storage.schema import blobs, messages, sql
from mssmtp.storage.view import ranges

DONE = frozenset({"$mssfait", "$mssdone"})
BEGUN = frozenset({"$msspris", "$msstaken", "\\flagged"})
"""DEF-22: keywords of team work, in both spellings; who flags a letter wants to come back to it."""

_CAME = sql(
    select(messages.c.uid)
    .where(messages.c.mailbox == bindparam("mailbox"))
    .where(messages.c.uid.between(bindparam("low"), bindparam("high")))
    .where(messages.c.blob > bindparam("blob"))
    .order_by(messages.c.uid)
)
_NEWEST = sql(select(func.coalesce(func.max(blobs.c.number), 0)))


def is_to_do(flags: frozenset[str]) -> bool:
    """Unread, or begun and not marked as done; not what was thrown away."""
    names = {flag.lower() for flag in flags}
    if "\\deleted" in names:
        return False
    return "\\seen" not in names or bool(names & BEGUN and not names & DONE)


@dataclass(frozen=True, slots=True)
class Handed:
    """One handover: the newest content there was, and of each mailbox the UIDVALIDITY of its part,
    its UIDNEXT and what was to be done."""

    last_blob: int
    parts: dict[MailboxId, tuple[int, int, tuple[tuple[int, int], ...]]]

    def text(self) -> str:
        """For the sealed row of the delegation."""
        parts = {
            str(mailbox): [validity, uid_next, ",".join(f"{low}:{high}" for low, high in kept)]
            for mailbox, (validity, uid_next, kept) in self.parts.items()
        }
        return json.dumps([self.last_blob, parts])


_NOTHING = Handed(1 << 62, {})
_MADE_SINCE = 1 << 31
"""Apart from the whole, in the UIDVALIDITY of a mailbox made after the handover: those of the whole
are times in seconds."""


@lru_cache(maxsize=64)
def _parsed(text: str) -> Handed:
    """The inverse of `Handed.text`; of a handover that does not say it, nothing is seen."""
    if not text:
        return _NOTHING
    last_blob, parts = json.loads(text)
    found = {}
    for mailbox, (validity, uid_next, kept) in parts.items():
        spans = (each.partition(":") for each in kept.split(",") if each)
        closed = tuple((int(low), int(high)) for low, _, high in spans)
        found[MailboxId(int(mailbox))] = validity, uid_next, closed
    return Handed(last_blob, found)


class HandedReading(DelegationReading, MessageReading):
    """Looking at a part of a box."""

    def part_of(self, mailbox: Mailbox, grant: int) -> Mailbox | None:
        """`mailbox` as who has the handover `grant` sees it; None: not at all. Nothing is handed
        over of what was sent, thrown away, begun or put aside."""
        one = self.delegation(grant)
        if one is None or mailbox.special_use is not None:
            return None
        found = _parsed(one.handed)
        made_since = int(mailbox.uid_validity) ^ _MADE_SINCE, 1, ()
        validity, uid_next, kept = found.parts.get(mailbox.id, made_since)
        whole = replace(mailbox, part=Part(grant, kept, uid_next, found.last_blob))
        rows = self.messages(mailbox.id, list(ranges(self.seen_uids(whole))))
        return replace(
            whole,
            uid_validity=UidValidity(validity),
            messages=len(rows),
            unseen=sum("\\Seen" not in row.flags for row in rows),
            size_octets=sum(row.size_octets for row in rows),
        )

    def seen_uids(self, mailbox: Mailbox, first: int = 1) -> list[Uid]:
        """Messages from the UID `first` on that are to be seen; all, where there is no part."""
        part = mailbox.part
        if part is None:
            return self.uids(mailbox.id, first)
        found: list[Uid] = []
        for low, high in part.kept:
            if high >= first:
                found += self.uids(mailbox.id, max(low, first), high)
        return found + self._came(mailbox.id, part, (max(part.next_uid, first), MAX_UID))

    def among_part(self, mailbox: Mailbox, uids: Sequence[Uid]) -> list[Uid]:
        """Those of `uids`, ascending, that are to be seen; all, where there is no part."""
        part = mailbox.part
        if part is None or not uids:
            return list(uids)
        older = within((uid for uid in uids if uid < part.next_uid), part.kept)
        new = [uid for uid in uids if uid >= part.next_uid]
        came = set(self._came(mailbox.id, part, (new[0], new[-1]))) if new else set()
        return [*map(Uid, older), *(uid for uid in new if uid in came)]

    def _came(self, mailbox: MailboxId, part: Part, uids: tuple[int, int]) -> list[Uid]:
        """Since the handover: a copy of what was there before has its content, and is not shown."""
        low, high = uids
        rows = self._all(_CAME, mailbox=mailbox, low=low, high=high, blob=part.last_blob)
        return [Uid(uid) for (uid,) in rows]


class HandedWriting(HandedReading, DelegationWriting, MessageWriting):
    """Handing over."""

    def hand_over(self, new: Delegation) -> Delegation:
        """Let the colleague in, to what is to be done now and what comes from now on.

        Raises NoSuchBal.
        """
        mailboxes = [each for each in self.mailboxes(new.bal) if each.special_use is None]
        first = self._next_validity(new.bal, len(mailboxes))
        parts = {
            each.id: (validity, int(each.uid_next), tuple(ranges(self._to_do(each.id))))
            for validity, each in enumerate(mailboxes, first)
        }
        newest = self._one(_NEWEST)
        text = Handed(0 if newest is None else newest[0], parts).text()
        return self.add_delegation(replace(new, handed=text))

    def _to_do(self, mailbox: MailboxId) -> list[int]:
        image = self.image(mailbox)
        if image is None:
            return [row.uid for row in self.messages(mailbox) if is_to_do(row.flags)]
        names = self.flag_sets(mailbox)
        wanted = {code for code, bits in enumerate(image.sets) if is_to_do(names.of(bits))}
        return [uid for uid, code in zip(image.uids, image.codes, strict=True) if code in wanted]
