"""Both directions of a gateway tried dry: everything up to the letter itself (SEED-82).

Outbound the hospital's certificate, table and boxes are judged as the door would; inbound we knock
at the hospital's servers, say MAIL and RCPT, and take it back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from mssmtp import app, pki
from mssmtp.config import Settings
from mssmtp.errors import BadAddress, MailError
from mssmtp.finding import Finding, Severity
from mssmtp.gateway_form import Form, leaf_of, unknown
from mssmtp.gateways import Gateway, Gateways
from mssmtp.mail import Address, Bal
from mssmtp.revocation import judge_chain
from mssmtp.smtp.syntax import MailCommand, RcptCommand
from mssmtp.smtp_gateway import from_gateway
from mssmtp.smtp_hospital import Hospitals
from mssmtp.smtp_lookup import Services, destination
from mssmtp.storage import Store

_SHOWN = 5


def tried(settings: Settings, name: str, form: Form | None = None) -> tuple[Finding, ...]:
    """Findings about the gateway `name` of `settings`, in the order of a letter's way.

    `form`: what the hospital sent, whose certificates can then be judged too. Raises ConfigError.
    """
    gateways = Gateways.load(settings)
    gateway = next((each for each in gateways.all if each.name == name), None)
    if gateway is None:
        raise unknown(name)
    with app.store_of(settings) as store:
        trust = app.stored_trust(settings)
        services = app.services_of(settings, store, trust)
        found = [*_domains(services, gateway), *_table(services, gateway)]
        if form is not None:
            found += _certificates(services, form)
        correspondent = form.correspondent if form is not None else None
        found += asyncio.run(_directions(services, gateway, correspondent, store))
    return tuple(found)


def _ok(what: str, why: str) -> Finding:
    return Finding(Severity.OK, what, why)


def _domains(services: Services, gateway: Gateway) -> Iterator[Finding]:
    for domain in sorted(gateway.domains):
        state = services.keys.state(domain)
        if state == "listed":
            yield _ok(f"domain {domain}", "is listed for our certificate")
        else:
            yield Finding(
                Severity.ERROR,
                f"domain {domain}",
                f"is {state}: no other operator takes its mail, or brings any",
                "`mssmtp trust expected` prints the rows to send to the authority.",
            )


def _table(services: Services, gateway: Gateway) -> Iterator[Finding]:
    what = f"table of aliases, {len(gateway.aliases)} pairs"
    snapshot = services.trust.snapshot
    usual = sorted({each.domain for each in gateway.aliases.to_mss})
    for domain in usual:
        if snapshot.lists(domain):
            yield Finding(
                Severity.ERROR,
                what,
                f"{domain} is a domain of the trust space, not one of usual addresses",
                "Write usual;mssante on each line.",
            )
    pairs = list(gateway.aliases.to_mss.items())

    def looked(boxes: list[tuple[Bal | None, Bal | None]]) -> Iterator[Finding]:
        missing = [mss for (_, mss), (box, _) in zip(pairs, boxes, strict=True) if box is None]
        if missing:
            yield Finding(
                Severity.ERROR, what, f"no box {_some(missing)}", "`mssmtp bal add` makes it."
            )
        others = [
            usual
            for (usual, mss), (_, holder) in zip(pairs, boxes, strict=True)
            if holder is not None and holder.address != mss
        ]
        if others:
            yield Finding(
                Severity.ERROR,
                what,
                f"{_some(others)} is registered as the usual address of another box",
                "Correct the line, or the box (`mssmtp bal show`).",
            )
        if not missing and not others:
            yield _ok(what, "every MSSanté address has its box, no usual address is another's")

    read = services.store.read(
        lambda r: [(r.bal(mss), r.bal_by_usual(usual)) for usual, mss in pairs]
    )
    yield from looked(read.result())


def _some(addresses: list[Address]) -> str:
    shown = ", ".join(map(str, addresses[:_SHOWN]))
    more = len(addresses) - _SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _certificates(services: Services, form: Form) -> Iterator[Finding]:
    snapshot, now = services.trust.snapshot, services.clock.now()
    for file in form.outbound.certificates:
        leaf = leaf_of(file)
        what = f"certificate {pki.printed_name(leaf.subject)}"
        try:
            judge_chain((leaf,), snapshot.anchors, snapshot.revocation, pki.Role.CLIENT, now)
        except pki.CertificateRefused as error:
            yield Finding(
                Severity.ERROR,
                what,
                f"is refused at the door: {error.reason}",
                "The hospital orders a certificate of IGC-Santé, Élémentaire Organisations.",
            )
        else:
            yield _ok(what, f"is good until {leaf.not_valid_after_utc:%Y-%m-%d}")


async def _directions(
    services: Services, gateway: Gateway, correspondent: str | None, store: Store
) -> list[Finding]:
    found = []
    for usual, mss in list(gateway.aliases.to_mss.items())[:1]:
        found.append(await _outbound(services, gateway, (usual, mss), correspondent))
    if not gateway.aliases.to_mss:
        why = "there is no table: the hospital's servers must write MSSanté addresses themselves"
        found.append(_ok("outbound, dry", why))
    if gateway.settings.hosts:
        found += await _inbound(services, gateway, store)
    elif gateway.ways.forwards:
        found.append(Finding(Severity.ERROR, "inbound, dry", "no host is named", "Name one."))
    return found


async def _outbound(
    services: Services, gateway: Gateway, pair: tuple[Address, Address], correspondent: str | None
) -> Finding:
    """What the door would answer to MAIL and RCPT of the first pair of the table."""
    usual, mss = pair
    what = f"outbound, dry: MAIL FROM:<{usual}>"
    try:
        transaction = await from_gateway(services, gateway, MailCommand(mss))
        if correspondent is None:
            return _ok(what, f"is taken as {mss}; name a correspondent in the form to try RCPT too")
        to = Address.parse(correspondent)
        accepted = await destination(services, transaction, RcptCommand(to))
    except (MailError, BadAddress) as error:
        return Finding(Severity.ERROR, what, str(error.reply), "docs/errors.md tells the cure.")
    return _ok(what, f"is taken as {mss}, RCPT TO:<{accepted.recipient.address}> too")


async def _inbound(services: Services, gateway: Gateway, store: Store) -> list[Finding]:
    hospitals = Hospitals(Gateways((gateway,)), app.towards(services), store)
    box = next(iter(gateway.aliases.to_usual), None)
    if box is None:
        box = Address("postmaster", min(gateway.domains))
    what = f"inbound, dry: {', '.join(gateway.settings.hosts)}"
    try:
        reply = await hospitals.knock(box)
    except MailError as error:
        remedy = "docs/gateway.md, « From us to the hospital », says what its servers need."
        return [Finding(Severity.ERROR, what, _reason(error), remedy)]
    finally:
        await hospitals.close()
    if not reply.is_positive:
        remedy = "The hospital's server must take this address from us: see its own log."
        return [Finding(Severity.ERROR, what, f"RCPT TO of {box}: {reply}", remedy)]
    return [_ok(what, f"TLS, certificate, MAIL and RCPT TO of {box} are good ({reply.code})")]


def _reason(error: MailError) -> str:
    """What happened, when it is known, then what a sender would be told."""
    said = str(error.reply)
    return said if error.reply.text in str(error) else f"{error}: {said}"
