"""A feed without network: what the trust space publishes is a dictionary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from mssmtp.config import (
    CertificateSettings,
    OperatorSettings,
    PkiSettings,
    Settings,
    StoreSettings,
    TlsSettings,
    WhitelistSettings,
)
from mssmtp.demo.authority import Authority, Subject, row
from mssmtp.mail import domain
from mssmtp.pki import Anchors
from mssmtp.trust import Snapshot, Trust
from mssmtp.trust_feed import TrustFeed
from mssmtp.trust_feed.fetch import Fetched, FetchFailed, Validators
from mssmtp.whitelist import ListRules, Whitelist
from mssmtp.whitelist_signature import verify
from tests.authority import A_DOMAIN, A_SUBJECT

LIST_URL = "https://liste.test/liste.xml"
ROOT_CRL, CRL = "http://crl.test/racine.crl", "http://crl.test/organisations.crl"


@dataclass
class FakeClock:
    """Time that moves when told."""

    at: datetime

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()

    def advance(self, **by: float) -> None:
        self.at += timedelta(**by)


class EvenEntropy:
    """The middle of every range."""

    def token_bytes(self, octets: int) -> bytes:
        return b"\x80" * octets


@dataclass
class Site:
    """Answers like a server with entity tags; an address that is not there fails."""

    pages: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, Validators]] = field(default_factory=list)

    async def __call__(self, url: str, validators: Validators, max_octets: int) -> Fetched | None:
        self.asked.append((url, validators))
        if url not in self.pages:
            raise FetchFailed("no route")
        octets = self.pages[url]
        tag = sha256(octets).hexdigest()
        if validators.etag == tag:
            return None
        if len(octets) > max_octets:
            raise FetchFailed("too big")
        return Fetched(octets, Validators(etag=tag))

    def count(self, url: str) -> int:
        return sum(1 for asked, _ in self.asked if asked == url)


@dataclass
class World:
    """One home, its published trust space, and as many workers as wanted."""

    directory: Path
    authority: Authority
    clock: FakeClock
    site: Site = field(default_factory=Site)
    verified: list[int] = field(default_factory=list)
    whitelist: dict[str, Any] = field(default_factory=dict)
    """Settings of the list beside the usual ones."""

    def publish(self, *domains: str, date: datetime | None = None) -> bytes:
        names = domains or (A_DOMAIN,)
        return self.publish_rows([(name, A_SUBJECT) for name in names], date=date)

    def publish_rows(
        self, pairs: Sequence[tuple[str, Subject]], *, date: datetime | None = None
    ) -> bytes:
        now = self.clock.now()
        rows = [row(name, subject.text, updated=now) for name, subject in pairs]
        self.site.pages[LIST_URL] = self.authority.sign_whitelist(rows, date or now)
        return self.site.pages[LIST_URL]

    def publish_crls(self, *, days: float = 7) -> None:
        now = self.clock.now()
        ends = now + timedelta(days=days)
        root, organisations = self.authority.crls(this_update=now, next_update=ends)
        self.site.pages[ROOT_CRL], self.site.pages[CRL] = root, organisations

    def worker(self) -> tuple[Trust, TrustFeed]:
        settings = settings_for(self.directory, self.authority, **self.whitelist)
        anchors = Anchors.load(settings.pki.anchors_file)
        trust = Trust(Snapshot(None, None, anchors))
        feed = TrustFeed(
            settings, trust, self.clock, EvenEntropy(), fetch=self.site, verify=self.verify
        )
        return trust, feed

    def verify(self, octets: bytes, rules: ListRules, now: datetime) -> Whitelist:
        """In this process, counted."""
        self.verified.append(len(octets))
        return verify(octets, rules, now)


def settings_for(directory: Path, authority: Authority, **whitelist: Any) -> Settings:
    """Settings whose anchors are the authority's, and whose certificate is A's."""
    anchors, kept = directory / "ca.pem", directory / "own" / "own.pem"
    anchors.write_bytes(authority.anchors_pem)
    if not kept.exists():
        authority.issue(A_SUBJECT).write(kept.parent, kept.stem)
    ours = CertificateSettings(certificate_file=kept, key_file=kept.with_suffix(".key"))
    return Settings(
        operator=OperatorSettings(
            name="a", host_name=domain("mx.hopital-a.test"), domains=(domain(A_DOMAIN),)
        ),
        store=StoreSettings(home=directory / "home", master_key_file=directory / "master"),
        tls=TlsSettings(operators=ours, users=ours),
        pki=PkiSettings(anchors_file=anchors, crl_urls=(ROOT_CRL, CRL)),
        whitelist=WhitelistSettings(
            **({"url": LIST_URL, "signer_subject": authority.pin} | whitelist)
        ),
    )
