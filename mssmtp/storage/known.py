"""What was looked up once and stays so: which mailboxes are INBOX and Sent, who has written to
whom, what the sealed rows of boxes, structures, accounts, application passwords and envelopes say,
and that a box was used today.

These keep their ids as long as their box, a correspondent is never forgotten, and ids never come
twice: an answer stays right in every process. Only a rollback can take one back, or a server that
took over without the last commits; then everything is forgotten.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from mssmtp.mail import Bal, BalId, MailboxId, Structure

if TYPE_CHECKING:
    from mssmtp.storage.delivery import StoredEnvelope
    from mssmtp.storage.model import Account, AppPassword

K = TypeVar("K")
V = TypeVar("V")

REMEMBERED = 16_384
STRUCTURES = 1_024
"""Every line of a bulk file names its own (DEF-10)."""
ENVELOPES = 4_096
"""A relay opens each several times between its lease and its outcome."""
PASSWORDS = 4_096
"""A mail program that comes back all day has one; 2 KB each, verifiers only."""


class Table(Generic[K, V]):
    """At most `most` answers; a full one begins anew, and each is looked up once more (D11)."""

    __slots__ = ("_answers", "_most")

    def __init__(self, most: int) -> None:
        self._most = most
        self._answers: dict[K, V] = {}

    def get(self, key: K) -> V | None:
        """What was kept under `key`."""
        return self._answers.get(key)

    def keep(self, key: K, answer: V) -> None:
        """Remember it."""
        if len(self._answers) >= self._most:
            self._answers = {}
        self._answers[key] = answer

    def forget(self) -> None:
        """Everything."""
        self._answers = {}


OfRow = tuple[Any, ...]
"""A sealed row: what these very octets said when they were opened."""


class Known:
    """One process's memory, shared by all views of a store; safe between threads."""

    def __init__(self) -> None:
        self.inboxes: Table[BalId, MailboxId] = Table(REMEMBERED)
        self.sent: Table[BalId, MailboxId] = Table(REMEMBERED)
        self.correspondents: Table[tuple[BalId, str], bool] = Table(REMEMBERED)
        """Who is known to have written to whom; that somebody is not here says nothing."""
        self.bals: Table[OfRow, Bal] = Table(REMEMBERED)
        self.structures: Table[OfRow, Structure] = Table(STRUCTURES)
        self.accounts: Table[OfRow, Account] = Table(REMEMBERED)
        self.passwords: Table[OfRow, AppPassword] = Table(PASSWORDS)
        self.envelopes: Table[OfRow, StoredEnvelope] = Table(ENVELOPES)
        self.active: Table[BalId, int] = Table(REMEMBERED)
        """The last day of which it is written that somebody was active there."""
        self._suspended: tuple[frozenset[str], float] = (frozenset(), 0.0)

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
        for table in (
            self.inboxes,
            self.sent,
            self.correspondents,
            self.bals,
            self.structures,
            self.accounts,
            self.passwords,
            self.envelopes,
            self.active,
        ):
            table.forget()
        self.forget_suspended()
