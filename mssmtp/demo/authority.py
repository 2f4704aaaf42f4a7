"""A throw-away certification authority with the national TEST names, and a list signed by it.

Root and intermediate are named as IGC-Santé names those for tests, so that real anchors and
these can never be active together (OP-100). The authority's keys never leave memory.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from xml.sax.saxutils import escape

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID as Eku
from cryptography.x509.oid import NameOID, ObjectIdentifier
from lxml import etree
from signxml.algorithms import CanonicalizationMethod
from signxml.signer import XMLSigner

from mssmtp.pki import KEY_TYPES_BY_OID
from mssmtp.tls_settings import DEMO_MARK
from mssmtp.whitelist import DS, NAMESPACE, Row

KeyMaker = Callable[[], rsa.RSAPrivateKey]
Usages = tuple[ObjectIdentifier, ...]

SERVER_AND_CLIENT: Usages = (Eku.SERVER_AUTH, Eku.CLIENT_AUTH)
SERVER_ONLY: Usages = (Eku.SERVER_AUTH,)
CLIENT_ONLY: Usages = (Eku.CLIENT_AUTH,)
EMAIL_ONLY: Usages = (Eku.EMAIL_PROTECTION,)

RESPONSIBLE = "Exploitation, support@exploitation.test"
SUPPORT = "01 00 00 00 00, support@exploitation.test"
"""Contacts of every row of a throw-away list."""


def new_key() -> rsa.RSAPrivateKey:
    """RSA 2048, as the product the operators use (OP-06)."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@dataclass(frozen=True, slots=True)
class Subject:
    """A name as IGC-Santé writes it; `ou` is 1 + FINESS or 3 + SIRET."""

    cn: str
    ou: str = "1990000017"
    o: str = "CENTRE HOSPITALIER DE VALMONT"
    st: str = "Rhône (69)"
    c: str = "FR"

    @property
    def name(self) -> x509.Name:
        """ASN.1 order: C, ST, O, OU, CN."""
        return _name(self.c, self.st, self.o, (self.ou,), self.cn)

    @property
    def text(self) -> str:
        """As the national list prints it: CN first, comma without space."""
        return f"CN={self.cn},OU={self.ou},O={self.o},ST={self.st},C={self.c}"


SIGNER_SUBJECT = Subject("alb.mssante.example", "398765432100025", "LISTE TEST", "Paris (75)")


def _name(c: str, st: str | None, o: str, ous: Sequence[str], cn: str) -> x509.Name:
    parts = [(NameOID.COUNTRY_NAME, c)]
    if st is not None:
        parts.append((NameOID.STATE_OR_PROVINCE_NAME, st))
    parts.append((NameOID.ORGANIZATION_NAME, o))
    parts += [(NameOID.ORGANIZATIONAL_UNIT_NAME, ou) for ou in ous]
    parts.append((NameOID.COMMON_NAME, cn))
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in parts])


def card_name(national_id: str, surname: str, given_name: str) -> x509.Name:
    """A name as IGC-Santé writes it on a CPS: identifier and names share one RDN."""
    holder = (
        (NameOID.COMMON_NAME, national_id),
        (NameOID.SURNAME, surname),
        (NameOID.GIVEN_NAME, given_name),
    )
    parts = (((NameOID.COUNTRY_NAME, "FR"),), ((NameOID.TITLE, "Médecin"),), holder)
    return x509.Name(
        [
            x509.RelativeDistinguishedName([x509.NameAttribute(*each) for each in part])
            for part in parts
        ]
    )


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """Where an identity was written; the names of the settings."""

    certificate_file: Path
    key_file: Path


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate, its issuers (without the root) and its key."""

    certificate: x509.Certificate
    issuers: tuple[x509.Certificate, ...]
    key: rsa.RSAPrivateKey

    @property
    def chain(self) -> tuple[x509.Certificate, ...]:
        """Leaf first, as a peer sends it."""
        return (self.certificate, *self.issuers)

    @property
    def certificate_pem(self) -> bytes:
        """The chain, leaf first."""
        return b"".join(c.public_bytes(serialization.Encoding.PEM) for c in self.chain)

    @property
    def key_pem(self) -> bytes:
        """PKCS#8, not encrypted, after a line that keeps it out of production (OP-100)."""
        return (
            DEMO_MARK
            + b", never for real mail\n"
            + self.key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )

    @property
    def dn_text(self) -> str:
        """The subject as the national list prints it."""
        return ",".join(
            f"{KEY_TYPES_BY_OID[a.oid.dotted_string]}={a.value!s}"
            for a in reversed(list(self.certificate.subject))
        )

    def write_card(self, file: Path, password: str) -> None:
        """Write a PKCS #12 file, which browsers take in the place of a card."""
        sealed = serialization.BestAvailableEncryption(password.encode())
        octets = pkcs12.serialize_key_and_certificates(
            b"carte", self.key, self.certificate, self.issuers, sealed
        )
        write_private(file, octets)

    def write(self, directory: Path, stem: str) -> CertificateFiles:
        """Write `stem`.pem and `stem`.key (0600) into `directory`."""
        directory.mkdir(parents=True, exist_ok=True)
        files = CertificateFiles(directory / f"{stem}.pem", directory / f"{stem}.key")
        files.certificate_file.write_bytes(self.certificate_pem)
        write_private(files.key_file, self.key_pem)
        return files


def write_private(path: Path, octets: bytes) -> None:
    """Write a key so that it is never readable by others, not even for a moment."""
    path.unlink(missing_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(octets)


@dataclass(frozen=True, slots=True)
class Make:
    """How a certificate is made; the defaults are those of a healthy operator (OP-06).

    `usages` None leaves the extension out (WT-44). `hosts` are names or addresses for the subject
    alternative name; the CN is added to them when it looks like a host.
    """

    not_before: datetime | None = None
    not_after: datetime | None = None
    usages: Usages | None = SERVER_AND_CLIENT
    hosts: tuple[str, ...] = ()
    digital_signature: bool = True
    name: x509.Name | None = None
    is_authority: bool = False
    crl_urls: tuple[str, ...] = ()


HEALTHY = Make()


class Authority:
    """Root and intermediate of one trust space, the certificates below and their revocation.

    `now` is the moment everything is made for: certificates begin one day before it and last three
    years, CRLs last seven days. `prefix` is in front of the national names.
    """

    def __init__(
        self, now: datetime, *, make_key: KeyMaker = new_key, prefix: str = "TEST "
    ) -> None:
        self.now = now.replace(microsecond=0)
        self._make_key = make_key
        self._serial = 0x5EED_0000_0000_0001
        self._crl_number = 0
        self._revoked: list[int] = []
        units = ("IGC-SANTE TEST", "0002 187512751") if prefix else ("IGC-SANTE", "0002 187512751")
        self._root_name = _name(
            "FR", None, "ASIP-SANTE", units[::-1], f"{prefix}AC RACINE IGC-SANTE ELEMENTAIRE"
        )
        self._name = _name(
            "FR", None, "ASIP-SANTE", units[::-1], f"{prefix}AC IGC-SANTE ELEMENTAIRE ORGANISATIONS"
        )
        self._root_key, self._key = make_key(), make_key()
        self.root = self._make_authority(self._root_name, self._root_key, path_length=None)
        self.intermediate = self._make_authority(self._name, self._key, path_length=0)

    @property
    def anchors_pem(self) -> bytes:
        """Root and intermediate, for `pki.anchors_file`."""
        pem = serialization.Encoding.PEM
        return self.root.public_bytes(pem) + self.intermediate.public_bytes(pem)

    @cached_property
    def signer(self) -> Identity:
        """The pinned signer of the list: emailProtection only."""
        return self.issue(SIGNER_SUBJECT, Make(usages=EMAIL_ONLY))

    pin = "CN=alb.mssante.example"
    """What `whitelist.signer_subject` has to be for this authority's lists."""

    def issue(self, subject: Subject, make: Make = HEALTHY) -> Identity:
        """A certificate below the intermediate."""
        key = self._make_key()
        before = make.not_before or self.now - timedelta(days=1)
        after = make.not_after or self.now + timedelta(days=3 * 365)
        name = subject.name if make.name is None else make.name
        usage = _key_usage(digital_signature=make.digital_signature, signs=make.is_authority)
        builder = (
            self._builder(name, key.public_key(), (before, after))
            .issuer_name(self._name)
            .add_extension(_aki(self._key), critical=False)
            .add_extension(x509.BasicConstraints(make.is_authority, None), critical=True)
            .add_extension(usage, critical=True)
        )
        if make.usages is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage(make.usages), critical=False)
        if make.crl_urls:
            builder = builder.add_extension(_crl_points(make.crl_urls), critical=False)
        if names := _alternative_names(subject.cn, make.hosts):
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return Identity(builder.sign(self._key, hashes.SHA256()), (self.intermediate,), key)

    def revoke(self, identity: Identity) -> None:
        """Put it on every CRL made from now on."""
        self._revoked.append(identity.certificate.serial_number)

    def crls(
        self, *, this_update: datetime | None = None, next_update: datetime | None = None
    ) -> tuple[bytes, bytes]:
        """DER of the root's CRL and of the intermediate's, numbered upwards."""
        self._crl_number += 1
        start = this_update or self.now - timedelta(minutes=5)
        dates = (start, next_update or start + timedelta(days=7))
        return (
            self._crl(self._root_name, self._root_key, (), dates),
            self._crl(self._name, self._key, self._revoked, dates),
        )

    def sign_whitelist(
        self, rows: Sequence[Row], date: datetime, *, signer: Identity | None = None
    ) -> bytes:
        """A list in exactly the national profile, with CR references in its base64."""
        return sign(render(rows, date), signer or self.signer)

    def _builder(
        self, name: x509.Name, key: rsa.RSAPublicKey, dates: tuple[datetime, datetime]
    ) -> x509.CertificateBuilder:
        self._serial += 1
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .public_key(key)
            .serial_number(self._serial)
            .not_valid_before(dates[0])
            .not_valid_after(dates[1])
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        )

    def _make_authority(
        self, name: x509.Name, key: rsa.RSAPrivateKey, *, path_length: int | None
    ) -> x509.Certificate:
        dates = (self.now - timedelta(days=365), self.now + timedelta(days=9 * 365))
        usage = _key_usage(digital_signature=False, signs=True)
        return (
            self._builder(name, key.public_key(), dates)
            .issuer_name(self._root_name)
            .add_extension(_aki(self._root_key), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
            .add_extension(usage, critical=True)
            .sign(self._root_key, hashes.SHA256())
        )

    def _crl(
        self,
        issuer: x509.Name,
        key: rsa.RSAPrivateKey,
        serials: Sequence[int],
        dates: tuple[datetime, datetime],
    ) -> bytes:
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(issuer)
            .last_update(dates[0])
            .next_update(dates[1])
            .add_extension(x509.CRLNumber(self._crl_number), critical=False)
            .add_extension(_aki(key), critical=False)
        )
        for serial in serials:
            entry = x509.RevokedCertificateBuilder().serial_number(serial)
            builder = builder.add_revoked_certificate(entry.revocation_date(dates[0]).build())
        return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def crl_pem(ders: Sequence[bytes]) -> bytes:
    """CRLs for programs that want one PEM file."""
    return b"".join(
        x509.load_der_x509_crl(der).public_bytes(serialization.Encoding.PEM) for der in ders
    )


def row(domain: str, dn: str, *, updated: datetime, description: str = "") -> Row:
    """A row with the four texts nobody decides on filled in."""
    return Row(
        domain=domain,
        description=description or f"Domaine de messagerie MSSanté de démonstration {domain}",
        dn=dn,
        responsible=RESPONSIBLE,
        support=SUPPORT,
        updated=stamp(updated),
    )


def stamp(moment: datetime) -> str:
    """`YYYY-MM-DDThh:mm:ssZ`."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def render(rows: Sequence[Row], date: datetime) -> bytes:
    """The list without its signature, as the authority prints it."""
    tags = (
        "Nom",
        "Description",
        "DNCertificatOperateur",
        "ResponsableContact",
        "SupportContact",
        "DateMAJ",
    )
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>' + f'<ListeBlancheMSSante xmlns="{NAMESPACE}">'
    ]
    lines.append(f"    <DateDeGeneration>{stamp(date)}</DateDeGeneration>")
    lines.append("    <ListeDomaines>")
    for item in rows:
        cells = (
            item.domain,
            item.description,
            item.dn,
            item.responsible,
            item.support,
            item.updated,
        )
        lines.append("        <Domaine>")
        for tag, cell in zip(tags, cells, strict=True):
            lines.append(f"            <{tag}>{escape(cell)}</{tag}>")
        lines.append("        </Domaine>")
    lines += ["    </ListeDomaines>", "</ListeBlancheMSSante>"]
    return "\n".join(lines).encode()


def sign(unsigned: bytes, signer: Identity) -> bytes:
    """`unsigned` with an enveloped signature of the profile, whatever it says."""
    maker = XMLSigner(c14n_algorithm=CanonicalizationMethod.EXCLUSIVE_XML_CANONICALIZATION_1_0)
    maker.namespaces = {None: DS}  # type: ignore[dict-item]  # signxml's annotation forgets None
    signed = maker.sign(etree.fromstring(unsigned), key=signer.key_pem, cert=[signer.certificate])
    # With a default namespace signxml leaves its elements without one until they are read again.
    root = etree.fromstring(etree.tostring(signed))
    for tag in ("SignatureValue", "X509Certificate"):
        node = next(root.iter(f"{{{DS}}}{tag}"))
        text = "".join((node.text or "").split())
        # The national signer writes CR + LF between base64 lines; CR is serialised as &#13;.
        node.text = "\r\n".join(text[i : i + 76] for i in range(0, len(text), 76))
    return b'<?xml version="1.0" encoding="UTF-8"?>' + etree.tostring(root, encoding="utf-8")


def _aki(key: rsa.RSAPrivateKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())


def _crl_points(urls: Sequence[str]) -> x509.CRLDistributionPoints:
    names = [x509.UniformResourceIdentifier(url) for url in urls]
    return x509.CRLDistributionPoints([x509.DistributionPoint(names, None, None, None)])


def _key_usage(*, digital_signature: bool, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=not digital_signature and not signs,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative_names(cn: str, hosts: Sequence[str]) -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = []
    for host in dict.fromkeys((cn, *hosts)):
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            if host.isascii() and "." in host or host == "localhost":
                names.append(x509.DNSName(host))
    return names
