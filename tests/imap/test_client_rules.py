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
    "R02", "R03", "R04", "R05", "R07", "R09", "R10", "R12", "R13", "R14", "R15",
    "R16", "R17", "R18",
]  # fmt: skip


ELSEWHERE = {
    # No dialog of IMAP shows these: a clock, a handshake, the door of submission.
    "R01": "tests/own/test_choice.py::"
    "test_a_server_presents_by_the_name_asked_for_or_the_most_useful_one",
    "R06": "tests/imap/test_batches.py::"
    "test_r06_a_long_command_says_between_its_commits_that_it_goes_on",
    "R08": "tests/smtp_in/test_submission_door.py::"
    "test_attachments_are_held_to_their_limits_at_the_value_and_one_more",
    "R11": "tests/smtp_in/test_untouched.py::test_messages_are_counted_by_product_and_fields",
}


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


def test_every_row_seen_in_the_field_is_shown_somewhere() -> None:
    """R01 to R18 of client-access.md 6."""
    seen = {f"R{number:02}" for number in range(1, 19)}
    assert seen - set(RULES) == set(ELSEWHERE)
    for place in ELSEWHERE.values():
        file, _, test = place.partition("::")
        assert f"def {test}(" in (ROOT / file).read_text(encoding="utf-8"), place
