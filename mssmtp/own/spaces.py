"""Two trust spaces, one binary: production and test are never active together (OP-100)."""

from __future__ import annotations

from pathlib import Path

from cryptography import x509

from mssmtp.config import Settings
from mssmtp.errors import ConfigError
from mssmtp.pki import UNREADABLE, Anchors, Space, space_of
from mssmtp.tls_settings import OwnCertificate


def space_in_force(settings: Settings) -> Space:
    """The trust space of these settings, every set of authorities looked at.

    Told by the names of the anchors, or by `pki.space` when they are of neither space; without
    both it is production, where most is refused. Raises ConfigError when two would be active.
    """
    told, named = settings.pki.space, Anchors.load(settings.pki.anchors_file).space
    if told is not None and named is not None and told != named:
        raise _two_spaces(str(settings.pki.anchors_file), named, f"pki.space is {told}")
    space: Space = told or named or "production"
    cards = settings.web.cards
    for path in (
        settings.pki.users_anchors_file,
        settings.whitelist.https_anchors_file,
        None if cards is None else cards.anchors_file,
    ):
        if path is not None:
            _check_file(path, space)
    return space


def check_space(own: OwnCertificate, space: Space) -> None:
    """Refuse a certificate or a key of the other space. Raises ConfigError."""
    for certificate in own.chain:
        found = space_of(certificate.issuer)
        if found is not None and found != space:
            raise _two_spaces(
                str(own.files.certificate_file), found, f"this server is of the {space} space"
            )
    if own.is_demo and space == "production":
        raise ConfigError(
            str(own.files.key_file),
            "was made by `mssmtp demo` and others have a copy (OP-100)",
            "Make a new key for production, and have a certificate issued for it.",
        )


def check_home(home: Path, remembered: Space | None, space: Space) -> None:
    """A home with the mail of one space is not served in the other. Raises ConfigError."""
    if remembered is not None and remembered != space:
        raise _two_spaces(str(home), remembered, f"this server is of the {space} space")


def _check_file(path: Path, space: Space) -> None:
    try:
        certificates = x509.load_pem_x509_certificates(path.read_bytes())
        found = {space_of(each.subject) for each in certificates}
    except OSError as error:
        raise ConfigError(
            str(path), f"cannot be read ({error.strerror})", "Check the path and its mode."
        ) from error
    except UNREADABLE as error:
        raise ConfigError(
            str(path), "holds no readable certificate", "Give PEM certificates."
        ) from error
    for each in found - {None, space}:
        if each is not None:
            raise _two_spaces(str(path), each, f"the operators' anchors are of the {space} space")


def _two_spaces(what: str, found: Space, other: str) -> ConfigError:
    return ConfigError(
        what,
        f"is of the {found} trust space, and {other}: both are never active together (OP-100)",
        "Keep a server, a home and certificates of its own for each space.",
    )
