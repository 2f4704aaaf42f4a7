"""Ending the handshake of a peer that is refused, with the alert that says why.

The default answers by SMTP, which has room for a sentence; some administrators want no session.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from cryptography import x509
from cryptography.hazmat.bindings.openssl.binding import Binding
from OpenSSL import SSL, crypto

from mssmtp.pki import UNREADABLE

logger = logging.getLogger(__name__)

Judge = Callable[[x509.Certificate], str | None]
"""Why this certificate is refused, in the words of the log; None: let it in."""

_LIB, _FFI = Binding.lib, Binding.ffi

_ERRORS = {
    # Reason -> X509_V_ERR_*, which OpenSSL turns into the alert of RFC 8446 6.2.
    "expired": 10,  # certificate_expired
    "not yet valid": 9,  # bad_certificate
    "revoked": 23,  # certificate_revoked
    "usage": 26,  # unsupported_certificate
    "weak": 66,  # bad_certificate
    "chain": 20,  # unknown_ca
    "name not listed": 28,  # bad_certificate
}
_OTHERWISE = 50
"""handshake_failure: of our own bug, never an acceptance."""


def refuse_in_handshake(context: SSL.Context, judge: Judge) -> None:
    """Ask peers for a certificate; a handshake without one, or with one `judge` refuses, fails.

    pyOpenSSL's own callback cannot choose the error, and so the alert: its binding can.
    """

    def verify(ok: int, store: object) -> int:
        error = _error(store, judge)
        _LIB.X509_STORE_CTX_set_error(store, error)
        return int(error == _LIB.X509_V_OK)

    callback = _FFI.callback("int (*)(int, X509_STORE_CTX *)", verify, error=0)
    context._verify_callback = callback  # lives as long as the context that calls it
    mode = SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT
    _LIB.SSL_CTX_set_verify(context._context, mode, callback)


def _error(store: object, judge: Judge) -> int:
    try:
        pointer = _LIB.X509_STORE_CTX_get0_cert(store)
        _LIB.X509_up_ref(pointer)
        leaf = crypto.X509._from_raw_x509_ptr(pointer).to_cryptography()
        reason = judge(leaf)
    except UNREADABLE:
        return _ERRORS["chain"]
    except Exception:
        # Nothing may pass through OpenSSL, and nobody may come in because we failed.
        logger.exception("judging in the handshake failed")
        return _OTHERWISE
    return int(_LIB.X509_V_OK) if reason is None else _ERRORS.get(reason, _OTHERWISE)
