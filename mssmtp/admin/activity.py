"""Operations on what was done: the log of an account and of a box (SEED-48, SEED-90, F10)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta, tzinfo

from pydantic import AwareDatetime, Field

from mssmtp.admin import finding
from mssmtp.admin.finding import Box
from mssmtp.admin.operation import MOST_ROWS, Answer, Desk, Input, Operation, Row, operation
from mssmtp.admin.persons import Known, of_account, person_of, time
from mssmtp.mail import AccountId, AdminLevel, Bal, BalId
from mssmtp.people import parts
from mssmtp.storage import Reading, Trace
from mssmtp.storage.readings import ReadingEvent

_MOST_TRACES = 200


class Page(Input):
    """A page of what was done, the newest first; `before` is the number of the last one seen.

    On the first page, what was read within `days`, or from `since` on, stands among the rest: each
    message, or `summed` for each day, person and box.
    """

    before: int | None = None
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    days: int = Field(7, ge=0, le=400)
    summed: bool = False
    limit: int = Field(_MOST_TRACES, ge=1, le=MOST_ROWS)


class OfPerson(Known, Page):
    """Of an account."""


class OfBox(Box, Page):
    """Of a box."""


Read = tuple[Bal, ReadingEvent]


def _of_person(desk: Desk[OfPerson]) -> Answer:
    """The log of an account: who did what in it or in its box, when, and what was answered."""
    asked = desk.input

    def query(reading: Reading) -> list[Row]:
        found = reading.account(asked.person)
        account = person_of(reading, asked.person).account if found is None else found.id
        given = _since_the_move(desk, reading, account)
        own = reading.box_of(account)
        traces = _traces(reading, given, account=account)
        if own is not None:
            traces += _traces(reading, given, bal=own.id)
        boxes = {box.id: box for box in reading.principal(account).bals}
        for lent in reading.delegations_to(account):
            if (bal := reading.bal_by_id(lent.bal)) is not None:
                boxes[bal.id] = bal
        if own is not None:
            boxes[own.id] = own
        is_own = None if own is None else own.id
        read = _read(
            reading,
            boxes.values(),
            _since(desk, given),
            lambda bal, who: who == account or bal == is_own,
        )
        return _rows(reading, desk, given, traces, read)

    return desk.read(query)


def _of_box(desk: Desk[OfBox]) -> Answer:
    """The log of a box: who acted in it, when, and what was answered."""
    given = desk.input

    def query(reading: Reading) -> list[Row]:
        bal = finding.box(reading, given.address)
        read = _read(reading, (bal,), _since(desk, given), lambda _bal, _who: True)
        return _rows(reading, desk, given, _traces(reading, given, bal=bal.id), read)

    return desk.read(query)


def _since_the_move(desk: Desk[OfPerson], reading: Reading, account: AccountId) -> OfPerson:
    """Who administers the structure that a person goes on in sees nothing of what was done in the
    former one (ATT-24)."""
    given, person = desk.input, reading.person_by_account(account)
    if person is None or desk.actor.level is not AdminLevel.STRUCTURE:
        return given
    told = reading.records("person", person.id).get(parts.MOVED)
    if told is None or (given.since is not None and given.since >= told.at):
        return given
    return given.model_copy(update={"since": told.at})


def _since(desk: Desk[OfPerson] | Desk[OfBox], page: Page) -> datetime | None:
    """From when on readings are shown; None: on this page none are."""
    if page.before is not None or (page.since is None and not page.days):
        return None
    return page.since or desk.office.clock.now() - timedelta(days=page.days - 1)


def _traces(
    reading: Reading,
    page: Page,
    *,
    account: AccountId | None = None,
    bal: BalId | None = None,
) -> list[Trace]:
    found = reading.traces(
        account=account,
        bal=bal,
        before=page.before,
        since=page.since,
        until=page.until,
        most=page.limit,
    )
    return list(found)


def _read(
    reading: Reading,
    boxes: Iterable[Bal],
    since: datetime | None,
    is_shown: Callable[[BalId, AccountId], bool],
) -> list[Read]:
    """What was read in `boxes`, once for each message and day (DEF-06)."""
    if since is None:
        return []
    return [
        (box, event)
        for box in sorted(boxes, key=lambda each: each.id)
        for event in reading.reading_events(box.id, since)
        if is_shown(box.id, event.account)
    ]


def _rows(
    reading: Reading,
    desk: Desk[OfPerson] | Desk[OfBox],
    page: Page,
    traces: Sequence[Trace],
    read: Sequence[Read],
) -> list[Row]:
    """One trace stands once, whether it is found by the account, by the box or by both."""
    once = sorted({each.number: each for each in traces}.values(), key=lambda one: -one.number)
    found = [_row(reading, each) for each in once[: page.limit]]
    shown = [each for each in read if page.until is None or each[1].at < page.until]
    zone = desk.office.settings.operator.zone
    found += summed(reading, shown, zone) if page.summed else _each(reading, shown)
    return sorted(found, key=lambda row: str(row["at"]), reverse=True)


def _row(reading: Reading, one: Trace) -> Row:
    """A functional trace as lists print it (OP-72)."""
    bal = None if one.bal is None else reading.bal_by_id(one.bal)
    return {
        "number": one.number,
        "at": time(one.at),
        "author": one.author,
        "action": one.kind,
        "request": one.request,
        "answer": one.answer,
        "box": None if bal is None else str(bal.address),
    }


def _each(reading: Reading, read: Sequence[Read]) -> list[Row]:
    """Messages are numbers."""
    return [
        _of_reading(reading, event, f"{event.kind} message {event.message} of box {box.id}", box)
        for box, event in read
    ]


def summed(reading: Reading, read: Sequence[Read], zone: tzinfo) -> list[Row]:
    """F10: one line for each day of `zone`, person and box, at its first moment."""
    first: dict[tuple[str, AccountId, BalId, str], Read] = {}
    count: Counter[tuple[str, AccountId, BalId, str]] = Counter()
    for box, event in read:
        key = (event.at.astimezone(zone).date().isoformat(), event.account, box.id, event.kind)
        count[key] += 1
        if key not in first or event.at < first[key][1].at:
            first[key] = box, event
    return [
        _of_reading(reading, event, f"{event.kind} {count[key]} messages", box)
        for key, (box, event) in first.items()
    ]


def _of_reading(reading: Reading, event: ReadingEvent, request: str, box: Bal) -> Row:
    return {
        "number": None,
        "at": time(event.at),
        "author": reading.account_login(event.account) or "",
        "action": "read",
        "request": request,
        "answer": "ok",
        "box": str(box.address),
    }


_HOLDER = AdminLevel.HOLDER

OPERATIONS: tuple[Operation, ...] = (
    operation("person.activity", _HOLDER, OfPerson, of_account, _of_person, changes=False),
    operation("bal.activity", _HOLDER, OfBox, finding.of_box, _of_box, changes=False),
)
