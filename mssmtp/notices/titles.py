"""What of a letter's title may be told outside the trust space (DEF-15)."""

from __future__ import annotations

import re
from typing import Literal

DOCUMENT = {"fr": "Document de santé", "en": "Health document"}
PATIENT = {"fr": "Message patient", "en": "Patient message"}
MESSAGE = {"fr": "Message sécurisé", "en": "Secure message"}
UNTITLED = {"fr": "(sans titre)", "en": "(no title)"}

MOST_CHARACTERS = 150
_XDM = re.compile(r"xdm\s*/\s*1\.0\s*/\s*ddm", re.IGNORECASE)
"""Wherever it stands: behind Re:, TR: or the words of a failed integration the name of the patient
follows all the same."""

Masking = Literal["auto", "full", "always"]


def shown_title(title: str, masking: Masking, language: str, *, is_patient: bool) -> str:
    """`title` as a notice may say it. `is_patient`: from or to a patient (DEF-05)."""
    words = " ".join(title.split())
    if masking == "full":
        return _cut(words) or UNTITLED[language]
    if _XDM.search(words):
        return DOCUMENT[language]
    if is_patient:
        return PATIENT[language]
    if masking == "always":
        return MESSAGE[language]
    return _cut(words) or UNTITLED[language]


def _cut(words: str) -> str:
    return words if len(words) <= MOST_CHARACTERS else words[: MOST_CHARACTERS - 1] + "…"
