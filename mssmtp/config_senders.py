"""Settings of those who send through us by a record of their own: hospitals' servers, devices."""

from __future__ import annotations

import re
from collections.abc import Collection
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, IPvAnyNetwork, model_validator

from mssmtp.config_base import Cell, DomainName, Section
from mssmtp.errors import BadAddress
from mssmtp.mail import Address, Domain, peer_address

_HOST_AND_PORT = re.compile(r"([A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})\Z")


def comes_from(address: str, networks: Collection[IPv4Network | IPv6Network]) -> bool:
    """Whether a peer at `address`, as a socket prints it, is within one of the ranges.

    An IPv4 peer of a listener for both families is the IPv4 address that the settings name.
    """
    found = peer_address(address)
    return found is not None and any(found in network for network in networks)


def _host_and_port(text: str) -> str:
    found = _HOST_AND_PORT.match(text)
    if found is None or not 0 < int(found[2]) < 65_536:
        raise ValueError(f"« {text} » is not host:port")
    return text


HostAndPort = Annotated[str, AfterValidator(_host_and_port)]


class GatewaySettings(Section):
    """A hospital whose own mail servers stand in front of us (DEF-19, docs/gateway.md)."""

    name: str = Field(
        pattern=r"^[a-z0-9][a-z0-9-]{0,30}$", description="Short name, for logs and commands."
    )
    domains: tuple[DomainName, ...] = Field(
        min_length=1, description="MSSanté domains behind it; all of them in operator.domains."
    )
    client_names: tuple[Cell, ...] = Field(
        (),
        description="Names of the certificates its servers present when they bring mail, as"
        " `openssl x509 -noout -subject -nameopt RFC2253` prints them. None: it brings none.",
    )
    addresses: tuple[IPvAnyNetwork, ...] = Field(
        (), description="The addresses or ranges its servers come from."
    )
    aliases_file: Path | None = Field(
        None, description="Table usual;mssante, one pair per line, applied both ways (OP-63)."
    )
    inbound: Literal["store", "forward", "both", "hold"] = Field(
        "store",
        description="Mail for its boxes: kept in them, passed on to its servers, both, or kept"
        " and marked $MSSHeld until its holder was told.",
    )
    hosts: tuple[HostAndPort, ...] = Field(
        (), description="Its servers for mail from us, as host:port, best first. STARTTLS always."
    )
    certificate_host: str | None = Field(
        None, description="Host name in their certificate, where it is not that of `hosts`."
    )
    anchors_file: Path | None = Field(
        None,
        description="PEM: authorities of their certificate, when it is not of IGC-Santé.",
    )
    xclient: bool = Field(
        False, description="Its servers may tell whom they speak for (XCLIENT, XFORWARD)."
    )

    @model_validator(mode="after")
    def _is_whole(self) -> GatewaySettings:
        if self.inbound in ("forward", "both") and not self.hosts:
            raise ValueError(f"gateway {self.name}: mail is passed on to its hosts; name them")
        if bool(self.client_names) != bool(self.addresses):
            raise ValueError(
                f"gateway {self.name}: client_names and addresses go together; name both"
            )
        return self


class MachineSettings(Section):
    """A device that sends by itself, on the appliance listener only (MAC-02)."""

    name: str = Field(
        pattern=r"^[a-z0-9][a-z0-9-]{0,30}$", description="Short name; its login too."
    )
    box: str = Field(description="Address of the APP box it sends as: one, and no person's.")
    addresses: tuple[IPvAnyNetwork, ...] = Field(
        min_length=1, description="The addresses or ranges it comes from."
    )
    password_hash: str | None = Field(
        None, description="Of its password, as `mssmtp machine password` prints it."
    )
    certificate_sha256: str | None = Field(
        None,
        pattern=r"^[0-9A-Fa-f]{2}(:?[0-9A-Fa-f]{2}){31}$",
        description="SHA-256 of the certificate it presents, in place of a password or beside it.",
    )

    @model_validator(mode="after")
    def _is_whole(self) -> MachineSettings:
        try:
            Address.parse(self.box)
        except BadAddress as error:
            raise ValueError(f"machine {self.name}: « {self.box} » is not an address") from error
        if self.password_hash is None and self.certificate_sha256 is None:
            raise ValueError(
                f"machine {self.name}: give it a password_hash or a certificate_sha256"
            )
        if not (self.password_hash or "$argon2id$").startswith("$argon2id$"):
            raise ValueError(
                f"machine {self.name}: password_hash is not what `mssmtp machine password` prints"
            )
        return self


def check_senders(
    gateways: Collection[GatewaySettings],
    machines: Collection[MachineSettings],
    served: Collection[Domain],
) -> None:
    """Whether each has a name of its own and stands for domains served here. Raises ValueError."""
    behind = [domain for each in gateways for domain in each.domains]
    for room, named in (("gateways", gateways), ("machines", machines)):
        names = [each.name for each in named]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"{room}: two are called {name}; rename one")
    for domain in behind:
        if domain not in served:
            raise ValueError(f"gateways: {domain} is not in operator.domains; add it there")
        if behind.count(domain) > 1:
            raise ValueError(f"gateways: {domain} is behind two of them; keep it in one")
    for machine in machines:
        if Address.parse(machine.box).domain not in served:
            raise ValueError(f"machines: the domain of {machine.box} is not in operator.domains")
