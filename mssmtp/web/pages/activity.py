"""The log of the account and of the boxes one is responsible for (SEED-48, OP-72, F10)."""

from __future__ import annotations

from datetime import tzinfo

from mssmtp.admin.operation import Json, Row
from mssmtp.web import asking
from mssmtp.web.page import Answer, Call, Needs, Page, Shown
from mssmtp.web.sentences import author, is_refused, sentence
from mssmtp.web.texts import catalogue

PER_PAGE = 50
_FIRST_DAYS = 30
"""Shown of readings when no day is asked for."""


def _get(call: Call) -> Answer:
    query = call.query
    since = asking.day(call, query.get("du", ""))
    until = asking.last_day(call, query.get("au", ""))
    before = query.get("avant", "")
    box, own = query.get("boite", ""), asking.own_box(call)
    page: dict[str, Json] = {
        "limit": PER_PAGE,
        "summed": True,
        "days": _FIRST_DAYS,
        "since": since,
        "until": until,
        "before": asking.number(before) if before else None,
    }
    if box and box != own:
        found = asking.rows(call, "bal.activity", address=box, **page)
    else:
        found = asking.rows(call, "person.activity", person=asking.me(call), **page)
    numbers = [row["number"] for row in found if row["number"] is not None]
    mine = {asking.me(call).casefold(), own.casefold()}
    values = {
        "rows": [_shown(row, mine, asking.zone(call)) for row in found],
        "boxes": [own, *responsible_for(call)] if own else responsible_for(call),
        "chosen": {name: query.get(name, "") for name in ("du", "au", "boite")},
        "before": min(map(str, numbers), key=int) if len(numbers) == PER_PAGE else "",
        "days": _FIRST_DAYS,
    }
    return Shown("activity.html", values)


def responsible_for(call: Call) -> list[str]:
    """The ORG boxes whose log one may see."""
    found = asking.rows(call, "person.boxes", person=asking.me(call))
    return [
        str(row["address"])
        for row in found
        if row["type"] == "ORG" and not row["own"] and "a" in str(row["rights"])
    ]


def _shown(row: Row, mine: set[str], zone: tzinfo) -> dict[str, object]:
    (who, office), said = author(row), sentence(row, catalogue("fr"), zone)
    # Sentences of letters and of rights end where `what` begins; those of operations do not.
    is_told = not said.key.startswith("op_") or said.what.casefold() not in mine
    box = str(row["box"] or "")
    return {
        "at": asking.moment(row["at"]),
        "who": "" if who.casefold() in mine else who,
        "office": "" if office == "me" else office,
        "box": "" if box.casefold() in mine | {said.what.casefold()} else box,
        "what": said.what if is_told else "",
        "said": said,
        "is_refused": is_refused(row),
    }


PAGES = (Page("compte/activite", Needs.SESSION, get=_get),)
