"""Passwords of mail programs, one for each device (CL-31). Who comes here has shown two factors."""

from __future__ import annotations

from mssmtp.autoconfig import apple, best, servers
from mssmtp.errors import ConfigError
from mssmtp.identity.app_password import grouped
from mssmtp.tls_settings import load_certificate
from mssmtp.web import asking
from mssmtp.web.page import Answer, Call, FieldProblem, Goes, Needs, NotFound, Page, Sent, Shown

PATH = "compte/appareils"
PROFILE = f"{PATH}/profil"
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
    told = servers(call.site.settings)
    return {
        "rows": [asking.dated(row, *names) for row in found if row["state"] == "live"],
        "ended": [asking.dated(row, *names) for row in found if row["state"] != "live"],
        "boxes": _boxes(call),
        "services": SERVICES,
        "servers": told,
        "has_profile": best(told, "imap") is not None and best(told, "smtp") is not None,
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
    days, service = _days(call), call.form["service"] or "both"
    made = asking.row(
        call,
        "person.app-password.create",
        person=person,
        device=_name(call),
        service=service,
        box=call.form["boite"] or None,
        days=days,
    )
    # Shown with this answer and never again; the same form sent once more names a device that is
    # there, and is refused.
    login = call.form["boite"] or asking.own_box(call) or made["login"]
    password = grouped(str(made["password"]))
    shown = {**made, "login": login, "service": service, "password": password}
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


def _boxes(call: Call) -> list[str]:
    """The boxes that a program may open with a password of theirs."""
    boxes = asking.rows(call, "person.boxes", person=asking.me(call))
    return [str(row["address"]) for row in boxes if row["own"] or row["type"] == "ORG"]


def _get_profile(call: Call) -> Answer:
    """Of one of these boxes; signed by the certificate that the browser has just believed."""
    address, settings = call.query["boite"], call.site.settings
    files = settings.web_certificate
    if address not in _boxes(call) or files is None:
        raise NotFound
    made = apple.profile(settings, address)
    if made is None:
        raise NotFound
    octets = apple.signed(made, load_certificate(files))
    return Sent((octets,), apple.MEDIA_TYPE, f"{address}.mobileconfig")


PAGES = (
    Page(PATH, Needs.SESSION, get=_get, post=_post),
    Page(PROFILE, Needs.SESSION, get=_get_profile),
)
