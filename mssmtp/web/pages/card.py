"""A CPx card: linked to the account, then a login without a password (SEED-12, L14).

The card is read at a port of its own (`card_port.py`). The way back is a page that goes on by
itself, as after Pro Santé Connect: where that port has another name, strict cookies stay behind.
"""

from __future__ import annotations

from mssmtp.card_login import CardLogin
from mssmtp.web.page import Answer, Call, Goes, Keep, Leaves, Needs, NotFound, Page
from mssmtp.web.pages.login import HOME
from mssmtp.web.pages.logins import IDENTITIES, code_page, same_again
from mssmtp.web.sessions import BY_CARD

LOGIN, LINK, CODE = "carte/connexion", f"{IDENTITIES}/carte", f"{IDENTITIES}/carte/code"
BACK, GO_ON = "carte/retour", "carte/suite"


def _get_login(call: Call) -> Answer:
    return Goes(HOME) if call.session is not None else _get_way(call)


def _get_way(call: Call) -> Answer:
    """For a login, or within a session to link."""
    started = _cards(call).start(call.session_id)
    return Leaves(started.url, Keep(ticket=started.ticket))


def _get_back(call: Call) -> Answer:
    _cards(call)
    return same_again(call, GO_ON)


def _get_go_on(call: Call) -> Answer:
    cards = _cards(call)
    ticket, shown = cards.shown(call.session_id, call.ticket, call.raw_query)
    if call.session is None:
        return Goes(HOME, keep=Keep(login=cards.log_in(ticket, shown), by=BY_CARD))
    attempt = cards.begin(call.session.account, ticket, shown)
    return Goes(CODE, keep=Keep(attempt=attempt))


def _get_code(call: Call) -> Answer:
    _cards(call)
    return code_page(call, "logins.card_title", CODE)


def _post_code(call: Call) -> Answer:
    _cards(call).finish(call.attempt, call.form["code"])
    return Goes(IDENTITIES, done="logins.linked_card")


def _cards(call: Call) -> CardLogin:
    if call.site.cards is None:
        raise NotFound
    return call.site.cards


PAGES = (
    Page(LOGIN, Needs.NOBODY, get=_get_login),
    Page(LINK, Needs.SESSION, get=_get_way),
    Page(BACK, Needs.NOBODY, get=_get_back),
    Page(GO_ON, Needs.NOBODY, get=_get_go_on),
    Page(CODE, Needs.SESSION, get=_get_code, post=_post_code),
)
