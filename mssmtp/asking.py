"""How a command reaches the operations: through the socket of a server that runs on the home, and
in its own process, as the operator, when none does."""

from __future__ import annotations

import http.client
import json
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from mssmtp import app as server
from mssmtp.admin import Answered, Office, answer
from mssmtp.admin.callers import user_name
from mssmtp.admin.operation import Json, Row
from mssmtp.config import Settings
from mssmtp.errors import ConfigError
from mssmtp.mail import Actor, AdminLevel

__all__ = ["Desk", "Refused", "Row"]

_WITHIN_S = 600.0
"""A long operation (many boxes) says nothing until it is done."""


class Refused(ConfigError):
    """An operation was refused. `is_usage`: what was asked for is wrong, rather than the times."""

    def __init__(self, what: str, why: str, remedy: str, *, is_usage: bool) -> None:
        super().__init__(what, why, remedy)
        self.is_usage = is_usage


@dataclass(frozen=True, slots=True)
class Desk:
    """Where a command brings its calls."""

    settings: Settings

    def row(self, name: str, input: Mapping[str, Json]) -> Row:
        """The answer of an operation that gives one. Raises Refused."""
        return cast(Row, self._ask(name, input))

    def rows(self, name: str, input: Mapping[str, Json]) -> list[Row]:
        """The answer of one that gives a list. Raises Refused."""
        return cast(list[Row], self._ask(name, input))

    def pages(self, name: str, input: Mapping[str, Json]) -> list[Row]:
        """Every page of a list, put together. Raises Refused."""
        found: list[Row] = []
        while page := self.rows(name, {**input, "after": found[-1]["id"] if found else 0}):
            found += page
        return found

    def _ask(self, name: str, input: Mapping[str, Json]) -> object:
        body = json.dumps(input).encode()
        answered = self._by_socket(name, body)
        if answered is None:
            answered = self._here(name, body)
        said = json.loads(answered.body)
        if answered.status != 200:
            usage = answered.status in (400, 403, 404)
            raise Refused(said["what"], said["why"], said["remedy"], is_usage=usage)
        return said

    def _by_socket(self, name: str, body: bytes) -> Answered | None:
        """None: no server listens."""
        connection = _UnixConnection(self.settings.store.home / "run")
        try:
            connection.connect()
        except (FileNotFoundError, ConnectionRefusedError):
            connection.close()
            return None
        try:
            connection.request("POST", f"/v1/{name}", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return Answered(response.status, response.read())
        except (OSError, http.client.HTTPException) as error:
            raise ConfigError(
                name, "the server did not answer; it may or may not be done", "Look, then repeat."
            ) from error
        finally:
            connection.close()

    def _here(self, name: str, body: bytes) -> Answered:
        actor = Actor(AdminLevel.OPERATOR, user_name(os.geteuid()))
        with server.store_of(self.settings) as store:
            office = Office(store, self.settings, server.CLOCK, server.ENTROPY)
            return answer(office, actor, name, body)


class _UnixConnection(http.client.HTTPConnection):
    """HTTP on the socket in `run`."""

    def __init__(self, run: Path) -> None:
        super().__init__("localhost", timeout=_WITHIN_S)
        self._run = run

    def connect(self) -> None:
        """Through the directory's descriptor: a path of a socket is 107 octets at most."""
        directory = os.open(self._run, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(_WITHIN_S)
            self.sock.connect(f"/proc/self/fd/{directory}/admin.sock")
        finally:
            os.close(directory)
