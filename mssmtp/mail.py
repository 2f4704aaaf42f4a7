"""The nouns every room shares: Operator, Principal, Person, Structure, Actor, Bal, Envelope, Facts,
Verdict, Change."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Literal, NamedTuple, NewType

from mssmtp.errors import BadAddress, NonAsciiAddress, Reply

BalId = NewType("BalId", int)
AccountId = NewType("AccountId", int)
PersonId = NewType("PersonId", int)
StructureId = NewType("StructureId", int)
MailboxId = NewType("MailboxId", int)
Uid = NewType("Uid", int)
UidValidity = NewType("UidValidity", int)
ModSeq = NewType("ModSeq", int)
EnvelopeId = NewType("EnvelopeId", str)
"""Queue id and envelope id are one: 26 characters, time-ordered, unique in the store."""
BlobId = NewType("BlobId", bytes)
Domain = NewType("Domain", str)
"""Lower-case ASCII (A-label) without trailing dot; made by `domain()` only."""

MAX_LOCAL_OCTETS = 64
MAX_ADDRESS_OCTETS = 254

_LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\Z")
_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_DOT_ATOM = re.compile(rf"{_ATEXT}(\.{_ATEXT})*\Z")
_QUOTED = re.compile(r'"([\x20\x21\x23-\x5b\x5d-\x7e]|\\[\x20-\x7e])*"\Z')


@lru_cache(maxsize=4_096)
def domain(text: str) -> Domain:
    """The domain `text`, trimmed, case-folded (OP-30). Raises BadAddress, NonAsciiAddress.

    A trailing dot and an address literal are not accepted (WT-36): neither can be listed.
    """
    if not text.isascii():
        raise NonAsciiAddress
    folded = text.strip(" \t").lower()
    if len(folded) > 253 or not _HOST.match(folded):
        raise BadAddress
    return Domain(folded)


@dataclass(frozen=True, slots=True)
class Address:
    """A mail address; `local` is as given, `domain` is folded. Equality ignores the case of both.

    RFC 5321 4.1.2; local part of at most 64 octets, whole of at most 254 (RFC 3696 erratum 1690).
    """

    local: str = field(compare=False)
    domain: Domain
    _folded: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.local.isascii():
            raise NonAsciiAddress
        if not (_DOT_ATOM.match(self.local) or _QUOTED.match(self.local)):
            raise BadAddress
        if len(self.local) > MAX_LOCAL_OCTETS or len(str(self)) > MAX_ADDRESS_OCTETS:
            raise BadAddress
        if self.local in ('""', '"\\""'):  # ATT-12: an empty local part names nobody
            raise BadAddress
        object.__setattr__(self, "_folded", self.local.lower())

    @classmethod
    def parse(cls, text: str) -> Address:
        """`local@domain` without angle brackets. Raises BadAddress, NonAsciiAddress."""
        local, at, host = text.rpartition("@")
        if not at:
            raise BadAddress if text.isascii() else NonAsciiAddress
        return cls(local, domain(host))

    @property
    def key(self) -> str:
        """Case-folded form, for look-ups and digests."""
        return f"{self._folded}@{self.domain}"

    def __str__(self) -> str:
        return f"{self.local}@{self.domain}"


ReversePath = Address | None
"""`None` is `<>` (RFC 5321 4.5.5)."""


def masked(address: Address, patient_domains: frozenset[Domain]) -> str:
    """`address` for logs and screens: of a patient only the first 3 and last 2 (OP-87)."""
    if address.domain not in patient_domains:
        return str(address)
    return f"{_hidden(address.local)}@{address.domain}"


def _hidden(local: str) -> str:
    stars = max(len(local) - 5, 1)
    return f"{local[:3]}{'*' * stars}{local[-2:] if len(local) > 5 else ''}"


_IN_TEXT = re.compile(r"([^\s<>@\"'(),:;]{1,64})@([A-Za-z0-9.-]{1,253})")


def masked_text(text: str, patient_domains: frozenset[Domain]) -> str:
    """`text` (a peer's reply, say) with every patient's address in it masked (OP-87)."""

    def hide(match: re.Match[str]) -> str:
        local, host = match.groups()
        # What is no proper address, an accent in it say, may still be a patient's.
        if host.lower().rstrip(".") not in patient_domains:
            return match.group()
        return f"{_hidden(local)}@{host}"

    return _IN_TEXT.sub(hide, text)


# ---------------------------------------------------------------- mailboxes and people


class BalType(StrEnum):
    """Types of boîte aux lettres (SEED-18); CAB, of a practice, is behind a switch (OP-36)."""

    PER = "PER"
    ORG = "ORG"
    APP = "APP"
    MED = "MED"
    INT = "INT"
    CAB = "CAB"


class BalState(StrEnum):
    """OP-50."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    CLOSED = "closed"


class PersonState(StrEnum):
    """Ladder of a person (OP-50); a BAL without a person (ORG, APP) is `CERTIFIED`."""

    PRE_REGISTERED = "pre-registered"
    NOT_CERTIFIED = "not-certified"
    CERTIFIED = "certified"


class Category(StrEnum):
    """Professional categories (SEED-30): health professionals; chiropractors, osteopaths,
    psychologists and psychotherapists, who use a title; medico-social, social and others."""

    HEALTH_PROFESSIONAL = "health-professional"
    TITLE_USER = "title-user"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with an account: one person, one account, one login.

    `usual_address` is the ordinary e-mail address, the unique key of the account (SEED-49).
    `national_id` is `8`+RPPS or `0`+ADELI (OP-37); `profession` a code of TRE_G15, "" when none
    was given. `state` stays copied on the person's own boxes (`Bal.person`).
    """

    id: PersonId
    account: AccountId
    state: PersonState
    usual_address: Address
    last_name: str
    first_name: str
    national_id: str | None = None
    profession: str = ""
    category: Category = Category.OTHER
    structure: StructureId | None = None
    language: str = "fr"


Invites = Literal["portal", "all", "off"]
"""Who is invited when a letter comes for an address nobody has registered (DEF-09)."""


@dataclass(frozen=True, slots=True)
class Structure:
    """A client of the operator: hospital, practice, home (SEED-26, SEED-41).

    It has a FINESS (9 digits) or a SIRET (14) or SIREN (9) in `siret`. `domain` is the one MSSanté
    domain of all its users (SEED-03), its own or a generic one. `invites`: who is invited when a
    usual address is unknown (DEF-09). `has_app_passwords` false: its people may have none.
    """

    id: StructureId
    name: str
    finess: str | None = None
    siret: str | None = None
    region: str = ""
    domain: Domain | None = None
    is_health_establishment: bool = False
    is_closed: bool = False
    invites: Invites = "portal"
    has_app_passwords: bool = True

    def __post_init__(self) -> None:
        if not (self.finess or self.siret):
            raise ValueError("a structure has a FINESS, a SIRET or a SIREN (SEED-26)")


class AdminLevel(StrEnum):
    """Three levels of administration (MED-16), the widest first."""

    OPERATOR = "operator"
    REGION = "region"
    STRUCTURE = "structure"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts administratively. `region` and `structure` are the scope of those two levels;
    `account` is the actor's own, when there is one; `name` is what traces say."""

    level: AdminLevel
    name: str
    region: str | None = None
    structure: StructureId | None = None
    account: AccountId | None = None

    def __post_init__(self) -> None:
        scope = (self.region is not None, self.structure is not None)
        if scope != (self.level is AdminLevel.REGION, self.level is AdminLevel.STRUCTURE):
            raise ValueError(f"no scope of an administrator of level {self.level}: {scope}")

    @property
    def scope(self) -> str:
        """Region or number of the structure, for traces and tables; "" of the operator."""
        return self.region or ("" if self.structure is None else str(self.structure))


class Role(StrEnum):
    """What a person is in an ORG box; `rights` are the letters of RFC 4314 2.1.

    `lecteur` reads, and says that it was read. `secretaire` treats the mail: flags, files, throws
    away, answers in the name of the box. `responsable` also removes folders and gives rights.
    """

    LECTEUR = "lecteur"
    SECRETAIRE = "secretaire"
    RESPONSABLE = "responsable"

    @property
    def rights(self) -> str:
        """In the order of `ALL_RIGHTS`."""
        return _RIGHTS[self]


class DelegateRight(StrEnum):
    """What a delegate may do in the box of somebody else, weakest first (DEF-12).

    `read`, and say that it was read; `reply`: also file, mark, and answer on behalf of the holder
    who has written to the box; `send`: write on behalf of the holder to anybody the box may write
    to.
    """

    READ = "read"
    REPLY = "reply"
    SEND = "send"

    @property
    def rights(self) -> str:
        """Letters of RFC 4314, in the order of `ALL_RIGHTS`. Nothing is thrown away for others."""
        return "lrs" if self is DelegateRight.READ else "lrswip"

    @property
    def strength(self) -> int:
        """Of two rights in one box the stronger counts."""
        return (DelegateRight.READ, DelegateRight.REPLY, DelegateRight.SEND).index(self)


ALL_RIGHTS = "lrswipkxtea"
_RIGHTS = {
    Role.LECTEUR: "lrs",
    Role.SECRETAIRE: "lrswipkte",
    Role.RESPONSABLE: ALL_RIGHTS,
}


@dataclass(frozen=True, slots=True)
class Bal:
    """One MSSanté mailbox. `national_id` is `8`+RPPS or `0`+ADELI (OP-37); `keeps_sent`: what is
    submitted from it is filed in Sent (CL-80); `is_red_listed`: it is not published (OP-54);
    `reacts`: a script or an automatic reply is to be asked at delivery; `exchanges` false: its
    MSSanté access is not activated yet (SEED-27)."""

    id: BalId
    address: Address
    type: BalType
    state: BalState = BalState.ACTIVE
    person: PersonState = PersonState.CERTIFIED
    national_id: str | None = None
    usual_address: Address | None = None
    keeps_sent: bool = True
    structure: StructureId | None = None
    is_red_listed: bool = False
    reacts: bool = False
    exchanges: bool = True


@dataclass(frozen=True, slots=True)
class System:
    """A certificate that opens APP boxes (CL-15): its SHA-256 in hex, and its normalised name."""

    fingerprint: str
    name: str


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is logged in: an account and the BALs it may act in (own first, then memberships).

    `app_password` is the row of the application password used, so that revoking one device ends
    its sessions (CL-31, ATT-18). `roles`: what the account is in the boxes that are not its own: a
    member of an ORG box, or the delegate of its holder. `box`: the one box that the password opens,
    when it was made for one alone. `subject`: the national identifier of the token that was shown
    in place of a password; `system`: the certificate that was. `scope`: the one service that the
    password is for, `imap` or `smtp`; "" both.
    `own` is the address of its own box, whether this login acts in it or not: whom Sender names.
    `handed`: boxes of which only a part was handed over, and by which delegation (DEF-23).
    """

    account: AccountId
    login: str
    bals: tuple[Bal, ...]
    app_password: int | None = None
    roles: Mapping[BalId, Role | DelegateRight] = field(default_factory=dict)
    box: BalId | None = None
    subject: str | None = None
    system: System | None = None
    scope: str = ""
    own: Address | None = None
    handed: Mapping[BalId, int] = field(default_factory=dict)

    @property
    def first(self) -> BalId | None:
        """The box whose mailboxes bear names without a prefix in IMAP: one's own; the first one
        shared with who has none. None for who may act in no box."""
        return self.bals[0].id if self.bals else None

    def rights_in(self, bal: BalId) -> str:
        """Letters of RFC 4314, as far as no mailbox of the box says otherwise.

        Nothing is filed where only a part is seen: a copy of an old letter would not be in it.
        """
        if all(each.id != bal for each in self.bals):
            return ""
        role = self.roles.get(bal)
        rights = ALL_RIGHTS if role is None else role.rights
        return rights.replace("i", "") if bal in self.handed else rights

    def owns(self, bal: BalId) -> bool:
        """It is the account's own box: nobody else gives or takes rights there. False for what has
        been shared since this principal was read."""
        return bal not in self.roles and any(each.id == bal for each in self.bals)

    def lent(self, bal: BalId) -> DelegateRight | None:
        """As whose delegate it may act in the box; None: it is no delegate there."""
        right = self.roles.get(bal)
        return right if isinstance(right, DelegateRight) else None

    def acting_in(self, address: Address) -> Bal | None:
        """The BAL of `address` if this principal may send as it, else None (OP-86)."""
        return next((bal for bal in self.bals if bal.address == address), None)


# ---------------------------------------------------------------- operators


class Rdn(NamedTuple):
    """One (type, value) of a normalised name, e.g. ("CN", "smtp1.example").

    A tuple, because names are hashed at every decision, and tuples do it without Python code.
    """

    type: str
    value: str


DnKey = tuple[Rdn, ...]
"""A distinguished name as the comparable sequence of whitelist.md §5, printed order (CN first)."""


@dataclass(frozen=True, slots=True)
class Operator:
    """A peer whose certificate was accepted, with what is traced about it (OP-74)."""

    dn: DnKey
    dn_text: str
    serial: str
    issuer_text: str
    domains: frozenset[Domain]
    list_date: datetime
    crl_number: int | None


# ---------------------------------------------------------------- envelopes


@dataclass(frozen=True, slots=True)
class Recipient:
    """A forward-path. `typed` is the address as the client gave it when a rule rewrote it (APX-04).

    `notify` (a set of SUCCESS, FAILURE, DELAY; empty = NEVER; None = not given) and `orcpt` are
    the wishes of RFC 3461.
    """

    address: Address
    typed: Address | None = None
    notify: frozenset[str] | None = None
    orcpt: str | None = None


@dataclass(frozen=True, slots=True)
class DeliverBy:
    """RFC 2852: what is to happen when `deadline` has passed and the message is not delivered.

    "R": it is returned; "N": the sender is told of the delay. `trace`: a hop that does not know the
    extension is told to the sender too.
    """

    deadline: datetime
    mode: Literal["R", "N"]
    trace: bool = False


@dataclass(frozen=True, slots=True)
class Envelope:
    """What SMTP says beside the message (RFC 5321 2.3.1). Never a cryptographic term here.

    `envid` and `ret` are RFC 3461's, as the client wrote them; `require_tls` is RFC 8689's: every
    hop promises TLS, or the message comes back. `priority` (RFC 6710) is between -9 and 9; nothing
    leaves before `hold_until` (RFC 4865).
    """

    id: EnvelopeId
    sender: ReversePath
    recipients: tuple[Recipient, ...]
    received_at: datetime
    envid: str | None = None
    ret: str | None = None
    require_tls: bool = False
    priority: int = 0
    hold_until: datetime | None = None
    deliver_by: DeliverBy | None = None

    def __post_init__(self) -> None:
        if not -9 <= self.priority <= 9:
            raise ValueError(f"no priority of RFC 6710: {self.priority}")


# ---------------------------------------------------------------- decisions


class Stage(StrEnum):
    """When the policy is asked. A rule that is knowable at RECIPIENT is decided there."""

    SENDER = "sender"
    RECIPIENT = "recipient"
    CONTENT = "content"
    RELAY = "relay"


class Door(StrEnum):
    """Where the envelope came in."""

    OPERATOR = "operator"
    SUBMISSION = "submission"
    GATEWAY = "gateway"
    INTERNAL = "internal"


class Trait(StrEnum):
    """What an attachment is beyond its type: reported, never a reason to refuse."""

    XDM = "xdm"
    """The archive of a patient's documents (messages.md §7)."""
    TNEF = "tnef"
    """Outlook's own envelope, which other clients cannot open."""
    ENCRYPTED = "encrypted"
    """An archive with a password: no scanner sees what is inside."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A leaf of messages.md §2: `name` as clients would show it, `size_octets` decoded."""

    name: str
    media_type: str
    size_octets: int
    traits: tuple[Trait, ...] = ()


@dataclass(frozen=True, slots=True)
class RecipientFacts:
    """What was looked up about one recipient before the policy was asked.

    `usual_of` is the BAL whose holder registered this address as usual address (SEED-29).
    `has_written` is True when this recipient has written to the acting BAL before (SEED-37).
    `target` is what was looked up about `Engine.target(address)`, when that gives an address
    (APX-03). `typed` is the address the client gave, when `address` is already the rewritten one.
    `is_full`: the box has no room for what was announced. `is_invited`: nobody has registered the
    address, and the structure of the box acted in lets people be invited (DEF-09).
    """

    address: Address
    is_local_domain: bool
    is_listed: bool
    bal: Bal | None = None
    usual_of: Bal | None = None
    has_written: bool = False
    target: RecipientFacts | None = None
    typed: Address | None = None
    is_full: bool = False
    is_invited: bool = False


DomainState = Literal["requested", "listed", "withdrawn"]
"""Of a domain served here: read from the list, never typed in (DEF-01)."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything a decision may depend on, frozen (design.md §4).

    At SENDER `recipients` is empty; at RECIPIENT and RELAY it holds the one asked about; at
    CONTENT it holds all that were accepted. Sizes are octets; `attachments` is known at CONTENT.
    `sender_addresses` are those of the Sender and Resent fields, bound like From;
    `shown_domains` the listed domains a reader sees in From and Sender (ATT-42). `own_unlisted`
    are the domains served here that the list does not give to a certificate of ours (DEF-01).
    `malware`: what the scanner found, by its name; "" when it found nothing or there is none.
    `wait_s`: until the box acted in may write to one more recipient; 0: now.
    """

    stage: Stage
    door: Door
    now: datetime
    sender: ReversePath
    operator: Operator | None = None
    principal: Principal | None = None
    acting: Bal | None = None
    sender_is_local: bool = False
    recipients: tuple[RecipientFacts, ...] = ()
    from_addresses: tuple[Address, ...] = ()
    sender_addresses: tuple[Address, ...] = ()
    shown_domains: frozenset[Domain] = frozenset()
    size_octets: int = 0
    attachments: tuple[Attachment, ...] = ()
    list_date: datetime | None = None
    own_unlisted: tuple[tuple[Domain, DomainState], ...] = ()
    malware: str = ""
    wait_s: int = 0


class Action(StrEnum):
    """Outcome of a rule; reject beats defer beats accept."""

    ACCEPT = "accept"
    REJECT = "reject"
    DEFER = "defer"
    REWRITE = "rewrite"
    BOUNCE = "bounce"
    """CONTENT only: deliver to the others, send the named recipients a DSN (DEF-18)."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One decision: which rule, what it answers, and the facts that decided, for `explain`."""

    action: Action
    rule: str
    reply: Reply | None = None
    because: str = ""
    rewritten: Address | None = None
    bounced: tuple[Address, ...] = ()

    def __post_init__(self) -> None:
        needs_reply = self.action in (Action.REJECT, Action.DEFER, Action.BOUNCE)
        if needs_reply and self.reply is None:
            raise ValueError(f"{self.rule}: {self.action} needs a reply")
        if self.action is Action.DEFER and not (self.reply and self.reply.is_temporary):
            raise ValueError(f"{self.rule}: a deferral needs a 4yz reply")
        if self.action is Action.REWRITE and self.rewritten is None:
            raise ValueError(f"{self.rule}: a rewrite needs an address")


# ---------------------------------------------------------------- changes


class ChangeKind(StrEnum):
    """What happened in a mailbox; sessions read the details from the store by modseq."""

    MAIL = "mail"
    FLAGS = "flags"
    EXPUNGE = "expunge"
    MAILBOX = "mailbox"


@dataclass(frozen=True, slots=True)
class Change:
    """A committed change, broadcast to every worker after the sync.

    MAILBOX: names, subscriptions, annotations or rights; `mailbox` 0 when it is of the whole box.
    """

    kind: ChangeKind
    bal: BalId
    mailbox: MailboxId
    modseq: ModSeq
