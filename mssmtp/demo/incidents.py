"""The operator `incidents.test`: write to one of its addresses and the incident happens.

`temperror@` and `permerror@` are refused at RCPT, `slow@` is answered late, `dsn@` comes back as a
report, `mdn@` is read at once, `bigfile@` answers with 9.9 MiB, `poison@` with a letter no parser
likes. `expired-cert@`, `revoked@`, `not-listed@` and `dn-changed@` come to you with that
certificate, and then tell you, by an honest letter, how your operator refused them. `patient-…@`
come back as the notices of Mon espace santé do, from the patients' domain (messages.md §9).
"""

from __future__ import annotations

import asyncio
import logging
import smtplib
import ssl
from collections.abc import Callable, Iterator
from email.header import Header
from email.message import EmailMessage, Message
from email.parser import BytesHeaderParser
from email.policy import SMTP as SMTP_POLICY
from email.utils import format_datetime, make_msgid

from aiosmtpd.smtp import SMTP, Envelope, Session

from mssmtp import dsn
from mssmtp.demo.authority import CertificateFiles
from mssmtp.demo.space import INCIDENTS, INCIDENTS_OFFSET, PATIENTS, Space
from mssmtp.errors import BadAddress
from mssmtp.mail import Address, Domain, Recipient
from mssmtp.outside import Clock

INCIDENT_NAMES = (
    "temperror",
    "permerror",
    "slow",
    "dsn",
    "mdn",
    "bigfile",
    "expired-cert",
    "revoked",
    "not-listed",
    "dn-changed",
    "poison",
    "patient-not-activated",
    "patient-closed",
    "patient-not-found",
    "patient-invalid",
    "patient-too-large",
)
_NOTICES = {
    "patient-not-activated": "Le destinataire n'a pas activé son profil Mon espace santé.",
    "patient-closed": "La messagerie du destinataire est fermée.",
    "patient-not-found": "Le destinataire est introuvable.",
    "patient-invalid": "L'adresse du destinataire est invalide.",
    "patient-too-large": "Le message est trop volumineux : 25 Mo au plus.",
}
SLOW_S = 8.0
BIG_OCTETS = 10_380_902  # 9.9 MiB, decoded
_TIMEOUT_S = 60.0
_HOST = Domain("mx.incidents.test")

logger = logging.getLogger(__name__)


class Incidents:
    """A scripted peer, listed like any other operator."""

    def __init__(self, space: Space, clock: Clock) -> None:
        self._space = space
        self._clock = clock
        self._server: asyncio.AbstractServer | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._makers: dict[str, Callable[[Address], bytes]] = {
            "bigfile": self._big,
            "poison": self._poison,
        }
        self._visits = {
            "expired-cert": space.misfits["expired"],
            "revoked": space.misfits["revoked"],
            "not-listed": space.misfits["name_not_listed"],
            "dn-changed": space.dn_changed,
        }

    async def __aenter__(self) -> Incidents:
        loop = asyncio.get_running_loop()
        context = _context(ssl.PROTOCOL_TLS_SERVER, self._space, self._space.incidents)
        context.verify_mode = ssl.CERT_OPTIONAL

        def protocol() -> SMTP:
            return SMTP(self, hostname=_HOST, tls_context=context, require_starttls=True, loop=loop)

        port = self._space.base_port + INCIDENTS_OFFSET
        self._server = await loop.create_server(protocol, "127.0.0.1", port)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # ------------------------------------------------------------ aiosmtpd's hooks

    async def handle_RCPT(  # noqa: N802 - the library's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """The incidents of RCPT."""
        name = address.partition("@")[0].lower()
        if name == "temperror":
            return "450 4.2.0 Incident temporaire de demonstration ; reessayez."
        if name == "permerror":
            return "550 5.1.1 Adresse inconnue de demonstration ; verifiez-la."
        if name == "slow":
            await asyncio.sleep(SLOW_S)
        elif name not in INCIDENT_NAMES:
            return "550 5.1.1 Adresse inconnue ici ; voyez la liste des incidents."
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        """Answer, then let each incident happen."""
        try:
            sender = Address.parse(envelope.mail_from or "")
        except BadAddress:
            return "250 2.0.0 OK"
        content = envelope.content
        octets = content if isinstance(content, bytes) else b""
        for address in envelope.rcpt_tos:
            name = address.partition("@")[0].lower()
            task = asyncio.create_task(self._happen(name, sender, octets))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return "250 2.0.0 OK"

    # ------------------------------------------------------------ incidents

    async def _happen(self, name: str, victim: Address, octets: bytes) -> None:
        send, own = self._send, self._space.incidents
        try:
            if name in self._makers:
                await asyncio.to_thread(send, own, self._makers[name](victim), victim)
            elif name in ("dsn", "mdn"):
                report = self._report(victim, octets) if name == "dsn" else _read(victim, octets)
                await asyncio.to_thread(send, own, report, victim, null=True)
            elif name in _NOTICES:
                notice = _notice(victim, octets, _NOTICES[name])
                await asyncio.to_thread(send, self._space.patients, notice, victim, null=True)
            elif name in self._visits:
                await asyncio.to_thread(self._visit, name, victim)
        except (OSError, smtplib.SMTPException):
            logger.exception("an incident did not happen", extra={"incident": name})

    def _visit(self, name: str, victim: Address) -> None:
        letter = self._letter(victim, "Visite", "Cette lettre ne doit pas arriver.").as_bytes()
        try:
            self._send(self._visits[name], letter, victim)
            told = "la lettre a été ACCEPTÉE : c'est une faute, signalez-la."
        except smtplib.SMTPResponseException as refusal:
            error = refusal.smtp_error
            text = error if isinstance(error, str) else error.decode("utf-8", "replace")
            told = f"refusé : {refusal.smtp_code} {text}"
        except (OSError, smtplib.SMTPException) as failure:
            told = f"connexion coupée ({type(failure).__name__})"
        report = self._letter(victim, f"Incident {name}", f"Essai avec ce certificat : {told}")
        self._send(self._space.incidents, report.as_bytes(), victim)

    def _send(
        self, certificate: CertificateFiles, letter: bytes, to: Address, *, null: bool = False
    ) -> None:
        port = self._port_of(to.domain)
        context = _context(ssl.PROTOCOL_TLS_CLIENT, self._space, certificate)
        sender = "" if null else f"incidents@{INCIDENTS}"
        with smtplib.SMTP("127.0.0.1", port, _HOST, _TIMEOUT_S) as client:
            client.starttls(context=context)
            client.ehlo()
            for code, text in _played(client, sender, str(to), letter):
                if code != 250:
                    raise smtplib.SMTPResponseException(code, text)

    def _port_of(self, domain: Domain) -> int:
        for laid in self._space.operators:
            endpoint = laid.settings.listen.operators
            if domain in laid.plan.domains and endpoint is not None:
                return endpoint.port
        raise ConnectionError(f"{domain} is not of this space")

    # ------------------------------------------------------------ letters

    def _letter(self, to: Address, subject: str, text: str) -> EmailMessage:
        message = EmailMessage(policy=SMTP_POLICY)
        message["From"] = f"incidents@{INCIDENTS}"
        message["To"] = str(to)
        message["Subject"] = subject
        message["Date"] = format_datetime(self._clock.now())
        message["Message-ID"] = make_msgid(domain=INCIDENTS)
        message.set_content(text)
        return message

    def _big(self, to: Address) -> bytes:
        message = self._letter(to, "Incident bigfile", "Une pièce jointe de 9,9 Mo.")
        message.add_attachment(
            bytes(BIG_OCTETS), "application", "octet-stream", filename="gros.bin"
        )
        return message.as_bytes()

    def _poison(self, to: Address) -> bytes:
        head = self._letter(to, "Incident poison", "x").as_bytes().partition(b"\r\n\r\n")[0]
        broken = (
            b'Content-Type: multipart/mixed; boundary="a"\r\nX-Sans-Deux-Points\r\n\r\n--a\r\n'
            b"Content-Type: multipart/mixed; boundary=a\r\nContent-Transfer-Encoding: base64\r\n"
            b"\r\n--a\r\nContent-Type: text/plain; charset=inconnu; name*0*=utf-8''%zz\r\n\r\n"
            b"\xff\xfe octets sans declaration \x80\r\n--a"
        )
        kept = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-")]
        return b"\r\n".join(kept) + b"\r\n" + broken + b"\r\n"

    def _report(self, to: Address, octets: bytes) -> bytes:
        now = self._clock.now()
        lost = Recipient(Address("dsn", INCIDENTS))
        reply = "550 5.1.1 Adresse inconnue de demonstration"
        return dsn.failure(
            dsn.Report(
                id=make_msgid(domain=INCIDENTS).strip("<>").partition("@")[0],
                host_name=_HOST,
                domain=INCIDENTS,
                to=to,
                envid="demonstration",
                arrived_at=now,
                now=now,
                statuses=(dsn.RecipientStatus(lost, "5.1.1", reply),),
                original=octets.partition(b"\r\n\r\n")[0] + b"\r\n\r\n",
            )
        )


def _original(octets: bytes) -> Message:
    return BytesHeaderParser(policy=SMTP_POLICY).parsebytes(octets)


def _read(to: Address, octets: bytes) -> bytes:
    """The reading receipt of a person (RFC 8098), of two parts."""
    original = _original(octets)
    reader = f"mdn@{INCIDENTS}"
    return (
        f"From: {reader}\r\nTo: {to}\r\nSubject: {original.get('Subject', '')}\r\n"
        f"Message-ID: {make_msgid(domain=INCIDENTS)}\r\nAuto-Submitted: auto-replied\r\n"
        "MIME-Version: 1.0\r\nContent-Type: multipart/report;\r\n"
        ' report-type=disposition-notification; boundary="m"\r\n\r\n'
        "--m\r\nContent-Type: text/plain\r\n\r\nLu.\r\n"
        "--m\r\nContent-Type: message/disposition-notification\r\n\r\n"
        f"Reporting-UA: {_HOST}; demonstration\r\nFinal-Recipient: rfc822; {reader}\r\n"
        f"Original-Message-ID: {original.get('Message-ID', '')}\r\n"
        "Disposition: manual-action/MDN-sent-manually; displayed\r\n\r\n--m--\r\n"
    ).encode()


def _notice(to: Address, octets: bytes, text: str) -> bytes:
    """As Mon espace santé tells of a letter to a patient that was not delivered."""
    identifier = _original(octets).get("Message-ID", "")
    return (
        f"From: MAILER-DAEMON@{PATIENTS}\r\nTo: {to}\r\n"
        f"Subject: {Header('Message non distribué', 'utf-8').encode()}\r\n"
        f"Message-ID: {make_msgid(domain=PATIENTS)}\r\nIn-Reply-To: {identifier}\r\n"
        "Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"
        "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        f"{text}\r\n"
    ).encode()


def _played(
    client: smtplib.SMTP, sender: str, to: str, letter: bytes
) -> Iterator[tuple[int, bytes]]:
    """One transaction; the caller stops at the first reply that is not 250."""
    yield client.mail(sender)
    yield client.rcpt(to)
    yield client.data(letter)


def _context(protocol: int, space: Space, certificate: CertificateFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.check_hostname = False
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(space.ca_file)
    context.load_cert_chain(certificate.certificate_file, certificate.key_file)
    return context
