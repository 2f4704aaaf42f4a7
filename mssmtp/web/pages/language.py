"""French or English, chosen on any page and kept by the browser (SEED-07).

Behind a link of service mail its secret goes along, behind `#` as in the mail: without it the page
in the other language would ask for a link that is no longer in the address.
"""

from __future__ import annotations

from mssmtp.web.page import Answer, Call, Goes, Keep, Needs, NotFound, Page
from mssmtp.web.texts import LANGUAGES

_MOST_SECRET = 64


def _post(call: Call) -> Answer:
    chosen, path = call.form["langue"], call.form["page"].lstrip("/")
    if chosen not in LANGUAGES:
        raise NotFound
    path = path if call.may_go(path) else ""
    return Goes(path, keep=Keep(language=chosen), fragment=call.form["token"][:_MOST_SECRET])


PAGES = (Page("langue", Needs.NOBODY, post=_post),)
