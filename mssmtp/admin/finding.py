"""Objects as an input names them, and whose they are."""

from __future__ import annotations

from dataclasses import replace

from pydantic import Field

from mssmtp.admin.authority import OPERATOR_ONLY, Place, unknown, within
from mssmtp.admin.operation import Input
from mssmtp.errors import BadAddress, ConfigError
from mssmtp.mail import Actor, Address, Bal, Structure, StructureId
from mssmtp.storage import Reading

MOST_NAME = 320
"""Characters of a name that is looked up."""


class Box(Input):
    """A box by its address."""

    address: str = Field(max_length=MOST_NAME)


class Nothing(Input):
    """No input."""


def address_of(text: str) -> Address:
    """Raises ConfigError."""
    try:
        return Address.parse(text)
    except BadAddress as error:
        raise ConfigError(f"« {text} »", error.reply.text, "Write name@domain.") from error


def box(reading: Reading, text: str) -> Bal:
    """The box of an address. Raises Unknown, ConfigError."""
    found = reading.bal(address_of(text))
    if found is None:
        raise unknown(text)
    return found


def structure_of(reading: Reading, id: StructureId | None) -> Structure | None:
    """Of a box or person."""
    return None


def place_of(reading: Reading, bal: Bal) -> Place:
    """Whose a box is."""
    return within(str(bal.address), structure_of(reading, bal.structure), bal=bal.id)


def of_box(reading: Reading, actor: Actor, named: Box) -> Place:
    """The structure a box belongs to; `what` is spelled as the actor did."""
    return replace(place_of(reading, box(reading, named.address)), what=named.address)


def own(reading: Reading, actor: Actor, named: Input) -> None:
    """No one object: what `run` shows is what the actor reaches."""


def nobody(reading: Reading, actor: Actor, named: Input) -> Place:
    """What is the operator's alone."""
    return OPERATOR_ONLY
