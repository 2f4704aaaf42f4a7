"""How hostile octets are played, whatever the room: see tests.fuzz_trust and tests.fuzz_imap.

With `atheris` in the environment the octets are led by the lines they reach; without it they are
drawn at random from the same seeds and tokens, and the output says so. Each input has ten seconds
and the whole 2 GB. What was found is kept beside: `--replay FILE --target NAME` plays it again.
"""

from __future__ import annotations

import argparse
import importlib
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.trust.hostile import Target

ROOT = Path(__file__).resolve().parent.parent
INPUT_WITHIN_S = 10
MEMORY_MB = 2_000
_MAX_OCTETS = 16_384


@dataclass(frozen=True, slots=True)
class Room:
    """`module` has TARGETS by name; `program` is the command that plays them."""

    program: str
    module: str
    names: tuple[str, ...]

    def load(self, name: str) -> Target:
        """Not imported above: atheris has to see the import."""
        made: Target = importlib.import_module(self.module).TARGETS[name]()
        return made


# ---------------------------------------------------------------- at random


def play_at_random(room: Room, name: str, seconds: float, seed: int) -> int:
    """How many inputs were played. What it finds is raised, with the octets in a file."""
    target = room.load(name)
    chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
    signal.signal(signal.SIGALRM, _too_long)
    end, played = time.monotonic() + seconds, 0
    while played < 50 or time.monotonic() < end:
        octets = mutated(chance, target)
        signal.alarm(INPUT_WITHIN_S)
        try:
            target.play(octets)
        except BaseException:
            kept = Path(tempfile.gettempdir()) / f"found-{name}-{seed}-{played}"
            kept.write_bytes(octets)
            print(f"FOUND by {name}: kept in {kept}", file=sys.stderr)
            raise
        finally:
            signal.alarm(0)
        played += 1
    return played


def mutated(chance: random.Random, target: Target) -> bytes:
    """A seed with some places changed, by token, by bit, by piece of another seed."""
    octets = bytearray(chance.choice(target.seeds))
    for _ in range(chance.choice((1, 1, 2, 3, 8))):
        at, length = chance.randrange(len(octets) + 1), chance.randrange(12)
        match chance.randrange(4):
            case 0:
                octets[at : at + length] = chance.choice(target.tokens)
            case 1 if at < len(octets):
                octets[at] ^= 1 << chance.randrange(8)
            case 2:
                other = chance.choice(target.seeds)
                begin = chance.randrange(len(other))
                octets[at : at + length] = other[begin : begin + length]
            case _:
                octets[at:at] = octets[at : at + length]
    return bytes(octets[:_MAX_OCTETS])


def _too_long(number: int, frame: object) -> None:
    raise TimeoutError(f"one input took {INPUT_WITHIN_S} s")


# ---------------------------------------------------------------- led by coverage


def play_led(room: Room, name: str, seconds: float, seed: int) -> None:
    """libFuzzer through atheris; ends the process."""
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["mssmtp"]):
        target = room.load(name)
    folder = Path(tempfile.mkdtemp(prefix=f"mssmtp-fuzz-{name}-"))
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, octets in enumerate(target.seeds):
        (corpus / f"seed-{number}").write_bytes(octets)
    words = ("".join(f"\\x{octet:02x}" for octet in token) for token in target.tokens if token)
    (folder / "words").write_text("".join(f'"{word}"\n' for word in words))
    options = [
        f"-max_total_time={int(seconds)}",
        f"-seed={seed}",
        f"-timeout={INPUT_WITHIN_S}",
        f"-rss_limit_mb={MEMORY_MB}",
        f"-max_len={_MAX_OCTETS}",
        f"-dict={folder / 'words'}",
        f"-artifact_prefix={folder}/found-",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], target.play)
    atheris.Fuzz()


# ---------------------------------------------------------------- all of them


def play_apart(room: Room, name: str, seconds: float, seed: int, *, led: bool) -> bool:
    """One target in a process of its own, so that its memory is its own. True: nothing found."""
    command = [sys.executable, "-m", room.program, "--here", "--target", name]
    command += ["--seconds", str(seconds), "--seed", str(seed), *(["--led"] if led else [])]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{name}: FOUND SOMETHING\n{done.stdout}{done.stderr[-6000:]}")
        return False
    output = done.stdout + done.stderr
    stats = dict(re.findall(r"stat::(\w+):\s*(\d+)", output))
    played = int(stats.get("number_of_executed_units") or re.findall(r"played (\d+)", output)[0])
    peak = int(stats.get("peak_rss_mb") or re.findall(r"peak (\d+)", output)[0])
    reached = re.findall(r"cov: (\d+)", output)
    led_to = f", {reached[0]} to {reached[-1]} places reached" if reached else ""
    print(f"{name:<12}{played:>12,} inputs, at most {peak} MB{led_to}", flush=True)
    return True


def main(room: Room, description: str | None) -> int:
    """0 when nothing was found."""
    parser = argparse.ArgumentParser(prog=f"python -m {room.program}", description=description)
    parser.add_argument("--seconds", type=float, default=60, help="for all targets together")
    parser.add_argument("--minutes", type=float, help="for each target")
    parser.add_argument("--target", choices=room.names, action="append")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--random", action="store_true", help="not led, even with atheris")
    parser.add_argument("--replay", type=Path, help="play one file again")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--led", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    names = asked.target or list(room.names)
    if asked.replay:
        room.load(names[0]).play(asked.replay.read_bytes())
        return 0
    if asked.here:
        return _here(room, names[0], asked.seconds, asked.seed, led=asked.led)
    led = find_spec("atheris") is not None and not asked.random
    print("led by coverage (atheris)" if led else "at random: atheris is not installed here")
    each = asked.minutes * 60 if asked.minutes else asked.seconds / len(names)
    clean = [play_apart(room, name, each, asked.seed, led=led) for name in names]
    return 0 if all(clean) else 1


def _here(room: Room, name: str, seconds: float, seed: int, *, led: bool) -> int:
    if led:
        play_led(room, name, seconds, seed)
        return 0
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MB * 2**20, MEMORY_MB * 2**20))
    played = play_at_random(room, name, seconds, seed)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"played {played}, peak {peak} MB")
    return 0
