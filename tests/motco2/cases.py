"""One line of the bench: what is asked, by which rows, and what was observed."""

from __future__ import annotations

import imaplib
import smtplib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from tests.motco2.target import Target

Mark = Literal["holds", "fails", "open"]


class Wrong(Exception):
    """The server did something else; the text is what was observed."""


@dataclass(frozen=True, slots=True)
class Case:
    """`run` says what it observed, or raises Wrong.

    `is_open`: asked by the rows and known not to be built yet; it is told and fails nothing.
    `is_long`: megabytes travel.
    """

    group: str
    asked: str
    rows: str
    run: Callable[[Target], str]
    is_open: bool = False
    is_long: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """A case that was run."""

    case: Case
    mark: Mark
    observed: str


def judged(case: Case, target: Target) -> Line:
    """Run it. Whatever a stranger's library raises is what was observed."""
    try:
        return Line(case, "holds", case.run(target))
    except Wrong as error:
        observed = str(error)
    except (OSError, smtplib.SMTPException, imaplib.IMAP4.error) as error:
        observed = f"{type(error).__name__}: {error}"
    return Line(case, "open" if case.is_open else "fails", observed)


def expect(condition: object, observed: object) -> None:
    """Raises Wrong with what was observed."""
    if not condition:
        raise Wrong(str(observed))


def said(reply: tuple[int, bytes]) -> str:
    """An SMTP reply on one line."""
    return f"{reply[0]} {reply[1].decode('utf-8', 'replace')}".replace("\n", " / ")
