"""An operation of administration: a name, a least level, whose object it is, what it does.

The doors, the commands and the portal all come here. A desk is one call: it asks for authority in
the very transaction that reads or writes, and leaves the functional trace there too (OP-72).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Generic, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from mssmtp.admin.authority import (
    NAMES,
    Conflict,
    Place,
    demand_in_office,
    demand_level,
    demand_reach,
    reaches,
)
from mssmtp.config import Settings
from mssmtp.errors import ConfigError, MailError, own_words
from mssmtp.mail import Actor, Address, AdminLevel, masked
from mssmtp.outside import Clock, Entropy
from mssmtp.storage import Reading, Store, Writing

Json: TypeAlias = "str | int | float | bool | Sequence[Json] | Mapping[str, Json] | None"
Row: TypeAlias = dict[str, Json]
Answer: TypeAlias = Row | list[Row]

MOST_OCTETS = 65_536
"""Of the input of an operation that does not say otherwise."""
MOST_ROWS = 1_000
"""Of one answer of a list; who wants more asks again, `after` the last."""
_TOLD = 200
"""Characters of one value in a trace."""

_BOUNDS = ("expected", "max_length", "min_length", "ge", "le", "lt")
"""Of the context of an error: what the model says, never what was given."""
_NO_MOMENT = "ce n'est pas une date avec son heure : 2026-12-31T18:00+01:00"
_NO_OBJECT = "ce n'est pas un objet JSON"
_FRENCH = {
    "missing": "manque",
    "extra_forbidden": "ce champ n'existe pas",
    "json_invalid": "ce n'est pas du JSON",
    "enum": "choisissez parmi {expected}",
    "literal_error": "choisissez parmi {expected}",
    "string_type": "ce n'est pas un texte",
    "string_pattern_mismatch": "n'a pas la forme attendue",
    "string_too_long": "plus de {max_length} caractères",
    "int_parsing": "ce n'est pas un nombre entier",
    "int_type": "ce n'est pas un nombre entier",
    "bool_parsing": "mettez true ou false",
    "greater_than_equal": "moins que {ge}",
    "less_than_equal": "plus que {le}",
    "less_than": "plus que {lt}, ou autant",
    "bool_type": "mettez true ou false",
    "datetime_from_date_parsing": _NO_MOMENT,
    "datetime_parsing": _NO_MOMENT,
    "datetime_type": _NO_MOMENT,
    "dict_type": _NO_OBJECT,
    "int_from_float": "ce n'est pas un nombre entier",
    "model_type": _NO_OBJECT,
    "string_too_short": "moins de {min_length} caractères",
    "timezone_aware": "il manque le fuseau horaire : 2026-12-31T18:00+01:00",
    "too_long": "plus de {max_length} éléments",
    "tuple_type": "ce n'est pas une liste",
}
_OTHERWISE = "cette valeur ne convient pas"


class Input(BaseModel):
    """Base of what operations are given: frozen, no unknown field."""

    model_config = ConfigDict(extra="forbid", frozen=True)


I = TypeVar("I", bound=Input)  # noqa: E741 - the input
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Office:
    """What operations work with."""

    store: Store
    settings: Settings
    clock: Clock
    entropy: Entropy


@dataclass(slots=True)
class Desk(Generic[I]):
    """One call of an operation by one actor."""

    office: Office
    actor: Actor
    operation: Operation
    input: I
    _place: Callable[[Reading, Actor, I], Place | None]
    named: str = ""
    """The object, as the actor named it."""
    _about: Place | None = field(default=None, init=False)

    @property
    def store(self) -> Store:
        """For what is not about one object; `read` and `write` ask for authority, this does not."""
        return self.office.store

    def read(self, query: Callable[[Reading], T]) -> T:
        """What `query` finds, once the object is known to be within reach. Raises Unknown."""

        def job(reading: Reading) -> T:
            self._demand(reading)
            return query(reading)

        return self.store.read(job).result()

    def write(self, job: Callable[[Writing], T]) -> T:
        """Authority, `job` and its trace in one transaction. Raises Unknown."""
        if not self.operation.changes:
            raise RuntimeError(f"{self.operation.name} is announced as one that changes nothing")

        def whole(writing: Writing) -> T:
            self._about = self._demand(writing)
            result = job(writing)
            leave_trace(writing, self.actor, self.operation.name, self._said, place=self._about)
            return result

        return self.store.write(whole).result()

    @property
    def _said(self) -> str:
        return told(self.input)

    def concerns(self, place: Place) -> None:
        """Inside a job: what was made, for the trace."""
        self._about = place

    def reaches(self, place: Place) -> bool:
        """For lists: whether the actor may see what is there."""
        return reaches(self.actor, place)

    def shown(self, address: Address) -> str:
        """As answers print it: of a patient only the ends (OP-87)."""
        return masked(address, frozenset(self.office.settings.policy.patient_domains))

    def _demand(self, reading: Reading) -> Place | None:
        demand_in_office(reading, self.actor)
        place = self._place(reading, self.actor, self.input)
        if place is not None:
            self.named = place.what
            demand_reach(self.actor, place)
        return place


@dataclass(frozen=True, slots=True)
class Operation:
    """One line of the table; made by `operation`."""

    name: str
    level: AdminLevel
    changes: bool
    input: type[Input]
    most_octets: int
    meaning: str
    """What it does, in one sentence."""
    scoped: bool
    """Its object belongs to somebody; otherwise it acts within the actor's own scope."""
    told: Callable[[bytes], str]
    """An input as traces tell it; nothing of one that cannot be read."""
    admit: Callable[[Office, Actor, bytes], object]
    """Whether the actor may: level and reach, and nothing is done."""
    start: Callable[[Office, Actor, bytes], Answer]
    """JSON in. Raises ConfigError: Denied, Unknown, Conflict, or the input is wrong."""


def operation(
    name: str,
    level: AdminLevel,
    input: type[I],
    place: Callable[[Reading, Actor, I], Place | None],
    run: Callable[[Desk[I]], Answer],
    *,
    changes: bool = True,
    scoped: bool = True,
    most_octets: int = MOST_OCTETS,
) -> Operation:
    """The operation `name`: `run`, for whoever has `level` and reaches `place`.

    `place` looks at the object named in the input; None: there is none, and `run` itself shows no
    more than `Desk.reaches`.
    """

    def admit(office: Office, actor: Actor, body: bytes) -> Desk[I]:
        demand_level(actor, level, name)
        desk = Desk(office, actor, made, parsed(input, body), place)
        # Before any work: who may not gets no slow hash out of us either.
        with refusing(desk):
            desk.read(lambda _: None)
        return desk

    def start(office: Office, actor: Actor, body: bytes) -> Answer:
        desk = admit(office, actor, body)
        with refusing(desk):
            return run(desk)

    meaning = " ".join((run.__doc__ or "").split("\n\n")[0].split())

    def said(body: bytes) -> str:
        try:
            return told(parsed(input, body))
        except ConfigError:
            return ""

    made = Operation(name, level, changes, input, most_octets, meaning, scoped, said, admit, start)
    return made


@contextmanager
def refusing(desk: Desk[I]) -> Iterator[None]:
    """What the store refuses is told with the object it is about."""
    try:
        yield
    except MailError as error:
        raise Conflict(desk.named, error) from error


def parsed(model: type[I], body: bytes) -> I:
    """`body` as the input of an operation. Raises ConfigError; says where, never what was given."""
    try:
        return model.model_validate_json(body or b"{}")
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(step) for step in first["loc"])
        known = ", ".join(model.model_fields) or "aucun"
        raise ConfigError(
            where or "entrée", _in_french(first), f"Champs de cette opération : {known}."
        ) from error


def _in_french(error: ErrorDetails) -> str:
    """What is wrong with one field, without what was given; the library's words are in English."""
    bounds = {name: str(bound) for name, bound in error.get("ctx", {}).items() if name in _BOUNDS}
    if error["type"] == "value_error":  # a check of ours, whose words are ours
        return own_words(error["msg"])
    told = _FRENCH.get(error["type"], _OTHERWISE)
    if "expected" in bounds:
        bounds["expected"] = bounds["expected"].replace(" or ", " ou ")
    return told.format_map(bounds)


def leave_trace(
    writing: Writing,
    actor: Actor,
    operation: str,
    said: str,
    answer: str = "ok",
    place: Place | None = None,
) -> None:
    """Who asked for which operation with what, and what was answered (OP-72)."""
    at = place if place is not None else Place(structure=actor.structure)
    if actor.level is AdminLevel.HOLDER:  # whatever a holder does stands in the own log
        at = replace(at, account=actor.account)
    author = f"{actor.name} ({NAMES[actor.level]}{' ' if actor.scope else ''}{actor.scope})"
    writing.trace(
        "administration",
        author,
        f"{operation} {said}",
        answer,
        account=at.account,
        bal=at.bal,
        structure=at.structure,
    )


def told(input: Input) -> str:
    """`input` for a trace: secrets are stars (pydantic's SecretStr), long values are cut."""
    values = input.model_dump(mode="json", exclude_defaults=True)
    short = {name: _short(value) for name, value in values.items()}
    return json.dumps(short, ensure_ascii=False, separators=(",", ":"))


def _short(value: object) -> object:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return value if len(text) <= _TOLD else text[:_TOLD] + "…"
