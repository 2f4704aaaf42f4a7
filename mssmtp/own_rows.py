"""The rows the list should hold for us, and how the published ones differ (OP-35, OP-80).

Own rows are changed by a request to the authority and a manual act there: what was asked for and
what was published are two things, and the second one decides whether peers let us in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from cryptography import x509

from mssmtp import pki
from mssmtp.config import Settings
from mssmtp.errors import ConfigError
from mssmtp.finding import Finding, Severity
from mssmtp.mail import DnKey, Domain
from mssmtp.tls_settings import load_certificate
from mssmtp.whitelist import Row, Whitelist

MAX_CELL = 255
_UTC = "%Y-%m-%dT%H:%M:%SZ"


class Column(StrEnum):
    """What may differ between an expected row and the published one."""

    ROW = "row"
    NAME = "DNCertificatOperateur"
    DESCRIPTION = "Description"
    RESPONSIBLE = "ResponsableContact"
    SUPPORT = "SupportContact"


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing published otherwise than it should be. None: nothing is there."""

    domain: Domain
    column: Column
    expected: str | None
    published: str | None

    def __str__(self) -> str:
        if self.column is Column.ROW:
            return f"no row binds it to {self.expected}: peers refuse that certificate for it"
        if self.column is Column.NAME:
            return f"also bound to {self.published}, no name of ours: its holder may speak for it"
        return f"{self.column} is « {self.published} » and should be « {self.expected} »"


# ---------------------------------------------------------------- what should be there


@dataclass(frozen=True, slots=True)
class _Texts:
    """Texts of a domain's rows; None: not told by the settings."""

    description: str | None
    responsible: str | None
    support: str | None


def _texts(settings: Settings, domain: Domain) -> _Texts:
    own, all_ = settings.domain_table(domain), settings.operator
    return _Texts(
        own.row_description or all_.row_description,
        own.responsible_contact or all_.responsible_contact,
        own.support_contact or all_.support_contact,
    )


def expected_rows(settings: Settings, now: datetime) -> tuple[Row, ...]:
    """A row per served domain and own name, in the order of the settings; `now` is its DateMAJ.

    A contact the settings do not give is empty: `lacking` says which. Raises ConfigError when a
    certificate of ours cannot be read or has no name the list could hold.
    """
    rows = []
    for domain in settings.operator.domains:
        texts = _texts(settings, domain)
        rows += [
            Row(
                domain,
                texts.description or f"Domaine de messagerie MSSanté {domain}",
                name,
                texts.responsible or "",
                texts.support or "",
                now.strftime(_UTC),
            )
            for name in own_names(settings)
        ]
    return tuple(rows)


def own_names(settings: Settings) -> tuple[str, ...]:
    """Names of our operator certificates, then those of `operator.other_names`, each once."""
    chains = (load_certificate(files).chain for files in settings.tls.operators)
    names = [*(listed_text(chain[0].subject) for chain in chains), *settings.operator.other_names]
    keys: dict[DnKey, str] = {}
    for name in names:
        key = pki.listed_name(name)
        if key is None:
            raise ConfigError(
                "operator.other_names",
                f"« {name} » can never match a certificate",
                "Write it as the list prints it: CN=…,OU=…,O=…,ST=…,C=FR.",
            )
        keys.setdefault(key, name)
    return tuple(keys.values())


def listed_text(name: x509.Name) -> str:
    """`name` as the list prints it: CN first, comma without space. Raises ConfigError."""
    text = pki.printed_name(name)
    key = pki.certificate_name(name)
    if key is None or pki.listed_name(text) != key or len(text) > MAX_CELL:
        raise ConfigError(
            f"certificate {text}",
            "has a name that no row of the list can hold",
            "Each part must be one plain text, and all of it 255 characters at most.",
        )
    return text


def lacking(settings: Settings) -> tuple[str, ...]:
    """Settings without which no row can be asked for."""
    texts = [_texts(settings, domain) for domain in settings.operator.domains]
    found = []
    if any(each.responsible is None for each in texts):
        found.append("operator.responsible_contact")
    if any(each.support is None for each in texts):
        found.append("operator.support_contact")
    return tuple(found)


# ---------------------------------------------------------------- what is published


def differences(
    settings: Settings, expected: Sequence[Row], published: Whitelist, now: datetime
) -> tuple[Difference, ...]:
    """What the published rows of our domains have otherwise; DateMAJ is the authority's own.

    A text that the settings do not give differs from nothing. While a domain moves (OP-101), the
    names of both operators are right, and either may be there.
    """
    ours = {key for row in expected if (key := pki.listed_name(row.dn)) is not None}
    found: list[Difference] = []
    for domain in dict.fromkeys(Domain(row.domain) for row in expected):
        names = [row.dn for row in expected if row.domain == domain]
        for name in names:
            there = published.row(domain, pki.listed_name(name) or ())
            if there is not None:
                found += _in_row(domain, _texts(settings, domain), there)
            elif not _moves(settings, domain, now):
                found.append(Difference(domain, Column.ROW, name, None))
        if not _moves(settings, domain, now):
            for key in sorted(published.names(domain) - ours):
                other = published.row(domain, key)
                found.append(Difference(domain, Column.NAME, None, other.dn if other else ""))
    return tuple(found)


def _moves(settings: Settings, domain: Domain, now: datetime) -> bool:
    table = settings.domain_table(domain)
    dates = (table.served_from, table.forward_only_until)
    return any(date is not None and now < date for date in dates)


def _in_row(domain: Domain, wanted: _Texts, there: Row) -> Iterator[Difference]:
    for column, expected, published in (
        (Column.DESCRIPTION, wanted.description, there.description),
        (Column.RESPONSIBLE, wanted.responsible, there.responsible),
        (Column.SUPPORT, wanted.support, there.support),
    ):
        if expected is not None and _plain(expected) != _plain(published):
            yield Difference(domain, column, expected, published)


def _plain(text: str) -> str:
    """Runs of white space, NBSP included, are one space: the list has both."""
    return " ".join(text.split())


def publication(
    settings: Settings, published: Whitelist | None, now: datetime
) -> Iterator[Finding]:
    """What `doctor` says of it. A domain without any name of ours is told elsewhere.

    A row that is missing beside another one of ours is no error: a certificate that waits for its
    publication is the usual reason (OP-21).
    """
    for name in lacking(settings):
        yield Finding(
            Severity.WARNING,
            name,
            "is not set: nobody notices when the list gives peers a wrong contact for us",
            "Write what the list should show; `mssmtp trust expected` prints the rows to ask for.",
        )
    if published is None:
        return
    found = differences(settings, expected_rows(settings, now), published, now)
    ours = {pki.listed_name(name) for name in own_names(settings)}
    for each in found:
        is_row = each.column is Column.ROW
        if is_row and not published.names(each.domain) & ours:
            continue
        yield Finding(
            Severity.WARNING if is_row else Severity.ERROR,
            f"published row of {each.domain}",
            str(each),
            "Send the rows of `mssmtp trust expected` to ANS, or correct our settings.",
        )
