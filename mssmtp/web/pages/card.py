"""A CPx card, read at a port of its own: `card_port.py` (SEED-12, L14)."""

from __future__ import annotations

from mssmtp.card_login import CardLogin
from mssmtp.identity.detour import Ticket
from mssmtp.linking import Shown
from mssmtp.provider_login import Started
from mssmtp.web.page import Call, NotFound
from mssmtp.web.pages.logins import IDENTITIES
from mssmtp.web.pages.shown_elsewhere import Elsewhere

BACK = "carte/retour"


def _cards(call: Call) -> CardLogin:
    if call.site.cards is None:
        raise NotFound
    return call.site.cards


def _start(call: Call) -> Started:
    return _cards(call).start(call.session_id)


def _shown(call: Call) -> tuple[Ticket, Shown]:
    return _cards(call).shown(call.session_id, call.ticket, call.raw_query)


PAGES = Elsewhere(
    "carte",
    f"{IDENTITIES}/carte",
    f"{IDENTITIES}/carte/code",
    "logins.card_title",
    "logins.linked_card",
    _cards,
    _start,
    _shown,
).pages
