"""The partners of SEED-02 as simulated operators, and the reference letters of SEED-88.

Each has a domain, a certificate name and a habit of its own; none is spoken to by code of its own.
The people are invented.
"""

from __future__ import annotations

import io
import ssl
import zipfile
from base64 import b64encode
from dataclasses import dataclass, field
from pathlib import Path

from mssmtp.demo.authority import Authority, Identity, Make, Subject
from tests.smtp_out.peer import Peer, Script

HOSTS = ("localhost", "127.0.0.1")
EVERYTHING = (b"PIPELINING", b"8BITMIME", b"SIZE 62914560", b"ENHANCEDSTATUSCODES", b"DSN")
LITTLE = 65_536


@dataclass(frozen=True)
class Habits:
    """What is particular about one partner. `certificates`: how many names the list has for its
    first domain; `extensions`: what its server offers; `sends_as`: the kind of box that writes."""

    name: str
    domains: tuple[str, ...]
    writes_to_us: str
    letter: str
    certificates: int = 1
    extensions: tuple[bytes, ...] = EVERYTHING
    answers: dict[str, bytes] = field(default_factory=dict)


PARTNERS = (
    # One operator, one domain for each profession.
    Habits("Mailiz", ("medecin.mailiz.test", "infirmier.mailiz.test"), "a.martin", "report"),
    # Software writes, nobody reads: an APP box.
    Habits("Lifen", ("lifen.mssante.test",), "noreply", "discharge letter"),
    # Two certificates; its letters are HPRIM text.
    Habits(
        "Apicrypt V2", ("interop-mssante.apicrypt.test",), "paul.durand", "hprim", certificates=2
    ),
    Habits("JEEBOP un", ("jeebop-un.test",), "pharmacie.lilas", "prescription", certificates=2),
    # No extension but the one that lets accents pass.
    Habits("JEEBOP deux", ("jeebop-deux.test",), "cabinet", "report", extensions=(b"8BITMIME",)),
    # Takes small letters only.
    Habits(
        "Easycrypt",
        ("easycrypt.test",),
        "officine",
        "hospital to pharmacy",
        extensions=(b"8BITMIME", b"SIZE %d" % LITTLE),
    ),
    # Says goodbye after every letter, without waiting to be told.
    Habits(
        "Sante Net Box",
        ("santenetbox.test",),
        "secretariat",
        "prescription",
        answers={"RSET": b"421 4.3.2 bye", "NOOP": b"421 4.3.2 bye"},
    ),
    # Old programs behind it: Latin-1 in eight bits.
    Habits("IdéoSecureMail", ("ideosecuremail.test",), "ehpad", "nursing home to pharmacy"),
    Habits("PandaLab", ("pandalab.test",), "expert.dermato", "tele-expertise"),
)


@dataclass
class Partner:
    """A partner that listens. `clients`: how it comes to us, one for each certificate."""

    habits: Habits
    subjects: tuple[Subject, ...]
    peer: Peer
    clients: tuple[ssl.SSLContext, ...]

    @property
    def domain(self) -> str:
        return self.habits.domains[0]

    @property
    def mx(self) -> str:
        return f"mx.{self.domain}"

    @property
    def sender(self) -> str:
        return f"{self.habits.writes_to_us}@{self.domain}"


def partner(authority: Authority, directory: Path, habits: Habits, number: int) -> Partner:
    """It speaks with its first certificate as a server, with each of them as a client."""
    subjects = tuple(
        Subject(f"mx{index or ''}.{habits.domains[0]}", f"3910000000{number:05d}", habits.name)
        for index in range(habits.certificates)
    )
    identities = [
        authority.issue(subject, Make(hosts=(f"mx.{habits.domains[0]}", *HOSTS)))
        for subject in subjects
    ]
    script = Script(extensions=habits.extensions, replies=habits.answers)
    peer = Peer(identities[0], authority, directory, script)
    clients = tuple(_client(authority, each, directory) for each in identities)
    return Partner(habits, subjects, peer, clients)


def _client(authority: Authority, identity: Identity, directory: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=authority.anchors_pem.decode())
    files = identity.write(directory, f"client-{id(identity)}")
    context.load_cert_chain(files.certificate_file, files.key_file)
    return context


# ---------------------------------------------------------------- reference letters

PATIENT = "PATIENTEST DOMINIQUE 01/02/1950"


def letters(sender: str, to: str, key: str) -> dict[str, bytes]:
    """Every reference letter by its scenario, from `sender` to `to`; `key` makes ids differ."""
    made = _Maker(sender, to, key)
    xdm = f"XDM/1.0/DDM+{{}} {PATIENT}"
    return {
        "discharge letter": made.document(xdm.format("Lettre de liaison à la sortie"), "34105-7"),
        "report": made.document(xdm.format("CR de consultation"), "11488-4"),
        "prescription": made.document(xdm.format("Prescription de médicaments"), "57833-6"),
        "tele-expertise": made.expertise(),
        "hospital to pharmacy": made.pharmacy("Sortie prévue demain : préparer le traitement."),
        "nursing home to pharmacy": made.old_pharmacy(),
        "patient": made.patient(),
        "hprim": made.hprim(),
    }


@dataclass(frozen=True)
class _Maker:
    sender: str
    to: str
    key: str

    def head(self, subject: str, *more: str) -> bytes:
        lines = [
            f"From: {_words('Dr_Zoé_TARTEMPION_Médecine')} <{self.sender}>",
            f"To: <{self.to}>",
            f"Subject: {_words(subject)}",
            "Date: Mon, 05 Jan 2026 09:15:00 +0100",
            f"Message-ID: <{self.key}@reference.test>",
            *more,
            "MIME-Version: 1.0",
        ]
        return "\r\n".join(lines).encode("ascii") + b"\r\n"

    def document(self, subject: str, code: str) -> bytes:
        """A CDA in its archive, with the copy in PDF beside it (messages.md §3.1, §7)."""
        asked = f"Disposition-Notification-To: <{self.sender}>"
        header = self.head(
            subject, asked, f"Return-Receipt-To: <{self.sender}>", "X-MSS-NIL: ESSAI-0001",
            f"X-MSS-CODECDA: {code}", "X-MSS-INS: O",
        )  # fmt: skip
        text = "Cher confrère,\r\n.\r\nvoici le document en pièce jointe.\r\n"
        pdf = "20260105_document_PATIENTEST_DOMINIQUE.pdf"
        return header + _multipart(
            _text(text),
            _file("application/zip", 'filename="IHE_XDM.zip"', _archive(code)),
            _file("application/pdf", f"filename*=UTF-8''{pdf}", b"%PDF-1.4\n%%EOF\n"),
        )

    def expertise(self) -> bytes:
        """A question to a specialist: two forms of one text, and a picture."""
        both = (
            b'Content-Type: multipart/alternative; boundary="alt"\r\n\r\n'
            + b"--alt\r\n" + _text("Avis demandé : lésion du bras, depuis 3 semaines.\r\n")
            + b"\r\n--alt\r\nContent-Type: text/html; charset=utf-8\r\n"
            b"Content-Transfer-Encoding: quoted-printable\r\n\r\n"
            b"<p>Avis demand=C3=A9 : l=C3=A9sion du bras.</p>\r\n\r\n--alt--\r\n"
        )  # fmt: skip
        picture = _file("image/jpeg", 'filename="lesion.jpg"', bytes(range(256)) * 40)
        header = self.head("Demande de télé-expertise", f"Reply-To: <{self.sender}>")
        return header + _multipart(both, picture)

    def pharmacy(self, text: str) -> bytes:
        """A few lines and an order in PDF."""
        order = _file("application/pdf", 'filename="ordonnance.pdf"', b"%PDF-1.4\n" + b"x" * 9_000)
        return self.head("Ordonnance de sortie") + _multipart(_text(text + "\r\n"), order)

    def old_pharmacy(self) -> bytes:
        """Latin-1 in eight bits, one part, as old programs write it."""
        text = "Bonjour,\r\nle pilulier de la résidence est à préparer pour le 12 février.\r\n"
        plain = (
            b"Content-Type: text/plain; charset=ISO-8859-1\r\n"
            b"Content-Transfer-Encoding: 8bit\r\n\r\n"
        )
        return self.head("Piluliers de la semaine") + plain + text.encode("latin-1")

    def patient(self) -> bytes:
        """To a patient, who cannot answer this one (messages.md §3.2)."""
        plain = _text("Bonjour, votre ordonnance est disponible.\r\n")
        header = self.head("Suite de votre consultation", "X-MSS-NIL: ESSAI-0001", "X-MSS-MES: FIN")
        return header + plain

    def hprim(self) -> bytes:
        """HPRIM text: twelve lines of head, then the results (APX-05)."""
        lines = ["PATIENTEST", "DOMINIQUE", "1 RUE DE L'ESSAI", "", "69000 VALMONT", "01/02/1950"]
        lines += ["", "26010500017", "05/01/2026", "LABO", "PATIENTEST", "ENFIN"]
        lines += [".", "GLYCEMIE........: 5,1 mmol/l", "****FIN****"]
        plain = _text("\r\n".join(lines) + "\r\n")
        return self.head("Résultats") + plain


def _words(text: str) -> str:
    if text.isascii():
        return text
    return f"=?utf-8?B?{b64encode(text.encode()).decode()}?="


def _text(text: str) -> bytes:
    head = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    return head + text.encode()


def _file(kind: str, named: str, octets: bytes) -> bytes:
    encoded = b64encode(octets)
    lines = b"\r\n".join(encoded[i : i + 76] for i in range(0, len(encoded), 76))
    head = f"Content-Type: {kind}\r\nContent-Transfer-Encoding: base64\r\n"
    return f"{head}Content-Disposition: attachment; {named}\r\n\r\n".encode() + lines + b"\r\n"


def _multipart(*parts: bytes) -> bytes:
    body = b'Content-Type: multipart/mixed; boundary="b1"\r\n\r\n'
    return body + b"".join(b"--b1\r\n" + part + b"\r\n" for part in parts) + b"--b1--\r\n"


def _archive(code: str) -> bytes:
    """The layout of an XDM archive, with a document of that code."""
    octets = io.BytesIO()
    with zipfile.ZipFile(octets, "w") as archive:
        for name in ("INDEX.HTM", "README.TXT", "IHE_XDM/SUBSET01/METADATA.XML"):
            archive.writestr(name, f"<!-- {code} -->")
        archive.writestr("IHE_XDM/SUBSET01/DOC0001.XML", f'<code code="{code}"/>')
    return octets.getvalue()
