"""One certificate of a throw-away authority, and both event loops."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop

from mssmtp.config import CertificateSettings, TlsSettings
from mssmtp.demo.authority import Authority, Identity
from tests.authority import A_DOMAIN, B_DOMAIN


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Every asynchronous test here runs on both loops."""
    return {"asyncio": asyncio.SelectorEventLoop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def identity(healthy: dict[str, Identity]) -> Identity:
    return healthy[A_DOMAIN]


@pytest.fixture(scope="session")
def files(identity: Identity, tmp_path_factory: pytest.TempPathFactory) -> CertificateSettings:
    """The server's certificate; a client must use another to be told apart."""
    written = identity.write(tmp_path_factory.mktemp("server"), "server")
    return CertificateSettings(certificate_file=written.certificate_file, key_file=written.key_file)


@pytest.fixture(scope="session")
def client_files(
    healthy: dict[str, Identity], tmp_path_factory: pytest.TempPathFactory
) -> CertificateSettings:
    written = healthy[B_DOMAIN].write(tmp_path_factory.mktemp("client"), "client")
    return CertificateSettings(certificate_file=written.certificate_file, key_file=written.key_file)


@pytest.fixture(scope="session")
def settings(files: CertificateSettings) -> TlsSettings:
    return TlsSettings(operators=files, users=files)


@pytest.fixture(scope="session")
def anchors_file(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("anchors") / "anchors.pem"
    path.write_bytes(authority.anchors_pem)
    return path
