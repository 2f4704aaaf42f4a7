"""Certificates for tests, made once per process: RSA keys are the slow part."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from itertools import count

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from mssmtp.demo.authority import Authority, Identity, Make, Subject, new_key, row
from mssmtp.pki import Anchors, Revocation
from mssmtp.trust import Snapshot
from mssmtp.whitelist import Row, Whitelist

A_DOMAIN, B_DOMAIN = "hopital-a.test", "cabinet-b.test"
A_SUBJECT = Subject("mx.hopital-a.test", "1990000017", "CENTRE HOSPITALIER DE VALMONT")
B_SUBJECT = Subject("mx.cabinet-b.test", "312345678900017", "ALPHA OPERATEUR")


@cache
def _key(number: int) -> rsa.RSAPrivateKey:
    return new_key()


def shared_keys(first: int = 0, last: int = 5) -> Callable[[], rsa.RSAPrivateKey]:
    """Two fresh keys for the authorities, then a few that certificates take turns with.

    Another `first` gives other authority keys: two authorities must never share one.
    """
    numbers = count(first)

    def make() -> rsa.RSAPrivateKey:
        number = next(numbers) - first
        return _key(first + number if number < 2 else 100 + number % last)

    return make


@pytest.fixture(scope="session")
def authority() -> Authority:
    """A trust space whose certificates are valid now, by the machine's clock."""
    return Authority(datetime.now(UTC), make_key=shared_keys())


@pytest.fixture(scope="session")
def healthy(authority: Authority) -> dict[str, Identity]:
    """A good operator certificate per listed domain; `localhost` and 127.0.0.1 fit too."""
    make = Make(hosts=("localhost", "127.0.0.1"))
    return {A_DOMAIN: authority.issue(A_SUBJECT, make), B_DOMAIN: authority.issue(B_SUBJECT, make)}


def rows_for(authority: Authority, *bindings: tuple[str, str]) -> tuple[Row, ...]:
    """Rows of (domain, name as the list prints it)."""
    return tuple(row(domain, dn, updated=authority.now) for domain, dn in bindings)


def unsigned_whitelist(authority: Authority, *bindings: tuple[str, str]) -> Whitelist:
    """A list as if verified, for tests of what comes after verification."""
    return Whitelist(authority.now, "0" * 64, "CN=test", rows_for(authority, *bindings))


@pytest.fixture(scope="session")
def snapshot(authority: Authority) -> Snapshot:
    """Both domains listed, fresh CRLs, nobody revoked."""
    anchors = Anchors.from_pem(authority.anchors_pem)
    listed = unsigned_whitelist(authority, (A_DOMAIN, A_SUBJECT.text), (B_DOMAIN, B_SUBJECT.text))
    return Snapshot(
        anchors=anchors,
        whitelist=listed,
        revocation=Revocation.of(authority.crls(), anchors),
    )
