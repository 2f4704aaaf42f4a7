"""A real operator's home: what `mssmtp init` makes, and what it cannot make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mssmtp.config import Settings, load
from mssmtp.config_example import IGC_SANTE_CRLS, Value, render
from mssmtp.errors import ConfigError
from mssmtp.mail import Domain
from mssmtp.outside import Clock, Entropy
from mssmtp.storage import Store

SETTINGS_FILE = "mssmtp.toml"


@dataclass(frozen=True, slots=True)
class Missing:
    """Something only the operator can bring: `what` it is, `remedy` says how to get it.

    `file`: where it belongs, when it is a file.
    """

    what: str
    remedy: str
    file: Path | None = None


def create(
    directory: Path,
    domain: Domain,
    host_name: Domain,
    clock: Clock,
    entropy: Entropy,
    *,
    chosen: Mapping[str, Value] | None = None,
) -> Settings:
    """Make the home in `directory`: settings, master key, empty store. Nothing is overwritten.

    `chosen`: settings to be written other than by default, by dotted name. Raises ConfigError when
    a home is there already, the directory cannot be written, or the database cannot be used.
    """
    file = directory / SETTINGS_FILE
    if file.exists():
        raise ConfigError(
            str(file), "exists already", "Choose another --home, or edit the file that is there."
        )
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        (directory / "certs").mkdir(mode=0o700, exist_ok=True)
        file.write_text(render({**_values(domain, host_name), **(chosen or {})}), "utf-8")
    except OSError as error:
        raise ConfigError(
            str(directory), f"cannot be written ({error.strerror})", "Choose another --home."
        ) from error
    try:
        settings = load(file)
        Store.create(settings.store, clock, entropy)
    except ConfigError:
        file.unlink()  # so that init can be repeated once the cause is cured
        raise
    return settings


def _values(domain: Domain, host_name: Domain) -> dict[str, Value]:
    return {
        "operator.name": domain.partition(".")[0],
        "operator.host_name": host_name,
        "operator.domains": domain,
        "store.home": "store",
        "store.master_key_file": "keys/master.key",
        "listen.operators": "0.0.0.0:25",
        "listen.submission": "0.0.0.0:587",
        "listen.submissions": "0.0.0.0:465",
        "listen.imap": "0.0.0.0:143",
        "listen.imaps": "0.0.0.0:993",
        "listen.metrics": "127.0.0.1:9125",
        "tls.operators.certificate_file": "certs/operators.pem",
        "tls.operators.key_file": "certs/operators.key",
        "tls.users.certificate_file": "certs/users.pem",
        "tls.users.key_file": "certs/users.key",
        "pki.anchors_file": "certs/igc-sante.pem",
        "pki.crl_urls": IGC_SANTE_CRLS,
    }


def missing(settings: Settings, *, everything: bool = False) -> tuple[Missing, ...]:
    """What a real operator still lacks before `serve` can work, in the order to get it.

    `everything`: also what is there, for a home whose certificates are throw-away.
    """
    found: list[Missing] = []
    served = ", ".join(settings.operator.domains)
    for path, what, remedy in (
        (
            settings.tls.operators[0].certificate_file,
            "operator certificate",
            "Order an IGC-Santé SERV SSL certificate (Élémentaire, Organisations) from ANS.",
        ),
        (
            settings.tls.operators[0].key_file,
            "key of the operator certificate",
            "Made with the request; mode 0600.",
        ),
        (
            settings.tls.users.certificate_file,
            "certificate of the user doors",
            f"Same product; it must name {settings.operator.host_name}.",
        ),
        (
            settings.tls.users.key_file,
            "key of the user doors' certificate",
            "Made with the request; mode 0600.",
        ),
        (
            settings.pki.anchors_file,
            "IGC-Santé anchors",
            "Download the root and the Organisations authority from ANS, PEM, one file.",
        ),
    ):
        if path in {each.file for each in found}:
            continue  # one certificate may serve both kinds of door
        if everything or not path.is_file():
            shown = path.name if everything else path
            found.append(Missing(f"{what}: {shown}", remedy, path))
    found.append(
        Missing(
            f"declaration of {served} to ANS",
            "Sign the operator contract and send the rows of `mssmtp trust expected`;"
            " `mssmtp doctor --joining` says what comes in which order.",
        )
    )
    found.append(Missing(f"MX record of {served}", f"Publish MX 10 {settings.operator.host_name}."))
    dns = " and ".join(f"`mssmtp domain dns {name}`" for name in settings.operator.domains)
    found.append(
        Missing(
            f"DNS records of {served} for mail programs",
            f"Publish the output of {dns}.",
        )
    )
    return tuple(found)
