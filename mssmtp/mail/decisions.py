"""What a decision may depend on, and what it is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal

from mssmtp.errors import Reply
from mssmtp.mail.addresses import Address, Domain, ReversePath
from mssmtp.mail.boxes import Bal, Principal
from mssmtp.mail.envelopes import Operator


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
    """Everything a decision may depend on, frozen.

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
