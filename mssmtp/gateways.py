"""Hospitals whose own mail servers stand in front of us: who they are, what is theirs (DEF-19).

A gateway is known by the name in its certificate and by its address, both at once; neither opens
anything alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

from cryptography import x509

from mssmtp import pki
from mssmtp.config import Settings
from mssmtp.config_senders import GatewaySettings, comes_from
from mssmtp.errors import ConfigError, MailError, Reply
from mssmtp.mail import DnKey, Domain
from mssmtp.message.aliases import MAX_TABLE_OCTETS, Aliases, BadAliases
from mssmtp.pki import Role
from mssmtp.revocation import judge_chain
from mssmtp.smtp.replies import GATEWAY_ADDRESS, GATEWAY_NAME
from mssmtp.trust import Snapshot


class GatewayRefused(MailError):
    """A good certificate, and no gateway that it belongs to from this address."""

    smtp = GATEWAY_NAME

    def __init__(self, reason: str, serial: str, *, reply: Reply) -> None:
        super().__init__(f"gateway refused: {reason}", reply=reply)
        self.reason, self.serial = reason, serial


HELD = "$MSSHeld"
"""On what a gateway holds for its boxes until their holders were told (DEF-19)."""


@dataclass(frozen=True, slots=True)
class Ways:
    """What becomes of mail for a domain: a copy in the box, with marks, one to the hospital."""

    stores: bool = True
    forwards: bool = False
    marks: frozenset[str] = frozenset()


INTO_THE_BOX = Ways()
_WAYS = {
    "store": INTO_THE_BOX,
    "forward": Ways(stores=False, forwards=True),
    "both": Ways(forwards=True),
    "hold": Ways(marks=frozenset({HELD})),
}


@dataclass(frozen=True)
class Gateway:
    """One of them, as its settings and its table say."""

    settings: GatewaySettings
    aliases: Aliases

    @classmethod
    def load(cls, settings: GatewaySettings) -> Gateway:
        """Raises ConfigError: a name that cannot be compared, a table that cannot be read."""
        for text in settings.client_names:
            if pki.listed_name(text) is None:
                raise ConfigError(
                    f"gateways: {settings.name}",
                    f"« {text} » is not the name of a certificate",
                    "Write it as `openssl x509 -noout -subject -nameopt RFC2253` prints it.",
                )
        loaded = cls(settings, _table(settings))
        loaded._check_table()
        return loaded

    def _check_table(self) -> None:
        for usual, mss in self.aliases.to_mss.items():
            if mss.domain not in self.domains:
                why = f"gives {usual} the address {mss}, which is not behind this gateway"
                remedy = "Its domain must be one of gateways.domains: correct the line."
                raise ConfigError(str(self.settings.aliases_file), why, remedy)
            if usual.domain in self.domains:
                why = f"{usual} stands on the side of the usual addresses and is an MSSanté one"
                raise ConfigError(
                    str(self.settings.aliases_file), why, "Write usual;mssante on each line."
                )

    @property
    def name(self) -> str:
        """Its short name, for logs and commands."""
        return self.settings.name

    @cached_property
    def domains(self) -> frozenset[Domain]:
        """MSSanté domains behind it."""
        return frozenset(self.settings.domains)

    @cached_property
    def names(self) -> frozenset[DnKey]:
        """Of the certificates its servers present."""
        return frozenset(
            key for text in self.settings.client_names if (key := pki.listed_name(text))
        )

    @property
    def ways(self) -> Ways:
        """What becomes of mail that comes for its boxes."""
        return _WAYS[self.settings.inbound]

    def is_at(self, address: str) -> bool:
        """Is this one of its fixed addresses?"""
        return comes_from(address, self.settings.addresses)


def _table(settings: GatewaySettings) -> Aliases:
    path: Path | None = settings.aliases_file
    if path is None:
        return Aliases()
    try:
        with path.open("rb") as file:
            return Aliases.parse(file.read(MAX_TABLE_OCTETS + 1))
    except OSError as error:
        why = f"cannot be read ({error.strerror})"
        raise ConfigError(str(path), why, "Put the table of aliases there.") from error
    except BadAliases as error:
        remedy = "Write one usual;mssante per line, each address once."
        raise ConfigError(str(path), str(error), remedy) from error


@dataclass(frozen=True)
class Gateways:
    """All of them. Read once; a worker that is replaced reads them anew."""

    all: tuple[Gateway, ...] = ()

    @classmethod
    def load(cls, settings: Settings) -> Gateways:
        """Raises ConfigError, also when two of them would claim one usual address."""
        loaded = tuple(map(Gateway.load, settings.gateways))
        owners: dict[str, str] = {}
        for gateway in loaded:
            for usual in gateway.aliases.to_mss:
                other = owners.setdefault(usual.key, gateway.name)
                if other != gateway.name:
                    raise ConfigError(
                        str(gateway.settings.aliases_file),
                        f"{usual} stands in the table of {other} too",
                        "Keep it in the table of one gateway.",
                    )
        return cls(loaded)

    @cached_property
    def _by_domain(self) -> dict[Domain, Gateway]:
        return {domain: gateway for gateway in self.all for domain in gateway.domains}

    def of(self, domain: Domain) -> Gateway | None:
        """The gateway in front of this domain."""
        return self._by_domain.get(domain)

    def ways(self, domain: Domain) -> Ways:
        """What becomes of mail for a box of `domain`."""
        gateway = self.of(domain)
        return INTO_THE_BOX if gateway is None else gateway.ways

    def identify(
        self, chain: Sequence[x509.Certificate], address: str, snapshot: Snapshot, now: datetime
    ) -> Gateway:
        """Whose server this is (MAC-04). Raises CertificateRefused, GatewayRefused."""
        judge_chain(chain, snapshot.anchors, snapshot.revocation, Role.CLIENT, now)
        name, serial = pki.certificate_name(chain[0].subject), pki.serial_text(chain[0])
        named = [each for each in self.all if name in each.names]
        if not named:
            raise GatewayRefused("name", serial, reply=GATEWAY_NAME)
        found = next((each for each in named if each.is_at(address)), None)
        if found is None:
            raise GatewayRefused("address", serial, reply=GATEWAY_ADDRESS)
        return found


NO_GATEWAYS = Gateways()
