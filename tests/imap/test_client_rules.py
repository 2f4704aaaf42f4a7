"""Every rule about real clients that concerns IMAP has an owner: a transcript that names it.

GEN, OLC, CLD, THB, APL, AND, MAC are what each client does; R01 to R18 what was seen of one client
in the field. A rule is written once in the first line of its transcript.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TRANSCRIPTS = sorted((ROOT / "tests" / "transcripts" / "imap").glob("*.txt"))


RULES = [
    *(f"GEN-{n:02}" for n in range(1, 16) if n not in (2, 7)),
    "GEN-02", "GEN-19", "GEN-20",
    *(f"OLC-{n:02}" for n in range(1, 8)), "OLC-08",
    "CLD-02", "CLD-03", "CLD-04",
    "THB-01", "THB-06", "THB-07", "THB-08", "THB-09", "THB-10",
    *(f"APL-{n:02}" for n in (1, 2, 3, 5, 6, 7, 8, 10)),
    "AND-01", "AND-02", "AND-03", "AND-04", "AND-05",
    "MAC-01", "MAC-05", "MAC-07",
    "R02", "R03", "R04", "R09", "R10", "R12", "R16", "R17",
]  # fmt: skip


def named() -> dict[str, list[str]]:
    """Each rule named in the first line of a transcript, and the transcripts."""
    found: dict[str, list[str]] = {}
    for path in TRANSCRIPTS:
        for rule in re.findall(r"\b(?:[A-Z]{3}-\d\d|R\d\d)\b", path.read_text().partition("\n")[0]):
            found.setdefault(rule, []).append(path.stem)
    return found


@pytest.mark.requirement("CL-35")
@pytest.mark.parametrize("rule", RULES)
def test_a_rule_about_clients_has_its_transcript(rule: str) -> None:
    assert named().get(rule), rule
