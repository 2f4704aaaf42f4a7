"""Thunderbird and the display it draws on, started for one run and stopped whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.free_ports import free_ports
from tests.thunderbird.marionette import Marionette

STOPS_WITHIN_S = 20.0

# No octet leaves the machine: whatever is not loopback goes to a proxy that is not there, names
# included. The rest silences what would ask the user something or speak to Mozilla.
_PREFERENCES: dict[str, bool | int | str] = {
    "network.proxy.type": 1,
    "network.proxy.socks": "127.0.0.1",
    "network.proxy.socks_port": 9,
    "network.proxy.socks_remote_dns": True,
    "network.proxy.http": "127.0.0.1",
    "network.proxy.http_port": 9,
    "network.proxy.ssl": "127.0.0.1",
    "network.proxy.ssl_port": 9,
    "network.proxy.no_proxies_on": "localhost, 127.0.0.1",
    "network.dns.disablePrefetch": True,
    "network.dns.disableIPv6": True,
    "app.update.enabled": False,
    "app.normandy.enabled": False,
    "app.donation.eoy.version.viewed": 99,
    "datareporting.policy.dataSubmissionEnabled": False,
    "datareporting.healthreport.uploadEnabled": False,
    "toolkit.telemetry.enabled": False,
    "extensions.update.enabled": False,
    "extensions.getAddons.cache.enabled": False,
    "mail.inappnotifications.enabled": False,
    "mail.provider.suppress_dialog_on_startup": True,
    "mail.rights.version": 1,
    "mail.shell.checkDefaultClient": False,
    "mail.spotlight.firstRunDone": True,
    "mail.winsearch.firstRunDone": True,
    "mailnews.start_page.enabled": False,
    "mailnews.start_page_override.mstone": "ignore",
    "services.settings.server": "http://127.0.0.1:9",
    "browser.safebrowsing.update.enabled": False,
    "security.OCSP.enabled": 0,
    "intl.locale.requested": "en-US",
}


@contextmanager
def display(folder: Path) -> Iterator[str]:
    """A display in memory; its name. Xvfb itself chooses a number that is free."""
    reading, writing = os.pipe()
    try:
        with (folder / "xvfb.log").open("wb") as log:
            server = subprocess.Popen(
                ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1280x900x24",
                 "-nolisten", "tcp"],
                pass_fds=[writing], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        os.close(writing)
        try:
            with os.fdopen(reading, closefd=False) as told:
                yield f":{told.readline().strip()}"
        finally:
            _stop(server)
    finally:
        os.close(reading)


@contextmanager
def thunderbird(
    folder: Path, shown_on: str, preferences: dict[str, bool | int | str] | None = None
) -> Iterator[Marionette]:
    """A Thunderbird with the profile `folder` (made when missing), driven by the session yielded.

    What it says over IMAP and SMTP goes to `folder/imap.log…` and `smtp.log…`.
    """
    folder.mkdir(exist_ok=True)
    (port,) = free_ports(1)
    wanted = {**_PREFERENCES, "marionette.port": port, **(preferences or {})}
    lines = [f"user_pref({_js(name)}, {_js(value)});\n" for name, value in wanted.items()]
    (folder / "user.js").write_text("".join(lines), "utf-8")
    environment = {
        "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": str(folder), "DISPLAY": shown_on,
        "MOZ_CRASHREPORTER_DISABLE": "1", "NO_AT_BRIDGE": "1",
        "MOZ_LOG": "timestamp,sync,IMAP:4,SMTP:4", "MOZ_LOG_FILE": str(folder / "protocol.log"),
    }  # fmt: skip
    with (folder / "output.log").open("ab") as log:
        process = subprocess.Popen(
            ["thunderbird", "--profile", str(folder), "--no-remote", "--marionette",
             "--remote-allow-system-access"],
            env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    try:
        session = Marionette(port)
        try:
            yield session
        finally:
            session.close()
    finally:
        _stop(process, whole_group=True)


def _js(value: bool | int | str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else f'"{value}"'


def _stop(process: subprocess.Popen[bytes], *, whole_group: bool = False) -> None:
    process.terminate()
    try:
        process.wait(STOPS_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)
    if whole_group:  # its content processes end with it, unless it was killed
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
