"""A browser without scripts: cookies as the RFC wants them kept, forms as its pages show them."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx

CSRF = "csrf"


@dataclass(frozen=True)
class Page:
    """What a browser shows. `path`: where it ended up."""

    status: int
    html: str
    headers: httpx.Headers
    path: str
    octets: bytes = b""

    @property
    def fields(self) -> dict[str, str]:
        """Every input of the page by name, with its value."""
        found = _Inputs()
        found.feed(self.html)
        return found.values

    @property
    def text(self) -> str:
        """What a reader sees, on one line."""
        found = _Words()
        found.feed(self.html)
        return " ".join(" ".join(found.words).split())


class _Inputs(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        if tag == "input" and (name := told.get("name")):
            self.values.setdefault(name, told.get("value") or "")


class _Words(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@dataclass
class Browser:
    """One person's browser. `code`: where the mailed codes are read."""

    url: str
    context: ssl.SSLContext
    code: Callable[[], str]
    cookies: dict[str, str] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    """Set-Cookie fields as they came."""
    headers: dict[str, str] = field(default_factory=lambda: {"Accept-Language": "fr"})

    def __post_init__(self) -> None:
        none = CookieJar(DefaultCookiePolicy(allowed_domains=[]))  # ours are kept here alone
        self._client = httpx.Client(
            base_url=self.url, verify=self.context, timeout=20.0, cookies=none
        )

    def close(self) -> None:
        self._client.close()

    def ask(
        self,
        method: str,
        path: str,
        data: Mapping[str, str | list[str]] | None = None,
        headers: Mapping[str, str] = {},
        files: list[tuple[str, tuple[str, bytes, str]]] | None = None,
    ) -> Page:
        """One request, no redirect followed."""
        brought = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        sent = self.headers | ({"Cookie": brought} if brought else {}) | dict(headers)
        if method == "POST" and files is None:
            sent.setdefault("Content-Type", "application/x-www-form-urlencoded")
        place = path if path.startswith("/") else f"/{path}"
        answer = self._client.request(method, place, data=data, files=files, headers=sent)
        for each in answer.headers.get_list("set-cookie"):
            self._keep(each)
        text = answer.text if "html" in answer.headers.get("content-type", "") else ""
        return Page(answer.status_code, text, answer.headers, place, answer.content)

    def _keep(self, told: str) -> None:
        self.told.append(told)
        pair, *attributes = (each.strip() for each in told.split(";"))
        name, _, value = pair.partition("=")
        # RFC 6265bis 4.1.3.2: or else the browser does not take it.
        assert name.startswith("__Host-")
        assert {"Secure", "HttpOnly", "Path=/"} <= set(attributes)
        assert not any(each.lower().startswith("domain") for each in attributes)
        if "Max-Age=0" in attributes:
            self.cookies.pop(name, None)
        else:
            self.cookies[name] = value

    def get(self, path: str, headers: Mapping[str, str] = {}) -> Page:
        """A page, wherever it leads within the site."""
        return self._follow(self.ask("GET", path, headers=headers))

    def post(
        self,
        path: str,
        data: Mapping[str, str | list[str]],
        headers: Mapping[str, str] = {},
        files: list[tuple[str, tuple[str, bytes, str]]] | None = None,
    ) -> Page:
        """A form as given, wherever that leads."""
        sent = {"Origin": "null", "Sec-Fetch-Site": "same-origin"} | dict(headers)
        return self._follow(self.ask("POST", path, data, sent, files))

    def submit(
        self,
        path: str,
        data: Mapping[str, str | list[str]],
        to: str | None = None,
        files: list[tuple[str, tuple[str, bytes, str]]] | None = None,
    ) -> Page:
        """The page of `path`, filled in with `data`, sent to `to` or to itself."""
        shown = self.get(path)
        target = to or shown.path
        hidden = {CSRF: shown.fields.get(CSRF, "")}
        if "vers" in shown.fields:
            hidden["vers"] = shown.fields["vers"]
        return self.post(target, {**hidden, **data}, files=files)

    def _follow(self, page: Page) -> Page:
        for _ in range(5):
            if page.status not in (302, 303):
                return page
            place = page.headers["Location"]
            assert re.match(r"/(?!/)", place), f"leads away: {place}"
            page = self.ask("GET", place)
        raise AssertionError("leads in circles")

    def log_in(self, usual: str, password: str, path: str = "connexion") -> Page:
        """Both factors; the page that comes after them."""
        asked = self.submit(path, {"usual": usual, "password": password})
        assert asked.path.startswith("/connexion/code"), asked.text
        hidden = {name: asked.fields.get(name, "") for name in (CSRF, "vers")}
        return self.post("connexion/code", {**hidden, "code": self.code()})
