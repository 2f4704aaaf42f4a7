"""What a run says: on a terminal, as JSON, as the page docs/durability.md."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.crash.findings import Findings

_TEXT = Path(__file__).with_name("durability.md")
_SHOWN = 20


@dataclass(frozen=True)
class Part:
    """One part of a run: what it found, of how many states there are, with which script."""

    name: str
    found: Findings
    counted: int
    """States, counted before they were tried."""
    operations: int
    steps: int

    @property
    def total(self) -> int:
        """States there are: an operation played alone may make more calls than were counted."""
        return max(self.counted, self.found.verdict.states)

    def text(self) -> str:
        """For people."""
        verdict = self.found.verdict
        return (
            f"{self.name}: {verdict.states} of {self.total} states, "
            f"{verdict.acknowledged} acknowledged messages, {len(self.found.problems)} problems"
        )


@dataclass(frozen=True)
class Report:
    """A whole run. `planted`: planted bug -> the state that shows it."""

    seed: int
    arguments: str
    """Of the command that does the same."""
    took_s: float
    parts: list[Part]
    planted: dict[str, str]

    @property
    def whole(self) -> Findings:
        """All parts together."""
        whole = Findings()
        for part in self.parts:
            whole.add(part.found)
        return whole

    @property
    def is_sound(self) -> bool:
        """No promise was broken, every planted bug was found."""
        return not self.whole.problems and all(self.planted.values())

    def values(self) -> dict[str, object]:
        """For machines."""
        verdict = self.whole.verdict
        return {
            "seed": self.seed,
            "seconds": round(self.took_s, 1),
            "states": verdict.states,
            "acknowledged": verdict.acknowledged,
            "lost": verdict.lost,
            "doubled": verdict.doubled,
            "uid_reused": verdict.reused,
            "parts": {
                part.name: {
                    "states": part.found.verdict.states,
                    "of": part.total,
                    "acknowledged": part.found.verdict.acknowledged,
                    "kinds": dict(part.found.counts),
                }
                for part in self.parts
            },
            "problems": [{"state": name, "problem": what} for name, what in self.whole.problems],
            "planted": self.planted,
        }

    def text(self) -> str:
        """For people."""
        verdict = self.whole.verdict
        lines = [part.text() for part in self.parts]
        lines.append(
            f"seed {self.seed}: {verdict.acknowledged} acknowledged messages in "
            f"{verdict.states} states: {verdict.lost} lost, {verdict.doubled} doubled, "
            f"{verdict.reused} UIDs reused, "
            f"{len(self.whole.problems)} problems ({self.took_s:.0f} s)"
        )
        lines += [
            f"planted {name}: {f'found, {where}' if where else 'NOT FOUND'}"
            for name, where in self.planted.items()
        ]
        for name, what in self.whole.problems[:_SHOWN]:
            lines.append(f"{what}\n    ./run store crash-test --seed {self.seed} --repeat '{name}'")
        return "\n".join(lines)


def page(report: Report) -> str:
    """docs/durability.md: the method as written beside this module, the figures of this run."""
    return _TEXT.read_text("utf-8").replace("{figures}", _figures(report))


def _figures(report: Report) -> str:
    verdict = report.whole.verdict
    rows = [
        f"`./run store crash-test {report.arguments}`, {report.took_s / 60:.0f} minutes:",
        "",
        "| Part | Operations (steps) | States tried | States there are | Acknowledged messages "
        "| Lost | Doubled | UIDs reused |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for part in report.parts:
        seen = part.found.verdict
        rows.append(
            f"| {part.name} | {part.operations} ({part.steps}) | {seen.states:,} | "
            f"{part.total:,} | {seen.acknowledged:,} | {seen.lost} | {seen.doubled} | "
            f"{seen.reused} |"
        )
    rows.append(
        f"| **together** | | **{verdict.states:,}** | | **{verdict.acknowledged:,}** | "
        f"**{verdict.lost}** | **{verdict.doubled}** | **{verdict.reused}** |"
    )
    rows += ["", f"Problems of any kind: {len(report.whole.problems)}."]
    rows += [f"* `{name}`: {what}" for name, what in report.whole.problems[:_SHOWN]]
    rows += ["", "States by kind:", ""]
    for part in report.parts:
        kinds = ", ".join(f"{name} {count:,}" for name, count in sorted(part.found.counts.items()))
        rows.append(f"* {part.name}: {kinds}")
    if report.planted:
        rows += ["", "Planted bugs, and the first state that shows each:", ""]
        for name, where in report.planted.items():
            rows.append(f"* {name.replace('_', ' ')}: {f'`{where}`' if where else '**not found**'}")
    return "\n".join(rows)
