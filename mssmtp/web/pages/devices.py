"""Passwords of mail programs, one for each device (CL-31). Who comes here has shown two factors."""

from __future__ import annotations

from mssmtp.admin.operation import Json
from mssmtp.config import Endpoint
from mssmtp.errors import ConfigError
from mssmtp.identity.app_password import grouped
from mssmtp.web import asking
from mssmtp.web.page import Answer, Call, FieldProblem, Goes, Needs, Page, Shown

PATH = "compte/appareils"
SERVICES = ("both", "imap", "smtp")
_MOST_NAME = 100
_MOST_DAYS = 3_650


class NoDeviceName(ConfigError):
    """A device without a name, or with one that is too long."""


class BadDays(ConfigError):
    """How long a password lasts is no number of days."""


def _get(call: Call) -> Answer:
    return Shown("devices.html", _values(call))


def _values(call: Call) -> dict[str, object]:
    names = ("created", "last_used", "expires")
    found = asking.rows(call, "person.app-password.list", person=asking.me(call))
    boxes = asking.rows(call, "person.boxes", person=asking.me(call))
    return {
        "rows": [asking.dated(row, *names) for row in found if row["state"] == "live"],
        "ended": [asking.dated(row, *names) for row in found if row["state"] != "live"],
        "boxes": [row["address"] for row in boxes if row["own"] or row["type"] == "ORG"],
        "services": SERVICES,
        "servers": _servers(call),
        "made": None,
    }


def _post(call: Call) -> Answer:
    person = asking.me(call)
    if call.form["faire"] == "revoquer":
        number = asking.number(call.form["numero"])
        asking.ask(call, "person.app-password.revoke", person=person, number=number)
        return Goes(PATH, done="devices.revoked")
    if call.form["faire"] == "revoquer-tous":
        asking.ask(call, "person.app-password.revoke-all", person=person)
        return Goes(PATH, done="devices.revoked_all")
    days = _days(call)
    made = asking.row(
        call,
        "person.app-password.create",
        person=person,
        device=_name(call),
        service=call.form["service"] or "both",
        box=call.form["boite"] or None,
        days=days,
    )
    # Shown with this answer and never again; the same form sent once more names a device that is
    # there, and is refused.
    login = call.form["boite"] or asking.own_box(call) or made["login"]
    shown = {**made, "login": login, "password": grouped(str(made["password"]))}
    return Shown("devices.html", {**_values(call), "made": shown})


def _name(call: Call) -> str:
    name = call.form["nom"].strip()
    if not 0 < len(name) <= _MOST_NAME:
        wrong = NoDeviceName("appareil", "il faut un nom", "Donnez-en un.")
        raise FieldProblem("nom", wrong)
    return name


def _days(call: Call) -> int | None:
    text = call.form["jours"].strip()
    if not text:
        return None
    is_number = text.isascii() and text.isdecimal() and len(text) < 5
    if not (is_number and 0 < int(text) <= _MOST_DAYS):
        raise FieldProblem("jours", BadDays("durée", "ce n'est pas un nombre", "Corrigez-la."))
    return int(text)


def _servers(call: Call) -> list[dict[str, Json]]:
    """What a program is to be told; its own name for each line."""
    listen, host = call.site.settings.listen, call.site.settings.operator.host_name
    places: tuple[tuple[str, Endpoint | None, str], ...] = (
        ("imap", listen.imaps, "tls"),
        ("imap", listen.imap, "starttls"),
        ("smtp", listen.submissions, "tls"),
        ("smtp", listen.submission, "starttls"),
    )
    return [
        {"service": service, "host": host, "port": place.port, "security": security}
        for service, place, security in places
        if place is not None
    ]


PAGES = (Page(PATH, Needs.SESSION, get=_get, post=_post),)
