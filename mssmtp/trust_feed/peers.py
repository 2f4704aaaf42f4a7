"""Certificates of peers that were let in, kept to know when they end (F11).

peers/FINGERPRINT.der    one certificate; its time of modification is when it was last seen
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from mssmtp.pki import DER, UNREADABLE

KEPT_AFTER_END = timedelta(days=30)
MOST = 5_000


@dataclass(frozen=True, slots=True)
class Seen:
    """A certificate that passed every check, and when it last did."""

    certificate: x509.Certificate
    at: datetime


class PeerFiles:
    """The directory; any worker writes, one file at a time and whole."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def all(self) -> tuple[Seen, ...]:
        """Everything kept. A file that cannot be read is as if it were not there."""
        found = []
        for path in sorted(self._directory.glob("*.der")):
            try:
                certificate = x509.load_der_x509_certificate(path.read_bytes())
                at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
            except (OSError, *UNREADABLE):
                continue
            found.append(Seen(certificate, at))
        return tuple(found)

    def saw(self, certificates: Iterable[x509.Certificate], now: datetime) -> None:
        """Keep or touch these; forget what ended long ago. Raises OSError."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for certificate in certificates:
            path = self._directory / f"{certificate.fingerprint(hashes.SHA256()).hex()}.der"
            if not path.exists():
                if not self._has_room(now):
                    return
                draft = path.with_suffix(f".{os.getpid()}")
                draft.write_bytes(certificate.public_bytes(DER))
                draft.replace(path)
            os.utime(path, (now.timestamp(), now.timestamp()))

    def _has_room(self, now: datetime) -> bool:
        """Forgets what ended, when a new one comes; a peer cannot fill the disk by renewing."""
        for seen in self.all():
            if seen.certificate.not_valid_after_utc + KEPT_AFTER_END < now:
                name = seen.certificate.fingerprint(hashes.SHA256()).hex()
                (self._directory / f"{name}.der").unlink(missing_ok=True)
        return sum(1 for _ in self._directory.glob("*.der")) < MOST
