"""What was handed in and what was said to it, and what arrived: a soak is judged by these two."""

from __future__ import annotations

import email
import hashlib
import re
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from email.message import Message
from typing import Literal, cast

Outcome = Literal["accepted", "refused", "doubt"]
"""`doubt`: the final dot went out, and no answer came back."""

_SUBJECT = re.compile(rb"^Subject: soak-(\d+)\r?$", re.MULTILINE)
_QUEUE_ID = re.compile(rb"\bid ([0-9A-HJKMNP-TV-Z]{26})\b")


@dataclass(slots=True)
class Sent:
    """One letter. `recipients` are those that were accepted one by one."""

    number: int
    sender: str
    recipients: tuple[str, ...] = ()
    wants_success: bool = False
    outcome: Outcome = "refused"
    envelope: str = ""
    size_octets: int = 0
    sha256: str = ""
    said: str = ""


class Journal:
    """Every letter of the run by its number; safe between threads."""

    def __init__(self) -> None:
        self.letters: dict[int, Sent] = {}
        self._lock = threading.Lock()

    def open(self, sender: str) -> Sent:
        """A new letter, refused until more is known."""
        with self._lock:
            number = len(self.letters) + 1
            sent = self.letters[number] = Sent(number, sender)
        return sent

    def all(self) -> list[Sent]:
        """Of this moment."""
        with self._lock:
            return list(self.letters.values())


def octets_of(sent: Sent, to: Iterable[str], size: int) -> bytes:
    """A letter of about `size` octets, with lines that SMTP must not mistake for its own."""
    head = (
        f"From: <{sent.sender}>\r\nTo: {', '.join(to)}\r\nSubject: soak-{sent.number}\r\n"
        f"Date: Mon, 05 Jan 2026 09:15:00 +0100\r\nMessage-ID: <soak-{sent.number}@soak.test>\r\n"
        "\r\n"
    )
    lines = [".", "..", ".QUIT", "MAIL FROM:<>", "From ici", "x" * 990]
    text = "\r\n".join(lines) + "\r\n"
    body = (text * (size // len(text) + 1))[:size].rstrip("\r\n") + "\r\n"
    octets = (head + body).encode()
    sent.size_octets, sent.sha256 = len(octets), hashlib.sha256(octets).hexdigest()
    return octets


def number_of(octets: bytes) -> int | None:
    """Which letter this is; None for what is none of ours."""
    found = _SUBJECT.search(octets.partition(b"\r\n\r\n")[0])
    return int(found[1]) if found else None


@dataclass(slots=True)
class Arrived:
    """What is known of one letter at its other end, by recipient."""

    copies: Counter[str] = field(default_factory=Counter)
    reports: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(action, recipient) of the reports its sender has in the box."""


class Arrivals:
    """What boxes and peers have got. `oddities` are violations by themselves."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.letters: dict[int, Arrived] = {}
        self.oddities: list[str] = []
        self.copies = self.reports = 0

    def of(self, number: int) -> Arrived:
        """Made when it is asked for first."""
        return self.letters.setdefault(number, Arrived())

    def letter(self, octets: bytes, recipients: Iterable[str], where: str) -> None:
        """A copy came; below the lines of the servers it is what was sent, octet for octet."""
        number = number_of(octets)
        sent = self._journal.letters.get(number or 0)
        if number is None or sent is None:
            self.oddities.append(f"{where}: a letter nobody sent: {octets[:200]!r}")
            return
        below = octets[len(octets) - sent.size_octets :]
        if hashlib.sha256(below).hexdigest() != sent.sha256:
            self.oddities.append(f"{where}: letter {number} was changed on its way")
        if not sent.envelope and (found := _QUEUE_ID.search(octets[: -sent.size_octets])):
            sent.envelope = found[1].decode()  # its sender never heard of it
        for recipient in recipients:
            self.of(number).copies[recipient] += 1
            self.copies += 1

    def report(self, octets: bytes, where: str) -> None:
        """A report came to the sender's box."""
        groups = tuple(_groups(octets))
        if not groups:
            self.oddities.append(f"{where}: a report that says nothing: {octets[:400]!r}")
        for number, action, recipient in groups:
            sent = self._journal.letters.get(number)
            if sent is None or sent.sender != where:
                self.oddities.append(f"{where}: a report for somebody else's letter {number}")
            self.of(number).reports[action, recipient] += 1
            self.reports += 1


def _groups(octets: bytes) -> Iterator[tuple[int, str, str]]:
    """Letter, action and recipient of each group of a report (RFC 3464)."""
    _, status, returned = cast(list[Message], email.message_from_bytes(octets).get_payload())
    original = returned.as_bytes().replace(b"\r\n", b"\n").partition(b"\n\n")[2]
    found = re.search(rb"^Subject: soak-(\d+)$", original, re.MULTILINE)
    number = int(found[1]) if found else 0
    for group in cast(list[Message], status.get_payload())[1:]:
        recipient = str(group["Final-Recipient"]).partition(";")[2].strip()
        yield number, str(group["Action"]), recipient
