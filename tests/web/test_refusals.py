"""Who reads a page in English reads its refusals in English (SEED-07)."""

from __future__ import annotations

import importlib
import re
from functools import cache

import pytest

from mssmtp.admin import operation
from mssmtp.errors import ConfigError, MailError
from mssmtp.people.refusing import NotAllowed
from mssmtp.policy import refusals
from mssmtp.smtp import replies
from mssmtp.web.texts import REFUSALS, catalogue, plain, problem_of, sentence
from tests.web.reached import Code, Refusal

OF_OTHER_DOORS = ("Operator door:", "Gateway:")
PLACE = re.compile(r"\{[^{}]*\}")
"""Where a sentence varies."""
PASSED_ON = {
    "mssmtp.admin.authority": "a refusal of the store, which `asking` takes out again",
    "mssmtp.admin.finding": "what an address or a domain lacks",
    "mssmtp.admin.notifications": "words of `notices.choices`",
    "mssmtp.admin.operation": "words of `_in_french`, and what an address lacks",
    "mssmtp.admin.wordings": "words of `wording` and `sieve.auto_reply`",
    "mssmtp.web.asking": "the words of an operation, its remedy being another one",
}
"""Rooms that say what somebody else has found, who is asked by another test or read too."""


@cache
def reached() -> frozenset[Refusal]:
    return frozenset(Code().reached())


def made(refusal: Refusal) -> MailError | ConfigError:
    """As a page gets it; what varies is `x`."""
    kind = getattr(importlib.import_module(refusal.module), refusal.kind)
    if issubclass(kind, MailError):
        error = MailError(reply=kind.smtp)
        error.__class__ = kind
        return error
    assert issubclass(kind, ConfigError)
    texts = (each or "x" for each in (refusal.what, refusal.why))
    what, why = (text.replace("{}", "x") for text in texts)
    said = ConfigError(what, why, "Faites-le.")
    said.__class__ = kind
    return said


def is_config(refusal: Refusal) -> bool:
    return isinstance(made(refusal), ConfigError)


def test_no_refusal_that_a_page_comes_to_lacks_an_english_text() -> None:
    lacking = sorted(
        f"{each.room}: {each.kind}: {each.what} : {each.why}"
        for each in reached()
        if not (each.why is None and each.room in PASSED_ON and is_config(each))
        and problem_of(made(each), "en").language != "en"
    )
    assert lacking == [], "\n".join(lacking)


@pytest.mark.parametrize("refusal", refusals.ALL, ids=lambda each: each.key)
def test_what_the_policy_says_of_a_letter_of_the_holder_is_said_in_english(
    refusal: refusals.Refusal,
) -> None:
    if refusal.when.startswith(OF_OTHER_DOORS):
        return
    told = problem_of(MailError(reply=refusal.example()), "en")
    assert told.language == "en", refusal.text
    assert told.text.count("<") == refusal.text.count("{")


def test_a_letter_that_is_too_large_is_refused_in_english() -> None:
    told = problem_of(MailError(reply=replies.too_big(62_914_560)), "en")
    assert told.text == "The message is too large (limit: 62914560 octets); split it."


def test_a_sentence_brings_its_values_along_and_no_markup_of_its_own() -> None:
    """What is in the place of a value is a value, whatever it looks like (ATT-37)."""
    error = MailError(reply=refusals.ATTACHMENT_TOO_BIG.reply(name="{what} {0}", limit="10 Mo"))
    assert (
        problem_of(error, "en").text
        == "The file “{what} {0}” is larger than 10 Mo; reduce or split it."
    )
    unknown = NotAllowed("x", "une phrase que personne n'a traduite", "Traduisez-la.")
    assert problem_of(unknown, "en").language == "fr"


@pytest.mark.parametrize("words", sorted({*operation._FRENCH.values(), operation._OTHERWISE}))
def test_what_is_wrong_with_a_field_of_an_operation_is_said_in_english(words: str) -> None:
    told = problem_of(ConfigError("texte", words, "Corrigez, puis recommencez."), "en")
    assert told.language == "en", words
    assert told.text.count("{") == words.count("{")


def test_every_english_sentence_is_of_a_french_one_there_is() -> None:
    """Nobody keeps the translation of what is said no more."""
    said = {each.why for each in reached()} | {*operation._FRENCH.values(), operation._OTHERWISE}
    errors = (made(each) for each in reached())
    said |= {error.reply.text for error in errors if isinstance(error, MailError)}
    said |= {each.text for each in refusals.ALL} | {replies.too_big(1).text}
    known = {plain(PLACE.sub("x", text)) for text in said if text}
    lost = [
        key.partition(".")[2]
        for key in catalogue("en")
        if key.startswith(f"{REFUSALS}.")
        and not any(sentence(key.partition(".")[2]).match(text) for text in known)
    ]
    assert lost == []
