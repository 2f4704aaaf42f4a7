"""An e-CPS, shown at Pro Santé Connect (SEED-12, L15)."""

from __future__ import annotations

from mssmtp.identity.detour import Ticket
from mssmtp.linking import Shown
from mssmtp.provider_login import Started
from mssmtp.psc_login import PscLogin
from mssmtp.web.page import Call, NotFound
from mssmtp.web.pages.logins import IDENTITIES
from mssmtp.web.pages.shown_elsewhere import Elsewhere


def _psc(call: Call) -> PscLogin:
    if call.site.psc is None:
        raise NotFound
    return call.site.psc


def _start(call: Call) -> Started:
    return call.site.wait(_psc(call).start(call.session_id))


def _shown(call: Call) -> tuple[Ticket, Shown]:
    return call.site.wait(_psc(call).shown(call.session_id, call.ticket, call.raw_query))


PAGES = Elsewhere(
    "psc",
    f"{IDENTITIES}/e-cps",
    f"{IDENTITIES}/code",
    "logins.e_cps_title",
    "logins.linked_e_cps",
    _psc,
    _start,
    _shown,
).pages
