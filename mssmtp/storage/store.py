"""Store: opens a home, two doors, group commit. Signatures first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

from mssmtp.config import StoreSettings
from mssmtp.mail import (
    AccountId,
    Address,
    Bal,
    BalId,
    BalState,
    BalType,
    Change,
    Envelope,
    EnvelopeId,
    MailboxId,
    ModSeq,
    PersonState,
    Principal,
    Recipient,
    Uid,
)
from mssmtp.outside import Clock, Entropy
from mssmtp.storage.letters import LetterWriter
from mssmtp.storage.model import (
    Accepted,
    Account,
    AppPassword,
    CheckReport,
    Event,
    FlagsOperation,
    Lease,
    Letter,
    LocalDelivery,
    Mailbox,
    MessageRow,
    Outcome,
    Owner,
    QueueEntry,
    Transfer,
    TransferTrace,
)

if TYPE_CHECKING:
    from mssmtp.message.scanner import ScanLimits

T = TypeVar("T")


class Reading:
    def bal(self, address: Address) -> Bal | None:
        raise NotImplementedError

    def bal_by_id(self, bal: BalId) -> Bal | None:
        raise NotImplementedError

    def bal_by_usual(self, address: Address) -> Bal | None:
        raise NotImplementedError

    def bals(self) -> tuple[Bal, ...]:
        raise NotImplementedError

    def account(self, login: str) -> Account | None:
        raise NotImplementedError

    def app_passwords(self, account: AccountId) -> tuple[AppPassword, ...]:
        raise NotImplementedError

    def principal(self, account: AccountId) -> Principal:
        raise NotImplementedError

    def has_written(self, bal: BalId, address: Address) -> bool:
        raise NotImplementedError

    def mailboxes(self, bal: BalId) -> tuple[Mailbox, ...]:
        raise NotImplementedError

    def mailbox(self, bal: BalId, name: str) -> Mailbox | None:
        raise NotImplementedError

    def mailbox_by_id(self, mailbox: MailboxId) -> Mailbox | None:
        raise NotImplementedError

    def keywords(self, mailbox: MailboxId) -> tuple[str, ...]:
        """Keywords in use or ever used in the mailbox, first spelling."""
        raise NotImplementedError

    def messages(
        self,
        mailbox: MailboxId,
        uids: Sequence[tuple[int, int]] | None = None,
        changed_since: ModSeq | None = None,
    ) -> list[MessageRow]:
        raise NotImplementedError

    def expunged_since(self, mailbox: MailboxId, modseq: ModSeq) -> list[Uid]:
        raise NotImplementedError

    def summaries(self, mailbox: MailboxId, uids: Sequence[Uid]) -> Iterator[tuple[Uid, bytes]]:
        """Summary octets in UID order; b"" for a damaged message; vanished UIDs are left out."""
        raise NotImplementedError

    def body(self, mailbox: MailboxId, uid: Uid, start: int = 0, stop: int | None = None) -> bytes:
        raise NotImplementedError

    def queue(self) -> tuple[QueueEntry, ...]:
        raise NotImplementedError

    def queue_entry(self, envelope: EnvelopeId) -> tuple[QueueEntry, ...]:
        raise NotImplementedError

    def transfers(self, envelope: EnvelopeId) -> tuple[TransferTrace, ...]:
        raise NotImplementedError

    def events(self, envelope: EnvelopeId) -> tuple[Event, ...]:
        raise NotImplementedError

    def facts(self, envelope: EnvelopeId) -> bytes | None:
        """Sealed facts of the decision, opened; None once pruned."""
        raise NotImplementedError

    def letter_octets(self, envelope: EnvelopeId, start: int = 0, stop: int | None = None) -> bytes:
        raise NotImplementedError


class Writing(Reading):
    def create_bal(
        self,
        address: Address,
        type: BalType,
        *,
        person: PersonState = PersonState.CERTIFIED,
        national_id: str | None = None,
        usual_address: Address | None = None,
        login: str | None = None,
    ) -> Bal:
        raise NotImplementedError

    def set_bal_state(self, bal: BalId, state: BalState) -> None:
        raise NotImplementedError

    def set_account_active(self, account: AccountId, *, active: bool) -> None:
        raise NotImplementedError

    def add_member(self, org: BalId, account: AccountId) -> None:
        raise NotImplementedError

    def add_app_password(self, account: AccountId, name: str, argon2: str, scram: str) -> int:
        raise NotImplementedError

    def revoke_app_password(self, password: int) -> None:
        raise NotImplementedError

    def touch_app_password(self, password: int, at: datetime) -> None:
        raise NotImplementedError

    def accept(
        self,
        envelope: Envelope,
        letter: Letter,
        *,
        local: Sequence[LocalDelivery],
        queued: Sequence[Recipient],
        skip: int,
        owner: Owner,
        transfer: Transfer,
        facts: bytes,
    ) -> Accepted:
        raise NotImplementedError

    def reject(self, envelope: Envelope, transfer: Transfer, facts: bytes, *, owner: Owner) -> None:
        """`owner`: whose key seals the addresses; as for accept."""
        raise NotImplementedError

    def append(
        self, mailbox: MailboxId, letter: Letter, flags: frozenset[str], internal_date: datetime
    ) -> Uid:
        raise NotImplementedError

    def store_flags(
        self,
        mailbox: MailboxId,
        uids: Sequence[Uid],
        operation: FlagsOperation,
        flags: frozenset[str],
    ) -> list[MessageRow]:
        raise NotImplementedError

    def expunge(self, mailbox: MailboxId, uids: Sequence[Uid] | None = None) -> list[Uid]:
        raise NotImplementedError

    def copy(
        self, source: MailboxId, uids: Sequence[Uid], target: MailboxId
    ) -> list[tuple[Uid, Uid]]:
        raise NotImplementedError

    def move(
        self, source: MailboxId, uids: Sequence[Uid], target: MailboxId
    ) -> list[tuple[Uid, Uid]]:
        raise NotImplementedError

    def create_mailbox(self, bal: BalId, name: str) -> Mailbox:
        raise NotImplementedError

    def delete_mailbox(self, bal: BalId, name: str) -> None:
        raise NotImplementedError

    def rename_mailbox(self, bal: BalId, old: str, new: str) -> None:
        raise NotImplementedError

    def subscribe(self, bal: BalId, name: str, *, on: bool) -> None:
        raise NotImplementedError

    def claim_recent(self, mailbox: MailboxId) -> Uid:
        raise NotImplementedError

    def lease(
        self,
        now: datetime,
        limit: int,
        worker: str,
        *,
        duration: timedelta = timedelta(minutes=15),
    ) -> tuple[Lease, ...]:
        raise NotImplementedError

    def record(self, outcomes: Sequence[Outcome], transfer: Transfer) -> None:
        raise NotImplementedError

    def release(self, worker: str) -> int:
        """Give back every lease `worker` holds (orderly stop)."""
        raise NotImplementedError

    def hold(self, envelope: EnvelopeId, *, on: bool = True) -> int:
        raise NotImplementedError

    def drop(self, envelope: EnvelopeId, reason: str) -> int:
        raise NotImplementedError

    def retry_now(self, envelope: EnvelopeId | None, now: datetime) -> int:
        """Make waiting recipients due; None: all of them. Returns how many."""
        raise NotImplementedError

    def prune(self, now: datetime) -> None:
        raise NotImplementedError


class Store:
    def __init__(
        self,
        settings: StoreSettings,
        clock: Clock,
        entropy: Entropy,
        *,
        limits: ScanLimits | None = None,
        worker: str = "cli",
    ) -> None:
        raise NotImplementedError

    @staticmethod
    def create(settings: StoreSettings, clock: Clock, entropy: Entropy) -> None:
        raise NotImplementedError

    def read(self, query: Callable[[Reading], T]) -> Future[T]:
        raise NotImplementedError

    def write(self, job: Callable[[Writing], T]) -> Future[T]:
        raise NotImplementedError

    def writer(self) -> LetterWriter:
        raise NotImplementedError

    def seal(self, octets: bytes) -> Letter:
        raise NotImplementedError

    def discard(self, letter: Letter) -> None:
        """Remove a letter that no commit adopted, now rather than when it is forgotten."""
        raise NotImplementedError

    def subscribe(self, listener: Callable[[tuple[Change, ...]], None]) -> Callable[[], None]:
        raise NotImplementedError

    def check(self, *, deep: bool = False) -> CheckReport:
        raise NotImplementedError

    def new_envelope_id(self) -> EnvelopeId:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError
