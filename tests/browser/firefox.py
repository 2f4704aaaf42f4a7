"""Firefox without a window, driven as its own tests drive it, stopped whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.free_ports import free_ports
from tests.thunderbird.marionette import Marionette, ScriptFailed

STOPS_WITHIN_S = 20.0
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
_PREFERENCES: dict[str, bool | int | str] = {
    # No octet leaves the machine.
    "network.proxy.type": 1,
    "network.proxy.socks": "127.0.0.1",
    "network.proxy.socks_port": 9,
    "network.proxy.socks_remote_dns": True,
    "network.proxy.no_proxies_on": "localhost, 127.0.0.1",
    "app.update.enabled": False,
    "app.normandy.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.safebrowsing.update.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "services.settings.server": "http://127.0.0.1:9",
    "intl.accept_languages": "fr",
    # Nobody is there to choose among certificates.
    "security.default_personal_cert": "Select Automatically",
}


class Firefox:
    """One window."""

    def __init__(self, session: Marionette) -> None:
        self._session = session

    def go(self, url: str) -> None:
        """Type an address."""
        self._session.call("WebDriver:Navigate", {"url": url})

    def fill(self, field: str, text: str) -> None:
        """Type into the field of that name."""
        found = self._found(f'[name="{field}"]')
        self._session.call("WebDriver:ElementSendKeys", {"id": found, "text": text})

    def press(self, selector: str = "main form button[type=submit]") -> None:
        """Click, and wait for the page that comes."""
        self._session.call("WebDriver:ElementClick", {"id": self._found(selector)})

    @property
    def path(self) -> str:
        """Where it is, with what stands behind `#`."""
        return str(self._value("return location.pathname + location.hash"))

    @property
    def text(self) -> str:
        """What is seen."""
        return str(self._value("return document.body.innerText"))

    def value(self, field: str) -> str:
        """What a field holds, seen or not."""
        return str(self._value(f"return document.querySelector('[name=\"{field}\"]').value"))

    def picture(self, file: Path) -> None:
        """The page as a PNG."""
        self._session.picture(file)

    def _value(self, script: str) -> object:
        said = self._session.call("WebDriver:ExecuteScript", {"script": script, "args": []})
        return said["value"] if isinstance(said, dict) else None

    def _found(self, selector: str) -> str:
        asked = {"using": "css selector", "value": selector}
        said = self._session.call("WebDriver:FindElement", dict(asked))
        value = said["value"] if isinstance(said, dict) else None
        if not isinstance(value, dict):
            raise ScriptFailed(selector)
        return str(value[_ELEMENT])


def _take_in(folder: Path, card: Path, pin: str) -> None:
    """A card's file into the profile, by the tools of the library that Firefox reads it with."""
    profile = f"sql:{folder}"
    for command in (
        ["certutil", "-N", "-d", profile, "--empty-password"],
        ["pk12util", "-i", str(card), "-d", profile, "-W", pin, "-K", ""],
    ):
        subprocess.run(command, check=True, capture_output=True)


@contextmanager
def firefox(folder: Path, card: Path, pin: str) -> Iterator[Firefox]:
    """With the profile `folder`; certificates of servers are not judged, they are the demo's.

    `card`: PKCS #12, which takes the place of a card in its reader.
    """
    folder.mkdir()
    _take_in(folder, card, pin)
    (port,) = free_ports(1)
    lines = [f'user_pref("marionette.port", {port});']
    for name, value in _PREFERENCES.items():
        told = f'"{value}"' if isinstance(value, str) else str(value).lower()
        lines.append(f'user_pref("{name}", {told});')
    (folder / "user.js").write_text("\n".join(lines))
    command = ["firefox-esr", "--headless", "--marionette", "--no-remote", "--profile", str(folder)]
    with (folder / "firefox.log").open("wb") as log:
        program = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=os.environ | {"HOME": str(folder)},
            start_new_session=True,
        )
    try:
        session = Marionette(port, {"acceptInsecureCerts": True}, context="content")
        try:
            yield Firefox(session)
        finally:
            session.close()
    finally:
        program.send_signal(signal.SIGTERM)
        try:
            program.wait(STOPS_WITHIN_S)
        except subprocess.TimeoutExpired:
            program.kill()
            program.wait()
