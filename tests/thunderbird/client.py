"""One Thunderbird as the scenario uses it: functions of driver.js by name, and its protocol log."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tests.thunderbird.marionette import Json, Marionette

_DRIVER = Path(__file__).with_name("driver.js").read_text("utf-8")
_SENT = re.compile(r"/IMAP [0-9a-f]+:[^ ]*:.*?SendData: (?:\d+ )?(.*)")


@dataclass(frozen=True)
class Thunderbird:
    """`folder` is its profile."""

    session: Marionette
    folder: Path

    def do(self, name: str, *arguments: Json) -> Json:
        """What the function `name` of driver.js returns."""
        return self.session.run(f"{_DRIVER}\nreturn {name}(...given);", *arguments)

    def shows(self, path: str) -> list[str]:
        """The subjects that it lists in a folder, without asking the server."""
        listed = self.do("shown", path)
        assert isinstance(listed, list)
        return [str(one["subject"]) for one in listed if isinstance(one, dict)]

    def picture(self, name: str) -> None:
        """Its window, beside the profile."""
        self.session.picture(self.folder.with_name(f"{name}.png"))

    def commands(self) -> list[str]:
        """What it has said over IMAP so far, without tags."""
        log = (self.folder / "protocol.log.moz_log").read_text("utf-8", "replace")
        return [found[1].strip() for found in map(_SENT.search, log.splitlines()) if found]

    def has_said(self, beginning: str) -> bool:
        """Whether some command begins so, in any case."""
        return any(line.lower().startswith(beginning.lower()) for line in self.commands())
