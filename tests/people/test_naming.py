"""Addresses of boxes (SEED-25, OP-44, OP-51), keys of numbers (SEED-26), categories (SEED-30)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssmtp.mail import Address, Bal, BalId, BalType, Category, Domain
from mssmtp.people import naming, numbers
from mssmtp.people.categories import category
from mssmtp.people.refusing import NotAllowed
from tests.people.conftest import keyed

PARK = Domain("parc.test")


class Taken:
    """Everybody whose address is in `addresses`."""

    def __init__(self, *addresses: str, gone: str = "") -> None:
        self._addresses, self._gone = addresses, gone

    def bal(self, address: Address) -> Bal | None:
        return Bal(BalId(1), address, BalType.PER) if str(address) in self._addresses else None

    def bal_by_usual(self, address: Address) -> Bal | None:
        return None

    def is_retired(self, address: Address) -> bool:
        return str(address) == self._gone


@pytest.mark.requirement("OP-44", "SEED-25")
def test_a_personal_address_is_first_name_dot_last_name_in_ascii() -> None:
    spelled = {
        ("Zoé", "Tartempion"): "zoe.tartempion",
        ("Jean-Noël", "d'Ormesson"): "jean-noel.d-ormesson",
        ("Anne Marie", "LE GOFF"): "anne-marie.le-goff",
        ("Cœur", "Ægir Ñandú"): "coeur.aegir-nandu",
        ("Marc.", "O’Neil"): "marc.o-neil",  # noqa: RUF001
    }
    for (first, last), local in spelled.items():
        assert naming.personal(first, last) == local
    with pytest.raises(NotAllowed, match="lettres latines"):
        naming.personal("李", "王")


@given(st.text(max_size=90), st.text(max_size=90))
def test_whatever_the_name_its_address_is_one_or_it_is_refused(first: str, last: str) -> None:
    try:
        local = naming.personal(first, last)
    except NotAllowed:
        return
    for number in ("", f".{naming.MOST_HOMONYMS}"):
        assert Address(f"{local}{number}", PARK).local.isascii()


@pytest.mark.requirement("OP-44", "OP-51")
def test_homonyms_are_numbered_and_what_was_closed_is_not_given_again() -> None:
    taken = Taken("zoe.tartempion@parc.test", gone="zoe.tartempion.2@parc.test")
    found = naming.free_address(taken, "zoe.tartempion", PARK)
    assert str(found) == "zoe.tartempion.3@parc.test"
    assert str(naming.free_address(Taken(), "zoe.tartempion", PARK)) == "zoe.tartempion@parc.test"


@pytest.mark.requirement("OP-44")
def test_reserved_names_are_nobodys_and_noreply_is_of_software() -> None:
    for local in ("postmaster", "Abuse", "mailer-daemon"):
        for type in BalType:
            with pytest.raises(NotAllowed, match="réservé"):
                naming.require_allowed(local, type)
    for type in BalType:
        if type is BalType.APP:
            naming.require_allowed("noreply", type)
        else:
            with pytest.raises(NotAllowed, match="APP"):
                naming.require_allowed("noreply", type)


@pytest.mark.requirement("SEED-26")
def test_numbers_of_structures_have_keys() -> None:
    assert numbers.finess("75 071 218 4") == "750712184"
    assert numbers.finess("2a0000014") == "2A0000014"
    siren = keyed("73282932")
    assert numbers.siret(siren) == siren
    siret = keyed(f"{siren}0007")
    assert numbers.siret(siret) == siret
    assert numbers.siret("35600000000001") == "35600000000001"  # no Luhn key, but a sum of 5 times
    for wrong in ("750712185", "75071218", "ABCDEFGHI", ""):
        with pytest.raises(NotAllowed):
            numbers.finess(wrong)
    for wrong in (siret[:-1] + str((int(siret[-1]) + 1) % 10), "1234", "٣" * 9):
        with pytest.raises(NotAllowed):
            numbers.siret(wrong)


@pytest.mark.requirement("SEED-30")
def test_the_three_categories_go_by_profession() -> None:
    assert category("10") is category("60") is Category.HEALTH_PROFESSIONAL
    for title in ("71", "72", "73", "93"):  # osteopath, psychotherapist, chiropractor, psychologist
        assert category(title) is Category.TITLE_USER
    for other in ("41", "51", "350", "99", ""):
        assert category(other) is Category.OTHER
    assert len(Category) == 3
