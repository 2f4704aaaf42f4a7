"""Whom one lets into the own box, who came in, and whose boxes one may open (SEED-42, DEF-12,
DEF-23, F10)."""

from __future__ import annotations

from datetime import datetime

from mssmtp.admin.operation import Json, Row
from mssmtp.errors import ConfigError
from mssmtp.web import asking
from mssmtp.web.page import Answer, Call, FieldProblem, Goes, Needs, NotFound, Page, Shown

PATH = "compte/delegations"
RIGHTS = ("read", "reply", "send")


class NoColleague(ConfigError):
    """Whom a box was to be lent to."""


class NoLastDay(ConfigError):
    """A hand-over without an end."""


def _get(call: Call) -> Answer:
    box, names = asking.own_box(call), ("begins", "until", "ended")
    given = asking.rows(call, "bal.delegation.list", address=box) if box else []
    is_over = [_is_over(row, call.now) for row in given]
    shown = [asking.dated(row, *names) for row in given]
    to_me = asking.rows(call, "person.delegations", person=asking.me(call))
    boxes = asking.rows(call, "person.boxes", person=asking.me(call))
    values = {
        "box": box,
        "given": [row for row, over in zip(shown, is_over, strict=True) if not over],
        "over": [row for row, over in zip(shown, is_over, strict=True) if over],
        "lent": [asking.dated(row, *names) for row in to_me],
        "shared": [row for row in boxes if not row["own"] and row["type"] == "ORG"],
        "rights": RIGHTS,
    }
    return Shown("lending.html", values)


def _is_over(row: Row, now: datetime) -> bool:
    """Neither in force nor to come."""
    until = asking.moment(row["until"])
    return row["ended"] is not None or (until is not None and until <= now)


def _post(call: Call) -> Answer:
    box, form = asking.own_box(call), call.form
    if not box:
        raise NotFound
    if form["faire"] == "retirer":
        asking.ask(call, "bal.delegation.end", address=box, id=asking.number(form["numero"]))
        return Goes(PATH, done="lending.ended")
    person, right = form["personne"].strip(), form["droit"] or "read"
    until = asking.last_day(call, form["fin"])
    given: dict[str, Json] = {"address": box, "person": person, "right": right, "until": until}
    is_relief = form["faire"] == "relever"
    if is_relief and until is None:
        raise NoLastDay("relève", "elle a un dernier jour", "Donnez-le.")
    if not is_relief and (begins := asking.day(call, form["debut"])) is not None:
        given["begins"] = begins
    try:
        asking.ask(call, "bal.hand-over" if is_relief else "bal.delegation.add", **given)
    except NotFound as error:  # the box is the own one: it is the person who is out of reach
        why = "n'existe pas ici, ou n'est pas de votre structure"
        raise FieldProblem("personne", NoColleague(person, why, "Vérifiez son adresse.")) from error
    return Goes(PATH, done="lending.handed" if is_relief else "lending.given")


PAGES = (Page(PATH, Needs.SESSION, get=_get, post=_post),)
