"""The store as it should be: small, in memory, one act after the other.

`Reference.play` performs one act and compares everything the store said about it. What is compared
never comes from the store's own state, only from the acts before. Raises Mismatch.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from mssmtp.storage import SYSTEM_FLAGS
from tests.soak.journal import GONE, NEW, Act, Version

_SYSTEM = {flag.lower(): flag for flag in SYSTEM_FLAGS}
Change = tuple[str, int, int]
"""(kind, mailbox, modseq)"""


class Mismatch(AssertionError):
    """The store said or did something else than the reference."""


def expect(what: str, expected: object, found: object) -> None:
    """Raises Mismatch when they differ."""
    if expected != found:
        raise Mismatch(f"{what}: expected {_short(expected)}, found {_short(found)}")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) < 400 else text[:400] + "…"


@dataclass(slots=True)
class Message:
    """One message of a mailbox. `content` names what it says."""

    modseq: int
    flags: frozenset[str]
    size: int
    date: int
    content: str


@dataclass(slots=True)
class Box:
    """One mailbox."""

    id: int
    bal: int
    uid_next: int = 1
    highest: int = 1
    recent_from: int = 1
    messages: dict[int, Message] = field(default_factory=dict)
    buried: dict[int, int] = field(default_factory=dict)
    keywords: dict[str, str] = field(default_factory=dict)

    def named(self, flags: frozenset[str], *, learn: bool = True) -> frozenset[str]:
        """Flags as the mailbox spells them; new keywords are learnt in order of their names."""
        names = {_SYSTEM[flag.lower()] for flag in flags if flag.lower() in _SYSTEM}
        for flag in sorted(flag for flag in flags if flag.lower() not in _SYSTEM):
            if not learn and flag.lower() not in self.keywords:
                continue
            names.add(self.keywords.setdefault(flag.lower(), flag))
        return frozenset(names)

    def add(self, flags: frozenset[str], size: int, date: int, content: str) -> int:
        """A message with the next UID and modseq."""
        self.highest += 1
        return self.join(flags, size, date, content)

    def join(self, flags: frozenset[str], size: int, date: int, content: str) -> int:
        """A message with the next UID and the modseq of the one before it."""
        uid, self.uid_next = self.uid_next, self.uid_next + 1
        self.messages[uid] = Message(self.highest, flags, size, date, content)
        return uid

    def rows(self, uids: list[int]) -> list[list[object]]:
        """As the journal writes `MessageRow`s."""
        found = [(uid, self.messages[uid]) for uid in uids]
        return [[uid, m.modseq, sorted(m.flags), m.size, m.date] for uid, m in found]


@dataclass(slots=True)
class Content:
    """A letter: digests of its octets and of its summary, and what is searched for in it."""

    sha: str
    summary: str
    subject: str
    mark: str
    envelope: str | None = None
    owners: Counter[int] = field(default_factory=Counter)


class Reference:
    """All mailboxes, envelopes and their ledger."""

    def __init__(self) -> None:
        self.boxes: dict[int, Box] = {}
        self.names: dict[int, dict[str, int]] = {}
        self.contents: dict[str, Content] = {}
        self.envelopes: dict[str, list[list[Any]]] = {}
        self.letters: dict[str, str] = {}
        self.hurried: set[tuple[str, str]] = set()
        """Envelopes and recipients to be tried at once, whatever the clock of who asks."""
        self.events: dict[str, Counter[str]] = {}
        self.wandering: set[str] = set()
        self.changes: list[Change] = []
        self._grown: set[str] = set()

    def adopt(self, bal: int, names: dict[str, int]) -> None:
        """A BAL that was made with these mailboxes."""
        self.names[bal] = dict(names)
        self.boxes |= {id: Box(id, bal) for id in names.values()}

    def ledgers(self) -> list[tuple[str, Counter[str]]]:
        """Envelopes whose ledger grew, with what it holds; what is over is forgotten."""
        found = []
        for id in sorted(self._grown):
            events = self.events[id].copy()
            if id in self.wandering:
                del events["suppression"]
            found.append((id, events))
        self._grown.clear()
        alive = {content.envelope for content in self.contents.values()}
        for id in [id for id in self.events if id not in alive]:
            del self.events[id]
            self.envelopes.pop(id, None)
            self.letters.pop(id, None)
            self.hurried = {one for one in self.hurried if one[0] != id}
            self.wandering.discard(id)
        return found

    def play(self, act: Act) -> None:
        """Perform `act`; what the store answered must be what happens here."""
        error = self._refusal(act)
        expect("error", error, act.error)
        if error is None:
            getattr(self, f"_{act.name}")(act, act.result, **act.arguments)
        for name, _, after in act.touched:
            found = str(after).partition("|")[2] if name.startswith("bal:") else after
            expect(f"version of {name}", self.version(name), found)

    def version(self, name: str) -> Version:
        """What the version of a resource must be now, where it can be known."""
        kind, _, id = name.partition(":")
        if kind == "box":
            box = self.boxes.get(int(id))
            return GONE if box is None else box.highest
        if kind == "recent":
            box = self.boxes.get(int(id))
            return GONE if box is None else box.recent_from
        if kind == "bal":
            return names_version(self.names.get(int(id), {}))
        rows = self.envelopes.get(id)
        return NEW if rows is None else entries_version(rows)

    # ------------------------------------------------------------ refusals

    def _refusal(self, act: Act) -> str | None:
        if act.name == "undone":
            return "Undone"
        names = self.names.get(act.arguments.get("bal", 0), {})
        if act.name == "create" and act.arguments["name"] in names:
            return "MailboxExists"
        if act.name == "delete" and act.arguments["name"] not in names:
            return "NoSuchMailbox"
        if act.name == "rename":
            old, new = act.arguments["old"], act.arguments["new"]
            moved = _with_children(names, old)  # the level itself need not exist
            if new in names or any(new + name[len(old) :] in names for name in moved):
                return "MailboxExists"
            return None if moved else "NoSuchMailbox"
        if act.name in ("append", "store", "expunge", "copy", "move", "claim"):
            ids = [act.arguments[key] for key in ("box", "target") if key in act.arguments]
            if any(id not in self.boxes for id in ids):
                return "NoSuchMailbox"
        return None

    # ------------------------------------------------------------ messages

    def _append(
        self, act: Act, result: int, box: int, content: dict[str, Any], flags: list[str], date: int
    ) -> None:
        self._learn(content, None)
        expect("UID", self._add(box, flags, date, content), result)

    def _store(
        self, act: Act, result: object, box: int, uids: list[int], how: str, flags: list[str]
    ) -> None:
        found = self.boxes[box]
        named = sorted(set(uids) & found.messages.keys())
        given = found.named(frozenset(flags), learn=bool(named) and how != "-")
        changed = False
        for uid in named:
            message = found.messages[uid]
            old = message.flags
            new = {"+": old | given, "-": old - given, "=": given}[how]
            if new != old:
                message.flags, message.modseq, changed = new, found.highest + 1, True
        if changed:
            found.highest += 1
            self.changes.append(("flags", box, found.highest))
        expect("rows", found.rows(named), result)

    def _expunge(self, act: Act, result: object, box: int, uids: list[int] | None) -> None:
        found = self.boxes[box]
        wanted = found.messages.keys() if uids is None else set(uids) & found.messages.keys()
        gone = sorted(uid for uid in wanted if "\\Deleted" in found.messages[uid].flags)
        self._remove(found, gone, shredding=True)
        expect("expunged", gone, result)

    def _copy(self, act: Act, result: object, box: int, uids: list[int], target: int) -> None:
        expect("pairs", self._copied(box, uids, target), result)

    def _move(self, act: Act, result: object, box: int, uids: list[int], target: int) -> None:
        pairs = self._copied(box, uids, target)
        self._remove(self.boxes[box], [old for old, _ in pairs], shredding=False)
        expect("pairs", pairs, result)

    def _claim(self, act: Act, result: object, box: int) -> None:
        found = self.boxes[box]
        expect("recent from", found.recent_from, result)
        found.recent_from = found.uid_next

    # ------------------------------------------------------------ mailboxes

    def _create(self, act: Act, result: dict[str, int], bal: int, name: str) -> None:
        names = self.names[bal]
        levels = name.split("/")
        expected = ["/".join(levels[: depth + 1]) for depth in range(len(levels))]
        expect("made", [path for path in expected if path not in names], list(result))
        for path, id in result.items():
            if id in self.boxes:
                raise Mismatch(f"mailbox id {id} is used twice")
            self.boxes[id] = Box(id, bal)
            names[path] = id
            self.changes.append(("mailbox", id, 1))

    def _delete(self, act: Act, result: object, bal: int, name: str) -> None:
        box = self.boxes[self.names[bal].pop(name)]
        self.changes.append(("mailbox", box.id, box.highest))
        self._remove(box, sorted(box.messages), shredding=True)
        del self.boxes[box.id]

    def _rename(self, act: Act, result: dict[str, int], bal: int, old: str, new: str) -> None:
        names = self.names[bal]
        if old == "INBOX":
            self._create(act, result, bal, new)
            pairs = self._copied(names[old], sorted(self.boxes[names[old]].messages), names[new])
            self._remove(self.boxes[names[old]], [uid for uid, _ in pairs], shredding=False)
            return
        for name in _with_children(names, old):
            id = names[new + name[len(old) :]] = names.pop(name)
            self.changes.append(("mailbox", id, self.boxes[id].highest))

    def _list(self, act: Act, result: dict[str, int], bal: int) -> None:
        expect("names", self.names[bal], result)

    # ------------------------------------------------------------ looking

    def _look(self, act: Act, result: dict[str, Any], boxes: list[int], **_: object) -> None:
        for box in boxes:
            seen = result[str(box)]
            if (found := self.boxes.get(box)) is None:
                expect(f"mailbox {box}", None, seen)
                continue
            if seen is None:
                raise Mismatch(f"mailbox {box} is not found")
            self._compare(found, seen)
        if (least := act.arguments.get("least")) is not None and boxes[0] in self.boxes:
            self._told(least, self.boxes[boxes[0]].highest)

    @staticmethod
    def _told(least: int, highest: int) -> None:
        if highest < least:
            raise Mismatch(f"told of modseq {least}, but a later look sees {highest} only")

    def _compare(self, box: Box, seen: dict[str, Any]) -> None:
        uids = sorted(box.messages)
        messages = box.messages
        unseen = [uid for uid in uids if "\\Seen" not in messages[uid].flags]
        counters = [box.uid_next, box.highest, len(uids), len(unseen)]
        counters.append(sum(message.size for message in messages.values()))
        expect("UIDNEXT, HIGHESTMODSEQ, MESSAGES, UNSEEN, SIZE", counters, seen["counters"])
        if "uids" in seen:
            expect("UIDs", uids, seen["uids"])
        if "rows" in seen:
            expect("rows", box.rows(uids), seen["rows"])
        if "keywords" in seen:
            expect("keywords", list(box.keywords.values()), seen["keywords"])
        if "first_unseen" in seen:
            expect("first unseen", min(unseen, default=None), seen["first_unseen"])
        if "deleted" in seen:
            deleted = [uid for uid in uids if "\\Deleted" in messages[uid].flags]
            expect("deleted", deleted, seen["deleted"])
        if "since" in seen:
            since = seen["since"]
            gone = sorted(uid for uid, modseq in box.buried.items() if modseq > since)
            expect(f"expunged since {since}", gone, seen["expunged"])
            changed = [uid for uid in uids if messages[uid].modseq > since]
            expect(f"changed since {since}", box.rows(changed), seen["changed"])
        for uid, sha in seen.get("bodies", []):
            there = messages.get(uid)
            expect(f"body of UID {uid}", there and self.contents[there.content].sha, sha)
        if "summaries" in seen:
            wanted = [uid for uid in seen["asked"] if uid in messages]
            known = [[uid, self.contents[messages[uid].content].summary] for uid in wanted]
            expect("summaries", known, seen["summaries"])

        for needle, kind, uids in seen.get("searched", []):
            expect(f"{needle} in text {kind}", self._having(box, needle, kind), uids)

    def _having(self, box: Box, needle: str, kind: int) -> list[int]:
        contents = {uid: self.contents[one.content] for uid, one in sorted(box.messages.items())}
        texts = {uid: c.mark if kind else c.subject for uid, c in contents.items()}
        return [uid for uid, text in texts.items() if needle in text]

    # ------------------------------------------------------------ envelopes

    def _accept(
        self,
        act: Act,
        result: dict[str, Any],
        envelope: str,
        content: dict[str, Any],
        local: list[tuple[int, str, list[str]]],
        queued: list[str],
        date: int,
    ) -> None:
        self._learn(content, envelope)
        events = self.events[envelope] = Counter(scellement=1)
        self._grown.add(envelope)
        expect("BALs", [bal for bal, _, _ in local], [int(bal) for bal in result["stored"]])
        for bal, name, flags in local:
            names = self.names[bal]
            box = names.get(name, names["INBOX"])
            expect(
                "stored", [box, self._add(box, flags, date, content)], result["stored"][str(bal)]
            )
            events["remise"] += 1
        expect("events", len(local) + 1, result["events"])
        if queued:
            self.contents[content["id"]].owners[0] += 1
            self.letters[envelope] = content["id"]
            self.envelopes[envelope] = [[to, 0, date] for to in queued]

    def _record(
        self, act: Act, result: object, envelope: str, outcomes: list[tuple[str, str, int | None]]
    ) -> None:
        rows = self.envelopes[envelope]
        counted = []
        for address, outcome, following in outcomes:
            row = next((row for row in rows if row[0] == address), None)
            if row is None:
                continue
            counted.append(address)
            if outcome == "retry":
                row[1:] = [row[1] + 1, following]
                self.hurried.discard((envelope, address))
                continue
            rows.remove(row)
            self.events[envelope]["relais" if outcome == "delivered" else "rejet"] += 1
        self._settle(envelope)
        self._grown.add(envelope)
        expect("counted", counted, result)

    def _drop(self, act: Act, result: object, envelope: str) -> None:
        rows = self.envelopes[envelope]
        expect("dropped", len(rows), result)
        self.events[envelope]["rejet"] += len(rows)
        rows.clear()
        self._settle(envelope)
        self._grown.add(envelope)

    def _now(self, act: Act, result: object, envelope: str, date: int) -> None:
        rows = [row for row in self.envelopes[envelope] if row[2] > date]
        for row in rows:
            row[2] = date
            self.hurried.add((envelope, row[0]))
        expect("due", len(rows), result)

    def _lease(self, act: Act, result: dict[str, list[str]], **_: object) -> None:
        for envelope, addresses in result.items():
            rows = {row[0]: row for row in self.envelopes[envelope]}
            expect("leased unknown", [], [a for a in addresses if a not in rows])
            early = [a for a in addresses if rows[a][2] > act.arguments["now"]]
            # Who read the clock before the administrator gets what is wanted at once all the same.
            early = [a for a in early if (envelope, a) not in self.hurried]
            expect("leased before their time", [], early)

    def _waiting(self, act: Act, result: dict[str, Any], envelope: str) -> None:
        rows = self.envelopes[envelope]
        content = self.contents.get(self.letters[envelope])
        expect("content", content.sha if rows and content else None, result["sha"])
        expect("entries", rows, result["entries"])

    def _prune(self, act: Act, result: object) -> None:
        """Nothing anybody sees."""

    def _check(self, act: Act, result: object) -> None:
        expect("problems", [], result)

    def _rotate(self, act: Act, result: object) -> None:
        expect("damaged", [], result)

    # ------------------------------------------------------------ parts

    def _learn(self, content: dict[str, Any], envelope: str | None) -> None:
        self.contents[content["id"]] = Content(
            content["sha"], content["summary"], content["subject"], content["mark"], envelope
        )

    def _add(self, box: int, flags: list[str], date: int, content: dict[str, Any]) -> int:
        found = self.boxes[box]
        named = found.named(frozenset(flags))
        uid = found.add(named, content["size"], date, content["id"])
        self.contents[content["id"]].owners[found.bal] += 1
        self.changes.append(("mail", box, found.highest))
        return uid

    def _copied(self, box: int, uids: list[int], target: int) -> list[list[int]]:
        source, into = self.boxes[box], self.boxes[target]
        wanted = sorted(set(uids) & source.messages.keys())
        if not wanted:
            return []
        into.highest += 1  # of all together
        pairs = []
        for uid in wanted:
            message = source.messages[uid]
            flags = message.flags if source is into else into.named(message.flags)
            new = into.join(flags, message.size, message.date, message.content)
            content = self.contents[message.content]
            content.owners[into.bal] += 1
            if into.bal != source.bal and content.envelope is not None:
                # Who was last in a BAL to let go of it may now depend on an order nobody sees.
                self.wandering.add(content.envelope)
            pairs.append([uid, new])
        self.changes.append(("mail", target, into.highest))
        return pairs

    def _remove(self, box: Box, uids: list[int], *, shredding: bool) -> None:
        if not uids:
            return
        box.highest += 1
        for uid in uids:
            message = box.messages.pop(uid)
            box.buried[uid] = box.highest
            self._release(message.content, box.bal, shredding=shredding)
        self.changes.append(("expunge", box.id, box.highest))

    def _release(self, id: str, owner: int, *, shredding: bool) -> None:
        content = self.contents[id]
        content.owners[owner] -= 1
        if not content.owners[owner]:
            del content.owners[owner]
            if shredding and content.envelope is not None:
                self.events[content.envelope]["suppression"] += 1
                self._grown.add(content.envelope)
        if not content.owners:
            del self.contents[id]

    def _settle(self, envelope: str) -> None:
        id = self.letters[envelope]
        if not self.envelopes[envelope] and id in self.contents and self.contents[id].owners[0]:
            self._release(id, 0, shredding=False)


def _with_children(names: dict[str, int], top: str) -> list[str]:
    return [name for name in names if name == top or name.startswith(top + "/")]


def names_version(names: dict[str, int]) -> str:
    """The names of a BAL as text."""
    return " ".join(f"{id}={name}" for name, id in sorted(names.items()))


def entries_version(rows: list[list[Any]]) -> str:
    """Version of what waits of an envelope."""
    return " ".join(f"{to},{attempts},{following}" for to, attempts, following in rows) or "done"
