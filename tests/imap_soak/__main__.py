"""`python -m tests.imap_soak --minutes 30 --seed 1`: eight clients, two workers, all of it checked.

The same seed draws the same acts; how they interleave does not repeat, which is why a violation
comes with the last lines of the session that saw it.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from mssmtp.demo.authority import Authority, Make
from tests.app.server import Site
from tests.authority import A_SUBJECT, B_SUBJECT
from tests.home import make_home, put_boxes, put_list
from tests.imap_soak.run import SMALL_COMMITS, soak


def main() -> int:
    """The long version of test_imap_soak."""
    parser = argparse.ArgumentParser(prog="python -m tests.imap_soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", default=secrets.token_hex(4))
    parser.add_argument("--small-commits", action="store_true", help="of one to three letters")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="mssmtp-imap-soak-") as directory:
        authority = Authority(datetime.now(UTC))
        make = Make(hosts=("localhost", "127.0.0.1"))
        ours, peer = authority.issue(A_SUBJECT, make), authority.issue(B_SUBJECT, make)
        home = make_home(Path(directory) / "home", authority, ours)
        put_list(home, authority)
        put_boxes(home)
        site = Site(home, authority, peer)
        site.write()
        code = SMALL_COMMITS if options.small_commits else ""
        outcome = asyncio.run(soak(site, options.minutes * 60, options.seed, _say, code=code))
    print(f"{outcome.epochs} epochs, {outcome.compared} messages compared")
    print(", ".join(f"{act} {count}" for act, count in sorted(outcome.acts.items())))
    if outcome.violation:
        print(f"seed {options.seed}: {outcome.violation}")
    return bool(outcome.violation)


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
