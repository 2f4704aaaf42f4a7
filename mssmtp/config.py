"""Settings: one TOML file, checked whole before anything starts.

An unknown key is an error that names the nearest known one. The commented example files under
`config/` are generated from the descriptions here.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal, TypeVar, get_args
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from mssmtp.config_admin import AdminSettings
from mssmtp.config_base import MEBI, Cell, DomainName, Section, several
from mssmtp.config_bulk import BulkSettings, PreregSettings
from mssmtp.config_listen import Endpoint as Endpoint
from mssmtp.config_listen import ListenSettings as ListenSettings
from mssmtp.config_notices import NoticeSettings as NoticeSettings
from mssmtp.config_people import PeopleSettings
from mssmtp.config_policy import PolicySettings
from mssmtp.config_senders import GatewaySettings, MachineSettings, check_senders
from mssmtp.config_tokens import (
    AuthSettings,
    DirectorySettings,
    ProviderSettings,
    PscSettings,
    check_first_factors,
)
from mssmtp.config_trust import CertificateSettings as CertificateSettings
from mssmtp.config_trust import PkiSettings as PkiSettings
from mssmtp.config_trust import TlsSettings as TlsSettings
from mssmtp.config_trust import WhitelistSettings as WhitelistSettings
from mssmtp.config_web import WebSettings
from mssmtp.errors import ConfigError, own_words
from mssmtp.mail import Domain

S = TypeVar("S", bound=Section)


_NO_ZONE = (
    "« {} » is no time zone that this machine knows: write a name such as Europe/Paris, and install"
    " the package tzdata if that one is unknown too"
)


class OperatorSettings(Section):
    """Who we are."""

    name: str = Field(description="Short name of this operator, for logs and screens.")
    host_name: DomainName = Field(description="Name said in EHLO, banners and Received lines.")
    domains: tuple[DomainName, ...] = Field(
        description="Domains served here (DEF-01).", min_length=1
    )
    time_zone: str = Field(
        "Europe/Paris",
        description="The clock that people read, on pages, in service mails, reports and tables:"
        " a name such as Indian/Reunion. Logs, --json and letters' headers do not follow it.",
    )
    responsible_contact: Cell | None = Field(
        None,
        description="ResponsableContact of our rows in the list: name, e-mail. `trust expected`"
        " prints it, and another published text is an alarm (OP-35, OP-80).",
    )
    support_contact: Cell | None = Field(
        None, description="SupportContact of our rows: telephone, e-mail (OP-80)."
    )
    row_description: Cell | None = Field(
        None, description="Description of our rows; any published text is right when not set."
    )
    incident_contact: Cell | None = Field(
        None,
        description="Whom at the ANS to call about an incident: telephone, e-mail;"
        " `suspend list` prints it (OP-79).",
    )
    other_names: tuple[Cell, ...] = Field(
        (),
        description="Names of further certificates of ours that the list holds for these domains,"
        " as it prints them: of another server, or of a certificate to come (OP-35).",
    )

    @field_validator("time_zone")
    @classmethod
    def _is_a_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (KeyError, OSError, ValueError) as error:  # unknown; a directory; a path
            raise ValueError(_NO_ZONE.format(name)) from error
        return name

    @property
    def zone(self) -> ZoneInfo:
        """The clock of `time_zone`."""
        return ZoneInfo(self.time_zone)


class DomainSettings(Section):
    """What one domain has of its own: dates of a move between operators (OP-101), its contacts."""

    name: DomainName = Field(description="The domain.")
    served_from: datetime | None = Field(
        None,
        description="Until then its boxes are prepared here and its mail goes to the operator it"
        " comes from. With a time zone.",
    )
    forward_only_until: datetime | None = Field(
        None,
        description="It moves away: until then what comes here for its boxes goes on to the other"
        " operator the list names. Of a domain served elsewhere: its move is announced, and mail"
        " queued for it waits, listed or not. With a time zone.",
    )
    responsible_contact: Cell | None = Field(
        None, description="ResponsableContact of this domain, where it is another than ours."
    )
    support_contact: Cell | None = Field(
        None, description="SupportContact of this domain, where it is another than ours."
    )
    row_description: Cell | None = Field(None, description="Description of this domain's rows.")

    @field_validator("served_from", "forward_only_until")
    @classmethod
    def _with_zone(cls, moment: datetime | None) -> datetime | None:
        if moment is not None and moment.tzinfo is None:
            raise ValueError("a moment needs its time zone, as in 2026-03-01T08:00:00+01:00")
        return moment


class StoreSettings(Section):
    """The encrypted store (docs/sealing.md)."""

    home: Path = Field(description="Directory of the store; mode 0700, one server per home.")
    master_key_file: Path = Field(description="File of the 32-octet master key; mode 0600.")
    database: str | None = Field(
        None,
        description="PostgreSQL database of the rows, as postgresql://user@host/name, without a"
        " password. Not set: a SQLite file in the home.",
    )
    database_password_file: Path | None = Field(
        None,
        description="File that holds the password of the database, mode 0600. The passfile and the"
        " service file of PostgreSQL's own clients work too.",
    )
    database_commit: Literal["on", "remote_write", "remote_apply"] = Field(
        "on",
        description="What a commit waits for (synchronous_commit of PostgreSQL). It waits for"
        " standbys only where synchronous_standby_names of the server asks for them.",
    )
    small_octets: int = Field(
        131_072, description="Messages up to this size ride in the commit; larger ones are files."
    )
    facts_kept: timedelta = Field(
        timedelta(days=7), description="How long the sealed Facts of each decision are kept."
    )
    quota_octets: int = Field(
        2_147_483_648,
        ge=0,
        description="Room of a box that was given no quota of its own; 0: no limit.",
    )
    read_threads: int = Field(4, ge=1, le=64, description="Reading threads per worker.")

    @field_validator("database")
    @classmethod
    def _without_password(cls, url: str | None) -> str | None:
        """A settings file is read by many; the url is shown and logged."""
        if url is None:
            return None
        parts = urlsplit(url)
        if parts.scheme not in ("postgresql", "postgres"):
            raise ValueError("a database is named as postgresql://user@host/name")
        secret = {name.lower() for name, _ in parse_qsl(parts.query)} & {"password", "sslpassword"}
        if parts.password is not None or secret:
            raise ValueError(
                "a password has no place in the settings file:"
                " write it into a file of mode 0600 and name that as store.database_password_file"
            )
        return url


class LimitSettings(Section):
    """Sizes in octets, counts, times (messages.md §2)."""

    message_octets: int = Field(62_914_560, description="EHLO SIZE and APPENDLIMIT (OP-66).")
    attachment_octets: int = Field(10 * MEBI, description="One attachment, decoded (SEED-55).")
    attachments_octets: int = Field(40 * MEBI, description="All attachments, decoded (SEED-56).")
    patient_octets: int = Field(26_214_400, description="Whole message to a patient (DEF-18).")
    inbound: Literal["size", "same"] = Field(
        "size", description="Operator door: SIZE only, or the attachment limits too (OP-66)."
    )
    recipients: int = Field(100, ge=1, description="Recipients of one message.")
    future_release: timedelta = Field(
        timedelta(days=7),
        ge=timedelta(0),
        description="Longest HOLDFOR (RFC 4865); 0: not offered.",
    )
    header_octets: int = Field(262_144, description="Header section of a message.")
    mime_depth: int = Field(50, description="Nesting of MIME parts.")
    mime_parts: int = Field(1_000, description="MIME parts of a message.")
    command_octets: int = Field(12_288, description="One SMTP command line (DEF-02).")
    imap_line_octets: int = Field(65_536, description="One IMAP command without its literals.")
    imap_prelogin_literal_octets: int = Field(1_024, description="A literal before login (ATT-03).")
    imap_compress: bool = Field(
        False, description="IMAP COMPRESS=DEFLATE; clients were seen to stall with it (APL-04)."
    )
    connections: int = Field(2_000, description="Open connections per worker and door.")
    connections_per_address: int = Field(
        200, description="Of these, from one IPv4 address or one /64 of IPv6."
    )
    idle_smtp_s: float = Field(300.0, description="SMTP time without a command (RFC 5321 4.5.3.2).")
    idle_imap_s: float = Field(86_400.0, description="IMAP silence after login (GEN-08).")
    idle_prelogin_s: float = Field(120.0, description="IMAP time before login.")
    wrong_passwords: int = Field(5, description="Wrong passwords before a connection is closed.")


class QueueSettings(Section):
    """Outbound queue (OP-18)."""

    first_retry: timedelta = Field(timedelta(minutes=5), description="After the first failure.")
    longest_retry: timedelta = Field(timedelta(hours=1), description="Retries grow up to this.")
    give_up_after: timedelta = Field(timedelta(hours=48), description="Then a DSN goes out.")
    warn_after: timedelta = Field(timedelta(hours=4), description="One delay DSN.")
    lease: timedelta = Field(
        timedelta(minutes=15), description="A worker's hold on a recipient; lost when it dies."
    )
    connections_per_operator: int = Field(
        20, ge=1, description="At most at once to one operator; how many is learnt, beginning at 5."
    )
    idle_connection_s: float = Field(30.0, description="How long a connection is kept for more.")


class SmtpOutSettings(Section):
    """How peers are reached (OP-16)."""

    nameservers: tuple[str, ...] = Field((), description="Resolvers; the system's when empty.")
    nameserver_port: int = Field(53, description="Their port.")
    ports: dict[str, int] = Field(
        {}, description="MX host = port, for test spaces; everything else is port 25."
    )
    connect_timeout_s: float = Field(30.0, description="Time to connect.")
    command_timeout_s: float = Field(300.0, description="Time for one reply (RFC 5321 4.5.3.2).")


def loopback(place: str) -> tuple[str, int]:
    """Host and port of `127.0.0.1:3310`. Raises ValueError for any other machine."""
    host, _, port = place.rpartition(":")
    if not port.isdecimal() or not 0 < int(port) < 65_536 or not ip_address(host).is_loopback:
        raise ValueError(place)
    return host, int(port)


class AntivirusSettings(Section):
    """The scanner of messages that are submitted here or come from operators (OP-68)."""

    clamd: str | None = Field(
        None,
        description="Where clamd listens: its Unix socket, as /run/clamav/clamd.ctl, or a port of"
        " this machine, as 127.0.0.1:3310. Its StreamMaxLength is to be limits.message_octets or"
        " more. Not set: nothing is scanned, and `doctor` says so.",
    )
    timeout_s: float = Field(
        60.0,
        gt=0,
        description="Time for each of its answers. Without one a message is deferred (451 4.7.1).",
    )

    @field_validator("clamd")
    @classmethod
    def _of_this_machine(cls, place: str | None) -> str | None:
        """Mail goes to it in clear."""
        if place is None or place.startswith("/"):
            return place
        try:
            loopback(place)
        except ValueError as error:
            raise ValueError(
                "clamd is named by the path of its socket, from /, or as 127.0.0.1:3310"
            ) from error
        return place


class ImapSettings(Section):
    """What mail clients see."""

    patient_tree: Literal["inbox", "separate"] = Field(
        "inbox",
        description="Where mail from or to patients arrives (DEF-05): in INBOX with the rest, where"
        " the keyword $MSSPatient tells it apart, or in a mailbox Patients of its own.",
    )


class LogSettings(Section):
    """Logs carry no patient, at any level."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level.")


class Settings(Section):
    """The whole file."""

    operator: OperatorSettings
    domains: tuple[DomainSettings, ...] = Field(
        (),
        description="One table [[domains]] for each domain that moves between operators (OP-101)"
        " or has contacts of its own.",
    )
    store: StoreSettings
    listen: ListenSettings = Field(
        default_factory=ListenSettings,
        description="The doors. A door that is not named is closed. `published_port` in a door is"
        " what mail programs are told, where a relay of connections in front has another port.",
    )
    tls: TlsSettings
    pki: PkiSettings
    whitelist: WhitelistSettings = Field(default_factory=WhitelistSettings)
    limits: LimitSettings = Field(default_factory=LimitSettings)
    policy: PolicySettings = Field(default_factory=PolicySettings)
    people: PeopleSettings = Field(default_factory=PeopleSettings)
    queue: QueueSettings = Field(default_factory=QueueSettings)
    smtp_out: SmtpOutSettings = Field(default_factory=SmtpOutSettings)
    antivirus: AntivirusSettings = Field(default_factory=AntivirusSettings)
    gateways: Annotated[tuple[GatewaySettings, ...], BeforeValidator(several)] = Field(
        (),
        description="One table [[gateways]] for each hospital whose own mail servers stand in front"
        " of us; `mssmtp gateway init` writes it from the hospital's form (DEF-19).",
    )
    machines: Annotated[tuple[MachineSettings, ...], BeforeValidator(several)] = Field(
        (),
        description="One table [[machines]] for each scanner or analyser that sends through"
        " listen.appliances.",
    )
    auth: AuthSettings = Field(default_factory=AuthSettings)
    psc: PscSettings | None = None
    directories: Annotated[tuple[DirectorySettings, ...], BeforeValidator(several)] = Field(
        (),
        description="One table [[directories]] for each hospital whose people have their first"
        " factor in its own directory.",
    )
    providers: Annotated[tuple[ProviderSettings, ...], BeforeValidator(several)] = Field(
        (),
        description="One table [[providers]] for each hospital whose people have their first factor"
        " at its own OIDC provider.",
    )
    admin: AdminSettings = Field(default_factory=AdminSettings)
    bulk: BulkSettings = Field(default_factory=BulkSettings)
    prereg: PreregSettings = Field(default_factory=PreregSettings)
    imap: ImapSettings = Field(default_factory=ImapSettings)
    notices: NoticeSettings = Field(default_factory=NoticeSettings)
    web: WebSettings = Field(default_factory=WebSettings)
    log: LogSettings = Field(default_factory=LogSettings)

    def domain_table(self, name: Domain) -> DomainSettings:
        """The table [[domains]] of `name`; an empty one when it has none."""
        return next((each for each in self.domains if each.name == name), DomainSettings(name=name))

    @property
    def web_certificate(self) -> CertificateSettings | None:
        """What browsers are shown."""
        certificate, key = self.web.certificate_file, self.web.key_file
        if certificate is None or key is None:
            return None
        return CertificateSettings(certificate_file=certificate, key_file=key)

    @model_validator(mode="after")
    def _senders_are_apart(self) -> Settings:
        check_senders(self.gateways, self.machines, self.operator.domains)
        check_first_factors(self.directories, self.providers)
        return self

    @model_validator(mode="after")
    def _pages_have_a_certificate(self) -> Settings:
        if self.listen.web is not None and self.web.certificate_file is None:
            raise ValueError("listen.web: browsers want a certificate; name web.certificate_file")
        return self

    @model_validator(mode="after")
    def _cards_have_a_port(self) -> Settings:
        if (self.listen.card is None) != (self.web.cards is None):
            raise ValueError("listen.card and [web.cards] go together; set both")
        if self.listen.card is not None and self.listen.web is None:
            raise ValueError("listen.card: its browsers come from the pages; name listen.web too")
        if self.web.cards is not None and self.web.cards.max_version < self.tls.min_version:
            raise ValueError("web.cards.max_version is below tls.min_version; lower that one")
        return self

    @model_validator(mode="after")
    def _domains_are_told_once(self) -> Settings:
        told = [each.name for each in self.domains]
        for each in self.domains:
            if told.count(each.name) > 1:
                raise ValueError(f"domains: {each.name} has two tables; keep one")
            if each.served_from is not None and each.name not in self.operator.domains:
                raise ValueError(
                    f"domains: {each.name} is served from a date, but is not in operator.domains"
                )
            if each.served_from is not None and each.forward_only_until is not None:
                raise ValueError(f"domains: {each.name} either comes or leaves; keep one date")
        return self


def load(path: Path) -> Settings:
    """The settings of `path`; relative paths in it are relative to its directory.

    Raises ConfigError with what is wrong, why, and what to do.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            str(path), f"cannot be read ({error.strerror})", "Run `mssmtp init` to make one."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), f"is not TOML: {error}", "Correct the line named.") from error
    try:
        settings = Settings.model_validate(raw)
    except ValidationError as error:
        raise _explain(path, error) from error
    return _anchored(settings, path.resolve().parent)


def _explain(path: Path, error: ValidationError) -> ConfigError:
    found = error.errors(include_url=False)
    # A mistyped section is one unknown and one missing: the unknown one is what was written.
    first = next((each for each in found if each["type"] == "extra_forbidden"), found[0])
    where = ".".join(str(step) for step in first["loc"])
    if first["type"] == "extra_forbidden":
        known = list(known_keys(Settings))
        near = difflib.get_close_matches(where, known, 1, 0.4)
        hint = f"The nearest known setting is {near[0]}." if near else "Remove it."
        return ConfigError(f"{path}: {where}", "unknown setting", hint)
    if first["type"] == "missing":
        return ConfigError(f"{path}: {where}", "is missing", "Add it; `config/` has examples.")
    place = f"{path}: {where}" if where else str(path)  # of several settings together: no one place
    return ConfigError(place, own_words(first["msg"]), "Correct the value.")


def known_keys(section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every dotted setting name, depth first."""
    for name, field in section.model_fields.items():
        yield f"{prefix}{name}"
        for inner in (field.annotation, *get_args(field.annotation)):
            if isinstance(inner, type) and issubclass(inner, Section) and inner is not Endpoint:
                yield from known_keys(inner, f"{prefix}{name}.")


def _anchored(section: Settings, base: Path) -> Settings:
    """`section` with every relative path made absolute from `base`."""

    def fix(model: S) -> S:
        changed: dict[str, object] = {}
        for name in type(model).model_fields:
            value = getattr(model, name)
            if isinstance(value, Path) and not value.is_absolute():
                changed[name] = base / value
            elif isinstance(value, Section):
                changed[name] = fix(value)
            elif isinstance(value, tuple) and any(isinstance(each, Section) for each in value):
                changed[name] = tuple(fix(each) for each in value)
        return model.model_copy(update=changed)

    return fix(section)
