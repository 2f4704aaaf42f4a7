"""Operations on the certificates of systems: which certificate opens which APP box (CL-15)."""

from __future__ import annotations

from dataclasses import replace

from cryptography import x509
from pydantic import Field

from mssmtp import pki
from mssmtp.admin import finding
from mssmtp.admin.authority import Place
from mssmtp.admin.operation import Answer, Desk, Input, Operation, Row, operation
from mssmtp.config import Settings
from mssmtp.errors import ConfigError
from mssmtp.mail import Actor, AdminLevel, Bal, BalType, Structure
from mssmtp.pki import Anchors, CertificateRefused, Role
from mssmtp.storage import Reading, Writing
from mssmtp.storage.bindings import Binding
from mssmtp.systems import system_of

_MOST_PEM = 16_384


class AppBox(Input):
    """An APP box by its address."""

    box: str = Field(max_length=finding.MOST_NAME)


class Certificate(AppBox):
    """The certificate of a system: itself, or the name it and its successors have."""

    pem: str = Field("", max_length=_MOST_PEM)
    name: str = Field("", max_length=1_024)
    label: str = Field("", max_length=100)


class Numbered(AppBox):
    """One line of the table of a box."""

    number: int


def _of_box(reading: Reading, actor: Actor, named: AppBox) -> Place:
    bal = finding.box(reading, named.box)
    return replace(finding.place_of(reading, bal), what=named.box)


def _add(desk: Desk[Certificate]) -> Answer:
    """Let the system with this certificate, or this certificate name, open an APP box."""
    given = desk.input
    if bool(given.pem) == bool(given.name):
        remedy = "Donnez le certificat en PEM, ou son nom, CN d'abord : l'un ou l'autre."
        raise ConfigError("certificat", "il se nomme d'une seule de deux manières", remedy)
    certificate = _judged(desk, given.pem) if given.pem else None

    def job(writing: Writing) -> Row:
        bal = _app(writing, given.box)
        structure = finding.structure_of(writing, bal.structure)
        if certificate is None:
            key = pki.listed_name(given.name)
            if key is None:
                remedy = "Écrivez-le CN d'abord : CN=…,OU=…,O=…,C=FR"
                raise ConfigError(given.name, "n'est pas un nom de certificat", remedy)
            _check_organisation({rdn.value for rdn in key if rdn.type == "OU"}, structure)
            number = writing.bind_box("name", pki.name_text(key), bal.id, given.label)
        else:
            _check_organisation(_units(certificate), structure)
            system = system_of(certificate)
            number = writing.bind_box(
                "certificate", system.fingerprint, bal.id, given.label, system.name
            )
        return {"box": given.box, "number": number}

    return desk.write(job)


def _remove(desk: Desk[Numbered]) -> Answer:
    """Take a certificate out of the table of a box; its sessions end at their next command."""
    given = desk.input

    def job(writing: Writing) -> Row:
        bal = _app(writing, given.box)
        if all(each.id != given.number for each in writing.bindings(bal=bal.id)):
            remedy = f"`mssmtp bal certificate list {given.box}` affiche les numéros."
            raise ConfigError(str(given.number), f"n'est pas un certificat de {given.box}", remedy)
        writing.unbind(given.number)
        return {"box": given.box, "number": given.number}

    return desk.write(job)


def _list(desk: Desk[AppBox]) -> Answer:
    """The certificates that open an APP box, whose they are, ended ones too."""

    def query(reading: Reading) -> list[Row]:
        bal = finding.box(reading, desk.input.box)
        return [_row(each) for each in reading.bindings(bal=bal.id)]

    return desk.read(query)


def _row(binding: Binding) -> Row:
    return {
        "number": binding.id,
        "kind": binding.kind,
        "holder": binding.holder or (binding.subject if binding.kind == "name" else ""),
        "certificate": binding.subject,
        "label": binding.label,
        "since": binding.created_at.isoformat(),
        "ended": None if binding.revoked_at is None else binding.revoked_at.isoformat(),
    }


def _app(reading: Reading, box: str) -> Bal:
    bal = finding.box(reading, box)
    if bal.type is not BalType.APP:
        remedy = (
            "Les personnes se connectent elles-mêmes ; seule une boîte APP s'ouvre par certificat."
        )
        raise ConfigError(box, f"est une boîte {bal.type.value}", remedy)
    return bal


def _judged(desk: Desk[Certificate], pem: str) -> x509.Certificate:
    """The certificate, when it would be taken at login. Raises ConfigError."""
    settings: Settings = desk.office.settings
    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
        anchors = Anchors.load(settings.pki.anchors_file)
        pki.judge_certificate(certificate, anchors, Role.CLIENT, desk.office.clock.now())
    except CertificateRefused as error:
        remedy = "Il faut un certificat d'organisation, en vigueur, d'authentification client."
        raise ConfigError("certificat", f"il serait refusé : {error.reason}", remedy) from error
    except (ValueError, *pki.UNREADABLE) as error:
        remedy = "Donnez le fichier PEM du certificat, sans sa clé."
        raise ConfigError("certificat", "il ne se lit pas", remedy) from error
    return certificate


def _units(certificate: x509.Certificate) -> set[str]:
    key = pki.certificate_name(certificate.subject) or ()
    return {rdn.value for rdn in key if rdn.type == "OU"}


def _check_organisation(units: set[str], structure: Structure | None) -> None:
    """A certificate of IGC-Santé names its holder: 1 + FINESS or 3 + SIRET. Raises ConfigError."""
    if structure is None:
        return
    numbers = {f"1{structure.finess}", f"3{structure.siret}"}
    if not units & numbers:
        raise ConfigError(
            "certificat",
            f"il est d'une autre organisation que {structure.name}",
            "Liez-le à une boîte de sa propre structure.",
        )


_STRUCTURE = AdminLevel.STRUCTURE

OPERATIONS: tuple[Operation, ...] = (
    operation("bal.certificate.add", _STRUCTURE, Certificate, _of_box, _add),
    operation("bal.certificate.remove", _STRUCTURE, Numbered, _of_box, _remove),
    operation("bal.certificate.list", _STRUCTURE, AppBox, _of_box, _list, changes=False),
)
