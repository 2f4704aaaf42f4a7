"""What a script wants done with a letter, as values: nothing here does it."""

from __future__ import annotations

from dataclasses import dataclass

from mssmtp.mail import Address

INBOX = "INBOX"
TRASH = "\\trash"


@dataclass(frozen=True, slots=True)
class Filing:
    """A copy in `mailbox` with `flags`. `create`: made when it is missing (RFC 5490 3.2)."""

    mailbox: str
    flags: tuple[str, ...] = ()
    create: bool = False


@dataclass(frozen=True, slots=True)
class Forward:
    """A copy for somebody else. `asks_receipt`: with a Disposition-Notification-To (CL-72)."""

    to: Address
    asks_receipt: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """RFC 5230: what is to be answered, if an answer is due at all."""

    reason: str
    handle: str
    days: int | None = None
    subject: str | None = None
    sender: str | None = None
    addresses: tuple[str, ...] = ()
    is_mime: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """`filings` is empty only when the letter was discarded or went elsewhere on purpose.

    `failure`: the script was stopped, and the letter is in INBOX as if there were no script.
    """

    filings: tuple[Filing, ...]
    forwards: tuple[Forward, ...] = ()
    reply: Reply | None = None
    failure: str = ""
