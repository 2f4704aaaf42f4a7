"""One flipped bit anywhere in a home: either it does not open and says why, or what can be read is
right and the check reports the rest.

    python -m tests.storage.flips [--seed 1] [--flips 1000]

A small store is made twice: closed in order, and as a kill leaves it, with its log. Each flip is
judged; the place of the first that breaks the promise is printed, with the seed that repeats it.

Not promised: flags and dates are in clear and have no checksum of ours; a bit in the last commit of
the log of a killed server looks like a power cut. Both are told in docs/admin.md.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from mssmtp.errors import ConfigError, MailError
from mssmtp.mail import Bal, MailboxId, Uid
from mssmtp.storage import Store
from tests.storage.support import accept, add_bal, inbox, message, open_new, recipients, reopen

LETTERS = 12
Contents = dict[int, bytes]


@dataclass(frozen=True, slots=True)
class Flip:
    """Which bit of which file."""

    file: Path
    octet: int
    bit: int

    def __str__(self) -> str:
        return f"bit {self.bit} of octet {self.octet} of {self.file.name}"


class Small:
    """A store of a few letters, its files in memory, and what must be read from it."""

    def __init__(self, home: Path, *, killed: bool) -> None:
        self.home = home
        store = open_new(home, small_octets=2_000)
        bal = add_bal(store)
        for number in range(LETTERS):
            # Lengths differ, so that no letter can stand in for another unseen.
            body = b"%d\r\n" % number * (20 + number)
            large = os.urandom(3_000 + number) if number % 4 == 0 else b""
            accept(store, store.seal(message(body=body + large)), [bal], recipients("a@c.test"))
        self.expected = readable(store, bal)
        if killed:
            copy = home.with_name("copy")
            shutil.copytree(home, copy)
            store.close()
            shutil.rmtree(home)
            copy.rename(home)
        else:
            store.close()
        self._files = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}

    def flips(self, chance: random.Random) -> Iterator[Flip]:
        """Every file as often as every other: the database would hide the small ones."""
        filled = sorted(path for path, octets in self._files.items() if octets)
        while True:
            file = chance.choice(filled)
            octet = chance.randrange(len(self._files[file]))
            yield Flip(file, octet, chance.randrange(8))

    def flipped(self, flip: Flip) -> None:
        """Put everything back, then flip."""
        for path in list(self.home.rglob("*")):
            if path.is_file() and path not in self._files:
                path.unlink()
        for path, octets in self._files.items():
            path.parent.mkdir(mode=0o700, exist_ok=True)
            path.write_bytes(octets)
        changed = bytearray(self._files[flip.file])
        changed[flip.octet] ^= 1 << flip.bit
        flip.file.write_bytes(changed)

    def judged(self, flip: Flip) -> str:
        """What became of it. Raises AssertionError when the promise is broken."""
        self.flipped(flip)
        try:
            store = reopen(self.home)
        except ConfigError:
            return "refused to open"
        with closing(store):
            return self._judged(store, flip)

    def _judged(self, store: Store, flip: Flip) -> str:
        found, hidden = survey(store)
        wrong = [uid for uid, octets in found.items() if self.expected.get(uid) != octets]
        assert not wrong, f"{flip}: wrong content of UIDs {wrong}"
        report = store.check(deep=True)
        if not report.is_sound:
            return "reported"
        lost = self.expected.keys() - found.keys()
        if flip.file.name == "store.db-wal" and lost == {LETTERS}:
            return "taken for a power cut"
        assert not lost, f"{flip}: UIDs {sorted(lost)} cannot be read and the check is silent"
        assert not hidden, f"{flip}: {hidden} and the check is silent"
        return "without effect"


def readable(store: Store, bal: Bal) -> Contents:
    """Every letter of the INBOX."""
    box = inbox(store, bal)
    uids = store.read(lambda r: r.uids(box)).result()
    return {uid: body(store, box, uid) for uid in uids}


def body(store: Store, box: MailboxId, uid: Uid) -> bytes:
    """One letter. Raises what the store raises."""
    return store.read(lambda r: r.body(box, uid)).result()


def survey(store: Store) -> tuple[Contents, str]:
    """What can still be read, letter by letter, and what prevented the rest.

    Of damaged pages the engine may also raise errors of its own: a door answers them with
    `NO [SERVERBUG]` or 451. Nothing else of Python's may come.
    """
    found: Contents = {}
    try:
        bal = store.read(lambda r: r.bals()[0]).result()
        box = inbox(store, bal)
        uids = store.read(lambda r: r.uids(box)).result()
    except Exception as error:
        return found, type(error).__name__
    hidden = ""
    for uid in uids:
        try:
            found[uid] = body(store, box, uid)
        except MailError as error:
            hidden = type(error).__name__
    return found, hidden


def run(home: Path, *, seed: int, flips: int, killed: bool) -> Counter[str]:
    """Judge `flips` flips; what became of them. Raises AssertionError with the place."""
    small, chance = Small(home, killed=killed), random.Random(seed)  # noqa: S311
    return Counter(
        small.judged(flip) for flip, _ in zip(small.flips(chance), range(flips), strict=False)
    )


def main() -> None:
    """Print what became of the flips; exit 1 at the first that breaks the promise."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--flips", type=int, default=1_000)
    given = parser.parse_args()
    for killed in (False, True):
        with tempfile.TemporaryDirectory(prefix="mssmtp-flips-") as folder:
            home = Path(folder) / "home"
            try:
                found = run(home, seed=given.seed, flips=given.flips, killed=killed)
            except AssertionError as error:
                sys.exit(f"seed {given.seed}, killed {killed}: {error}")
            print("killed" if killed else "closed", dict(found))


if __name__ == "__main__":
    main()
