"""Counters of all workers, added up by whichever is asked, as Prometheus reads them."""

from __future__ import annotations

import http.server
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from mssmtp import metrics
from mssmtp.metrics_place import MetricsPlace

_SCRAPE_TIMEOUT_S = 5.0

logger = logging.getLogger(__name__)


@contextmanager
def shared_metrics(home: Path) -> Iterator[MetricsPlace]:
    """Let the counters of all workers of `home` be added up. Once, around `supervise`."""
    place = MetricsPlace(home / "run" / "metrics")
    try:
        metrics.share(place.directory)
        yield place
    finally:
        place.remove()


def forget_process(directory: Path, pid: int) -> None:
    """A dead worker's live gauges no longer count; its counters do."""
    mark_process_dead(pid, str(directory))  # type: ignore[no-untyped-call]


class _Scrape(http.server.BaseHTTPRequestHandler):
    """GET /metrics, and nothing else."""

    timeout = _SCRAPE_TIMEOUT_S
    server_version = "mssmtp"
    sys_version = ""

    def do_GET(self) -> None:
        if self.path != "/metrics":
            self.send_error(404)
            return
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        text = generate_latest(registry)
        self.send_response(200)
        self.send_header("Content-Type", CONTENT_TYPE_PLAIN_0_0_4)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:
        logger.debug("metrics read")


class MetricsServer:
    """Prometheus text of all workers, on a thread of this worker. `sock` comes from `bind`."""

    def __init__(self, sock: socket.socket) -> None:
        self._server = http.server.HTTPServer(("", 0), _Scrape, bind_and_activate=False)
        self._server.socket.close()
        self._server.socket = sock
        self._server.server_activate()
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop answering; the socket is closed."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
