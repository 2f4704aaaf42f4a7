"""MSSanté boxes, and who may do what in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from mssmtp.mail.addresses import Address
from mssmtp.mail.ids import AccountId, BalId, StructureId
from mssmtp.mail.people import PersonState


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
    `handed`: boxes of which only a part was handed over, and by which delegation (DEF-23). `seen`:
    boxes of which somebody else lends the whole, and with which right: what a handover gives beside
    that is of its part, and of writing.
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
    seen: Mapping[BalId, DelegateRight] = field(default_factory=dict)

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
        role = self.seen.get(bal) or self.roles.get(bal)
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
