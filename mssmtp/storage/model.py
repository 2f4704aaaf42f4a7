"""What crosses the store's two doors: values and refusals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple

from mssmtp.errors import Damaged, MailError, Reply
from mssmtp.mail import (
    AccountId,
    Address,
    BalId,
    DeliverBy,
    Domain,
    Door,
    Envelope,
    EnvelopeId,
    MailboxId,
    ModSeq,
    Recipient,
    ReversePath,
    Uid,
    UidValidity,
)

if TYPE_CHECKING:
    from mssmtp.message.scanner import Scan
    from mssmtp.storage.letters import SealedBlob

SYSTEM_FLAGS = ("\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft")
"""RFC 3501 2.3.2, in the order of their bits in a message row. `\\Recent` is never stored."""

PATIENT = "$MSSPatient"
"""Of mail from or to a patient (DEF-05): given at delivery, kept by COPY and MOVE, and not for
clients to set or to take away."""

DELIVERED = "$MSSDelivered"
OUTCOMES = frozenset({DELIVERED, "$MSSRead", "$MSSDelayed", "$MSSFailed"})
"""Of a letter in Sent: what became of it, as far as is known (SEED-79)."""

_GIVEN = frozenset(flag.lower() for flag in (PATIENT, *OUTCOMES))
_FLAG_RIGHTS = {"\\seen": "s", "\\deleted": "t", **dict.fromkeys(_GIVEN, "-")}
"""RFC 4314 4: any other flag is of `w`; nobody has the right `-`."""

GIVEN_RIGHTS = "-"
"""Of this server itself, over the keywords it gives."""


def changeable(flags: Iterable[str], rights: str) -> frozenset[str]:
    """Those of `flags` that who has `rights` may set and remove."""
    return frozenset(flag for flag in flags if _right_for(flag) in rights)


def is_given(flag: str) -> bool:
    """A keyword that this server alone gives and takes away."""
    return flag.lower() in _GIVEN


@lru_cache(maxsize=1_024)
def _right_for(flag: str) -> str:
    return _FLAG_RIGHTS.get(flag.lower(), "w")


SPECIAL_MAILBOXES = (
    ("Sent", "\\Sent"),
    ("Drafts", "\\Drafts"),
    ("Trash", "\\Trash"),
    ("Junk", "\\Junk"),
    ("Archive", "\\Archive"),
)
"""Made with every BAL beside INBOX, subscribed, protected (RFC 6154)."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_us(moment: datetime) -> int:
    """Microseconds since 1970 of an aware time: how every time is stored."""
    return (moment - _EPOCH) // _MICROSECOND


def from_us(microseconds: int) -> datetime:
    """The aware UTC time of `to_us`."""
    return _EPOCH + timedelta(microseconds=microseconds)


# ---------------------------------------------------------------- refusals


class NoSuchMailbox(MailError):
    """The mailbox does not exist (RFC 5530 NONEXISTENT)."""

    smtp = Reply(451, "4.3.0", "Boîte de rangement introuvable ; réessayez plus tard.")
    imap = "NONEXISTENT"


class MailboxExists(MailError):
    """A mailbox of that name exists (RFC 5530 ALREADYEXISTS)."""

    imap = "ALREADYEXISTS"


class ProtectedMailbox(MailError):
    """INBOX and the special mailboxes cannot be deleted or renamed (RFC 5530 CANNOT)."""

    imap = "CANNOT"


class UseTaken(MailError):
    """Another mailbox of the BAL has this special use, or nobody can give it (RFC 6154 3)."""

    imap = "USEATTR"


class BadMailboxName(MailError):
    """A name that cannot be stored: empty level, control character, too long or too deep."""

    imap = "CANNOT"


class TooManyMailboxes(MailError):
    """A BAL holds at most 10,000 mailboxes (RFC 5530 LIMIT)."""

    imap = "LIMIT"


class NoSuchMessage(MailError):
    """No message with that UID: it was expunged meanwhile (RFC 5530 EXPUNGEISSUED)."""

    imap = "EXPUNGEISSUED"


class TooManyKeywords(MailError):
    """A mailbox holds at most 57 different keywords (RFC 5530 LIMIT)."""

    imap = "LIMIT"


class NoSuchBal(MailError):
    """No BAL of ours has this address or id."""

    smtp = Reply(550, "5.1.1", "Adresse inconnue ici ; vérifiez-la dans l'annuaire.")
    imap = "NONEXISTENT"


class Shredded(Damaged):
    """Whose key was destroyed on purpose: nothing of it can be opened, and nothing should be."""


class BalExists(MailError):
    """The address, or the usual address, already belongs to a BAL."""

    smtp = Reply(550, "5.1.1", "Cette adresse existe déjà ; choisissez-en une autre.")
    imap = "ALREADYEXISTS"


class NationalIdRequired(MailError):
    """OP-37, OP-38: PER needs `8`+RPPS or `0`+ADELI; without it the type to choose is MED."""

    smtp = Reply(
        550, "5.7.1", "Une boîte PER demande un numéro RPPS ou ADELI ; sans lui, choisissez MED."
    )
    imap = "CANNOT"


# ---------------------------------------------------------------- people


@dataclass(frozen=True, slots=True)
class Account:
    """Who can log in."""

    id: AccountId
    login: str
    active: bool


@dataclass(frozen=True, slots=True)
class AppPassword:
    """One device's password (CL-31): verifiers only, never the password.

    `box`: it opens that ORG box alone, by its address, for the member `account`. `scope`: the one
    service it is for, `imap` or `smtp`; "" both. `expires_at`: its end, used or not.
    """

    id: int
    name: str
    argon2: str
    scram: str
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None
    account: AccountId
    box: BalId | None = None
    scope: str = ""
    expires_at: datetime | None = None


# ---------------------------------------------------------------- mailboxes and messages


@dataclass(frozen=True, slots=True)
class Part:
    """What of a mailbox was handed over to who looks at it (DEF-23): the messages with a UID in
    `kept`, closed ranges, and what came since: a UID from `next_uid` on, of a content newer than
    `last_blob`. Nothing that happens to a message changes whether it is one of them. `grant`: the
    delegation that says so."""

    grant: int
    kept: tuple[tuple[int, int], ...]
    next_uid: int
    last_blob: int


@dataclass(frozen=True, slots=True)
class Mailbox:
    """One IMAP mailbox with its counters. `name` is Unicode with `/` between levels.

    `recent_from`: messages with a UID at or above it were claimed by no session yet. With `part`
    the counters are of that part alone.
    """

    id: MailboxId
    bal: BalId
    name: str
    uid_validity: UidValidity
    uid_next: Uid
    highest_modseq: ModSeq
    special_use: str | None
    subscribed: bool
    messages: int
    unseen: int
    recent_from: Uid
    size_octets: int
    part: Part | None = None


class MessageRow(NamedTuple):
    """One message as FETCH FLAGS needs it; a tuple because 100,000 are read at once."""

    uid: Uid
    modseq: ModSeq
    flags: frozenset[str]
    size_octets: int
    internal_date_us: int

    @property
    def internal_date(self) -> datetime:
        """INTERNALDATE, aware UTC."""
        return from_us(self.internal_date_us)


FlagsOperation = Literal["+", "-", "="]


@dataclass(frozen=True, slots=True)
class Letter:
    """A sealed message no row refers to yet; dropped without trace unless a commit adopts it.

    `summary` are the octets of `message.Summary.to_bytes`; `sha256` is over the whole message;
    `traced` are Message-ID and X-MSS fields of its header (OP-74), names in lower case;
    `body_sha256` is `message.BodyDigest`, of a letter that may be a sent copy (CL-80).
    """

    blob: SealedBlob
    size_octets: int
    scan: Scan
    summary: bytes
    sha256: bytes
    traced: tuple[tuple[str, str], ...] = ()
    body_sha256: bytes | None = None

    @property
    def held_octets(self) -> int:
        """What of it is in memory."""
        return len(self.blob.data or b"") + len(self.summary)


@dataclass(frozen=True, slots=True)
class LocalDelivery:
    """One local copy. A `mailbox` that is gone falls back to INBOX: mail is never lost to it."""

    bal: BalId
    recipient: Recipient
    mailbox: str = "INBOX"
    flags: frozenset[str] = frozenset()
    also: tuple[tuple[str, frozenset[str]], ...] = ()
    """Further copies in other mailboxes of the box, each with its flags."""


# ---------------------------------------------------------------- evidence


@dataclass(frozen=True, slots=True)
class Transfer:
    """One hop (OP-74). The store adds queue id, sender, recipients, size, Message-ID, X-MSS."""

    direction: Literal["in", "out"]
    door: Door
    peer_address: str
    verdict: str
    reply: str
    tls_version: str | None = None
    tls_cipher: str | None = None
    peer_dn: str | None = None
    peer_serial: str | None = None
    peer_issuer: str | None = None
    list_date: datetime | None = None
    crl_number: int | None = None


@dataclass(frozen=True, slots=True)
class TransferTrace:
    """A stored hop, opened: what `Transfer` held and what the store added."""

    transfer: Transfer
    envelope: EnvelopeId
    at: datetime
    size_octets: int
    sender: ReversePath
    recipients: tuple[str, ...]
    message_id: str | None
    headers: tuple[tuple[str, str], ...]
    domains: tuple[str, ...]
    typed: tuple[tuple[str, str], ...] = ()
    """Of recipients that a rule rewrote: as the client gave it, and as it was used (APX-04)."""


EventKind = Literal[
    "scellement",
    "remise",
    "relais",
    "retard",
    "rejet",
    "releve",
    "lu",
    "suppression",
    "intervention",
]

STEPS: tuple[EventKind, ...] = ("retard", "relais", "rejet", "remise", "releve", "lu")
"""Of these each is a step of one recipient; a later one says more than those before it."""


@dataclass(frozen=True, slots=True)
class Event:
    """One link of the ledger (messages.md §3.4, §11). `clear` is the canonical JSON the digest
    covers; `opened` are the salted lines (salt, kind, value) this store can open."""

    number: int
    kind: EventKind
    at: datetime
    envelope: EnvelopeId | None
    clear: str
    previous: str
    digest: str
    opened: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a report tells of one recipient, as the ledger takes it: `result` and `cause` are words
    of `receipts.py`, `detail` the peer's own; `final` is whom it reached, `original` whom it was
    for."""

    kind: EventKind
    result: str
    cause: str = ""
    final: Address | None = None
    original: Address | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One event of one recipient. `report`: the envelope of the report that told of it."""

    recipient: str
    kind: EventKind
    result: str
    cause: str
    at: datetime
    detail: str = ""
    report: EnvelopeId | None = None

    @property
    def rank(self) -> int:
        """The higher, the more it says."""
        return STEPS.index(self.kind)

    @property
    def is_failure(self) -> bool:
        """He will never have it, or cannot use it."""
        return self.kind == "rejet" or self.result == "error"


@dataclass(frozen=True, slots=True)
class Stored:
    """Where a local copy went: what UIDPLUS and the proof need."""

    mailbox: MailboxId
    uid_validity: UidValidity
    uid: Uid


@dataclass(frozen=True, slots=True)
class Accepted:
    """The outcome of `Writing.accept`; `events` are the digests of the ledger events written."""

    stored: Mapping[BalId, Stored]
    events: tuple[str, ...]


# ---------------------------------------------------------------- queue


Owner = BalId | Domain
"""Under whose key content is sealed: a BAL of ours (int) or, when none is concerned, a domain."""


@dataclass(frozen=True, slots=True)
class Lease:
    """Due recipients of one envelope and one domain with the same number of attempts, held by one
    worker until `until`. The wire content starts at octet `skip` of the stored message.

    `positions` are those of the recipients in the queue; `turn` is the number of the owner, whose
    turn it was (`Want.after`).
    """

    envelope: Envelope
    domain: Domain
    recipients: tuple[Recipient, ...]
    attempts: int
    warned: bool
    queued_at: datetime
    until: datetime
    skip: int
    size_octets: int
    owner: Owner
    positions: tuple[int, ...] = ()
    turn: int = 0


class Want(NamedTuple):
    """How much a relay takes of what waits for a domain: so many recipients, `express` more if they
    are urgent. Whose turn it is begins behind the owner `after`."""

    domain: Domain
    most: int
    express: int = 0
    after: int = 0


class QueuePlace(NamedTuple):
    """A row of the queue, in the order of arrival."""

    envelope: EnvelopeId
    position: int


QUEUE_BEGIN = QueuePlace(EnvelopeId(""), -1)


@dataclass(frozen=True, slots=True)
class QueueCounts:
    """The queue in numbers of recipients; `oldest`: since when the first of them waits."""

    waiting: int
    held: int
    leased: int
    late: int
    oldest: datetime | None


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits for one domain, or on behalf of one owner, in numbers of recipients.

    `due`: when the first may be tried, None when all are held. `younger_than` counts those that
    have waited for less than each of `waiting.AGES`.
    """

    of: Owner
    waiting: int
    held: int
    leased: int
    oldest: datetime
    due: datetime | None
    younger_than: tuple[int, ...]


Handed = Literal["begun", "taken"]
"""What a journal knows of a recipient: its letter was being sent; the peer has taken it."""


OutcomeResult = Literal["delivered", "failed", "retry", "expired"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one recipient. `retry` needs `next_attempt`; `warned`: delay DSN sent."""

    envelope: EnvelopeId
    recipient: Recipient
    result: OutcomeResult
    reply: str
    next_attempt: datetime | None = None
    warned: bool = False

    def __post_init__(self) -> None:
        if (self.result == "retry") != (self.next_attempt is not None):
            raise ValueError("next_attempt goes with retry, and only with it")


class Settled(NamedTuple):
    """An outcome with the trace of its hop, and until when its lease was held."""

    outcome: Outcome
    transfer: Transfer
    held_until: datetime


@dataclass(frozen=True, slots=True)
class QueueEntry:
    """One waiting recipient, for `queue list`.

    `damaged`: its row or envelope does not authenticate (D10). It is held, `recipient` keeps the
    true domain only, and `drop` is all that can be done.
    """

    envelope: EnvelopeId
    position: int
    sender: ReversePath
    recipient: Recipient
    queued_at: datetime
    next_attempt: datetime
    attempts: int
    held: bool
    leased_by: str | None
    last_reply: str | None
    size_octets: int
    skip: int
    owner: Owner
    damaged: bool = False
    warned: bool = False
    priority: int = 0
    hold_until: datetime | None = None
    deliver_by: DeliverBy | None = None
    require_tls: bool = False


# ---------------------------------------------------------------- check


@dataclass(frozen=True, slots=True)
class Verified:
    """One invariant as a check found it: `says` holds for `objects` of kind `of`, or for all but
    `problems` of them."""

    name: str
    of: str
    says: str
    objects: int
    problems: int


@dataclass(frozen=True, slots=True)
class CheckReport:
    """Result of `Store.check`: counts of what was looked at, every broken invariant by the ids
    concerned, and every invariant that was verified."""

    counted: Mapping[str, int]
    problems: tuple[str, ...] = field(default=())
    verified: tuple[Verified, ...] = field(default=())

    @property
    def is_sound(self) -> bool:
        """True when every invariant holds."""
        return not self.problems
