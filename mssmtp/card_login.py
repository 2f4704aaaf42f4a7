"""A CPx card at the portal: linked to an account after a code by mail, then a login (SEED-12, L14).

Two ports share the work, so that ordinary pages never ask a browser for a certificate (OP-07).
The pages draw a ticket, which their own browser keeps, and send it to the port for cards with the
state of that ticket. That port judges the certificate of the connection and sends the browser back
with a word about it, vouched for by the store, for that state and for a minute. Only the browser
that keeps the ticket can use the word, once; no cookie crosses from one port to the other.
"""

from __future__ import annotations

import hmac
import logging
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from urllib.parse import parse_qsl, urlencode

from cryptography import x509

from mssmtp.errors import Reply
from mssmtp.identity import LoginRefused, detour
from mssmtp.identity.detour import DetourRefused, Ticket
from mssmtp.identity.tokens import TokenRefused, national_id_of
from mssmtp.linking import CARD_REFUSALS, CardRefused, CardSuspended, Shown, by_card
from mssmtp.notices import Desk
from mssmtp.outside import Clock, Entropy
from mssmtp.pki import Role
from mssmtp.provider_login import Started
from mssmtp.responder import Responder
from mssmtp.storage import Store
from mssmtp.ticketed_login import TicketedLogin
from mssmtp.trust import Trust

logger = logging.getLogger(__name__)

READ = "carte"
"""The page of the port for cards."""
STATE, WORD, REFUSED = "etat", "carte", "refus"
"""Fields of the way there and back."""
_READ = "card_read"
"""Whom the words of that port are for; no purpose of a ticket."""
_HOLDS = timedelta(minutes=1)
_STATE = re.compile(r"[A-Za-z0-9_-]{43}\Z", re.ASCII)
_MOST_QUERY = 1_024
_MOST_FIELDS = 8


class CardStale(LoginRefused):
    """No ticket of this browser, another session's, one that has ended or was used."""

    smtp = Reply(
        535,
        "5.7.8",
        "Cette lecture de carte n'est plus valable ; recommencez depuis la page où vous étiez.",
    )
    imap = "AUTHENTICATIONFAILED"
    is_guess = False


class CardReader:
    """Behind the port for cards. `trust`: the authorities of cards and what they have revoked."""

    def __init__(
        self, store: Store, trust: Trust, responder: Responder | None, clock: Clock
    ) -> None:
        self._store, self._trust, self._clock = store, trust, clock
        self._responder = responder

    async def settle(self, chain: Sequence[x509.Certificate]) -> None:
        """Before `read`, on the event loop: ask about what no CRL says (`web.cards.ocsp`)."""
        if self._responder is not None:
            await self._responder.settle(chain, Role.CLIENT)

    def read(self, chain: Sequence[x509.Certificate], query: str) -> str:
        """What the browser takes back to the pages, for the certificate of its connection.

        Blocks. Raises CardStale for a way that did not begin at the pages.
        """
        state = _fields(query).get(STATE, "")
        if not _STATE.match(state):
            raise CardStale
        now, known = self._clock.now(), self._trust.snapshot
        try:
            shown = by_card(chain, known.anchors, known.revocation, now)
            self._demand_active(shown)
        except CardRefused as refused:
            logger.info("card refused", extra={"why": str(refused)})
            return urlencode({STATE: state, REFUSED: refused.told})
        word = _word(state, shown, now)
        (voucher, *_) = self._store.read(lambda r: r.vouchers(word.vouched)).result()
        return urlencode({STATE: state, WORD: detour.written(word, voucher)})

    def _demand_active(self, shown: Shown) -> None:
        """Raises CardSuspended (OP-79). What the store says, not what the worker knew some seconds
        ago: a login is made here."""
        named = shown.certificate
        if self._store.read(lambda r: r.is_suspended("certificate", named)).result():
            raise CardSuspended("suspended")


class CardLogin(TicketedLogin):
    """Behind the pages; one per worker."""

    kind = "card"
    refusal = CardStale

    def __init__(self, store: Store, desk: Desk, url: str, clock: Clock, entropy: Entropy) -> None:
        """`url`: how browsers reach the port for cards."""
        super().__init__(store, desk, clock, entropy)
        self._url = url

    def start(self, session: int | None) -> Started:
        """To link within a session, or to log in."""
        random = self._entropy.token_bytes(detour.TICKET_OCTETS)
        ticket = detour.drawn(self.purpose(session), random, self._clock.now())
        (voucher, *_) = self._store.read(lambda r: r.vouchers(ticket.vouched)).result()
        url = f"{self._url}/{READ}?{urlencode({STATE: ticket.state})}"
        return Started(url, detour.written(ticket, voucher))

    def shown(self, session: int | None, kept: str, query: str) -> tuple[Ticket, Shown]:
        """Whose card was read, by what the browser kept and what it brings back.

        The ticket is still to be spent. Raises CardStale, CardRefused.
        """
        told = _fields(query)
        try:
            ticket = self._vouched(kept, self.purpose(session))
            if not hmac.compare_digest(
                told.get(STATE, "").encode("utf-8", "surrogatepass"), ticket.state.encode()
            ):
                raise DetourRefused("another state")
            if REFUSED in told:
                raise CARD_REFUSALS.get(told[REFUSED], CardRefused)
            word = self._vouched(told.get(WORD, ""), _READ)
            state, subject, certificate = word.secret.split("~")
            # Of another browser's way, the word of a colleague's card would open his account.
            if not hmac.compare_digest(state, ticket.state):
                raise DetourRefused("the card was read for another state")
            return ticket, Shown("card", national_id_of(subject), certificate)
        except (DetourRefused, TokenRefused) as refused:
            logger.info("card: return refused", extra={"why": refused.why})
            raise CardStale from None

    def _vouched(self, text: str, purpose: str) -> Ticket:
        """Raises DetourRefused."""
        ticket, voucher = detour.parted(text)
        ours = self._store.read(lambda r: r.vouchers(ticket.vouched)).result()
        detour.demand_ours(ticket, voucher, ours, purpose, self._clock.now())
        return ticket


def _word(state: str, shown: Shown, now: datetime) -> Ticket:
    """That the card was read for `state`, until a minute from now."""
    ends = int((now + _HOLDS).timestamp())
    return Ticket(_READ, ends, f"{state}~{shown.subject}~{shown.certificate}")


def _fields(query: str) -> dict[str, str]:
    """Nothing of what is too much, or told twice."""
    try:
        if len(query) > _MOST_QUERY:
            return {}
        pairs = parse_qsl(query, max_num_fields=_MOST_FIELDS)
    except ValueError:
        return {}
    fields = dict(pairs)
    return fields if len(fields) == len(pairs) else {}
