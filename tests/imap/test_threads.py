"""THREAD against the steps of RFC 5256 3 done one by one, with objects and recursion."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssmtp.imap import sorting, threads
from mssmtp.imap.responses import Refused
from mssmtp.imap.shown import Shown
from mssmtp.imap.threads import Links, Threader, message_ids, references_of, rendered
from mssmtp.message.headers import fields
from mssmtp.message.structure import envelope_of
from tests.imap.test_sorting import done
from tests.message.test_subjects import slowly

# ---------------------------------------------------------------- the slow reference


@dataclass(eq=False)
class Letter:
    number: int
    id: str | None
    references: list[str]
    in_reply_to: str | None
    subject: str
    date: int
    arrived: int

    def header(self) -> bytes:
        days = f"{self.date // 24 + 1:02} Jan 2026 {self.date % 24:02}:00:00 +0000"
        lines = [f"Subject: {self.subject}", f"Date: {days}"]
        if self.id is not None:
            lines.append(f"Message-ID: <{self.id}@x>")
        if self.in_reply_to is not None:
            lines.append(f"In-Reply-To: your mail <{self.in_reply_to}@x> of <other@x>")
        if self.references:
            lines.append("References: " + "\r\n\t".join(f"<{each}@x>" for each in self.references))
        return "\r\n".join([*lines, "", ""]).encode()


@dataclass(eq=False)
class Node:
    letter: Letter | None = None
    parent: Node | None = None
    children: list[Node] = field(default_factory=list)

    def adopt(self, child: Node) -> None:
        child.leave()
        child.parent = self
        self.children.append(child)

    def leave(self) -> None:
        if self.parent is not None:
            self.parent.children.remove(self)
        self.parent = None

    def is_below(self, other: Node) -> bool:
        return self is other or (self.parent is not None and self.parent.is_below(other))

    def first(self) -> Letter:
        return self.letter or self.children[0].first()

    def key(self) -> tuple[int, int]:
        return self.first().date, self.first().number

    def letters(self) -> list[Letter]:
        own = [self.letter] if self.letter else []
        return own + [each for child in self.children for each in child.letters()]


def slow_links(letters: list[Letter]) -> list[Node]:
    """(1) to (3): the children of the root."""
    nodes: dict[str, Node] = {}
    every: list[Node] = []

    def node_of(id: str) -> Node:
        if id not in nodes:
            nodes[id] = Node()
            every.append(nodes[id])
        return nodes[id]

    for letter in letters:
        node = node_of(letter.id) if letter.id is not None else Node()
        if node.letter is not None:
            node = Node()
        if node not in every:
            every.append(node)
        node.letter = letter
        references = letter.references or ([letter.in_reply_to] if letter.in_reply_to else [])
        chain = [node_of(each) for each in references]
        for parent, child in zip(chain, chain[1:], strict=False):
            if child.parent is None and not parent.is_below(child):
                parent.adopt(child)
        node.leave()
        if chain and not chain[-1].is_below(node):
            chain[-1].adopt(node)
    for node in [each for each in every if each.parent is None]:
        prune(node)
    roots = []
    for root in [each for each in every if each.parent is None]:
        if root.letter is None and len(root.children) == 1:
            child = root.children[0]
            child.leave()
            roots.append(child)
        elif root.letter is not None or root.children:
            roots.append(root)
    return roots


def prune(node: Node) -> None:
    for child in list(node.children):
        prune(child)
        if child.letter is None:
            for grandchild in list(child.children):
                node.adopt(grandchild)
            child.leave()


def sort_all(nodes: list[Node]) -> None:
    for node in nodes:
        sort_all(node.children)
    nodes.sort(key=Node.key)


def slow_references(letters: list[Letter]) -> list[Node]:
    roots = slow_links(letters)
    sort_all(roots)
    table: dict[str, Node] = {}
    for root in roots:  # (5) (B)
        subject = base(root)
        if subject and (
            subject not in table
            or (
                table[subject].letter is not None
                and (root.letter is None or (is_reply(table[subject]) and not is_reply(root)))
            )
        ):
            table[subject] = root
    for root in list(roots):  # (5) (C)
        subject = base(root)
        if not subject or table[subject] is root:
            continue
        known = table[subject]
        roots.remove(root)
        if known.letter is None and root.letter is None:
            for child in list(root.children):
                known.adopt(child)
        elif known.letter is None or (is_reply(root) and not is_reply(known)):
            known.adopt(root)
        else:
            roots.remove(known)
            dummy = Node()
            dummy.adopt(known)
            dummy.adopt(root)
            roots.append(dummy)
            table[subject] = dummy
    sort_all(roots)
    return roots


def base(node: Node) -> str:
    return slowly(node.first().subject)[0].casefold()


def is_reply(node: Node) -> bool:
    return node.letter is not None and slowly(node.letter.subject)[1]


def slow_refs(letters: list[Letter]) -> list[Node]:
    roots = slow_links(letters)
    sort_all(roots)
    return sorted(roots, key=lambda root: max((at.arrived, at.number) for at in root.letters()))


def slow_ordered_subject(letters: list[Letter]) -> list[Node]:
    groups: dict[str, list[Node]] = {}
    for letter in sorted(letters, key=lambda each: (each.date, each.number)):
        node = Node(letter)
        groups.setdefault(base(node), []).append(node)
    for head, *others in groups.values():
        for other in others:
            head.adopt(other)
    return sorted((group[0] for group in groups.values()), key=Node.key)


def written(nodes: list[Node]) -> str:
    return "".join(f"({members(node)})" for node in nodes)


def members(node: Node) -> str:
    own = [str(node.letter.number)] if node.letter else []
    if len(node.children) == 1:
        return " ".join([*own, members(node.children[0])])
    return " ".join([*own, *([written(node.children)] if node.children else [])])


SLOW: dict[str, Callable[[list[Letter]], list[Node]]] = {
    "ORDEREDSUBJECT": slow_ordered_subject,
    "REFERENCES": slow_references,
    "REFS": slow_refs,
}

# ---------------------------------------------------------------- comparisons


def quickly(algorithm: str, letters: list[Letter]) -> str:
    threader = Threader(algorithm)
    for letter in letters:
        header = letter.header()
        threader._add(Shown(envelope_of(fields(header)), header), letter.arrived)
    forest = done(threader.threads())
    return rendered(forest, [letter.number for letter in letters]).decode()


IDS = st.sampled_from("abcdefgh")
letters_of = st.builds(
    lambda many: [Letter(number, *each) for number, each in enumerate(many, 1)],
    st.lists(
        st.tuples(
            st.none() | IDS,
            st.lists(IDS, max_size=4),
            st.none() | IDS,
            st.sampled_from(["", "x", "Re: x", "X", "Re: y", "y", "[fwd: x]", "z (fwd)", "z"]),
            st.integers(0, 30),
            st.integers(0, 5),
        ),
        max_size=12,
    ),
)


@pytest.mark.parametrize("algorithm", sorted(SLOW))
@given(letters=letters_of)
def test_threads_are_those_of_the_steps_of_the_rfc(algorithm: str, letters: list[Letter]) -> None:
    assert quickly(algorithm, letters) == written(SLOW[algorithm](letters))


@pytest.mark.parametrize("algorithm", sorted(SLOW))
def test_a_big_mailbox_is_threaded_alike(algorithm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sorting, "HEAP", 16)
    monkeypatch.setattr(threads, "TURN", 7)
    draw = random.Random(algorithm)  # noqa: S311 - repeatable
    letters = [
        Letter(
            number,
            f"m{number}" if draw.random() < 0.95 else None,
            [f"m{draw.randrange(1, 400)}" for _ in range(draw.choice((0, 1, 1, 2, 5)))],
            None,
            draw.choice(["Re: ", ""]) + f"s{draw.randrange(150)}",
            draw.randrange(600),
            number,
        )
        for number in range(1, 400)
    ]
    assert quickly(algorithm, letters) == written(SLOW[algorithm](letters))


def test_message_ids_are_compared_without_their_quoting() -> None:
    """RFC 5256 3."""
    assert message_ids(b'<"01KF8JCEOCBS0045PS"@xxx.yyy.test>') == [
        b"01KF8JCEOCBS0045PS@xxx.yyy.test"
    ]
    assert message_ids(b'< "a\\"b" @ c > <d@e><f@g> <no> <> x@y <h@i') == [b'a"b@c', b"d@e", b"f@g"]
    assert message_ids(b"<A@b> <a@b>") == [b"A@b", b"a@b"]


def test_references_come_before_in_reply_to() -> None:
    header = b"Subject: x\r\nREFERENCES : <a@x>\r\n <b@x>\r\n\t<c@x>\r\nTo: <d@x>\r\n\r\n"
    assert references_of(header, b"<z@x>") == [b"a@x", b"b@x", b"c@x"]
    assert references_of(b"References: none at all\r\n\r\n", b"<y@x> <z@x>") == [b"y@x"]
    assert references_of(b"Subject: References: <a@x>\r\n\r\n", None) == []


@pytest.mark.attack("ATT-27")
def test_att_27_a_loop_is_not_looked_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chains that are put below a deep one in turn: each look upwards is bounded."""
    monkeypatch.setattr(threads, "MOST_STEPS", 50)
    links = Links()
    for number in range(2_000):
        links.add(number, b"%d" % number, [b"%d" % (number - 1)] if number else [])
    steps = []
    for number in range(2_000, 2_100):
        links.add(number, b"%d" % number, [b"top%d" % number])
        links.add(number + 100, b"y%d" % number, [b"1999", b"top%d" % number])
        steps.append(links._steps)
    assert min(steps) >= -1


@pytest.mark.attack("ATT-27")
def test_att_27_references_and_dummies_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    many = b"References: " + b" ".join(b"<%d@x>" % n for n in range(100_000)) + b"\r\n\r\n"
    found = references_of(many, None)
    assert len(found) == threads.MOST_REFERENCES
    assert found[-1] == b"99999@x"
    monkeypatch.setattr(threads, "MOST_NODES", 10)
    with pytest.raises(Refused):
        Links().add(0, b"a", [b"%d" % number for number in range(20)])


def test_a_deep_thread_is_written_without_recursion() -> None:
    links = Threader("REFERENCES")
    count = 5_000
    for number in range(count):
        links.links.add(number, b"%d" % number, [b"%d" % (number - 1)] if number else [])
        links.letters.add(number, number, b"x")
    assert rendered(done(links.threads()), range(count)) == (
        b"(" + b" ".join(b"%d" % number for number in range(count)) + b")"
    )
