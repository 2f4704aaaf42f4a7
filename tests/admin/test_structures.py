"""Who makes structures and accounts (SEED-38), and whose they are."""

from __future__ import annotations

import pytest

from mssmtp.admin.authority import Denied
from mssmtp.admin.callers import actor_of_user
from mssmtp.identity import Authenticator, BadCredentials
from mssmtp.mail import Actor, Address, AdminLevel, Bal, BalId, BalState, BalType, PersonState
from mssmtp.people import boxes
from mssmtp.storage import Writing
from mssmtp.storage.register import RegisterEntry
from tests.admin.conftest import DAY, OPERATOR, Desk, Refuses, Said
from tests.home import CLOCK, ENTROPY


@pytest.mark.requirement("SEED-38")
def test_the_operator_makes_a_structure_and_its_administrator_who_makes_accounts_of_it_alone(
    desk: Desk, refuses: Refuses
) -> None:
    finess_a, dsi_a = desk.structure()
    finess_b, dsi_b = desk.structure()
    assert (dsi_a.level, dsi_a.structure) != (dsi_b.level, dsi_b.structure)
    # Only the operator makes structures.
    for actor in (dsi_a, Actor(AdminLevel.REGION, "ars", region="84")):
        refuses(403, actor, "structure.create", name="X", finess=desk.finess())
    # Creates, modifies and deletes accounts of its own …
    made = desk.person(dsi_a, last_name="Tartempion")
    assert (made["structure"], made["state"]) == (finess_a, "pre-registered")
    changed = desk.ask(dsi_a, "person.change", person=made["usual_address"], last_name="Durand")
    assert changed["last_name"] == "Durand"
    assert [row["id"] for row in desk.ask(dsi_a, "person.list")] == [made["id"]]
    # … and of no other structure.
    foreign = made["usual_address"]
    assert desk.ask(dsi_b, "person.list") == []
    refuses(
        404,
        dsi_b,
        "person.add",
        structure=finess_a,
        usual_address="x@cabinet.example",
        last_name="X",
        first_name="Y",
    )
    refuses(404, dsi_b, "person.change", person=foreign, last_name="Volé")
    refuses(404, dsi_b, "person.close", person=foreign)
    refuses(404, dsi_b, "bal.close", address=made["box"])
    refuses(404, dsi_b, "bal.create", structure=finess_a, type="ORG", local="vol", label="Vol")
    assert desk.ask(dsi_a, "person.show", person=foreign)["last_name"] == "Durand"
    closed = desk.ask(dsi_a, "person.close", person=foreign)
    assert closed["box_state"] == "closed"


@pytest.mark.requirement("MED-16")
def test_a_region_acts_in_its_structures_and_in_no_other(desk: Desk, refuses: Refuses) -> None:
    finess_here, dsi = desk.structure(region="84")
    finess_there, _ = desk.structure(region="93")
    region = Actor(AdminLevel.REGION, "ars", region="84")
    listed = {row["finess"] for row in desk.ask(region, "structure.list")}
    assert finess_here in listed
    assert finess_there not in listed
    assert desk.ask(region, "structure.show", structure=finess_here)["missing"] == []
    refuses(404, region, "structure.show", structure=finess_there)
    made = desk.person(region, structure=finess_here)
    assert desk.ask(dsi, "person.show", person=made["usual_address"])["id"] == made["id"]
    refuses(403, dsi, "person.certify", person=made["usual_address"])


def test_what_is_missing_is_told_until_all_is_declared(desk: Desk, refuses: Refuses) -> None:
    finess = desk.finess()
    made = desk.ask(OPERATOR, "structure.create", name="Maison", finess=finess, region="84")
    dsi = Actor(AdminLevel.STRUCTURE, "dsi", structure=made["id"])
    before = desk.ask(dsi, "structure.show")["missing"]
    assert "domaine MSSanté" in before
    refuses(400, dsi, "structure.declare", kind="project-lead", at=DAY)  # its name is missing
    after = desk.ask(
        dsi, "structure.declare", kind="project-lead", at=DAY, values={"name": "Chef"}
    )["missing"]
    assert len(after) == len(before) - 1
    # The agreement is with the operator, who records it.
    refuses(403, dsi, "structure.agree", at=DAY, signed_by="moi")


@pytest.mark.requirement("SEED-26")
def test_what_was_declared_last_lets_all_boxes_of_a_structure_work(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    # More than one commit may review.
    monkeypatch.setattr(boxes, "REVIEWED_AT_ONCE", 2)
    finess = desk.finess()
    made = desk.ask(OPERATOR, "structure.create", name="Clinique", finess=finess, region="84")
    dsi = Actor(AdminLevel.STRUCTURE, "dsi", structure=made["id"])
    desk.ask(OPERATOR, "structure.domain", structure=finess, domain="commun.test")
    for number in range(5):
        desk.ask(dsi, "bal.create", type="APP", local=f"dossier{number}-{finess}", label="Dossier")
    pages = [desk.ask(dsi, "bal.list", limit=2)]
    while pages[-1]:
        pages.append(desk.ask(dsi, "bal.list", limit=2, after=pages[-1][-1]["id"]))
    assert [len(page) for page in pages] == [2, 2, 1, 0]
    assert {row["state"] for page in pages for row in page} == {"suspended"}
    desk.ask(OPERATOR, "structure.agree", structure=finess, at=DAY, signed_by="La directrice")
    for kind, told in (
        ("project-lead", {"name": "Chef"}),
        ("administrator", {"name": "dsi"}),
        ("data-protection-register", {}),
        ("patient-notice", {}),
    ):
        desk.ask(dsi, "structure.declare", kind=kind, at=DAY, values=told)
    assert [row["state"] for row in desk.ask(dsi, "bal.list")] == ["active"] * 5
    assert desk.ask(dsi, "structure.show")["boxes"] == 5


def test_a_domain_is_told_to_whom_it_concerns(desk: Desk, refuses: Refuses) -> None:
    finess, dsi = desk.structure(domain="clinique-b.test")
    _, other = desk.structure(domain="commun.test")
    assert [row["domain"] for row in desk.ask(dsi, "domain.list")] == ["clinique-b.test"]
    shown = desk.ask(dsi, "domain.show", domain="clinique-b.test")
    assert (shown["controlled_by"], shown["structures"]) == (finess, [finess])
    refuses(404, other, "domain.show", domain="clinique-b.test")
    refuses(400, OPERATOR, "structure.domain", structure=finess, domain="a b")


def test_a_structure_with_open_boxes_is_not_closed_and_a_closed_one_administers_nothing(
    desk: Desk, refuses: Refuses
) -> None:
    finess, dsi = desk.structure()
    made = desk.person(dsi)
    refuses(400, OPERATOR, "structure.close", structure=finess)
    desk.ask(dsi, "person.close", person=made["usual_address"])
    assert desk.ask(OPERATOR, "structure.close", structure=finess)["state"] == "closed"


@pytest.mark.requirement("SEED-22")
def test_an_org_box_has_no_login_of_its_own_and_its_administrator_lets_people_in_and_out(
    desk: Desk, refuses: Refuses
) -> None:
    """Nominative credentials only; the structure's administrator adds and removes the logins."""
    _, dsi = desk.structure()
    _, other = desk.structure()
    org = desk.ask(
        dsi,
        "bal.create",
        type="ORG",
        local=f"urgences{desk.number()}",
        label="Urgences",
        responsible=desk.person(dsi)["national_id"],
        agreed_on=DAY,
    )["address"]
    store = desk.office.store
    name = store.read(lambda r: r.account(org)).result()  # of members' passwords for this box
    assert name is not None
    assert not name.active
    assert store.read(lambda r: r.app_passwords(name.id)).result() == ()
    door = Authenticator(store, CLOCK, ENTROPY)
    with pytest.raises(BadCredentials):
        door.authenticate(org, "un-mot-de-passe-partage")
    person = desk.person(dsi)
    login = person["usual_address"]
    refuses(404, other, "bal.member.add", org=org, person=login, role="secretaire")
    stranger = desk.person(other)["usual_address"]
    refuses(404, dsi, "bal.member.add", org=org, person=stranger, role="lecteur")
    desk.ask(dsi, "bal.member.add", org=org, person=login, role="secretaire")
    account = store.read(lambda r: r.account(login)).result()
    assert account is not None
    box = store.read(lambda r: r.bal(Address.parse(org))).result()
    assert box is not None
    assert store.read(lambda r: r.role(account.id, box.id)).result() is not None
    desk.ask(dsi, "bal.member.remove", org=org, person=login)
    assert store.read(lambda r: r.role(account.id, box.id)).result() is None
    log = desk.ask(dsi, "person.activity", person=login)
    assert [row["request"].split()[0] for row in log[:2]] == [
        "bal.member.remove",
        "bal.member.add",
    ]


def test_what_the_operator_has_stopped_no_structure_starts_again(
    desk: Desk, refuses: Refuses
) -> None:
    _, dsi = desk.structure()
    made = desk.person(dsi)
    login, box = made["usual_address"], made["box"]
    desk.ask(dsi, "person.suspend", person=login)
    assert desk.ask(dsi, "person.resume", person=login)["box_state"] == "active"
    desk.ask(OPERATOR, "suspend.account", login=login, reason="vol de poste")
    refuses(400, dsi, "person.resume", person=login)
    refuses(400, dsi, "bal.activate", address=box)
    refuses(403, dsi, "suspend.end-account", login=login)
    account = desk.office.store.read(lambda r: r.account(login)).result()
    assert account is not None
    assert not account.active
    desk.ask(OPERATOR, "suspend.end-account", login=login)


def test_a_box_is_lent_to_nobody_of_another_structure(desk: Desk, refuses: Refuses) -> None:
    _, dsi = desk.structure()
    _, other = desk.structure()
    box, stranger = desk.person(dsi)["box"], desk.person(other)["usual_address"]
    for operation in ("bal.delegation.add", "bal.hand-over", "bal.break-glass"):
        until = "2030-01-01T00:00:00+00:00"
        more = {"reason": "absence"} | ({} if operation == "bal.break-glass" else {"until": until})
        refuses(404, dsi, operation, address=box, person=stranger, **more)
        refuses(404, other, operation, address=box, person=stranger, **more)


@pytest.mark.requirement("CL-31", "SEED-38")
def test_a_password_that_an_administrator_sees_opens_the_persons_own_box_alone(desk: Desk) -> None:
    _, dsi = desk.structure()
    finess, other = desk.structure()
    made = desk.person(dsi)
    login, box = made["usual_address"], made["box"]
    store = desk.office.store

    def let_in(writing: Writing) -> None:
        account = writing.account(login)
        assert account is not None
        person = writing.person_by_account(account.id)
        assert person is not None
        writing.set_person_state(person.id, PersonState.CERTIFIED)
        own, structure = writing.box_of(account.id), writing.structure_by_number(finess)
        assert own is not None
        assert structure is not None
        writing.set_bal_state(own.id, BalState.ACTIVE)
        name = Address.parse(f"service{desk.number()}@commun.test")
        org = Bal(BalId(0), name, BalType.ORG, structure=structure.id)
        writing.add_member(writing.add_box(org).id, account.id)

    store.write(let_in).result()
    opened = {}
    for actor in (dsi, OPERATOR):
        given = desk.ask(actor, "person.app-password.create", person=login, device="poste")
        who = Authenticator(store, CLOCK, ENTROPY).authenticate(given["login"], given["password"])
        opened[actor.level] = len(who.bals)
        assert str(who.bals[0].address) == box
    assert opened == {AdminLevel.STRUCTURE: 1, AdminLevel.OPERATOR: 2}
    assert other.structure != dsi.structure


@pytest.mark.requirement("OP-45", "SEED-20")
def test_a_number_that_the_register_does_not_confirm_waits_for_certification(desk: Desk) -> None:
    _, dsi = desk.structure()
    store = desk.office.store

    def certified() -> str:
        made = desk.person(dsi, type=BalType.MED.value, national_id=None, profession="")
        person = store.read(lambda r: r.person(Address.parse(made["usual_address"]))).result()
        assert person is not None
        store.write(lambda w: w.set_person_state(person.id, PersonState.CERTIFIED)).result()
        return str(made["usual_address"])

    def numbered(actor: Actor, listed: str | None) -> str:
        who, number = certified(), desk.rpps()
        person = store.read(lambda r: r.person(Address.parse(who))).result()
        assert person is not None
        if listed is not None:
            name = person.last_name if listed == "same" else "Autre"
            entry = RegisterEntry(f"8{number}", name)
            store.write(lambda w: w.put_register_entry(entry)).result()
        changed = desk.ask(actor, "person.change", person=who, national_id=number)
        pending = {row["person"] for row in desk.ask(actor, "person.pending")}
        assert (who in pending) is (changed["state"] == "not-certified")
        return str(changed["state"])

    assert numbered(dsi, None) == "not-certified"
    assert numbered(dsi, "same") == "certified"
    assert numbered(OPERATOR, None) == "certified"
    with pytest.raises(Said, match="annuaire"):
        numbered(OPERATOR, "other")


@pytest.mark.attack("ATT-25")
@pytest.mark.parametrize("act", ["person.close", "person.suspend"])
def test_att_25_who_has_left_does_not_come_back_with_the_end_of_a_suspension(
    desk: Desk, act: str
) -> None:
    _, dsi = desk.structure()
    made = desk.person(dsi)
    login = made["usual_address"]
    desk.ask(OPERATOR, "suspend.account", login=login)
    desk.ask(dsi, act, person=login)
    desk.ask(OPERATOR, "suspend.end-account", login=login)
    found = desk.office.store.read(lambda r: r.account(login)).result()
    assert found is not None
    assert not found.active


@pytest.mark.attack("ATT-24")
def test_att_24_nobody_ties_an_office_to_the_login_of_another_structure(
    desk: Desk, refuses: Refuses
) -> None:
    finess, dsi = desk.structure()
    _, other = desk.structure()
    login = desk.person(other)["usual_address"]
    given = {"level": "structure", "structure": finess, "user": 30_000 + desk.number()}
    refuses(404, dsi, "admin.add", name="lié", login=login, **given)
    own = desk.person(dsi)["usual_address"]
    assert desk.ask(dsi, "admin.add", name="lié", login=own, **given)["login"] == own


@pytest.mark.attack("ATT-25")
def test_att_25_who_is_suspended_or_has_left_is_out_of_office(desk: Desk) -> None:
    finess, dsi = desk.structure()
    login, uid = desk.person(dsi)["usual_address"], 40_000 + desk.number()
    name = f"adjointe {uid}"
    given = {"level": "structure", "structure": finess, "user": uid}
    desk.ask(dsi, "admin.add", name=name, login=login, **given)
    assert actor_of_user(desk.office.store, uid).name == name
    desk.ask(OPERATOR, "suspend.account", login=login)
    with pytest.raises(Denied):
        actor_of_user(desk.office.store, uid)


def test_a_domain_that_is_none_is_refused_with_its_reason(refuses: Refuses) -> None:
    refuses(400, OPERATOR, "suspend.domain", domain="pas un domaine")


def test_whom_a_structure_invites_is_set_by_the_operator_and_stays(
    desk: Desk, refuses: Refuses
) -> None:
    finess, dsi = desk.structure()
    assert desk.ask(dsi, "structure.show")["invites"] == "portal"
    changed = desk.ask(OPERATOR, "structure.change", structure=finess, invites="all")
    assert changed["invites"] == "all"
    desk.ask(OPERATOR, "structure.change", structure=finess, name="Autre nom")
    assert desk.ask(dsi, "structure.show")["invites"] == "all"
    refuses(400, OPERATOR, "structure.change", structure=finess, invites="tous")
    refuses(403, dsi, "structure.change", invites="off")


def test_a_domain_is_taken_away_once_no_box_of_it_is_open_and_another_may_have_it(
    desk: Desk, refuses: Refuses
) -> None:
    domain = "clinique-b.test"
    for row in desk.ask(OPERATOR, "domain.list"):
        if row["domain"] == domain and row["controlled_by"]:
            given = {"structure": row["controlled_by"], "domain": domain, "remove": True}
            desk.ask(OPERATOR, "structure.domain", **given)
    finess, dsi = desk.structure(domain=domain)
    other, _ = desk.structure()
    refuses(400, OPERATOR, "structure.domain", structure=other, domain=domain, remove=True)
    box = desk.person(dsi)["box"]
    refuses(400, OPERATOR, "structure.domain", structure=finess, domain=domain, remove=True)
    refuses(403, dsi, "structure.domain", domain=domain, remove=True)
    desk.ask(dsi, "bal.close", address=box)
    gone = desk.ask(OPERATOR, "structure.domain", structure=finess, domain=domain, remove=True)
    assert gone["domain"] == ""
    assert desk.ask(OPERATOR, "domain.show", domain=domain)["controlled_by"] == ""
    taken = desk.ask(OPERATOR, "structure.domain", structure=other, domain=domain)
    assert taken["domain"] == domain


@pytest.mark.requirement("SEED-21", "SEED-22")
def test_who_answers_for_an_org_box_opens_it_once_the_administrator_says_so(desk: Desk) -> None:
    _, dsi = desk.structure()
    doctor = desk.person(dsi)
    given = {"type": "ORG", "local": f"service{desk.number()}", "label": "Service"}
    org = desk.ask(dsi, "bal.create", **given)["address"]

    def shown() -> list[str]:
        found = desk.ask(dsi, "bal.show", address=org)
        return [found["responsible"], found["responsible_opens_as"]]

    assert shown() == ["", ""]
    number = doctor["national_id"]
    desk.ask(dsi, "bal.declare", address=org, responsible=number, agreed_on=DAY)
    assert shown() == [number, ""]
    assert desk.ask(dsi, "bal.member.list", org=org) == []
    login = doctor["usual_address"]
    desk.ask(dsi, "bal.member.add", org=org, person=login, role="responsable")
    assert shown() == [number, "responsable"]
    # Another one answers for it now: who opens it is as before.
    other = desk.person(dsi)["national_id"]
    desk.ask(dsi, "bal.declare", address=org, responsible=other)
    assert shown() == [other, ""]
    assert [row["role"] for row in desk.ask(dsi, "bal.member.list", org=org)] == ["responsable"]


@pytest.mark.requirement("OP-41", "SEED-19")
def test_nobody_is_offered_another_address_or_type_nor_a_member_of_a_box_of_one_person(
    desk: Desk, refuses: Refuses
) -> None:
    _, dsi = desk.structure()
    made, other = desk.person(dsi), desk.person(dsi)["usual_address"]
    for wish in ({"type": "ORG"}, {"local": "autre"}, {"address": other}, {"new_address": "x@y.z"}):
        for actor in (dsi, OPERATOR):
            given = {"address": made["box"], "phone": "01 99 00 00 01"} | wish
            refuses(404 if "address" in wish else 400, actor, "bal.change", **given)
    shown = desk.ask(dsi, "bal.show", address=made["box"])
    assert (shown["address"], shown["type"]) == (made["box"], "PER")
    refuses(400, dsi, "bal.member.add", org=made["box"], person=other, role="lecteur")


@pytest.mark.requirement("OP-43")
def test_a_domain_goes_from_one_structure_to_another_whole_or_not_at_all(
    desk: Desk, refuses: Refuses
) -> None:
    domain = "clinique-b.test"
    (first, dsi), (other, elsewhere), (busy, _) = (desk.structure() for _ in range(3))
    for row in desk.ask(OPERATOR, "domain.list"):
        if row["domain"] == domain and row["controlled_by"]:
            given = {"structure": row["controlled_by"], "domain": domain, "remove": True}
            desk.ask(OPERATOR, "structure.domain", **given)
    desk.ask(OPERATOR, "domain.change", structure=first, domain=domain)

    def controlled_by() -> object:
        return desk.ask(OPERATOR, "domain.show", domain=domain)["controlled_by"]

    assert controlled_by() == first
    # Taken from nobody for who may not have it: her boxes are in another domain (OP-41).
    desk.person(OPERATOR, structure=busy)
    refuses(400, OPERATOR, "domain.change", structure=busy, domain=domain)
    assert controlled_by() == first
    assert desk.ask(dsi, "structure.show")["domain"] == domain
    # Nor while a box of it is open.
    box = desk.person(dsi)["box"]
    refuses(400, OPERATOR, "domain.change", structure=other, domain=domain)
    assert (controlled_by(), desk.ask(elsewhere, "structure.show")["domain"]) == (
        first,
        "commun.test",
    )
    assert desk.ask(OPERATOR, "domain.change", structure=first, domain=domain)["structures"] == [
        first
    ]
    desk.ask(dsi, "bal.close", address=box)
    refuses(403, dsi, "domain.change", domain=domain)
    refuses(404, OPERATOR, "domain.change", structure="010000024", domain=domain)
    refuses(400, OPERATOR, "domain.change", structure=other, domain="ailleurs.test")
    moved = desk.ask(OPERATOR, "domain.change", structure=other, domain=domain)
    assert (moved["controlled_by"], moved["structures"]) == (other, [other])
    assert desk.ask(dsi, "structure.show")["domain"] == ""


@pytest.mark.attack("ATT-24")
def test_att_24_a_structure_ends_its_own_part_of_a_person_and_the_operator_all(
    desk: Desk, refuses: Refuses
) -> None:
    (_, here), (finess, there) = desk.structure(), desk.structure()
    made = desk.person(here)
    login = made["usual_address"]
    second = desk.ask(OPERATOR, "bal.create", structure=finess, type="PER", holder=login)["address"]

    def state(address: str) -> object:
        return desk.ask(OPERATOR, "bal.show", address=address)["state"]

    desk.ask(here, "person.suspend", person=login)
    assert (state(made["box"]), state(second)) == ("suspended", "active")
    desk.ask(here, "person.resume", person=login)
    assert (state(made["box"]), state(second)) == ("active", "active")
    refuses(404, there, "person.close", person=login)  # only her box is of the other one
    told = desk.ask(here, "person.close", person=login)
    assert told["box"] == made["box"]
    assert second not in str(told)  # nor does it learn where she goes on
    assert (state(made["box"]), state(second)) == ("closed", "active")
    refuses(404, here, "person.show", person=login)
    found = desk.ask(there, "person.show", person=login)
    assert (found["box"], found["structure"]) == (second, finess)
    # The log that the other one sees begins with the day it has her.
    requests = [row["request"] for row in desk.ask(there, "person.activity", person=login)]
    assert not [each for each in requests if "suspend" in each or "resume" in each]
    everything = [row["request"] for row in desk.ask(OPERATOR, "person.activity", person=login)]
    assert [each for each in everything if "person.suspend" in each]
    desk.ask(OPERATOR, "person.close", person=login)
    assert state(second) == "closed"


def test_a_box_of_no_structure_that_was_suspended_comes_back_by_activate_alone(desk: Desk) -> None:
    address = f"service{desk.number()}@hopital-a.test"
    desk.ask(OPERATOR, "bal.add", address=address, type="ORG")
    desk.ask(OPERATOR, "bal.suspend", address=address)
    # And by nothing else: what is declared meanwhile lifts no hand.
    declared = desk.ask(OPERATOR, "bal.declare", address=address, agreed_on=DAY)
    assert declared["state"] == "suspended"
    assert desk.ask(OPERATOR, "bal.activate", address=address)["state"] == "active"


@pytest.mark.attack("ATT-18")
def test_the_switch_of_application_passwords_wakes_the_sessions_of_the_structure(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    finess, dsi = desk.structure()
    desk.person(dsi)
    asked: list[int] = []

    def asks(_: Writing, structure: int, after: int = 0) -> int | None:
        asked.append(after)
        return 7 if after == 0 else None

    monkeypatch.setattr(Writing, "ask_sessions_of", asks)
    for on in (False, True):
        desk.ask(OPERATOR, "structure.app-passwords", structure=finess, on=on)
        assert asked == [0, 7]  # to the last portion; switched on it ends nobody's session
