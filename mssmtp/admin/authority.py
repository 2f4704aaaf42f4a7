"""Who may do what to whose object: level of the operation, scope of the object (MED-16, SEED-38).

The level is asked first, then whether the object is within reach. What is out of reach is
answered as what does not exist, in the same words: nobody learns that it is there (ATT-24).
"""

from __future__ import annotations

from dataclasses import dataclass

from mssmtp.errors import ConfigError, MailError
from mssmtp.mail import AccountId, Actor, AdminLevel, BalId, Structure, StructureId
from mssmtp.portal import may_log_in
from mssmtp.storage import Reading

_RANK = {
    AdminLevel.HOLDER: 0,
    AdminLevel.STRUCTURE: 1,
    AdminLevel.REGION: 2,
    AdminLevel.OPERATOR: 3,
}


class Denied(ConfigError):
    """The operation needs a higher level of administration, or nobody known is asking."""


class Unknown(ConfigError):
    """There is no such object within the actor's reach."""


class Conflict(ConfigError):
    """It cannot be done as things are; `is_temporary`: now, rather than never."""

    def __init__(self, what: str, error: MailError) -> None:
        super().__init__(what, error.reply.text, "Les commandes `show` affichent ce qui est là.")
        self.is_temporary = error.reply.is_temporary


@dataclass(frozen=True, slots=True)
class Place:
    """Whose an object is: of a structure, in a region; of the operator alone when it has neither.

    `what` is the object as the actor named it; `bal` and `account` are it, for the trace. `holders`
    are the accounts that it belongs to: a person's own, those who are responsible for an ORG box.
    """

    what: str = ""
    structure: StructureId | None = None
    region: str = ""
    bal: BalId | None = None
    account: AccountId | None = None
    holders: frozenset[AccountId] = frozenset()


OPERATOR_ONLY = Place("administration")
"""Of what is the operator's alone."""


def within(
    what: str,
    structure: Structure | None,
    *,
    bal: BalId | None = None,
    account: AccountId | None = None,
) -> Place:
    """The place of what belongs to `structure`."""
    if structure is None:
        return Place(what, bal=bal, account=account)
    return Place(what, structure.id, structure.region, bal, account)


def has_level(actor: Actor, least: AdminLevel) -> bool:
    """Whether the actor's level is `least` or wider."""
    return _RANK[actor.level] >= _RANK[least]


def reaches(actor: Actor, place: Place) -> bool:
    """Whether an object at `place` is within the actor's scope."""
    if actor.level is AdminLevel.OPERATOR:
        return True
    if actor.level is AdminLevel.REGION:
        return place.region != "" and place.region == actor.region
    if actor.level is AdminLevel.HOLDER:
        return actor.account in place.holders
    return place.structure is not None and place.structure == actor.structure


def demand_level(actor: Actor, least: AdminLevel, operation: str) -> None:
    """Raises Denied."""
    if not has_level(actor, least):
        raise Denied(
            operation,
            "cette action n'est pas de votre niveau d'administration"
            f" ({NAMES[actor.level]} ; il faut : {NAMES[least]})",
            "Demandez-la à votre opérateur.",
        )


def demand_in_office(reading: Reading, actor: Actor) -> None:
    """A holder may log in at this moment: asked with the work, in one transaction, so that who was
    suspended between two pages does nothing more (ATT-18, ATT-25). Raises Denied.

    Administrators are looked up by the door at each call (`callers`).
    """
    if actor.level is not AdminLevel.HOLDER or actor.account is None:
        return
    if not may_log_in(reading, actor.account):
        raise Denied(
            "compte",
            "n'est plus actif ici",
            "Appelez l'administrateur de votre structure.",
        )


def demand_reach(actor: Actor, place: Place) -> None:
    """Raises Unknown."""
    if not reaches(actor, place):
        raise unknown(place.what)


def unknown(what: str) -> Unknown:
    """`what`, as the actor named it, is nothing that it can reach."""
    return Unknown(
        what,
        "n'existe pas ici, ou n'est pas dans votre périmètre",
        "Les commandes `list` affichent ce que vous administrez.",
    )


NAMES = {
    AdminLevel.OPERATOR: "opérateur",
    AdminLevel.REGION: "région",
    AdminLevel.STRUCTURE: "structure",
    AdminLevel.HOLDER: "titulaire",
}
"""As a person reads them."""
