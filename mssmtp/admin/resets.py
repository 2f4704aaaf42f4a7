"""Operations of a forgotten portal password, which the portal asks for (DEF-09, L22).

Who asks has shown nothing yet: each of them answers an unknown address as a known one.
"""

from __future__ import annotations

from pydantic import Field, SecretStr

from mssmtp.admin import finding
from mssmtp.admin.operation import Answer, Desk, Input, Office, Operation, operation
from mssmtp.mail import Address, AdminLevel
from mssmtp.notices import Desk as Notices
from mssmtp.resetting import Resetting, Shown


class Forgotten(Input):
    """The usual address that was typed; a secret of whoever typed it, known here or not."""

    usual_address: SecretStr = Field(max_length=finding.MOST_NAME)


class Link(Input):
    """The secret of a reset link."""

    token: SecretStr = Field(max_length=64)


class Replaced(Link):
    """What the holder of the link brings back; the password twice (SEED-11)."""

    attempt: SecretStr = Field(max_length=64)
    code: SecretStr = Field(max_length=16)
    password: SecretStr = Field(max_length=256)
    again: SecretStr = Field(max_length=256)


def resetting(office: Office) -> Resetting:
    """What replaces passwords, by the settings."""
    settings = office.settings
    elsewhere = {domain for each in settings.directories for domain in each.usual_domains}
    elsewhere |= {domain for each in settings.providers for domain in each.usual_domains}

    def is_elsewhere(usual: Address) -> bool:
        return usual.domain in elsewhere

    notices = Notices.of(settings, office.clock)
    return Resetting(office.store, notices, office.clock, office.entropy, is_elsewhere)


def _ask(desk: Desk[Forgotten]) -> Answer:
    """Mail a link for a new portal password, if the address is that of an account; one answer."""
    resetting(desk.office).ask(desk.input.usual_address.get_secret_value())
    return {"asked": True}


def _open(desk: Desk[Link]) -> Answer:
    """Open a reset link: a code is mailed, and asked for beside the link."""
    return {"attempt": resetting(desk.office).open(desk.input.token.get_secret_value())}


def _finish(desk: Desk[Replaced]) -> Answer:
    """Replace the portal password by a reset link and the code that was mailed for it."""
    given = desk.input
    shown = Shown(
        given.attempt.get_secret_value(),
        given.code.get_secret_value(),
        given.password.get_secret_value(),
        given.again.get_secret_value(),
    )
    person = resetting(desk.office).finish(given.token.get_secret_value(), shown)
    return {"person": str(person.usual_address)}


_OPERATOR = AdminLevel.OPERATOR

OPERATIONS: tuple[Operation, ...] = (
    operation("person.reset.ask", _OPERATOR, Forgotten, finding.nobody, _ask, scoped=False),
    operation("person.reset.open", _OPERATOR, Link, finding.nobody, _open, scoped=False),
    operation("person.reset.finish", _OPERATOR, Replaced, finding.nobody, _finish, scoped=False),
)
