"""What a holder reads: sentences that end, words of hers, and no link that is lost on the way."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

import pytest

from mssmtp.errors import ConfigError
from mssmtp.identity import app_password
from mssmtp.people.refusing import NotAllowed
from mssmtp.storage import Writing
from mssmtp.web.sentences import author
from mssmtp.web.texts import problem_of
from tests.authority import A_DOMAIN
from tests.web.browser import Browser, Page
from tests.web.conftest import PASSWORD, QUICK, Place
from tests.web.test_links import CONDITIONS, choose, invited, open_link, person_of, secret

DEVICES = "compte/appareils"


@pytest.fixture(scope="module", autouse=True)
def _quick_devices() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app_password, "COST", QUICK)
        yield


@pytest.fixture(scope="module")
def ida(place: Place) -> Browser:
    place.person("ida@mots.example")
    browser = place.browser()
    browser.log_in("ida@mots.example", PASSWORD)
    place.clock.advance(61)
    return browser


def problem(page: Page) -> str:
    found = re.search(r'id="problem">\s*<p[^>]*>(.*?)</p>', page.html, re.DOTALL)
    assert found is not None, page.text
    return html.unescape(found[1])


def switched(browser: Browser, shown: Page, language: str) -> str:
    """Where the buttons below a page lead, with the fields they have."""
    kept = ("csrf", "page", "token")
    fields: dict[str, str | list[str]] = {n: shown.fields[n] for n in kept if n in shown.fields}
    sent = {"Origin": "null", "Sec-Fetch-Site": "same-origin"}
    answer = browser.ask("POST", "langue", {**fields, "langue": language}, sent)
    assert answer.status == 303
    return answer.headers["Location"]


# ---------------------------------------------------------------- links


def test_another_language_behind_a_link_keeps_the_link(place: Place, browser: Browser) -> None:
    token = secret(invited(place, "lang@mots.example"), "activation")
    shown = open_link(browser, token)
    assert switched(browser, shown, "en") == f"/activation#{token}"
    again = choose(browser, open_link(browser, token), "court", "court")
    assert switched(browser, again, "fr") == f"/activation/mot-de-passe#{token}"
    assert switched(browser, browser.get("connexion"), "fr") == "/connexion"


def test_what_was_typed_as_a_secret_leads_nowhere_else(browser: Browser) -> None:
    shown = open_link(browser, "x\r\nSet-Cookie: a=b#//ailleurs.example")
    place = switched(browser, shown, "fr")
    assert place == "/activation#x%0D%0ASet-Cookie%3A%20a%3Db%23%2F%2Failleurs.example"


def test_a_worn_out_activation_link_leads_to_the_login_in_both_languages(
    place: Place, browser: Browser
) -> None:
    token = secret(invited(place, "use@mots.example"), "activation")
    choose(browser, open_link(browser, token), attests=CONDITIONS)
    worn = open_link(browser, token)
    assert worn.status == 422
    assert "Demandez-en un autre" in problem(worn)
    assert 'href="/connexion"' in worn.html
    switched(browser, worn, "en")
    assert "Ask your administrator for another" in problem(open_link(browser, token))


# ---------------------------------------------------------------- devices


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"nom": ""}, "Donnez un nom à l’appareil"),
        ({"nom": "n", "jours": "abc"}, "un nombre de jours, de 1 à 3650"),
        ({"nom": "n", "jours": "9999"}, "un nombre de jours, de 1 à 3650"),
        ({"nom": "n", "jours": "0"}, "un nombre de jours, de 1 à 3650"),
    ],
)
def test_a_device_is_refused_in_words_of_its_form(
    ida: Browser, given: dict[str, str], said: str
) -> None:
    refused = ida.submit(DEVICES, {"faire": "creer", "service": "both", "jours": "", **given})
    assert refused.status == 422
    assert said in problem(refused)
    assert refused.html.count('aria-invalid="true"') == 1


def test_the_user_name_of_a_device_is_the_address_that_the_page_tells_to_give(ida: Browser) -> None:
    made = ida.submit(DEVICES, {"faire": "creer", "nom": "Poste", "service": "both"})
    assert re.search(rf"utilisateur</dt><dd>ida@{re.escape(A_DOMAIN)}</dd>", made.html)
    assert "réception (IMAP)" in made.text


# ---------------------------------------------------------------- sentences


@pytest.mark.parametrize(
    ("path", "given"),
    [
        ("compte/absence", {"texte": ""}),
        ("compte/absence", {"texte": "x", "debut": "2027-02-01", "fin": "2027-01-01"}),
        ("compte/boite", {"texte": "x" * 5_000}),
        ("compte/delegations", {"personne": "x" * 400, "droit": "read"}),
        ("compte/delegations", {"personne": "y@mots.example", "faire": "relever"}),
        (DEVICES, {"faire": "creer", "nom": "n", "service": "root"}),
    ],
)
def test_no_refusal_speaks_of_fields_of_operations_or_of_commands(
    ida: Browser, path: str, given: dict[str, str]
) -> None:
    told = problem(ida.submit(path, given))
    assert not re.search(r"Champs de|auto-reply|Auto-reply|\.\.|--|`|\(SEED|\bPerson ", told), told


def test_a_refusal_names_no_requirement_and_an_address_as_it_was_typed() -> None:
    refused = NotAllowed("ida@mots.example", "n'a pas attesté (SEED-31)", "Faites attester.")
    assert problem_of(refused, "fr").text == (
        "ida@mots.example : n'a pas attesté. Faites attester."
    )
    assert problem_of(ConfigError("date", "fausse.", "Corrigez."), "fr").text == (
        "Date : fausse. Corrigez."
    )


def test_the_log_ends_its_sentences_and_names_each_box_once(place: Place, ida: Browser) -> None:
    own, other = f"ida@{A_DOMAIN}", f"autre@{A_DOMAIN}"
    person = person_of(place, "ida@mots.example")

    def job(writing: Writing) -> None:
        trace = writing.trace
        for box in (own, other):
            trace(
                "send", "ida@mots.example", f"Q1 from {box}, 2 recipients", account=person.account
            )
        given = f"delegation given: {own} may read in {other}, until retrait"
        trace("rights", other, given, account=person.account)
        trace(
            "account", "ida@mots.example", "adresse confirmée, 3 enveloppes", account=person.account
        )
        trace("account", "ida@mots.example", "certification demandée", account=person.account)

    place.store.write(job).result()
    text = ida.get("compte/activite").text
    for box in (own, other):
        assert f"Envoi d’un message à 2 destinataire(s) depuis : {box}" in text
    assert f"sans date de fin, à : {own} – lire" in text
    assert "Adresse confirmée, 3 enveloppe(s)" in text
    assert "Certification demandée" in text
    assert "Autre opération" not in text


def test_who_acted_without_an_office_of_the_own_is_of_the_administration() -> None:
    assert author({"author": "root"}) == ("root", "administration")
    assert author({"author": "ana (opérateur)"}) == ("ana", "operator")
    assert author({"author": "ida@mots.example"}) == ("ida@mots.example", "")
