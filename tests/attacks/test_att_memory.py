"""Many connections that send big or endless things, and a worker that may not grow (D11)."""

from __future__ import annotations

import resource
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.app.memory import MANY_MB, peak_mb
from tests.attacks.wire import Wire, peer, reader
from tests.crash.kills import supervisor, workers
from tests.space import RunningSpace

pytestmark = [
    pytest.mark.attack,
    pytest.mark.end_to_end,
    pytest.mark.xdist_group("attacks"),
    pytest.mark.timeout(180),
]

ROOM_OCTETS = 400_000_000
"""What a worker may still map when the attack begins."""
EACH_OCTETS = 25_000_000
CONNECTIONS_OF_A_KIND = 4
BLOCK = b"x" * 65_534 + b"\r\n"
NO_LINE_END = b"x" * 65_536
BODY, HEADER = b"\r\n" + BLOCK, b"X-Long: " + BLOCK


def endless_literal(wire: Wire) -> bytes:
    wire.send(b"a APPEND INBOX {57000000+}\r\n")
    return BLOCK


def endless_command(wire: Wire) -> bytes:
    wire.send(b"a SEARCH ")
    return NO_LINE_END


def many_literals(wire: Wire) -> bytes:
    return b"a LOGIN {60000+}\r\n" + b"x" * 60_000


@contextmanager
def narrow(pids: list[int]) -> Iterator[None]:
    """What these processes map may not grow by more than the room."""
    before = {pid: resource.prlimit(pid, resource.RLIMIT_AS) for pid in pids}
    for pid in pids:
        mapped = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
        resource.prlimit(pid, resource.RLIMIT_AS, (mapped + ROOM_OCTETS, before[pid][1]))
    try:
        yield
    finally:
        for pid in set(pids) & set(map(int, _living())):
            resource.prlimit(pid, resource.RLIMIT_AS, before[pid])


def _living() -> Iterator[str]:
    return (entry.name for entry in Path("/proc").iterdir() if entry.name.isdigit())


def _flood(wire: Wire, block: bytes) -> None:
    """As much as the server takes; what it refuses or ends is its answer."""
    wire.socket.settimeout(5.0)  # who is not read any more stays connected and waits
    with suppress(OSError, EOFError):
        for _ in range(EACH_OCTETS // len(block)):
            wire.send(block)


def test_d11_hostile_input_under_a_memory_limit(space: RunningSpace) -> None:
    recipient = space.b.doctor(3)
    pids = workers(supervisor(space.b))
    with ExitStack() as stack, narrow(pids):
        floods: list[tuple[Wire, bytes]] = []
        for _ in range(CONNECTIONS_OF_A_KIND):
            for content in (BODY, HEADER):
                wire = stack.enter_context(peer(space, space.b, space.guest))
                wire.say(b"MAIL FROM:<x@guest.test>")
                wire.say(f"RCPT TO:<{recipient}>".encode())
                assert wire.say(b"DATA").startswith("354")
                floods.append((wire, content))
            floods.append((stack.enter_context(peer(space, space.b, space.guest)), NO_LINE_END))
            for after in (endless_literal, endless_command, many_literals):
                wire = stack.enter_context(reader(space, space.b, recipient))
                floods.append((wire, after(wire)))
        threads = [threading.Thread(target=_flood, args=flood) for flood in floods]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # All still connected: what was taken of them is held or forgotten now.
        with peer(space, space.b, space.guest) as honest:
            honest.say(b"MAIL FROM:<y@guest.test>")
            honest.say(f"RCPT TO:<{recipient}>".encode())
            honest.say(b"DATA")
            honest.send(b"From: y@guest.test\r\nSubject: d11\r\n\r\nx\r\n.\r\n")
            assert honest.reply().startswith("250")
    assert workers(supervisor(space.b)) == pids, "a worker died of it"
    assert peak_mb(space.b) < MANY_MB


def test_the_flood_is_more_than_the_room() -> None:
    """Else the limit would show nothing."""
    assert 6 * CONNECTIONS_OF_A_KIND * EACH_OCTETS > ROOM_OCTETS
