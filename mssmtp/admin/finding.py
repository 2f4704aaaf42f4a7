"""Objects as an input names them, and whose they are."""

from __future__ import annotations

from dataclasses import replace

from pydantic import Field

from mssmtp.admin.authority import OPERATOR_ONLY, Place, demand_reach, unknown, within
from mssmtp.admin.operation import Input
from mssmtp.errors import BadAddress, ConfigError
from mssmtp.mail import (
    AccountId,
    Actor,
    Address,
    AdminLevel,
    Bal,
    BalType,
    Domain,
    PersonState,
    Role,
    Structure,
    StructureId,
    domain,
)
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
    box, of = reading.box_of(account), structure_of(reading, _employer(reading, account))
    place = within(what, of, bal=box.id if box else None, account=account)
    return replace(place, holders=frozenset({account}))


def _employer(reading: Reading, account: AccountId) -> StructureId | None:
    person, box = reading.person_by_account(account), reading.box_of(account)
    return person.structure if person is not None else box.structure if box else None


def demand_login(reading: Reading, actor: Actor, login: str) -> None:
    """Whoever has the login is within reach: nobody lets people of another structure in. A login
    of nobody is for whoever looks it up to refuse; a holder reaches colleagues alone, and learns
    of nobody else whether there is one. Raises Unknown."""
    account = reading.account(login)
    if actor.level is AdminLevel.HOLDER:
        if account is None or not _are_colleagues(reading, actor, account.id):
            raise unknown(login)
    elif account is not None:
        demand_reach(actor, place_of_account(reading, login, account.id))


def _are_colleagues(reading: Reading, actor: Actor, other: AccountId) -> bool:
    """Of one structure; who works alone, of the same domain and certified as the other is: whoever
    has a mail address may register, and learns of nobody who has an account, nor lends to them a
    box that nobody vouches for (ATT-21, SEED-37)."""
    if actor.account is None:
        return False
    of = _employer(reading, actor.account)
    if of is not None or _employer(reading, other) is not None:
        return of == _employer(reading, other)
    own, theirs = reading.box_of(actor.account), reading.box_of(other)
    if own is None or theirs is None or own.address.domain != theirs.address.domain:
        return False
    return own.person is theirs.person is PersonState.CERTIFIED


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
    found = replace(place_of(reading, bal), what=named.address, account=account)
    return replace(found, holders=holders(reading, bal, account))


def holders(reading: Reading, bal: Bal, account: AccountId | None) -> frozenset[AccountId]:
    """Whose a box is: of `account`, its own; an ORG box is of the members who are responsible for
    it (SEED-22). A box of software is nobody's."""
    if bal.type is BalType.ORG:
        members = reading.members(bal.id)
        return frozenset(who for who, role in members if role is Role.RESPONSABLE)
    return frozenset() if account is None or bal.type is BalType.APP else frozenset({account})


def own(reading: Reading, actor: Actor, named: Input) -> None:
    """No one object: what `run` shows is what the actor reaches."""


def nobody(reading: Reading, actor: Actor, named: Input) -> Place:
    """What is the operator's alone."""
    return OPERATOR_ONLY
