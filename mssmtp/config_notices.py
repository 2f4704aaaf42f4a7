"""Settings of the service mail, the one thing that goes to the ordinary Internet (DEF-04)."""

from __future__ import annotations

import re
from ipaddress import ip_address
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from mssmtp.config_base import Section
from mssmtp.errors import BadAddress
from mssmtp.mail import Address

_BRAND = re.compile(r"[\w][\w .'&+-]{0,38}[\w]\Z")


class NoticeSettings(Section):
    """Codes, links and notices to people's usual addresses, by a relay of their own (DEF-04).

    Nothing of the trust space goes this way: no letter, no attachment (docs/notices.md).
    """

    relay_host: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9.:-]{1,253}$",
        description="Server that takes service mail for the ordinary Internet. Not set: none is"
        " sent, no code can be mailed, and nobody is told of what arrives.",
    )
    relay_port: int = Field(587, ge=1, le=65_535, description="Its port.")
    relay_tls: Literal["starttls", "implicit", "none"] = Field(
        "starttls",
        description="How it is encrypted; `none` on a loopback address only.",
    )
    relay_anchors_file: Path | None = Field(
        None, description="PEM: authorities of its certificate; those of the system when absent."
    )
    relay_login: str | None = Field(None, description="Our login there.")
    relay_password_file: Path | None = Field(
        None, description="File that holds our password there, mode 0600."
    )
    timeout_s: float = Field(8.0, gt=0, le=60, description="Time for each of its answers.")
    from_address: str = Field(
        "ne-pas-repondre@medimail.example",
        description="Who writes: an address of the ordinary Internet, whose domain allows the"
        " relay (SPF, DKIM). Its mailbox gets what comes back.",
    )
    brand: str = Field("Medimail", description="Name of the service in subjects and texts.")
    portal_url: str = Field(
        "https://portail.medimail.example", description="What the links of notices begin with."
    )
    mask_subject: Literal["auto", "full", "always"] = Field(
        "auto",
        description="Titles in notices: of XDM documents and patients' messages replaced (auto),"
        " all shown (full), all replaced (always) (DEF-15).",
    )
    most_per_hour: int = Field(
        30,
        ge=1,
        description="Notices of one letter each to one address within an hour; what comes beyond"
        " is told together at the end of it.",
    )
    daily_at: int = Field(
        7,
        ge=0,
        le=23,
        description="Hour (operator.time_zone) of the notice of those who want one a day.",
    )

    @field_validator("from_address")
    @classmethod
    def _is_an_address(cls, text: str) -> str:
        try:
            Address.parse(text)
        except BadAddress as error:
            raise ValueError(f"« {text} » is not an address") from error
        return text

    @field_validator("brand")
    @classmethod
    def _is_a_name(cls, text: str) -> str:
        if not _BRAND.match(text):
            raise ValueError("the brand is a name of 2 to 40 letters, digits and spaces")
        return text

    @field_validator("portal_url")
    @classmethod
    def _over_https(cls, url: str) -> str:
        """Its links carry single-use secrets."""
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("links of notices are https://host/path")
        return url.rstrip("/")

    @model_validator(mode="after")
    def _is_whole(self) -> NoticeSettings:
        if self.relay_tls == "none" and not _is_loopback(self.relay_host):
            raise ValueError("service mail goes in clear to a loopback address only: use starttls")
        if (self.relay_login is None) != (self.relay_password_file is None):
            raise ValueError("relay_login and relay_password_file go together; name both")
        return self

    @property
    def is_on(self) -> bool:
        """Service mail is sent."""
        return self.relay_host is not None


def _is_loopback(host: str | None) -> bool:
    try:
        return host is not None and ip_address(host).is_loopback
    except ValueError:
        return False
