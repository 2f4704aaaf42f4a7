"""Is there one order of all acts in which a store without any concurrency would say the same?

Every act names what it touched with the version before and after. An act can be next when all it
touched has the version it saw and nobody else still has to see that version. Among these the one
that began first is next; it must not have begun after an act was answered that is still to come
(strict serialisability: what is acknowledged is visible to whatever begins later, in any process).
Each act is then performed on the reference.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict

from tests.soak.journal import GONE, NEW, Act, Heard, Version
from tests.soak.reference import Change, Mismatch, Reference

MAX_VIOLATIONS = 5
SHOWN = 6


class Order:
    """The acts of one epoch, put into a serial order."""

    def __init__(
        self, reference: Reference, versions: dict[str, Version], found: list[Act]
    ) -> None:
        """`versions` are kept up to date; what is not among them is new."""
        self.reference = reference
        self.violations: list[str] = []
        self.played: list[Act] = []
        self.acts = [act for act in found if not act.in_doubt] + _committed(found)
        self._current = versions
        self._looking: Counter[tuple[str, Version]] = Counter()
        self._waiting: defaultdict[tuple[str, Version], list[int]] = defaultdict(list)
        self._missing = [0] * len(self.acts)
        self._ready: list[tuple[float, int]] = []

    def run(self) -> None:
        """Play everything, or say what cannot be."""
        for number, act in enumerate(self.acts):
            for name, before, after in act.touched:
                if before == after:
                    self._looking[name, before] += 1
                else:
                    self._waiting[name, before].append(number)
        for number in range(len(self.acts)):
            self._consider(number)
        answers = [(act.ended, n) for n, act in enumerate(self.acts) if act.ended is not None]
        heapq.heapify(answers)
        done: set[int] = set()
        while self._ready and len(self.violations) < MAX_VIOLATIONS:
            _, number = heapq.heappop(self._ready)
            if number in done:
                continue
            done.add(number)
            self._check_time(number, done, answers)
            self._play(self.acts[number])
        if len(done) < len(self.acts) and len(self.violations) < MAX_VIOLATIONS:
            self._stuck([act for n, act in enumerate(self.acts) if n not in done])

    def _version(self, name: str) -> Version:
        return self._current.get(name, NEW)

    def _consider(self, number: int) -> None:
        act = self.acts[number]
        for name, before, after in act.touched:
            if self._version(name) != before:
                self._waiting[name, before].append(number)
                return
            if before != after and self._looking[name, before]:
                return  # considered again when the last one has looked
        heapq.heappush(self._ready, (act.began, number))

    def _check_time(self, number: int, done: set[int], answers: list[tuple[float, int]]) -> None:
        while answers and answers[0][1] in done:
            heapq.heappop(answers)
        act = self.acts[number]
        if answers and answers[0][0] < act.began:
            late = self.acts[answers[0][1]]
            self._violated(
                "an act that was answered is not seen by one that began later:\n"
                f"  {late}\n  {act}\n  the first waits for {self._unfit(late)}"
            )

    def _play(self, act: Act) -> None:
        self.played.append(act)
        try:
            self.reference.play(act)
        except (Mismatch, KeyError, ValueError) as error:
            self._violated(f"{type(error).__name__}: {error}\n  {act}" + self._history(act))
        moved: list[tuple[str, Version]] = []
        for name, before, after in act.touched:
            if before == after:
                self._looking[name, before] -= 1
                moved.append((name, before))
            else:
                self._current[name] = after
                moved.append((name, after))
                if name.startswith("box:") and (before == NEW or after == GONE):
                    recent = name.replace("box", "recent")
                    self._current[recent] = GONE if after == GONE else 1
                    moved.append((recent, self._current[recent]))
        for key in moved:
            for number in self._waiting.pop(key, []):
                self._consider_again(number, key)

    def _consider_again(self, number: int, key: tuple[str, Version]) -> None:
        act = self.acts[number]
        if any(name == key[0] and self._looking[key] for name, b, a in act.touched if b != a):
            self._waiting[key].append(number)
            return
        self._consider(number)

    def _history(self, act: Act) -> str:
        names = {name for name, _, _ in act.touched}
        before = [
            other
            for other in self.played[:-1]
            if other.changes and names & {name for name, _, _ in other.touched}
        ]
        return "".join(f"\n    after {other}" for other in before[-SHOWN:])

    def _stuck(self, left: list[Act]) -> None:
        """Two acts from one version, a version nobody made, or a circle of those."""
        left.sort(key=lambda act: act.began)
        for act in left[:SHOWN]:
            self._violated(f"no place in any order: {self._unfit(act)}\n  {act}")

    def _unfit(self, act: Act) -> str:
        unfit = []
        for name, before, after in act.touched:
            if self._version(name) != before:
                unfit.append(f"{name} is at {self._version(name)!r}, seen at {before!r}")
            elif before != after and self._looking[name, before]:
                others = [o for o in self.acts if (name, before, before) in o.touched]
                late = [str(o) for o in others if o not in self.played]
                unfit.append(f"{name} at {before!r}, still to be seen by {late[:3]}")
        return "; ".join(unfit) or "nothing"

    def _violated(self, text: str) -> None:
        self.violations.append(text)


def _committed(found: list[Act]) -> list[Act]:
    """Acts in doubt that must have happened: somebody saw what they made, nobody made it else."""
    made = {(n, a) for act in found if not act.in_doubt for n, b, a in act.touched if a != b}
    taken = {(n, b) for act in found if not act.in_doubt for n, b, a in act.touched if a != b}
    seen = {(n, b) for act in found if not act.in_doubt for n, b, a in act.touched}
    doubtful = [act for act in found if act.in_doubt and act.ran and act.changes]
    committed: list[Act] = []
    more = True
    while more:
        more = False
        for act in list(doubtful):
            moves = [(n, b, a) for n, b, a in act.touched if a != b]
            if any((n, b) in taken or (n, a) in made for n, b, a in moves):
                doubtful.remove(act)
            elif any((n, a) in seen for n, _, a in moves):
                seen |= {(n, b) for n, b, _ in act.touched}
                taken |= {(n, b) for n, b, _ in moves}
                made |= {(n, a) for n, _, a in moves}
                act.ended, act.error = None, None
                committed.append(act)
                doubtful.remove(act)
                more = True
    return committed


def unheard(
    expected: list[Change], before: list[Change], heard: list[Heard], *, complete: bool
) -> list[str]:
    """Changes that a process was never told of (`complete`), invented ones, and any told twice.

    A process that was started again may be told of changes `before` this epoch too.
    """
    highest: dict[tuple[str, int], int] = {}
    known = {*expected, *before}
    violations = []
    for one in heard:
        key = (one.kind, one.mailbox)
        if (one.kind, one.mailbox, one.modseq) not in known:
            violations.append(f"told of a change that nobody made: {one}")
        if one.kind != "mailbox" and one.modseq <= highest.get(key, 0):
            violations.append(f"told twice or out of order: {one}")
        highest[key] = max(one.modseq, highest.get(key, 0))
    violations += [
        f"never told of {kind} in mailbox {mailbox}, modseq {modseq}"
        for kind, mailbox, modseq in expected
        if complete and highest.get((kind, mailbox), 0) < modseq
    ]
    return violations[:MAX_VIOLATIONS]


def leased_twice(found: list[Act]) -> list[str]:
    """Two workers must never hold the same recipient at the same time (D4)."""
    given_back: defaultdict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    held: defaultdict[tuple[str, str], list[Act]] = defaultdict(list)
    for act in found:
        ended = float("inf") if act.ended is None or act.in_doubt else act.ended
        if act.name == "record":
            for address, _, _ in act.arguments["outcomes"]:
                given_back[act.arguments["envelope"], address].append((act.began, ended))
        elif act.name == "lease" and not act.in_doubt and act.result:
            for envelope, addresses in act.result.items():
                for address in addresses:
                    held[envelope, address].append(act)
    violations = []
    for key, leases in held.items():
        leases.sort(key=lambda act: act.began)
        for first, second in zip(leases, leases[1:], strict=False):
            later = max(first.arguments["now"], second.arguments["now"])
            apart = later >= min(first.arguments["until"], second.arguments["until"])
            ended = second.ended if second.ended is not None else float("inf")
            returned = any(end >= first.began and begin <= ended for begin, end in given_back[key])
            if not apart and not returned:
                violations.append(f"{key} is held twice:\n  {first}\n  {second}")
    return violations
