"""A working box in one step: BAL, account, application password (CL-31)."""

from __future__ import annotations

from dataclasses import dataclass

from mssmtp.errors import ConfigError
from mssmtp.identity.app_password import check_chosen, new_password, verifiers
from mssmtp.mail import AccountId, Address, Bal, BalType, PersonState
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
    """The box, and the only moment its application password is known."""

    bal: Bal
    password: str


def bind_password(store: Store, org: Bal, account: AccountId, device: str, entropy: Entropy) -> str:
    """A password with which a member opens the ORG box by its own address, and nothing else."""
    password = new_password(entropy)

    def beside(reading: Reading) -> list[str]:
        rows = reading.box_passwords(org.id)
        own = reading.account(str(org.address))
        return [row.argon2 for row in (*(reading.app_passwords(own.id) if own else ()), *rows)]

    hashes = store.read(beside).result()
    made = verifiers(password, entropy, beside=hashes)
    store.write(
        lambda writing: writing.add_app_password(account, device, made.argon2, made.scram, org.id)
    ).result()
    return password


def add_bal(store: Store, new: NewBal, entropy: Entropy, password: str | None = None) -> AddedBal:
    """Make the box with its mailboxes, its login (the address) and one application password.

    `password` is a chosen one; a good one is made when it is None. Raises ConfigError (weak
    password, unknown member) and the store's refusals (BalExists, NationalIdRequired).
    """
    if password is None:
        password = new_password(entropy)
    else:
        check_chosen(password)
    hashed = verifiers(password, entropy)

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
        writing.add_app_password(account.id, new.device, hashed.argon2, hashed.scram)
        for login in new.members:
            member = writing.account(login)
            if member is None:
                raise ConfigError("--member", f"{login} is no login here", "Add that box first.")
            writing.add_member(bal.id, member.id)
        return bal

    return AddedBal(store.write(job).result(), password)
