"""One detour of a browser by a hospital's own provider (RFC 6749 4.1, 10.12; RFC 7636).

All of it hangs on a ticket that the asking browser alone keeps, in a cookie: state, nonce and
code verifier follow from it. Nothing is stored for who only asks, and what comes back by another
browser fits no ticket. The store vouches for tickets with a key, so that any worker can take them.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl

from mssmtp.errors import Reply
from mssmtp.identity.refusals import LoginRefused

LIVES = timedelta(minutes=10)
"""From the start to the return; a code of ours by mail has as long."""
TICKET_OCTETS = 32
_MOST_TICKET = 512
_MOST_QUERY = 8_192
_MOST_FIELDS = 32
_MOST_CODE = 4_096


class DetourRefused(LoginRefused):
    """What came back is not what was asked for, or of nobody who may come in: one answer."""

    smtp = Reply(
        535,
        "5.7.8",
        "Connexion par l'établissement refusée ; recommencez depuis la page de connexion, ou voyez"
        " votre administrateur.",
    )
    imap = "AUTHENTICATIONFAILED"
    is_guess = False

    def __init__(self, why: str = "") -> None:
        """`why` is for the log; it holds nothing of what was sent."""
        super().__init__(why)
        self.why = why


class ProviderAway(LoginRefused):
    """The provider gives no usable answer in time, or does not know us: nothing is known."""

    smtp = Reply(
        454,
        "4.7.0",
        "Le service d'authentification de l'établissement ne répond pas ; réessayez dans quelques"
        " minutes.",
    )
    imap = "UNAVAILABLE"
    is_guess = False


@dataclass(frozen=True, slots=True)
class Ticket:
    """Of one browser, to one provider and back. What is derived from it may leave; it may not."""

    provider: str
    ends: int
    secret: str = field(repr=False)

    @property
    def vouched(self) -> str:
        """What a store vouches for."""
        return f"{self.provider}.{self.ends}.{self.secret}"

    @property
    def state(self) -> str:
        """RFC 6749 10.12: comes back with the code."""
        return self._derived(b"state")

    @property
    def nonce(self) -> str:
        """OpenID Connect Core 3.1.2.1: comes back inside the id_token."""
        return self._derived(b"nonce")

    @property
    def verifier(self) -> str:
        """RFC 7636 4.1: goes with the code, where only its digest went before."""
        return self._derived(b"verifier")

    def _derived(self, what: bytes) -> str:
        octets = hmac.digest(self.vouched.encode("ascii"), what, hashlib.sha256)
        return base64.urlsafe_b64encode(octets).rstrip(b"=").decode("ascii")


def drawn(provider: str, random: bytes, now: datetime) -> Ticket:
    """A new one."""
    return Ticket(provider, int((now + LIVES).timestamp()), random.hex())


def written(ticket: Ticket, voucher: bytes) -> str:
    """As the browser keeps it."""
    return f"{ticket.vouched}.{voucher.hex()}"


def parted(text: str) -> tuple[Ticket, str]:
    """A ticket and the voucher it shows, neither checked. Raises DetourRefused."""
    parts = text.split(".") if len(text) <= _MOST_TICKET and text.isascii() else []
    if len(parts) != 4 or not parts[1].isdecimal():
        raise DetourRefused("no ticket")
    return Ticket(parts[0], int(parts[1]), parts[2]), parts[3]


def demand_ours(
    ticket: Ticket, shown: str, vouchers: Collection[bytes], provider: str, now: datetime
) -> None:
    """`vouchers`: what the store says of this ticket, by each key in force. Raises DetourRefused.

    A ticket is for one provider: RFC 9207 1, an answer to the address of another is none.
    """
    if not any(hmac.compare_digest(shown, each.hex()) for each in vouchers):
        raise DetourRefused("not our ticket")
    if ticket.provider != provider:
        raise DetourRefused("a ticket for another provider")
    if datetime.fromtimestamp(ticket.ends, UTC) < now:
        raise DetourRefused("the ticket has ended")


def code_of(query: str, ticket: Ticket, issuer: str, *, says_issuer: bool) -> str:
    """The authorization code of what the browser brought back.

    `says_issuer`: the provider names itself in each answer (RFC 9207 2.4). Raises DetourRefused;
    ProviderAway when the provider says that it is not able.
    """
    if len(query) > _MOST_QUERY:
        raise DetourRefused("too long")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError as error:
        raise DetourRefused("too many fields") from error
    fields = dict(pairs)
    if len(fields) != len(pairs):  # RFC 6749 3.1
        raise DetourRefused("a field twice")
    state = fields.get("state", "").encode("utf-8", "surrogatepass")
    if not hmac.compare_digest(state, ticket.state.encode("ascii")):
        raise DetourRefused("another state")
    # RFC 9207 2.4: before the code goes anywhere.
    if fields.get("iss", "" if says_issuer else issuer) != issuer:
        raise DetourRefused("another issuer")
    if "error" in fields:
        if fields["error"] in ("temporarily_unavailable", "server_error"):
            raise ProviderAway("says so itself")
        raise DetourRefused("refused there")
    code = fields.get("code", "")
    if not code or len(code) > _MOST_CODE:
        raise DetourRefused("without a code")
    return code
