"""Where somebody lands after the login: who they are here, and the way to everything else."""

from __future__ import annotations

from mssmtp.web.menu import ACCOUNT
from mssmtp.web.page import Answer, Call, Needs, Page, Shown


def _get(call: Call) -> Answer:
    person = call.holder().person
    box = call.site.store.read(lambda reading: reading.box_of(person.account)).result()
    return Shown("account.html", {"person": person, "box": box, "pages": ACCOUNT})


PAGES = (Page("compte", Needs.SESSION, get=_get),)
