"""Persons: one account each, found by usual address (SEED-49), account or national identifier.

Names, addresses and identifiers are sealed under the master key, with the state and the structure:
the columns of these only find rows. The dates of the ladder are in clear.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from sqlalchemy import bindparam, func, insert, select, update

from mssmtp.errors import Damaged
from mssmtp.mail import (
    AccountId,
    Address,
    Bal,
    BalId,
    Category,
    Person,
    PersonId,
    PersonState,
    StructureId,
)
from mssmtp.storage.boxes import TOGETHER
from mssmtp.storage.model import BalExists, from_us, to_us
from mssmtp.storage.people import PeopleReading, PeopleWriting
from mssmtp.storage.people_values import (
    NOBODYS,
    NewPerson,
    NoSuchPerson,
    Pending,
    PersonDates,
    PersonDetails,
    PersonExists,
    PersonStep,
)
from mssmtp.storage.schema import accounts, bals, members, persons, sql
from mssmtp.storage.view import Row

USUAL, NATIONAL = b"usual", b"national"

_PERSON = select(persons.c.id, persons.c.sealed, persons.c.account)
_BY_ID = sql(_PERSON.where(persons.c.id == bindparam("id")))
_BY_ACCOUNT = sql(_PERSON.where(persons.c.account == bindparam("account")))
_BY_USUAL = sql(_PERSON.where(persons.c.usual_digest == bindparam("digest")))
_BY_NATIONAL = sql(_PERSON.where(persons.c.national_digest == bindparam("digest")))
_EVERY = sql(_PERSON.order_by(persons.c.id))
_EVERY_AFTER = sql(_PERSON.where(persons.c.id > bindparam("after")).order_by(persons.c.id))
_IDS = (
    select(persons.c.id)
    .where(persons.c.structure == bindparam("structure"))
    .where(persons.c.id > bindparam("after"))
    .order_by(persons.c.id)
    .limit(bindparam("most"))
)
# The ids are sorted alone: the index by structure and state has nothing else.
_OF_STRUCTURE = sql(_PERSON.where(persons.c.id.in_(_IDS)).order_by(persons.c.id))
_IN_STATE = sql(
    _PERSON.where(persons.c.id.in_(_IDS.where(persons.c.state == bindparam("state")))).order_by(
        persons.c.id
    )
)
_COUNT = sql(select(func.count()).where(persons.c.structure == bindparam("structure")))
_PENDING = sql(
    select(persons.c.id, persons.c.sealed, persons.c.account, persons.c.pending_since)
    .where(persons.c.pending_since.is_not(None))
    .order_by(persons.c.pending_since)
)
_DATES = sql(
    select(
        persons.c.created_at,
        persons.c.pending_since,
        persons.c.told_at,
        persons.c.finalised_at,
        persons.c.checked_at,
        persons.c.left_at,
    ).where(persons.c.id == bindparam("id"))
)
_TO_CHECK = sql(
    _PERSON.where(persons.c.state == bindparam("certified"))
    .where(persons.c.national_digest.is_not(None))
    .where(persons.c.left_at.is_(None))
    .where(func.coalesce(persons.c.checked_at, 0) <= bindparam("before"))
    .where(persons.c.id > bindparam("after"))
    .order_by(persons.c.id)
    .limit(bindparam("most"))
)
_OWN = sql(
    select(accounts.c.bal)
    .where(accounts.c.id == bindparam("account"))
    .where(accounts.c.bal.is_not(None))
)
_SHARED = sql(
    select(members.c.bal).where(members.c.account == bindparam("account")).order_by(members.c.bal)
)
_NEW = sql(
    insert(persons)
    .values(
        {
            name: bindparam(name)
            for name in (
                "account",
                "usual_digest",
                "national_digest",
                "state",
                "structure",
                "sealed",
                "created_at",
            )
        }
    )
    .returning(persons.c.id)
)
_SEAL = sql(
    update(persons)
    .where(persons.c.id == bindparam("person"))
    .values(
        {
            name: bindparam(f"new_{name}")
            for name in ("sealed", "state", "structure", "usual_digest", "national_digest")
        }
    )
)
_SEAL_NEW = sql(
    update(persons)
    .where(persons.c.id == bindparam("person"))
    .values(sealed=bindparam("new_sealed"))
)
_STEPS: dict[PersonStep, str] = {
    step: sql(
        update(persons).where(persons.c.id == bindparam("person")).values({step: bindparam("at")})
    )
    for step in ("pending_since", "told_at", "finalised_at", "checked_at", "left_at")
}
_SET_LADDER = sql(update(bals).where(bals.c.id == bindparam("bal")).values(person=bindparam("new")))


class PersonReading(PeopleReading):
    """Who has an account."""

    def person(self, usual: Address) -> Person | None:
        """Whose usual address this is. Raises Damaged."""
        row = self._sought(_BY_USUAL, USUAL, usual.key)
        found = self._opened_person(row)[0] if row else None
        if found is not None and found.usual_address.key != usual.key:
            raise Damaged("a person stands under another usual address")
        return found

    def person_by_id(self, person: PersonId) -> Person | None:
        """The person with this id."""
        row = self._one(_BY_ID, id=person)
        return self._opened_person(row)[0] if row else None

    def person_by_account(self, account: AccountId) -> Person | None:
        """Whose account it is; None: an account without a person."""
        row = self._one(_BY_ACCOUNT, account=account)
        return self._opened_person(row)[0] if row else None

    def person_by_national_id(self, national_id: str) -> Person | None:
        """Whose idNatPS this is (`8`+RPPS, `0`+ADELI)."""
        row = self._sought(_BY_NATIONAL, NATIONAL, national_id)
        found = self._opened_person(row)[0] if row else None
        if found is not None and found.national_id != national_id:
            raise Damaged("a person stands under another national identifier")
        return found

    def persons(self, structure: StructureId | None = None) -> tuple[Person, ...]:
        """All that can be read, or those of one structure, oldest first."""
        if structure is None:
            return self._opened_persons(self._all(_EVERY))
        return tuple(self.each_person_of(structure))

    def each_person(self, after: int = 0) -> Iterator[Person]:
        """Everybody behind the id `after` who can be read, one by one, oldest first."""
        for row in self._each(_EVERY_AFTER, after=after):
            yield from self._opened_persons([row])

    def each_person_of(
        self, structure: StructureId, after: int = 0, state: PersonState | None = None
    ) -> Iterator[Person]:
        """Those of one structure (in this state) behind the id `after` who can be read, one by one,
        oldest first. Between two of them something may be written."""
        values: dict[str, object] = {"structure": structure, "most": TOGETHER}
        if state is not None:
            values["state"] = state.value
        statement = _OF_STRUCTURE if state is None else _IN_STATE
        while rows := self._all(statement, after=after, **values):
            found = self._opened_persons(rows)
            yield from (each for each in found if each.structure == structure)
            after = rows[-1][0]

    def count_persons_of(self, structure: StructureId) -> int:
        """How many there are."""
        row = self._one(_COUNT, structure=structure)
        return 0 if row is None else int(row[0])

    def pending_persons(self) -> tuple[Pending, ...]:
        """Whose certification waits, the oldest request first (SEED-36)."""
        return tuple(
            Pending(self._opened_person(row[:3])[0], from_us(row[3])) for row in self._all(_PENDING)
        )

    def persons_to_check(self, before: datetime, after: PersonId, most: int) -> tuple[Person, ...]:
        """Certified, with a number, in activity, and not checked since `before` (OP-45)."""
        certified = PersonState.CERTIFIED.value
        rows = self._all(
            _TO_CHECK, certified=certified, before=to_us(before), after=after, most=most
        )
        return self._opened_persons(rows)

    def person_details(self, person: PersonId) -> PersonDetails:
        """What the profile adds. Raises NoSuchPerson."""
        row = self._one(_BY_ID, id=person)
        if row is None:
            raise NoSuchPerson
        return self._opened_person(row)[1]

    def person_dates(self, person: PersonId) -> PersonDates:
        """Steps on the ladder. Raises NoSuchPerson."""
        row = self._one(_DATES, id=person)
        if row is None:
            raise NoSuchPerson
        created, *steps = row
        return PersonDates(
            from_us(created), *(None if step is None else from_us(step) for step in steps)
        )

    def box_of(self, account: AccountId) -> Bal | None:
        """The account's own box, in any state."""
        row = self._one(_OWN, account=account)
        return self.bal_by_id(BalId(row[0])) if row else None

    def boxes_of(self, account: AccountId) -> tuple[Bal, ...]:
        """All boxes of the account's person, in any state: the own one first, then further PER
        boxes with the same identifier, which it opens as a member (DIR-11)."""
        own = self.box_of(account)
        if own is None:
            return ()
        rows = self._all(_SHARED, account=account) if own.national_id is not None else []
        found = (self.bal_by_id(BalId(row[0])) for row in rows)
        others = (box for box in found if box is not None and box.id != own.id)
        return (own, *(box for box in others if box.national_id == own.national_id))

    def _opened_persons(self, rows: list[Row]) -> tuple[Person, ...]:
        return tuple(
            self._opened_person(row)[0]
            for row in rows
            if self._legible(self._master_open, person_purpose(row[0], row[2]), row[1]) is not None
        )

    def _opened_person(self, row: Row) -> tuple[Person, PersonDetails]:
        id, sealed, account = row
        opened = json.loads(self._master_open(person_purpose(id, account), sealed))
        structure = opened["structure"]
        person = Person(
            PersonId(id),
            AccountId(account),
            PersonState(opened["state"]),
            Address.parse(opened["usual"]),
            opened["last_name"],
            opened["first_name"],
            opened["national_id"],
            opened["profession"],
            Category(opened["category"]),
            None if structure is None else StructureId(structure),
            opened["language"],
        )
        return person, PersonDetails(**opened["details"])


class PersonWriting(PersonReading, PeopleWriting):
    """Changes of them."""

    def create_person(self, new: NewPerson, own: BalId | None = None) -> Person:
        """The person, with an account, whose box is `own`; the login is the usual address.

        Without one, `give_box` gives it. Raises PersonExists.
        """
        if self.person(new.usual_address) is not None or self.is_retired(new.usual_address):
            raise PersonExists
        self._require_free_identifier(new.national_id, None)
        try:
            account = self.create_account(str(new.usual_address), own)
        except BalExists as error:
            raise PersonExists from error
        row = self._new(
            _NEW,
            account=account.id,
            usual_digest=self._master_digest(USUAL, new.usual_address.key),
            national_digest=self._national_digest(new.national_id),
            state=new.state.value,
            structure=new.structure,
            sealed=b"",
            created_at=to_us(self._vault.clock.now()),
        )
        made = Person(
            PersonId(row[0]),
            account.id,
            new.state,
            new.usual_address,
            new.last_name,
            new.first_name,
            new.national_id,
            new.profession,
            new.category,
            new.structure,
            new.language,
        )
        # Nothing else than at first: a bulk file makes fifty thousand (DEF-10), and each index
        # that is named is written again.
        self._run(_SEAL_NEW, person=made.id, new_sealed=self._sealed_person(made, new.details))
        return made

    def change_person(self, person: Person, details: PersonDetails | None = None) -> None:
        """Everything but id, account, usual address and state; `details` None: as before.

        Raises NoSuchPerson, PersonExists.
        """
        before, kept = self._present(person.id)
        self._require_free_identifier(person.national_id, person.id)
        fixed = replace(
            person,
            account=before.account,
            state=before.state,
            usual_address=before.usual_address,
        )
        self._seal_person(fixed, kept if details is None else details)

    def set_person_state(self, person: PersonId, state: PersonState) -> None:
        """A step on the ladder, copied onto the person's own boxes. Raises NoSuchPerson."""
        before, details = self._present(person)
        self._seal_person(replace(before, state=state), details)
        for box in self.boxes_of(before.account):
            self._set_ladder(box.id, state)

    def set_usual_address(self, person: PersonId, usual: Address) -> None:
        """Another key of the account and another login (SEED-50); the box's address stays.

        Raises NoSuchPerson, PersonExists.
        """
        before, details = self._present(person)
        holder = self.bal(usual) or self.bal_by_usual(usual)
        box = self.box_of(before.account)
        is_foreign = holder is not None and (box is None or holder.id != box.id)
        if self.person(usual) is not None or is_foreign or self.is_retired(usual):
            raise PersonExists
        self._seal_person(replace(before, usual_address=usual), details)
        if self._login(before.account) == before.usual_address.key:
            self._rename_account(before.account, str(usual))
        if box is not None:
            self._set_usual(box.id, usual)

    def move_home(self, person: PersonId, former: BalId, home: BalId) -> None:
        """`home`, which the account opens as a member, is its own in the place of `former`, which
        was closed; the usual address goes with it. Raises NoSuchPerson."""
        found, _ = self._present(person)
        self._set_usual(former, Address(f"boite-{former}", NOBODYS))
        self._set_usual(home, found.usual_address)
        self._seal_account(found.account, self.account_login(found.account) or "", home)

    def mark_person(self, person: PersonId, step: PersonStep, at: datetime | None) -> None:
        """When a step was reached; None: it is open again. Raises NoSuchPerson."""
        if not self._run(_STEPS[step], person=person, at=None if at is None else to_us(at)):
            raise NoSuchPerson

    def _present(self, person: PersonId) -> tuple[Person, PersonDetails]:
        row = self._one(_BY_ID, id=person)
        if row is None:
            raise NoSuchPerson
        return self._opened_person(row)

    def _require_free_identifier(self, national_id: str | None, own: PersonId | None) -> None:
        holder = None if national_id is None else self.person_by_national_id(national_id)
        if holder is not None and holder.id != own:
            raise PersonExists

    def _login(self, account: AccountId) -> str:
        return (self.account_login(account) or "").casefold()

    def _set_ladder(self, bal: BalId, state: PersonState) -> None:
        self._run(_SET_LADDER, bal=bal, new=state.value)
        self.effects.first.append(self._vault.lately.changed)
        self._box_changed(bal)

    def _seal_person(self, person: Person, details: PersonDetails) -> None:
        self._run(
            _SEAL,
            person=person.id,
            new_sealed=self._sealed_person(person, details),
            new_state=person.state.value,
            new_structure=person.structure,
            new_usual_digest=self._master_digest(USUAL, person.usual_address.key),
            new_national_digest=self._national_digest(person.national_id),
        )

    def _national_digest(self, national_id: str | None) -> bytes | None:
        return None if national_id is None else self._master_digest(NATIONAL, national_id)

    def _sealed_person(self, person: Person, details: PersonDetails) -> bytes:
        octets = json.dumps(
            {
                "usual": str(person.usual_address),
                "last_name": person.last_name,
                "first_name": person.first_name,
                "national_id": person.national_id,
                "profession": person.profession,
                "category": person.category.value,
                "structure": person.structure,
                "state": person.state.value,
                "language": person.language,
                "details": {
                    "civility": details.civility,
                    "phone": details.phone,
                    "service": details.service,
                    "skill": details.skill,
                },
            }
        ).encode()
        return self._master_seal(person_purpose(person.id, person.account), octets)


def person_purpose(person: int, account: int) -> bytes:
    """What the sealed part of a row of `persons` is bound to: whose account it is, too."""
    return b"person\0%d\0%d" % (person, account)
