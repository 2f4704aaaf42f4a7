"""The wire protocol of Mozilla's Marionette: `length:[type, id, …]` in JSON on a loopback port."""

from __future__ import annotations

import base64
import json
import socket
import time
from pathlib import Path

CONNECTS_WITHIN_S = 60.0
ANSWERS_WITHIN_S = 60.0
_LARGEST = 64 << 20

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


class ScriptFailed(AssertionError):
    """What Thunderbird said instead of a value."""


class Marionette:
    """One session, in the chrome context: scripts see what Thunderbird's own code sees; or in the
    content context, where they see a page."""

    def __init__(
        self, port: int, capabilities: dict[str, Json] | None = None, context: str = "chrome"
    ) -> None:
        self._stream = _connected(port)
        self._file = self._stream.makefile("rb")
        self._last = 0
        self._read()  # the greeting
        self.call("WebDriver:NewSession", capabilities or {})
        self.call("Marionette:SetContext", {"value": context})
        self.call("WebDriver:SetTimeouts", {"script": int(ANSWERS_WITHIN_S * 1000)})

    def close(self) -> None:
        """Leave; Thunderbird goes on."""
        self._file.close()
        self._stream.close()

    def run(self, script: str, *arguments: Json) -> Json:
        """The value of an asynchronous function's body, called with `arguments` as `given`."""
        body = (
            "const given = Array.from(arguments); const done = given.pop();"
            "(async () => {" + script + "})().then("
            "value => done({value: value === undefined ? null : value}),"
            "error => done({error: String(error) + '\\n' + (error && error.stack)}));"
        )
        said = self.call(
            "WebDriver:ExecuteAsyncScript",
            {"script": body, "args": list(arguments), "sandbox": "system", "newSandbox": False},
        )
        answer = said["value"] if isinstance(said, dict) else None
        if not isinstance(answer, dict) or "error" in answer:
            raise ScriptFailed(str(answer))
        return answer["value"]

    def picture(self, file: Path) -> None:
        """The window as a PNG."""
        said = self.call("WebDriver:TakeScreenshot", {"full": True, "hash": False})
        assert isinstance(said, dict)
        file.write_bytes(base64.b64decode(str(said["value"])))

    def call(self, name: str, parameters: dict[str, Json]) -> Json:
        """What is answered to one command."""
        self._last += 1
        octets = json.dumps([0, self._last, name, parameters]).encode()
        self._stream.sendall(b"%d:%s" % (len(octets), octets))
        answer = self._read()
        assert isinstance(answer, list)
        assert answer[1] == self._last
        if answer[2] is not None:
            raise ScriptFailed(str(answer[2]))
        return answer[3]

    def _read(self) -> Json:
        digits = b""
        while not digits.endswith(b":"):
            octet = self._file.read(1)
            if not octet or len(digits) > 12:
                raise ScriptFailed("Thunderbird has closed the connection")
            digits += octet
        size = int(digits[:-1])
        assert size <= _LARGEST
        value: Json = json.loads(self._file.read(size))
        return value


def _connected(port: int) -> socket.socket:
    deadline = time.monotonic() + CONNECTS_WITHIN_S
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), ANSWERS_WITHIN_S + 10)
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
