"""Which page a path is, and whether a path is one of ours to go on to after a login."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from mssmtp.web.page import Page

_STEP = r"([A-Za-z0-9_.~-]{1,128})"
_MOST = 512


class Routes:
    """The pages of a door."""

    def __init__(self, pages: Iterable[Page]) -> None:
        self._plain: dict[str, Page] = {}
        self._others: list[tuple[re.Pattern[str], tuple[str, ...], Page]] = []
        for page in pages:
            names = tuple(re.findall(r"\{(\w+)\}", page.path))
            if names:
                steps = re.split(r"\{\w+\}", page.path)
                pattern = _STEP.join(re.escape(step) for step in steps)
                self._others.append((re.compile(pattern + r"\Z"), names, page))
            elif page.path in self._plain:
                raise ValueError(f"{page.path} is two pages")
            else:
                self._plain[page.path] = page

    @property
    def all(self) -> tuple[Page, ...]:
        """Every one."""
        return (*self._plain.values(), *(page for _, _, page in self._others))

    def find(self, path: str) -> tuple[Page, Mapping[str, str]] | None:
        """The page of `path`, without its leading slash, and what stands in its steps."""
        if len(path) > _MOST:
            return None
        if (page := self._plain.get(path)) is not None:
            return page, {}
        for pattern, names, each in self._others:
            if (found := pattern.match(path)) is not None:
                return each, dict(zip(names, found.groups(), strict=True))
        return None

    def may_go(self, path: str) -> bool:
        """A page that can be opened: nobody is sent to where we have none (open redirects)."""
        found = self.find(path)
        return found is not None and found[0].get is not None
