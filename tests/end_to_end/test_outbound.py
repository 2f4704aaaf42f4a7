"""What leaves A only when the other side is who the list says: guest.test played by impostors."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from mssmtp.demo.authority import Identity
from mssmtp.mail import EnvelopeId
from mssmtp.storage import QueueEntry
from tests.end_to_end.mail import letter, submit
from tests.space import RunningSpace
from tests.tls.hellos import GOOD_ANSWER, WEAK_ANSWERS, refuses_weak_answer

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.xdist_group("space"),
    pytest.mark.timeout(120),
]

WITHIN_S = 30.0
TO = "max.dupontel@guest.test"


class Impostor:
    """Listens on the guest's MX port; `certificate` None: offers no STARTTLS.

    Accepts whatever it is told, so that nothing but the client's own care keeps a letter back.
    """

    def __init__(self, space: RunningSpace, certificate: tuple[str, str] | None) -> None:
        self.said: list[bytes] = []
        self._context = None
        if certificate is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(*certificate)
        port = int(space.manifest["guest"]["smtp"]["port"])
        self._listening = socket.create_server(("127.0.0.1", port))
        self._talking: socket.socket = socket.socket()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        """Stop listening, end the conversation that is going on."""
        for sock in (self._listening, self._talking):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listening.close()
        self._talking.close()

    def _serve(self) -> None:
        while True:
            try:
                sock, _ = self._listening.accept()
            except OSError:
                return
            self._talking.close()
            self._talking = sock
            with suppress(OSError):
                self._talking.settimeout(WITHIN_S)
                self._talking.sendall(b"220 mx.guest.test ESMTP\r\n")
                while self._encrypts():
                    assert self._context is not None
                    self._talking = self._context.wrap_socket(self._talking, server_side=True)
            self._talking.close()

    def _encrypts(self) -> bool:
        """Answer commands until STARTTLS (True) or the end (False)."""
        with self._talking.makefile("rb") as stream:
            while line := stream.readline():
                self.said.append(line)
                if line.startswith(b"STARTTLS") and self._context is not None:
                    self._talking.sendall(b"220 Go\r\n")
                    return True
                self._talking.sendall(self._answer(line))
        return False

    def _answer(self, line: bytes) -> bytes:
        if line.startswith(b"EHLO"):
            offer = b"250-STARTTLS\r\n" if self._context is not None else b""
            return b"250-mx.guest.test\r\n" + offer + b"250 8BITMIME\r\n"
        return b"354 Go\r\n" if line.startswith(b"DATA") else b"250 OK\r\n"


@contextmanager
def impostor(space: RunningSpace, certificate: tuple[str, str] | None) -> Iterator[Impostor]:
    one = Impostor(space, certificate)
    try:
        yield one
    finally:
        one.close()


def attempted(space: RunningSpace, envelope: str, attempts: int = 1) -> QueueEntry:
    """The queue's entry after so many attempts."""
    deadline = time.monotonic() + WITHIN_S
    with space.a.store() as store:
        while time.monotonic() < deadline:
            (entry,) = store.read(lambda r: r.queue_entry(EnvelopeId(envelope))).result()
            if entry.attempts >= attempts and entry.leased_by is None:
                return entry
            time.sleep(0.05)
    raise AssertionError("no attempt was made")


def impostures(space: RunningSpace) -> dict[str, tuple[str, str] | None]:
    return {
        "no STARTTLS": None,
        "another listed operator": space.b.certificate,
        "not listed": space.operator("hostile").certificate,
        "another authority": space.test_certificate("other_ca_same_name"),
        "expired": space.test_certificate("expired"),
        "revoked": space.test_certificate("revoked"),
    }


@pytest.mark.attack
@pytest.mark.requirement("OP-03", "OP-11", "OP-18")
@pytest.mark.parametrize(
    "kind",
    ["no STARTTLS", "another listed operator", "not listed", "another authority", "expired",
     "revoked"],
)  # fmt: skip
def test_a_letter_waits_and_is_not_given_to(space: RunningSpace, kind: str) -> None:
    sender = space.a.doctor(0)
    with impostor(space, impostures(space)[kind]) as one:
        sent = letter(sender, [TO])
        envelope = submit(space, space.a, sender, [TO], sent.octets).envelope
        entry = attempted(space, envelope)
        verbs = {line.split()[0] for line in one.said if line.strip()}
    assert verbs <= {b"EHLO", b"STARTTLS", b"QUIT", b"RSET", b"NOOP"}, verbs
    assert b"EHLO" in verbs
    assert (entry.last_reply or "")[:5] in ("454 4", "451 4", "450 4"), entry.last_reply
    wait_s = (entry.next_attempt - datetime.now(UTC)).total_seconds()
    assert 240 < wait_s <= 330, wait_s
    shown = space.a.command("queue", "list", "--json")
    assert envelope in shown.stdout
    dropped = space.a.command("queue", "drop", envelope, "--reason", "essai")
    assert dropped.code == 0, dropped.stderr


def test_the_same_listener_with_the_right_certificate_gets_the_letter(
    space: RunningSpace,
) -> None:
    """Control of the test above."""
    sender = space.a.doctor(0)
    with impostor(space, space.guest) as one:
        sent = letter(sender, [TO])
        submit(space, space.a, sender, [TO], sent.octets)
        deadline = time.monotonic() + WITHIN_S
        while not any(line.startswith(b"MAIL FROM:") for line in one.said):
            assert time.monotonic() < deadline, one.said
            time.sleep(0.05)


# ---------------------------------------------------------------- weak TLS of the other side


def identity(files: tuple[str, str]) -> Identity:
    """The guest's certificate and key as `tests.tls.hellos` wants them."""
    chain = x509.load_pem_x509_certificates(Path(files[0]).read_bytes())
    key = serialization.load_pem_private_key(Path(files[1]).read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return Identity(chain[0], tuple(chain[1:]), key)


def up_to_hello(sock: socket.socket) -> None:
    """The clear dialogue of a server, up to its go-ahead."""
    sock.settimeout(WITHIN_S)
    sock.sendall(b"220 mx.guest.test ESMTP\r\n")
    with sock.makefile("rb", buffering=0) as stream:
        assert stream.readline().startswith(b"EHLO")
        sock.sendall(b"250-mx.guest.test\r\n250 STARTTLS\r\n")
        assert stream.readline().startswith(b"STARTTLS")
    sock.sendall(b"220 Go\r\n")


@pytest.mark.attack
@pytest.mark.requirement("OP-04", "OP-05")
def test_our_client_side_ends_every_weak_handshake(space: RunningSpace) -> None:
    sender, guest = space.a.doctor(0), identity(space.guest)
    port = int(space.manifest["guest"]["smtp"]["port"])
    refused, sent = {}, letter(sender, [TO])
    with socket.create_server(("127.0.0.1", port)) as listening:
        listening.settimeout(WITHIN_S)
        envelope = submit(space, space.a, sender, [TO], sent.octets).envelope
        for answer in (GOOD_ANSWER, *WEAK_ANSWERS):
            sock, _ = listening.accept()
            with sock:
                up_to_hello(sock)
                refused[answer.name] = refuses_weak_answer(sock, answer, guest)
            attempted(space, envelope, len(refused))
            assert space.a.command("queue", "retry", envelope).code == 0
        assert space.a.command("queue", "drop", envelope, "--reason", "essai").code == 0
    assert refused.pop(GOOD_ANSWER.name) is False  # a control
    assert [name for name, was_refused in refused.items() if not was_refused] == []
