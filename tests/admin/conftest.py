"""One store for the tests of operations; each test makes structures of its own."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import pytest

from mssmtp.admin import Office, answer
from mssmtp.config import Settings, load
from mssmtp.config_example import Value, render
from mssmtp.identity import app_password
from mssmtp.mail import Actor, AdminLevel
from mssmtp.storage import Store
from tests.home import CLOCK, ENTROPY, values

OPERATOR = Actor(AdminLevel.OPERATOR, "exploitant")
DOMAINS = ("hopital-a.test", "clinique-b.test", "commun.test")
DAY = "2026-01-05T00:00:00+00:00"


class Said(Exception):
    """An operation was refused."""

    def __init__(self, status: int, told: dict[str, str]) -> None:
        super().__init__(f"{status} {told['what']}: {told['why']}")
        self.status, self.told = status, told


@dataclass
class Desk:
    """Operations on one store."""

    office: Office
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def ask(self, actor: Actor, operation: str, /, **given: Any) -> Any:
        """The answer, parsed. Raises Said."""
        said = answer(self.office, actor, operation, json.dumps(given).encode())
        told = json.loads(said.body)
        if said.status != 200:
            raise Said(said.status, told)
        return told

    def number(self) -> int:
        """Another one each time."""
        return next(self._numbers)

    def finess(self) -> str:
        """A FINESS with its key that no structure has yet."""
        return keyed(f"69{self.number():06d}")

    def rpps(self) -> str:
        """The same of an RPPS."""
        return keyed(f"1{self.number():09d}")

    def structure(self, region: str = "84", domain: str = "commun.test") -> tuple[str, Actor]:
        """A structure that is complete, and its first administrator."""
        finess, name = self.finess(), f"dsi {self.number()}"
        administrator = {"name": name, "user": 10_000 + self.number()}
        self.ask(
            OPERATOR,
            "structure.create",
            name=f"Hôpital {finess}",
            finess=finess,
            region=region,
            administrator=administrator,
        )
        found = self.office.store.read(lambda r: r.administrator(name)).result()
        assert found is not None
        self.ask(OPERATOR, "structure.agree", structure=finess, at=DAY, signed_by="La directrice")
        for kind, told in (
            ("project-lead", {"name": "Chef"}),
            ("administrator", {"name": name}),
            ("data-protection-register", {}),
            ("patient-notice", {}),
        ):
            self.ask(found.actor, "structure.declare", kind=kind, at=DAY, values=told)
        self.ask(OPERATOR, "structure.domain", structure=finess, domain=domain)
        return finess, found.actor

    def person(self, actor: Actor, **more: Any) -> dict[str, Any]:
        """A doctor of the actor's structure."""
        number = self.number()
        given = {
            "usual_address": f"p{number}@cabinet.example",
            "last_name": f"Nom{chr(97 + number % 26)}",
            "first_name": "Zoé",
            "national_id": self.rpps(),
            "profession": "10",
        }
        made: dict[str, Any] = self.ask(actor, "person.add", **(given | more))
        return made


def keyed(body: str) -> str:
    """`body` with its Luhn key."""
    total = 0
    for position, digit in enumerate(reversed(body + "0")):
        value = int(digit) * (1 + position % 2)
        total += value - 9 if value > 9 else value
    return body + str(-total % 10)


@pytest.fixture(scope="session")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    file = tmp_path_factory.mktemp("office") / "mssmtp.toml"
    served: dict[str, Value] = {
        "operator.domains": DOMAINS,
        "people.generic_domains.name": "commun.test",
        "people.generic_domains.purpose": "petites structures",
    }
    file.write_text(render(values() | served), "utf-8")
    settings: Settings = load(file)
    Store.create(settings.store, CLOCK, ENTROPY)
    with closing(Store(settings.store, CLOCK, ENTROPY, worker="office")) as store:
        yield Office(store, settings, CLOCK, ENTROPY)


@pytest.fixture
def desk(office: Office, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setattr(app_password, "COST", app_password.Cost(1, 8))
    return Desk(office, itertools.count(_started()))


def _started() -> int:
    return next(_BEGINNINGS)


_BEGINNINGS = itertools.count(1, 1_000)
Refuses = Callable[..., None]


@pytest.fixture
def refuses(desk: Desk) -> Refuses:
    """An operation is refused with this status."""

    def asked(status: int, actor: Actor, operation: str, /, **given: Any) -> None:
        with pytest.raises(Said) as refused:
            desk.ask(actor, operation, **given)
        assert refused.value.status == status, refused.value
        assert refused.value.told["remedy"]

    return asked
