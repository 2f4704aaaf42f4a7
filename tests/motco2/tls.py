"""TLS of the four doors: versions, suites, chain (OP-04, OP-05, CL-06, CL-08, CL-09)."""

from __future__ import annotations

import ssl
import warnings
from collections.abc import Iterator
from functools import partial

from cryptography import x509

from tests.motco2.cases import Case, Wrong, expect
from tests.motco2.target import Door, Target, handshake

_WEAK = {
    "CBC": "ECDHE-RSA-AES256-SHA:ECDHE-RSA-AES128-SHA256",
    "static RSA": "AES256-GCM-SHA384:AES128-SHA",
    "no secret at all": "eNULL:aNULL",
}


def cases(target: Target) -> Iterator[Case]:
    """For each door."""
    for door in target.doors:
        group = f"TLS, {door}"
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            run = partial(_version, door=door, version=version)
            yield Case(group, f"{version.name} passes", "OP-04, CL-06", run)
        yield Case(group, "TLS 1.1 and 1.0 fail", "OP-04", partial(_old, door=door))
        for name in _WEAK:
            yield Case(group, f"{name} fails", "OP-05", partial(_weak, door=door, suites=name))
        yield Case(
            group,
            "host name and chain, the root alone known",
            "CL-08, CL-09",
            partial(_chain, door=door),
        )


def _version(target: Target, *, door: Door, version: ssl.TLSVersion) -> str:
    context = target.context()
    context.minimum_version = context.maximum_version = version
    with handshake(door, context) as session:
        cipher = session.cipher()
        return f"{session.version()}, {cipher[0] if cipher else 'no cipher'}"


def _careless(target: Target) -> ssl.SSLContext:
    context = target.context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _old(target: Target, *, door: Door) -> str:
    context = _careless(target)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    return _refused(door, context)


def _weak(target: Target, *, door: Door, suites: str) -> str:
    context = _careless(target)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(f"{_WEAK[suites]}:@SECLEVEL=0")
    return _refused(door, context)


def _refused(door: Door, context: ssl.SSLContext) -> str:
    try:
        session = handshake(door, context)
    except (ssl.SSLError, ConnectionResetError) as error:
        return f"handshake fails: {getattr(error, 'reason', None) or type(error).__name__}"
    with session:
        raise Wrong(f"handshake passes with {session.cipher()}")


def _chain(target: Target, *, door: Door) -> str:
    with handshake(door, target.context()) as session:
        found = session.getpeercert(binary_form=True)
        expect(found, "no certificate")
        leaf = x509.load_der_x509_certificate(found or b"")
        return f"{leaf.subject.rfc4514_string()}, by {leaf.issuer.rfc4514_string()}"
