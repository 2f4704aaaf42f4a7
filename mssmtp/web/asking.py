"""What a page of the account asks of the table of operations, as the holder who is logged in.

Rights are the table's (`admin.authority`): a page decides none.
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from mssmtp.admin import Denied, Unknown, perform
from mssmtp.admin.authority import Conflict
from mssmtp.admin.operation import Answer, Json, Row
from mssmtp.errors import ConfigError, MailError
from mssmtp.mail import Actor, AdminLevel
from mssmtp.web.page import Call, NotFound

_NAMED = {
    "auto-reply": "réponse automatique",
    "begins": "début",
    "person": "personne",
    "right": "droits",
    "service": "usage",
    "since": "premier jour",
    "subject": "objet",
    "text": "texte",
    "until": "dernier jour",
}
"""Fields of operations, as a page names them."""


class Refused(ConfigError):
    """What an operation refuses in words for programs and administrators."""


class NoDay(ConfigError):
    """A field of a form that is no day."""


class NoNumber(ConfigError):
    """The same of a number."""


def ask(call: Call, operation: str, /, **given: Json) -> Answer:
    """Perform it. Raises NotFound for what is not theirs, what the store refuses, ConfigError;
    where a remedy names a command, the holder has an administrator."""
    session = call.holder()
    named = str(session.person.usual_address)
    actor = Actor(AdminLevel.HOLDER, named, account=session.account)
    body = json.dumps({name: value for name, value in given.items() if value is not None})
    try:
        return perform(call.site.office, actor, operation, body.encode())
    except Denied:
        raise
    except Unknown as error:
        raise NotFound from error
    except Conflict as error:
        if isinstance(error.__cause__, MailError):
            raise error.__cause__ from None
        raise
    except ConfigError as error:
        what, remedy = _NAMED.get(error.what, error.what), error.remedy
        if "`" in remedy:
            remedy = "Voyez l'administrateur de votre structure."
        elif remedy.startswith("Champs de cette opération"):  # the names a program gives them
            remedy = "Corrigez, puis recommencez."
        if (what, remedy) == (error.what, error.remedy):
            raise
        raise Refused(what, error.why, remedy) from error


def rows(call: Call, operation: str, /, **given: Json) -> list[Row]:
    """Of a list."""
    found = ask(call, operation, **given)
    return found if isinstance(found, list) else [found]


def row(call: Call, operation: str, /, **given: Json) -> Row:
    """Of one thing."""
    return rows(call, operation, **given)[0]


def me(call: Call) -> str:
    """As operations name the person."""
    return str(call.holder().person.usual_address)


def own_box(call: Call) -> str:
    """The address of the own box; "" of who has none."""
    box = call.site.store.read(lambda r: r.box_of(call.holder().account)).result()
    return "" if box is None else str(box.address)


def moment(value: Json) -> datetime | None:
    """What an answer gives as text."""
    return datetime.fromisoformat(value) if isinstance(value, str) and value else None


def dated(found: Row, *names: str) -> dict[str, object]:
    """A row with moments in the place of texts."""
    return {**found, **{name: moment(found[name]) for name in names}}


def zone(call: Call) -> tzinfo:
    """The clock of who reads and fills in."""
    return call.site.settings.operator.zone


def day(call: Call, text: str) -> str | None:
    """The beginning of the day that a form names, as operations take it; None: none. Raises
    NoDay."""
    return _midnight(call, text, timedelta())


def last_day(call: Call, text: str) -> str | None:
    """The end of that day. Raises NoDay."""
    return _midnight(call, text, timedelta(days=1))


def _midnight(call: Call, text: str, later: timedelta) -> str | None:
    """Days are of 23 or 25 hours too: what is added is of the calendar."""
    if not text:
        return None
    try:
        local = datetime.combine(date.fromisoformat(text[:20]) + later, time(), zone(call))
        return local.astimezone(UTC).isoformat()
    except (ValueError, OverflowError) as error:
        raise NoDay("date", "ce n'est pas une date", "Écrivez 2026-12-31.") from error


def number(text: str) -> int:
    """Of one thing in a list. Raises NoNumber."""
    try:
        return int(text[:12])
    except ValueError as error:
        raise NoNumber("numéro", "manque", "Reprenez depuis la liste.") from error
