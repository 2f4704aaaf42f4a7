"""Letters of these tests, and how they are sent and read with the standard library's clients."""

from __future__ import annotations

import os
import smtplib
import time
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from imapclient import IMAPClient

from tests.space import Account, Operator, RunningSpace

TIMEOUT_S = 30.0
ARRIVES_WITHIN_S = 30.0

SUBJECT_CANARY = "canari-objet-7d1f0c"
BODY_CANARY = "canari-corps-7d1f0c"
INSIDE_CANARY = "canari-piece-7d1f0c"
NAME_CANARY = "canari-nom-7d1f0c"
CANARIES = tuple(c.encode() for c in (SUBJECT_CANARY, BODY_CANARY, INSIDE_CANARY, NAME_CANARY))
"""In every letter of these tests, and nowhere in clear on any disk of the space (SEED-58)."""


# ---------------------------------------------------------------- composing


def message_id(domain: str = "hopital-a.test") -> str:
    """A fresh Message-ID."""
    return f"<{os.urandom(12).hex()}@{domain}>"


@dataclass(frozen=True)
class Letter:
    """A message as its client submits it."""

    octets: bytes
    message_id: str


def letter(
    sender: object,
    to: Sequence[object],
    *,
    cc: Sequence[object] = (),
    attachments: Sequence[bytes] = (),
    subject: str = "Compte rendu",
) -> Letter:
    """A letter with `attachments` in base64, written by hand so that its size is exact."""
    identifier = message_id()
    boundary = os.urandom(9).hex()
    lines = [
        f"From: Dr =?utf-8?q?Zo=C3=A9?= TARTEMPION <{sender}>",
        f"To: {', '.join(map(str, to))}",
        *([f"Cc: {', '.join(map(str, cc))}"] if cc else []),
        f"Subject: {subject} {SUBJECT_CANARY}",
        "Date: Mon, 05 Jan 2026 09:15:00 +0100",
        f"Message-ID: {identifier}",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/mixed; boundary="{boundary}"',
        "",
        f"--{boundary}",
        "Content-Type: text/plain; charset=utf-8",
        "Content-Transfer-Encoding: 8bit",
        "",
        f"Cher confrère, voici le compte rendu {BODY_CANARY}.",
        ".",
        "..un point en début de ligne",
        "",
    ]
    parts = ["\r\n".join(lines).encode()]
    for number, content in enumerate(attachments, 1):
        head = (
            f"\r\n--{boundary}\r\nContent-Type: application/pdf\r\n"
            "Content-Transfer-Encoding: base64\r\n"
            f'Content-Disposition: attachment; filename="{NAME_CANARY}-{number}.pdf"\r\n\r\n'
        )
        parts += [head.encode(), in_base64(content)]
    parts.append(f"\r\n--{boundary}--\r\n".encode())
    return Letter(b"".join(parts), identifier)


def in_base64(content: bytes) -> bytes:
    """Lines of 76 characters, without a last CRLF."""
    encoded = b64encode(content)
    return b"\r\n".join(encoded[i : i + 76] for i in range(0, len(encoded), 76))


def attachment(octets: int) -> bytes:
    """So many octets that do not compress, with the canary in front."""
    return (INSIDE_CANARY.encode() + os.urandom(octets))[:octets]


# ---------------------------------------------------------------- sending


@dataclass(frozen=True)
class Said:
    """Replies to one attempt, each `250 2.1.0 …`; `data` is empty when DATA was not reached."""

    mail: str
    recipients: tuple[str, ...] = ()
    data: str = ""

    @property
    def last(self) -> str:
        """The reply that ended it."""
        return self.data or (self.recipients[-1] if self.recipients else self.mail)

    @property
    def envelope(self) -> str:
        """The id in the last reply, of an accepted letter."""
        assert self.last.startswith("250 2.0.0"), self
        return self.last.rsplit(" ", 1)[1]


@contextmanager
def submission(
    space: RunningSpace, operator: Operator, account: Account, *, tls: bool = False
) -> Iterator[smtplib.SMTP]:
    """A logged-in session on 587 with STARTTLS or, with `tls`, on 465."""
    context = space.user_context()
    client: smtplib.SMTP
    if tls:
        port = operator.submissions
        client = smtplib.SMTP_SSL("localhost", port, timeout=TIMEOUT_S, context=context)
    else:
        client = smtplib.SMTP("localhost", operator.submission, timeout=TIMEOUT_S)
    with client:
        if not tls:
            client.starttls(context=context)
        client.login(account.address, account.password)
        yield client


@contextmanager
def peer(
    space: RunningSpace,
    victim: Operator,
    certificate: tuple[str, str] | None,
    name: str = "mx.guest.test",
) -> Iterator[smtplib.SMTP]:
    """A session on `victim`'s operator door, after STARTTLS with `certificate` and EHLO."""
    with smtplib.SMTP("127.0.0.1", victim.smtp, name, TIMEOUT_S) as client:
        client.starttls(context=space.peer_context(certificate))
        client.ehlo()
        yield client


def say(
    client: smtplib.SMTP,
    sender: object,
    recipients: Sequence[object],
    octets: bytes,
    options: Sequence[str] = (),
) -> Said:
    """One transaction in the open session; ends at the first refusal that leaves no recipient."""
    mail = _text(client.mail(str(sender), list(options)))
    if not mail.startswith("250"):
        client.rset()
        return Said(mail)
    replies = tuple(_text(client.rcpt(str(recipient))) for recipient in recipients)
    if not any(reply.startswith("250") for reply in replies):
        client.rset()
        return Said(mail, replies)
    try:
        return Said(mail, replies, _text(client.data(octets)))
    except smtplib.SMTPDataError as error:
        return Said(mail, replies, _text((error.smtp_code, error.smtp_error)))


def submit(
    space: RunningSpace,
    operator: Operator,
    account: Account,
    recipients: Sequence[object],
    octets: bytes,
) -> Said:
    """One letter of `account` in a session of its own."""
    with submission(space, operator, account) as client:
        return say(client, account, recipients, octets)


def _text(reply: tuple[int, bytes | str]) -> str:
    code, text = reply
    shown = text.decode("ascii") if isinstance(text, bytes) else text
    return f"{code} {shown}"


# ---------------------------------------------------------------- reading


@contextmanager
def mailbox(
    space: RunningSpace, operator: Operator, account: Account, name: str = "INBOX"
) -> Iterator[IMAPClient]:
    """A logged-in imapclient session on 993 with `name` selected."""
    with IMAPClient(
        "localhost",
        operator.imaps,
        ssl=True,
        ssl_context=space.user_context(),
        timeout=TIMEOUT_S,
    ) as client:
        client.login(account.address, account.password)
        client.select_folder(name)
        yield client


@dataclass(frozen=True)
class Received:
    """A message as IMAP shows it; `trace` and `original` are what the server put above and what
    was submitted, once the original is known."""

    uid: int
    octets: bytes

    def below_trace(self, original: bytes) -> bytes:
        """The lines above `original`. Raises AssertionError when one octet of it differs."""
        assert self.octets.endswith(original), "not octet for octet what was sent"
        return self.octets[: len(self.octets) - len(original)]


def arrival(
    space: RunningSpace, operator: Operator, account: Account, text: str, field: str = "Message-ID"
) -> Received:
    """The newest message of INBOX whose header `field` holds `text`, waited for by IDLE."""
    with mailbox(space, operator, account) as client:
        deadline = time.monotonic() + ARRIVES_WITHIN_S
        while not (found := client.search(["HEADER", field, text])):
            assert time.monotonic() < deadline, f"{field} {text} did not arrive at {account}"
            client.idle()
            client.idle_check(timeout=1)
            client.idle_done()
        octets = client.fetch(found[-1:], ["BODY.PEEK[]"])[found[-1]][b"BODY[]"]
        return Received(found[-1], octets)
