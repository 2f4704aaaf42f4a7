"""The least a letter costs here: its parts measured alone, each without all the others.

    python -m bench.floor [--size 4] [--letters 3000] [--together 5] [--rounds 5]

*Wire*: TLS, the kernel, command lines, the search for the end of the data and four replies, by a
door that knows no sender, asks no policy and keeps nothing. *Store*: scan, seal and one group
commit of `--together` letters with all that a letter's acceptance writes, by one process in which
nothing else runs. Between the two stand identification, three decisions and what is written of
them. Milliseconds of processor time of the server, medians; no commit is shared with the wire.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import uvloop

from bench.acceptance import Session, message
from bench.delivery import DOMAIN, PEER, SENDER, TRANSFER
from bench.one_letter import operator_services
from bench.space import Operator, cpu_seconds, thread_seconds
from mssmtp.config import StoreSettings
from mssmtp.errors import Reply
from mssmtp.mail import Address, BalId, BalType, Envelope, Recipient
from mssmtp.outside import SystemClock, SystemEntropy
from mssmtp.smtp import replies
from mssmtp.smtp.receiver import DataLimits, DataReceiver
from mssmtp.smtp_in import OperatorDoor
from mssmtp.smtp_machine import Machine
from mssmtp.storage import Letter, LocalDelivery, Store, Writing
from tests.authority import A_DOMAIN, B_DOMAIN

_FACTS = b"x" * 600
_DONE = Reply(250, "2.0.0", "OK")


class _Wire(Machine):
    """Takes every letter and keeps none."""

    def _perform(self, verb: bytes, argument: str | None) -> Awaitable[None]:
        if verb in (b"MAIL", b"RCPT", b"DATA"):
            return self._taken(is_data=verb == b"DATA")
        return super()._perform(verb, argument)

    async def _taken(self, *, is_data: bool) -> None:
        if not is_data:
            self.say(replies.SENDER_OK)
            return
        self.say(replies.GO_AHEAD)
        receiver = DataReceiver(DataLimits(100_000_000, 200_000_000))
        while not receiver.done:
            receiver.feed(await self._block())
        self._inbox.unread(receiver.rest)
        self.say(_DONE)


class _WireDoor(OperatorDoor):
    machine = _Wire


def wire(folder: Path, size: int, letters: int, rounds: int) -> float:
    """Milliseconds of the server for a letter that nobody looks at."""
    with socket.create_server(("127.0.0.1", 0)) as sock, operator_services(folder) as opened:
        services, peer = opened
        server = os.fork()
        if not server:
            uvloop.run(_serve(_WireDoor(services), sock))
            os._exit(0)
        try:
            port = sock.getsockname()[1]
            files = peer.write(folder, "peer")
            told = str(files.certificate_file), str(files.key_file)
            target = Operator(folder, *told, port, 0, ())
            session = Session(target, target)
            octets = message(f"a@{B_DOMAIN}", f"b@{A_DOMAIN}", size)
            found = []
            for _ in range(rounds):
                before = cpu_seconds([server])
                for _ in range(letters):
                    session.send(f"a@{B_DOMAIN}", f"b@{A_DOMAIN}", octets)
                found.append((cpu_seconds([server]) - before) * 1_000 / letters)
            session.close()
        finally:
            os.kill(server, signal.SIGKILL)
            os.waitpid(server, 0)
    return median(found)


async def _serve(door: OperatorDoor, sock: socket.socket) -> None:
    await door.start(sock)
    await asyncio.Event().wait()


def store(folder: Path, size: int, letters: int, together: int, rounds: int) -> tuple[float, float]:
    """Milliseconds of sealing, and of the committer, for a letter."""
    home = folder / "floor"
    settings = StoreSettings(home=home, master_key_file=home / "master.key", quota_octets=0)
    Store.create(settings, SystemClock(), SystemEntropy())
    box = Address.parse(f"box@{DOMAIN}")
    octets = message(str(SENDER), str(box), size)[:-3]
    sealing, committing = [], []
    with closing(Store(settings, SystemClock(), SystemEntropy())) as opened:
        opened.write(lambda w: w.create_bal(box, BalType.ORG)).result()
        bal = opened.read(lambda r: r.bal(box)).result()
        if bal is None:
            raise SystemExit("the box is missing")
        for _ in range(rounds):
            began = time.thread_time()
            sealed = [opened.seal(octets) for _ in range(letters)]
            sealing.append((time.thread_time() - began) * 1_000 / letters)
            before = sum(thread_seconds(os.getpid())[1:])
            for start in range(0, letters, together):
                futures = [
                    opened.write(_accepting(opened, bal.id, box, one))
                    for one in sealed[start : start + together]
                ]
                for future in futures:
                    future.result()
            spent = sum(thread_seconds(os.getpid())[1:]) - before
            committing.append(spent * 1_000 / letters)
    return median(sealing), median(committing)


def _accepting(store: Store, bal: BalId, box: Address, letter: Letter) -> Callable[[Writing], None]:
    recipient = Recipient(box)
    envelope = Envelope(store.new_envelope_id(), SENDER, (recipient,), datetime.now(UTC))

    def job(writing: Writing) -> None:
        writing.accept(
            envelope,
            letter,
            local=[LocalDelivery(bal, recipient)],
            queued=(),
            skip=0,
            owner=PEER,
            transfer=TRANSFER,
            facts=_FACTS,
        )

    return job


def main() -> None:
    """Print the parts and their sum."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=4, metavar="KB")
    parser.add_argument("--letters", type=int, default=3_000)
    parser.add_argument("--together", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    size = options.size * 1_024
    with tempfile.TemporaryDirectory(prefix="mssmtp-bench-") as folder:
        on_wire = wire(Path(folder), size, options.letters, options.rounds)
        sealing, committing = store(
            Path(folder), size, options.letters, options.together, options.rounds
        )
    print(
        f"{options.size} KB: wire {on_wire:.3f}, scan and seal {sealing:.3f},"
        f" commit of {options.together} {committing:.3f},"
        f" together {on_wire + sealing + committing:.3f} ms a letter"
    )


if __name__ == "__main__":
    main()
