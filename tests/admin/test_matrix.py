"""Every actor × operation × object: the page in docs says what the operations do (ATT-38, SEED-38).

A new operation is in the test by itself: its input is made from the names and types of its fields.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from types import NoneType
from typing import Any, get_args

import pytest
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from mssmtp.admin import OPERATIONS, Denied, Office, Operation, Unknown, answer
from mssmtp.config import Settings, load
from mssmtp.config_example import render
from mssmtp.errors import ConfigError
from mssmtp.mail import (
    Actor,
    Address,
    AdminLevel,
    Bal,
    BalId,
    BalType,
    PersonState,
    Structure,
    StructureId,
)
from mssmtp.storage import Administrator, Reading, Store, Writing
from mssmtp.storage.people_values import NewPerson
from tests.home import CLOCK, ENTROPY, values
from tools import authorisation
from tools.authorisation import NO_LEVEL, OBJECTS, OWN_SCOPE, UNKNOWN, YES, cells

SIDES = dict(zip(OBJECTS, "abc-t", strict=True))
"""Object of the page -> whose things are named in the input; `-` is the operator's own, `t` one
person's of structure `a`."""
NUMBERS = {"a": "690000013", "b": "690000021", "c": "930000011", "-": "", "t": "690000013"}
REGIONS = {"a": "84", "b": "84", "c": "93"}


@dataclass(frozen=True, slots=True)
class World:
    """Three structures and what each has; `-` is what the operator alone has."""

    office: Office
    actors: dict[str, Actor]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    settings = some_settings(tmp_path_factory.mktemp("matrix"))
    Store.create(settings.store, CLOCK, ENTROPY)
    store = Store(settings.store, CLOCK, ENTROPY, worker="matrix")
    structures = store.write(fill).result()
    holder = store.read(lambda r: r.account(f"{name('t')}@cabinet.example")).result()
    assert holder is not None
    actors = {
        "opérateur": Actor(AdminLevel.OPERATOR, "admin -"),
        "région": Actor(AdminLevel.REGION, "admin r", region="84"),
        "structure": Actor(AdminLevel.STRUCTURE, "admin a", structure=structures["a"]),
        "titulaire": Actor(AdminLevel.HOLDER, "titulaire", account=holder.id),
    }
    yield World(Office(store, settings, CLOCK, ENTROPY), actors)
    store.close()


def some_settings(directory: Path) -> Settings:
    file = directory / "mssmtp.toml"
    file.write_text(render(values()), "utf-8")
    return load(file)


def fill(writing: Writing) -> dict[str, StructureId | None]:
    found: dict[str, StructureId | None] = {"-": None}
    for side, region in REGIONS.items():
        new = Structure(StructureId(0), f"Structure {side}", NUMBERS[side], region=region)
        found[side] = writing.create_structure(new).id
    found["t"] = found["a"]
    for side, structure in found.items():
        level = AdminLevel.OPERATOR if structure is None else AdminLevel.STRUCTURE
        actor = Actor(level, f"admin {side}", structure=structure)
        writing.add_administrator(Administrator(actor, uid=5_000 + ord(side)))
        person = writing.create_person(
            NewPerson(
                Address.parse(f"{name(side)}@cabinet.example"),
                f"Nom-{name(side)}",
                "Zoé",
                structure=structure,
                state=PersonState.CERTIFIED,
            )
        )
        own = box(writing, f"{name(side)}@hopital-a.test", BalType.MED, structure)
        writing.give_box(person.account, own.id)
        org = box(writing, f"org.{name(side)}@hopital-a.test", BalType.ORG, structure)
        writing.add_member(org.id, person.account)
        box(writing, f"app.{name(side)}@hopital-a.test", BalType.APP, structure)
    return found


def box(writing: Writing, address: str, type: BalType, structure: StructureId | None) -> Bal:
    return writing.add_box(Bal(BalId(0), Address.parse(address), type, structure=structure))


def name(side: str) -> str:
    return {"-": "seul", "t": "titulaire"}.get(side, f"cote-{side}")


# ---------------------------------------------------------------- an input from its fields

NAMED = {"address", "org", "box", "person", "login", "structure", "name"}
"""Fields that name an object: a new operation uses these, or `made` is taught its own."""


def made(operation: Operation, side: str) -> dict[str, Any]:
    """An input that names what `side` has; what names nothing is left out when it may be."""
    named = {
        "address": f"{name(side)}@hopital-a.test",
        "org": f"org.{name(side)}@hopital-a.test",
        "box": f"app.{name(side)}@hopital-a.test",
        "person": f"{name(side)}@cabinet.example",
        "login": f"{name(side)}@cabinet.example",
        "structure": NUMBERS[side],
        "name": f"admin {side}",
        "level": "structure",
        "sha256": "ab" * 32,
    }
    found: dict[str, Any] = {}
    for field, info in operation.input.model_fields.items():
        if field in named and (info.is_required() or field == "structure"):
            found[field] = named[field]
        elif info.is_required():
            found[field] = filler(info)
    return found


def filler(info: FieldInfo) -> object:
    """Some value of the type of a field."""
    kind: Any = next((k for k in get_args(info.annotation) if k is not NoneType), info.annotation)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return next(iter(kind)).value
    if isinstance(kind, str):  # the first of a Literal
        return kind
    at = datetime(2026, 1, 1, tzinfo=UTC).isoformat()
    fillers = {bool: True, int: 1, str: "x", SecretStr: "x", datetime: at}
    return fillers.get(kind, {} if str(kind).startswith("dict") else [])


def outcome(world: World, operation: Operation, actor: str, given: dict[str, Any]) -> str:
    """Whether the actor is let in; nothing is done."""
    try:
        operation.admit(world.office, world.actors[actor], json.dumps(given).encode())
    except Denied:
        return NO_LEVEL
    except Unknown:
        return UNKNOWN
    return YES


# ---------------------------------------------------------------- the claims


def test_the_committed_page_is_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert authorisation.main(["--check"]) == 0, capsys.readouterr().err


@pytest.mark.attack("ATT-38")
@pytest.mark.requirement("SEED-38", "MED-16")
def test_att_38_every_cell_of_the_page_is_what_the_operation_does(world: World) -> None:
    wrong = []
    for cell in cells():
        side = SIDES[cell.object]
        if side == "-" and "structure" in cell.operation.input.model_fields:
            continue  # the operator has no structure: there is no such object
        found = outcome(world, cell.operation, cell.actor, made(cell.operation, side))
        said = YES if cell.answer == OWN_SCOPE else cell.answer
        if found != said:
            wrong.append(f"{cell.operation.name}, {cell.actor}, {cell.object}: {found}, not {said}")
    assert wrong == []


def everything(reading: Reading) -> list[object]:
    """What an operation could have changed."""
    return [
        reading.structures(),
        reading.persons(),
        reading.administrators(),
        reading.bals(),
        [reading.members(each.id) for each in reading.bals()],
        [reading.records("structure", each.id) for each in reading.structures()],
    ]


@pytest.mark.attack("ATT-24", "ATT-38")
@pytest.mark.requirement("SEED-38")
def test_att_24_another_structure_is_answered_as_what_does_not_exist_and_nothing_is_done(
    world: World,
) -> None:
    store, actor = world.office.store, world.actors["structure"]
    before = store.read(everything).result()
    for operation in OPERATIONS:
        if not operation.scoped:
            continue
        foreign, missing = made(operation, "b"), made(operation, "b")
        for field in missing.keys() & NAMED:
            missing[field] = foreign[field].replace("cote-b", "nul").replace("690000021", "1" * 9)
            missing[field] = missing[field].replace("admin b", "personne")
        answers = []
        for given in (foreign, missing):
            said = answer(world.office, actor, operation.name, json.dumps(given).encode())
            told = json.loads(said.body)
            answers.append((said.status, told["why"], told["remedy"]))
        assert answers[0] == answers[1], operation.name
        assert answers[0][0] in (403, 404), operation.name
    assert store.read(everything).result() == before
    traced = store.read(lambda r: r.traces(structure=actor.structure)).result()
    assert {each.answer.partition(" : ")[0] for each in traced} == {"refusé"}


@pytest.mark.attack("ATT-24")
@pytest.mark.parametrize(
    ("actor", "own", "foreign"),
    [("structure", "a", "bc-"), ("région", "a", "c-"), ("titulaire", "t", "abc-")],
)
def test_att_24_no_list_and_no_sheet_names_anything_out_of_scope(
    world: World, actor: str, own: str, foreign: str
) -> None:
    """Whatever reads, with whatever it is asked about."""
    seen = ""
    for operation in OPERATIONS:
        if operation.changes:
            continue
        given = made(operation, own)
        if not operation.scoped:
            given.pop("structure", None)
        said = answer(world.office, world.actors[actor], operation.name, json.dumps(given).encode())
        seen += said.body.decode()
    assert name(own) in seen
    for side in foreign:
        assert name(side) not in seen
        assert f"Structure {side}" not in seen
        assert NUMBERS[side] in ("", NUMBERS[own]) or NUMBERS[side] not in seen


def test_an_operation_that_changes_nothing_cannot_write(world: World) -> None:
    quiet = next(each for each in OPERATIONS if not each.changes and each.scoped)
    given = json.dumps(made(quiet, "a")).encode()
    desk: Any = quiet.admit(world.office, world.actors["structure"], given)
    with pytest.raises(RuntimeError, match="changes nothing"):
        desk.write(lambda writing: None)


def test_every_operation_says_what_it_does_and_refuses_unknown_fields(world: World) -> None:
    for operation in OPERATIONS:
        assert operation.meaning.endswith("."), operation.name
        with pytest.raises(ConfigError):
            operation.admit(world.office, world.actors["opérateur"], b'{"surprise": 1}')
