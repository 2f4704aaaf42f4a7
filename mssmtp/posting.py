"""A letter written at a page, handed in as a mail program would: one way in, one policy (SEED-35).

Who writes, from which box and to whom is judged by the rules of submission; the copy in Sent, the
events and the queue follow from the same commit.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from mssmtp.awaiting import awaited
from mssmtp.errors import MailError, Reply, StorageBehind
from mssmtp.identity import LoginRefused
from mssmtp.mail import AccountId, Address, EnvelopeId, Principal
from mssmtp.message.encode import encode_8bit, percent_encoded
from mssmtp.message.reading import MOST_LINE, safe_name
from mssmtp.portal import may_log_in
from mssmtp.sieve.answering import text_entity, thread
from mssmtp.smtp import replies
from mssmtp.smtp.syntax import MailCommand, RcptCommand
from mssmtp.smtp.trace import Hop
from mssmtp.smtp_intake import PIECE_OCTETS, Intake, Origin
from mssmtp.smtp_lookup import Services, destination, from_principal
from mssmtp.storage import Reading

_THREADS = 2
_NAME = "portail"
_LINE_OCTETS = 57 * 1_024
"""Of a file, encoded at once: whole lines of 76 characters."""


class NotLoggedIn(LoginRefused):
    """The account may not log in any more (ATT-18)."""

    smtp = Reply(535, "5.7.8", "Votre compte n'est plus actif ; voyez votre administrateur.")
    imap = "AUTHENTICATIONFAILED"


class InvitationAsked(MailError):
    """Nobody has registered the address, and the sender has not said that somebody is to be invited
    (DEF-09)."""

    smtp = Reply(
        550,
        "5.7.1",
        "Personne n'est connu ici sous cette adresse ; vérifiez-la, ou cochez l'invitation et"
        " renvoyez.",
    )
    imap = "NONEXISTENT"


@dataclass(frozen=True, slots=True)
class Attached:
    """A file to be sent along, under the name the browser gives."""

    name: str = field(repr=False)
    octets: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Written:
    """What a form holds. `header`: the header section of the letter that is answered, if it is an
    answer; `invites`: whether somebody who is not known under `to` is to be invited, None where
    that is not asked: whom an answer goes to has written."""

    author: Address
    to: Address
    subject: str = field(repr=False)
    text: str = field(repr=False)
    header: bytes = field(default=b"", repr=False)
    files: Sequence[Attached] = field(default=(), repr=False)
    invites: bool | None = None


class Posting:
    """One per worker; `post` on its event loop."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._threads = ThreadPoolExecutor(_THREADS, "post")

    def close(self) -> None:
        """When nothing is written any more."""
        self._threads.shutdown(cancel_futures=True)

    @property
    def most_octets(self) -> int:
        """Of a letter, as it is encoded."""
        return self._services.settings.limits.message_octets

    async def post(self, account: AccountId, written: Written, boundary: str) -> EnvelopeId:
        """Take responsibility for it. `boundary`: letters that nobody can guess.

        Raises InvitationAsked, and MailError kinds as submission answers them.
        """
        services = self._services
        if services.store.is_behind:
            raise StorageBehind
        octets = await asyncio.to_thread(lambda: b"".join(rendered(written, boundary)))
        if len(octets) > self.most_octets:
            raise MailError(reply=replies.too_big(self.most_octets))
        principal = await awaited(services.store.read(lambda r: _principal(r, account)))
        command = MailCommand(written.author, len(octets))
        transaction = await from_principal(
            services, principal, command, lambda reading, known: _principal(reading, known.account)
        )
        transaction.inviting = () if written.invites is None else ("portal", "all")
        found = await destination(services, transaction, RcptCommand(written.to))
        if found.facts.is_invited and not written.invites:
            raise InvitationAsked
        transaction.add(found)
        hop = Hop(_NAME, None, services.settings.operator.host_name, None, None, authenticated=True)
        intake = Intake(services, transaction, Origin(hop, _NAME), self._threads)
        try:
            for start in range(0, len(octets), PIECE_OCTETS):
                await intake.write(octets[start : start + PIECE_OCTETS])
            await intake.finish()
        except BaseException:
            await intake.abandon()
            raise
        return intake.envelope_id


def _principal(reading: Reading, account: AccountId) -> Principal:
    """Who the account is now. Raises NotLoggedIn."""
    if not may_log_in(reading, account):
        raise NotLoggedIn
    return reading.principal(account)


def rendered(written: Written, boundary: str) -> Iterator[bytes]:
    """The octets of the letter. Text of the form never becomes a field (ATT-09)."""
    head = [f"From: <{written.author}>", f"To: <{written.to}>", *thread(written.header)]
    subject = " ".join("".join(_seen(each) for each in written.subject[:MOST_LINE]).split())
    encoded = encode_8bit(subject.encode("utf-8", "replace")).replace(b" ", b"\r\n ")
    yield "\r\n".join(head).encode("ascii") + b"\r\nSubject: " + encoded + b"\r\n"
    if not written.files:
        yield text_entity(written.text)
        return
    yield b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed;\r\n"
    yield f' boundary="{boundary}"\r\n'.encode()
    yield f"\r\n--{boundary}\r\n".encode() + text_entity(written.text)
    for number, each in enumerate(written.files, 1):
        yield f"\r\n--{boundary}\r\n".encode() + _file_head(safe_name(each.name, number))
        for start in range(0, len(each.octets), _LINE_OCTETS):
            piece = base64.encodebytes(each.octets[start : start + _LINE_OCTETS])
            yield piece.replace(b"\n", b"\r\n")
    yield f"\r\n--{boundary}--\r\n".encode()


def _seen(character: str) -> str:
    return character if character.isprintable() else " "


def _file_head(name: str) -> bytes:
    """What it is kept under (RFC 2231 4); its type is nobody's word."""
    plain = percent_encoded(name.encode("utf-8", "replace"))
    return (
        b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n"
        b"Content-Disposition: attachment;\r\n filename*=utf-8''" + plain + b"\r\n\r\n"
    )
