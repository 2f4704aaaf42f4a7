"""What the holder of an account sees and does at her pages (SEED-42, SEED-47, SEED-48, CL-31)."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC

import pytest

from mssmtp.admin import OPERATIONS, Office, perform
from mssmtp.admin.authority import Conflict
from mssmtp.admin.operation import Answer, Row
from mssmtp.errors import ConfigError, StorageFull
from mssmtp.identity import app_password
from mssmtp.mail import AccountId, Actor, Address, BalType, Role, Structure, StructureId
from mssmtp.people import persons
from mssmtp.storage import Writing
from mssmtp.web import asking, cookies
from mssmtp.web.menu import ACCOUNT
from mssmtp.web.sentences import operation_key, sentence
from mssmtp.web.texts import LANGUAGES, catalogue
from tests.authority import A_DOMAIN
from tests.web.browser import CSRF, Browser, Page
from tests.web.conftest import PASSWORD, QUICK, Place

NUMBERS = itertools.count(1)
PATHS = tuple(path for path, _ in ACCOUNT)


@dataclass
class Holder:
    """Somebody who is logged in."""

    browser: Browser
    usual: str
    account: AccountId

    @property
    def box(self) -> str:
        return f"{self.usual.partition('@')[0]}@{A_DOMAIN}"

    def does(self, path: str, to: str = "", **fields: str) -> Page:
        return self.browser.submit(path, fields, to=to or None)


@pytest.fixture(scope="module", autouse=True)
def _quick_devices() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app_password, "COST", QUICK)
        yield


@pytest.fixture(scope="module")
def holder(place: Place) -> Iterator[Callable[..., Holder]]:
    browsers: list[Browser] = []

    def made(structure: StructureId | None = None) -> Holder:
        usual = f"h{next(NUMBERS)}@cabinet.example"
        account = place.person(usual, structure=structure)
        place.store.write(lambda writing: attested(writing, account)).result()
        browser = place.browser()
        browsers.append(browser)
        browser.log_in(usual, PASSWORD)
        place.clock.advance(61)
        return Holder(browser, usual, account)

    yield made
    for each in browsers:
        each.close()


@pytest.fixture(scope="module")
def ada(holder: Callable[..., Holder]) -> Holder:
    return holder()


@pytest.fixture(scope="module")
def luc(holder: Callable[..., Holder]) -> Holder:
    return holder()


def attested(writing: Writing, account: AccountId) -> None:
    person = writing.person_by_account(account)
    assert person is not None
    told = dict.fromkeys(("takes_part", "strictly_needed", "informed"), True)
    persons.attest(writing, person, writing.now(), told)


def traced(place: Place, job: Callable[[Writing], None]) -> None:
    place.store.write(job).result()


# ---------------------------------------------------------------- every page


@pytest.fixture(scope="module")
def stranger(place: Place) -> Browser:
    return place.browser()


@pytest.mark.parametrize("path", PATHS)
def test_every_page_is_shown_in_both_languages_and_to_nobody_else(
    ada: Holder, stranger: Browser, path: str
) -> None:
    for language in LANGUAGES:
        shown = ada.browser.get(path, {"Cookie": speaking(ada.browser, language)})
        assert (shown.status, shown.path) == (200, f"/{path}")
        assert catalogue(language)[dict(ACCOUNT)[path]] in shown.text
        assert f'lang="{language}"' in shown.html
    assert stranger.get(path).path.startswith("/connexion")


def speaking(browser: Browser, language: str) -> str:
    """The cookies of who has chosen `language`."""
    brought = browser.cookies | {cookies.LANGUAGE: language}
    return "; ".join(f"{name}={value}" for name, value in brought.items())


@pytest.mark.parametrize("path", [path for path in PATHS if path != "compte/activite"])
def test_no_form_is_taken_without_its_own_proof(ada: Holder, path: str) -> None:
    """ATT-24: another site cannot send it, nor a page of before."""
    for proof in ({}, {CSRF: "0" * 64}):
        assert ada.browser.post(path, {**proof, "faire": "revoquer-tous"}).status == 403


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("compte/appareils", {"faire": "revoquer", "numero": "x"}),
        ("compte/appareils", {"faire": "creer", "nom": "n" * 500}),
        ("compte/appareils", {"faire": "creer", "nom": "a\x00b"}),
        ("compte/appareils", {"faire": "creer", "nom": "n", "service": "root"}),
        ("compte/appareils", {"faire": "creer", "nom": "n", "jours": "-1"}),
        ("compte/delegations", {"personne": "", "droit": "read"}),
        ("compte/delegations", {"personne": "x@y.example", "droit": "own"}),
        ("compte/delegations", {"personne": "x@y.example", "fin": "demain"}),
        (
            "compte/delegations",
            {"faire": "relever", "personne": "x@y.example", "fin": "9999-12-31"},
        ),
        ("compte/notifications", {"boite": "rien@ailleurs.test", "arrival": "never"}),
        ("compte/notifications", {"boite": "", "arrival": "toujours"}),
        ("compte/absence", {"texte": " "}),
        ("compte/absence", {"texte": "Bonjour", "debut": "2027-02-01", "fin": "2027-01-01"}),
        ("compte/boite", {"texte": "x" * 5_000}),
        ("compte/sessions", {"faire": "une", "numero": "999999"}),
        ("compte/identites", {"numero": "999999"}),
        ("compte/mot-de-passe", {"present": "faux"}),
        ("compte/mot-de-passe/code", {"attempt": "x", "code": "000000", "password": "Abcdef2"}),
    ],
)
def test_what_cannot_be_is_refused_in_words_and_nothing_breaks(
    ada: Holder, path: str, fields: dict[str, str]
) -> None:
    shown = ada.browser.submit(path.removesuffix("/code"), fields, to=path)
    assert 400 <= shown.status < 500, shown.text
    assert "mssmtp" not in shown.text
    assert 'role="alert"' in shown.html


@pytest.mark.parametrize(
    ("refusal", "status"),
    [
        (Conflict("x", StorageFull()), 503),
        (ConfigError("x", "ne va pas", "`mssmtp bal show` le dit."), 422),
    ],
)
def test_a_refusal_of_an_operation_names_no_command(
    ada: Holder, monkeypatch: pytest.MonkeyPatch, refusal: ConfigError, status: int
) -> None:
    done = perform

    def refused(office: Office, actor: Actor, name: str, body: bytes) -> Answer:
        if name != "bal.keep":
            return done(office, actor, name, body)
        raise refusal from StorageFull()

    monkeypatch.setattr(asking, "perform", refused)
    shown = ada.does("compte/boite", faire="garder")
    assert shown.status == status
    for word in ("mssmtp", "commande", "`"):
        assert word not in shown.text


# ---------------------------------------------------------------- devices


@pytest.mark.requirement("CL-31")
def test_a_device_password_is_shown_once_and_revoked(ada: Holder) -> None:
    made = ada.does("compte/appareils", nom="Thunderbird <b>", service="imap", jours="30")
    secret = re.search(r'class="secret">([a-z2-9-]+)<', made.html)
    assert secret is not None
    assert len(secret[1].replace("-", "")) == 20
    assert "&lt;b&gt;" in made.html
    again = ada.browser.get("compte/appareils")
    assert secret[1] not in again.html
    assert "lire seulement" in again.text
    twice = ada.does("compte/appareils", nom="Thunderbird <b>", service="imap")
    assert twice.status == 422
    assert "porte déjà ce nom" in twice.text
    number = re.search(r'name="numero" value="(\d+)"', again.html)
    assert number is not None
    done = ada.does("compte/appareils", faire="revoquer", numero=number[1])
    assert "est révoqué" in done.text
    assert 'value="revoquer"' not in done.html


def test_the_servers_and_ports_of_ours_are_told_for_mail_programs(
    ada: Holder, place: Place
) -> None:
    shown = ada.browser.get("compte/appareils").text
    listen = place.settings.listen
    for endpoint in (listen.imaps, listen.imap, listen.submissions, listen.submission):
        assert endpoint is None or str(endpoint.port) in shown
    assert place.settings.operator.host_name in shown


@pytest.mark.attack("ATT-24")
def test_a_device_of_somebody_else_is_not_there(ada: Holder, luc: Holder) -> None:
    luc.does("compte/appareils", nom="Poste de Luc")
    theirs = re.search(r'name="numero" value="(\d+)"', luc.browser.get("compte/appareils").html)
    assert theirs is not None
    assert ada.does("compte/appareils", faire="revoquer", numero=theirs[1]).status == 404
    assert "Poste de Luc" not in ada.browser.get("compte/appareils").text
    assert luc.does("compte/appareils", nom="x", boite=ada.box).status == 404
    assert "Tous les appareils" in luc.does("compte/appareils", faire="revoquer-tous").text


# ---------------------------------------------------------------- sessions and password


def test_sessions_are_listed_and_ended_one_or_all(
    place: Place, holder: Callable[..., Holder], luc: Holder
) -> None:
    one = holder()
    other = Holder(place.browser(), one.usual, one.account)
    other.browser.log_in(one.usual, PASSWORD)
    place.clock.advance(61)
    numbers = re.findall(r'name="numero" value="(\d+)"', other.browser.get("compte/sessions").html)
    assert len(numbers) == 2
    assert luc.does("compte/sessions", faire="une", numero=numbers[1]).status == 404
    assert "est terminée" in other.does("compte/sessions", faire="une", numero=numbers[1]).text
    assert one.browser.get("compte").path.startswith("/connexion")
    gone = other.does("compte/sessions", faire="toutes")
    assert gone.path.startswith("/connexion")
    assert other.browser.get("compte").path.startswith("/connexion")
    told = place.store.read(lambda r: r.traces(account=one.account)).result()
    assert {"session fermée", "toutes les sessions fermées"} <= {each.request for each in told}
    other.browser.close()


@pytest.mark.requirement("SEED-11")
def test_the_password_changes_by_the_present_one_and_a_code_and_ends_the_other_sessions(
    place: Place, holder: Callable[..., Holder]
) -> None:
    one = holder()
    other = place.browser()
    other.log_in(one.usual, PASSWORD)
    place.clock.advance(61)
    before = dict(one.browser.cookies)
    asked = one.does("compte/mot-de-passe", present=PASSWORD)
    hidden = {name: asked.fields[name] for name in (CSRF, "attempt")}
    weak = one.browser.post(
        "compte/mot-de-passe/code",
        {**hidden, "code": place.code(), "password": "court", "again": "court"},
    )
    assert weak.status == 422
    new = {**hidden, "code": place.code(), "password": "Nouveau22", "again": "Nouveau22"}
    done = one.browser.post("compte/mot-de-passe/code", new)
    assert "est changé" in done.text
    assert one.browser.cookies != before
    assert other.get("compte").path.startswith("/connexion")
    stolen = place.browser()
    stolen.cookies.update(before)
    assert stolen.get("compte").path.startswith("/connexion")
    replayed = one.browser.post("compte/mot-de-passe/code", new)
    assert replayed.status == 403
    for each in (other, stolen):
        each.close()


@pytest.mark.attack("ATT-21")
def test_the_code_of_somebody_else_changes_no_password(
    place: Place, holder: Callable[..., Holder]
) -> None:
    one, other = holder(), holder()
    asked = one.does("compte/mot-de-passe", present=PASSWORD)
    code = place.code()
    stolen = {"attempt": asked.fields["attempt"], "code": code, "password": "Nouveau22"}
    shown = other.does(
        "compte/mot-de-passe", "compte/mot-de-passe/code", **stolen, again="Nouveau22"
    )
    assert shown.status == 422
    assert other.browser.get("compte").path == "/compte"


# ---------------------------------------------------------------- delegations


@pytest.mark.requirement("SEED-42", "DEF-12")
def test_a_box_is_lent_seen_by_the_delegate_and_taken_back(
    ada: Holder, luc: Holder, place: Place
) -> None:
    given = ada.does("compte/delegations", personne=luc.box, droit="reply", fin="2099-01-31")
    assert "est donnée" in given.text
    assert luc.usual in given.text or luc.box in given.text
    assert ada.box in luc.browser.get("compte/delegations").text
    number = re.search(r'name="numero" value="(\d+)"', given.html)
    assert number is not None
    taken = luc.does("compte/delegations", faire="retirer", numero=number[1])
    assert taken.status == 404
    done = ada.does("compte/delegations", faire="retirer", numero=number[1])
    assert "est retiré" in done.text
    assert ada.does("compte/delegations", faire="retirer", numero=number[1]).status == 404
    assert ada.box not in luc.browser.get("compte/delegations").text
    log = ada.browser.get("compte/activite").text
    assert "Délégation retirée pour la boîte" in log
    assert "lire et répondre" in log


@pytest.mark.attack("ATT-24")
def test_nobody_of_another_structure_is_let_in_nor_known(
    ada: Holder, holder: Callable[..., Holder], place: Place
) -> None:
    def job(writing: Writing) -> StructureId:
        new = Structure(StructureId(0), "Ailleurs", "690000013", region="84")
        return writing.create_structure(new).id

    eve = holder(place.store.write(job).result())
    said = set()
    for who in (eve.usual, eve.box, "rien@cabinet.example"):
        for more in ({"faire": "deleguer"}, {"faire": "relever", "fin": "2026-02-01"}):
            shown = ada.does("compte/delegations", personne=who, **more)
            assert shown.status == 422
            assert 'aria-invalid="true"' in shown.html
            said.add(shown.text.casefold().replace(who, ""))
    assert len(said) == 1


@pytest.mark.requirement("SEED-48", "OP-72")
def test_the_log_says_who_did_what_from_where_in_sentences(
    holder: Callable[..., Holder], place: Place
) -> None:
    one = holder()

    def acts(writing: Writing) -> None:
        bal = writing.box_of(one.account)
        assert bal is not None
        mine = one.account
        writing.trace(
            "login", one.usual, "messagerie, appareil Mon <i>, depuis 192.0.2.7", account=mine
        )
        writing.trace(
            "login", one.usual, "messagerie, mot de passe d'application", "refused", account=mine
        )
        request = f"E1 from {bal.address} (on behalf), 3 recipients"
        writing.trace("send", "luc@x.example", request, "250 2.0.0", bal=bal.id)
        writing.trace(
            "administration", "dsi (structure 3)", 'person.change {"phone":"1"}', account=mine
        )
        writing.trace(
            "cloud-relay",
            one.usual,
            "relais de messagerie (Nuage), adresse 192.0.2.9",
            account=mine,
        )

    traced(place, acts)
    shown = one.browser.get("compte/activite")
    assert "avec l’appareil : Mon &lt;i&gt; – depuis l’adresse 192.0.2.7" in shown.html
    assert "luc@x.example" in shown.text
    assert "Envoi au nom du titulaire à 3 destinataire(s)" in shown.text
    assert "dsi (administrateur de la structure)" in shown.text
    assert "Fiche modifiée" in shown.text
    assert "refusé" in shown.text
    assert "192.0.2.9" in shown.text
    assert "Connexion à ces pages, mot de passe et code – depuis l’adresse 127.0.0.1" in shown.text
    assert "person." not in shown.text
    later = one.browser.get("compte/activite?du=2099-01-01")
    assert "Rien sur cette période" in later.text
    assert one.browser.get("compte/activite?du=demain").status == 422
    assert one.browser.get("compte/activite?avant=x").status == 422


def test_the_log_is_paged(holder: Callable[..., Holder], place: Place) -> None:
    one = holder()

    def acts(writing: Writing) -> None:
        for number in range(55):
            request = f"messagerie, appareil n{number:02d}."
            writing.trace("login", one.usual, request, account=one.account)

    traced(place, acts)
    first = one.browser.get("compte/activite")
    assert first.text.count("avec l’appareil") == 50
    link = re.search(r'href="(/compte/activite\?avant=[^"]+)"', first.html)
    assert link is not None
    second = one.browser.get(link[1].replace("&amp;", "&"))
    assert second.text.count("avec l’appareil") == 5
    assert "n54." in first.text
    assert "n04." in second.text


@pytest.mark.requirement("SEED-48")
def test_an_org_boxs_log_is_for_who_is_responsible_for_it(
    ada: Holder, luc: Holder, place: Place
) -> None:
    def job(writing: Writing) -> str:
        bal = writing.create_bal(Address.parse(f"accueil@{A_DOMAIN}"), BalType.ORG)
        writing.add_member(bal.id, ada.account, Role.RESPONSABLE)
        writing.add_member(bal.id, luc.account, Role.SECRETAIRE)
        writing.trace("delete", luc.usual, "EXPUNGE mailbox 3 UID 1", "1 messages", bal=bal.id)
        return str(bal.address)

    org = place.store.write(job).result()
    shown = ada.browser.get(f"compte/activite?boite={org}")
    assert "Suppression de messages" in shown.text
    assert luc.browser.get(f"compte/activite?boite={org}").status == 404
    assert org not in luc.browser.get("compte/activite").text
    assert luc.browser.get(f"compte/activite?boite={ada.box}").status == 404


def test_every_operation_on_an_account_or_box_has_its_sentence() -> None:
    known = catalogue("fr")
    lacking = [
        each.name
        for each in OPERATIONS
        if each.changes
        and each.name.startswith(("person.", "bal."))
        and f"acts.{operation_key(each.name)}" not in known
    ]
    assert lacking == []


@pytest.mark.parametrize(
    ("action", "request_", "answer", "key", "what"),
    [
        ("login", "messagerie, appareil a, b, depuis 2001:db8::1", "ok", "login_device", "a, b"),
        ("login", "portail, e-CPS", "ok", "login_identity", "e-CPS"),
        ("delete", "EXPUNGE mailbox 3 UID 1:4", "4 messages", "delete_letters", ""),
        ("read", "lu 7 messages", "ok", "read_seen", ""),
        ("account", "identité liée : carte CPx", "ok", "account_bound", "carte CPx"),
        ("account", "no script active", "ok", "account_script", ""),
        ("administration", "suspend: register says closed", "ok", "op_suspend", ""),
        ("administration", "bal.load ajouter PER z@a.test", "ok", "op_bal_load", ""),
        ("administration", "autre.chose {}", "ok", "other", ""),
        ("rights", "what nobody has ever written", "ok", "other", ""),
        ("whatever", "x", "ok", "other", ""),
    ],
)
def test_traces_are_read_as_they_are_written(
    action: str, request_: str, answer: str, key: str, what: str
) -> None:
    row: Row = {"action": action, "request": request_, "answer": answer}
    found = sentence(row, catalogue("fr"), UTC)
    assert (found.key, found.what) == (key, what)
    for language in ("fr", "en"):
        assert catalogue(language)[f"acts.{key}"].format_map(found.places)


# ---------------------------------------------------------------- the rest


@pytest.mark.requirement("SEED-47")
def test_what_one_is_told_of_is_chosen(ada: Holder) -> None:
    shown = ada.does("compte/notifications", boite=ada.box, arrival="daily", opening="never")
    assert "enregistrés" in shown.text
    assert '<option value="daily" selected>' in shown.html


@pytest.mark.requirement("SEED-44")
def test_an_absence_begins_and_ends(ada: Holder) -> None:
    asked = {"texte": "Absente, <voyez> Luc.", "debut": "2000-01-01", "fin": "2099-12-31"}
    shown = ada.does("compte/absence", **asked)
    assert "répond en ce moment" in shown.text
    assert "&lt;voyez&gt;" in shown.html
    assert 'value="2099-12-31"' in shown.html
    assert "ne répond pas" in ada.does("compte/absence", faire="arreter").text


@pytest.mark.requirement("SEED-45", "OP-48", "OP-54")
def test_signature_copies_red_list_and_the_year_of_the_box(ada: Holder, place: Place) -> None:
    def bal() -> tuple[bool, bool]:
        found = place.store.read(lambda r: r.box_of(ada.account)).result()
        assert found is not None
        return found.keeps_sent, found.is_red_listed

    signed = ada.does("compte/boite", faire="signature", texte="Dr Ada")
    assert "Dr Ada" in signed.html
    assert re.search(r"\d+ Mio occupés( sur \d+ Mio)?, messages : \d+", signed.text)
    ada.does("compte/boite", faire="copie")
    ada.does("compte/boite", faire="rouge", oui="on")
    assert bal() == (False, True)
    ada.does("compte/boite", faire="copie", oui="on")
    ada.does("compte/boite", faire="rouge")
    assert bal() == (True, False)
    kept = ada.does("compte/boite", faire="garder")
    assert f"{place.clock.now():%d/%m/%Y}" in kept.text


@pytest.mark.requirement("SEED-12")
def test_a_linked_identity_is_unlinked_by_its_holder_alone(
    ada: Holder, luc: Holder, place: Place
) -> None:
    def job(writing: Writing) -> int:
        return writing.bind_account("psc", "810000000009", ada.account, "e-CPS")

    number = str(place.store.write(job).result())
    assert "e-CPS" in ada.browser.get("compte/identites").text
    assert 400 <= luc.does("compte/identites", numero=number).status < 500
    done = ada.does("compte/identites", numero=number)
    assert "est déliée" in done.text
    assert f'value="{number}"' not in done.html
