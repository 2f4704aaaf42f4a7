"""Settings of loading accounts from a file, and of the accounts it makes."""

from __future__ import annotations

from pydantic import Field

from mssmtp.config_base import Section


class BulkSettings(Section):
    """Accounts loaded from a file (DEF-10)."""

    columns: dict[str, str] = Field(
        default_factory=dict,
        description="Headings of your own file and ours, where they differ:"
        ' { "N° RPPS" = "rpps_adeli", "Commentaire" = "" }; a heading given "" is not read.'
        " `mssmtp bal template` prints ours.",
    )


class PreregSettings(Section):
    """Accounts that a structure has loaded and their holders have still to finalise."""

    auto_certify: bool = Field(
        True,
        description="Who finalises such an account is certified, the structure having vouched"
        " (DEF-11); false: the request waits for the operator, as any other.",
    )
    activation_days: int = Field(
        14, ge=1, le=90, description="How many days the link to finalise it can be used."
    )
