"""`mssmtp demo`: lay the space, run it, prove the main job, stay up until told to stop."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from mssmtp.demo import manifest, show
from mssmtp.demo.attempts import NotRefused, Refused, attack
from mssmtp.demo.proof import NotProven, Proof, main_job
from mssmtp.demo.running import check_ports, running
from mssmtp.demo.space import PLANS, Space, lay
from mssmtp.errors import ConfigError
from mssmtp.home import missing
from mssmtp.outside import Clock, Entropy


@dataclass(frozen=True, slots=True)
class Options:
    """The command line of the demo."""

    directory: Path | None = None
    base_port: int = 20_000
    accounts: int = 3
    workers: int = 1
    database: str | None = None
    exchange: bool = True
    once: bool = False
    as_json: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """The proof and the refusals; `failure` says what did not hold."""

    proof: Proof | None = None
    refused: tuple[Refused, ...] = ()
    failure: str = ""

    @property
    def holds(self) -> bool:
        """True when every claim of the demo held."""
        return self.proof is not None and self.proof.is_sealed and not self.failure

    def as_json(self) -> dict[str, object]:
        """The object that `demo --once --json` prints."""
        proof = self.proof
        return {
            "delivered": proof is not None,
            "seconds": proof.seconds if proof else None,
            "read_over_imap": proof is not None,
            "sealed": bool(proof and proof.is_sealed),
            "proof": dataclasses.asdict(proof) if proof else None,
            "refused": [dataclasses.asdict(item) for item in self.refused],
            "failure": self.failure or None,
        }


def run(options: Options, clock: Clock, entropy: Entropy) -> int:
    """The whole demo; 0 only when everything that was asked for held."""
    with _directory(options) as directory:
        return asyncio.run(_Session(options, directory, (clock, entropy)).play())


@contextmanager
def _directory(options: Options) -> Iterator[Path]:
    if options.directory is not None:
        directory = options.directory.resolve()
        if any((directory / plan.name).exists() for plan in PLANS):
            raise ConfigError(
                f"--directory {directory}",
                "a space was made there before, and its keys are of that day",
                "Remove it once its demo is stopped, or name another directory.",
            )
        yield directory
        return
    with tempfile.TemporaryDirectory(prefix="mssmtp-demo-") as made:
        yield Path(made)


class _Session:
    def __init__(self, options: Options, directory: Path, outside: tuple[Clock, Entropy]) -> None:
        self._options = options
        self._directory = directory
        self._outside = outside
        # With --json standard output is one object and nothing else.
        self._console = Console(stderr=options.as_json, highlight=False)

    async def play(self) -> int:
        options = self._options
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        started = time.monotonic()
        check_ports(options.base_port)
        with self._console.status("Making the trust space…"):
            space = await asyncio.to_thread(
                lay,
                self._directory,
                options.base_port,
                options.accounts,
                self._outside,
                options.database,
            )
        if stop.is_set():
            return 1
        with self._console.status("Starting five operators…") as status:
            async with running(space, options.workers, self._console.print):
                status.stop()
                return await self._up(space, stop, time.monotonic() - started)

    async def _up(self, space: Space, stop: asyncio.Event, seconds: float) -> int:
        options = self._options
        result = Result()
        if options.exchange:
            result = await asyncio.to_thread(self._exchange, space)
        manifest.write(space, "ready")
        if options.as_json:
            json.dump(result.as_json(), sys.stdout, ensure_ascii=False, indent=1)
            sys.stdout.write("\n")
            sys.stdout.flush()
        self._print(space, result, seconds)
        if not options.once:
            self._console.print("The space stays up; Ctrl-C stops it.")
            await stop.wait()
        manifest.write(space, "stopped")
        return 0 if result.holds or not options.exchange else 1

    def _exchange(self, space: Space) -> Result:
        try:
            proof = main_job(space, *self._outside)
        except (NotProven, OSError) as error:
            return Result(failure=f"main job: {error}")
        try:
            refused = attack(space, space.operator("cabinet-b"))
        except (NotRefused, OSError) as error:
            return Result(proof, failure=f"attack: {error}")
        return Result(proof, refused)

    def _print(self, space: Space, result: Result, seconds: float) -> None:
        console = self._console
        console.print(f"Ready in {seconds:.1f} s.")
        show.operators(console, space)
        if result.proof is not None:
            show.proof(console, result.proof)
        if result.refused:
            show.refusals(console, result.refused)
        if result.failure:
            console.print(f"FAILED: {result.failure}", style="bold red", markup=False)
        if not self._options.once:
            show.settings(console, space)
            a = space.operator("hopital-a").settings
            show.checklist(console, missing(a, everything=True))
