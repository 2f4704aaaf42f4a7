"""Debian's Postfix plays another operator: guest.test, listed, with its certificate and its MX."""

from __future__ import annotations

import os
import re
import shutil
import smtplib
import ssl
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from tests.end_to_end import private_postfix
from tests.end_to_end.mail import arrival, attachment, letter, say, submit
from tests.free_ports import free_ports
from tests.space import RunningSpace, program

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.xdist_group("space"),
    pytest.mark.timeout(120),
]

T = TypeVar("T")
# A host that failed again and again in tests before rests for a minute (`smtp_lanes`).
WITHIN_S = 90.0

MAIN_CF = """\
myhostname = mx.guest.test
virtual_mailbox_domains = guest.test
virtual_mailbox_maps = static:all/
transport_maps = inline:{{ {{ cabinet-b.test = smtp:[127.0.0.1]:{b} }} }}
smtpd_forbid_bare_newline = yes
smtpd_forbid_bare_newline_exclusions =
smtpd_relay_restrictions = reject_unauth_destination
smtpd_tls_security_level = encrypt
smtpd_tls_mandatory_protocols = >=TLSv1.2
smtpd_tls_chain_files = {home}/operator.key, {home}/operator.pem
smtpd_tls_CAfile = {home}/ca.pem
smtpd_tls_req_ccert = yes
smtpd_tls_received_header = yes
smtpd_tls_loglevel = 1
smtp_tls_security_level = encrypt
smtp_tls_policy_maps = inline:{{ {{ [127.0.0.1]:{b} = verify match=mx.cabinet-b.test }} }}
smtp_tls_chain_files = {home}/operator.key, {home}/operator.pem
smtp_tls_CAfile = {home}/ca.pem
smtp_tls_loglevel = 1
"""
"""As an operator would set it up; without the exclusions loopback would pass bare newlines."""


@dataclass(frozen=True)
class Postfix:
    """A private Postfix: its MX door, the door of its own users, its log and its one maildir."""

    home: Path
    mx: int
    inside: int

    @property
    def log(self) -> str:
        return (self.home / "maillog").read_text()

    def logged(self, pattern: str) -> str:
        """The log line that matches, waited for."""
        return self._awaited(
            lambda: next((li for li in self.log.splitlines() if re.search(pattern, li)), None)
        )

    def message(self, text: str) -> bytes:
        """The delivered message that holds `text`, waited for; lines end in LF."""
        wanted, folder = text.encode(), self.home / "mail" / "all" / "new"
        return self._awaited(
            lambda: next(
                (octets for file in folder.glob("*") if wanted in (octets := file.read_bytes())),
                None,
            )
        )

    def _awaited(self, look: Callable[[], T | None]) -> T:
        deadline = time.monotonic() + WITHIN_S
        while (found := look()) is None:
            assert time.monotonic() < deadline, self.log[-3000:]
            time.sleep(0.02)
        return found

    def command(self, *arguments: str) -> None:
        private_postfix.command(self.home, *arguments)


def lay(space: RunningSpace, home: Path) -> Postfix:
    """Its configuration, certificate and directories."""
    certificate, key = space.guest
    shutil.copy(certificate, home / "operator.pem")
    shutil.copy(key, home / "operator.key")
    shutil.copy(space.ca_file, home / "ca.pem")
    [inside] = free_ports(1)
    mx = int(space.manifest["guest"]["smtp"]["port"])
    private_postfix.lay(home, MAIN_CF.format(home=home, b=space.b.smtp), mx, inside)
    return Postfix(home, mx, inside)


@pytest.fixture(scope="module")
def postfix(space: RunningSpace) -> Iterator[Postfix]:
    """Started as root, since Postfix changes users; stopped by its own command."""
    program("postfix")
    if os.geteuid() != 0:
        pytest.skip("postfix starts as root only")
    home = Path(tempfile.mkdtemp(prefix="mssmtp-postfix-"))
    home.chmod(0o755)  # its daemons run as user postfix
    try:
        private = lay(space, home)
        private.command("start")
        try:
            yield private
        finally:
            private.command("stop")
    finally:
        shutil.rmtree(home)


# ---------------------------------------------------------------- from us


@pytest.mark.requirement("SEED-01", "OP-01", "OP-11", "SEED-54")
def test_it_receives_from_us_over_mutual_tls_octet_for_octet(
    space: RunningSpace, postfix: Postfix
) -> None:
    sender, to = space.a.doctor(0), "max.dupontel@guest.test"
    sent = letter(sender, [to], attachments=[attachment(2_000_000)])
    queue_id = submit(space, space.a, sender, [to], sent.octets).envelope
    octets = postfix.message(sent.message_id)
    assert octets.endswith(sent.octets.replace(b"\r\n", b"\n"))
    trace = octets[: -len(sent.octets.replace(b"\r\n", b"\n"))].decode()
    assert 'Client CN "mx.hopital-a.test"' in trace
    assert 'Issuer "TEST AC IGC-SANTE ELEMENTAIRE ORGANISATIONS" (verified OK)' in trace
    assert "Return-Path: <zoe.tartempion@hopital-a.test>" in trace
    assert queue_id in trace
    postfix.logged(r"Trusted TLS connection established from \S+\[127\.0\.0\.1\]: TLSv1\.3")


def test_it_does_require_a_certificate(space: RunningSpace, postfix: Postfix) -> None:
    """Control of the test above: without one it refuses."""
    with smtplib.SMTP("127.0.0.1", postfix.mx, timeout=20) as client:
        context = ssl.create_default_context(cafile=space.ca_file)
        context.check_hostname = False
        client.starttls(context=context)
        with pytest.raises(smtplib.SMTPException):
            client.sendmail("x@guest.test", ["y@guest.test"], b"Subject: x\r\n\r\nx\r\n")
    postfix.logged("NOQUEUE: abort: TLS from")


def test_twenty_letters_to_it_share_connections(space: RunningSpace, postfix: Postfix) -> None:
    sender = space.a.doctor(0)
    sent = [letter(sender, ["max.dupontel@guest.test"]) for _ in range(20)]
    before = postfix.log.count("connect from")
    for one in sent:
        submit(space, space.a, sender, ["max.dupontel@guest.test"], one.octets)
    for one in sent:
        postfix.message(one.message_id)
    assert postfix.log.count(" connect from") - before <= 10


# ---------------------------------------------------------------- to us


@pytest.mark.requirement("SEED-01", "OP-01", "OP-10")
def test_it_sends_to_us_and_the_letter_is_read_over_imap(
    space: RunningSpace, postfix: Postfix
) -> None:
    to = space.b.doctor(0)
    sent = letter("max.dupontel@guest.test", [to], attachments=[attachment(2_000_000)])
    with smtplib.SMTP("127.0.0.1", postfix.inside, timeout=20) as client:
        assert say(client, "max.dupontel@guest.test", [to], sent.octets).data.startswith("250")
    received = arrival(space, space.b, to, sent.message_id)
    trace = received.below_trace(sent.octets)
    assert b"Received: from mx.guest.test ([127.0.0.1])" in trace
    assert b"(Postfix)" in trace
    postfix.logged(r"Verified TLS connection established to 127\.0\.0\.1\[\S+: TLSv1\.3")
    postfix.logged(rf"to=<{to}>, .*status=sent \(250 2\.0\.0 Message pris en charge")


@pytest.mark.requirement("OP-19")
def test_our_refusal_of_an_unknown_box_is_its_bounce(space: RunningSpace, postfix: Postfix) -> None:
    sent = letter("max.dupontel@guest.test", ["personne@cabinet-b.test"])
    with smtplib.SMTP("127.0.0.1", postfix.inside, timeout=20) as client:
        to = ["personne@cabinet-b.test"]
        assert say(client, "max.dupontel@guest.test", to, sent.octets).data.startswith("250")
    postfix.logged(r"to=<personne@cabinet-b\.test>, .*dsn=5\.1\.1, status=bounced")
    assert b"550 5.1.1 Boite inconnue" in postfix.message("Undelivered Mail Returned to Sender")


@pytest.mark.attack
@pytest.mark.requirement("OP-10")
def test_it_may_not_send_for_another_operator(space: RunningSpace, postfix: Postfix) -> None:
    to, sender = space.b.doctor(0), "zoe.tartempion@hopital-a.test"
    with smtplib.SMTP("127.0.0.1", postfix.inside, timeout=20) as client:
        assert say(client, sender, [to], letter(sender, [to]).octets).data.startswith("250")
    postfix.logged(
        rf"to=<{to}>, .*dsn=5\.7\.1, status=bounced \(host .* said: 550 5\.7\.1 .*MAIL FROM"
    )
