"""Of what one is told by mail, for each box (SEED-47)."""

from __future__ import annotations

from mssmtp.notices.choices import Pace
from mssmtp.web import asking
from mssmtp.web.page import Answer, Call, Goes, Needs, Page, Shown

PATH = "compte/notifications"


def _get(call: Call) -> Answer:
    found = asking.rows(call, "person.notifications", person=asking.me(call))
    values = {
        "rows": found,
        "paces": [pace.value for pace in Pace],
        "either": [Pace.AT_ONCE.value, Pace.NEVER.value],
    }
    return Shown("notifying.html", values)


def _post(call: Call) -> Answer:
    form = call.form
    asking.ask(
        call,
        "person.notify-of",
        person=asking.me(call),
        box=form["boite"] or None,
        arrival=form["arrival"] or None,
        opening=form["opening"] or None,
        sealing=form["sealing"] or None,
    )
    return Goes(PATH, done="notifying.kept")


PAGES = (Page(PATH, Needs.SESSION, get=_get, post=_post),)
