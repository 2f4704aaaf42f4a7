"""Hostile octets for the trust rooms: lists, names, certificates, CRLs, answers of responders.

    python -m tests.fuzz_trust --seconds 600
    python -m tests.fuzz_trust --seconds 60 --target list

With `atheris` in the environment the octets are led by the lines they reach (`tests/fuzzing.py`).
"""

from __future__ import annotations

import sys

from tests.fuzzing import Room, main

NAMES = ("list", "rows", "name", "certificate", "crl", "answer")

if __name__ == "__main__":
    sys.exit(main(Room("tests.fuzz_trust", "tests.trust.hostile", NAMES), __doc__))
