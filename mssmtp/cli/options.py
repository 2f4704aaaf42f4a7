"""Options that several subcommands share.

A server needs the place of its settings and nothing else of it: what prints and what calls a
server is imported by those who do.
"""

from __future__ import annotations

import os
from datetime import UTC, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mssmtp.config import Settings, load
from mssmtp.errors import BadAddress, ConfigError
from mssmtp.mail import Address, Domain, domain

if TYPE_CHECKING:
    from mssmtp.asking import Desk

DEFAULT_PLACES = (Path("mssmtp.toml"), Path("/etc/mssmtp/mssmtp.toml"))

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        envvar="MSSMTP_CONFIG",
        help="Settings file; ./mssmtp.toml, then /etc/mssmtp/mssmtp.toml when not given.",
    ),
]


def _for_machines(asked: bool) -> bool:
    from mssmtp.cli.output import for_machines

    for_machines.set(asked)
    return asked


Json = Annotated[
    bool,
    typer.Option(
        "--json", callback=_for_machines, is_eager=True, help="Print JSON for machines, errors too."
    ),
]


AdministratorCertificate = Annotated[
    Path | None,
    typer.Option("--certificate", help="PEM of the administrator's, shown to the TLS door."),
]
AdministratorUser = Annotated[
    int | None, typer.Option("--user", help="The administrator's, by number, on this machine.")
]
AdministratorAddress = Annotated[
    str | None, typer.Option("--address", help="Where notices to the administrator go.")
]


def config_path(path: Path | None) -> Path:
    """The settings file to use. Raises ConfigError when there is none."""
    if path is not None:
        return path
    for place in DEFAULT_PLACES:
        if place.is_file():
            return place
    raise ConfigError(
        "settings", "no file was given and none is found", "Use --config, or run `mssmtp init`."
    )


def settings(path: Path | None) -> Settings:
    """The settings of `path` or of the default places. Raises ConfigError."""
    from mssmtp.cli.output import patient_domains, reader_zone

    found = load(config_path(path))
    patient_domains.set(frozenset(found.policy.patient_domains))
    reader_zone.set(found.operator.zone)
    return found


def zone(path: Path | None) -> tzinfo:
    """The clock by which who types means a day: `operator.time_zone`; UTC of a server elsewhere,
    whose settings are not here (MSSMTP_ADMIN)."""
    if os.environ.get(_REMOTE) is not None and path is None:
        return UTC
    return settings(path).operator.zone


_REMOTE = "MSSMTP_ADMIN"


def is_remote() -> bool:
    """Whether `desk` asks a server elsewhere when no settings file is named."""
    return _REMOTE in os.environ


def desk(path: Path | None) -> Desk:
    """Where operations are asked for: of the home of the settings, or of the server that
    MSSMTP_ADMIN names, by its socket (unix:PATH) or over TLS (https://HOST:PORT) with the
    certificate of MSSMTP_ADMIN_CERTIFICATE. Raises ConfigError."""
    from mssmtp.asking import Remote, desk_at, desk_of, desk_on

    url = os.environ.get(_REMOTE)
    if url is None or path is not None:
        return desk_of(settings(path))
    if url.startswith("unix:"):
        return desk_on(Path(url.removeprefix("unix:")))
    return desk_at(Remote(url, _named("CERTIFICATE"), _named("KEY"), _named("ANCHORS")))


def _named(part: str) -> Path:
    variable = f"MSSMTP_ADMIN_{part}"
    if not (value := os.environ.get(variable)):
        raise ConfigError(
            variable, "is not set", "With MSSMTP_ADMIN go _CERTIFICATE, _KEY and _ANCHORS."
        )
    return Path(value)


def address(text: str) -> Address:
    """An address that was written on the command line. Raises ConfigError."""
    try:
        return Address.parse(text)
    except BadAddress as error:
        raise ConfigError(f"« {text} »", error.reply.text, "Écrivez nom@domaine.") from error


def domain_name(text: str) -> Domain:
    """A domain, or that of an address, from the command line. Raises ConfigError."""
    try:
        return domain(text.rpartition("@")[2])
    except BadAddress as error:
        raise ConfigError(
            f"« {text} »",
            "is no domain name and no file",
            "Write it as ch-valmont.mssante.example.",
        ) from error
