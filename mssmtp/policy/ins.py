"""The address of a patient: INS matricule of 13 characters and its key (OP-87, OP-88)."""

from __future__ import annotations

import re

_MATRICULE = re.compile(r"[0-9]{5}(?:[0-9]{2}|2[AB])[0-9]{8}\Z", re.ASCII)
_CORSICA = {"2A": "19", "2B": "18"}


def is_valid(local_part: str) -> bool:
    """True for 15 characters whose key is 97 - (n mod 97), with 2A read 19 and 2B read 18."""
    text = local_part.upper()
    if len(text) != len(local_part) or not _MATRICULE.match(text):
        return False
    department = _CORSICA.get(text[5:7], text[5:7])
    number = int(text[:5] + department + text[7:13])
    return int(text[13:]) == 97 - number % 97
