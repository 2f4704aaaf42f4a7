"""The certificates we present, as their files hold them now: chosen by domain, renewed in place.

Between operators the one is presented that the whitelist names for the domain in question (OP-20);
one that is not listed yet is loaded and waits (OP-21).
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import NameOID

from mssmtp.config import CertificateSettings, Settings
from mssmtp.errors import ConfigError, MailError, Reply
from mssmtp.mail import DnKey, Domain, DomainState, Operator
from mssmtp.outside import Clock
from mssmtp.own.judging import (
    check_holder,
    digest_of,
    key_digest,
    key_of,
    name_of,
    problems,
)
from mssmtp.own.memory import KeyUse, Memory, OwnFiles
from mssmtp.own.spaces import check_home, check_space, space_in_force
from mssmtp.pki import Anchors, Role, Space, printed_name
from mssmtp.tls_settings import OwnCertificate, Presenter, load_certificate
from mssmtp.trust import Snapshot, Trust
from mssmtp.whitelist import Whitelist

logger = logging.getLogger(__name__)

BETWEEN_OPERATORS = (Role.SERVER, Role.CLIENT)
FOR_USERS = (Role.SERVER,)
_MET = 4_096
"""Ten times the names of the national list."""

Version = tuple[int, ...]


class NotPresentable(MailError):
    """No certificate of ours is listed for the domain we would speak for."""

    smtp = Reply(
        451,
        "4.7.5",
        "Aucun certificat de cet opérateur n'est publié pour ce domaine ; nouvel essai plus tard.",
    )


@dataclass(slots=True)
class Slot:
    """One pair of files, and what of it is in use. `refused`: why their content of now is not."""

    files: CertificateSettings
    roles: tuple[Role, ...]
    anchors: Anchors
    own: OwnCertificate
    version: Version
    seen: Version = ()
    refused: str = ""


@dataclass(frozen=True, slots=True)
class _Choice:
    """Who is presented for what, under one list and one set of certificates."""

    listed: Whitelist | None
    held: tuple[OwnCertificate, ...]
    by_domain: Mapping[Domain, tuple[OwnCertificate, ...]]
    widest: tuple[OwnCertificate, ...]
    """The listed ones, who speaks for most domains first."""
    missing: tuple[Domain, ...]
    """Served domains with none; asked for at every message, and mostly empty."""


class OwnKeys:
    """Asked by every door and by the pool; `refresh` now and then. One event loop."""

    def __init__(
        self,
        settings: Settings,
        trust: Trust,
        clock: Clock,
        *,
        before: tuple[OwnCertificate, ...] = (),
    ) -> None:
        """Raises ConfigError: files, modes, the other trust space, somebody else's key.

        `before`: pairs that were good when the server started. A worker that replaces another goes
        on from them, so that files which somebody is just spoiling keep it from nothing.
        """
        self._settings, self._trust, self._clock = settings, trust, clock
        self._before = before
        self._served = frozenset(settings.operator.domains)
        self._space = space_in_force(settings)
        self.files = OwnFiles(settings.store.home)
        self._remembered = (self.files.version(), self.files.memory())
        check_home(settings.store.home, self.memory.space, self._space)
        anchors = trust.snapshot.anchors
        users = settings.pki.users_anchors_file
        of_users = anchors if users is None else Anchors.load(users)
        self.slots = [
            self._slot(each, BETWEEN_OPERATORS, anchors) for each in settings.tls.operators
        ]
        self.users = self._slot(settings.tls.users, FOR_USERS, of_users)
        self._choice: _Choice | None = None
        if before:
            self.refresh()
            self.refresh()
        self._met: dict[tuple[str, str], KeyUse] = {}

    def _slot(self, files: CertificateSettings, roles: tuple[Role, ...], anchors: Anchors) -> Slot:
        """What is there at the start is used unless it is dangerous: a certificate that has ended
        is trusted by nobody, but the mail here can still be read."""
        # Of one pair for both, the users' stands last: it knows the sessions to be taken up again.
        before = reversed(self._before) if roles == FOR_USERS else self._before
        known = next((own for own in before if own.files == files), None)
        if known is not None:
            check_space(known, self._space)
            return Slot(files, roles, anchors, known, ())
        version = _version(files)
        own = load_certificate(files)
        self._check(own, is_between_operators=roles == BETWEEN_OPERATORS)
        return Slot(files, roles, anchors, own, version, version)

    def _check(self, own: OwnCertificate, *, is_between_operators: bool) -> None:
        check_space(own, self._space)
        listed = self._trust.snapshot.whitelist if is_between_operators else None
        check_holder(own, self._served, listed, self.memory)

    @property
    def pairs(self) -> tuple[OwnCertificate, ...]:
        """Everything in use."""
        return tuple(slot.own for slot in (*self.slots, self.users))

    @property
    def space(self) -> Space:
        """The trust space in force."""
        return self._space

    @property
    def memory(self) -> Memory:
        """What the home remembers, read again when it has changed."""
        version = self.files.version()
        if version != self._remembered[0]:
            self._remembered = (version, self.files.memory())
        return self._remembered[1]

    # ------------------------------------------------------------ who is presented

    @property
    def between_operators(self) -> Presenter:
        """For the operator door."""
        return _Presents(self._for_server_name)

    @property
    def to_users(self) -> Presenter:
        """For 587, 465, 143 and 993."""
        return _Presents(lambda _: self.users.own)

    def for_sender(self, domain: Domain | None) -> OwnCertificate:
        """The client certificate for mail of `domain`; of anybody's when None or not ours.

        Raises NotPresentable.
        """
        now = self._clock.now()
        if domain in self._served and domain is not None:
            fit = self._chosen().by_domain.get(domain, ())
        else:
            fit = self._chosen().widest
        if not fit:
            raise NotPresentable
        return _best(fit, self._trust.snapshot, now)

    def may_speak(self, own: OwnCertificate, domain: Domain | None) -> bool:
        """May a connection opened with `own` carry mail of `domain` too?"""
        if domain is None or domain not in self._served:
            return True
        # Chosen for it, or replaced since by one of the same name.
        fit = self._chosen().by_domain.get(domain, ())
        return own in fit or name_of(own) in self._names(domain)

    def state(self, domain: Domain) -> DomainState:
        """Where a served domain stands in the list (DEF-01); without a list, as remembered."""
        if self._trust.snapshot.whitelist is None:
            known = self.memory.domains.get(domain, ())
            return known[-1].state if known else "requested"
        if self._chosen().by_domain.get(domain):
            return "listed"
        return "withdrawn" if self.memory.was_listed(domain) else "requested"

    @property
    def unlisted(self) -> tuple[tuple[Domain, DomainState], ...]:
        """Served domains that exchange with nobody outside; none without a list, when nobody can.

        A domain that moves has dates of its own (OP-101).
        """
        if self._trust.snapshot.whitelist is None:
            return ()
        missing = self._chosen().missing
        return tuple((each, self.state(each)) for each in missing if not self._moves(each))

    def _moves(self, domain: Domain) -> bool:
        table = self._settings.domain_table(domain)
        awaited = table.served_from is not None and self._clock.now() < table.served_from
        return awaited or table.forward_only_until is not None

    def _for_server_name(self, server_name: str | None) -> OwnCertificate:
        fit = self._chosen().widest
        if not fit:  # nobody can trust us yet; a peer still reads why in our reply
            return self.slots[0].own
        wanted = server_name.lower() if server_name else None
        named = tuple(own for own in fit if wanted in host_names(own.leaf))
        return _best(named or fit, self._trust.snapshot, self._clock.now())

    def _chosen(self) -> _Choice:
        """Worked out once for each list and each renewal."""
        listed, known = self._trust.snapshot.whitelist, self._choice
        held = tuple(slot.own for slot in self.slots)
        if known is None or known.listed is not listed or known.held != held:
            ours = [(own, name_of(own)) for own in held]
            by_domain: dict[Domain, tuple[OwnCertificate, ...]] = {}
            for domain in self._served:
                names = listed.names(domain) if listed is not None else frozenset()
                by_domain[domain] = tuple(own for own, name in ours if name in names)
            counted = Counter(own for several in by_domain.values() for own in several)
            widest = sorted((own for own in held if own in counted), key=lambda own: -counted[own])
            missing = tuple(d for d in self._settings.operator.domains if not by_domain[d])
            known = self._choice = _Choice(listed, held, by_domain, tuple(widest), missing)
        return known

    def _names(self, domain: Domain) -> frozenset[DnKey]:
        listed = self._trust.snapshot.whitelist
        return frozenset() if listed is None else listed.names(domain)

    # ------------------------------------------------------------ keys of others

    def met(self, operator: Operator, chain: Sequence[x509.Certificate]) -> None:
        """A peer judged good: its key is remembered, and an alarm when it is ours (ATT-43)."""
        who = (operator.issuer_text, operator.serial)
        if who in self._met or not chain:
            return
        use = KeyUse(key_digest(chain[0]), operator.dn_text, tuple(sorted(operator.domains)))
        if len(self._met) >= _MET:
            self._met.clear()
        self._met[who] = use
        held = (slot.own for slot in (*self.slots, self.users))
        if any(use.key == key_of(own) and operator.dn != name_of(own) for own in held):
            facts = {"subject": use.name, "serial": operator.serial}
            logger.error("alarm: a peer presents our own key", extra=facts)

    @property
    def met_keys(self) -> tuple[KeyUse, ...]:
        """Of the peers of this process, lately."""
        return tuple(self._met.values())

    # ------------------------------------------------------------ renewal

    def refresh(self) -> None:
        """Take up pairs that were renewed on disk; a bad one is refused and the old one stays."""
        for slot in (*self.slots, self.users):
            version = _version(slot.files)
            if version == slot.version:
                slot.refused, slot.seen = "", version
            elif version != slot.seen:
                slot.seen = version  # two files are written one after the other: look again
            else:
                self._renew(slot, version)

    def _renew(self, slot: Slot, version: Version) -> None:
        try:
            own = load_certificate(slot.files)
            if own.chain != slot.own.chain:
                self.check_renewal(slot, own)
        except ConfigError as error:
            # One pair may serve both kinds of door: it is said once.
            is_new = str(error) not in {each.refused for each in (*self.slots, self.users)}
            slot.refused = str(error)
            if is_new:
                facts = {"what": error.what, "why": error.why, "remedy": error.remedy}
                logger.error("new certificate refused: the old one stays in use", extra=facts)
            return
        if own.chain == slot.own.chain:
            slot.version, slot.refused = version, ""  # written again, or a worker that starts
            return
        slot.own, slot.version, slot.refused = own, version, ""
        facts = {
            "file": str(slot.files.certificate_file),
            "subject": printed_name(own.leaf.subject),
            "ends": own.leaf.not_valid_after_utc.isoformat(),
        }
        logger.info("own certificate renewed", extra=facts)

    def check_successor(self, new: OwnKeys) -> None:
        """What keys of changed settings must pass to replace these. Raises ConfigError."""
        known = {digest_of(slot.own) for slot in (*self.slots, self.users)}
        for slot in (*new.slots, new.users):
            if digest_of(slot.own) in known:
                continue
            for problem in problems(slot.own, slot.anchors, slot.roles, self._clock.now()):
                raise ConfigError(str(slot.files.certificate_file), problem.why, problem.remedy)
        before, after = self._chosen().by_domain, new._chosen().by_domain
        lost = [domain for domain, fit in before.items() if fit and after.get(domain) == ()]
        if lost:
            raise _renamed("tls.operators", lost)

    def check_renewal(self, slot: Slot, own: OwnCertificate) -> None:
        """What a new pair must pass before it takes the place of one in use. Raises ConfigError."""
        between_operators = slot.roles == BETWEEN_OPERATORS
        self._check(own, is_between_operators=between_operators)
        what = str(slot.files.certificate_file)
        for problem in problems(own, slot.anchors, slot.roles, self._clock.now()):
            raise ConfigError(what, problem.why, problem.remedy)
        if not between_operators or name_of(own) == name_of(slot.own):
            return
        lost = [
            domain
            for domain, fit in self._chosen().by_domain.items()
            if slot.own in fit and name_of(own) not in self._names(domain)
        ]
        if lost:
            raise _renamed(what, lost)


def _renamed(what: str, lost: list[Domain]) -> ConfigError:
    """OP-21."""
    return ConfigError(
        what,
        f"has another name, which the whitelist does not have yet for {', '.join(lost)}",
        "Declare the new name to ANS. Until it is published keep both: the old pair here,"
        " the new one as a second [[tls.operators]].",
    )


@dataclass(frozen=True, slots=True)
class _Presents:
    choose: Callable[[str | None], OwnCertificate]

    def present(self, server_name: str | None) -> OwnCertificate:
        return self.choose(server_name)


def host_names(leaf: x509.Certificate) -> frozenset[str]:
    """Host names of a certificate of ours, lower case."""
    names = {str(each.value).lower() for each in leaf.subject if each.oid == NameOID.COMMON_NAME}
    try:
        san = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return frozenset(names)
    return frozenset(names | {name.lower() for name in san.get_values_for_type(x509.DNSName)})


def _best(fit: tuple[OwnCertificate, ...], snapshot: Snapshot, now: datetime) -> OwnCertificate:
    """The first that is in date and not revoked; the first when none is."""
    return next((own for own in fit if is_sound(own, snapshot, now)), fit[0])


def is_sound(own: OwnCertificate, snapshot: Snapshot, now: datetime) -> bool:
    """In date, and not revoked as far as we know."""
    leaf, revocation = own.leaf, snapshot.revocation
    if not leaf.not_valid_before_utc <= now < leaf.not_valid_after_utc:
        return False
    issuer = next((a for a in snapshot.anchors.issuing if a.subject == leaf.issuer), None)
    if revocation is None or issuer is None:
        return True
    return revocation.status(leaf, issuer, now).verdict != "revoked"


def _version(files: CertificateSettings) -> Version:
    """Changes with every writing of either file."""
    return (*_stat(files.certificate_file), *_stat(files.key_file))


def _stat(path: Path) -> Version:
    try:
        status = path.stat()
    except OSError:
        return (0, 0, 0)
    return (status.st_mtime_ns, status.st_ino, status.st_size)


def in_use(keys: OwnKeys) -> dict[str, str]:
    """Certificate file -> digest of what is presented from it, for the memory."""
    return {
        str(slot.files.certificate_file): digest_of(slot.own) for slot in (*keys.slots, keys.users)
    }


def refused(keys: OwnKeys) -> dict[str, str]:
    """Certificate file -> why its content of now is not used."""
    return {
        str(slot.files.certificate_file): slot.refused
        for slot in (*keys.slots, keys.users)
        if slot.refused
    }
