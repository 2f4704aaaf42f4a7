"""What every section of the settings is made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from mssmtp.errors import BadAddress
from mssmtp.mail import Domain, domain

MEBI = 1_048_576


def _domain(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return domain(value)
    except BadAddress as error:
        raise ValueError(f"« {value} » is not a domain name") from error


DomainName = Annotated[Domain, BeforeValidator(_domain)]

Cell = Annotated[str, Field(min_length=1, max_length=255)]
"""One column of a row of the list (OP-35)."""


class Section(BaseModel):
    """Base of every section: frozen, no unknown key."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def several(value: object) -> object:
    """One table is a list of one."""
    return value if isinstance(value, list | tuple) else (value,)
