"""What was looked up once and stays so: which mailboxes are INBOX and Sent, who has written to
whom, what the sealed rows of boxes, structures, accounts, application passwords and envelopes say,
and that a box was used today.

These keep their ids as long as their box, a correspondent is never forgotten, and ids never come
twice: an answer stays right in every process. Only a rollback can take one back, or a server that
took over without the last commits; then everything is forgotten.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mssmtp.mail import Bal, BalId, MailboxId, Structure

if TYPE_CHECKING:
    from mssmtp.storage.delivery import StoredEnvelope
    from mssmtp.storage.model import Account, AppPassword

REMEMBERED = 16_384
STRUCTURES = 1_024
"""Every line of a bulk file names its own (DEF-10)."""
ENVELOPES = 4_096
"""A relay opens each several times between its lease and its outcome."""
PASSWORDS = 4_096
"""A mail program that comes back all day has one; 2 KB each, verifiers only."""


class Known:
    """One process's memory, shared by all views of a store; safe between threads."""

    def __init__(self) -> None:
        self._inboxes: dict[BalId, MailboxId] = {}
        self._sent: dict[BalId, MailboxId] = {}
        self._correspondents: set[tuple[BalId, str]] = set()
        self._bals: dict[tuple[Any, ...], Bal] = {}
        self._structures: dict[tuple[Any, ...], Structure] = {}
        self._accounts: dict[tuple[Any, ...], Account] = {}
        self._passwords: dict[tuple[Any, ...], AppPassword] = {}
        self._envelopes: dict[tuple[Any, ...], StoredEnvelope] = {}
        self._active: dict[BalId, int] = {}
        self._suspended: tuple[frozenset[str], float] = (frozenset(), 0.0)

    def inbox(self, bal: BalId) -> MailboxId | None:
        """Its INBOX, when it was looked up before."""
        return self._inboxes.get(bal)

    def keep_inbox(self, bal: BalId, inbox: MailboxId) -> None:
        """Remember it."""
        if len(self._inboxes) >= REMEMBERED:
            self._inboxes = {}
        self._inboxes[bal] = inbox

    def sent(self, bal: BalId) -> MailboxId | None:
        """Its mailbox Sent, when it was looked up before."""
        return self._sent.get(bal)

    def keep_sent(self, bal: BalId, sent: MailboxId) -> None:
        """Remember it."""
        if len(self._sent) >= REMEMBERED:
            self._sent = {}
        self._sent[bal] = sent

    def wrote(self, bal: BalId, sender: str) -> bool:
        """True when `sender` is known to have written to `bal`; False says nothing."""
        return (bal, sender) in self._correspondents

    def keep_correspondent(self, bal: BalId, sender: str) -> None:
        """Remember it."""
        if len(self._correspondents) >= REMEMBERED:
            self._correspondents = set()
        self._correspondents.add((bal, sender))

    def bal(self, row: tuple[Any, ...]) -> Bal | None:
        """What these very octets said when they were opened."""
        return self._bals.get(row)

    def keep_bal(self, row: tuple[Any, ...], bal: Bal) -> None:
        """Remember it."""
        if len(self._bals) >= REMEMBERED:
            self._bals = {}
        self._bals[row] = bal

    def structure(self, row: tuple[Any, ...]) -> Structure | None:
        """What these very octets said when they were opened."""
        return self._structures.get(row)

    def keep_structure(self, row: tuple[Any, ...], structure: Structure) -> None:
        """Remember it."""
        if len(self._structures) >= STRUCTURES:
            self._structures = {}
        self._structures[row] = structure

    def account(self, row: tuple[Any, ...]) -> Account | None:
        """What these very octets said when they were opened."""
        return self._accounts.get(row)

    def keep_account(self, row: tuple[Any, ...], account: Account) -> None:
        """Remember it."""
        if len(self._accounts) >= REMEMBERED:
            self._accounts = {}
        self._accounts[row] = account

    def password(self, row: tuple[Any, ...]) -> AppPassword | None:
        """What these very octets said when they were opened."""
        return self._passwords.get(row)

    def keep_password(self, row: tuple[Any, ...], password: AppPassword) -> None:
        """Remember it."""
        if len(self._passwords) >= PASSWORDS:
            self._passwords = {}
        self._passwords[row] = password

    def envelope(self, row: tuple[Any, ...]) -> StoredEnvelope | None:
        """What these very octets said when they were opened."""
        return self._envelopes.get(row)

    def keep_envelope(self, row: tuple[Any, ...], envelope: StoredEnvelope) -> None:
        """Remember it."""
        if len(self._envelopes) >= ENVELOPES:
            self._envelopes = {}
        self._envelopes[row] = envelope

    def was_active(self, bal: BalId, day: int) -> bool:
        """True when it is written that somebody was active in `bal` on that day."""
        return self._active.get(bal) == day

    def keep_active(self, bal: BalId, day: int) -> None:
        """Remember it."""
        if len(self._active) >= REMEMBERED:
            self._active = {}
        self._active[bal] = day

    def suspended(self, now: float) -> frozenset[str] | None:
        """The suspended domains, when they were looked up a moment ago."""
        domains, until = self._suspended
        return domains if now < until else None

    def keep_suspended(self, domains: frozenset[str], until: float) -> None:
        """Remember them, until that moment."""
        self._suspended = (domains, until)

    def forget_suspended(self) -> None:
        """They have changed."""
        self._suspended = (frozenset(), 0.0)

    def forget(self) -> None:
        """After a rollback, or when master keys changed."""
        self._inboxes, self._sent, self._correspondents, self._bals = {}, {}, set(), {}
        self._envelopes, self._structures = {}, {}
        self._accounts, self._passwords = {}, {}
        self._active = {}
        self.forget_suspended()
