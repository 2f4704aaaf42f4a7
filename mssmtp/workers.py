"""The supervisor: N worker processes that share the listening ports, and nothing else.

It forks before there is any thread or loop, so that a worker that died is replaced in
milliseconds, and it never serves a peer itself. Each worker binds its own sockets with
SO_REUSEPORT and serves everything; nothing a session needs lives in one worker only.
"""

from __future__ import annotations

import fcntl
import gc
import json
import logging
import os
import selectors
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from mssmtp import processors
from mssmtp.config import Endpoint
from mssmtp.errors import ConfigError
from mssmtp.listening import probe
from mssmtp.metrics_place import MetricsPlace
from mssmtp.metrics_server import forget_process

EXIT_STOPPED = 0
EXIT_KILLED = 1
EXIT_SOFTWARE = 70
EXIT_CONFIG = 78

_QUICK_DEATH_S = 2.0
_FIRST_BACKOFF_S = 0.5
_LONGEST_BACKOFF_S = 10.0
_NEVER_READY_DEATHS = 5
_WATCHED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)

logger = logging.getLogger(__name__)


class WorkerContext:
    """What a worker knows of its supervisor.

    The worker handles SIGTERM (finish what is in flight, then return) and SIGHUP (the same, when
    the settings are good: its successor reads them) itself; SIGINT is the supervisor's. A
    ConfigError it raises before the server was ready ends the server.
    """

    def __init__(self, number: int, pipe: int) -> None:
        self.number = number
        self._pipe = pipe

    def ready(self) -> None:
        """Every door of this worker listens."""
        os.write(self._pipe, b'{"ready": true}\n')

    def fail(self, error: ConfigError) -> None:
        """Hand `error` to the supervisor."""
        told = {"what": error.what, "why": error.why, "remedy": error.remedy}
        os.write(self._pipe, json.dumps(told).encode("ascii") + b"\n")


RunWorker = Callable[[WorkerContext], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to supervise. `endpoints`: door name and where it listens, for clear errors.

    `on_ready` is called in the supervisor, once, when every worker listens; `on_locked` before the
    first is forked, when the home is ours: what it opens, every worker inherits.
    """

    home: Path
    workers: int
    endpoints: Mapping[str, Endpoint]
    grace_s: float = 30.0
    on_ready: Callable[[], None] | None = None
    metrics: MetricsPlace | None = None
    on_locked: Callable[[], None] | None = None

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ConfigError("--workers", f"{self.workers} is too few", "Give 1 or more.")

    @property
    def run(self) -> Path:
        """Where a running server leaves its traces: `serve.lock`, `ready`."""
        return self.home / "run"


def supervise(plan: Plan, run_worker: RunWorker) -> int:
    """Run the workers of `plan` until SIGTERM or SIGINT; the exit code of the server.

    EXIT_STOPPED after an orderly stop, EXIT_KILLED when a worker outlived `grace_s`,
    EXIT_SOFTWARE when workers kept dying before the server was ever ready. Raises ConfigError
    when the home is in use, a port cannot be bound, or a worker says so at start.
    """
    if not processors.alone():
        raise RuntimeError("the supervisor forks: it must be called before any thread is started")
    with _only_server(plan):
        for door, endpoint in plan.endpoints.items():
            probe(door, endpoint)
        if plan.metrics is not None:
            plan.metrics.clean()
        if plan.on_locked is not None:
            plan.on_locked()
        gc.collect()
        gc.freeze()  # what is loaded now is never copied by a worker's collector
        return _Supervisor(plan, run_worker).run()


# ---------------------------------------------------------------- the home


@contextmanager
def _only_server(plan: Plan) -> Iterator[None]:
    """Hold the lock of the home. Workers inherit it: while one lives, no other server starts."""
    try:
        plan.run.mkdir(mode=0o700, exist_ok=True)
        handle = os.open(plan.run / "serve.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(
            str(plan.run), f"cannot be used ({error.strerror})", "Run `mssmtp init` as this user."
        ) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder, _, host = os.pread(handle, 300, 0).decode("ascii", "replace").partition(" ")
            raise ConfigError(
                str(plan.home),
                f"a server is running on it already (process {holder.strip() or 'unknown'}"
                f" on {host.strip() or 'unknown'})",
                "Stop it first, or give this one a store of its own.",
            ) from error
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()} {socket.gethostname()}\n".encode("ascii", "replace"), 0)
        yield
    finally:
        os.close(handle)


def have_reloaded(run: Path) -> bool:
    """Tell the server whose directory this is to read its settings again; False: none runs there.

    Only while the lock of the home is held: the process that a killed server has written down may
    be somebody else's by now, whom SIGHUP would end.
    """
    try:
        handle = os.open(run / "serve.lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        try:
            os.kill(int((run / "ready").read_text("ascii")), signal.SIGHUP)
        except (OSError, ValueError):
            return False
        return True
    finally:
        os.close(handle)


# ---------------------------------------------------------------- the supervisor


@dataclass(slots=True)
class _Worker:
    """One place among the workers, whoever fills it."""

    number: int
    pid: int = 0
    pipe: int = -1
    started_s: float = 0.0
    start_due_s: float | None = 0.0
    is_ready: bool = False
    quick_deaths: int = 0
    said: bytearray = field(default_factory=bytearray)
    failure: ConfigError | None = None


class _Supervisor:
    def __init__(self, plan: Plan, run_worker: RunWorker) -> None:
        self._plan = plan
        self._run_worker = run_worker
        self._workers = [_Worker(number) for number in range(plan.workers)]
        self._selector = selectors.DefaultSelector()
        self._failure: ConfigError | None = None
        self._was_ready = False
        self._stop_due_s: float | None = None
        self._to_reload: list[_Worker] = []
        self._reload_due_s: float | None = None
        self._exit = EXIT_STOPPED

    def run(self) -> int:
        self._ready_file.unlink(missing_ok=True)
        # Workers see the end of this pipe when we are gone, even by SIGKILL.
        self._lifeline, self._lifeline_end = os.pipe()
        with self._signals():
            try:
                while not (self._stopping and not self._alive):
                    self._start_due()
                    self._wait()
                    self._reap()
                    self._reload_overdue()
                    self._kill_overdue()
            finally:
                self._ready_file.unlink(missing_ok=True)
                os.close(self._lifeline)
                os.close(self._lifeline_end)
                self._selector.close()
        if self._failure is not None:
            raise self._failure
        return self._exit

    @property
    def _ready_file(self) -> Path:
        return self._plan.run / "ready"

    @property
    def _stopping(self) -> bool:
        return self._stop_due_s is not None

    @property
    def _alive(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker.pid]

    # ------------------------------------------------------------ waiting

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Signals become octets on a pipe, so that one call waits for everything."""
        self._wakeup, self._wakeup_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        before = {number: signal.signal(number, _noted) for number in _WATCHED}
        wakeup_before = signal.set_wakeup_fd(self._wakeup_end)
        self._selector.register(self._wakeup, selectors.EVENT_READ)
        try:
            yield
        finally:
            signal.set_wakeup_fd(wakeup_before)
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(self._wakeup)
            os.close(self._wakeup_end)

    def _wait(self) -> None:
        due = [w.start_due_s for w in self._workers if w.start_due_s is not None]
        due += [at_s for at_s in (self._stop_due_s, self._reload_due_s) if at_s is not None]
        timeout_s = max(0.0, min(due) - time.monotonic()) if due else None
        for key, _ in self._selector.select(timeout_s):
            if key.fd == self._wakeup:
                for number in os.read(self._wakeup, 1_024):
                    self._on_signal(number)
            else:
                self._listen_to(next(w for w in self._alive if w.pipe == key.fd))

    def _on_signal(self, number: int) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            self._stop()
        elif number == signal.SIGHUP and not self._stopping:
            logger.info("reload requested")
            self._to_reload = self._alive
            self._reload_next()

    def _tell_all(self, number: signal.Signals) -> None:
        for worker in self._alive:
            os.kill(worker.pid, number)  # not reaped yet, so the number is still its own

    # ------------------------------------------------------------ reloading

    def _reload_next(self) -> None:
        """Tell one worker; the next when its successor is ready, so that the doors stay open.

        One that did not leave in `grace_s` (it refused the settings, or is slow) holds up nobody.
        """
        self._reload_due_s = None
        while self._to_reload and not self._stopping:
            worker = self._to_reload.pop(0)
            if worker.pid:
                os.kill(worker.pid, signal.SIGHUP)
                self._reload_due_s = time.monotonic() + self._plan.grace_s
                return

    def _reload_overdue(self) -> None:
        if self._reload_due_s is not None and time.monotonic() >= self._reload_due_s:
            self._reload_next()

    # ------------------------------------------------------------ stopping

    def _stop(self) -> None:
        """Ask every worker to finish; asked a second time, stop waiting for them."""
        now_s = time.monotonic()
        if self._stopping:
            self._stop_due_s = now_s
            return
        logger.info("stopping", extra={"workers": len(self._alive)})
        self._stop_due_s = now_s + self._plan.grace_s
        self._to_reload, self._reload_due_s = [], None
        self._ready_file.unlink(missing_ok=True)
        for worker in self._workers:
            worker.start_due_s = None
        self._tell_all(signal.SIGTERM)

    def _kill_overdue(self) -> None:
        if self._stop_due_s is None or time.monotonic() < self._stop_due_s or not self._alive:
            return
        for worker in self._alive:
            logger.warning("worker killed: it did not stop in time", extra=_named(worker))
        self._exit = EXIT_KILLED
        self._tell_all(signal.SIGKILL)
        self._stop_due_s = time.monotonic() + self._plan.grace_s

    # ------------------------------------------------------------ births and deaths

    def _start_due(self) -> None:
        now_s = time.monotonic()
        for worker in self._workers:
            if worker.start_due_s is not None and worker.start_due_s <= now_s:
                self._start(worker, now_s)

    def _start(self, worker: _Worker, now_s: float) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        pipe, pipe_end = os.pipe()
        # A signal between the fork and the child's own handlers would reach our pipe, not it.
        signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
        pid = os.fork()
        if pid == 0:
            self._live_as(worker.number, pipe_end)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _WATCHED)
        os.close(pipe_end)
        os.set_blocking(pipe, False)
        worker.pid, worker.pipe, worker.started_s = pid, pipe, now_s
        worker.start_due_s, worker.is_ready, worker.failure = None, False, None
        worker.said.clear()
        self._selector.register(pipe, selectors.EVENT_READ)
        logger.info("worker started", extra=_named(worker))

    def _live_as(self, number: int, pipe: int) -> NoReturn:
        """The child: never returns into the supervisor's code."""
        code = EXIT_SOFTWARE
        try:
            signal.set_wakeup_fd(-1)
            for each in _WATCHED:
                signal.signal(each, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the worker can reload
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _WATCHED)
            self._close_inherited()
            context = WorkerContext(number, pipe)
            threading.Thread(
                target=_follow, args=(self._lifeline, self._plan.grace_s), daemon=True
            ).start()
            try:
                self._run_worker(context)
                code = EXIT_STOPPED
            except ConfigError as error:
                context.fail(error)
                code = EXIT_CONFIG
        except BaseException:
            logger.exception("worker failed", extra={"worker": number})
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _close_inherited(self) -> None:
        """What must be held by the supervisor alone."""
        self._selector.close()
        for handle in (self._wakeup, self._wakeup_end, self._lifeline_end):
            os.close(handle)
        for worker in self._alive:
            os.close(worker.pipe)

    def _listen_to(self, worker: _Worker) -> bool:
        """Read what the worker said. False: there is no more."""
        try:
            octets = os.read(worker.pipe, 4_096)
        except BlockingIOError:
            return False
        worker.said += octets
        while b"\n" in worker.said:
            line, _, rest = bytes(worker.said).partition(b"\n")
            worker.said[:] = rest
            self._hear(worker, json.loads(line))
        return bool(octets)

    def _hear(self, worker: _Worker, told: dict[str, str]) -> None:
        if "what" in told:
            worker.failure = ConfigError(told["what"], told["why"], told["remedy"])
            return
        worker.is_ready = True
        if self._reload_due_s is not None:
            self._reload_next()
        if not self._was_ready and all(each.is_ready for each in self._workers):
            self._was_ready = True
            _write_atomically(self._ready_file, f"{os.getpid()}\n")
            logger.info("ready", extra={"workers": len(self._workers)})
            if self._plan.on_ready is not None:
                self._plan.on_ready()

    def _reap(self) -> None:
        for worker in self._alive:
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if pid:
                self._bury(worker, os.waitstatus_to_exitcode(status))

    def _bury(self, worker: _Worker, code: int) -> None:
        while self._listen_to(worker):
            pass
        self._selector.unregister(worker.pipe)
        os.close(worker.pipe)
        if self._plan.metrics is not None:
            forget_process(self._plan.metrics.directory, worker.pid)
        named = _named(worker)
        worker.pid, worker.pipe = 0, -1
        if not self._stopping:
            why = str(worker.failure) if worker.failure is not None else ""
            if code == EXIT_STOPPED:
                logger.info("worker left", extra=named)
            else:
                logger.error("worker died", extra={**named, "status": code, "why": why})
            self._plan_restart(worker)

    def _plan_restart(self, worker: _Worker) -> None:
        """Replace it at once; wait longer each time it dies within seconds of its start."""
        now_s = time.monotonic()
        if worker.failure is not None and not self._was_ready:
            self._failure = worker.failure
            self._stop()
            return
        quick = now_s - worker.started_s < _QUICK_DEATH_S
        worker.quick_deaths = worker.quick_deaths + 1 if quick else 0
        if not self._was_ready and worker.quick_deaths >= _NEVER_READY_DEATHS:
            logger.error("giving up: workers die before they are ready")
            self._exit = EXIT_SOFTWARE
            self._stop()
            return
        worker.start_due_s = now_s + backoff_s(worker.quick_deaths)


def backoff_s(quick_deaths: int) -> float:
    """How long to wait before a worker is replaced: not at all the first time."""
    if quick_deaths <= 1:
        return 0.0
    return float(min(_LONGEST_BACKOFF_S, _FIRST_BACKOFF_S * 2 ** min(quick_deaths - 2, 10)))


def _named(worker: _Worker) -> dict[str, int]:
    return {"worker": worker.number, "pid": worker.pid}


def _noted(number: int, frame: object) -> None:
    """The wakeup pipe has it already."""


def _follow(lifeline: int, grace_s: float) -> None:
    """End this worker when the supervisor is gone: in order, and after `grace_s` all the same."""
    os.read(lifeline, 1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(grace_s)
    os.kill(os.getpid(), signal.SIGKILL)


def _write_atomically(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text, encoding="ascii")
    new.replace(path)


# ---------------------------------------------------------------- metrics
