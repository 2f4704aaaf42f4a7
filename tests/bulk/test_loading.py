"""Lines and the store: what a load makes, changes and closes, and that it may be repeated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from itertools import count

import pytest

from mssmtp.bulk import Column, Outcome, Told
from mssmtp.bulk.loading import Loader
from mssmtp.mail import Address, Bal, BalState, BalType, Category, Person, PersonState
from mssmtp.people import boxes
from mssmtp.people.boxes import NewBox
from mssmtp.storage import Reading, Store, Writing
from tests.bulk.conftest import DOMAIN, OTHER, new_rpps
from tests.bulk.files import APP, FINESS, INT, MED, ORG, PER, plan_of

_SEQUENCE = count(1)
Cells = Mapping[Column, str]


def somebody(line: Cells, first: str = "Zoé", last: str = "Tartempion") -> dict[Column, str]:
    """The line of somebody that no other test knows."""
    number = next(_SEQUENCE)
    cells = {
        **line,
        Column.USUAL: f"p{number}@chezelle.example",
        Column.FIRST_NAME: first,
        Column.LAST_NAME: last,
    }
    return cells | ({Column.NATIONAL_ID: new_rpps()} if Column.NATIONAL_ID in line else {})


def some_box(line: Cells, responsible: Cells | None = None) -> dict[Column, str]:
    cells = {**line, Column.ADDRESS: f"boite{next(_SEQUENCE)}"}
    if responsible is not None:
        cells[Column.RESPONSIBLE] = responsible[Column.NATIONAL_ID]
    return cells


def load(loader: Loader, *lines: Cells) -> list[Told]:
    plan = plan_of(*lines)
    return sorted([*plan.told, *loader.each(plan.requests)], key=lambda each: each.line)


def outcomes(told: list[Told]) -> list[Outcome]:
    return [each.outcome for each in told]


def person_of(store: Store, line: Cells) -> Person | None:
    return store.read(lambda r: r.person(Address.parse(line[Column.USUAL]))).result()


def box_at(store: Store, told: Told) -> Bal:
    found = store.read(lambda r: r.bal(Address.parse(told.address))).result()
    assert found is not None
    return found


@pytest.mark.requirement("SEED-39", "SEED-18", "SEED-24")
@pytest.mark.parametrize(
    ("line", "category"),
    [
        (PER, Category.HEALTH_PROFESSIONAL),
        ({**PER, Column.PROFESSION: "93"}, Category.TITLE_USER),
        (INT, Category.OTHER),
        (MED, Category.OTHER),
    ],
)
def test_a_person_is_loaded_pre_registered_with_a_box(
    store: Store, loader: Loader, line: Cells, category: Category
) -> None:
    cells = somebody(line, "Marie-Noëlle", "D'Artempion") | {Column.SERVICE: "Cardiologie"}
    (told,) = load(loader, cells)
    assert told.outcome is Outcome.CREATED
    assert told.address.startswith("marie-noelle.d-artempion")
    person, box = person_of(store, cells), box_at(store, told)
    assert person is not None
    assert (person.state, person.category) == (PersonState.PRE_REGISTERED, category)
    assert (box.type, box.person) == (BalType(line[Column.TYPE]), PersonState.PRE_REGISTERED)
    assert box.national_id == person.national_id
    assert box.structure == person.structure is not None
    assert store.read(lambda r: r.box_of(person.account)).result() == box
    assert store.read(lambda r: r.person_details(person.id)).result().service == "Cardiologie"


@pytest.mark.requirement("SEED-39")
def test_an_org_and_an_app_box_are_loaded_with_what_was_declared(
    store: Store, loader: Loader
) -> None:
    chief, secretary = somebody(PER), somebody(MED, "Léa", "Quidam")
    org = some_box(ORG, chief) | {Column.MEMBERS: secretary[Column.USUAL]}
    app = some_box(APP)
    told = load(loader, org, app, secretary, chief)
    assert outcomes(told) == [Outcome.CREATED] * 4
    box = box_at(store, told[0])
    records = store.read(lambda r: r.records("bal", box.id)).result()
    assert records["responsible"].values["national_id"] == f"8{chief[Column.NATIONAL_ID]}"
    assert records["head-agreement"].at.date().isoformat() == "2025-12-31"
    person = person_of(store, secretary)
    assert person is not None
    members = store.read(lambda r: r.members(box.id)).result()
    assert [account for account, _ in members] == [person.account]
    assert store.read(lambda r: r.bal_details(box.id)).result().label == org[Column.LABEL]
    machine = box_at(store, told[1])
    assert machine.type is BalType.APP
    (bound,) = store.read(lambda r: r.bindings(bal=machine.id)).result()
    assert bound.kind == "name"
    assert bound.subject.startswith("CN=dpi.ch-valmont.example,OU=1990000017,")
    assert "il manque : convention signée" in told[0].sentence


@pytest.mark.requirement("DEF-10")
def test_the_same_file_again_changes_nothing(store: Store, loader: Loader) -> None:
    chief = somebody(PER) | {Column.PHONE: "01 99 00 00 01", Column.RED_LISTED: "O"}
    lines = (chief, somebody(MED), somebody(INT), some_box(ORG, chief), some_box(APP))
    first = load(loader, *lines)
    assert outcomes(first) == [Outcome.CREATED] * 5
    before = store.read(lambda r: (r.bals(), r.persons())).result()
    again = load(loader, *lines)
    assert outcomes(again) == [Outcome.UNCHANGED] * 5
    assert [each.address for each in again] == [each.address for each in first]
    assert store.read(lambda r: (r.bals(), r.persons())).result() == before


def test_homonyms_get_a_number_each_in_a_dry_run_too(loader: Loader) -> None:
    lines = [somebody(PER, "Ana", "Homonyme") for _ in range(3)]
    shown = loader.shown(plan_of(*lines).requests)
    told = load(loader, *lines)
    names = [f"{name}@{DOMAIN}" for name in ("ana.homonyme", "ana.homonyme.2", "ana.homonyme.3")]
    assert [each.address for each in shown] == names
    assert [each.address for each in told] == names


def test_a_dry_run_says_what_a_load_would_do_and_writes_nothing(
    store: Store, loader: Loader
) -> None:
    lines = (somebody(PER), somebody(MED), some_box(APP))
    shown = loader.shown(plan_of(*lines).requests)
    assert outcomes(shown) == [Outcome.CREATED] * 3
    assert person_of(store, lines[0]) is None
    assert outcomes(load(loader, *lines)) == outcomes(shown)


def test_m_changes_what_is_given_and_leaves_the_rest(store: Store, loader: Loader) -> None:
    cells = somebody(PER) | {Column.PHONE: "0199000001", Column.SERVICE: "Cardiologie"}
    load(loader, cells)
    change = {column: cells[column] for column in (Column.TYPE, Column.STRUCTURE, Column.USUAL)}
    change |= {Column.ACTION: "M", Column.LAST_NAME: "Nouveau", Column.RED_LISTED: "O"}
    (told,) = load(loader, change)
    assert told.outcome is Outcome.CHANGED
    person = person_of(store, cells)
    assert person is not None
    assert (person.last_name, person.first_name) == ("Nouveau", "Zoé")
    details = store.read(lambda r: r.person_details(person.id)).result()
    assert (details.phone, details.service) == ("0199000001", "Cardiologie")
    assert box_at(store, told).is_red_listed
    assert outcomes(load(loader, change)) == [Outcome.UNCHANGED]


def test_m_gives_an_org_box_another_responsible_and_more_members(
    store: Store, loader: Loader
) -> None:
    chief, next_chief, member = somebody(PER), somebody(PER), somebody(INT)
    org = some_box(ORG, chief)
    load(loader, chief, next_chief, member, org)
    change = org | {Column.ACTION: "M", Column.RESPONSIBLE: next_chief[Column.NATIONAL_ID]}
    change[Column.MEMBERS] = member[Column.USUAL]
    (told,) = load(loader, change)
    assert told.outcome is Outcome.CHANGED
    box = box_at(store, told)
    records = store.read(lambda r: r.records("bal", box.id)).result()
    assert records["responsible"].values["national_id"] == f"8{next_chief[Column.NATIONAL_ID]}"
    assert len(store.read(lambda r: r.members(box.id)).result()) == 1
    assert outcomes(load(loader, change)) == [Outcome.UNCHANGED]


def test_s_closes_for_ever(store: Store, loader: Loader) -> None:
    cells, app = somebody(PER), some_box(APP)
    created = load(loader, cells, app)
    told = load(loader, cells | {Column.ACTION: "S"}, app | {Column.ACTION: "S"})
    assert outcomes(told) == [Outcome.CLOSED] * 2
    assert all(box_at(store, each).state is BalState.CLOSED for each in created)
    again = load(loader, cells | {Column.ACTION: "S"}, app | {Column.ACTION: "S"})
    assert outcomes(again) == [Outcome.UNCHANGED] * 2
    back = load(loader, cells, app)
    assert outcomes(back) == [Outcome.REFUSED] * 2
    assert "close" in back[0].sentence


def test_who_has_left_one_structure_is_loaded_by_another(store: Store, loader: Loader) -> None:
    """And a line of an old file brings nobody back where the person has left."""
    everywhere = replace(loader, reaches=lambda _: True)
    here = somebody(PER)
    there = here | {Column.STRUCTURE: OTHER}
    load(everywhere, here)
    assert outcomes(load(everywhere, there)) == [Outcome.REFUSED]
    load(everywhere, here | {Column.ACTION: "S"})
    (told,) = load(everywhere, there)
    assert told.outcome is Outcome.CREATED
    assert told.address.endswith("@autre.mssante.example")
    assert outcomes(load(everywhere, there)) == [Outcome.UNCHANGED]
    (former,) = load(everywhere, here)
    assert "a déjà un compte ailleurs" in former.sentence


@pytest.mark.attack("ATT-24")
def test_att_24_a_line_that_closes_somebody_ends_nothing_of_another_structure(
    store: Store, loader: Loader
) -> None:
    here = somebody(PER)
    (told,) = load(loader, here)
    home = box_at(store, told)
    other = store.read(lambda r: r.structure_by_number(OTHER)).result()
    assert other is not None

    def beside(writing: Writing) -> Bal:
        holder = writing.person(Address.parse(here[Column.USUAL]))
        assert holder is not None
        new = NewBox(BalType.PER, other.id)
        return boxes.create(writing, loader.rules, new, holder)

    second = store.write(beside).result()
    assert outcomes(load(loader, here | {Column.ACTION: "S"})) == [Outcome.CLOSED]
    (again,) = load(loader, here | {Column.ACTION: "S"})
    assert (again.outcome, again.address) == (Outcome.UNCHANGED, told.address)
    states = [store.read(partial(Reading.bal_by_id, bal=b.id)).result() for b in (home, second)]
    assert [each.state for each in states if each] == [BalState.CLOSED, BalState.ACTIVE]
    account = store.read(lambda r: r.account_of(second.id)).result()
    assert account is not None
    assert account.active


_CHANGED = {Column.LAST_NAME: "Autre"}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (_CHANGED, "existe déjà, avec d'autres valeurs (nom) ; mettez l'action M"),
        ({Column.TYPE: "MED", Column.NATIONAL_ID: "", Column.PROFESSION: ""}, "ne change jamais"),
        ({Column.ACTION: "M", Column.ADDRESS: "autre.nom"}, "ne change jamais"),
        ({Column.STRUCTURE: OTHER}, "aucune structure que vous administrez"),
        ({Column.STRUCTURE: "990000099"}, "aucune structure que vous administrez"),
        ({Column.USUAL: "neuve@chezelle.example"}, "ce numéro a déjà un compte"),
        ({Column.USUAL: f"neuve@{DOMAIN}"}, "c'est une adresse MSSanté"),
        ({Column.ACTION: "M", Column.USUAL: "qui@chezelle.example"}, "l'action C le crée"),
    ],
)
def test_a_line_against_what_is_stored_is_refused(
    store: Store, loader: Loader, change: Cells, why: str
) -> None:
    cells = somebody(PER)
    load(loader, cells)
    before = person_of(store, cells)
    changed = {column: text for column, text in {**cells, **change}.items() if text}
    (told,) = load(loader, changed)
    assert told.outcome is Outcome.REFUSED
    assert why in told.sentence
    assert person_of(store, cells) == before


def test_the_account_of_another_structure_is_neither_changed_nor_shown(
    store: Store, loader: Loader
) -> None:
    theirs = somebody(PER) | {Column.STRUCTURE: OTHER}
    everywhere = replace(loader, reaches=lambda _: True)
    assert outcomes(load(everywhere, theirs)) == [Outcome.CREATED]
    for action in ("C", "M", "S"):
        claimed = theirs | {Column.STRUCTURE: FINESS, Column.ACTION: action}
        (told,) = load(loader, claimed)
        assert told.outcome is Outcome.REFUSED
        assert "a déjà un compte ailleurs" in told.sentence
        assert told.address == ""


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({Column.ADDRESS: "postmaster"}, "est réservée"),
        ({Column.ADDRESS: "noreply"}, "est réservé aux boîtes APP"),
        ({Column.MEMBERS: "inconnue@chezelle.example"}, "« inconnue@chezelle.example »"),
        ({Column.RESPONSIBLE: "10000000009"}, "chargez d'abord sa ligne PER"),
    ],
)
def test_an_org_line_that_names_what_is_not_there_is_refused(
    store: Store, loader: Loader, change: Cells, why: str
) -> None:
    chief = somebody(PER)
    org = {**some_box(ORG, chief), **change}
    told = load(loader, chief, org)
    assert outcomes(told) == [Outcome.CREATED, Outcome.REFUSED]
    assert why in told[1].sentence
    address = Address.parse(f"{org[Column.ADDRESS]}@{DOMAIN}")
    assert store.read(lambda r: r.bal(address)).result() is None


def test_the_certificate_of_another_organisation_opens_no_box(loader: Loader) -> None:
    theirs = some_box(APP) | {Column.CERTIFICATE: "CN=dpi.autre.example,OU=1010000024,C=FR"}
    (told,) = load(loader, theirs)
    assert told.outcome is Outcome.REFUSED
    assert "d'une autre organisation" in told.sentence


@pytest.mark.requirement("DEF-10")
def test_a_wrong_line_hinders_no_other_but_with_all_or_nothing(
    store: Store, loader: Loader
) -> None:
    good, bad = somebody(PER), somebody(PER) | {Column.STRUCTURE: OTHER}
    plan = plan_of(good, bad)
    whole = loader.whole(plan.requests)
    assert outcomes(whole) == [Outcome.CREATED, Outcome.REFUSED]
    assert person_of(store, good) is None
    assert outcomes(load(loader, good, bad)) == [Outcome.CREATED, Outcome.REFUSED]
    assert person_of(store, good) is not None
    assert outcomes(loader.whole(plan_of(somebody(MED)).requests)) == [Outcome.CREATED]


@pytest.mark.requirement("DEF-10")
def test_a_line_that_fails_in_the_middle_leaves_nothing(
    store: Store, loader: Loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells, after = somebody(PER), somebody(PER)

    def fails(*_: object) -> None:
        raise RuntimeError("between the box and its account")

    with monkeypatch.context() as patch:
        patch.setattr("mssmtp.storage.views.Writing.create_person", fails)
        with pytest.raises(RuntimeError):
            load(loader, cells)
    assert person_of(store, cells) is None
    assert store.read(lambda r: r.account(cells[Column.USUAL])).result() is None
    assert outcomes(load(loader, cells, after)) == [Outcome.CREATED] * 2


@pytest.mark.attack("ATT-22")
@pytest.mark.parametrize(
    "text", ["') OR 1=1 --", "*)(uid=*))(|(uid=*", "%00", "{{7*7}}", "$(id)", "`id`"]
)
def test_att_22_what_a_cell_says_is_only_text(store: Store, loader: Loader, text: str) -> None:
    before = len(store.read(lambda r: r.persons()).result())
    free_text = somebody(PER) | {Column.SERVICE: text}
    told = load(loader, free_text)
    for column in Column:
        if column is not Column.SERVICE:
            told += load(loader, somebody(PER) | {column: text})
    assert outcomes(told) == [Outcome.CREATED] + [Outcome.REFUSED] * (len(Column) - 1)
    assert len(store.read(lambda r: r.persons()).result()) == before + 1
    person = person_of(store, free_text)
    assert person is not None
    assert store.read(lambda r: r.person_details(person.id)).result().service == text
