"""Logging in: usual address and password, then the code that was mailed (SEED-09), and logging out.

Everything that a stranger may try is judged by `portal.Portal`: one answer for an address that is
known and one that is not, in the same time (ATT-21).
"""

from __future__ import annotations

from mssmtp.web.page import Answer, Call, Goes, Keep, Needs, Page, Shown

HOME = "compte"
_MOST_PATH = 512


def _home(call: Call) -> Answer:
    return Goes(HOME if call.session is not None else "connexion")


def _get(call: Call) -> Answer:
    if call.session is not None:
        return Goes(HOME)
    providers = tuple(each.name for each in call.site.settings.providers)
    modes = {"e_cps": call.site.psc is not None, "card": call.site.cards is not None}
    return Shown("login.html", {"providers": providers, "onward": onward(call), **modes})


def _post(call: Call) -> Answer:
    portal = call.site.portal
    attempt = portal.begin(call.form["usual"], call.form["password"], call.address)
    query = {"vers": path} if (path := onward(call)) else {}
    return Goes("connexion/code", query=query, keep=Keep(attempt=attempt))


def _get_code(call: Call) -> Answer:
    if not call.attempt:
        return Goes("connexion")
    return Shown("code.html", {"onward": onward(call)})


def _post_code(call: Call) -> Answer:
    login = call.site.portal.finish(call.attempt, call.form["code"], call.address)
    return Goes(onward(call) or HOME, keep=Keep(login=login, by="code"))


def _leave(call: Call) -> Answer:
    return Goes("connexion", done="login.left", keep=Keep(leaves=True))


def onward(call: Call) -> str:
    """The page that was asked for before the login, if it is one of ours."""
    path = (call.form["vers"] or call.query.get("vers", ""))[:_MOST_PATH].lstrip("/")
    return path if call.may_go(path) else ""


PAGES = (
    Page("", Needs.NOBODY, get=_home),
    Page("connexion", Needs.NOBODY, get=_get, post=_post),
    Page("connexion/code", Needs.NOBODY, get=_get_code, post=_post_code),
    Page("deconnexion", Needs.NOBODY, post=_leave),
)
