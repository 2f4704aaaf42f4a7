"""Contexts of Python's own ssl: our HTTPS, and clients of ours that want no OCSP answer.

The same floor, suites and checks of files as those of the doors (`tls_settings`, OP-04, OP-05).
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from weakref import WeakKeyDictionary

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from mssmtp.config import CertificateSettings, TlsSettings
from mssmtp.tls_settings import (
    FLOORS,
    OwnCertificate,
    Presenter,
    check_settings,
    load_certificate,
    load_chain,
    unusable,
)

_OPENSSL_CURVES = {"P-256": "prime256v1", "P-384": "secp384r1", "P-521": "secp521r1"}


def peer_chain(session: ssl.SSLObject | ssl.SSLSocket) -> tuple[x509.Certificate, ...]:
    """What a server presented to a client of ours, leaf first, unverified; empty before that.

    stdlib keeps the call that gives more than the leaf private until Python 3.13.
    """
    inner = getattr(session, "_sslobj", None)
    sent = inner.get_unverified_chain() if inner is not None else None
    return tuple(
        x509.load_pem_x509_certificate(each.public_bytes().encode("ascii")) for each in sent or ()
    )


def client_context(
    settings: TlsSettings,
    certificate: CertificateSettings | OwnCertificate | None,
    anchors: Path | None = None,
) -> ssl.SSLContext:
    """Our client side, with the floor and suites of the doors. The system's store is never read.

    `anchors`: a PEM file; the peer's chain and name are verified against it. None: nothing is
    verified here and the caller must judge `peer_chain()` before it says anything that matters.
    The server name is sent when the caller gives `server_hostname`. Raises ConfigError.
    """
    check_settings(settings)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = FLOORS[settings.min_version][1]
    context.set_ciphers(":".join(settings.ciphers))
    if len(settings.groups) == 1:
        # stdlib takes one group; with several its default order is used, all of them ECDHE in
        # TLS 1.2 and at least 112 bits in 1.3.
        _set_group(context, settings.groups[0])
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    if anchors is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        _load_anchors(context, anchors)
    if isinstance(certificate, CertificateSettings):
        certificate = load_certificate(certificate)
    if certificate is not None:
        _load_own(context, certificate)
    return context


def _set_group(context: ssl.SSLContext, group: str) -> None:
    try:
        context.set_ecdh_curve(_OPENSSL_CURVES.get(group, group))
    except ssl.SSLError:
        # Before 3.11.4, and in Debian 12, Python takes curves that can sign only. X25519 is the
        # first of the default order, so that a server which knows it uses it.
        if group != "X25519":
            raise


def http_context(
    settings: TlsSettings, presenter: Presenter, clients: Path | None
) -> ssl.SSLContext:
    """Our side of HTTPS, with the floor and suites of the doors, for who shows a certificate below
    `clients` (a PEM file); others end in the handshake. None: for browsers, which show none.

    Renewed files are shown from the next handshake on. Raises ConfigError.
    """
    check_settings(settings)

    def made(own: OwnCertificate) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = FLOORS[settings.min_version][1]
        context.set_ciphers(":".join(settings.ciphers))
        context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
        if clients is not None:
            _load_anchors(context, clients)
        context.check_hostname = False
        _load_own(context, own)
        return context

    known: WeakKeyDictionary[OwnCertificate, ssl.SSLContext] = WeakKeyDictionary()
    first = presenter.present(None)
    known[first] = base = made(first)

    def renew(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        own = presenter.present(name)
        if own not in known:
            known[own] = made(own)
        connection.context = known[own]

    base.sni_callback = renew
    return base


def _load_own(context: ssl.SSLContext, own: OwnCertificate) -> None:
    """Exactly the pair that was checked: its files may have changed meanwhile.

    stdlib takes files only, so it gets one that is in memory and has no name.
    """
    handle = os.memfd_create("own-certificate", os.MFD_CLOEXEC)
    try:
        with open(handle, "wb", closefd=False) as file:
            file.write(own.pem)
        context.load_cert_chain(f"/proc/self/fd/{handle}")
    except ssl.SSLError as error:
        raise unusable(own.files, error.reason or "unknown reason") from error
    finally:
        os.close(handle)


def _load_anchors(context: ssl.SSLContext, anchors: Path) -> None:
    chain = load_chain(anchors)
    pem = "".join(each.public_bytes(Encoding.PEM).decode("ascii") for each in chain)
    context.load_verify_locations(cadata=pem)
    context.verify_mode = ssl.CERT_REQUIRED
    context.check_hostname = True
