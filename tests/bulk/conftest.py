"""One store with a hospital in it; each test loads people of its own."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import count

import pytest

from mssmtp.bulk.loading import Loader
from mssmtp.identity.national_id import luhn
from mssmtp.mail import Domain, Structure, StructureId
from mssmtp.people.rules import Rules
from mssmtp.storage import Store
from tests.bulk.files import FINESS
from tests.storage.support import SteppingClock, open_new

DOMAIN = Domain("ch-valmont.mssante.example")
OTHER = "010000024"
"""FINESS of a structure that the administrator of the tests does not reach."""

_NUMBERS = count(1)


def new_rpps() -> str:
    """Nobody's yet."""
    start = f"{9_990_100_000 + next(_NUMBERS):010d}"
    return next(start + key for key in "0123456789" if luhn(start + key))


def put_structure(store: Store, finess: str, domain: Domain) -> Structure:
    new = Structure(StructureId(0), "CH de Valmont", finess=finess, domain=domain)
    return store.write(lambda writing: writing.create_structure(new)).result()


@pytest.fixture(scope="module")
def clock() -> SteppingClock:
    return SteppingClock()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, clock: SteppingClock) -> Iterator[Store]:
    store = open_new(tmp_path_factory.mktemp("bulk") / "home", clock)
    put_structure(store, FINESS, DOMAIN)
    put_structure(store, OTHER, Domain("autre.mssante.example"))
    yield store
    clock.advance(timedelta(seconds=1))
    report = store.check(deep=True)
    store.close()
    assert report.problems == ()


@pytest.fixture
def loader(store: Store) -> Loader:
    def reaches(structure: Structure) -> bool:
        return structure.finess == FINESS

    return Loader(store, "dsi", reaches, lambda *_: None, Rules(frozenset({DOMAIN})))
