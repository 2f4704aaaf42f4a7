"""An e-CPS: linked to the account, then a login without a password (SEED-12, L15).

What comes back from Pro Santé Connect comes from another site, so that strict cookies stay behind:
the page of the return asks the same again as a page of ours, which knows the session.
"""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode

from mssmtp.psc_login import PscLogin, PscRefused
from mssmtp.web.page import Answer, Call, Goes, Keep, Leaves, Needs, NotFound, Page, Shown
from mssmtp.web.pages.login import HOME
from mssmtp.web.pages.logins import IDENTITIES
from mssmtp.web.sessions import BY_E_CPS

LOGIN, LINK, CODE = "psc/connexion", f"{IDENTITIES}/e-cps", f"{IDENTITIES}/code"
BACK, GO_ON = "psc/retour", "psc/suite"
_MOST_FIELDS = 32
_MOST_QUERY = 8_192


def _get_login(call: Call) -> Answer:
    return Goes(HOME) if call.session is not None else _get_way(call)


def _get_way(call: Call) -> Answer:
    """For a login, or within a session to link."""
    started = call.site.wait(_psc(call).start(_session(call)))
    return Leaves(started.url, Keep(ticket=started.ticket))


def _get_back(call: Call) -> Answer:
    _psc(call)
    try:
        if len(call.raw_query) > _MOST_QUERY:
            raise PscRefused
        pairs = parse_qsl(call.raw_query, keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise PscRefused from None
    return Shown("onward.html", {"path": GO_ON, "query": urlencode(pairs, errors="replace")})


def _get_go_on(call: Call) -> Answer:
    psc = _psc(call)
    ticket, shown = call.site.wait(psc.shown(_session(call), call.ticket, call.raw_query))
    if call.session is None:
        return Goes(HOME, keep=Keep(login=psc.log_in(ticket, shown), by=BY_E_CPS))
    attempt = psc.begin(call.session.account, ticket, shown)
    return Goes(CODE, keep=Keep(attempt=attempt))


def _get_code(call: Call) -> Answer:
    _psc(call)
    return Shown("e_cps_code.html") if call.attempt else Goes(IDENTITIES)


def _post_code(call: Call) -> Answer:
    _psc(call).finish(call.attempt, call.form["code"])
    return Goes(IDENTITIES, done="logins.linked_e_cps")


def _psc(call: Call) -> PscLogin:
    if call.site.psc is None:
        raise NotFound
    return call.site.psc


def _session(call: Call) -> int | None:
    return None if call.session is None else call.session.id


PAGES = (
    Page(LOGIN, Needs.NOBODY, get=_get_login),
    Page(LINK, Needs.SESSION, get=_get_way),
    Page(BACK, Needs.NOBODY, get=_get_back),
    Page(GO_ON, Needs.NOBODY, get=_get_go_on),
    Page(CODE, Needs.SESSION, get=_get_code, post=_post_code),
)
