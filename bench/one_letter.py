"""Processor time of one accepted letter, without network and TLS: door, policy, store.

    python -m bench.one_letter [--size 4] [--sessions 10] [--letters 2000] [--rounds 5]
                               [--profile loop|committer]

Octets go straight into connections of the operator door of this process, over a real store on the
disk; an answer counts once it is 250, synced. Time is told of the loop's thread (which plays the
client too), of the committer and of all others; `--profile` prints where that of one of them goes.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import os
import pstats
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import uvloop
from cryptography import x509

from bench.acceptance import message
from bench.space import thread_seconds
from mssmtp.config import StoreSettings
from mssmtp.demo.authority import Authority, Identity, Make
from mssmtp.mail import Address, BalType
from mssmtp.outside import SystemClock, SystemEntropy
from mssmtp.pki import Anchors
from mssmtp.revocation import Revocation
from mssmtp.smtp_in import OperatorDoor, Services
from mssmtp.storage import Store
from mssmtp.storage.committer import Committer
from mssmtp.trust import Snapshot
from tests.authority import (
    A_DOMAIN,
    A_SUBJECT,
    B_DOMAIN,
    B_SUBJECT,
    shared_keys,
    unsigned_whitelist,
)
from tests.smtp_in.plug import Plug
from tests.smtp_in.rig import make_rig

_BOXES = 10
_BLOCK_OCTETS = 65_536
_SENDER = f"marius@{B_DOMAIN}"


class _Client(Plug):
    """One peer that sends again and again; it is told of an answer and does not look for it."""

    def __init__(self, door: OperatorDoor, certificate: x509.Certificate) -> None:
        self._awaited: tuple[bytes, asyncio.Future[None]] | None = None
        super().__init__(door, certificate=certificate)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        super().write(data)
        if self._awaited is not None and self._awaited[0] in self.said:
            self._awaited[1].set_result(None)
            self._awaited = None

    async def answered(self, octets: bytes, code: bytes) -> None:
        """Until the answer to `octets` holds `code`."""
        self.said.clear()
        heard = asyncio.get_running_loop().create_future()
        self._awaited = (code, heard)
        for start in range(0, len(octets), _BLOCK_OCTETS):
            if start:
                await asyncio.sleep(0)
            self.link.data_received(octets[start : start + _BLOCK_OCTETS])
        await heard

    async def send(self, number: int, letters: int, size: int) -> None:
        """`letters` for one box."""
        box = _box(number)
        octets = message(_SENDER, str(box), size)
        envelope = f"MAIL FROM:<{_SENDER}>\r\nRCPT TO:<{box}>\r\nDATA\r\n".encode()
        for _ in range(letters):
            await self.answered(envelope, b"354 ")
            await self.answered(octets, b"250 ")


def _box(number: int) -> Address:
    return Address.parse(f"box{number % _BOXES}@{A_DOMAIN}")


@contextmanager
def operator_services(folder: Path) -> Iterator[tuple[Services, Identity]]:
    """What an operator door leans on, over a fresh store, and a peer it lists."""
    authority = Authority(datetime.now(UTC), make_key=shared_keys())
    make = Make(hosts=("localhost", "127.0.0.1"))
    subjects = {A_DOMAIN: A_SUBJECT, B_DOMAIN: B_SUBJECT}
    peers = {domain: authority.issue(subject, make) for domain, subject in subjects.items()}
    anchors = Anchors.from_pem(authority.anchors_pem)
    listed = unsigned_whitelist(authority, *((d, s.text) for d, s in subjects.items()))
    revocation = Revocation.of(authority.crls(), anchors)
    snapshot = Snapshot(anchors=anchors, whitelist=listed, revocation=revocation)
    rig = make_rig(authority, peers, snapshot, folder)
    home = folder / "home"
    settings = StoreSettings(home=home, master_key_file=home / "master.key", quota_octets=0)
    Store.create(settings, SystemClock(), SystemEntropy())
    with closing(Store(settings, SystemClock(), SystemEntropy())) as store:
        boxes = [_box(number) for number in range(_BOXES)]
        store.write(lambda w: [w.create_bal(box, BalType.ORG) for box in boxes]).result()
        yield replace(rig.services, store=store, clock=SystemClock()), rig.b


async def _measure(folder: Path, options: argparse.Namespace) -> list[list[float]]:
    with operator_services(folder) as (services, peer):
        door = OperatorDoor(services)
        clients = [_Client(door, peer.certificate) for _ in range(options.sessions)]
        each = options.letters // options.sessions
        for client in clients:
            await client.answered(b"EHLO mx.test\r\n", b"250 ")
        found = await rounds(
            options,
            lambda: [c.send(index, each, options.size * 1_024) for index, c in enumerate(clients)],
        )
        await door.stop(1.0)
    return found


async def rounds(
    options: argparse.Namespace, sending: Callable[[], list[Coroutine[Any, Any, None]]]
) -> list[list[float]]:
    """Milliseconds a letter of the loop, of the committer and of the others, round by round, while
    the clients do what `sending` gives."""
    found = []
    profile = cProfile.Profile()
    if options.profile == "committer":
        _watch_commits(profile)
    for number in range(options.rounds + 1):
        before = thread_seconds(os.getpid())
        if options.profile == "loop" and number:
            profile.enable()
        await asyncio.gather(*sending())
        profile.disable()
        after = thread_seconds(os.getpid())
        spent = [(b - a) * 1_000 / options.letters for a, b in zip(before, after, strict=False)]
        if number:  # the first warms up
            found.append([*spent[:2], sum(spent[2:])])
    if options.profile:
        pstats.Stats(profile).sort_stats("tottime").print_stats(60)
    return found


def _watch_commits(profile: cProfile.Profile) -> None:
    commit = Committer._commit

    def watched(self: Committer[Any], gathered: list[Any]) -> None:
        profile.enable()
        try:
            commit(self, gathered)
        finally:
            profile.disable()

    Committer._commit = watched  # type: ignore[method-assign]


Measure = Callable[[Path, argparse.Namespace], Coroutine[Any, Any, list[list[float]]]]


def run(description: str | None, measure: Measure) -> None:
    """Print medians of the rounds."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--size", type=int, default=4, metavar="KB")
    parser.add_argument("--sessions", type=int, default=10)
    parser.add_argument("--letters", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--profile", choices=("loop", "committer"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mssmtp-bench-") as folder:
        found = uvloop.run(measure(Path(folder), options))
    loop, committer, others = (median(part) for part in zip(*found, strict=True))
    together = [sum(each) for each in found]
    print(
        f"{options.size} KB: {median(together):.3f} ms a letter"
        f" ({min(together):.3f}–{max(together):.3f}): loop {loop:.3f},"
        f" committer {committer:.3f}, others {others:.3f}"
    )


if __name__ == "__main__":
    run(__doc__, _measure)
