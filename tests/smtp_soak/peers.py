"""Other operators whose mood changes while they are talked to."""

from __future__ import annotations

import asyncio
import random
import ssl
from dataclasses import dataclass
from pathlib import Path

from mssmtp.demo.authority import Authority, Identity, Make, Subject
from tests.smtp_out.peer import Peer, Script

NAMES = ("r0", "r1", "r2", "r3")
"""Local parts of everybody's addresses."""
EVER = 1_000_000_000

_CALM = Script()
_MOODS: tuple[tuple[int, Script], ...] = (
    (10, _CALM),
    (2, Script(greeting=b"421 4.3.2 closing")),
    (2, Script(greeting=b"")),
    (1, Script(greeting=b"\xff\xfe nonsense")),
    (1, Script(starttls=False)),
    (1, Script(starttls_reply=b"454 4.7.0 not now")),
    (2, Script(replies={"MAIL": b"451 4.3.0 later"})),
    (2, Script(replies={"RCPT r0": b"450 4.2.0 later", "RCPT r1": b"550 5.1.1 nobody"})),
    (1, Script(replies={"RCPT": b"452 4.5.3 too many"})),
    (1, Script(replies={"RCPT r2": b""})),
    (2, Script(replies={"DATA": b"451 4.3.0 later"})),
    (1, Script(replies={"DATA": b"421 4.3.2 closing"})),
    (2, Script(replies={".": b"451 4.3.0 disk"})),
    (2, Script(replies={".": b"554 5.6.0 not this"})),
    (1, Script(replies={".": b"999 what"})),
    (3, Script(lost_finals=EVER)),
    (1, Script(silent=True)),
)


@dataclass
class Partner:
    """One operator. `stranger`: TLS with a certificate whose name the list does not know; `client`:
    how it comes to us."""

    domain: str
    subject: Subject
    peer: Peer
    own: ssl.SSLContext
    stranger: ssl.SSLContext
    client: ssl.SSLContext

    @property
    def mx(self) -> str:
        return f"mx.{self.domain}"

    def addresses(self) -> tuple[str, ...]:
        """Who can be written to there."""
        return tuple(f"{name}@{self.domain}" for name in NAMES)

    def change(self, chance: random.Random) -> None:
        """Be in another mood."""
        self._let_go()
        if chance.random() < 0.06:
            self.peer.script = Script(hold=asyncio.Event())
        else:
            weights = [weight for weight, _ in _MOODS]
            self.peer.script = chance.choices([mood for _, mood in _MOODS], weights)[0]
        self.peer.context = self.stranger if chance.random() < 0.05 else self.own

    def calm(self) -> None:
        """Take everything from now on."""
        self._let_go()
        self.peer.script, self.peer.context = _CALM, self.own

    def _let_go(self) -> None:
        if self.peer.script.hold is not None:
            self.peer.script.hold.set()


def partners(authority: Authority, directory: Path, number: int) -> list[Partner]:
    """Operators that do not listen yet, each with a certificate of its own."""
    made = []
    for index in range(number):
        domain = f"partenaire-{index}.test"
        subject = Subject(f"mx.{domain}", f"39000000000{index:04d}", f"PARTENAIRE {index}")
        identity = _issued(authority, subject)
        peer = Peer(identity, authority, directory)
        other = Peer(
            _issued(authority, Subject(f"mx2.{domain}", "390000000009999", "AUTRE NOM")),
            authority,
            directory,
        )
        client = _client(authority, identity, directory)
        made.append(Partner(domain, subject, peer, peer.context, other.context, client))
    return made


def _client(authority: Authority, identity: Identity, directory: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=authority.anchors_pem.decode())
    files = identity.write(directory, "client")
    context.load_cert_chain(files.certificate_file, files.key_file)
    return context


def _issued(authority: Authority, subject: Subject) -> Identity:
    return authority.issue(subject, Make(hosts=(subject.cn, "localhost", "127.0.0.1")))
