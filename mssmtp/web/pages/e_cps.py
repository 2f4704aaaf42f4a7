"""An e-CPS: linked to the account, then a login without a password (SEED-12, L15).

What comes back from Pro Santé Connect comes from another site, so that strict cookies stay behind:
the page of the return asks the same again as a page of ours, which knows the session.
"""

from __future__ import annotations

from mssmtp.psc_login import PscLogin
from mssmtp.web.page import Answer, Call, Goes, Keep, Leaves, Needs, NotFound, Page
from mssmtp.web.pages.login import HOME
from mssmtp.web.pages.logins import IDENTITIES, code_page, same_again
from mssmtp.web.sessions import BY_E_CPS

LOGIN, LINK, CODE = "psc/connexion", f"{IDENTITIES}/e-cps", f"{IDENTITIES}/code"
BACK, GO_ON = "psc/retour", "psc/suite"


def _get_login(call: Call) -> Answer:
    return Goes(HOME) if call.session is not None else _get_way(call)


def _get_way(call: Call) -> Answer:
    """For a login, or within a session to link."""
    started = call.site.wait(_psc(call).start(call.session_id))
    return Leaves(started.url, Keep(ticket=started.ticket))


def _get_back(call: Call) -> Answer:
    _psc(call)
    return same_again(call, GO_ON)


def _get_go_on(call: Call) -> Answer:
    psc = _psc(call)
    ticket, shown = call.site.wait(psc.shown(call.session_id, call.ticket, call.raw_query))
    if call.session is None:
        return Goes(HOME, keep=Keep(login=psc.log_in(ticket, shown), by=BY_E_CPS))
    attempt = psc.begin(call.session.account, ticket, shown)
    return Goes(CODE, keep=Keep(attempt=attempt))


def _get_code(call: Call) -> Answer:
    _psc(call)
    return code_page(call, "logins.e_cps_title", CODE)


def _post_code(call: Call) -> Answer:
    _psc(call).finish(call.attempt, call.form["code"])
    return Goes(IDENTITIES, done="logins.linked_e_cps")


def _psc(call: Call) -> PscLogin:
    if call.site.psc is None:
        raise NotFound
    return call.site.psc


PAGES = (
    Page(LOGIN, Needs.NOBODY, get=_get_login),
    Page(LINK, Needs.SESSION, get=_get_way),
    Page(BACK, Needs.NOBODY, get=_get_back),
    Page(GO_ON, Needs.NOBODY, get=_get_go_on),
    Page(CODE, Needs.SESSION, get=_get_code, post=_post_code),
)
