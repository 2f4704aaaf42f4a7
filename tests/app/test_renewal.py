"""A certificate is renewed under a running server of two workers: nothing restarts (OP-21)."""

from __future__ import annotations

import signal
import socket

import pytest
from cryptography import x509

from mssmtp.demo.authority import Identity, Make, Subject
from tests.app.server import Site, letter, serving, until
from tests.authority import A_SUBJECT

pytestmark = pytest.mark.timeout(120)
HOSTS = Make(hosts=("localhost", "127.0.0.1"))


def shown(site: Site) -> int:
    """Serial number of what the door 993 presents."""
    with (
        socket.create_connection(("localhost", site.ports["imaps"]), 10) as raw,
        site.context().wrap_socket(raw, server_hostname="localhost") as wrapped,
    ):
        der = wrapped.getpeercert(binary_form=True)
    assert der is not None
    return x509.load_der_x509_certificate(der).serial_number


def renew(site: Site, subject: Subject = A_SUBJECT, make: Make = HOSTS) -> Identity:
    fresh = site.authority.issue(subject, make)
    fresh.write(site.home.directory / "certs", "operator")
    return fresh


@pytest.mark.requirement("OP-21", "OP-20")
def test_new_connections_see_the_new_certificate_and_open_ones_go_on(site: Site) -> None:
    with serving(site) as server, site.reading() as session, site.as_operator() as peer:
        before, workers = shown(site), server.workers
        fresh = renew(site)
        until(lambda: server.said("own certificate renewed") == 4, "two doors of two workers")
        assert {shown(site) for _ in range(6)} == {fresh.certificate.serial_number} != {before}
        session.noop()
        assert peer.noop()[0] == 250
        assert site.receive(letter("apres")).startswith("250 ")
        (site.home.directory / "certs" / "operator.key").write_text("coupé", "utf-8")
        until(lambda: server.said("new certificate refused: the old one stays in use") == 2, "said")
        assert shown(site) == fresh.certificate.serial_number
        assert site.receive(letter("encore")).startswith("250 ")
        assert server.workers == workers, "nobody was replaced"
    assert server.end() == 0


@pytest.mark.requirement("OP-21")
def test_settings_that_lose_the_listed_name_are_not_taken(site: Site) -> None:
    """SIGHUP with a pair of another name, not in the list yet, in the place of the listed one."""
    with serving(site, 1) as server:
        before = shown(site)
        other = Subject("mx.nouveau.test", "1990000017", "NOUVEAU NOM")
        site.authority.issue(other, HOSTS).write(site.home.directory / "certs", "next")
        site.write(
            tls__operators__certificate_file="certs/next.pem",
            tls__operators__key_file="certs/next.key",
        )
        server.process.send_signal(signal.SIGHUP)
        until(lambda: server.said("not reloaded: the settings are wrong") == 1, "refused")
        assert "has another name" in server.log
        assert shown(site) == before
    assert server.end() == 0
