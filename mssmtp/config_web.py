"""Settings of the pages that holders of accounts open in a browser."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from pydantic import Field, model_validator

from mssmtp.config_base import Section


class WebSettings(Section):
    """The pages of holders, on listen.web; notices.portal_url is how they are reached."""

    certificate_file: Path | None = Field(
        None,
        description="PEM: certificate of the host of notices.portal_url that browsers trust, then"
        " its issuers. SIGHUP takes a renewed one.",
    )
    key_file: Path | None = Field(None, description="PEM private key; mode 0600.")
    session_idle: timedelta = Field(
        timedelta(minutes=30),
        ge=timedelta(minutes=1),
        le=timedelta(hours=8),
        description="A session ends when nothing was asked for so long.",
    )
    session_length: timedelta = Field(
        timedelta(hours=8),
        ge=timedelta(minutes=5),
        le=timedelta(hours=24),
        description="And after this in any case.",
    )
    connections: int = Field(500, ge=1, description="Open connections per worker.")
    connections_per_address: int = Field(
        100,
        ge=1,
        description="Of these, from one IPv4 address or one /64 of IPv6: a whole hospital may be"
        " behind it.",
    )
    posts_per_minute: int = Field(
        300,
        ge=1,
        description="Forms that one IPv4 address, or one /64 of IPv6, may send to one worker in a"
        " minute.",
    )

    @model_validator(mode="after")
    def _is_whole(self) -> WebSettings:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file go together; name both")
        return self
