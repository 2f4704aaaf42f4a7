"""Loading accounts from the lines of a file: `bal.load` (SEED-39, DEF-10).

The reader of the file is the caller: a command, the portal. What comes here is cells, and they are
checked here again; each line is of a structure within reach, or is refused as unknown.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from mssmtp.admin import finding
from mssmtp.admin.activations import inviting
from mssmtp.admin.authority import within
from mssmtp.admin.operation import Answer, Desk, Input, operation
from mssmtp.bulk import Column, Line, Plan, Told, planned
from mssmtp.bulk.columns import MAX_FILE_OCTETS, MAX_LINES, MAX_MEMBERS_CELL
from mssmtp.bulk.loading import Loader, Welcomes
from mssmtp.bulk.request import Request
from mssmtp.bulk.steps import Done
from mssmtp.mail import AdminLevel, Structure
from mssmtp.people.refusing import NotAllowed
from mssmtp.people.rules import Rules
from mssmtp.storage import Writing

WHOLE_OF_OTHERS = 5_000
"""Lines that an administrator of a region or structure may load all or nothing: nobody else writes
meanwhile, about a second for each thousand."""

Cell = Annotated[str, StringConstraints(max_length=MAX_MEMBERS_CELL)]


class Cells(Input):
    """One line, by the names of the columns; empty cells are left out."""

    number: int = Field(ge=1, le=2_000_000)
    cells: dict[Column, Cell]


class Load(Input):
    """Lines of one file, or a part of them.

    `people`: of a dry run in parts, those whom its earlier parts would make and these lines name.
    """

    lines: tuple[Cells, ...] = Field(max_length=MAX_LINES)
    dry_run: bool = False
    all_or_nothing: bool = False
    notify: bool = False
    people: tuple[Annotated[str, StringConstraints(max_length=finding.MOST_NAME)], ...] = Field(
        (), max_length=MAX_LINES
    )


def _load(desk: Desk[Load]) -> Answer:
    """Create, change and close the accounts and boxes of the lines, each whole or not at all."""
    given = desk.input
    lines = tuple(Line(each.number, each.cells) for each in given.lines)
    plan = planned(lines, desk.office.clock.now().date())
    return [dict(told.as_json()) for told in _told(desk, plan)]


def _told(desk: Desk[Load], plan: Plan) -> list[Told]:
    given = desk.input
    if given.all_or_nothing and desk.actor.level is not AdminLevel.OPERATOR:
        _require_few(len(given.lines))
    loader = Loader(
        desk.store,
        desk.actor.name,
        lambda structure: desk.reaches(within("", structure)),
        _welcomes(desk, plan),
        Rules.of(desk.office.settings),
    )
    if given.dry_run:
        return [*plan.told, *loader.shown(plan.requests, given.people)]
    if not given.all_or_nothing:
        return [*plan.told, *loader.each(plan.requests)]
    if plan.refused:
        return [*plan.told, *loader.shown(plan.requests)]
    return [*plan.told, *loader.whole(plan.requests)]


def _require_few(lines: int) -> None:
    if lines > WHOLE_OF_OTHERS:
        raise NotAllowed(
            "tout ou rien",
            f"{lines} lignes, et {WHOLE_OF_OTHERS} au plus : nul autre n'écrit pendant ce temps",
            "Chargez ligne par ligne, divisez le fichier, ou demandez à l'exploitant.",
        )


def _welcomes(desk: Desk[Load], plan: Plan) -> Welcomes:
    """Who asked for it on the line, else in the call, gets the link at once (SEED-40).

    Raises NotAllowed when nobody could be told.
    """
    given, sender = desk.input, inviting(desk.office)

    def is_told(request: Request) -> bool:
        return given.notify if request.notify is None else request.notify

    if any(is_told(each) and each.usual is not None for each in plan.requests):
        sender.require()

    def welcome(writing: Writing, request: Request, done: Done, structure: Structure) -> None:
        if is_told(request) and done.account is not None:
            person = writing.person_by_account(done.account)
            if person is not None:
                sender.invite(writing, person, structure.name)

    return welcome


OPERATIONS = (
    operation(
        "bal.load",
        AdminLevel.STRUCTURE,
        Load,
        finding.own,
        _load,
        scoped=False,
        most_octets=2 * MAX_FILE_OCTETS,
    ),
)
