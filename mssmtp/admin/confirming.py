"""The operation with which the portal lets an invited person in (SEED-33, SEED-35)."""

from __future__ import annotations

from pydantic import Field, SecretStr

from mssmtp.admin import finding
from mssmtp.admin.authority import Place, within
from mssmtp.admin.operation import Answer, Desk, Input, Operation, Row, operation
from mssmtp.mail import AdminLevel
from mssmtp.people.invited import confirm, home_of
from mssmtp.storage import Writing

_NAME = 100


class Confirmation(Input):
    """What the form behind a confirmation link gives."""

    token: SecretStr = Field(max_length=200)
    last_name: str = Field(min_length=1, max_length=_NAME)
    first_name: str = Field(min_length=1, max_length=_NAME)
    language: str = Field("fr", pattern="^(fr|en)$")


def _confirm(desk: Desk[Confirmation]) -> Answer:
    """Open a confirmation link: the address gets an account, a box, and the letters that wait."""
    given, domain = desk.input, home_of(desk.office.settings)

    def job(writing: Writing) -> Row:
        names = (given.last_name, given.first_name)
        done = confirm(writing, given.token.get_secret_value(), names, domain, given.language)
        at: Place = within("", None, bal=done.box.id, account=done.person.account)
        desk.concerns(at)
        return {
            "person": str(done.person.usual_address),
            "state": done.person.state.value,
            "box": str(done.box.address),
            "letters": done.letters,
        }

    return desk.write(job)


OPERATIONS: tuple[Operation, ...] = (
    operation(
        "person.confirm", AdminLevel.OPERATOR, Confirmation, finding.nobody, _confirm, scoped=False
    ),
)
