"""The demo's web: the signed list over HTTPS and the CRLs over HTTP."""

from __future__ import annotations

import ssl
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class _Quiet(SimpleHTTPRequestHandler):
    """Serves one directory, answers conditional requests, writes no log line."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """The demo's screen belongs to the proof."""


class Site:
    """One directory on one loopback port, until `close`."""

    def __init__(self, directory: Path, port: int, tls: ssl.SSLContext | None = None) -> None:
        handler = partial(_Quiet, directory=str(directory))
        self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self._server.daemon_threads = True
        if tls is not None:
            # The handshake is done in the thread of the connection, so that one silent client
            # does not keep the next from being accepted.
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="demo-web"
        )
        self._thread.start()

    def close(self) -> None:
        """Stop serving and free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def https_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS of the list's server; 1.2 and above like every door (OP-04)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    return context
