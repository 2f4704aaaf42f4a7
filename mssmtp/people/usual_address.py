"""Another usual address, by the procedure of SEED-50: asked for by a letter from the account to the
support box of its region, with a declaration, made by an operator, confirmed by mail.

The user cannot change it, and the MSSanté address never changes (SEED-49, OP-41).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from mssmtp.identity import national_id
from mssmtp.mail import Address, EnvelopeId, Person
from mssmtp.notices import Desk
from mssmtp.notices.kinds import Kind
from mssmtp.people import persons
from mssmtp.people.naming import folded
from mssmtp.people.refusing import NotAllowed
from mssmtp.people.rules import Rules
from mssmtp.storage import Reading, Writing
from mssmtp.storage.people_values import Record

CHANGE = "usual-address-change"


@dataclass(frozen=True, slots=True)
class Declaration:
    """What the request declares; all of it. `national_id` is an RPPS or ADELI."""

    last_name: str
    first_name: str
    current: Address
    new: Address
    national_id: str
    activity: str
    postal_address: str
    telephone: str


def change(
    writing: Writing, desk: Desk, rules: Rules, told: Declaration, letter: EnvelopeId
) -> Person:
    """Make the change that `letter` asks for. Raises NotAllowed, NoSuchPerson, PersonExists."""
    person = persons.of_address(writing, told.current)
    _require_complete(told)
    _require_same(person, told)
    _require_letter(writing, rules, person, letter)
    persons.require_ordinary(rules, told.new)
    box = writing.box_of(person.account)
    writing.set_usual_address(person.id, told.new)
    kept = {name: str(value) for name, value in asdict(told).items() if isinstance(value, str)}
    kept |= {"current": str(told.current), "new": str(told.new), "letter": letter}
    writing.add_record("person", person.id, Record(CHANGE, writing.now(), kept))
    values = {
        "box": str(told.current if box is None else box.address),
        "before": str(told.current),
        "after": str(told.new),
    }
    for to in (told.current, told.new):  # who did not ask is told where it can still be read
        desk.tell(writing, Kind.ADDRESS_CHANGED, to, values, language=person.language)
    return persons.present(writing, person)


def _require_complete(told: Declaration) -> None:
    lacking = [name for name, value in asdict(told).items() if not str(value).strip()]
    if lacking:
        raise NotAllowed(
            "déclaration", f"il manque {', '.join(lacking)}", "Redemandez-la à la personne."
        )


def _require_same(person: Person, told: Declaration) -> None:
    number = national_id.parse(told.national_id)
    names = (folded(told.last_name), folded(told.first_name))
    if names != (folded(person.last_name), folded(person.first_name)) or number != (
        person.national_id or number
    ):
        raise NotAllowed(
            str(told.current),
            "le nom ou le numéro déclaré n'est pas celui de ce compte",
            "Vérifiez l'identité avant toute chose.",
        )


def _require_letter(reading: Reading, rules: Rules, person: Person, letter: EnvelopeId) -> None:
    """It came from the box of this account and went to the support box of its region, by whichever
    address of it: a usual address was resolved to its box when the letter came (SEED-29)."""
    structure = None if person.structure is None else reading.structure(person.structure)
    support = rules.support.get("" if structure is None else structure.region)
    box = reading.box_of(person.account)
    if support is None or box is None:
        raise NotAllowed(
            "support", "cette région n'a pas de boîte de support", "Réglez people.support."
        )
    lines = {
        ("recipient" if kind == "rewritten" else kind, value.casefold())
        for event in reading.events(letter)
        if event.kind == "scellement"
        for _, kind, value in event.opened
    }
    named = reading.bal(support) or reading.bal_by_usual(support)
    reached = {support.key} if named is None else {support.key, named.address.key}
    is_asked = any(("recipient", key) in lines for key in reached)
    if not is_asked or ("sender", box.address.key) not in lines:
        raise NotAllowed(
            letter,
            f"n'est pas une lettre de {box.address} à {support} (SEED-50)",
            "Donnez le numéro de la lettre de demande.",
        )
