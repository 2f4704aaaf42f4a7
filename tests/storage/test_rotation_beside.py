"""A rotation by another process: what is written or looked for here stands under the key that is
in force, whether or not this process has heard of it (OP-77)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from mssmtp.mail import Address, Bal
from mssmtp.storage import NewNotice, Reading, Store, Writing
from tests.storage.support import SteppingClock, accept, add_bal, message, recipients, reopen
from tests.storage.test_rotation import fill_people

GONE = Address.parse("partie@hopital-a.test")
STRANGER = Address.parse("inconnue@poste.example")
TOLD = Address.parse("zoe@poste.example")
LOGIN = "nouvelle@hopital-a.test"
FINESS = "130000011"
NOW = SteppingClock().now()


@pytest.fixture
def beside(store: Store, zoe: Bal, home: Path) -> Iterator[Store]:
    """Opened before the rotation, and idle since."""
    add_bal(store, "omar@hopital-a.test")
    store.write(fill_people).result()
    accept(store, store.seal(message()), [zoe], owner=zoe.id, invited=recipients(str(STRANGER)))
    with closing(reopen(home)) as found:
        yield found


def tell(writing: Writing) -> None:
    later = NOW + timedelta(hours=1)
    writing.queue_notice(NewNotice("code", TOLD, "fr", {}, later, later))


def rename(writing: Writing) -> None:
    account = writing.account("zoe@hopital-a.test")
    assert account is not None
    writing._rename_account(account.id, LOGIN)


def change_structure(writing: Writing) -> None:
    (first, *_) = writing.structures()
    assert first.finess == FINESS
    writing.change_structure(replace(first, name="Clinique renommée"))


def was_told(reading: Reading) -> bool:
    return reading.noticed_since(TOLD, "code", NOW - timedelta(days=1)) == 1


WRITTEN: dict[str, tuple[Callable[[Writing], object], Callable[[Reading], object]]] = {
    "an address that is gone": (lambda w: w._retire(GONE), lambda r: r.is_retired(GONE)),
    "a service mail": (tell, was_told),
    "a login": (rename, lambda r: r.account(LOGIN)),
    "a structure": (change_structure, lambda r: r.structure_by_number(FINESS)),
}


@pytest.mark.requirement("OP-77")
@pytest.mark.parametrize("name", WRITTEN)
def test_what_is_written_first_while_a_key_is_replaced_is_found_afterwards(
    store: Store, beside: Store, home: Path, name: str
) -> None:
    """Sealed under the new key and found by the old one, it would be lost when that is dropped."""
    job, found = WRITTEN[name]
    _, id = store.prepare_master()
    store.write(lambda w: w.begin_master(id)).result()
    beside.write(job).result()
    assert store.rotate_master().is_finished
    with closing(reopen(home)) as fresh:  # who knows no older key
        assert fresh.read(found).result()


@pytest.mark.requirement("OP-77")
def test_who_is_invited_first_while_a_key_is_replaced_is_found_afterwards(
    store: Store, beside: Store, zoe: Bal, home: Path
) -> None:
    _, id = store.prepare_master()
    store.write(lambda w: w.begin_master(id)).result()
    accept(
        beside, beside.seal(message()), [zoe], owner=zoe.id, invited=recipients("a@poste.example")
    )
    assert store.rotate_master().is_finished
    with closing(reopen(home)) as fresh:
        assert fresh.read(lambda r: r.invited(Address.parse("a@poste.example"))).result()


LOOKED_FOR: dict[str, Callable[[Reading], object]] = {
    "administrator": lambda r: r.administrator("dsi Durand"),
    "entry of the register": lambda r: r.register_entry("810000000001"),
    "structure": lambda r: r.structure_by_number(FINESS),
    "invited": lambda r: r.invited(STRANGER),
    "told": lambda r: r.noticed_since(
        Address.parse("Durand@cabinet.example"), "code", NOW - timedelta(days=1)
    ),
    "person": lambda r: r.person(Address.parse("Durand@cabinet.example")),
    "identifier": lambda r: r.person_by_national_id("810000000001"),
    "identity": lambda r: r.bound_account("psc", "sub-Durand"),
    "link": lambda r: r.secret("reset", "token-Durand"),
    "former address": lambda r: r.is_retired(Address.parse("Durand@ancien.test")),
    "login": lambda r: r.account("zoe@hopital-a.test"),
    "box": lambda r: r.bal(Address.parse("zoe@hopital-a.test")),
}


@pytest.mark.requirement("OP-77")
def test_what_was_replaced_by_another_process_is_found_here(store: Store, beside: Store) -> None:
    assert all(beside.read(found).result() for found in LOOKED_FOR.values())
    lost = set()
    for name, found in LOOKED_FOR.items():
        assert store.rotate_master().is_finished
        if not beside.read(found).result():  # the first it does after that
            lost.add(name)
    assert lost == set()
