"""Which message answers which: the algorithms of THREAD (RFC 5256 3, draft-ietf-morg-inthread 5).

ORDEREDSUBJECT puts together what has the same base subject, REFERENCES what refers to one another
and then what has the same subject, REFS what refers to one another. All of it takes time in
proportion to the messages and their references (ATT-27), and yields now and then: it runs in a
reading thread, some pieces at a time.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mssmtp.imap import envelopes
from mssmtp.imap.responses import Refused
from mssmtp.imap.shown import Shown, shown
from mssmtp.imap.sorting import MOST_OCTETS, number, sorted_by
from mssmtp.mail import MailboxId
from mssmtp.message.collation import casemapped
from mssmtp.message.dates import sent_us
from mssmtp.message.subjects import base_subject
from mssmtp.message.words import decode_words

if TYPE_CHECKING:
    from mssmtp.storage import Reading

BATCH = 2_048
"""Messages of one read."""
MOST_REFERENCES = 200
"""Of one message the nearest ones count."""
MOST_REFERENCES_OCTETS = 16_384
MOST_STEPS = 2_000
"""Ancestors that are looked at for one message, in search of a loop; with more, no link is made."""
MOST_NODES = 2_000_000
"""Messages of one THREAD, and those they refer to (D11)."""
TURN = 4_096
"""Pieces of work between two yields."""

_REFERENCES = re.compile(rb"^references[ \t]*:(.*(?:\r?\n[ \t].*)*+)", re.IGNORECASE | re.MULTILINE)
_ID = re.compile(
    rb'<[ \t]*((?:"(?:[^"\\]|\\.)*+"|[^<>"@\s])++)[ \t]*@[ \t]*([^<>@\s]++)[ \t]*>', re.DOTALL
)
_QUOTED_PAIR = re.compile(rb"\\(.)", re.DOTALL)
NONE = -1


def message_ids(value: bytes) -> list[bytes]:
    """Every valid msg-id, whatever its quoting (RFC 5256 3)."""
    found = []
    for left, right in _ID.findall(value):
        if b'"' in left:
            left = _QUOTED_PAIR.sub(rb"\1", left.replace(b'\\"', b"\0")).replace(b'"', b"")
            left = left.replace(b"\0", b'"')
        found.append(left + b"@" + right)
    return found


def references_of(header: bytes, in_reply_to: bytes | None) -> list[bytes]:
    """The ids of `References`, or the first of `In-Reply-To` (RFC 5256 3)."""
    found = _REFERENCES.search(header)
    if found is not None:
        value = found[1].replace(b"\r\n", b"").replace(b"\n", b"")
        ids = message_ids(value[-MOST_REFERENCES_OCTETS:])
        if ids:
            return ids[-MOST_REFERENCES:]
    return message_ids((in_reply_to or b"")[:MOST_REFERENCES_OCTETS])[:1]


@dataclass(slots=True)
class Letters:
    """What is compared of each message, in the order of the mailbox."""

    sent: list[bytes] = field(default_factory=list)
    arrived: list[bytes] = field(default_factory=list)
    subjects: list[bytes] = field(default_factory=list)
    are_replies: list[bool] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.sent)

    def add(self, sent_at_us: int | None, arrived_us: int, subject: bytes | None) -> None:
        """One more."""
        base = base_subject(decode_words(subject or b""))
        self.sent.append(number(arrived_us if sent_at_us is None else sent_at_us))
        self.arrived.append(number(arrived_us))
        self.subjects.append(casemapped(base.text)[:MOST_OCTETS])
        self.are_replies.append(base.is_reply)


class Links:
    """Step (1): who is whose parent. A node is a message, or one that is only referred to."""

    def __init__(self) -> None:
        self.parents: list[int] = []
        self.letters: list[int] = []
        """Of each node its place in the Letters; NONE for a dummy."""
        self._children: list[int] = []
        """How many each node has."""
        self._ids: dict[bytes, int] = {}
        self._steps = 0

    def add(self, letter: int, id: bytes | None, references: Sequence[bytes]) -> None:
        """(A) and (B) for one message."""
        self._steps = MOST_STEPS
        node = self._ids.get(id, NONE) if id is not None else NONE
        if id is None or (node != NONE and self.letters[node] != NONE):
            node = self._new()  # a duplicate, or no id: one of its own
        elif node == NONE:
            node = self._ids[id] = self._new()
        self.letters[node] = letter
        last = NONE
        for reference in references:
            at = self._ids.get(reference, NONE)
            if at == NONE:
                at = self._ids[reference] = self._new()
            if last != NONE and self.parents[at] == NONE:
                self._link(last, at)
            last = at
        if self.parents[node] != NONE:
            self._children[self.parents[node]] -= 1
            self.parents[node] = NONE
        if last != NONE:
            self._link(last, node)

    def _new(self) -> int:
        if len(self.parents) >= MOST_NODES:
            raise Refused("LIMIT", b"Thread fewer messages at once")
        self.parents.append(NONE)
        self.letters.append(NONE)
        self._children.append(0)
        return len(self.parents) - 1

    def _link(self, parent: int, child: int) -> None:
        """Unless that would make a loop."""
        if parent == child:
            return
        if self._children[child]:  # who has none is nobody's ancestor
            at = parent
            while at != NONE:
                self._steps -= 1
                if at == child or self._steps < 0:
                    return
                at = self.parents[at]
        self.parents[child] = parent
        self._children[parent] += 1


@dataclass(slots=True)
class Forest:
    """Nodes and their children. Who is no key has none. `letters[node]` is NONE for a dummy."""

    letters: list[int]
    children: dict[int, list[int]]
    roots: list[int]


@dataclass(slots=True)
class Threader:
    """Takes messages in the order of the mailbox, then makes threads of them."""

    algorithm: str
    letters: Letters = field(default_factory=Letters)
    links: Links = field(default_factory=Links)

    def take(self, reading: Reading, mailbox: MailboxId, uids: Sequence[int]) -> None:
        """The next messages. Raises Refused when there are too many."""
        arrived = reading.arrivals(mailbox, uids)
        for each, (arrived_us, _) in zip(shown(reading, mailbox, uids), arrived, strict=True):
            self._add(each, arrived_us)

    def _add(self, each: Shown, arrived_us: int) -> None:
        ids = envelopes.ids(each.envelope)
        references: list[bytes] = []
        own: list[bytes] = []
        if self.algorithm != ORDEREDSUBJECT:
            references = references_of(each.fields, ids.in_reply_to)
            own = message_ids((ids.message_id or b"")[:MOST_REFERENCES_OCTETS])
        self.links.add(len(self.letters), own[0] if own else None, references)
        self.letters.add(sent_us(ids.date), arrived_us, ids.subject)

    def threads(self) -> Generator[None, None, Forest]:
        """All of them."""
        return _ALGORITHMS[self.algorithm](self.letters, self.links)


# ---------------------------------------------------------------- ORDEREDSUBJECT


def _ordered_subject(letters: Letters, _links: Links) -> Generator[None, None, Forest]:
    """By subject, then by date; the first of each is the parent of the others."""
    order = yield from sorted_by(list(range(len(letters))), letters.sent)
    heads: dict[bytes, int] = {}
    children: dict[int, list[int]] = {}
    roots: list[int] = []
    for at in order:
        head = heads.setdefault(letters.subjects[at], at)
        if head == at:
            roots.append(at)
        else:
            children.setdefault(head, []).append(at)
    return Forest(list(range(len(letters))), children, roots)


# ---------------------------------------------------------------- REFERENCES and REFS


def _references(letters: Letters, links: Links) -> Generator[None, None, Forest]:
    forest = yield from _pruned(links)
    dates = _Dates(forest, letters.sent)
    dummies = [root for root in forest.roots if forest.letters[root] == NONE]
    yield from dates.sort_children(dummies)
    forest.roots = yield from dates.in_order(forest.roots)
    yield from _Merging(forest, letters, dates).run()
    yield from dates.sort_children(list(forest.children))
    forest.roots = yield from dates.in_order(forest.roots)
    return forest


def _refs(letters: Letters, links: Links) -> Generator[None, None, Forest]:
    """No subjects; the thread that something has arrived in last is the last."""
    forest = yield from _pruned(links)
    yield from _Dates(forest, letters.sent).sort_children(list(forest.children))
    latest: list[bytes] = []
    for root in forest.roots:
        waiting, last = [root], b""
        while waiting:
            node = waiting.pop()
            waiting += forest.children.get(node, ())
            at = forest.letters[node]
            if at != NONE:
                last = max(last, letters.arrived[at] + number(at))
        latest.append(last)
        if len(latest) % TURN == 0:
            yield
    order = yield from sorted_by(list(range(len(latest))), latest)
    forest.roots = [forest.roots[at] for at in order]
    return forest


def _pruned(links: Links) -> Generator[None, None, Forest]:
    """(2) and (3): a child of a dummy belongs to the next message above it, or, when there is
    none, to the dummy on top, which stays when it has several."""
    parents, letters = links.parents, links.letters
    above: list[int] = [NONE] * len(parents)
    """Of each dummy that was looked at: the message above it, or the dummy on top."""
    children: dict[int, list[int]] = {}
    roots: list[int] = []
    for done, node in enumerate(_nodes_by_letter(letters)):
        if parents[node] == NONE:
            roots.append(node)
        else:
            holder = _holder(parents[node], parents, letters, above)
            if holder not in children and letters[holder] == NONE:
                roots.append(holder)
            children.setdefault(holder, []).append(node)
        if done % TURN == 0:
            yield
    for at, root in enumerate(roots):
        if letters[root] == NONE and len(children[root]) == 1:
            roots[at] = children.pop(root)[0]
    return Forest(letters, children, roots)


def _nodes_by_letter(letters: Sequence[int]) -> list[int]:
    """The nodes that are messages, in the order of the mailbox."""
    nodes = [NONE] * sum(1 for letter in letters if letter != NONE)
    for node, letter in enumerate(letters):
        if letter != NONE:
            nodes[letter] = node
    return nodes


def _holder(node: int, parents: list[int], letters: list[int], above: list[int]) -> int:
    """The next message from `node` upwards, or the dummy on top. Each dummy is passed once."""
    passed: list[int] = []
    while letters[node] == NONE and parents[node] != NONE:
        if above[node] != NONE:
            node = above[node]
            break
        passed.append(node)
        node = parents[node]
    for each in passed:
        above[each] = node
    return node


@dataclass(frozen=True, slots=True)
class _Dates:
    """(4) and (6): nodes in the order of their dates, equal ones in that of the mailbox."""

    forest: Forest
    sent: list[bytes]

    def letter(self, node: int) -> int:
        """The message of `node`; a dummy counts as its first child."""
        at = self.forest.letters[node]
        return self.forest.letters[self.forest.children[node][0]] if at == NONE else at

    def _key(self, node: int) -> bytes:
        at = self.letter(node)
        return self.sent[at] + number(at)

    def in_order(self, nodes: list[int]) -> Generator[None, None, list[int]]:
        """A list of siblings, sorted."""
        if len(nodes) < 2:
            return nodes
        keys = list(map(self._key, nodes))
        order = yield from sorted_by(list(range(len(nodes))), keys)
        return [nodes[at] for at in order]

    def sort_children(self, nodes: list[int]) -> Generator[None, None, None]:
        """Of each of `nodes` the children."""
        done = 0
        for node in nodes:
            siblings = self.forest.children[node]
            siblings[:] = yield from self.in_order(siblings)
            done += len(siblings)
            if done >= TURN:
                done = 0
                yield


class _Merging:
    """(5): threads of the same subject become one."""

    def __init__(self, forest: Forest, letters: Letters, dates: _Dates) -> None:
        self._forest = forest
        self._letters = letters
        self._dates = dates
        self._table: dict[bytes, int] = {}
        self._gone: set[int] = set()

    def run(self) -> Generator[None, None, None]:
        roots = self._forest.roots
        for done, root in enumerate(roots):
            self._enter(root)
            if done % TURN == 0:
                yield
        for done, root in enumerate(tuple(roots)):
            self._merge(root)
            if done % TURN == 0:
                yield
        self._forest.roots = [root for root in roots if root not in self._gone]

    def _is_dummy(self, node: int) -> bool:
        return self._forest.letters[node] == NONE

    def _is_reply(self, node: int) -> bool:
        return not self._is_dummy(node) and self._letters.are_replies[self._forest.letters[node]]

    def _subject(self, root: int) -> bytes:
        return self._letters.subjects[self._dates.letter(root)]

    def _enter(self, root: int) -> None:
        """(B)"""
        subject = self._subject(root)
        if not subject:
            return
        known = self._table.setdefault(subject, root)
        if known == root or self._is_dummy(known):
            return
        is_original = self._is_reply(known) and not self._is_reply(root)
        if self._is_dummy(root) or is_original:
            self._table[subject] = root

    def _merge(self, root: int) -> None:
        """(C)"""
        subject = self._subject(root)
        if not subject or self._table[subject] == root:
            return
        known = self._table[subject]
        forest = self._forest
        self._gone.add(root)
        if self._is_dummy(known) and self._is_dummy(root):
            forest.children[known] += forest.children.pop(root)
        elif self._is_dummy(known) or (self._is_reply(root) and not self._is_reply(known)):
            forest.children.setdefault(known, []).append(root)
        else:
            dummy = len(forest.letters)
            forest.letters.append(NONE)
            forest.children[dummy] = [known, root]
            forest.roots.append(dummy)
            self._gone.add(known)
            self._table[subject] = dummy


ORDEREDSUBJECT = "ORDEREDSUBJECT"
_ALGORITHMS = {ORDEREDSUBJECT: _ordered_subject, "REFERENCES": _references, "REFS": _refs}
ALGORITHMS = frozenset(_ALGORITHMS)


# ---------------------------------------------------------------- on the wire


def rendered(forest: Forest, numbers: Sequence[int]) -> bytes:
    """`*thread-list`, with `numbers[i]` for message i. As deep as may be: nothing recurs."""
    out: list[bytes] = []
    waiting: list[int | bytes] = []
    _push(waiting, forest.roots)
    while waiting:
        node = waiting.pop()
        if isinstance(node, bytes):
            out.append(node)
            continue
        is_dummy = forest.letters[node] == NONE
        if not is_dummy:
            out.append(b"%d" % numbers[forest.letters[node]])
        children = forest.children.get(node, ())
        if children and not is_dummy:
            out.append(b" ")
        if len(children) == 1:
            waiting.append(children[0])
        else:
            _push(waiting, children)
    return b"".join(out)


def _push(waiting: list[int | bytes], nodes: Sequence[int]) -> None:
    """Each of `nodes` in parentheses, the first on top."""
    for node in reversed(nodes):
        waiting += (b")", node, b"(")
