"""What mail programs ask to be set up: before any login, of any address alike (OP-85, CL-28).

    GET  /mail/config-v1.1.xml?emailaddress=…, /.well-known/autoconfig/mail/config-v1.1.xml
    POST /autodiscover/autodiscover.xml; GET says that it wants a question
    GET  /autodiscover/autodiscover.json?Email=…&Protocol=AutodiscoverV1, …/v1.0/ADDRESS

Beside the pages' own host these answer under `DOMAIN`, `autoconfig.DOMAIN` and
`autodiscover.DOMAIN` of each domain served here; no page does. A path may be in any case, as
Outlook writes it (OLC-10). Never 401: programs would ask for a password again and again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from urllib.parse import urlsplit

from mssmtp.autoconfig import autodiscover, mozilla
from mssmtp.autoconfig.records import names
from mssmtp.config import Settings
from mssmtp.errors import BadAddress
from mssmtp.mail import Address, Domain
from mssmtp.outside import Clock
from mssmtp.web import headers
from mssmtp.web.answering import Made

_MOST_PATH = 512
_JSON = "/autodiscover/autodiscover.json"
_JSON_OF = f"{_JSON}/v1.0/"


class Kind(StrEnum):
    """Which document; the name of it in logs and counters."""

    MOZILLA = "autoconfig"
    POX = "autodiscover"
    JSON = "autodiscover-json"


_PATHS = {
    "/mail/config-v1.1.xml": Kind.MOZILLA,
    "/.well-known/autoconfig/mail/config-v1.1.xml": Kind.MOZILLA,
    autodiscover.PATH: Kind.POX,
    _JSON: Kind.JSON,
}


@dataclass(frozen=True, slots=True)
class Question:
    """One request of a program. `host`: one of ours; `octets`: what was posted."""

    kind: Kind
    host: str
    path: str
    query: Mapping[str, str]
    octets: bytes | None = None


class Programs:
    """One per door; thread-safe."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings, self._clock = settings, clock
        self._domains = frozenset(settings.operator.domains)
        port = urlsplit(settings.notices.portal_url).port
        behind = "" if port is None else f":{port}"
        self._hosts = {
            f"{host}{behind}": domain
            for domain in settings.operator.domains
            for host in (domain, *names(domain))
        }

    def kind_of(self, path: str) -> Kind | None:
        """None: not a path of programs."""
        if len(path) > _MOST_PATH:
            return None
        plain = path.lower()
        return Kind.JSON if plain.startswith(_JSON_OF) else _PATHS.get(plain)

    def is_host(self, host: str) -> bool:
        """A name under which programs alone are answered."""
        return host.lower() in self._hosts

    def answer(self, asked: Question) -> Made | None:
        """None: of no domain that is served here, or there is nothing to be set up."""
        if asked.kind is Kind.MOZILLA:
            return self._mozilla(asked)
        if asked.kind is Kind.POX:
            return self._pox(asked)
        return self._json(asked)

    def _domain(self, asked: Question, address: str) -> Domain | None:
        """Of the address; of the host where none was given.

        The address leads: its domain may have its MX here and no host of its own (THB-03).
        """
        if not address:
            return self._hosts.get(asked.host.lower())
        try:
            domain = Address.parse(address).domain
        except BadAddress:
            return None
        return domain if domain in self._domains else None

    def _mozilla(self, asked: Question) -> Made | None:
        domain = self._domain(asked, _named(asked.query, "emailaddress"))
        if domain is None:
            return None
        return _made(mozilla.client_config(self._settings, domain), mozilla.MEDIA_TYPE)

    def _pox(self, asked: Question) -> Made | None:
        try:
            address = autodiscover.address_in(asked.octets or b"")
        except autodiscover.BadQuestion as bad:
            found = autodiscover.refusal(bad, self._clock.now())
            return _made(found, mozilla.MEDIA_TYPE)
        if address.domain not in self._domains:
            return None
        return _made(autodiscover.account(self._settings, address), mozilla.MEDIA_TYPE)

    def _json(self, asked: Question) -> Made | None:
        in_path = asked.path[len(_JSON_OF) :]
        if self._domain(asked, in_path or _named(asked.query, "email")) is None:
            return None
        found = autodiscover.onward(_named(asked.query, "protocol"), asked.host.lower())
        status = HTTPStatus.BAD_REQUEST if found is None else HTTPStatus.OK
        octets = json.dumps(found or autodiscover.NO_PROTOCOL).encode()
        return _made(octets, "application/json; charset=utf-8", status)


def _named(query: Mapping[str, str], name: str) -> str:
    """A value by its name in any case: Outlook has written `Email` and `email`."""
    return next((query[each] for each in query if each.lower() == name), "")


def _made(octets: bytes, media_type: str, status: int = HTTPStatus.OK) -> Made:
    return Made(status, headers.OF_PAGES | {"Content-Type": media_type}, octets)
