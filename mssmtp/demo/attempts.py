"""Five attempts of a hostile operator, each ending in a refusal with its reason."""

from __future__ import annotations

import smtplib
import ssl
from dataclasses import dataclass

from mssmtp.demo.authority import CertificateFiles
from mssmtp.demo.space import Laid, Space

_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class Refused:
    """One attempt: what was tried, the reply that ended it, and why in the server's words."""

    attack: str
    reply: str
    reason: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """What to try: with TLS or not, with which certificate; the reply codes that are right."""

    attack: str
    certificate: CertificateFiles | None
    starttls: bool
    expected: str


class NotRefused(Exception):
    """An attempt went through, or was refused for the wrong reason: the demo has failed."""


def attempts(space: Space) -> tuple[Attempt, ...]:
    """The five of the demo (docs/trust.md says what each must get)."""
    hostile = space.operator("hostile").certificate
    return (
        Attempt("mail in clear, without STARTTLS", None, False, "530 5.7.0"),
        Attempt("TLS without a client certificate", None, True, "554 5.7.0"),
        Attempt("a valid certificate that no row of the list names", hostile, True, "554 5.7.1"),
        Attempt(
            "a listed name in a certificate of another authority",
            space.misfits["other_ca_same_name"],
            True,
            "554 5.7.5",
        ),
        Attempt(
            "a listed operator's revoked certificate", space.misfits["revoked"], True, "554 5.7.5"
        ),
    )


def attack(space: Space, victim: Laid) -> tuple[Refused, ...]:
    """Play all attempts against `victim`'s operator door. Raises NotRefused."""
    return tuple(_play(space, victim, attempt) for attempt in attempts(space))


def _play(space: Space, victim: Laid, attempt: Attempt) -> Refused:
    endpoint = victim.settings.listen.operators
    if endpoint is None:
        raise NotRefused("the victim has no operator door")
    recipient = victim.logins[0].bal.address
    with smtplib.SMTP(endpoint.host, endpoint.port, "mx.pirate.test", _TIMEOUT_S) as client:
        client.ehlo()
        if attempt.starttls:
            client.starttls(context=_context(space, attempt.certificate))
            client.ehlo()
        replies = [client.mail("facture@cabinet-b.test")]
        if replies[-1][0] == 250:
            replies.append(client.rcpt(str(recipient)))
        code, text = replies[-1]
    reply = f"{code} {text.decode('utf-8', 'replace')}".replace("\n", " ")
    if not reply.startswith(attempt.expected):
        raise NotRefused(f"{attempt.attack}: expected {attempt.expected}, got {reply}")
    return Refused(attempt.attack, reply, reply.removeprefix(attempt.expected).strip())


def _context(space: Space, certificate: CertificateFiles | None) -> ssl.SSLContext:
    # The attacker believes anything; whom it presents itself as is the point.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(space.ca_file)
    if certificate is not None:
        context.load_cert_chain(certificate.certificate_file, certificate.key_file)
    return context
