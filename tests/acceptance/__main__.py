"""Play the acceptance matrix and write `docs/acceptance.md` from what was observed.

python -m tests.acceptance            writes the table
python -m tests.acceptance --check    fails when the committed table is not what the run gives
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

import pytest

from tests.acceptance.table import DOCUMENT, LINES, WRITE, render


def main(arguments: list[str]) -> int:
    """0: every row passed and the table is written (or, with --check, is the committed one)."""
    with tempfile.TemporaryDirectory(prefix="mssmtp-acceptance-") as folder:
        collected = Path(folder) / "seen.jsonl"
        collected.touch()
        os.environ[WRITE] = str(collected)
        here = Path(__file__).parent
        about_the_document = f"--ignore={here / 'test_table.py'}"
        if code := pytest.main(
            ["-q", "-n0", "-p", "no:cacheprovider", about_the_document, str(here)]
        ):
            return int(code)
        lines = [json.loads(line) for line in collected.read_text("utf-8").splitlines()]
    seen = {(key, direction): text for key, direction, text in lines}
    try:
        written = render(seen)
    except KeyError as missing:
        print(f"nothing was seen of {missing}: a row has no test", file=sys.stderr)
        return 1
    if "--check" in arguments:
        if DOCUMENT.read_text("utf-8") != written:
            print("docs/acceptance.md is out of date: run python -m tests.acceptance")
            return 1
    else:
        DOCUMENT.write_text(written, "utf-8")
    print(f"{len(LINES)} lines, {len(seen)} observations: {DOCUMENT.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
