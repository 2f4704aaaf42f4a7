"""What the demo says of a server that does not come up: a port, an end of its own, or patience."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from mssmtp.config import Endpoint
from mssmtp.demo import running, session
from mssmtp.demo.running import Server, all_ready
from mssmtp.demo.space import Laid
from mssmtp.errors import ConfigError
from mssmtp.outside import SystemClock, SystemEntropy
from tests.free_ports import free_ports


class _Listen(SimpleNamespace):
    model_fields = ("imap",)


def made(directory: Path, monkeypatch: pytest.MonkeyPatch, program: str) -> Server:
    """A server whose process is `program`; its only port is a free one."""
    (directory / "run").mkdir()
    listen = _Listen(imap=Endpoint(host="127.0.0.1", port=free_ports(1)[0]))
    laid = SimpleNamespace(
        settings=SimpleNamespace(store=SimpleNamespace(home=directory), listen=listen),
        config_file=directory / "mssmtp.toml",
        plan=SimpleNamespace(name="hopital-a"),
    )
    whole = subprocess.Popen

    def popen(command: list[str], **rest: Any) -> object:
        return whole([sys.executable, "-c", program], **rest)

    monkeypatch.setattr(subprocess, "Popen", popen)
    server = Server(cast(Laid, laid), 1)
    monkeypatch.undo()
    return server


async def refused(server: Server) -> str:
    with pytest.raises(ConfigError) as caught:
        await all_ready([server], lambda _: None)
    return f"{caught.value.why}. {caught.value.remedy}"


async def test_who_has_ended_because_of_a_port_and_who_for_another_reason_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = made(tmp_path, monkeypatch, "print('no master key'); raise SystemExit(2)")
    said = await refused(server)
    assert "has ended: no master key" in said
    assert "port" not in said
    imap = server.laid.settings.listen.imap
    assert imap is not None
    with socket.create_server(("127.0.0.1", imap.port)):
        said = await refused(server)
    assert said.startswith(f"port {imap.port} (imap) is taken")
    assert "--base-port" in said


async def test_who_is_slow_is_waited_for_and_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = made(tmp_path, monkeypatch, "import signal; signal.pause()")
    monkeypatch.setattr(running, "TELL_EVERY_S", 0.0)
    told, something = list[str](), asyncio.Event()

    def tell(text: str) -> None:
        told.append(text)
        something.set()

    waits = asyncio.ensure_future(all_ready([server], tell))
    await something.wait()
    assert "not ready yet: hopital-a" in told[0]
    (tmp_path / "run" / "ready").touch()
    await waits
    (tmp_path / "run" / "ready").unlink()
    monkeypatch.setattr(running, "READY_WITHIN_S", 0.0)
    said = await refused(server)
    assert "runs, but is not ready" in said
    assert "port" not in said
    await server.stop()
    assert server._process.returncode == -signal.SIGTERM


def test_a_directory_of_an_earlier_space_is_told_by_its_name_and_left_as_it_is(
    tmp_path: Path,
) -> None:
    (tmp_path / "hostile").mkdir()
    options = session.Options(directory=tmp_path, base_port=free_ports(1)[0])
    with pytest.raises(ConfigError) as caught:
        session.run(options, SystemClock(), SystemEntropy())
    assert caught.value.what == f"--directory {tmp_path}"
    assert "Remove it" in caught.value.remedy
    assert [found.name for found in tmp_path.iterdir()] == ["hostile"]
