"""Where one is logged in, and the end of it; the identities that open the account (SEED-12)."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import parse_qsl, urlencode

from mssmtp.web import asking, sessions
from mssmtp.web.page import Answer, Call, Goes, Keep, Needs, NotFound, Page, Shown

PATH = "compte/sessions"
IDENTITIES = "compte/identites"
_MOST_QUERY = 8_192
_MOST_FIELDS = 32


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
    modes = {"e_cps": call.site.psc is not None, "card": call.site.cards is not None}
    return Shown("identities.html", {"rows": live, **modes})


def _post_identities(call: Call) -> Answer:
    number = asking.number(call.form["numero"])
    asking.ask(call, "person.binding.remove", person=asking.me(call), number=number)
    return Goes(IDENTITIES, done="logins.unbound")


def code_page(call: Call, title: str, path: str) -> Answer:
    """Asks for the code that links what was shown; `title`: a text of what that is."""
    if not call.attempt:
        return Goes(IDENTITIES)
    return Shown("identity_code.html", {"title": title, "target": path})


def same_again(call: Call, path: str) -> Answer:
    """A page of ours that asks `path` the same by itself, and has the cookies that stay behind
    when another site sends somebody here; of what is too much nothing goes along."""
    pairs: list[tuple[str, str]] = []
    if len(call.raw_query) <= _MOST_QUERY:
        with suppress(ValueError):  # more fields than any answer has
            pairs = parse_qsl(call.raw_query, keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    return Shown("onward.html", {"path": path, "query": urlencode(pairs, errors="replace")})


PAGES = (
    Page(PATH, Needs.SESSION, get=_get, post=_post),
    Page(IDENTITIES, Needs.SESSION, get=_get_identities, post=_post_identities),
)
