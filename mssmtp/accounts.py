"""A working box in one step: BAL, account, application password (CL-31)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mssmtp.errors import ConfigError
from mssmtp.identity.app_password import check_chosen, new_password, verifiers
from mssmtp.mail import Address, Bal, BalType, PersonState
from mssmtp.outside import Entropy
from mssmtp.storage import Reading, Store, Writing

FIRST_DEVICE = "premier appareil"


@dataclass(frozen=True, slots=True)
class NewBal:
    """A box to be made. `members` are logins that may act in an ORG box beside its own."""

    address: Address
    type: BalType
    person: PersonState = PersonState.CERTIFIED
    national_id: str | None = None
    usual_address: Address | None = None
    members: tuple[str, ...] = ()
    device: str = FIRST_DEVICE


@dataclass(frozen=True, slots=True)
class AddedBal:
    """The box, and the only moment its application password is known; "" of an ORG box, which its
    members open with their own (SEED-22)."""

    bal: Bal
    password: str


@dataclass(frozen=True, slots=True)
class Prepared:
    """What makes the box, in whichever transaction; the slow hash is done. "" of an ORG box."""

    password: str
    job: Callable[[Writing], Bal]


def hashes_beside(reading: Reading, org: Bal) -> list[str]:
    """Hashes that a login by the ORG box's address is compared with."""
    rows = reading.box_passwords(org.id)
    own = reading.account(str(org.address))
    return [row.argon2 for row in (*(reading.app_passwords(own.id) if own else ()), *rows)]


def add_bal(store: Store, new: NewBal, entropy: Entropy, password: str | None = None) -> AddedBal:
    """Make the box with its mailboxes, its login (the address) and one application password.

    `password` is a chosen one; a good one is made when it is None. Raises ConfigError (weak
    password, unknown member) and the store's refusals (BalExists, NationalIdRequired).
    """
    made = prepared(new, entropy, password)
    return AddedBal(store.write(made.job).result(), made.password)


def prepared(new: NewBal, entropy: Entropy, password: str | None = None) -> Prepared:
    """`add_bal` in two steps. Raises ConfigError for a weak password."""
    is_shared = new.type is BalType.ORG
    if is_shared:
        password = ""
    elif password is None:
        password = new_password(entropy)
    else:
        check_chosen(password)
    hashed = None if is_shared else verifiers(password, entropy)

    def job(writing: Writing) -> Bal:
        bal = writing.create_bal(
            new.address,
            new.type,
            person=new.person,
            national_id=new.national_id,
            usual_address=new.usual_address,
            login=str(new.address),
        )
        account = writing.account(str(new.address))
        if account is None:
            raise LookupError("the account just made is not there")
        if hashed is not None:
            writing.add_app_password(account.id, new.device, hashed.argon2, hashed.scram)
        for login in new.members:
            member = writing.account(login)
            if member is None:
                raise ConfigError(
                    "--member",
                    f"{login} n'est le login de personne ici",
                    "Créez d'abord cette boîte.",
                )
            writing.add_member(bal.id, member.id)
        return bal

    return Prepared(password, job)
