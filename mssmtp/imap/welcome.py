"""Whether who is logged in still may be, and may still see what is selected (SEC-06, ATT-25)."""

from __future__ import annotations

from mssmtp.errors import Ended
from mssmtp.identity.refusals import LoginRefused
from mssmtp.identity.standing import is_over
from mssmtp.imap import mailboxes, responses
from mssmtp.imap.effects import Steps, read, refresh
from mssmtp.imap.selected import Selected
from mssmtp.imap.session import Session

_REVOKED = responses.untagged(b"BYE", b"Cet acces est ferme", b"EXPIRED")
_OVER = responses.untagged(
    b"BYE", b"Session ouverte depuis 8 heures ; reconnectez-vous", b"EXPIRED"
)
_GONE = responses.untagged(b"BYE", b"The selected mailbox is gone", b"UNAVAILABLE")


def still_welcome(session: Session) -> Steps[None]:
    """A login that ended since ends the session too, within a second (SEC-06, ATT-18), and eight
    hours end one by a token (OP-83).

    So does the end of one's rights in the selected mailbox: a shared box was suspended, or is no
    longer shared, and nothing more of it may be read (RFC 2180 3.3, ATT-25). Raises Ended.
    """
    if session.principal_or_none is None:
        return
    now = session.clock.monotonic()
    if is_over(session.principal, now - session.logged_in_at):
        raise Ended(_OVER)
    if now - session.refreshed_at >= session.timing.refresh_s:
        yield from _refresh(session, now)
    selected = session.selected_or_none
    if selected is not None and not session.principal.owns(selected.mailbox.bal):
        yield from _still_entitled(session, selected)


def welcome_again(session: Session) -> Steps[None]:
    """`still_welcome` in the middle of a long answer: a whole mailbox that is read slowly takes
    hours (SEC-06). Raises Ended."""
    if session.clock.monotonic() - session.refreshed_at >= session.timing.refresh_s:
        yield from still_welcome(session)


def _refresh(session: Session, now: float) -> Steps[None]:
    before = session.principal
    try:
        principal = yield from refresh(before)
    except LoginRefused as error:
        raise Ended(_REVOKED) from error
    session.refreshed_at = now
    if principal.first != before.first:
        # One's own box is closed: names without prefix must not begin to mean another one.
        raise Ended(_REVOKED)
    selected = session.selected_or_none
    if selected is not None and all(bal.id != selected.mailbox.bal for bal in principal.bals):
        raise Ended(_GONE)
    session.principal_or_none = principal


def _still_entitled(session: Session, selected: Selected) -> Steps[None]:
    """Rights in a shared box are those of this very command (ATT-25)."""
    selected.rights = yield from read(
        lambda reading: mailboxes.rights(reading, session.principal, selected.mailbox)
    )
    if mailboxes.READ not in selected.rights:
        raise Ended(_GONE)
