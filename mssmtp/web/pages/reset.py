"""A forgotten password: a link by mail, then a code by mail, once each (DEF-09, L22).

What is asked for and what is answered are the same for an address that is known and one that is not
(ATT-21).
"""

from __future__ import annotations

from mssmtp.admin.resets import resetting
from mssmtp.identity import WeakPassword
from mssmtp.resetting import PATH
from mssmtp.resetting import Shown as Brought
from mssmtp.web.page import Answer, Call, FieldProblem, Goes, Needs, Page, Shown

_ASK, _NEW = f"{PATH}/oublie", f"{PATH}/nouveau"
_MOST = 64


def _get_ask(call: Call) -> Answer:
    return Shown("reset_ask.html")


def _post_ask(call: Call) -> Answer:
    resetting(call.site.office).ask(call.form["usual"])
    return Goes("connexion", done="reset.asked")


def _get(call: Call) -> Answer:
    return Shown("reset_link.html")


def _post(call: Call) -> Answer:
    """The link mails a code; only both together change anything."""
    token = call.form["token"][:_MOST]
    attempt = resetting(call.site.office).open(token)
    return Shown("reset_new.html", {"token": token, "attempt": attempt})


def _get_new(call: Call) -> Answer:
    if not call.form["token"]:
        return Goes(PATH)
    brought = {name: call.form[name][:_MOST] for name in ("token", "attempt")}
    return Shown("reset_new.html", brought)


def _post_new(call: Call) -> Answer:
    form = call.form
    brought = Brought(form["attempt"], form["code"], form["password"], form["again"])
    try:
        resetting(call.site.office).finish(form["token"][:_MOST], brought)
    except WeakPassword as error:
        raise FieldProblem("password", error) from error
    return Goes("connexion", done="reset.done")


PAGES = (
    Page(_ASK, Needs.NOBODY, get=_get_ask, post=_post_ask),
    Page(PATH, Needs.NOBODY, get=_get, post=_post),
    Page(_NEW, Needs.NOBODY, get=_get_new, post=_post_new),
)
