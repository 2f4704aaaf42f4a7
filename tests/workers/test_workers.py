"""The supervisor with real processes: starts, deaths, stops, and two servers at once."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import pytest

from mssmtp.config import Endpoint
from mssmtp.errors import ConfigError
from mssmtp.listening import bind
from mssmtp.workers import Plan, backoff_s
from tests.free_ports import free_ports

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    [port] = free_ports(1)
    return port


class Server:
    """A tiny server in its own process group, so that nothing of it can be left behind."""

    def __init__(self, home: Path, behaviour: str, *, port: int | None = None) -> None:
        self.home, self.port = home, port or free_port()
        command = [sys.executable, "-W", "error", "-m", "tests.workers.tiny_server"]
        self.process = subprocess.Popen(
            [*command, str(home), str(self.port), "2", behaviour],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=50)
        return self.process.returncode, out, err

    def answering_worker(self) -> int:
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as peer:
            return int(peer.makefile().read())

    def workers(self) -> set[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return {int(pid) for pid in children.read_text().split()}

    @property
    def is_ready(self) -> bool:
        return (self.home / "run" / "ready").exists()


@contextmanager
def serving(home: Path, behaviour: str = "normal") -> Iterator[Server]:
    server = Server(home, behaviour)
    try:
        assert server.line() == "ready", server.end()
        yield server
    finally:
        if server.process.poll() is None:
            server.process.terminate()
            server.end()
        elif server.process.returncode == -signal.SIGKILL:
            while living(server.process.pid):  # nobody is left to wait for them
                pass
        assert_group_is_empty(server.process.pid)


def assert_group_is_empty(group: int) -> None:
    assert not living(group)


def living(group: int) -> set[int]:
    """Processes of `group` that still run; one whose parent was killed may wait to be reaped."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, process_group = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue  # it ended meanwhile
        if int(process_group) == group and state != "Z":
            found.add(int(stat.parent.name))
    return found


def test_both_workers_share_one_port(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        workers = server.workers()
        assert len(workers) == 2
        answered = {server.answering_worker() for _ in range(200)}
        assert answered == workers


def test_a_killed_worker_is_replaced_while_the_port_answers(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        before = server.workers()
        victim = server.answering_worker()
        os.kill(victim, signal.SIGKILL)
        while victim in server.workers() or len(server.workers()) < 2:
            assert server.process.poll() is None
        assert len(server.workers() & before) == 1
        survivor = (server.workers() & before).pop()
        answered: set[int] = set()
        while not answered - {survivor}:  # until the new one listens
            try:
                answered.add(server.answering_worker())
            except (ConnectionError, ValueError):
                continue  # it was queued on the dead worker's socket
        assert answered <= server.workers()
        assert server.is_ready


def test_sigterm_ends_every_process_in_order(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        assert server.is_ready
        server.process.terminate()
        code, out, _ = server.end()
    assert (code, out.count("stopped in order")) == (0, 2)
    assert not server.is_ready


def test_sigint_is_forwarded_as_an_orderly_stop(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        os.killpg(server.process.pid, signal.SIGINT)  # what Ctrl-C does
        code, out, _ = server.end()
    assert (code, out.count("stopped in order")) == (0, 2)


def test_a_worker_that_does_not_stop_is_killed_and_reported(tmp_path: Path) -> None:
    with serving(tmp_path, "stubborn") as server:
        server.process.terminate()
        code, _, err = server.end()
    assert code == 1
    assert err.count("worker killed") == 2


@pytest.mark.parametrize(("behaviour", "in_order"), [("normal", 2), ("stubborn", 0)])
def test_workers_end_when_their_supervisor_is_killed(
    tmp_path: Path, behaviour: str, in_order: int
) -> None:
    with serving(tmp_path, behaviour) as server:
        server.process.kill()
        code, out, _ = server.end()  # returns when the last worker closed its output
    assert (code, out.count("stopped in order")) == (-9, in_order)


def test_sighup_replaces_one_worker_after_the_other_and_the_port_always_answers(
    tmp_path: Path,
) -> None:
    with serving(tmp_path) as server:
        before = server.workers()
        server.process.send_signal(signal.SIGHUP)
        answered: set[int] = set()
        while len(answered - before) < 2:
            assert server.process.poll() is None
            with suppress(ConnectionResetError, ValueError):  # queued on a socket that closed
                answered.add(server.answering_worker())
        assert server.workers() == answered - before
        assert server.is_ready
        server.process.terminate()
        _, out, err = server.end()
    assert out.count("stopped in order") == 4
    assert "worker died" not in err


def test_a_wrong_setting_found_by_a_worker_ends_the_server(tmp_path: Path) -> None:
    server = Server(tmp_path, "config")
    code, out, err = server.end()
    assert (code, "ready" in out) == (78, False)
    assert "tls.users: the key is missing. Put it there." in err
    assert_group_is_empty(server.process.pid)


def test_a_server_that_is_never_ready_gives_up(tmp_path: Path) -> None:
    server = Server(tmp_path, "crash")
    code, _, err = server.end()
    assert code == 70
    assert "giving up" in err
    assert_group_is_empty(server.process.pid)


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # would let us bind silently
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        code, _, err = Server(tmp_path, "normal", port=port).end()
    assert code == 78
    assert f"listen.operators: 127.0.0.1 port {port}: the port is in use" in err


def test_a_second_server_on_the_same_home_is_refused(tmp_path: Path) -> None:
    with serving(tmp_path) as first:
        code, _, err = Server(tmp_path, "normal").end()
        assert code == 78
        holder = f"process {first.process.pid} on {socket.gethostname()}"
        assert f"a server is running on it already ({holder})" in err
        assert first.is_ready
        assert first.answering_worker() in first.workers()


def test_a_home_can_be_served_again_after_a_kill(tmp_path: Path) -> None:
    with serving(tmp_path) as first:
        first.process.kill()
        first.end()
    with serving(tmp_path) as second:
        assert second.answering_worker() in second.workers()


def test_metrics_add_up_over_workers_and_forget_the_dead(tmp_path: Path) -> None:
    with serving(tmp_path, "metrics") as server:
        fetch = build_opener(ProxyHandler({})).open
        address = f"http://127.0.0.1:{server.port}/metrics"
        text = fetch(address, timeout=20).read().decode()
        assert "mssmtp_deliveries_total 3.0" in text
        assert 'mssmtp_open_connections{door="imap"} 2.0' in text
        with pytest.raises(OSError, match="404"):
            fetch(address + "2", timeout=20)


@pytest.mark.parametrize(
    ("host", "reason"),
    [("192.0.2.1", "this machine does not have that address"), ("no such host", "Correct `host`")],
)
def test_an_address_that_cannot_be_bound_is_explained(host: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as raised:
        bind("imap", Endpoint(host=host, port=10143))
    assert raised.value.what == f"listen.imap: {host} port 10143"


def test_a_home_that_does_not_exist_is_explained(tmp_path: Path) -> None:
    code, _, err = Server(tmp_path / "nowhere", "normal").end()
    assert code == 78
    assert "Run `mssmtp init`" in err


def test_no_worker_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="too few"):
        Plan(tmp_path, 0, {})


def test_replacement_is_immediate_once_then_slower_up_to_a_limit() -> None:
    assert [backoff_s(deaths) for deaths in (0, 1, 2, 3, 4, 20)] == [0, 0, 0.5, 1, 2, 10]
