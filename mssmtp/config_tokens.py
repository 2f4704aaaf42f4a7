"""Settings of logins that are no password of ours: Pro Santé Connect, systems, hospitals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, IPvAnyNetwork, field_validator, model_validator

from mssmtp.config_base import Cell, DomainName, Section
from mssmtp.errors import ConfigError
from mssmtp.secret_files import secret_in


def over_https(url: str) -> str:
    """What carries tokens and passwords is encrypted; on this machine itself it need not be."""
    parts = urlsplit(url)
    if parts.username is not None or parts.password is not None:
        raise ValueError("a password has no place in the settings file")
    if parts.scheme == "https" and parts.hostname:
        return url
    if parts.scheme == "http" and parts.hostname and is_loopback(parts.hostname):
        return url
    raise ValueError("is named as https://host/path")


def secret_of(path: Path) -> str:
    """A secret in a file that is ours alone to read (mode 0600). Raises ConfigError."""
    secret = secret_in(path, str(path))
    if not secret:
        raise ConfigError(str(path), "is empty", "Write the secret alone into it.")
    return secret


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine, by its address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


HttpsUrl = Annotated[str, AfterValidator(over_https)]


@dataclass(frozen=True, slots=True)
class Registration:
    """Ours at an OIDC provider, and what is asked for there. `levels`: how well people have to log
    in, the least first, which is asked for (`acr`, OpenID Connect Core 3.1.2.1)."""

    name: str
    issuer: str
    client_id: str
    client_secret_file: Path
    redirect_uri: str
    claim: str
    scope: str = "openid email profile"
    levels: tuple[str, ...] = ()


_LEVELS = ("eidas1", "eidas2", "eidas3")
"""Of Pro Santé Connect, upwards."""


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
    redirect_uri: HttpsUrl | None = Field(
        None,
        description="Where browsers come back from its login page, as registered:"
        " notices.portal_url and /psc/retour. Without it no e-CPS is linked to an account or logs"
        " in at the portal.",
    )
    claim: str = Field(
        "SubjectNameID",
        min_length=1,
        max_length=64,
        description="Claim of the id_token that is the national identifier (8 and the RPPS).",
    )
    acr: Literal["eidas1", "eidas2", "eidas3"] = Field(
        "eidas1",
        description="Level of the login that is asked of its page; an id_token that tells a lower"
        " one, or none, is refused.",
    )

    @model_validator(mode="after")
    def _browsers_are_sent_over_tls(self) -> PscSettings:
        if self.redirect_uri is not None:
            over_https(self.issuer)
        return self

    @property
    def registration(self) -> Registration | None:
        """What the exchange of a code has to know; None: no browser is sent there."""
        if self.redirect_uri is None:
            return None
        return Registration(
            name="psc",
            issuer=self.issuer,
            client_id=self.client_id,
            client_secret_file=self.client_secret_file,
            redirect_uri=self.redirect_uri,
            claim=self.claim,
            scope="openid scope_all",
            levels=_LEVELS[_LEVELS.index(self.acr) :],
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
        description="Tokens of systems for APP boxes. Refused: Pro Santé Connect has published no"
        " such flow; systems log in by certificate (CL-18).",
    )

    cloud_relays: Literal["refuse", "tell", "allow"] = Field(
        "refuse",
        description="Programs that hand password and mail to their maker's servers, as the new"
        " Outlook: refused before the password is looked at, let through and told to the"
        " administrator, or let through.",
    )
    cloud_shipped_ranges: bool = Field(
        True,
        description="The list of addresses that comes with the release; off where cloud_ranges"
        " replaces it.",
    )
    cloud_ranges: tuple[IPvAnyNetwork, ...] = Field(
        (), description="More addresses or ranges of such servers."
    )
    cloud_except: tuple[IPvAnyNetwork, ...] = Field(
        (), description="Addresses or ranges that are never taken for such servers."
    )
    cloud_clients: tuple[Cell, ...] = Field(
        (), description="Names by IMAP ID of programs that are taken for such servers, whole."
    )

    @field_validator("app_token")
    @classmethod
    def _not_offered(cls, on: bool) -> bool:
        if on:
            raise ValueError("no flow for it is published; use a certificate on listen.app_imap")
        return on


def _ldap_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("ldap", "ldaps") or not parts.hostname or parts.username:
        raise ValueError("is named as ldaps://host:636, or ldap://host:389 with STARTTLS")
    return url


def _one_place(text: str) -> str:
    if text.count("{}") != 1 or not text.startswith("(") or not text.endswith(")"):
        raise ValueError("is a filter in parentheses, with {} once where the address stands")
    return text


class DirectorySettings(Section):
    """A hospital's own directory, LDAP or Active Directory: first factor of its people (T29)."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,30}$", description="Short name, for logs.")
    usual_domains: tuple[DomainName, ...] = Field(
        min_length=1, description="Domains of the usual addresses of its people."
    )
    url: Annotated[str, AfterValidator(_ldap_url)] = Field(
        description="ldaps://host:636, or ldap://host:389 with STARTTLS; TLS always."
    )
    anchors_file: Path = Field(description="PEM: authorities of its certificate.")
    base: str = Field(min_length=1, description="Where entries are looked for.")
    filter: Annotated[str, AfterValidator(_one_place)] = Field(
        "(mail={})",
        description="How an entry is found; {} is the usual address. The entry's attribute mail has"
        " to be that address, whatever the filter finds.",
    )
    bind_name: str = Field(min_length=1, description="Our own account there, which may search.")
    bind_password_file: Path = Field(description="File that holds its password, mode 0600.")


class ProviderSettings(Section):
    """A hospital's own OIDC provider: first factor of its people (T29)."""

    name: str = Field(
        pattern=r"^[a-z0-9][a-z0-9-]{0,30}$", description="Short name, in logs and in our address."
    )
    structure: str = Field(
        pattern=r"^[0-9]([0-9]|[AB])[0-9]{7}([0-9]{5})?$",
        description="FINESS, SIRET or SIREN of the structure; nobody else's people come in by it.",
    )
    usual_domains: tuple[DomainName, ...] = Field(
        min_length=1,
        description="Domains of the usual addresses of its people, whose password of ours opens"
        " nothing any more.",
    )
    issuer: HttpsUrl = Field(
        description="Issuer of its tokens; its configuration is below /.well-known."
    )
    anchors_file: Path = Field(description="PEM: authorities of its certificates.")
    client_id: str = Field(min_length=1, description="Our registration there.")
    client_secret_file: Path = Field(
        description="File that holds the secret of the registration, mode 0600."
    )
    redirect_uri: HttpsUrl = Field(
        description="Where the browser comes back, as registered; of this provider alone."
    )
    claim: str = Field(
        "email",
        min_length=1,
        max_length=64,
        description="Claim of the id_token that says who it is; email has to be a verified one.",
    )
    claim_is: Literal["usual-address", "national-id"] = Field(
        "usual-address",
        description="What the claim holds: the usual address, or the identifier (8 and the RPPS).",
    )

    @property
    def registration(self) -> Registration:
        """What the exchange of a code has to know."""
        return Registration(
            name=self.name,
            issuer=self.issuer,
            client_id=self.client_id,
            client_secret_file=self.client_secret_file,
            redirect_uri=self.redirect_uri,
            claim=self.claim,
        )


def check_first_factors(
    directories: Sequence[DirectorySettings], providers: Sequence[ProviderSettings]
) -> None:
    """A person has one first factor, and a browser comes back to one provider. Raises ValueError.

    RFC 9207 1: an address of our own for each provider, against answers of another.
    """
    every: list[DirectorySettings | ProviderSettings] = [*directories, *providers]
    told = {
        "name": [each.name for each in every],
        "usual_domains": [str(domain) for each in every for domain in each.usual_domains],
        "redirect_uri": [each.redirect_uri for each in providers],
    }
    for setting, values in told.items():
        twice = next((each for each in values if values.count(each) > 1), None)
        if twice is not None:
            raise ValueError(f"directories, providers: {setting} {twice} is told twice; keep one")
