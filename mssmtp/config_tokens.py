"""Settings of logins that are no password: Pro Santé Connect, certificates of systems."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from mssmtp.config_base import Section


def _over_https(url: str) -> str:
    """What carries tokens and passwords is encrypted; on this machine itself it need not be."""
    parts = urlsplit(url)
    if parts.username is not None or parts.password is not None:
        raise ValueError("a password has no place in the settings file")
    if parts.scheme == "https" and parts.hostname:
        return url
    if parts.scheme == "http" and parts.hostname and is_loopback(parts.hostname):
        return url
    raise ValueError("is named as https://host/path")


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine, by its address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


HttpsUrl = Annotated[str, AfterValidator(_over_https)]


class PscSettings(Section):
    """Pro Santé Connect, for XOAUTH2 and OAUTHBEARER (CL-11, CL-21). Without it none is offered."""

    issuer: str = Field(
        description="Issuer of the tokens, as its configuration says it; production and sandbox"
        " differ by the host alone."
    )
    introspection_url: HttpsUrl = Field(description="Where a token is asked about (RFC 7662).")
    client_id: str = Field(min_length=1, description="Our own registration.")
    client_secret_file: Path = Field(
        description="File that holds the secret of the registration, mode 0600."
    )
    anchors_file: Path = Field(description="PEM: authorities of the issuer's servers.")
    allowed_azp: tuple[str, ...] = Field(
        (), description="Client software whose tokens are taken; any of the issuer's when empty."
    )
    timeout_s: float = Field(
        8.0, gt=0, le=9, description="Time for one answer; without it a login is told to wait."
    )


class AuthSettings(Section):
    """How clients log in."""

    xoauth2_challenge: bool = Field(
        True,
        description="A refused token is first told in a challenge, as most clients expect; off for"
        " clients that take it for success (CL-20).",
    )
    app_token: bool = Field(
        False,
        description="Tokens that name a system open its APP box too; the table of certificates is"
        " the rule (CL-18).",
    )
