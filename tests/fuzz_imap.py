"""Hostile octets for IMAP: framing, grammar, names, MIME structure, whole sessions.

    python -m tests.fuzz_imap --minutes 10
    python -m tests.fuzz_imap --minutes 1 --target parser

With `atheris` in the environment the octets are led by the lines they reach (`tests/fuzzing.py`).
"""

from __future__ import annotations

import sys

from tests.fuzzing import Room, main

NAMES = ("framer", "parser", "name", "structure", "session")

if __name__ == "__main__":
    sys.exit(main(Room("tests.fuzz_imap", "tests.imap.hostile", NAMES), __doc__))
