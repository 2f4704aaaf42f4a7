"""A whole file -> what can be asked of it, and the lines that contradict themselves or others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date

from mssmtp.bulk.checking import checked
from mssmtp.bulk.columns import KEY, Column, Line, Problem
from mssmtp.bulk.report import Outcome, Told
from mssmtp.bulk.request import Request


@dataclass(frozen=True, slots=True)
class Plan:
    """`requests` may be applied one by one, in this order; `told` is already decided.

    People come before the boxes that name them as members or responsible, whatever their order in
    the file.
    """

    requests: tuple[Request, ...]
    told: tuple[Told, ...]

    @property
    def refused(self) -> int:
        """Lines that will not be applied."""
        return sum(each.outcome is Outcome.REFUSED for each in self.told)


def planned(lines: Iterable[Line], today: date) -> Plan:
    """Check every line by itself, then against the others.

    Twice the same line is one line; two lines that say different things of one account, number or
    address are both refused: which of them is right is not ours to guess (DEF-10).
    """
    good: list[Request] = []
    told: list[Told] = []
    for line in lines:
        found = checked(line, today)
        if isinstance(found, Request):
            good.append(found)
        else:
            told.append(_refused(line, found))
    requests, doubles = _without_doubles(good)
    clashes = _clashes(requests)
    for request in requests:
        if request.line in clashes:
            told.append(Told.of(request, Outcome.REFUSED, (clashes[request.line],)))
    kept = [each for each in requests if each.line not in clashes]
    kept.sort(key=lambda each: (KEY[each.type] is not Column.USUAL, each.line))
    return Plan(
        tuple(kept),
        tuple(sorted((*told, *doubles), key=lambda each: each.line)),
    )


def _refused(line: Line, problems: tuple[Problem, ...]) -> Told:
    cells = line.cells
    about = cells.get(Column.USUAL) or cells.get(Column.ADDRESS) or ""
    return Told(
        line.number,
        cells.get(Column.ACTION, "")[:1].upper(),
        cells.get(Column.TYPE, "")[:3].upper(),
        about[:254],
        Outcome.REFUSED,
        problems,
    )


def _without_doubles(good: list[Request]) -> tuple[list[Request], list[Told]]:
    first: dict[Request, int] = {}
    kept: list[Request] = []
    doubles: list[Told] = []
    for request in good:
        bare = replace(request, line=0)
        if bare in first:
            same = Problem("", f"identique à la ligne {first[bare]} ; ignorée")
            doubles.append(Told.of(request, Outcome.UNCHANGED, (same,)))
        else:
            first[bare] = request.line
            kept.append(request)
    return kept, doubles


def _clashes(requests: list[Request]) -> dict[int, Problem]:
    """By line number, of all lines that claim what another line claims too."""
    claimed: defaultdict[tuple[Column, str], list[int]] = defaultdict(list)
    for request in requests:
        for claim in _claims(request):
            claimed[claim].append(request.line)
    found: dict[int, Problem] = {}
    for (column, _), lines in claimed.items():
        if len(lines) > 1:
            for line in lines:
                others = ", ".join(str(each) for each in lines[:6] if each != line)
                why = f"en double avec la ligne {others} ; gardez-en une seule par fichier"
                found.setdefault(line, Problem(column, why))
    return found


def _claims(request: Request) -> Iterator[tuple[Column, str]]:
    if KEY[request.type] is Column.USUAL and request.usual is not None:
        yield Column.USUAL, request.usual.key
    if request.national_id is not None:
        yield Column.NATIONAL_ID, request.national_id
    if request.local is not None:
        yield Column.ADDRESS, f"{request.local} {request.structure}"
