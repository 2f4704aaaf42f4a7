"""The throw-away trust space as files: authority, list, homes, settings, accounts.

Nothing runs here; `running.py` starts what this module has laid down.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from mssmtp.accounts import NewBal, add_bal
from mssmtp.config import Settings, load
from mssmtp.config_example import Value, render
from mssmtp.demo import people, portal
from mssmtp.demo.authority import (
    CLIENT_ONLY,
    EMAIL_ONLY,
    RESPONSIBLE,
    SUPPORT,
    Authority,
    CertificateFiles,
    Identity,
    Make,
    Subject,
    card_name,
    crl_pem,
    row,
    write_private,
)
from mssmtp.demo.dns import Zone
from mssmtp.mail import Bal, BalType, Domain
from mssmtp.outside import Clock, Entropy
from mssmtp.storage import Store
from mssmtp.systems import system_of
from mssmtp.whitelist import Row

INTEROP = Domain("interop-mssante.apicrypt.test")
PATIENTS = Domain("patient.test")
INCIDENTS = Domain("incidents.test")
GUEST = Domain("guest.test")
"""Listed, with a certificate and an MX port, and nobody behind: for another vendor's server."""

HOSPITAL = Domain("chu-g.test")
"""Served by hopital-a: of a hospital that may put its own mail servers in front of it."""

USER_HOSTS = ("localhost", "127.0.0.1")


@dataclass(frozen=True, slots=True)
class Plan:
    """One operator before it exists. `listed` are the domains the signed list names for it."""

    name: str
    domains: tuple[Domain, ...]
    subject: Subject
    listed: tuple[Domain, ...]

    @property
    def mx(self) -> str:
        """Its mail host."""
        return f"mx.{self.domains[0]}"


PLANS = (
    Plan(
        "hopital-a",
        (Domain("hopital-a.test"), HOSPITAL),
        Subject("mx.hopital-a.test", "1990000017", "CENTRE HOSPITALIER A", "Rhône (69)"),
        (Domain("hopital-a.test"), HOSPITAL),
    ),
    Plan(
        "cabinet-b",
        (Domain("cabinet-b.test"),),
        Subject("mx.cabinet-b.test", "312345678900017", "CABINET MEDICAL B", "Isère (38)"),
        (Domain("cabinet-b.test"),),
    ),
    Plan(
        "patient",
        (PATIENTS,),
        Subject("mx.patient.test", "398765432100025", "ESPACE SANTE DE TEST", "Paris (75)"),
        (PATIENTS,),
    ),
    Plan(
        "apicrypt",
        (INTEROP, Domain("medical69.apicrypt.test")),
        Subject(
            "mx.interop-mssante.apicrypt.test", "356789012300011", "MESSAGERIE API", "Nord (59)"
        ),
        (INTEROP,),
    ),
    Plan(
        "hostile",
        (Domain("pirate.test"),),
        Subject("mx.pirate.test", "399999999900099", "OPERATEUR PIRATE", "Paris (75)"),
        (),
    ),
)

# The genuine list names two certificates for the patients' domain (OP-95).
SECOND_OF_PATIENTS = Subject(
    "mx2.patient.test", "398765432100025", "ESPACE SANTE DE TEST", "Paris (75)"
)
INCIDENTS_SUBJECT = Subject(
    "mx.incidents.test", "355555555500055", "INCIDENTS DE TEST", "Paris (75)"
)
HOSPITAL_SUBJECT = Subject("relais.chu-g.test", "1690000099", "CHU G", "Rhône (69)")
SYSTEM_SUBJECT = Subject("dpi.hopital-a.test", "1990000017", "CENTRE HOSPITALIER A", "Rhône (69)")
"""Of a patient record system: opens the APP box of each operator, on the listeners of systems."""
CARD_SUBJECT = Subject("899900099991")
CARD_NAME = card_name(CARD_SUBJECT.cn, "PORTAIL", "Ida")
GUEST_SUBJECT = Subject("mx.guest.test", "344444444400044", "OPERATEUR INVITE", "Aude (11)")


@dataclass(frozen=True, slots=True)
class Login:
    """An account of the manifest."""

    bal: Bal
    password: str


@dataclass(frozen=True, slots=True)
class Laid:
    """One operator's home, ready to be served."""

    plan: Plan
    config_file: Path
    settings: Settings
    certificate: CertificateFiles
    identity: Identity
    logins: tuple[Login, ...]


@dataclass(frozen=True, slots=True)
class Space:
    """Everything on disk. `misfits` are the certificates of the manifest that must be refused."""

    directory: Path
    base_port: int
    authority: Authority
    operators: tuple[Laid, ...]
    incidents: CertificateFiles
    patients: CertificateFiles
    guest: CertificateFiles
    hospital: CertificateFiles
    system: CertificateFiles
    card: CertificateFiles
    dn_changed: CertificateFiles
    misfits: Mapping[str, CertificateFiles]
    web: CertificateFiles
    zone: Zone

    @property
    def published(self) -> Path:
        """Directory of the HTTPS site with the list."""
        return self.directory / "published"

    @property
    def revocation(self) -> Path:
        """Directory of the HTTP site with the CRLs."""
        return self.directory / "revocation"

    @property
    def service_mail(self) -> Path:
        """What people are mailed at their usual addresses."""
        return self.directory / "service-mail"

    @property
    def card_file(self) -> Path:
        """The card of the holder of the portal, PKCS #12 with `CARD_PIN`."""
        return self.card.key_file.with_suffix(".p12")

    @property
    def ca_file(self) -> Path:
        """Root and intermediate, PEM."""
        return self.directory / "ca.pem"

    @property
    def crl_file(self) -> Path:
        """Both CRLs, PEM."""
        return self.directory / "crl.pem"

    def operator(self, name: str) -> Laid:
        """The operator of that short name."""
        return next(laid for laid in self.operators if laid.plan.name == name)


LIST_NAME = "listeblanche.xml"
CRL_NAMES = ("racine.crl", "organisations.crl")

# Offsets to the base port; operator i adds 1000·i to its own.
DNS_OFFSET, LIST_OFFSET, CRL_OFFSET, INCIDENTS_OFFSET, GUEST_OFFSET = 53, 443, 80, 26, 27
PSC_OFFSET = 444
WEB_OFFSET, CARD_OFFSET, RELAY_OFFSET = 445, 446, 28
"""The holders' pages, which the first operator has, where their cards are read, and the relay of
its service mail."""
CARD_PIN = "1234"
PSC_REALM = "/auth/realms/test"
PSC_OPERATOR, PSC_SOFTWARE = "operateur-essai", "lps-essai"
"""Registrations at the space's Pro Santé Connect: ours, and business software's."""
METRICS_OFFSET = 150
DOORS = {
    "operators": 25,
    "submission": 587,
    "submissions": 465,
    "imap": 143,
    "imaps": 993,
    "sieve": 190,
    "app_submission": 588,
    "app_submissions": 466,
    "app_imap": 144,
    "app_imaps": 994,
}


def ports(base_port: int) -> tuple[int, ...]:
    """Every port of the space; behind the guest's nobody listens."""
    published = (DNS_OFFSET, LIST_OFFSET, CRL_OFFSET, PSC_OFFSET)
    shared = (*published, WEB_OFFSET, CARD_OFFSET, RELAY_OFFSET, INCIDENTS_OFFSET, GUEST_OFFSET)
    own = (*DOORS.values(), METRICS_OFFSET)
    return tuple(base_port + offset for offset in shared) + tuple(
        base_port + 1000 * index + offset for index in range(len(PLANS)) for offset in own
    )


def lay(
    directory: Path,
    base_port: int,
    accounts: int,
    outside: tuple[Clock, Entropy],
    database: str | None = None,
) -> Space:
    """Write the whole space into `directory` (made when missing). About two seconds of RSA keys.

    `database`: where each operator's rows are, `{}` standing for its name; SQLite when None.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    now = outside[0].now()
    authority = Authority(now)
    identities = {
        plan.name: authority.issue(plan.subject, _user_make(plan, base_port)) for plan in PLANS
    }
    misfits = _misfits(authority, now, directory / "test-certificates")
    incidents = authority.issue(INCIDENTS_SUBJECT)
    patients = authority.issue(SECOND_OF_PATIENTS)
    guest = authority.issue(GUEST_SUBJECT, Make(hosts=USER_HOSTS))
    hospital = authority.issue(HOSPITAL_SUBJECT)
    system = authority.issue(SYSTEM_SUBJECT, Make(usages=CLIENT_ONLY))
    card = authority.issue(CARD_SUBJECT, Make(usages=CLIENT_ONLY, name=CARD_NAME))
    renamed = authority.issue(dataclasses.replace(INCIDENTS_SUBJECT, o="AUTRE RAISON SOCIALE"))
    web = authority.issue(Subject("liste.espace.test"), Make(hosts=USER_HOSTS))
    space_zone = _zone()
    (directory / "ca.pem").write_bytes(authority.anchors_pem)
    for client in (PSC_OPERATOR, PSC_SOFTWARE):
        write_private(psc_secret(directory, client), outside[1].token_bytes(24).hex().encode())
    publish_crls(authority, directory)
    publish_list(authority, directory, now, _rows(now))
    laid = tuple(
        _lay_operator(
            (directory, base_port + 1000 * index, base_port), plan, identities[plan.name], database
        )
        for index, plan in enumerate(PLANS)
    )
    with_accounts = tuple(
        _with_accounts(operator, accounts, index + 1, system, outside)
        for index, operator in enumerate(laid)
    )
    card_files = card.write(directory / "card", "ida")
    card.write_card(card_files.key_file.with_suffix(".p12"), CARD_PIN)
    return Space(
        directory,
        base_port,
        authority,
        with_accounts,
        incidents.write(directory / "incidents", "operator"),
        patients.write(directory / "incidents", "patients"),
        guest.write(directory / "guest", "operator"),
        hospital.write(directory / "hospital", "relay"),
        system.write(directory / "system", "dpi"),
        card_files,
        renamed.write(directory / "incidents", "renamed"),
        misfits,
        web.write(directory / "web", "web"),
        space_zone,
    )


def psc_secret(directory: Path, client: str) -> Path:
    """Where the secret of a registration is; its directory is made."""
    folder = directory / "psc"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder / f"{client}.secret"


def psc_url(base_port: int) -> str:
    """The issuer of the space's tokens."""
    return f"https://127.0.0.1:{base_port + PSC_OFFSET}{PSC_REALM}"


def publish_list(
    authority: Authority, directory: Path, date: datetime, rows: Sequence[Row]
) -> None:
    """Sign and publish a list; replaced atomically, as its server would."""
    target = directory / "published" / LIST_NAME
    target.parent.mkdir(exist_ok=True)
    fresh = target.with_suffix(".new")
    fresh.write_bytes(authority.sign_whitelist(rows, date))
    fresh.replace(target)


def publish_crls(authority: Authority, directory: Path) -> None:
    """Publish fresh CRLs over HTTP and as the PEM file of the manifest."""
    folder = directory / "revocation"
    folder.mkdir(exist_ok=True)
    ders = authority.crls()
    for name, der in zip(CRL_NAMES, ders, strict=True):
        fresh = folder / f"{name}.new"
        fresh.write_bytes(der)
        fresh.replace(folder / name)
    (directory / "crl.pem").write_bytes(crl_pem(ders))


def _user_make(plan: Plan, base_port: int) -> Make:
    # One certificate serves both kinds of door, so that a client's settings need no exception.
    return Make(hosts=(plan.mx, *USER_HOSTS), crl_urls=(_crl_url(base_port, CRL_NAMES[1]),))


def _crl_url(base_port: int, name: str) -> str:
    return f"http://127.0.0.1:{base_port + CRL_OFFSET}/{name}"


def _rows(now: datetime) -> list[Row]:
    rows = [row(domain, plan.subject.text, updated=now) for plan in PLANS for domain in plan.listed]
    rows.append(row(PATIENTS, SECOND_OF_PATIENTS.text, updated=now))
    rows.append(row(INCIDENTS, INCIDENTS_SUBJECT.text, updated=now))
    rows.append(row(GUEST, GUEST_SUBJECT.text, updated=now))
    return rows


def _zone() -> Zone:
    hosts = [plan.mx for plan in PLANS] + [
        "mx.incidents.test",
        "mx.guest.test",
        "relais.chu-g.test",
        "liste.espace.test",
    ]
    mx: dict[str, tuple[str, ...]] = {
        domain: (f"10 {plan.mx}.",) for plan in PLANS for domain in plan.domains
    }
    mx[INCIDENTS] = ("10 mx.incidents.test.",)
    mx[GUEST] = ("10 mx.guest.test.",)
    return Zone(mx=mx, a=dict.fromkeys(hosts, ("127.0.0.1",)))


def _misfits(authority: Authority, now: datetime, folder: Path) -> dict[str, CertificateFiles]:
    subject = PLANS[1].subject  # each claims to be cabinet-b, which is listed
    stranger = Authority(now)
    made = {
        "revoked": authority.issue(subject),
        "expired": authority.issue(
            subject, Make(now - timedelta(days=40), now - timedelta(days=10))
        ),
        "other_ca_same_name": stranger.issue(subject),
        "name_not_listed": authority.issue(Subject("mx.inconnu.test", "399999999900101")),
        "no_client_use": authority.issue(subject, Make(usages=EMAIL_ONLY)),
    }
    authority.revoke(made["revoked"])
    return {name: identity.write(folder, name) for name, identity in made.items()}


def _lay_operator(
    place: tuple[Path, int, int], plan: Plan, identity: Identity, database: str | None
) -> Laid:
    directory, port, base_port = place
    home = directory / plan.name
    home.mkdir(mode=0o700, exist_ok=True)
    files = identity.write(home / "certs", "operator")
    config = home / "mssmtp.toml"
    values = _values(plan, directory, port, base_port)
    if database is not None:
        values["store.database"] = database.replace("{}", plan.name)
    config.write_text(render(values), encoding="utf-8")
    return Laid(plan, config, load(config), files, identity, ())


def _values(plan: Plan, directory: Path, port: int, base_port: int) -> dict[str, Value]:
    values: dict[str, Value] = {
        "operator.name": plan.name,
        "operator.host_name": plan.mx,
        "operator.domains": tuple(plan.domains),
        "operator.responsible_contact": RESPONSIBLE,
        "operator.support_contact": SUPPORT,
        "store.home": "store",
        "store.master_key_file": "keys/master.key",
        "tls.operators.certificate_file": "certs/operator.pem",
        "tls.operators.key_file": "certs/operator.key",
        "tls.users.certificate_file": "certs/operator.pem",
        "tls.users.key_file": "certs/operator.key",
        "pki.anchors_file": str(directory / "ca.pem"),
        "pki.crl_urls": tuple(_crl_url(base_port, name) for name in CRL_NAMES),
        "whitelist.url": f"https://127.0.0.1:{base_port + LIST_OFFSET}/{LIST_NAME}",
        "whitelist.signer_subject": Authority.pin,
        "whitelist.first_within": "PT60S",
        "policy.patient_domains": PATIENTS,
        # Load is tried here: nobody is slowed.
        "policy.rates.per_hour": 0,
        "policy.rates.app_per_hour": 0,
        "policy.apicrypt.domains": "medical*.apicrypt.test",
        "policy.apicrypt.interop_domain": INTEROP,
        "smtp_out.nameservers": "127.0.0.1",
        "smtp_out.nameserver_port": base_port + DNS_OFFSET,
        "smtp_out.ports": _mx_ports(base_port),
        "psc.issuer": psc_url(base_port),
        "psc.introspection_url": f"{psc_url(base_port)}/protocol/openid-connect/token/introspect",
        "psc.client_id": PSC_OPERATOR,
        "psc.client_secret_file": str(psc_secret(directory, PSC_OPERATOR)),
        "psc.anchors_file": str(directory / "ca.pem"),
        "listen.metrics": f"127.0.0.1:{port + METRICS_OFFSET}",
    }
    if PATIENTS in plan.domains:
        values["operator.other_names"] = SECOND_OF_PATIENTS.text
    if plan is PLANS[0]:
        values |= _of_portal(directory, base_port)
    for door, offset in DOORS.items():
        values[f"listen.{door}"] = f"127.0.0.1:{port + offset}"
    return values


def _of_portal(directory: Path, base_port: int) -> dict[str, Value]:
    return {
        "listen.web": f"127.0.0.1:{base_port + WEB_OFFSET}",
        "web.certificate_file": "certs/operator.pem",
        "web.key_file": "certs/operator.key",
        "listen.card": f"127.0.0.1:{base_port + CARD_OFFSET}",
        # The space has one authority; a real operator names that of the cards.
        "web.cards.anchors_file": str(directory / "ca.pem"),
        "web.cards.crl_urls": tuple(_crl_url(base_port, name) for name in CRL_NAMES),
        "notices.relay_host": "127.0.0.1",
        "notices.relay_port": base_port + RELAY_OFFSET,
        "notices.relay_tls": "none",
        "notices.portal_url": f"https://localhost:{base_port + WEB_OFFSET}",
        "psc.redirect_uri": f"https://localhost:{base_port + WEB_OFFSET}/psc/retour",
    }


def _mx_ports(base_port: int) -> dict[str, int]:
    ports = {plan.mx: base_port + 1000 * i + DOORS["operators"] for i, plan in enumerate(PLANS)}
    ports["mx.incidents.test"] = base_port + INCIDENTS_OFFSET
    ports["mx.guest.test"] = base_port + GUEST_OFFSET
    return ports


def _with_accounts(
    laid: Laid, number: int, start: int, system: Identity, outside: tuple[Clock, Entropy]
) -> Laid:
    Store.create(laid.settings.store, *outside)
    store = Store(laid.settings.store, *outside, worker="demo")
    domain = laid.plan.domains[0]
    wanted = (
        list(people.patients(domain, number))
        if domain == PATIENTS
        else [*people.doctors(domain, number, start), *people.others(domain, start)]
    )
    try:
        logins = []
        for person in wanted:
            new = NewBal(person.address, person.type, person.state, person.national_id)
            added = add_bal(store, new, outside[1])
            logins.append(Login(added.bal, added.password))
            if added.bal.type is BalType.APP:
                _bind(store, added.bal, system)
        if laid.settings.listen.web is not None:
            portal.invite(store, laid.settings, *outside)
    finally:
        store.close()
    return Laid(
        laid.plan,
        laid.config_file,
        laid.settings,
        laid.certificate,
        laid.identity,
        tuple(logins),
    )


def _bind(store: Store, bal: Bal, system: Identity) -> None:
    """CL-15: the certificate opens the box."""
    known = system_of(system.certificate).fingerprint
    store.write(lambda w: w.bind_box("certificate", known, bal.id, SYSTEM_SUBJECT.cn)).result()


def first_doctor(laid: Laid) -> Login:
    """The first certified PER box, or the first box where there is none."""
    return next((login for login in laid.logins if login.bal.type is BalType.PER), laid.logins[0])
