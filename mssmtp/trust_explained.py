"""Why a certificate or a domain is let in or not, right now: row, rule and reason, both ways.

Asks the same functions the doors ask, and says which step of docs/trust.md decided.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from cryptography import x509

from mssmtp import pki, trust
from mssmtp.config import Settings
from mssmtp.errors import Reply
from mssmtp.mail import Address, DnKey, Domain, Operator
from mssmtp.own import Standing
from mssmtp.pki import CertificateRefused, Reason
from mssmtp.trust import PeerReason, PeerRefused, Snapshot
from mssmtp.whitelist import Row

Decision = Literal["accepted", "refused", "deferred"]
Way = Literal["inbound", "outbound"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What happens now in one direction. `reply` is the one the peer or the sender gets."""

    way: Way
    decision: Decision
    rule: str
    why: str
    remedy: str = ""
    reply: str = ""


@dataclass(frozen=True, slots=True)
class NumberedRow:
    """A row with its place in the list in force, counted from 1.

    None: a row of an earlier list that is still valid (`whitelist.grace_lists`).
    """

    number: int | None
    row: Row


@dataclass(frozen=True, slots=True)
class Near:
    """A listed name that is almost this one, and the parts that differ: list, certificate."""

    dn: str
    domains: tuple[Domain, ...]
    parts: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class Explained:
    """A domain or a certificate: its rows, both decisions, and what may have been meant."""

    what: str
    facts: tuple[tuple[str, str], ...]
    rows: tuple[NumberedRow, ...]
    verdicts: tuple[Verdict, ...]
    near: tuple[Near, ...] = ()
    hints: tuple[str, ...] = ()

    @property
    def is_accepted(self) -> bool:
        """Nothing is refused or deferred in either direction."""
        return all(each.decision == "accepted" for each in self.verdicts)


# ---------------------------------------------------------------- rules and remedies

_CERTIFICATE: dict[Reason, tuple[str, str]] = {
    "no certificate": ("OP-01", "Its server must present its IGC-Santé certificate."),
    "chain": ("OP-07, OP-08", "It must come from an authority of pki.anchors_file."),
    "expired": ("OP-08", "Its holder must install the renewed one."),
    "not yet valid": ("OP-08", "Wait for its first day; compare both clocks."),
    "revoked": ("OP-09", "Its holder must install another one; there is no exception."),
    "usage": ("OP-08, WT-44", "Its holder needs the product for servers (SERV SSL)."),
    "weak": ("OP-06", "Its holder needs RSA 2048 and SHA-256 or better."),
    "revocation unknown": ("OP-09", "See the CRLs in `mssmtp trust show`."),
}
_PEER: dict[PeerReason, tuple[str, str]] = {
    "no list": ("OP-28", "`mssmtp doctor` says why no list is in force."),
    "name not listed": ("OP-14, OP-32", "Its operator must have the authority list this name."),
    "domain not listed": ("OP-13, OP-30", "Compare the spelling; ask the operator when."),
    "name not of domain": (
        "OP-10, OP-11",
        "Call the contacts of the domain: the list must name this certificate for it.",
    ),
    "suspended": ("OP-79", "`mssmtp suspend list` says why; `mssmtp suspend … --end` ends it."),
}
_STEPS: dict[Way, dict[Reason | PeerReason, int]] = {
    "inbound": {
        "no certificate": 2,
        "no list": 4,
        "revocation unknown": 4,
        "name not listed": 5,
        "domain not listed": 7,
        "name not of domain": 8,
        "suspended": 2,
    },
    "outbound": {"domain not listed": 1, "name not listed": 5, "name not of domain": 5},
}
"""Of the tables of docs/trust.md; what is not here is the step that judges the certificate."""
_JUDGED: dict[Way, int] = {"inbound": 3, "outbound": 4}


def _verdict(way: Way, ask: Callable[[], str]) -> Verdict:
    """`ask` says why it is accepted, or raises what the door raises."""
    try:
        return Verdict(way, "accepted", f"every step, {way}", ask())
    except CertificateRefused as error:
        rows, remedy = _CERTIFICATE[error.reason]
        return _refusal(way, error, (f"certificate: {error.reason}", rows, remedy))
    except PeerRefused as error:
        rows, remedy = _PEER[error.reason]
        return _refusal(way, error, (error.reason, rows, remedy))


def _refusal(
    way: Way, error: CertificateRefused | PeerRefused, told: tuple[str, str, str]
) -> Verdict:
    why, rows, remedy = told
    step = _STEPS[way].get(error.reason, _JUDGED[way])
    decision: Decision = "refused" if error.reply.code >= 500 else "deferred"
    rule = f"step {step}, {way} ({rows})"
    return Verdict(way, decision, rule, why, remedy, _text(error.reply))


def _text(reply: Reply) -> str:
    return f"{reply.code} {reply.enhanced} {reply.text}"


# ---------------------------------------------------------------- a certificate


def of_certificate(
    chain: Sequence[x509.Certificate],
    snapshot: Snapshot,
    settings: Settings,
    now: datetime,
    domain: Domain | None = None,
) -> Explained:
    """What happens when this certificate comes, or is met; for `domain` when one is given."""
    leaf = chain[0]
    key = pki.certificate_name(leaf.subject)
    eku = settings.pki.require_eku

    def inbound() -> str:
        operator = trust.identify(chain, snapshot, now, require_eku=eku)
        if domain is not None:
            trust.bind(operator, Address("x", domain), snapshot)
        return f"may send as {_shown(operator, domain)}"

    def outbound() -> str:
        target = domain or _any_domain(chain, snapshot, now, require_eku=eku)
        operator = trust.judge_server(chain, target, snapshot, now, require_eku=eku)
        return f"may receive for {_shown(operator, domain)}"

    near = () if snapshot.whitelist is None or key is None else tuple(_near(key, snapshot, domain))
    bound = _numbered(snapshot, _bound(key or (), snapshot, domain))
    return Explained(
        what=pki.printed_name(leaf.subject),
        facts=_facts(leaf),
        rows=bound,
        verdicts=(_verdict("inbound", inbound), _verdict("outbound", outbound)),
        near=() if bound else near,
    )


def _bound(key: DnKey, snapshot: Snapshot, domain: Domain | None) -> Iterator[Row | None]:
    listed = snapshot.whitelist
    if listed is not None:
        for name in listed.domains_of(key):
            if domain in (None, name):
                yield listed.row(name, key)


def _any_domain(
    chain: Sequence[x509.Certificate], snapshot: Snapshot, now: datetime, *, require_eku: bool
) -> Domain:
    """One of the domains of this certificate. Raises what a server's judgement raises."""
    listed = snapshot.listed.domains_of(pki.certificate_name(chain[0].subject) or ())
    if listed:
        return min(listed)
    # The certificate itself is judged first, as for any domain.
    trust.identify(chain, snapshot, now, require_eku=require_eku)
    raise PeerRefused("name not listed", pki.serial_text(chain[0]))


def _shown(operator: Operator, domain: Domain | None) -> str:
    if domain is not None:
        return domain
    names = sorted(operator.domains)
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more


def _facts(leaf: x509.Certificate) -> tuple[tuple[str, str], ...]:
    return (
        ("serial", pki.serial_text(leaf)),
        ("issuer", pki.printed_name(leaf.issuer)),
        ("valid from", leaf.not_valid_before_utc.isoformat()),
        ("valid until", leaf.not_valid_after_utc.isoformat()),
    )


_LEAST_LIKENESS = 0.5


def _near(key: DnKey, snapshot: Snapshot, domain: Domain | None) -> Iterator[Near]:
    """Up to three listed names of the same CN, organisation number or domain, best first."""
    listed = snapshot.listed
    text = _joined(key)
    own = listed.names(domain) if domain is not None else frozenset()
    found = []
    for row in {row.dn: row for row in listed.rows}.values():
        other = pki.listed_name(row.dn)
        if other is None or other == key:
            continue
        shared = {r for r in key if r.type in ("CN", "OU")} & set(other)
        likeness = difflib.SequenceMatcher(None, text, _joined(other)).quick_ratio()
        if shared or other in own:
            found.append((other in own, len(shared), likeness, other, row.dn))
    for in_domain, _, likeness, other, dn in sorted(found, reverse=True)[:3]:
        if in_domain or likeness >= _LEAST_LIKENESS:
            yield Near(dn, tuple(sorted(listed.domains_of(other))), _parts(other, key))


def _joined(key: DnKey) -> str:
    return ",".join(f"{rdn.type}={rdn.value}" for rdn in key)


def _parts(listed: DnKey, own: DnKey) -> tuple[tuple[str, str, str], ...]:
    """RDN by RDN as compared: type, in the list, in the certificate; order counts too."""
    kinds = list(dict.fromkeys(rdn.type for rdn in (*listed, *own)))
    found = []
    for kind in kinds:
        one, other = (
            ", ".join(rdn.value for rdn in name if rdn.type == kind) for name in (listed, own)
        )
        if one != other:
            found.append((kind, one or "(none)", other or "(none)"))
    return tuple(found) or (("order", _joined(listed), _joined(own)),)


# ---------------------------------------------------------------- a domain


def of_domain(
    domain: Domain,
    snapshot: Snapshot,
    settings: Settings,
    now: datetime,
    standing: Standing | None = None,
) -> Explained:
    """Who may speak for it, and what happens to mail from and to it.

    `standing`: of a domain of ours, what the list says of it and since when (DEF-01).
    """
    is_ours = domain in settings.operator.domains

    def listed() -> None:
        if not snapshot.listed.lists(domain):
            raise PeerRefused("domain not listed")
        usable = snapshot.revocation.next_update if snapshot.revocation else None
        if usable is None or usable <= now:
            raise CertificateRefused("revocation unknown")

    def inbound() -> str:
        listed()
        return "from a server that presents one of the names below"

    def outbound() -> str:
        if is_ours:
            return "it is served here: delivered without another operator"
        listed()
        return "to a server of its MX that presents one of the names below"

    rows = _numbered(snapshot, snapshot.whitelist.rows_of(domain) if snapshot.whitelist else ())
    contacts = _contacts(rows)
    return Explained(
        what=domain,
        facts=(*_state(domain, settings, is_listed=bool(rows), standing=standing), *contacts),
        rows=rows,
        verdicts=(_verdict("inbound", inbound), _verdict("outbound", outbound)),
        hints=tuple(_hints(domain, snapshot)) if not rows else (),
    )


def _state(
    domain: Domain, settings: Settings, *, is_listed: bool, standing: Standing | None
) -> Iterator[tuple[str, str]]:
    if standing is None:
        yield "state", f"{'listed' if is_listed else 'not listed'}, of another operator"
        return
    since = f" since {standing.since:%Y-%m-%d}" if standing.since else ""
    yield "state", f"served here, {standing.state}{since}"
    if is_listed and not standing.ours:
        yield "why", "the list binds it to no certificate of ours: peers refuse our mail from it"
    table = settings.domain_table(domain)
    if table.served_from is not None:
        yield "served from", table.served_from.isoformat()
    if table.forward_only_until is not None:
        yield "forward only until", table.forward_only_until.isoformat()


def _contacts(rows: Sequence[NumberedRow]) -> Iterator[tuple[str, str]]:
    for label, texts in (
        ("responsible contact", (each.row.responsible for each in rows)),
        ("support contact", (each.row.support for each in rows)),
    ):
        distinct = dict.fromkeys(texts)
        if distinct:
            yield label, " / ".join(distinct)


def _hints(domain: Domain, snapshot: Snapshot) -> Iterator[str]:
    if snapshot.whitelist is None:
        return
    parent = domain.partition(".")[2]
    while "." in parent:
        if snapshot.whitelist.lists(Domain(parent)):
            yield f"{parent} is listed, but a listed parent covers no sub-domain (OP-30)"
        parent = parent.partition(".")[2]
    for near in difflib.get_close_matches(domain, sorted(snapshot.whitelist.domains), 3, 0.85):
        yield f"{near} is listed: was it meant?"


def _numbered(snapshot: Snapshot, rows: Iterable[Row | None]) -> tuple[NumberedRow, ...]:
    """The rows with their numbers, in the order of the list; those of earlier lists last."""
    if snapshot.whitelist is None:
        return ()
    numbers: dict[Row, int] = {}
    for number, row in enumerate(snapshot.whitelist.rows, start=1):
        numbers.setdefault(row, number)
    found = (NumberedRow(numbers.get(row), row) for row in rows if row is not None)
    return tuple(sorted(found, key=lambda each: each.number or len(numbers) + 1))
