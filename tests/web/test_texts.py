"""Both languages say everything, with the same values in it (SEED-07)."""

from __future__ import annotations

import re
import string
from pathlib import Path

from mssmtp import errors
from mssmtp.web import pages, texts
from mssmtp.web.texts import ERRORS, LANGUAGES, REFUSALS, catalogue, language_of

WEB = Path(texts.__file__).parent
USED = re.compile(r"""\bt\(\s*["']([a-z_]+\.[a-z_]+)["']\s*[,)]""")


def places(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def own(language: str) -> dict[str, str]:
    refusals = (ERRORS, REFUSALS)
    return {k: t for k, t in catalogue(language).items() if k.partition(".")[0] not in refusals}


def test_both_languages_have_the_same_texts_with_the_same_places() -> None:
    french, english = (own(language) for language in LANGUAGES)
    assert french.keys() == english.keys()
    differing = [key for key in french if places(french[key]) != places(english[key])]
    assert differing == []


def test_every_text_that_a_template_names_is_there() -> None:
    used = {
        key
        for file in (WEB / "templates").glob("*.html")
        for key in USED.findall(file.read_text("utf-8"))
    }
    assert used - own("fr").keys() == set()
    assert len(used) > 20


def test_every_english_sentence_of_a_refusal_is_of_a_refusal_there_is() -> None:
    assert pages.ALL  # what defines them is loaded

    def below(kind: type[Exception]) -> set[str]:
        return {kind.__name__} | {name for sub in kind.__subclasses__() for name in below(sub)}

    known = below(errors.MailError) | below(errors.ConfigError)
    french, english = (
        {key.partition(".")[2] for key in catalogue(language) if key.startswith(f"{ERRORS}.")}
        for language in LANGUAGES
    )
    # `Class_what`: of what it is about, where one class says several things.
    assert {name.partition("_")[0] for name in french | english} - known == set()
    assert french <= english


def test_the_browser_is_answered_in_what_it_prefers_and_else_in_french() -> None:
    assert language_of("", "") == "fr"
    assert language_of("", "en-GB,en;q=0.9,fr;q=0.8") == "en"
    assert language_of("", "de, fr;q=0.5, en;q=0.2") == "fr"
    assert language_of("", "xx;q=abc, en;q=0.1") == "en"
    assert language_of("fr", "en") == "fr"
    assert language_of("klingon", "en") == "en"
