"""Templates: escaped always, a name that nobody gave is an error, no style or script inside."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from mssmtp import local_time
from mssmtp.web.texts import LANGUAGES, catalogue, say

_HERE = Path(__file__).parent
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class Static:
    """A file that never changes under its name."""

    media_type: str
    octets: bytes


class Showing:
    """One per door; thread-safe."""

    def __init__(self, prefix: str, zone: tzinfo) -> None:
        """`prefix`: path of `notices.portal_url`, "" or /something. `zone`: readers' clock."""
        self._prefix, self._zone = prefix, zone
        for language in LANGUAGES:
            catalogue(language)  # what is wrong with one is known before anybody asks
        self.statics: dict[str, Static] = {}
        self._names: dict[str, str] = {}
        for file in sorted((_HERE / "static").iterdir()):
            octets = file.read_bytes()
            name = f"{file.stem}-{hashlib.sha256(octets).hexdigest()[:12]}{file.suffix}"
            self.statics[name] = Static(_TYPES[file.suffix], octets)
            self._names[file.name] = f"{prefix}/static/{name}"
        self._environment = Environment(
            loader=FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.globals.update(url=self.url, static=self._names.__getitem__)

    def url(self, path: str) -> str:
        """The address of a page, within this site whatever `path` holds."""
        return f"{self._prefix}/{quote(path.lstrip('/'), safe='/~')}"

    def page(self, template: str, language: str, values: Mapping[str, object]) -> bytes:
        """The octets of a page."""

        def t(key: str, **places: object) -> str:
            return say(language, key, **places)

        def moment(at: datetime) -> str:
            return local_time.moment(at, self._zone, language)

        def day(at: datetime) -> str:
            return local_time.day(at, self._zone, language)

        given = {**values, "t": t, "language": language, "moment": moment, "day": day}
        return self._environment.get_template(template).render(given).encode()
