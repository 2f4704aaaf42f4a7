"""Another password of the portal: the present one, then a code by mail and the new one twice
(SEED-10, SEED-11). Every session ends but the one that chose it, which gets a new token."""

from __future__ import annotations

from mssmtp.resetting import Shown as Given
from mssmtp.web.page import Answer, Call, Goes, Keep, Needs, Page, Shown

PATH = "compte/mot-de-passe"
CODE = PATH + "/code"


def _get(call: Call) -> Answer:
    return Shown("password.html", {"attempt": ""})


def _post(call: Call) -> Answer:
    portal, account = call.site.portal, call.holder().account
    attempt = portal.begin_change(account, call.form["present"], call.address)
    return Shown("password.html", {"attempt": attempt})


def _get_code(call: Call) -> Answer:
    if not call.form["attempt"]:
        return Goes(PATH)
    return Shown("password.html", {"attempt": call.form["attempt"]})


def _post_code(call: Call) -> Answer:
    form = call.form
    given = Given(form["attempt"], form["code"], form["password"], form["again"])
    login = call.site.portal.finish_change(call.holder().account, given)
    return Goes("compte", done="password.changed", keep=Keep(login=login, by="code"))


PAGES = (
    Page(PATH, Needs.SESSION, get=_get, post=_post),
    Page(CODE, Needs.SESSION, get=_get_code, post=_post_code),
)
