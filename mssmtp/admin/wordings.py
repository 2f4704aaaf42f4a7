"""Operations on what boxes say by themselves or are offered to say (SEED-44, SEED-45, CL-72)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Literal, TypeVar

from pydantic import AwareDatetime, Field, SecretStr

from mssmtp import wording
from mssmtp.admin import finding
from mssmtp.admin.authority import Place, unknown, within
from mssmtp.admin.finding import Box
from mssmtp.admin.operation import Answer, Desk, Input, Row, operation
from mssmtp.errors import ConfigError
from mssmtp.mail import Actor, AdminLevel, Bal
from mssmtp.sieve.auto_reply import AutoReply
from mssmtp.storage import Reading, Writing

T = TypeVar("T")
_TEXT = Field(max_length=20_000)


class Absence(Box):
    """An automatic reply. The text is nobody's but the holder's: traces show stars."""

    text: SecretStr = _TEXT
    subject: str = Field("", max_length=200)
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None


class Signed(Box):
    """The signature of a box; "" for that of its structure."""

    text: SecretStr = _TEXT


class Software(Box):
    """The box of the software; null: none any more."""

    application: str | None = Field(None, max_length=finding.MOST_NAME)


class Templates(Input):
    """The templates of a structure, by its FINESS or SIRET."""

    structure: str = Field(max_length=40)


class Template(Templates):
    """One of them."""

    kind: Literal["signature", "footer"]
    text: str = _TEXT


def _of_structure(reading: Reading, actor: Actor, named: Templates) -> Place:
    return within(named.structure, finding.structure(reading, named.structure))


def _tried(what: str, call: Callable[[], T]) -> T:
    """Raises ConfigError in the place of NotPossible."""
    try:
        return call()
    except ValueError as error:
        raise ConfigError(what, str(error), "Corrigez, puis recommencez.") from error


# ---------------------------------------------------------------- automatic replies


def _auto_reply(desk: Desk[Box]) -> Answer:
    """What a box answers by itself, and whether it does now."""

    def query(reading: Reading) -> Row:
        bal = finding.box(reading, desk.input.address)
        return _shown(desk.input.address, wording.auto_reply(reading, bal), desk.office.clock.now())

    return desk.read(query)


def _set_auto_reply(desk: Desk[Absence]) -> Answer:
    """Have a box answer by itself: once a person in four days, inside the trust space only."""
    given = desk.input
    chosen = _tried(
        "auto-reply",
        lambda: AutoReply(given.text.get_secret_value(), given.subject, given.since, given.until),
    )

    def job(writing: Writing) -> Row:
        bal = finding.box(writing, given.address)
        _tried(given.address, lambda: wording.set_auto_reply(writing, bal, chosen))
        return _shown(given.address, chosen, desk.office.clock.now())

    return desk.write(job)


def _stop_auto_reply(desk: Desk[Box]) -> Answer:
    """Have a box answer no more."""

    def job(writing: Writing) -> Row:
        wording.set_auto_reply(writing, finding.box(writing, desk.input.address), None)
        return _shown(desk.input.address, None, desk.office.clock.now())

    return desk.write(job)


def _shown(address: str, reply: AutoReply | None, now: datetime) -> Row:
    if reply is None:
        return {"address": address, "answers": False, "text": None}
    return {
        "address": address,
        "answers": reply.is_on(now),
        "text": reply.text,
        "subject": reply.subject,
        "since": None if reply.since is None else reply.since.isoformat(),
        "until": None if reply.until is None else reply.until.isoformat(),
    }


# ---------------------------------------------------------------- letters of software


def _xdm(desk: Desk[Software]) -> Answer:
    """Send what holds a patient's documents to the box of the software too (CL-72)."""
    given = desk.input

    def job(writing: Writing) -> Row:
        bal = finding.box(writing, given.address)
        application = _application(desk, writing, given)
        _tried(given.address, lambda: wording.forward_xdm(writing, bal, application))
        return {"address": given.address, "application": given.application}

    return desk.write(job)


def _application(desk: Desk[Software], writing: Writing, given: Software) -> Bal | None:
    """Within the actor's reach as well. Raises Unknown."""
    if given.application is None:
        return None
    found = finding.box(writing, given.application)
    if not desk.reaches(finding.place_of(writing, found)):
        raise unknown(given.application)
    return found


# ---------------------------------------------------------------- signatures


def _signature(desk: Desk[Box]) -> Answer:
    """The signature and the footer that are offered to who writes from a box."""

    def query(reading: Reading) -> Row:
        made = wording.offered(reading, finding.box(reading, desk.input.address))
        return {
            "address": desk.input.address,
            "signature": made.signature,
            "footer": made.footer,
            "is_own": made.is_own,
        }

    return desk.read(query)


def _set_signature(desk: Desk[Signed]) -> Answer:
    """Give a box a signature of its own; an empty one is that of its structure again."""
    given = desk.input

    def job(writing: Writing) -> Row:
        bal = finding.box(writing, given.address)
        text = given.text.get_secret_value()
        _tried("signature", lambda: wording.set_signature(writing, bal, text))
        return {"address": given.address, "signature": wording.offered(writing, bal).signature}

    return desk.write(job)


def _templates(desk: Desk[Templates]) -> Answer:
    """The templates of a structure: of signatures, of the footer of reports."""

    def query(reading: Reading) -> Row:
        found = finding.structure(reading, desk.input.structure)
        return {kind: wording.template(reading, found.id, kind) for kind in wording.KINDS}

    return desk.read(query)


def _set_template(desk: Desk[Template]) -> Answer:
    """Change a template of a structure; an empty one is none."""
    given = desk.input

    def job(writing: Writing) -> Row:
        found = finding.structure(writing, given.structure)
        _tried(given.kind, lambda: wording.set_template(writing, found.id, given.kind, given.text))
        return {"structure": given.structure, given.kind: given.text}

    return desk.write(job)


_HOLDER, _STRUCTURE = AdminLevel.HOLDER, AdminLevel.STRUCTURE

OPERATIONS = (
    operation("bal.auto-reply", _HOLDER, Box, finding.of_box, _auto_reply, changes=False),
    operation("bal.auto-reply.set", _HOLDER, Absence, finding.of_box, _set_auto_reply),
    operation("bal.auto-reply.stop", _HOLDER, Box, finding.of_box, _stop_auto_reply),
    operation("bal.xdm", _STRUCTURE, Software, finding.of_box, _xdm),
    operation("bal.signature", _HOLDER, Box, finding.of_box, _signature, changes=False),
    operation("bal.signature.set", _HOLDER, Signed, finding.of_box, _set_signature),
    operation(
        "structure.templates", _STRUCTURE, Templates, _of_structure, _templates, changes=False
    ),
    operation("structure.template.set", _STRUCTURE, Template, _of_structure, _set_template),
)
