"""A certificate that the library cannot read fails the handshake and nothing else."""

from __future__ import annotations

import pytest
from cryptography import x509

from mssmtp.tls_engine import Engine, TlsFailure


class _Unreadable:
    """A connection whose peer sent a certificate of a version that does not exist."""

    def get_peer_certificate(self, *, as_cryptography: bool) -> x509.Certificate:
        raise x509.InvalidVersion("version 3 is not known", 3)


def test_a_certificate_that_cannot_be_read_is_a_failed_handshake() -> None:
    engine = Engine.__new__(Engine)
    engine._connection = _Unreadable()  # type: ignore[assignment]  # stands for pyOpenSSL's
    with pytest.raises(TlsFailure, match="unreadable certificate"):
        engine._peer_chain()
