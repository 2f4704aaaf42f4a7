"""What `mssmtp doctor` says of our keys, certificates, domains and trust space."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from mssmtp.config import CertificateSettings, Settings
from mssmtp.errors import ConfigError
from mssmtp.finding import Finding, Severity
from mssmtp.own.judging import check_holder, digest_of, foreign_uses, name_of, problems
from mssmtp.own.keys import BETWEEN_OPERATORS, FOR_USERS, host_names
from mssmtp.own.memory import CrlSeen, Memory, OwnFiles
from mssmtp.own.spaces import check_home, check_space, space_in_force
from mssmtp.own.standing import Standing, standings
from mssmtp.own.watch import EndIn, crl_urls
from mssmtp.pki import Anchors, printed_name
from mssmtp.tls_settings import OwnCertificate, load_certificate
from mssmtp.whitelist import Whitelist

_CRL_SEEN_WITHIN = timedelta(hours=48)
_NOBODY_ELSE = (
    "IGC-Santé is no public authority: mail programs and phones must be given its root once"
    " (docs/certificates.md)"
)


@dataclass(frozen=True, slots=True)
class _Scene:
    """What everything is looked at with."""

    settings: Settings
    now: datetime
    listed: Whitelist | None
    memory: Memory


def findings(settings: Settings, now: datetime, listed: Whitelist | None) -> Iterator[Finding]:
    """Everything of ours; `listed` None: no list is in force."""
    scene = _Scene(settings, now, listed, OwnFiles(settings.store.home).memory())
    yield from _guarded(lambda: _space(scene))
    several = len(settings.tls.operators) > 1
    held: list[OwnCertificate] = []
    for number, files in enumerate(settings.tls.operators, start=1):
        what = f"certificate {number} for operators" if several else "certificate for operators"
        anchors = settings.pki.anchors_file
        yield from _guarded(partial(_pair, scene, what, files, anchors, held))
    users: list[OwnCertificate] = []
    anchors = settings.pki.users_anchors_file or settings.pki.anchors_file
    yield from _guarded(
        partial(_pair, scene, "certificate for users", settings.tls.users, anchors, users)
    )
    for own in users:
        yield from _for_users(settings, own)
    yield from _domains(scene, held)
    yield from _waiting(scene, held)
    yield from _crls(scene, [*held, *users])


def _guarded(look: Callable[[], Iterable[Finding]]) -> list[Finding]:
    """One broken file hides nothing else."""
    try:
        return list(look())
    except ConfigError as error:
        return [Finding(Severity.ERROR, error.what, error.why, error.remedy)]


def _space(scene: _Scene) -> Iterator[Finding]:
    space = space_in_force(scene.settings)
    check_home(scene.settings.store.home, scene.memory.space, space)
    yield Finding(Severity.OK, "trust space", f"{space}, in every set of authorities")


# ---------------------------------------------------------------- one pair


def _pair(
    scene: _Scene,
    what: str,
    files: CertificateSettings,
    anchors_file: Path,
    held: list[OwnCertificate],
) -> Iterator[Finding]:
    """Files, holder, space, chain, end. `held` gets what can be loaded."""
    own = load_certificate(files)
    held.append(own)
    is_users = what == "certificate for users"
    check_space(own, space_in_force(scene.settings))
    served = frozenset(scene.settings.operator.domains)
    check_holder(own, served, None if is_users else scene.listed, scene.memory)
    anchors = Anchors.load(anchors_file)
    roles = FOR_USERS if is_users else BETWEEN_OPERATORS
    found = tuple(problems(own, anchors, roles, scene.now))
    for problem in found:
        yield Finding(Severity.ERROR, what, problem.why, problem.remedy)
    if not found:
        yield _end(what, own, scene.now)
    yield from _not_in_use(scene, what, own)
    for use in foreign_uses(own, served, scene.memory):
        yield Finding(
            Severity.ERROR,
            what,
            f"another operator presents the same key: {use.name}",
            "Make a new key and have a new certificate issued; tell ANS: one of you has a copy.",
        )


def _end(what: str, own: OwnCertificate, now: datetime) -> Finding:
    left = own.leaf.not_valid_after_utc - now
    if left > EndIn.SOON:
        return Finding(Severity.OK, what, f"valid for {left.days} days, with its whole chain")
    why = f"expires in {left.days} days"
    if left > EndIn.NEAR:
        return Finding(Severity.WARNING, what, why, "Order the next one: ANS takes weeks.")
    remedy = (
        "Order the next one with the same name, and put both files in the place of these:"
        " the server takes them up by itself."
    )
    return Finding(Severity.WARNING if left > EndIn.NOW else Severity.ERROR, what, why, remedy)


def _not_in_use(scene: _Scene, what: str, own: OwnCertificate) -> Iterator[Finding]:
    """The server found the new pair bad, or has not seen it: it goes on with the old one."""
    file = str(own.files.certificate_file)
    why = scene.memory.refused.get(file)
    if why is not None and scene.memory.in_use.get(file) != digest_of(own):
        yield Finding(
            Severity.ERROR,
            what,
            f"the server goes on with the pair before this one, until it is restarted: {why}",
            "Correct the files, or put the former pair back.",
        )


def _for_users(settings: Settings, own: OwnCertificate) -> Iterator[Finding]:
    host = settings.operator.host_name
    if host not in host_names(own.leaf):
        yield Finding(
            Severity.WARNING,
            "certificate for users",
            f"does not name {host}: mail programs set up with that name refuse it",
            "Order it for the name that people type, or give them another of its names.",
        )
    roots = {printed_name(each.issuer) for each in own.chain}
    yield Finding(Severity.OK, "mail programs", f"{_NOBODY_ELSE}; issuer here: {max(roots)}")


# ---------------------------------------------------------------- domains


def _domains(scene: _Scene, held: list[OwnCertificate]) -> Iterator[Finding]:
    if scene.listed is None:
        return
    leaves = tuple(own.leaf for own in held)
    served = scene.settings.operator.domains
    for each in standings(served, leaves, scene.listed, scene.memory):
        yield _domain(each)


def _domain(each: Standing) -> Finding:
    since = f" since {each.since:%Y-%m-%d}" if each.since else ""
    if each.state == "listed":
        return Finding(Severity.OK, each.domain, f"listed{since} with our certificate's name")
    if each.others:
        return Finding(
            Severity.ERROR,
            each.domain,
            f"{each.state}{since}; listed, but not with the name of our certificate:"
            " peers refuse us",
            "Install the listed certificate, or ask ANS to add this name.",
        )
    if each.state == "withdrawn":
        return Finding(
            Severity.ERROR,
            each.domain,
            f"withdrawn{since}: no longer in the whitelist, nothing is exchanged for it",
            "Ask ANS why; mail to other operators is refused, and what is queued waits.",
        )
    return Finding(
        Severity.ERROR,
        each.domain,
        f"requested{since}: not in the whitelist: nothing is exchanged for it outside this server",
        "Declare it to ANS (contract, test, the six columns of the row). Boxes can be prepared.",
    )


def _waiting(scene: _Scene, held: list[OwnCertificate]) -> Iterator[Finding]:
    """OP-21: loaded, not listed for any domain, hence presented for none."""
    if scene.listed is None or len(held) < 2:
        return
    names = {name for d in scene.settings.operator.domains for name in scene.listed.names(d)}
    for own in held:
        if name_of(own) not in names:
            since = scene.memory.waiting.get(digest_of(own))
            shown = f" since {since[:10]}" if since else ""
            yield Finding(
                Severity.WARNING,
                str(own.files.certificate_file),
                f"waits{shown} for its name in the whitelist, and is presented to nobody:"
                f" {printed_name(own.leaf.subject)}",
                "Ask ANS to publish this name for our domains (`mssmtp trust expected`).",
            )


# ---------------------------------------------------------------- CRLs of our certificates


def _crls(scene: _Scene, held: list[OwnCertificate]) -> Iterator[Finding]:
    """CL-10: who checks our certificates needs these."""
    for url in dict.fromkeys(url for own in held for url in crl_urls(own.chain)):
        seen = scene.memory.crls.get(url)
        if seen is not None:
            yield _crl(url, seen, scene.now)


def _crl(url: str, seen: CrlSeen, now: datetime) -> Finding:
    what = f"CRL of our certificate {url}"
    ends = datetime.fromisoformat(seen.ends) if seen.ends else None
    last = datetime.fromisoformat(seen.seen) if seen.seen else None
    if ends is not None and ends <= now:
        return Finding(
            Severity.ERROR,
            what,
            f"ended on {ends:%Y-%m-%d %H:%M} UTC: who checks it refuses us",
            "Its authority publishes it: tell the authority.",
        )
    if seen.trouble:
        is_old = last is None or now - last > _CRL_SEEN_WITHIN
        shown = f"{last:%Y-%m-%d %H:%M} UTC" if last else "never"
        return Finding(
            Severity.ERROR if is_old else Severity.WARNING,
            what,
            f"cannot be had ({seen.trouble}); last seen: {shown}",
            "Check the network from here; if others miss it too, tell its authority.",
        )
    return Finding(Severity.OK, what, f"reachable, good until {ends:%Y-%m-%d %H:%M} UTC")
