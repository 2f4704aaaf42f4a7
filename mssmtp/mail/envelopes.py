"""What SMTP says beside a message, and the operator who says it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple

from mssmtp.mail.addresses import Address, Domain, ReversePath
from mssmtp.mail.ids import EnvelopeId


class Rdn(NamedTuple):
    """One (type, value) of a normalised name, e.g. ("CN", "smtp1.example").

    A tuple, because names are hashed at every decision, and tuples do it without Python code.
    """

    type: str
    value: str


DnKey = tuple[Rdn, ...]
"""A distinguished name as the comparable sequence of OP-32, printed order (CN first)."""


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
