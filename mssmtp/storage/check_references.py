"""Invariants between the tables of people, boxes and services: whoever a row names is there."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import Column, ColumnElement, bindparam, func, select, true

from mssmtp.storage.check import PAGE, Claim, Look, Part
from mssmtp.storage.rotating import shown
from mssmtp.storage.schema import (
    accounts,
    acl,
    answered,
    app_passwords,
    bals,
    bindings,
    correspondents,
    delegations,
    domains,
    entries,
    envelopes,
    invited,
    keywords,
    mailboxes,
    members,
    notices,
    owners,
    passwords,
    persons,
    preferences,
    readings,
    scripts,
    secrets,
    sent,
    sql,
    structures,
    subscriptions,
)
from mssmtp.storage.views import Reading


class Reference(NamedTuple):
    """`column` names the row of `target` with that id, in rows where `when`; null names none.

    `subject`: in rows whose column of that name says so.
    """

    column: Column[Any]
    target: Column[Any]
    when: ColumnElement[bool] = true()
    subject: str = ""

    @property
    def name(self) -> str:
        """For reports and tests."""
        return f"{self.column.table.name}.{self.column.name}"


_SUBJECT = preferences.c.subject == bindparam("subject")
REFERENCES = (
    *(
        Reference(column, accounts.c.id)
        for column in (
            members.c.account,
            app_passwords.c.account,
            persons.c.account,
            passwords.c.account,
            bindings.c.account,
            delegations.c.account,
        )
    ),
    Reference(secrets.c.subject, accounts.c.id, secrets.c.subject != 0),
    Reference(preferences.c.id, accounts.c.id, _SUBJECT, "account"),
    Reference(preferences.c.id, bals.c.id, _SUBJECT, "bal"),
    *(
        Reference(column, bals.c.id)
        for column in (
            accounts.c.bal,
            members.c.bal,
            app_passwords.c.bal,
            bindings.c.bal,
            delegations.c.bal,
            scripts.c.bal,
            answered.c.bal,
            correspondents.c.bal,
            subscriptions.c.bal,
            entries.c.bal,
            readings.c.bal,
            notices.c.bal,
        )
    ),
    *(
        Reference(column, structures.c.id)
        for column in (persons.c.structure, bals.c.structure, domains.c.structure)
    ),
    Reference(acl.c.mailbox, mailboxes.c.id),
    Reference(keywords.c.mailbox, mailboxes.c.id),
    Reference(entries.c.mailbox, mailboxes.c.id, entries.c.mailbox != 0),
    Reference(sent.c.owner, owners.c.id),
    Reference(invited.c.owner, owners.c.id),
    Reference(invited.c.envelope, envelopes.c.id),
)
"""Not here: what may outlive whom it names (traces, the evidence of letters, offices; places of
sent letters, until the night)."""


def _lost(one: Reference) -> str:
    is_there = select(one.target).where(one.target == one.column).exists()
    return sql(
        select(*one.column.table.primary_key.columns)
        .where(one.when, one.column.is_not(None), ~is_there)
        .limit(bindparam("most"))
    )


_LOST = tuple(_lost(one) for one in REFERENCES)
_NAMING = tuple(
    sql(select(func.count()).select_from(one.column.table).where(one.when, one.column.is_not(None)))
    for one in REFERENCES
)


class References(Part[int]):
    """Each kind of reference in turn; as many rows as there are people, not letters."""

    name = "references"
    first = 0
    claims = (Claim("named", "references", "whoever is named is there"),)

    def look(self, view: Reading, after: int) -> Look[int]:
        """All of the kind `after`."""
        one = REFERENCES[after]
        look: Look[int] = Look(after + 1 if after + 1 < len(REFERENCES) else None)
        whose = {"subject": one.subject} if one.subject else {}
        look.looked["references"] = int(view._all(_NAMING[after], **whose)[0][0])
        for place in view._all(_LOST[after], most=PAGE, **whose):
            at = ", ".join(map(shown, place))
            target = one.target.table.name
            look.wrong("named", f"{one.name} of {at}: there is no such row of {target}")
        return look


PARTS: tuple[type[Part[Any]], ...] = (References,)
