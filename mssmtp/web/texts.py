"""What pages say: one catalogue for each language, and how a refusal is told.

A catalogue is the files of `texts/LANGUAGE/`, one for each matter: `title` of `login.toml` is the
key `login.title`. Both have the same keys and the same places (`tests/web/test_texts.py`). The
sentences of refusals are French where they are made; `errors.toml` has the English ones, and French
ones where a page says it better, by class, or by `Class_what` where one class says several things;
`refusals.toml` has the English of every other one, by its French sentence. No refusal that a page
comes to is without (`tests/web/test_refusals.py`).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from mssmtp.errors import ConfigError, MailError

LANGUAGES: Final = ("fr", "en")
"""The first is everybody's who says nothing (SEED-07)."""
ERRORS: Final = "errors"
REFUSALS: Final = "refusals"
_FOLDER = Path(__file__).parent / "texts"
_MOST_HEADER = 200


@dataclass(frozen=True, slots=True)
class Problem:
    """Why something was refused and what to do, in `language`; beside `field`, if about one."""

    text: str
    language: str
    field: str = ""


_REQUIREMENT = re.compile(r" \([A-Z]{2,4}-[0-9]+\)")
"""Of use to whoever reads a command's refusal; a holder knows none of them."""


@cache
def catalogue(language: str) -> Mapping[str, str]:
    """Key -> text."""
    found: dict[str, str] = {}
    for file in sorted((_FOLDER / language).glob("*.toml")):
        texts = tomllib.loads(file.read_text("utf-8"))
        found.update({f"{file.stem}.{key}": text for key, text in texts.items()})
    return found


def say(language: str, key: str, **places: object) -> str:
    """The text of `key`. Raises KeyError: a page names a text that nobody has written."""
    return catalogue(language)[key].format_map(places)


def language_of(chosen: str, header: str) -> str:
    """What was chosen before, or else what the browser prefers (RFC 9110 12.5.4)."""
    if chosen in LANGUAGES:
        return chosen
    weighed: list[tuple[float, int, str]] = []
    for number, each in enumerate(header[:_MOST_HEADER].split(",")):
        name, _, weight = each.strip().partition(";")
        if (language := name.partition("-")[0].lower()) in LANGUAGES:
            weighed.append((-_weight(weight), number, language))
    return min(weighed)[2] if weighed else LANGUAGES[0]


def _weight(text: str) -> float:
    try:
        return float(text.strip().removeprefix("q="))
    except ValueError:
        return 1.0


def problem_of(error: MailError | ConfigError, language: str, field: str = "") -> Problem:
    """How `error` is told to who reads `language`."""
    name = f"{ERRORS}.{type(error).__name__}"
    names: tuple[str, ...] = (name,)
    if isinstance(error, ConfigError):
        # An address is told as it was typed; sentences of other rooms end with a full stop or not.
        what = error.what if "@" in error.what else f"{error.what[:1].upper()}{error.what[1:]}"
        text = f"{what} : {error.why.rstrip('.')}. {error.remedy}"
        names = (name, f"{name}_{error.what}")
    else:
        text = error.reply.text
    for each in names:
        if (known := catalogue(language).get(each)) is not None:
            return Problem(known, language, field)
    if (translated := _translated(error, language)) is not None:
        return Problem(translated, language, field)
    return Problem(_REQUIREMENT.sub("", text), LANGUAGES[0], field)


def _translated(error: MailError | ConfigError, language: str) -> str | None:
    """By the sentence: a remedy is part of its translation. `{what}` is what it is about."""
    what = error.what if isinstance(error, ConfigError) else ""
    text = error.why if isinstance(error, ConfigError) else error.reply.text
    said = plain(text)
    for pattern, translation in _sentences(language):
        if (found := pattern.match(said)) is not None:
            return translation.format(*found.groups(), what=what)
    return None


def plain(text: str) -> str:
    """A French sentence as `refusals.toml` has it."""
    return _REQUIREMENT.sub("", text).rstrip(".")


def sentence(key: str) -> re.Pattern[str]:
    """What a line of `refusals.toml` is the translation of; its groups are what varies."""
    return re.compile("(.+?)".join(map(re.escape, key.split("{}"))) + r"\Z", re.DOTALL)


@cache
def _sentences(language: str) -> tuple[tuple[re.Pattern[str], str], ...]:
    """French sentence -> its translation, which takes what varies in the same order."""
    return tuple(
        (sentence(key), text)
        for name, text in catalogue(language).items()
        for room, _, key in [name.partition(".")]
        if room == REFUSALS
    )
