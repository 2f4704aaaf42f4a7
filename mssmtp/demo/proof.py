"""The main job, played and proven: a letter from operator A is read at operator B."""

from __future__ import annotations

import hashlib
import re
import smtplib
import ssl
import time
from dataclasses import dataclass
from email import message_from_bytes
from email.policy import default
from typing import Literal

from imapclient import IMAPClient

from mssmtp.demo.letter import Letter, compose, found_in_clear
from mssmtp.demo.space import Laid, Login, Space, first_doctor
from mssmtp.mail import EnvelopeId
from mssmtp.outside import Clock, Entropy
from mssmtp.storage import Event, Store, TransferTrace

_WITHIN_S = 20
_ENVELOPE_ID = re.compile(r"\b[0-9A-HJKMNP-TV-Z]{26}\b")


class NotProven(Exception):
    """A step of the main job did not hold; the text says which."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What the demo prints: each step with the names that bind it."""

    seconds: float
    sender: str
    recipient: str
    message_id: str
    submission_reply: str
    queue_id: str
    peer_certificate: str
    client_certificate: str
    tls: str
    whitelist_row: str
    list_date: str
    crl_number: int | None
    relay_reply: str
    envelope_id_at_b: str
    uid: int
    attachment_sha256: str
    events_at_a: tuple[str, ...]
    events_at_b: tuple[str, ...]
    in_clear: tuple[str, ...]

    @property
    def is_sealed(self) -> bool:
        """True when no canary of the letter is on any operator's disk."""
        return not self.in_clear


def main_job(space: Space, clock: Clock, entropy: Entropy) -> Proof:
    """Send, wait by IDLE, read, compare, collect. Raises NotProven. Blocking: call in a thread."""
    a, b = space.operator("hopital-a"), space.operator("cabinet-b")
    sender, recipient = first_doctor(a), first_doctor(b)
    letter = compose(sender.bal.address, recipient.bal.address, clock, entropy)
    with _mailbox(space, b, recipient) as client:
        client.select_folder("INBOX")
        uid_next = int(client.folder_status("INBOX", ["UIDNEXT"])[b"UIDNEXT"])
        client.idle()
        started = time.monotonic()
        reply = _submit(space, a, sender, recipient, letter)
        _wait(client)
        seconds = time.monotonic() - started
        client.idle_done()
        received = _fetch(client, uid_next, letter)
    outcome = Outcome(reply, seconds, *received)
    return _collect(space, letter, outcome, (clock, entropy))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was seen from outside: A's reply, the time to B's notification, what B showed."""

    reply: str
    seconds: float
    uid: int
    octets: bytes


def _user_context(space: Space) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(space.ca_file)
    return context


def _mailbox(space: Space, laid: Laid, login: Login) -> IMAPClient:
    endpoint = laid.settings.listen.imaps
    if endpoint is None:
        raise NotProven(f"{laid.plan.name} has no IMAP door over TLS")
    client = IMAPClient(
        "localhost",
        endpoint.port,
        ssl=True,
        ssl_context=_user_context(space),
        timeout=_WITHIN_S,
    )
    client.login(str(login.bal.address), login.password)
    return client


def _submit(space: Space, laid: Laid, sender: Login, recipient: Login, letter: Letter) -> str:
    endpoint = laid.settings.listen.submission
    if endpoint is None:
        raise NotProven(f"{laid.plan.name} has no submission door")
    with smtplib.SMTP("localhost", endpoint.port, timeout=_WITHIN_S) as client:
        client.starttls(context=_user_context(space))
        client.login(str(sender.bal.address), sender.password)
        code, text = client.mail(str(sender.bal.address), [f"SIZE={len(letter.octets)}"])
        if code == 250:
            code, text = client.rcpt(str(recipient.bal.address))
        if code == 250:
            code, text = client.data(letter.octets)
        if code != 250:
            raise NotProven(f"submission refused: {code} {text!r}")
    return f"{code} {text.decode('utf-8', 'replace')}"


def _wait(client: IMAPClient) -> None:
    deadline = time.monotonic() + _WITHIN_S
    while time.monotonic() < deadline:
        if any(response[-1] == b"EXISTS" for response in client.idle_check(timeout=1)):
            return
    raise NotProven(f"no IDLE notification at B within {_WITHIN_S} s")


def _fetch(client: IMAPClient, uid_next: int, letter: Letter) -> tuple[int, bytes]:
    for uid in client.search(["UID", f"{uid_next}:*"]):
        octets = bytes(client.fetch([uid], ["BODY.PEEK[]"])[uid][b"BODY[]"])
        if octets.endswith(letter.octets):
            break
    else:
        raise NotProven("the letter read at B is not, octet for octet, the one A submitted")
    message = message_from_bytes(octets, policy=default)
    attachments = [part.get_content() for part in message.iter_attachments()]
    if [hashlib.sha256(a).hexdigest() for a in attachments] != [letter.attachment_sha256]:
        raise NotProven("the attachment changed on its way")
    return uid, octets


def _collect(
    space: Space, letter: Letter, outcome: Outcome, outside: tuple[Clock, Entropy]
) -> Proof:
    a, b = space.operator("hopital-a"), space.operator("cabinet-b")
    queue_id = _id_in(outcome.reply)
    trace_headers = outcome.octets[: len(outcome.octets) - len(letter.octets)]
    envelope_at_b = _id_in(trace_headers.decode("ascii", "replace"))
    relayed, events_a = _evidence(a, queue_id, "out", outside)
    received, events_b = _evidence(b, envelope_at_b, "in", outside)
    to = relayed.transfer
    in_clear = found_in_clear(space.directory, letter.canaries)
    return Proof(
        seconds=round(outcome.seconds, 3),
        sender=str(first_doctor(a).bal.address),
        recipient=str(first_doctor(b).bal.address),
        message_id=letter.message_id,
        submission_reply=outcome.reply,
        queue_id=queue_id,
        peer_certificate=to.peer_dn or "",
        client_certificate=received.transfer.peer_dn or "",
        tls=f"{to.tls_version} {to.tls_cipher}",
        whitelist_row=f"{b.plan.listed[0]} = {b.plan.subject.text}",
        list_date=to.list_date.isoformat() if to.list_date else "",
        crl_number=to.crl_number,
        relay_reply=to.reply,
        envelope_id_at_b=envelope_at_b,
        uid=outcome.uid,
        attachment_sha256=letter.attachment_sha256,
        events_at_a=tuple(f"{e.kind} {e.digest}" for e in events_a),
        events_at_b=tuple(f"{e.kind} {e.digest}" for e in events_b),
        in_clear=tuple(in_clear),
    )


def _id_in(text: str) -> EnvelopeId:
    match = _ENVELOPE_ID.search(text)
    if match is None:
        raise NotProven(f"no envelope id in: {text[:200]}")
    return EnvelopeId(match.group())


def _evidence(
    laid: Laid,
    envelope: EnvelopeId,
    direction: Literal["in", "out"],
    outside: tuple[Clock, Entropy],
) -> tuple[TransferTrace, tuple[Event, ...]]:
    """The hop and the ledger events of one envelope; A's may be committed just after B's."""
    store = Store(laid.settings.store, *outside, worker="demo")
    deadline = time.monotonic() + _WITHIN_S
    try:
        while time.monotonic() < deadline:
            hops, events = store.read(
                lambda reading: (reading.transfers(envelope), reading.events(envelope))
            ).result()
            for hop in hops:
                if hop.transfer.direction == direction:
                    return hop, tuple(events)
            time.sleep(0.05)
    finally:
        store.close()
    raise NotProven(f"the hop {direction} left no trace at {laid.plan.name}")
