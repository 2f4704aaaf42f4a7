"""The trust space of the acceptance matrix: one certificate per case, and a list of them all.

Names follow the acceptance matrix. Each faulty domain is listed twice, with its own faulty name and
with that of the healthy `bus` certificate: the fault has to be found by PKI or by comparison.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from OpenSSL import crypto

from mssmtp import pki
from mssmtp.demo.authority import (
    EMAIL_ONLY,
    Authority,
    Identity,
    Make,
    Subject,
    row,
)
from tests.authority import shared_keys

DAY = timedelta(days=1)
OWN_DOMAIN = "hopital-a.test"
OWN_SUBJECT = Subject("mx.hopital-a.test")
BUS = Subject("bus.mssante.test", "398765432100041", "OPERATEUR SAIN", "Paris (75)")
NOT_LISTED = Subject("mx.hors-liste.test", "398765432100058", "HORS LISTE", "Paris (75)")
CONSTRAINED = "TEST AC IGC-SANTE ELEMENTAIRE CONTRAINTE"

PARTNERS = (
    # SEED-04: the generic domains; SEED-02: the partners, as simulated peers.
    "pro.oc.mssante.test",
    "ehpad.oc.mssante.test",
    "social.oc.mssante.test",
    "oc.mssante.test",
    "paca.mssante.test",
    "mailiz.mssante.test",
    "lifen.mssante.test",
    "jeebop-un.mssante.test",
    "jeebop-deux.mssante.test",
    "easycrypt.mssante.test",
    "santenetbox.mssante.test",
    "ideosecuremail.mssante.test",
    "pandalab.mssante.test",
    # APX-07: two entries each, ordinary ones.
    "interop-mssante.apicrypt.test",
    "mssante.apicrypt.test",
    # OP-99: test and training domains of the production list.
    "formation.mssante.test",
    "recette.mssante.test",
)
TWICE = frozenset({"interop-mssante.apicrypt.test", "mssante.apicrypt.test"})


def partner(domain: str, number: int = 1) -> Subject:
    """The certificate's subject of one partner domain; operators with two have two."""
    organisation = domain.split(".")[0].upper()
    return Subject(f"mx{number}.{domain}", "312345678900017", organisation, "Hérault (34)")


@dataclass(frozen=True)
class Case:
    """One certificate: the domain it speaks for, how the list prints its name, what comes of it.

    `inbound` and `outbound` are the reasons logged, "" when it is accepted. `row` is that of
    the acceptance matrix, or the attack; `what` says what is wrong with it.
    """

    row: str
    name: str
    what: str
    make: Callable[[Space, Subject], Identity]
    inbound: str = ""
    outbound: str = ""
    listed: Callable[[Subject], str] = lambda subject: subject.text
    subject: Subject | None = None
    sender: str = ""

    @property
    def domain(self) -> str:
        """The domain of the case."""
        return self.sender or f"{self.name}.test"

    @property
    def named(self) -> Subject:
        """The subject its certificate is made for."""
        return self.subject or Subject(f"mx.{self.name}.test", "312345678900017", "ESSAI")


class Space:
    """One authority with everything below it. Keys are shared: making them is the slow part."""

    def __init__(self) -> None:
        self.authority = Authority(datetime.now(UTC), make_key=shared_keys(40))
        self.stranger = Authority(self.authority.now, make_key=shared_keys(60))
        self.own = self.authority.issue(OWN_SUBJECT, Make(hosts=("localhost", "127.0.0.1")))
        self.bus = self.authority.issue(BUS)
        self.constrained_key = shared_keys(80)()
        self.constrained = self._constrained()
        self._serials = self.authority._serial + 10_000
        # Before the first CRL, so that it names those that are revoked.
        self._made = {case.name: case.make(self, case.named) for case in CASES}
        self.partners = {
            (domain, number): self.authority.issue(partner(domain, number))
            for domain in PARTNERS
            for number in ((1, 2) if domain in TWICE else (1,))
        }

    def identity(self, case: Case) -> Identity:
        """The certificate of a case."""
        return self._made[case.name]

    @property
    def anchors_pem(self) -> bytes:
        """Root, intermediate and the intermediate whose names are constrained."""
        return self.authority.anchors_pem + self.constrained.public_bytes(pki.PEM)

    def crls(self, *, ends: datetime | None = None) -> tuple[bytes, ...]:
        """Of every authority; made anew each time, with a number above the last."""
        root, organisations = self.authority.crls(next_update=ends)
        start = self.authority.now - timedelta(minutes=5)
        dates = (start, ends or start + 7 * DAY)
        constrained = self.authority._crl(self.constrained.subject, self.constrained_key, (), dates)
        return root, organisations, constrained

    @cached_property
    def bindings(self) -> tuple[tuple[str, str], ...]:
        """(domain, name as the list prints it), in the order of the list."""
        found = [(OWN_DOMAIN, OWN_SUBJECT.text), ("sans-tls.test", BUS.text)]
        for case in CASES:
            found += [(case.domain, case.listed(case.named)), (case.domain, BUS.text)]
        found += [(domain, partner(domain, number).text) for domain, number in self.partners]
        return tuple(dict.fromkeys(found))

    def signed(
        self,
        *bindings: tuple[str, str],
        date: datetime | None = None,
        signer: Identity | None = None,
    ) -> bytes:
        """The signed list of `bindings`, by default of all cases."""
        now = self.authority.now
        rows = [row(domain, dn, updated=now) for domain, dn in bindings or self.bindings]
        return self.authority.sign_whitelist(rows, date or now, signer=signer)

    def _constrained(self) -> x509.Certificate:
        """An intermediate that may speak for `.contraint.test` only (RFC 5280 4.2.1.10)."""
        names = x509.NameConstraints([x509.DNSName("contraint.test")], None)
        maker = self.authority
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, CONSTRAINED)])
        made = maker._make_authority(name, self.constrained_key, path_length=0)
        builder = (
            x509.CertificateBuilder()
            .subject_name(made.subject)
            .issuer_name(made.issuer)
            .public_key(self.constrained_key.public_key())
            .serial_number(made.serial_number)
            .not_valid_before(made.not_valid_before_utc)
            .not_valid_after(made.not_valid_after_utc)
            .add_extension(names, critical=True)
        )
        for extension in made.extensions:
            builder = builder.add_extension(extension.value, critical=extension.critical)
        return builder.sign(maker._root_key, hashes.SHA256())

    def below(
        self, key: rsa.RSAPrivateKey, name: x509.Name, subject: Subject, make: Make | None = None
    ) -> Identity:
        """A certificate signed with `key` in the name of `name`."""
        maker = Authority(self.authority.now, make_key=shared_keys(40))
        self._serials = maker._serial = self._serials + 10
        maker._key, maker._name = key, name
        return maker.issue(subject, make or Make())


def healthy(space: Space, subject: Subject) -> Identity:
    return space.authority.issue(subject)


def expired(space: Space, subject: Subject) -> Identity:
    now = space.authority.now
    return space.authority.issue(
        subject, Make(not_before=now - 9 * DAY, not_after=now - DAY, name=_in_a_place(subject))
    )


def _in_a_place(subject: Subject) -> x509.Name:
    """WT-02: `L=` in the place of `ST=`."""
    return x509.Name(
        x509.NameAttribute(NameOID.LOCALITY_NAME, str(a.value))
        if a.oid == NameOID.STATE_OR_PROVINCE_NAME
        else a
        for a in subject.name
    )


def early(space: Space, subject: Subject) -> Identity:
    return space.authority.issue(subject, Make(not_before=space.authority.now + 2 * DAY))


def revoked(space: Space, subject: Subject) -> Identity:
    made = space.authority.issue(subject)
    space.authority.revoke(made)
    return made


def other_authority(space: Space, subject: Subject) -> Identity:
    return space.stranger.issue(subject)


def public_authority(space: Space, subject: Subject) -> Identity:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Autorité publique")])
    return replace(space.below(shared_keys(90)(), name, subject), issuers=())


def other_cn(space: Space, subject: Subject) -> Identity:
    return space.authority.issue(replace(subject, cn=f"autre.{subject.cn}"))


def partners(space: Space, subject: Subject) -> Identity:
    """A healthy certificate whose name the list gives to another domain."""
    return space.authority.issue(partner(PARTNERS[0]))


def email_only(space: Space, subject: Subject) -> Identity:
    return space.authority.issue(subject, Make(usages=EMAIL_ONLY))


def no_usage(space: Space, subject: Subject) -> Identity:
    return space.authority.issue(subject, Make(usages=None))


def short_key(space: Space, subject: Subject) -> Identity:
    maker = Authority(space.authority.now, make_key=shared_keys(40))
    space._serials = maker._serial = space._serials + 10
    maker._make_key = lambda: rsa.generate_private_key(65537, 1024)  # noqa: S505  # on purpose
    return maker.issue(subject)


def old_digest(space: Space, subject: Subject) -> Identity:
    made = space.authority.issue(subject)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old = crypto.X509.from_cryptography(made.certificate)
        old.sign(crypto.PKey.from_cryptography_key(space.authority._key), "sha1")
    return replace(made, certificate=old.to_cryptography())


def self_signed(space: Space, subject: Subject) -> Identity:
    key = shared_keys(95)()
    return replace(space.below(key, subject.name, subject), key=space.own.key, issuers=())


def authority_itself(space: Space, subject: Subject) -> Identity:
    return space.authority.issue(subject, Make(is_authority=True, digital_signature=True))


def below_an_operator(space: Space, subject: Subject) -> Identity:
    """Signed by an operator's own certificate, which is no authority."""
    operator = space.authority.issue(BUS)
    forged = space.below(operator.key, operator.certificate.subject, subject)
    return replace(forged, issuers=(operator.certificate, space.authority.intermediate))


def path_too_long(space: Space, subject: Subject) -> Identity:
    """Below an authority that the intermediate, whose path length is 0, may not have made."""
    name = Subject("AC DE TROP").name
    extra = space.authority.issue(Subject("AC DE TROP"), Make(is_authority=True))
    made = space.below(extra.key, name, subject)
    return replace(made, issuers=(extra.certificate, space.authority.intermediate))


def below_the_root(space: Space, subject: Subject) -> Identity:
    made = space.below(space.authority._root_key, space.authority._root_name, subject)
    return replace(made, issuers=())


def sister_authority(space: Space, subject: Subject) -> Identity:
    """Below another intermediate of the same root, which issues cards to persons."""
    key = shared_keys(97)()
    name = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, "TEST AC IGC-SANTE ELEMENTAIRE PERSONNES")]
    )
    sister = space.authority._make_authority(name, key, path_length=0)
    return replace(space.below(key, name, subject), issuers=(sister,))


def out_of_constraints(space: Space, subject: Subject) -> Identity:
    """Below the constrained intermediate, with a DNS name it may not speak for."""
    return space.below(space.constrained_key, space.constrained.subject, subject)


def named(*attributes: tuple[x509.ObjectIdentifier, str]) -> Callable[[Space, Subject], Identity]:
    """A certificate whose subject is made of exactly these, each an RDN of its own."""

    def make(space: Space, subject: Subject) -> Identity:
        name = x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes])
        return space.authority.issue(Subject("sans-hote"), Make(name=name))

    return make


def multi_valued(space: Space, subject: Subject) -> Identity:
    """CN and serialNumber in one RDN (V20)."""
    *before, cn = list(subject.name)
    both = x509.RelativeDistinguishedName([cn, x509.NameAttribute(NameOID.SERIAL_NUMBER, "1")])
    name = x509.Name([*(x509.RelativeDistinguishedName([each]) for each in before), both])
    return space.authority.issue(subject, Make(name=name))


C, ST, O, OU, CN = (  # noqa: E741 - their names in X.500
    NameOID.COUNTRY_NAME,
    NameOID.STATE_OR_PROVINCE_NAME,
    NameOID.ORGANIZATION_NAME,
    NameOID.ORGANIZATIONAL_UNIT_NAME,
    NameOID.COMMON_NAME,
)


def _place(subject: Subject) -> str:
    return subject.text.replace("ST=", "L=")


EXPIRED = Subject("mx.cert-expire-audit.test", "1990009962", "GIP - TEST9962", "Paris (75)")
NO_MATCH = "name not of domain"
NOWHERE = "name not listed"

MATRIX = (
    Case("WT-01", "cert-valide-audit", "healthy", healthy),
    Case(
        "WT-02",
        "cert-expire-audit",
        "expired, L in the place of ST",
        expired,
        "expired",
        "expired",
        _place,
        EXPIRED,
    ),
    Case("WT-03", "cert-revoque-audit", "revoked", revoked, "revoked", "revoked"),
    Case(
        "WT-04",
        "cert-non-igc-audit",
        "same name, other authority",
        other_authority,
        "chain",
        "chain",
    ),
    Case(
        "WT-05",
        "cert-cn-diff-dn-audit",
        "CN differs from the listed name",
        other_cn,
        NOWHERE,
        NO_MATCH,
    ),
    Case(
        "WT-06",
        "cert-no-match-audit",
        "name listed for another domain",
        partners,
        NO_MATCH,
        NO_MATCH,
    ),
    Case("WT-08", "tests-operateur", "own name", healthy),
    Case("WT-33", "ca-publique", "right CN, public authority", public_authority, "chain", "chain"),
    Case("WT-44", "courriel-seul", "emailProtection only", email_only, "usage", "usage"),
    Case("WT-44", "sans-eku", "no EKU", no_usage),
)
"""The rows of the matrix that are one certificate."""

BAD = (
    Case("ATT-16", "pas-encore", "not yet valid", early, "not yet valid", "not yet valid"),
    Case("ATT-16", "rsa-1024", "RSA 1024", short_key, "weak", "weak"),
    Case("ATT-16", "sha-1", "SHA-1", old_digest, "weak", "weak"),
    Case("ATT-16", "auto-signe", "self-signed", self_signed, "chain", "chain"),
    Case("ATT-16", "est-une-ac", "CA bit", authority_itself, "usage", "usage"),
    Case(
        "ATT-16",
        "sous-un-operateur",
        "signed by an operator's certificate",
        below_an_operator,
        "chain",
        "chain",
    ),
    Case(
        "ATT-16",
        "chemin-trop-long",
        "path longer than its authority may make",
        path_too_long,
        "chain",
        "chain",
    ),
    Case("ATT-16", "sous-la-racine", "issued by the root itself", below_the_root, "chain", "chain"),
    Case("ATT-16", "ac-soeur", "sister authority, sent along", sister_authority, "chain", "chain"),
    Case(
        "ATT-16",
        "hors-contrainte",
        "outside the name constraints of its authority",
        out_of_constraints,
        "chain",
        "chain",
    ),
    Case("ATT-15", "rdn-multiple", "multi-valued RDN", multi_valued, NOWHERE, NO_MATCH),
    Case(
        "ATT-15",
        "plusieurs-cn",
        "several CN",
        named((C, "FR"), (O, "ESSAI"), (CN, "bus.mssante.test"), (CN, "mx.plusieurs-cn.test")),
        NOWHERE,
        NO_MATCH,
        lambda _: "CN=mx.plusieurs-cn.test,O=ESSAI,C=FR",
    ),
    Case(
        "ATT-15",
        "octet-nul",
        "NUL in the CN",
        named((C, "FR"), (O, "ESSAI"), (CN, "mx.octet-nul.test\0.pirate.test")),
        NOWHERE,
        NO_MATCH,
        lambda _: "CN=mx.octet-nul.test,O=ESSAI,C=FR",
    ),
    Case(
        "ATT-15",
        "sosie",
        "look-alike letter",
        # U+043E, which looks like the o of "hopital".
        named((C, "FR"), (O, "H\N{CYRILLIC SMALL LETTER O}PITAL"), (CN, "mx.sosie.test")),
        NOWHERE,
        NO_MATCH,
        lambda _: "CN=mx.sosie.test,O=HoPITAL,C=FR",
    ),
    Case(
        "ATT-15",
        "sans-accent",
        "accent missing in the list",
        named((C, "FR"), (O, "HÔPITAL"), (CN, "mx.sans-accent.test")),
        NOWHERE,
        NO_MATCH,
        lambda _: "CN=mx.sans-accent.test,O=HOPITAL,C=FR",
    ),
    Case(
        "ATT-15",
        "ordre",
        "other order of RDN",
        named((C, "FR"), (CN, "mx.ordre.test"), (O, "ESSAI")),
        NOWHERE,
        NO_MATCH,
        lambda _: "CN=mx.ordre.test,O=ESSAI,C=FR",
    ),
)
"""Bad certificates beyond the numbered rows."""

GOOD = (
    Case(
        "OP-32",
        "decompose",
        "decomposed letter, space before a bracket",  # V12: a decomposed letter is the composed one
        named((C, "FR"), (ST, "Rho\N{COMBINING CIRCUMFLEX ACCENT}ne (69)"), (CN, "mx.v12.test")),
        listed=lambda _: "CN=mx.v12.test,ST=Rhône(69),C=FR",
    ),
    Case(
        "OP-32",
        "espaces",
        "NBSP, double space, capitals, S for ST",  # V01, V03, V10
        named((C, "FR"), (O, "CH\N{NO-BREAK SPACE} VAL"), (ST, "Paris(75)"), (CN, "MX.V10.TEST")),
        listed=lambda _: 'CN=mx.v10.test, S=Paris (75),O="CH  VAL",C=FR',
    ),
    Case(
        "OP-32",
        "guillemets",
        "quotes and a comma in a value",  # V06, V08
        named((C, "FR"), (O, 'CENTRE "X, Y"'), (CN, "mx.v06.test")),
        listed=lambda _: 'CN=mx.v06.test,O="CENTRE X, Y",C=FR',
    ),
    Case(
        "OP-08",
        "dans-contrainte",
        "inside the name constraints of its authority",
        lambda space, subject: out_of_constraints(space, subject),
        sender="mx.contraint.test",
        subject=Subject("mx.contraint.test", "312345678900017", "ESSAI"),
    ),
)
"""Spellings and chains that are all right: the controls of `BAD`."""

CASES = MATRIX + BAD + GOOD
FAULTY = tuple(case for case in CASES if case.inbound)
