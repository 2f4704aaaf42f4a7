"""Where one is logged in, and the end of it; the identities that open the account (SEED-12)."""

from __future__ import annotations

from mssmtp.web import asking, sessions
from mssmtp.web.page import Answer, Call, Goes, Keep, Needs, NotFound, Page, Shown

PATH = "compte/sessions"
IDENTITIES = "compte/identites"


def _get(call: Call) -> Answer:
    account = call.holder().account
    found = call.site.store.read(lambda r: sessions.listed(r, account)).result()
    return Shown("logins.html", {"rows": found, "own": call.holder().id})


def _post(call: Call) -> Answer:
    own, store = call.holder(), call.site.store
    if call.form["faire"] == "toutes":
        store.write(lambda writing: sessions.end_all(writing, own)).result()
        return Goes("connexion", done="logins.all_ended", keep=Keep(leaves=True))
    number = asking.number(call.form["numero"])
    if not store.write(lambda writing: sessions.end_one(writing, own, number)).result():
        raise NotFound
    if number == own.id:
        return Goes("connexion", done="login.left", keep=Keep(leaves=True))
    return Goes(PATH, done="logins.ended")


def _get_identities(call: Call) -> Answer:
    found = asking.rows(call, "person.binding.list", person=asking.me(call))
    live = [asking.dated(row, "since") for row in found if row["ended"] is None]
    return Shown("identities.html", {"rows": live, "e_cps": call.site.psc is not None})


def _post_identities(call: Call) -> Answer:
    number = asking.number(call.form["numero"])
    asking.ask(call, "person.binding.remove", person=asking.me(call), number=number)
    return Goes(IDENTITIES, done="logins.unbound")


PAGES = (
    Page(PATH, Needs.SESSION, get=_get, post=_post),
    Page(IDENTITIES, Needs.SESSION, get=_get_identities, post=_post_identities),
)
