"""A server whose workers answer their process id: `python -m tests.workers.tiny_server …`.

Arguments: home, port, workers, behaviour. Behaviours: `normal`; `config` (a worker finds a wrong
setting); `stubborn` (SIGTERM is ignored); `crash` (dies at once); `metrics` (counts what it
answers and serves the counters on the port instead).
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from contextlib import nullcontext
from pathlib import Path

from mssmtp import metrics
from mssmtp.config import Endpoint
from mssmtp.errors import ConfigError
from mssmtp.listening import bind
from mssmtp.metrics_server import MetricsServer, shared_metrics
from mssmtp.tls import listen
from mssmtp.workers import Plan, WorkerContext, supervise


class Answer(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(f"{os.getpid()}\n".encode())
        transport.close()


def say(line: str) -> None:
    """In one write, so that lines of two workers never mix."""
    os.write(1, f"{line}\n".encode())


async def serve(context: WorkerContext, endpoint: Endpoint) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, stop.set)
    async with await listen(bind("operators", endpoint), Answer, None):
        context.ready()
        await stop.wait()
    say("stopped in order")


def serve_metrics(context: WorkerContext, endpoint: Endpoint) -> None:
    metrics.delivered.inc(context.number + 1)
    metrics.open_connections.labels(door="imap").set(1)
    server = MetricsServer(bind("metrics", endpoint))
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    context.ready()
    signal.sigwait({signal.SIGTERM})
    server.close()


def main(home: Path, endpoint: Endpoint, workers: int, behaviour: str) -> int:
    counting = shared_metrics(home) if behaviour == "metrics" else nullcontext()

    def run_worker(context: WorkerContext) -> None:
        if behaviour == "config" and context.number == workers - 1:
            raise ConfigError("tls.users", "the key is missing", "Put it there.")
        if behaviour == "crash":
            raise ZeroDivisionError
        if behaviour == "metrics":
            serve_metrics(context, endpoint)
            return
        if behaviour == "stubborn":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            context.ready()
            while True:
                time.sleep(60)
        asyncio.run(serve(context, endpoint))

    try:
        with counting as place:
            plan = Plan(
                home,
                workers,
                {"operators": endpoint},
                grace_s=0.3 if behaviour == "stubborn" else 10.0,
                on_ready=lambda: say("ready"),
                metrics=place,
            )
            return supervise(plan, run_worker)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 78


if __name__ == "__main__":
    _, home, port, workers, behaviour = sys.argv
    sys.exit(main(Path(home), Endpoint(port=int(port)), int(workers), behaviour))
