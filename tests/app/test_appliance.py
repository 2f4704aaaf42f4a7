"""The listener of scanners in the real server: from the settings to the box (MAC-02)."""

from __future__ import annotations

from smtplib import SMTPAuthenticationError

import pytest

from tests.app.server import Site, serving
from tests.free_ports import free_ports
from tests.home import ZOE, typed

pytestmark = pytest.mark.timeout(90)

BOX = "scanner@hopital-a.test"
SCAN = f"From: <{BOX}>\nTo: <{ZOE}>\nSubject: numerisation\n\nPage 1\n".encode()


def test_a_scanner_sends_through_its_own_listener_and_nowhere_else(site: Site) -> None:
    secret = typed("machine", "password", "--json").json
    site.ports["appliances"] = free_ports(1)[0]
    site.write()
    site.home.mssmtp("bal", "add", BOX, "--type", "APP")
    record = f"""
[[machines]]
name = "scanner"
box = "{BOX}"
addresses = ["127.0.0.1"]
password_hash = "{secret["password_hash"]}"
"""
    with site.home.config_file.open("a", encoding="utf-8") as file:
        file.write(record)
    with serving(site, 1):
        with site._smtp("appliances", None) as client:
            client.login("scanner", secret["password"])
            for command in (f"MAIL FROM:<{BOX}>", f"RCPT TO:<{ZOE}>", "DATA"):
                client.send(command.encode() + b"\n")
                assert client.getreply()[0] in (250, 354)
            client.send(SCAN + b".\n")
            assert client.getreply()[0] == 250
        assert site.subjects() == ["numerisation"]
        with site._smtp("submission", None) as client, pytest.raises(SMTPAuthenticationError):
            client.login("scanner", secret["password"])
