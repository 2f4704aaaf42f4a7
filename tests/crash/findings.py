"""What a part of the laboratory found."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from tests.crash.judge import Verdict


@dataclass
class Findings:
    """Verdicts added up; `problems` are (how to repeat it, what)."""

    verdict: Verdict = field(default_factory=Verdict)
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[tuple[str, str]] = field(default_factory=list)

    def add(self, other: Findings) -> None:
        """Take another part in."""
        self.verdict.add(other.verdict)
        self.counts += other.counts
        self.problems += other.problems

    def see(self, name: str, kind: str, verdict: Verdict) -> None:
        """One more state was judged."""
        self.problems += [(name, problem) for problem in verdict.problems[:5]]
        self.counts[kind] += 1
        self.verdict.add(verdict)
