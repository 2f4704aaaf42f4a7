"""Those who hand letters in: people with a login, and other operators. Not all end well."""

from __future__ import annotations

import random
import smtplib
import socket
import ssl
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from tests.smtp_soak.journal import Journal, Sent, octets_of

TIMEOUT_S = 60.0
_SIZES = (300, 300, 300, 4_000, 4_000, 60_000, 300_000)


@dataclass(frozen=True, slots=True)
class Account:
    """How a sender comes in. `password` None: as an operator, by the certificate of `context`."""

    address: str
    port: int
    context: ssl.SSLContext
    password: str | None = None


class Sender(threading.Thread):
    """One client after another, each with a few letters, until `stop` is set."""

    def __init__(
        self,
        account: Account,
        to: Sequence[str],
        journal: Journal,
        chance: random.Random,
        stop: threading.Event,
    ) -> None:
        super().__init__(name=f"sender {account.address}")
        self._account, self._to, self._journal = account, to, journal
        self._chance, self._stop_asked = chance, stop

    def run(self) -> None:
        while not self._stop_asked.is_set():
            with suppress(OSError, smtplib.SMTPException):
                self._session()
            self._stop_asked.wait(self._chance.uniform(0.0, 0.15))

    def _session(self) -> None:
        account = self._account
        with smtplib.SMTP("localhost", account.port, "poste.test", TIMEOUT_S) as client:
            client.starttls(context=account.context)
            client.ehlo()
            if account.password is not None:
                client.login(account.address, account.password)
            for _ in range(self._chance.randint(1, 6)):
                if self._stop_asked.is_set():
                    return
                self._letter(client, self._journal.open(account.address))
                self._stop_asked.wait(self._chance.uniform(0.0, 0.03))

    def _letter(self, client: smtplib.SMTP, sent: Sent) -> None:
        """One transaction; what was not said at its end stays as `open` has left it."""
        to = self._chance.sample(self._to, self._chance.randint(1, min(4, len(self._to))))
        size = self._chance.choice(_SIZES)
        octets = octets_of(sent, to, size)
        options = self._wishes(client, sent)
        code, text = client.mail(sent.sender)
        if code != 250:
            return self._over(client, sent, code, text)
        accepted = [each for each in to if client.rcpt(each, options)[0] in (250, 251)]
        sent.recipients = tuple(accepted)
        if not accepted:
            client.rset()
            return None
        code, text = client.docmd("DATA")
        if code != 354:
            return self._over(client, sent, code, text)
        stuffed = octets.replace(b"\r\n.", b"\r\n..")
        if self._chance.random() < 0.04:
            return self._cut(client, stuffed)
        sent.outcome = "doubt"
        client.send(stuffed + b".\r\n")
        if self._chance.random() < 0.04:
            return self._hang_up(client)
        self._answered(sent, *client.getreply())
        return None

    def _wishes(self, client: smtplib.SMTP, sent: Sent) -> list[str]:
        if self._chance.random() < 0.5 or not client.has_extn("dsn"):
            return []
        sent.wants_success = True
        return ["NOTIFY=SUCCESS,FAILURE,DELAY"]

    @staticmethod
    def _answered(sent: Sent, code: int, text: bytes) -> None:
        said = text.decode("utf-8", "replace")
        sent.said = f"{code} {said}"
        if code == 250:
            sent.outcome, sent.envelope = "accepted", said.rsplit(" ", 1)[1]
        elif 400 <= code < 600:
            sent.outcome = "refused"

    def _over(self, client: smtplib.SMTP, sent: Sent, code: int, text: bytes) -> None:
        sent.said = f"{code} {text.decode('utf-8', 'replace')}"
        client.rset()

    def _cut(self, client: smtplib.SMTP, octets: bytes) -> None:
        """The line goes dead in the middle of the content: nobody may ever see this letter."""
        client.send(octets[: self._chance.randrange(len(octets))])
        self._hang_up(client)

    @staticmethod
    def _hang_up(client: smtplib.SMTP) -> None:
        if client.sock is not None:
            with suppress(OSError):
                client.sock.shutdown(socket.SHUT_RDWR)
        client.close()
        raise smtplib.SMTPServerDisconnected("hung up")
