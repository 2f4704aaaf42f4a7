"""Texts of service mail (messages.md §3.3) and what they let through."""

from __future__ import annotations

import ast
import email
import email.policy
import inspect
import re
from datetime import UTC, datetime
from email.message import EmailMessage
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssmtp import resetting
from mssmtp.admin import devices
from mssmtp.mail import Address
from mssmtp.notices import Kind, letter, phrases
from mssmtp.notices.kinds import TRAITS
from mssmtp.notices.templates import (
    LANGUAGES,
    MOST_CHARACTERS,
    MOST_LINES,
    BadNotice,
    Value,
    checked,
    written,
)
from mssmtp.notices.titles import shown_title
from mssmtp.people import delegations, rechecking
from mssmtp.web import pages

SENDER = Address.parse("ne-pas-repondre@medimail.example")
ZOE = Address.parse("zoe.tartempion@poste.example")
NOW = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
HOSTILE = [
    "\r\n",
    "\n",
    "\r",
    "\x00",
    "\u2028",
    "\x85",
    "Bcc: eve@ailleurs.example",
    "\r\n.\r\n",
    "\r\n\r\n",
    "{code}",
    "{0.__class__}",
    "%s",
    "=?utf-8?q?x?=",
    "é",
    "Zoé",
    "\u202e",
    " ",
]


def values_of(kind: Kind, word: str = "mot") -> dict[str, Value]:
    """Something for every value of `kind`."""
    traits = TRAITS[kind]
    return {name: [word] if name in traits.several else word for name in traits.fields}


def spoken(module: ModuleType, *functions: str) -> list[str]:
    """French sentences in functions of a module, `{}` where they vary."""
    found = []
    for node in ast.walk(
        ast.parse("".join(inspect.getsource(getattr(module, f)) for f in functions))
    ):
        if isinstance(node, ast.JoinedStr):
            parts = (p.value if isinstance(p, ast.Constant) else "{}" for p in node.values)
            found.append("".join(map(str, parts)))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append(node.value)
    return [text for text in found if re.match(r"(Un|Votre|Tous) .*\.\Z", text)]


def mail(
    kind: Kind, values: dict[str, Value], language: str = "fr", brand: str = "Medimail"
) -> bytes:
    text = written(kind, language, brand, checked(kind, values))
    return letter.octets(text, SENDER, brand, ZOE, NOW, "n1.ABC")


def parsed(octets: bytes) -> EmailMessage:
    found = email.message_from_bytes(octets, policy=email.policy.default)
    assert isinstance(found, EmailMessage)
    return found


@pytest.mark.parametrize(
    ("kind", "values", "subject", "told"),
    [
        (
            Kind.REGISTRATION,
            {"link": "https://p.example/c/1"},
            "Confirmation d'inscription Medimail",
            "https://p.example/c/1",
        ),
        (Kind.CODE, {"code": "259956"}, "[259956] - Votre code d'accès Medimail", "10 minutes"),
        (
            Kind.ARRIVAL,
            {
                "box": "b",
                "sender": "a@b.test",
                "title": "Compte rendu",
                "link": "https://p.example/",
            },
            "[MEDIMAIL : Reception] Compte rendu",
            "Expéditeur : a@b.test\nTitre : Compte rendu\n",
        ),
        (
            Kind.OPENING,
            {"recipient": "a@b.test", "title": "Compte rendu", "time": "1/3", "envelope": "01J"},
            "[MEDIMAIL : Ouverture] Compte rendu",
            "Destinataire : a@b.test",
        ),
        (
            Kind.SEALING,
            {"recipients": ["a@b.test"], "title": "T", "time": "", "envelope": "", "link": "l"},
            "[MEDIMAIL : Scellement] T",
            "  - a@b.test",
        ),
    ],
    ids=lambda each: each.value if isinstance(each, Kind) else "",
)
def test_the_subjects_and_texts_are_those_of_the_reference(
    kind: Kind, values: dict[str, Value], subject: str, told: str
) -> None:
    found = parsed(mail(kind, values))
    assert found["subject"] == subject
    assert told in found.get_content().replace("\r\n", "\n")


@pytest.mark.requirement("SEED-10")
def test_the_subject_of_a_code_holds_its_six_digits_first() -> None:
    for language in LANGUAGES:
        subject = parsed(mail(Kind.CODE, {"code": "004217"}, language))["subject"]
        assert subject.startswith("[004217] - ")


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_kind_has_its_text_in_both_languages_with_every_value(
    kind: Kind, language: str
) -> None:
    values: dict[str, Value] = {
        name: [f"v-{name}"] if name in TRAITS[kind].several else f"v-{name}"
        for name in TRAITS[kind].fields
    }
    found = parsed(mail(kind, values, language))
    whole = f"{found['subject']}\n{found.get_content()}"
    assert all(f"v-{name}" in whole for name in values)
    assert "{" not in whole
    assert found["auto-submitted"] == "auto-generated"
    assert found.get_content_type() == "text/plain"
    assert ("Bonjour" in whole) is (language == "fr")


@pytest.mark.parametrize("kind", [kind for kind, traits in TRAITS.items() if traits.page])
@pytest.mark.parametrize("language", LANGUAGES)
def test_where_it_is_undone_is_a_page_of_ours_and_is_said_only_when_there_is_one(
    kind: Kind, language: str
) -> None:
    assert TRAITS[kind].page in {page.path for page in pages.ALL}
    values = checked(kind, values_of(kind))
    link = "https://portail.example/compte"
    with_link = written(kind, language, "Medimail", values | {"link": link}).lines
    assert with_link[with_link.index(link) - 2].endswith(":")
    without = written(kind, language, "Medimail", values | {"link": ""}).lines
    assert len(without) == len(with_link) - 4
    assert not any(line.endswith(":") for line in without)
    old = {name: value for name, value in values.items() if name != "link"}
    assert written(kind, language, "Medimail", old).lines == without


PHRASES = [
    *((Kind.DELEGATION, "rights", text) for text in delegations._SHOWN.values()),
    (Kind.DELEGATION, "until", "retrait"),
    *((Kind.EXERCISE_ENDED, "reason", text) for text in rechecking._REASONS.values()),
    *((Kind.DEVICE, "event", text) for text in spoken(devices, "_event", "_revoke", "_revoke_all")),
    *((Kind.DEVICE, "event", text) for text in spoken(resetting, "choose")),
]


def test_each_phrase_that_is_said_was_found() -> None:
    assert len(PHRASES) == 12
    assert {field for _, field, _ in PHRASES} <= phrases.FIELDS


@pytest.mark.parametrize(("kind", "field", "text"), PHRASES)
def test_who_reads_english_reads_what_happened_in_english(
    kind: Kind, field: str, text: str
) -> None:
    said = text.replace("{}", "zoe@hopital-a.test")
    values = checked(kind, values_of(kind) | {field: said})
    assert said in "\n".join(written(kind, "fr", "Medimail", values).lines)
    english = "\n".join(written(kind, "en", "Medimail", values).lines)
    assert said not in english
    assert ("zoe@hopital-a.test" in english) is ("{}" in text)


def test_what_a_person_has_written_is_no_phrase() -> None:
    reason = "Patient en détresse, voir {link} et son droit d'exercer est clos dans l'annuaire"
    values = checked(Kind.BREAK_GLASS, values_of(Kind.BREAK_GLASS) | {"reason": reason})
    assert reason in "\n".join(written(Kind.BREAK_GLASS, "en", "Medimail", values).lines)


@given(
    st.sampled_from(list(Kind)),
    st.lists(st.sampled_from(HOSTILE), max_size=8).map("".join),
    st.sampled_from(LANGUAGES),
)
@pytest.mark.attack("ATT-09")
@pytest.mark.attack("ATT-37")
def test_att_09_no_value_makes_a_header_a_part_or_a_template(
    kind: Kind, hostile: str, language: str
) -> None:
    octets = mail(kind, values_of(kind, hostile), language)
    head, _, body = octets.partition(b"\r\n\r\n")
    plain = mail(kind, values_of(kind), language).partition(b"\r\n\r\n")[0]
    names = [line.split(b":")[0] for line in head.split(b"\r\n") if line[:1] not in b" \t"]
    assert names == [line.split(b":")[0] for line in plain.split(b"\r\n") if line[:1] not in b" \t"]
    assert octets.isascii()
    assert b"\r" not in octets.replace(b"\r\n", b"")
    assert b"\n" not in octets.replace(b"\r\n", b"")
    assert b"\x00" not in octets
    assert all(len(line) <= 998 for line in octets.split(b"\r\n"))
    shown = parsed(octets).get_content()
    assert ("{code}" in shown) is ("{code}" in hostile) or kind is Kind.CODE
    assert len(body) < 40_000


def test_values_are_those_of_the_kind_and_short() -> None:
    with pytest.raises(BadNotice):
        checked(Kind.CODE, {"code": "1", "body": "x"})
    with pytest.raises(BadNotice):
        checked(Kind.CODE, {})
    with pytest.raises(BadNotice):
        checked(Kind.CODE, {"code": ["1"]})
    with pytest.raises(BadNotice):
        checked(Kind.DIGEST, {"box": "b", "count": "1", "letters": "one", "link": "l"})
    long = checked(Kind.CODE, {"code": "x" * 100_000})["code"]
    assert len(long) == MOST_CHARACTERS
    many = checked(Kind.DIGEST, {"box": "", "count": "", "letters": ["x"] * 9_999, "link": ""})
    assert len(many["letters"]) == MOST_LINES


@pytest.mark.requirement("DEF-15")
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_title_that_names_a_patient_is_replaced(language: str) -> None:
    xdm = "XDM/1.0/DDM+TARTEMPION Zoé 1970"
    document = {"fr": "Document de santé", "en": "Health document"}[language]
    patient = {"fr": "Message patient", "en": "Patient message"}[language]
    for title in (
        xdm,
        f"Re: {xdm}",
        f"TR : {xdm}",
        xdm.lower(),
        f"[KO Intégration système !][4] {xdm}",
    ):
        assert shown_title(title, "auto", language, is_patient=False) == document
        assert shown_title(title, "always", language, is_patient=True) == document
        assert shown_title(title, "full", language, is_patient=False) == title
    assert shown_title("Vos résultats", "auto", language, is_patient=True) == patient
    assert shown_title("Vos résultats", "full", language, is_patient=True) == "Vos résultats"
    assert shown_title("Réunion", "auto", language, is_patient=False) == "Réunion"
    assert "Réunion" not in shown_title("Réunion", "always", language, is_patient=False)


def test_a_title_is_cut_and_an_empty_one_is_said() -> None:
    assert len(shown_title("x" * 5_000, "auto", "fr", is_patient=False)) == 150
    assert shown_title(" \r\n ", "auto", "fr", is_patient=False) == "(sans titre)"


def test_a_brand_with_accents_is_encoded() -> None:
    octets = mail(Kind.CODE, {"code": "1"}, brand="Médimail")
    assert octets.isascii()
    assert parsed(octets)["from"].addresses[0].display_name == "Médimail"
