"""Objects as an input names them, and whose they are."""

from __future__ import annotations

from dataclasses import replace

from pydantic import Field

from mssmtp.admin.authority import OPERATOR_ONLY, Place, demand_reach, unknown, within
from mssmtp.admin.operation import Input
from mssmtp.errors import BadAddress, ConfigError
from mssmtp.mail import AccountId, Actor, Address, Bal, Domain, Structure, StructureId, domain
from mssmtp.storage import Reading

MOST_NAME = 320
"""Characters of a name that is looked up."""


class Box(Input):
    """A box by its address."""

    address: str = Field(max_length=MOST_NAME)


class Nothing(Input):
    """No input."""


def address_of(text: str) -> Address:
    """Raises ConfigError."""
    try:
        return Address.parse(text)
    except BadAddress as error:
        raise ConfigError(f"« {text} »", error.reply.text, "Écrivez nom@domaine.") from error


def domain_of(text: str) -> Domain:
    """Raises ConfigError."""
    try:
        return domain(text)
    except BadAddress as error:
        raise ConfigError(
            f"« {text} »", error.reply.text, "Écrivez ch-x.mssante.example."
        ) from error


def box(reading: Reading, text: str) -> Bal:
    """The box of an address. Raises Unknown, ConfigError."""
    found = reading.bal(address_of(text))
    if found is None:
        raise unknown(text)
    return found


def structure_of(reading: Reading, id: StructureId | None) -> Structure | None:
    """Of a box or person."""
    return None if id is None else reading.structure(id)


def place_of_account(reading: Reading, what: str, account: AccountId) -> Place:
    """Whose a login is: of the structure of its person, or of its own box."""
    person = reading.person_by_account(account)
    box = reading.box_of(account)
    structure = person.structure if person is not None else box.structure if box else None
    return within(
        what, structure_of(reading, structure), bal=box.id if box else None, account=account
    )


def demand_login(reading: Reading, actor: Actor, login: str) -> None:
    """Whoever has the login is within reach: nobody lets people of another structure in. A login
    of nobody is for whoever looks it up to refuse. Raises Unknown."""
    account = reading.account(login)
    if account is not None:
        demand_reach(actor, place_of_account(reading, login, account.id))


def demand_not_stopped(reading: Reading, what: str, account: AccountId) -> None:
    """What the operator has stopped (OP-79), nobody else starts again. Raises ConfigError."""
    if reading.is_suspended("account", str(account)):
        raise ConfigError(
            what,
            "est suspendu par l'opérateur",
            "Lui seul le rétablit : `mssmtp suspend account … --end`.",
        )


def structure(reading: Reading, number: str) -> Structure:
    """By FINESS or SIRET. Raises Unknown."""
    found = reading.structure_by_number("".join(number.split()))
    if found is None:
        raise unknown(number)
    return found


def place_of(reading: Reading, bal: Bal) -> Place:
    """Whose a box is."""
    return within(str(bal.address), structure_of(reading, bal.structure), bal=bal.id)


def of_box(reading: Reading, actor: Actor, named: Box) -> Place:
    """The structure a box belongs to; `what` is spelled as the actor did."""
    bal = box(reading, named.address)
    holder = reading.account_of(bal.id)
    account = None if holder is None else holder.id
    return replace(place_of(reading, bal), what=named.address, account=account)


def own(reading: Reading, actor: Actor, named: Input) -> None:
    """No one object: what `run` shows is what the actor reaches."""


def nobody(reading: Reading, actor: Actor, named: Input) -> Place:
    """What is the operator's alone."""
    return OPERATOR_ONLY
