"""One operator with keys of its own, a list that can change, a clock that stands still."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from mssmtp.config import Settings
from mssmtp.demo.authority import Authority, CertificateFiles, Identity, Subject
from mssmtp.mail import Domain
from mssmtp.outside import SystemEntropy
from mssmtp.own import NotFetched, Outside, OwnKeys, OwnWatch
from mssmtp.pki import Anchors
from mssmtp.trust import Snapshot, Trust
from tests.authority import A_DOMAIN, A_SUBJECT, unsigned_whitelist

SECOND = Domain("clinique-a.test")
SECOND_SUBJECT = Subject("mx.clinique-a.test", "1990000025", "CLINIQUE A")
RENAMED = replace(A_SUBJECT, o="CENTRE HOSPITALIER A RENOMME")


class StillClock:
    """Stands where it is put."""

    def __init__(self, now: datetime) -> None:
        self.moment = now

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return self.moment.timestamp()


class Net:
    """What is published: address -> octets; anything else cannot be had."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []

    async def fetch(self, url: str) -> bytes:
        self.asked.append(url)
        if url not in self.files:
            raise NotFetched("status 404")
        return self.files[url]


@dataclass(slots=True)
class Own:
    """Settings, list and files of one operator under test."""

    authority: Authority
    directory: Path
    domains: tuple[str, ...] = (A_DOMAIN,)
    pairs: list[CertificateFiles] = field(default_factory=list)
    users: CertificateFiles | None = None
    more: dict[str, object] = field(default_factory=dict)
    clock: StillClock = field(init=False)
    trust: Trust = field(init=False)
    net: Net = field(default_factory=Net)

    def __post_init__(self) -> None:
        self.clock = StillClock(self.authority.now + timedelta(hours=1))
        anchors = Anchors.from_pem(self.authority.anchors_pem)
        (self.directory / "anchors.pem").write_bytes(self.authority.anchors_pem)
        self.trust = Trust(Snapshot(None, None, anchors))

    def put(self, identity: Identity, stem: str = "own") -> CertificateFiles:
        """Write a pair; a new stem is one more [[tls.operators]]."""
        files = identity.write(self.directory, stem)
        if files not in self.pairs:
            self.pairs.append(files)
        return files

    def publish(self, *bindings: tuple[str, str]) -> None:
        """A list that binds these domains to these names."""
        listed = unsigned_whitelist(self.authority, *bindings)
        snapshot = self.trust.snapshot
        self.trust.swap(Snapshot(listed, snapshot.revocation, snapshot.anchors))

    @property
    def settings(self) -> Settings:
        def table(files: CertificateFiles) -> dict[str, str]:
            return {
                "certificate_file": str(files.certificate_file),
                "key_file": str(files.key_file),
            }

        return Settings.model_validate(
            {
                "operator": {
                    "name": "hopital-a",
                    "host_name": "mx.hopital-a.test",
                    "domains": list(self.domains),
                },
                "store": {"home": str(self.directory), "master_key_file": "none"},
                "tls": {
                    "operators": [table(each) for each in self.pairs],
                    "users": table(self.users or self.pairs[0]),
                },
                "pki": {"anchors_file": str(self.directory / "anchors.pem"), **self.more},
            }
        )

    def keys(self) -> OwnKeys:
        return OwnKeys(self.settings, self.trust, self.clock)

    def watch(self, keys: OwnKeys) -> OwnWatch:
        outside = Outside(self.clock, SystemEntropy(), self.net.fetch)
        return OwnWatch(self.settings, keys, self.trust, outside)


def renewed(keys: OwnKeys) -> None:
    """Two looks: what was written a moment ago is taken up at the second one."""
    keys.refresh()
    keys.refresh()
