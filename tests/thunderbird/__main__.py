"""A secretary's day in a real Thunderbird: `python -m tests.thunderbird [--pictures DIRECTORY]`.

Needs Debian's packages thunderbird and xvfb. Plays against hopital-a and cabinet-b of the demo,
checks every step in the client and on the server, and says what was seen. Exit code 1 when
something was not, 2 when a package is missing. Nothing leaves the machine, nothing is left running.
DIRECTORY gets pictures of the window and what Thunderbird said over IMAP.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

from tests.space import RunningSpace
from tests.thunderbird.client import Thunderbird
from tests.thunderbird.evening import LAST_STEPS
from tests.thunderbird.program import display, thunderbird
from tests.thunderbird.scene import Scene, space_of_two
from tests.thunderbird.second import SECOND_STEPS
from tests.thunderbird.steps import STEPS

LASTS_AT_MOST_S = 235.0
DAY = (*STEPS, *SECOND_STEPS, *LAST_STEPS)
_PACKAGES = {"thunderbird": "thunderbird", "Xvfb": "xvfb"}


def main(arguments: list[str]) -> int:
    """0: all of it was seen."""
    lacking = [package for program, package in _PACKAGES.items() if not shutil.which(program)]
    if lacking:
        print(
            f"not installed: {' '.join(lacking)}. On Debian, as root: apt-get install"
            f" --no-install-recommends {' '.join(lacking)}",
            file=sys.stderr,
        )
        return 2
    pictures = Path(arguments[1]) if arguments[:1] == ["--pictures"] and arguments[1:] else None
    if arguments and pictures is None:
        print(__doc__, file=sys.stderr)
        return 2
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mssmtp-thunderbird-") as made:
        folder = Path(made)
        failures = asyncio.run(_day(folder, begun + LASTS_AT_MOST_S))
        if pictures is not None:
            _keep(folder, pictures)
    version = subprocess.run(["thunderbird", "--version"], capture_output=True, text=True).stdout
    number = len(DAY)
    print(
        f"{version.strip()}: {number - failures} of {number} as wanted,"
        f" {time.monotonic() - begun:.0f} s"
    )
    return 1 if failures else 0


async def _day(folder: Path, until: float) -> int:
    async with space_of_two(folder / "space") as space:
        return await asyncio.to_thread(_play, folder, space, until)


def _keep(folder: Path, pictures: Path) -> None:
    pictures.mkdir(parents=True, exist_ok=True)
    for picture in folder.glob("*.png"):
        shutil.copyfile(picture, pictures / picture.name)
    for log in folder.glob("*/protocol.log.moz_log"):
        shutil.copyfile(log, pictures / f"{log.parent.name}.log")


def _play(folder: Path, space: RunningSpace, until: float) -> int:
    failures = 0
    with (
        display(folder) as shown_on,
        thunderbird(folder / "lucie", shown_on) as first,
        thunderbird(folder / "second", shown_on) as other,
    ):
        scene = Scene(
            space,
            folder,
            Thunderbird(first, folder / "lucie"),
            Thunderbird(other, folder / "second"),
        )
        for step in DAY:
            name, begun = step.__name__.replace("_", " "), time.monotonic()
            try:
                if begun > until:
                    raise AssertionError("not played: the time was over")
                print(f"ok    {name}: {step(scene)} ({time.monotonic() - begun:.1f} s)", flush=True)
            except Exception:  # whatever it was, the day goes on
                failures += 1
                scene.lucie.picture(f"failed-{step.__name__}")
                print(f"WRONG {name}: {traceback.format_exc(limit=-3)}", flush=True)
    return failures


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
