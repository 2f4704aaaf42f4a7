"""`python -m tests.smtp_soak --minutes 30 --seed 1`: the mail service with everything going wrong.

Random failures of the partners, workers and whole servers killed, lists that change; at the end of
each round the law of conservation, letter by letter. The same seed draws the same troubles; how
they interleave does not repeat, which is why a violation comes with all that is known of it.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import shutil
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from mssmtp.demo.authority import Authority, Make
from tests.app.server import Site
from tests.authority import A_SUBJECT
from tests.home import make_home
from tests.smtp_soak.peers import partners
from tests.smtp_soak.run import Outcome, Soak, Wanted


def main() -> int:
    """The long version of test_smtp_soak."""
    parser = argparse.ArgumentParser(prog="python -m tests.smtp_soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", default=secrets.token_hex(4))
    parser.add_argument("--partners", type=int, default=6)
    parser.add_argument("--no-kills", action="store_true")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    directory = Path(tempfile.mkdtemp(prefix="mssmtp-smtp-soak-"))
    authority = Authority(datetime.now(UTC))
    own = authority.issue(A_SUBJECT, Make(hosts=("localhost", "127.0.0.1")))
    site = Site(make_home(directory / "home", authority, own), authority, own)
    others = partners(authority, directory / "partners", options.partners)
    wanted = Wanted(options.minutes * 60, options.seed, kills=not options.no_kills)
    outcome = asyncio.run(Soak(site, others, wanted, lambda text: print(text, flush=True)).run())
    told(outcome)
    if outcome.violations:
        print(f"kept in {directory}")
        return 1
    shutil.rmtree(directory)
    return 0


def told(outcome: Outcome) -> None:
    """The figures, and what was wrong."""
    print(
        f"{outcome.rounds} rounds: letters {dict(outcome.letters)}, {outcome.copies} copies, "
        f"{outcome.reports} reports; {outcome.kills} workers and {outcome.crashes} servers "
        f"killed, {outcome.lists} lists, {outcome.moods} moods; "
        f"{len(outcome.violations)} violations"
    )
    for violation in outcome.violations:
        print(f"VIOLATION {violation}")


if __name__ == "__main__":
    sys.exit(main())
