"""What the holder of an account does herself: her own account and boxes, and nothing else
(ATT-24, ATT-25, SEED-38)."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import pytest

from mssmtp.admin import OPERATIONS
from mssmtp.mail import (
    AccountId,
    Actor,
    Address,
    AdminLevel,
    BalState,
    BalType,
    DelegateRight,
    PersonState,
    Principal,
    Role,
)
from mssmtp.people import persons
from mssmtp.storage import Store, Writing
from mssmtp.storage.people_values import NewPerson
from tests.admin.conftest import OPERATOR, Desk, Refuses, Said

HOLDERS = tuple(each.name for each in OPERATIONS if each.level is AdminLevel.HOLDER)
UNTIL = "2999-01-01T18:00:00+00:00"
REFUSED = {
    "person.app-password.revoke",
    "person.binding.remove",
    "bal.delegation.add",
    "bal.delegation.end",
    "bal.hand-over",
}
"""With the input that `given` makes: the number is nobody's, and nobody lends to herself."""


@dataclass(frozen=True, slots=True)
class Staff:
    """People of one structure, one of another."""

    desk: Desk
    dsi: Actor
    zoe: dict[str, Any]
    luc: dict[str, Any]
    eve: dict[str, Any]

    def holder(self, person: dict[str, Any]) -> Actor:
        """As the pages name who is logged in."""
        usual = str(person["usual_address"])
        return Actor(AdminLevel.HOLDER, usual, account=self.account(person))

    def account(self, person: dict[str, Any]) -> Any:
        found = self.desk.office.store.read(lambda r: r.account(person["usual_address"])).result()
        assert found is not None
        return found.id

    def opens(self, person: dict[str, Any]) -> Principal:
        """Which boxes the person's login opens, and with which rights."""
        account = self.account(person)
        return self.desk.office.store.read(lambda r: r.principal(account)).result()


@pytest.fixture
def staff(desk: Desk) -> Staff:
    _, dsi = desk.structure()
    _, other = desk.structure()
    made = [desk.person(dsi), desk.person(dsi), desk.person(other)]
    for each in made:
        certify(desk.office.store, each["usual_address"])
    return Staff(desk, dsi, *made)


def certify(store: Store, usual: str) -> None:
    def job(writing: Writing) -> None:
        account = writing.account(usual)
        assert account is not None
        person = writing.person_by_account(account.id)
        assert person is not None
        writing.set_person_state(person.id, PersonState.CERTIFIED)

    store.write(job).result()


def given(operation: str, person: dict[str, Any]) -> dict[str, Any]:
    """An input of each operation, about what is `person`'s."""
    box, login = {"address": person["box"]}, {"person": person["usual_address"]}
    more: dict[str, dict[str, Any]] = {
        "person.app-password.create": {"device": "Téléphone"},
        "person.app-password.revoke": {"number": 1 << 30},
        "person.binding.remove": {"number": 1 << 30},
        "bal.delegation.add": {"person": person["usual_address"]},
        "bal.delegation.end": {"id": 1 << 30},
        "bal.hand-over": {"person": person["usual_address"], "until": UNTIL},
        "bal.auto-reply.set": {"text": "Je suis absente."},
        "bal.signature.set": {"text": "Dr"},
        "bal.red-list": {"on": True},
        "bal.sent-copy": {"on": True},
    }
    return (login if operation.startswith("person.") else box) | more.get(operation, {})


@pytest.mark.attack("ATT-24", "ATT-25")
def test_a_holder_reaches_what_is_her_own_and_only_while_the_account_is_active(
    staff: Staff, refuses: Refuses
) -> None:
    """Every operation × own, colleague's, another structure's, nobody's, suspended, left."""
    desk, zoe = staff.desk, staff.holder(staff.zoe)
    nobody = {"usual_address": "personne@cabinet.example", "box": "personne@commun.test"}
    for name in HOLDERS:
        for foreign in (staff.luc, staff.eve, nobody):
            refuses(404, zoe, name, **given(name, foreign))
        with pytest.raises(Said) if name in REFUSED else nullcontext():
            desk.ask(zoe, name, **given(name, staff.zoe))
    for end in ("person.suspend", "person.close"):
        desk.ask(staff.dsi, end, person=staff.zoe["usual_address"])
        for name in HOLDERS:
            refuses(403, zoe, name, **given(name, staff.zoe))


def test_the_rest_of_the_table_is_refused_to_a_holder(staff: Staff, refuses: Refuses) -> None:
    zoe = staff.holder(staff.zoe)
    for operation in OPERATIONS:
        if operation.level is not AdminLevel.HOLDER:
            refuses(403, zoe, operation.name)


def test_nobody_is_named_an_administrator_of_the_level_of_holders(
    staff: Staff, refuses: Refuses
) -> None:
    login = staff.zoe["usual_address"]
    refuses(400, staff.dsi, "admin.add", name="x", level="holder", login=login)
    with pytest.raises(ValueError, match="holder"):
        Actor(AdminLevel.HOLDER, "x")


@pytest.mark.requirement("CL-31")
def test_her_device_opens_all_she_may_open_or_the_one_box_she_says(staff: Staff) -> None:
    desk, zoe = staff.desk, staff.holder(staff.zoe)
    login = {"person": staff.zoe["usual_address"]}
    made = desk.ask(zoe, "person.app-password.create", **login, device="Tablette", service="imap")
    assert len(made["password"]) == 20
    only = desk.ask(
        zoe, "person.app-password.create", **login, device="PC", box=staff.zoe["box"], days=30
    )
    assert only["login"] == staff.zoe["box"]
    rows = desk.ask(zoe, "person.app-password.list", **login)
    assert [(row["box"], row["service"]) for row in rows] == [
        (None, "imap"),
        (staff.zoe["box"], "both"),
    ]
    with pytest.raises(Said, match="404"):
        desk.ask(zoe, "person.app-password.create", **login, device="x", box=staff.luc["box"])
    assert desk.ask(zoe, "person.app-password.revoke-all", **login)["revoked"] == 2
    states = {row["state"] for row in desk.ask(zoe, "person.app-password.list", **login)}
    assert states == {"revoked"}
    assert desk.ask(zoe, "person.app-password.revoke-all", **login)["revoked"] == 0


@pytest.mark.requirement("SEED-42")
def test_she_lends_her_box_to_a_colleague_and_to_nobody_of_another_structure(
    staff: Staff, refuses: Refuses
) -> None:
    desk, zoe, luc = staff.desk, staff.holder(staff.zoe), staff.holder(staff.luc)
    box = {"address": staff.zoe["box"]}
    for stranger in (staff.eve["usual_address"], staff.eve["box"], "rien@cabinet.example"):
        refuses(404, zoe, "bal.delegation.add", **box, person=stranger)
    lent = desk.ask(
        zoe, "bal.delegation.add", **box, person=staff.luc["box"], right="reply", until=UNTIL
    )
    told = desk.ask(luc, "person.delegations", person=staff.luc["usual_address"])
    assert [(row["box"], row["right"], row["in_force"]) for row in told] == [
        (staff.zoe["box"], "reply", True)
    ]
    refuses(404, luc, "bal.delegation.end", **box, id=lent["id"])
    refuses(404, luc, "bal.activity", **box)
    desk.ask(zoe, "bal.delegation.end", **box, id=lent["id"])
    assert desk.ask(luc, "person.delegations", person=staff.luc["usual_address"]) == []
    assert desk.ask(zoe, "bal.delegation.list", **box)[0]["ended"] is not None


@pytest.mark.requirement("SEED-42", "DEF-12")
def test_one_address_of_a_mixed_practice_is_kept_by_a_secretary_of_each_place(
    staff: Staff, refuses: Refuses
) -> None:
    """Hospital and practice: one box, a secretary in each structure, each with her own login."""
    desk = staff.desk
    zoe, box = staff.holder(staff.zoe), {"address": staff.zoe["box"]}
    lent = {"right": "send", "until": UNTIL}
    # Neither she nor her hospital reaches people of another structure: the operator does.
    for actor in (zoe, staff.dsi):
        refuses(404, actor, "bal.delegation.add", **box, person=staff.eve["usual_address"], **lent)
    for actor, secretary in ((zoe, staff.luc), (OPERATOR, staff.eve)):
        person = secretary["usual_address"]
        desk.ask(actor, "bal.delegation.add", **box, person=person, **lent)
    for secretary in (staff.luc, staff.eve):
        principal = staff.opens(secretary)
        assert [str(bal.address) for bal in principal.bals] == [secretary["box"], staff.zoe["box"]]
        assert principal.lent(principal.bals[1].id) is DelegateRight.SEND
    rows = desk.ask(zoe, "bal.delegation.list", **box)
    people = {staff.luc["usual_address"], staff.eve["usual_address"]}
    assert {row["person"] for row in rows if row["in_force"]} == people
    log = desk.ask(zoe, "person.activity", person=staff.zoe["usual_address"])
    given = " ".join(row["request"] for row in log if row["action"] == "rights")
    assert all(person in given for person in people), "she sees both, whoever gave them"
    # She takes back what the operator gave, and the other secretary keeps hers.
    (hers,) = (row["id"] for row in rows if row["person"] == staff.eve["usual_address"])
    desk.ask(zoe, "bal.delegation.end", **box, id=hers)
    assert [len(staff.opens(each).bals) for each in (staff.eve, staff.luc)] == [1, 2]


@pytest.mark.requirement("SEED-42")
def test_one_address_of_a_coordinated_practice_is_opened_by_people_of_several_structures(
    staff: Staff, refuses: Refuses
) -> None:
    """A house of health: one ORG box of its own, whose members come from where they work."""
    desk, store = staff.desk, staff.desk.office.store
    _, house = desk.structure()
    org = desk.ask(house, "bal.create", type="ORG", label="MSP", local=f"msp{desk.number()}")
    for person in (staff.zoe, staff.eve):
        member = {"person": person["usual_address"], "role": Role.SECRETAIRE.value}
        refuses(404, house, "bal.member.add", org=org["address"], **member)
        desk.ask(OPERATOR, "bal.member.add", org=org["address"], **member)

    def opens(writing: Writing) -> None:
        bal = writing.bal(Address.parse(org["address"]))
        assert bal is not None
        writing.set_bal_state(bal.id, BalState.ACTIVE)

    store.write(opens).result()
    for person in (staff.zoe, staff.eve):
        boxes = staff.opens(person).bals
        assert [str(bal.address) for bal in boxes] == [person["box"], org["address"]]


@pytest.mark.attack("ATT-21", "ATT-24")
@pytest.mark.requirement("SEED-37")
def test_att_21_who_has_registered_alone_learns_of_nobody_and_lends_to_nobody(
    desk: Desk, refuses: Refuses
) -> None:
    """A mail address is enough to register: of everybody who works alone it told who has one."""
    store, number = desk.office.store, desk.number()

    def comes(writing: Writing, name: str) -> AccountId:
        new = NewPerson(Address.parse(f"{name}{number}@ailleurs.example"), "Pirate", name)
        person = persons.self_register(writing, new)
        box = writing.create_bal(Address.parse(f"{name}{number}@commun.test"), BalType.INT)
        writing.give_box(person.account, box.id)
        writing.set_person_state(person.id, PersonState.NOT_CERTIFIED)
        return person.account

    eve = store.write(lambda w: comes(w, "eve")).result()
    store.write(lambda w: comes(w, "noe")).result()
    actor = Actor(AdminLevel.HOLDER, "eve", account=eve)
    said = []
    for other in (f"noe{number}", f"nobody{number}"):
        for named in (f"{other}@ailleurs.example", f"{other}@commun.test"):
            with pytest.raises(Said, match="404") as refused:
                desk.ask(
                    actor,
                    "bal.delegation.add",
                    address=f"eve{number}@commun.test",
                    person=named,
                )
            said.append(str(refused.value).replace(other, ""))
    assert said[:2] == said[2:]
    for name in ("eve", "noe"):
        certify(store, f"{name}{number}@ailleurs.example")
    # Both certified, she reaches a colleague, and hears what that one still lacks (SEED-31).
    lent = {"address": f"eve{number}@commun.test", "person": f"noe{number}@commun.test"}
    refuses(400, actor, "bal.delegation.add", **lent)


@pytest.mark.requirement("OP-72", "SEED-48")
def test_what_a_delegate_does_in_her_box_stands_in_her_log_and_once(staff: Staff) -> None:
    desk, zoe = staff.desk, staff.holder(staff.zoe)
    own, luc = staff.account(staff.zoe), staff.account(staff.luc)

    def acts(writing: Writing) -> None:
        box = writing.box_of(own)
        assert box is not None
        writing.trace("send", "luc", "e1 from her box", "250 2.0.0", account=luc, bal=box.id)
        writing.trace("login", "zoe", "messagerie, appareil PC", account=own, bal=box.id)

    desk.office.store.write(acts).result()
    login = {"person": staff.zoe["usual_address"]}
    log = desk.ask(zoe, "person.activity", **login)
    assert [(row["action"], row["author"]) for row in log[:2]] == [
        ("login", "zoe"),
        ("send", "luc"),
    ]
    numbers = [row["number"] for row in log]
    assert len(set(numbers)) == len(numbers)
    older = desk.ask(zoe, "person.activity", **login, before=numbers[0], limit=1)
    assert [row["number"] for row in older] == [numbers[1]]
    assert desk.ask(zoe, "person.activity", **login, since=UNTIL) == []
    assert desk.ask(zoe, "person.activity", **login, until="2000-01-01T00:00:00+00:00") == []


@pytest.mark.requirement("SEED-48")
def test_who_is_responsible_for_an_org_box_sees_its_log_and_other_members_do_not(
    staff: Staff, refuses: Refuses
) -> None:
    desk, zoe, luc = staff.desk, staff.holder(staff.zoe), staff.holder(staff.luc)
    org = desk.ask(
        staff.dsi, "bal.create", type="ORG", label="Accueil", local=f"org{desk.number()}"
    )
    for who, role in ((staff.zoe, Role.RESPONSABLE), (staff.luc, Role.SECRETAIRE)):
        member = {"person": who["usual_address"], "role": role.value}
        desk.ask(staff.dsi, "bal.member.add", org=org["address"], **member)

    def acts(writing: Writing) -> None:
        bal = next(each for each in writing.bals() if str(each.address) == org["address"])
        writing.trace(
            "send", "luc", "e2", "250 2.0.0", account=staff.account(staff.luc), bal=bal.id
        )

    desk.office.store.write(acts).result()
    log = desk.ask(zoe, "bal.activity", address=org["address"])
    assert ("send", "luc") in {(row["action"], row["author"]) for row in log}
    refuses(404, luc, "bal.activity", address=org["address"])
    refuses(404, staff.holder(staff.eve), "bal.activity", address=org["address"])
    member = {"person": staff.zoe["usual_address"], "role": Role.LECTEUR.value}
    desk.ask(staff.dsi, "bal.member.set", org=org["address"], **member)
    refuses(404, zoe, "bal.activity", address=org["address"])


@pytest.mark.requirement("OP-72")
def test_what_she_did_and_what_was_refused_her_stand_in_her_own_log(staff: Staff) -> None:
    desk, zoe = staff.desk, staff.holder(staff.zoe)
    login = {"person": staff.zoe["usual_address"]}
    desk.ask(zoe, "bal.sent-copy", address=staff.zoe["box"], on=False)
    with pytest.raises(Said, match="404"):
        desk.ask(zoe, "bal.sent-copy", address=staff.luc["box"], on=False)
    log = desk.ask(zoe, "person.activity", **login)
    assert [row["answer"].partition(" : ")[0] for row in log[:2]] == ["refusé", "ok"]
    assert {row["author"] for row in log[:2]} == {f"{login['person']} (titulaire)"}


def test_an_emergency_access_is_seen_and_not_ended_by_the_holder(
    staff: Staff, refuses: Refuses
) -> None:
    desk, zoe = staff.desk, staff.holder(staff.zoe)
    box = {"address": staff.zoe["box"]}
    opened = desk.ask(
        staff.dsi,
        "bal.break-glass",
        **box,
        person=staff.luc["usual_address"],
        reason="patient de garde, titulaire injoignable",
    )
    assert desk.ask(zoe, "bal.delegation.list", **box)[0]["kind"] == "break-glass"
    refuses(400, zoe, "bal.delegation.end", **box, id=opened["id"])


@pytest.mark.attack("ATT-24")
def test_what_is_a_colleagues_is_refused_in_the_words_of_what_does_not_exist(staff: Staff) -> None:
    zoe = staff.holder(staff.zoe)
    said = []
    for address in (staff.luc["box"], "rien@commun.test"):
        with pytest.raises(Said) as refused:
            staff.desk.ask(zoe, "bal.signature", address=address)
        said.append(str(refused.value).replace(address, ""))
    assert said[0] == said[1]
