"""`mssmtp doctor --joining`: the order of joining the trust space, ticked where it can be (OP-96).

What needs a person or the authority is said so, with who it is; nothing is taken on trust.
`docs/joining.md` tells each step at length.
"""

from __future__ import annotations

import asyncio
import imaplib
import smtplib
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from mssmtp.config import Endpoint, Settings
from mssmtp.errors import ConfigError, MailError
from mssmtp.finding import Finding, Severity
from mssmtp.mail import Domain
from mssmtp.outside import Resolver
from mssmtp.own_rows import Column, differences, expected_rows, lacking
from mssmtp.pki import Anchors, CertificateRefused, Role, judge_certificate, printed_name
from mssmtp.tls_settings import load_certificate
from mssmtp.trust import Snapshot
from mssmtp.trust_feed import State
from mssmtp.trust_findings import list_findings, revocation_findings

_TIMEOUT_S = 10.0
_NOT_THERE = "DNS has no usable answer"


class Mark(StrEnum):
    """What is known of one step."""

    DONE = "done"
    MISSING = "missing"
    PERSON = "person"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    what: str
    holds: bool
    why: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the order. Without checks only a person can say whether it was done."""

    number: int
    title: str
    who: str
    todo: str
    checks: tuple[Check, ...] = ()

    @property
    def mark(self) -> Mark:
        """Proven, not proven, or not ours to prove."""
        if not self.checks:
            return Mark.PERSON
        return Mark.DONE if all(check.holds for check in self.checks) else Mark.MISSING


@dataclass(frozen=True, slots=True)
class Outside:
    """What DNS and our own doors answered; a text says why not."""

    exchangers: Mapping[Domain, tuple[str, ...] | str] = field(default_factory=dict)
    addresses: Mapping[str, tuple[str, ...] | str] = field(default_factory=dict)
    doors: Mapping[str, bytes | str] = field(default_factory=dict)
    """Certificate (DER) that each open door presents."""


def steps(
    settings: Settings,
    trust: Callable[[], Snapshot],
    state: State,
    outside: Outside,
    now: datetime,
) -> tuple[Step, ...]:
    """The whole order. What cannot even be looked at is a check that does not hold.

    `trust` loads the snapshot; it may raise ConfigError, and does in a home that is all new.
    """
    return (
        Step(
            1,
            "contract",
            "your legal representative, with ANS",
            "Sign the operator contract and the commitment to the Référentiel #1.",
        ),
        Step(
            2,
            "certificates",
            "your certificate administrator, with ANS",
            "Order IGC-Santé test products with form F414 (SERV SSL, Élémentaire, Organisations);"
            " the production ones follow after the tests.",
            _looked(lambda: _certificates(settings, trust().anchors, now)),
        ),
        Step(
            3,
            "list and CRLs",
            "you",
            "Let the server reach whitelist.url and pki.crl_urls.",
            _looked(lambda: _published(settings, trust(), state, now)),
        ),
        Step(
            4,
            "names in DNS",
            "who runs your DNS",
            f"Publish MX 10 {settings.operator.host_name} for each domain, and its address.",
            _looked(lambda: _dns(settings, outside)),
        ),
        Step(
            5,
            "doors",
            "you, and who runs the firewall",
            "Serve, and let 25 in from other operators, 587, 465, 143 and 993 from users.",
            _looked(lambda: _doors(settings, outside)),
        ),
        Step(
            6,
            "tests between operators (MOTCO1)",
            "you, with ANS",
            "Both directions, every case of docs/acceptance.md against ANS's own servers.",
        ),
        Step(
            7,
            "tests of the client interface (MOTCO2)",
            "you, with ANS",
            "First `python -m tests.motco2`; then ANS's bench, about 24 hours after you gave it"
            " the identifiers of the test boxes.",
        ),
        Step(8, "report", "you", "Send the report of both campaigns to ANS."),
        Step(
            9,
            "entry in the list",
            "ANS publishes, you check",
            "Send the rows of `mssmtp trust expected`.",
            _looked(lambda: _listed(settings, trust(), now)),
        ),
        Step(
            10,
            "publication in the directory",
            "you, or each structure's administrator",
            "Declare the boxes in the Annuaire Santé so that others find them.",
        ),
    )


def _looked(look: Callable[[], Iterable[Check]]) -> tuple[Check, ...]:
    try:
        return tuple(look())
    except ConfigError as error:
        return (Check(error.what, holds=False, why=error.why, remedy=error.remedy),)


# ---------------------------------------------------------------- what settings and files say


def _certificates(settings: Settings, anchors: Anchors, now: datetime) -> Iterator[Check]:
    pairs = [
        (f"certificate between operators {n}", each)
        for n, each in enumerate(settings.tls.operators, start=1)
    ]
    for what, files in (*pairs, ("certificate of the user doors", settings.tls.users)):
        try:
            leaf = load_certificate(files).chain[0]
        except ConfigError as error:
            yield Check(what, holds=False, why=f"{error.what} {error.why}", remedy=error.remedy)
            continue
        shown = f"{printed_name(leaf.subject)}, {_key(leaf)}, by {printed_name(leaf.issuer)}"
        shown += f", until {leaf.not_valid_after_utc:%Y-%m-%d}"
        if files is settings.tls.users and settings.pki.users_anchors_file is not None:
            anchors = Anchors.load(settings.pki.users_anchors_file)
        try:
            judge_certificate(leaf, anchors, Role.SERVER, now)
        except CertificateRefused as error:
            why = f"{shown}: refused, {error.reason}"
            yield Check(what, holds=False, why=why, remedy="Install one that peers accept.")
        else:
            yield Check(what, holds=True, why=shown)


def _key(certificate: x509.Certificate) -> str:
    key = certificate.public_key()
    return f"RSA {key.key_size}" if isinstance(key, rsa.RSAPublicKey) else type(key).__name__


def _published(
    settings: Settings, snapshot: Snapshot, state: State, now: datetime
) -> Iterator[Check]:
    for finding in (
        *list_findings(settings, snapshot, state, now),
        *revocation_findings(settings.pki, snapshot, state, now),
    ):
        yield _of_finding(finding)


def _of_finding(finding: Finding) -> Check:
    is_good = finding.severity is not Severity.ERROR
    return Check(finding.what, is_good, finding.why, finding.remedy)


def _listed(settings: Settings, snapshot: Snapshot, now: datetime) -> Iterator[Check]:
    for name in lacking(settings):
        yield Check(name, holds=False, why="is not set", remedy="Peers are shown it: set it.")
    listed = snapshot.whitelist
    if listed is None:
        yield Check("list", holds=False, why="none is in force", remedy="See step 3.")
        return
    found = differences(settings, expected_rows(settings, now), listed, now)
    for domain in settings.operator.domains:
        of_domain = [each for each in found if each.domain == domain]
        missing = any(each.column is Column.ROW for each in of_domain)
        why = "; ".join(map(str, of_domain)) or f"listed as expected on {listed.date:%Y-%m-%d}"
        remedy = "Ask ANS when it is published." if missing else "Ask ANS to correct the row."
        yield Check(domain, not of_domain, why, "" if not of_domain else remedy)


# ---------------------------------------------------------------- what the outside says


def _dns(settings: Settings, outside: Outside) -> Iterator[Check]:
    host = settings.operator.host_name
    for domain in settings.operator.domains:
        found = outside.exchangers.get(domain, "was not asked")
        if found == (domain,) and domain != host:
            found = "has no MX record"
        shown = found if isinstance(found, str) else ", ".join(found)
        remedy = f"Publish MX 10 {host}."
        holds = host in found and not isinstance(found, str)
        yield Check(f"MX of {domain}", holds, shown, "" if holds else remedy)
    address = outside.addresses.get(host, "was not asked")
    holds = not isinstance(address, str)
    shown = address if isinstance(address, str) else ", ".join(address)
    yield Check(f"address of {host}", holds, shown, "" if holds else "Publish an A record.")


def _doors(settings: Settings, outside: Outside) -> Iterator[Check]:
    own = {
        each.certificate_file: load_certificate(each).chain[0]
        for each in (*settings.tls.operators, settings.tls.users)
    }
    for name in ("operators", "submission", "submissions", "imap", "imaps"):
        endpoint = getattr(settings.listen, name)
        what = f"door {name}"
        if endpoint is None:
            if name in ("operators", "submissions", "imaps"):
                remedy = f"Name listen.{name} in the settings."
                yield Check(what, holds=False, why="is closed by the settings", remedy=remedy)
            continue
        found = outside.doors.get(name, "was not asked")
        if isinstance(found, str):
            why = f"{endpoint.host}:{endpoint.port} {found}"
            yield Check(what, holds=False, why=why, remedy="Start `mssmtp serve`; see its log.")
            continue
        shown = x509.load_der_x509_certificate(found)
        files = [file for file, certificate in own.items() if certificate == shown]
        why = f"presents {printed_name(shown.subject)}"
        remedy = "" if files else "It is none of the settings: reload the server."
        yield Check(what, bool(files), why, remedy)


async def look(settings: Settings, resolver: Resolver) -> Outside:
    """Ask DNS, and our own doors as a stranger would. Nothing is sent but greetings."""
    host = settings.operator.host_name
    asked = [_mx(resolver, domain) for domain in settings.operator.domains]
    exchangers = dict(zip(settings.operator.domains, await asyncio.gather(*asked), strict=True))
    try:
        address: tuple[str, ...] | str = await resolver.addresses(host)
    except MailError:
        address = _NOT_THERE
    doors = {
        name: await asyncio.to_thread(_presented, name, endpoint)
        for name in ("operators", "submission", "submissions", "imap", "imaps")
        if (endpoint := getattr(settings.listen, name)) is not None
    }
    return Outside(exchangers, {host: address}, doors)


async def _mx(resolver: Resolver, domain: Domain) -> tuple[str, ...] | str:
    try:
        return await resolver.exchangers(domain)
    except MailError:
        return _NOT_THERE


def _presented(name: str, endpoint: Endpoint) -> bytes | str:
    """The certificate this door presents, or why there is none."""
    everywhere = ("0.0.0.0", "::", "")  # noqa: S104 - where it listens; we come by loopback
    host = "127.0.0.1" if endpoint.host in everywhere else endpoint.host
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Whom it presents itself as is the question, not yet whether to believe it.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        return _handshake(name, host, endpoint.port, context)
    except (OSError, smtplib.SMTPException, imaplib.IMAP4.error) as error:
        return f"does not answer as it should ({type(error).__name__}: {error})"


def _handshake(name: str, host: str, port: int, context: ssl.SSLContext) -> bytes:
    if name == "imaps":
        with imaplib.IMAP4_SSL(host, port, ssl_context=context, timeout=_TIMEOUT_S) as imap:
            return _leaf(imap.sock)
    if name == "imap":
        with imaplib.IMAP4(host, port, _TIMEOUT_S) as imap:
            imap.starttls(context)
            return _leaf(imap.sock)
    if name == "submissions":
        with smtplib.SMTP_SSL(host, port, timeout=_TIMEOUT_S, context=context) as smtp:
            return _leaf(smtp.sock)
    with smtplib.SMTP(host, port, timeout=_TIMEOUT_S) as smtp:
        smtp.starttls(context=context)
        return _leaf(smtp.sock)


def _leaf(sock: object) -> bytes:
    found = sock.getpeercert(binary_form=True) if isinstance(sock, ssl.SSLSocket) else None
    if found is None:
        raise ConnectionError("no certificate")
    return x509.load_der_x509_certificate(found).public_bytes(Encoding.DER)
