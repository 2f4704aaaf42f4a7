"""The automatic reply of a box (SEED-44), as its holder sets it without a script."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime

from mssmtp.mail import Address
from mssmtp.sieve.outcome import Reply

MAX_TEXT = 10_000
"""Characters."""
HANDLE = "auto-reply"


@dataclass(frozen=True, slots=True)
class AutoReply:
    """`since` and `until` are aware, None: at once, for ever. `subject` "": « Auto: » and that of
    the letter."""

    text: str
    subject: str = ""
    since: datetime | None = None
    until: datetime | None = None

    def __post_init__(self) -> None:
        if not self.text.strip() or len(self.text) > MAX_TEXT:
            raise ValueError(f"Le texte de la réponse est vide ou dépasse {MAX_TEXT} caractères.")
        if self.since and self.until and self.since >= self.until:
            raise ValueError("La fin de l'absence doit être après son début.")

    def is_on(self, now: datetime) -> bool:
        """Is it answered now?"""
        begun = self.since is None or self.since <= now
        return begun and (self.until is None or now < self.until)

    @property
    def reply(self) -> Reply:
        """As a script would ask for it."""
        return Reply(self.text, HANDLE, days=0, subject=self.subject or None)

    def to_bytes(self) -> bytes:
        """For the store."""
        return json.dumps(
            {
                "text": self.text,
                "subject": self.subject,
                "since": None if self.since is None else self.since.isoformat(),
                "until": None if self.until is None else self.until.isoformat(),
            }
        ).encode()

    @classmethod
    def from_bytes(cls, octets: bytes) -> AutoReply:
        """The inverse of `to_bytes`."""
        found = json.loads(octets)
        since, until = found["since"], found["until"]
        return cls(
            found["text"],
            found["subject"],
            None if since is None else datetime.fromisoformat(since),
            None if until is None else datetime.fromisoformat(until),
        )


@dataclass(frozen=True, slots=True)
class Handover:
    """A colleague looks after the box until a day (DEF-23); senders are told, whatever else they
    are answered. `number`: each is told once of each handover."""

    number: int
    colleague: str
    address: Address
    until: datetime

    def told_with(self, reply: Reply | None) -> Reply:
        """`reply` and this; a reply that brings its own MIME structure gives way."""
        said = (
            f"Jusqu'au {self.until:%d/%m/%Y}, {self.colleague} <{self.address}> suit à la place de"
            " son titulaire les messages reçus dans cette boîte. Votre message lui est visible : il"
            " est inutile de l'envoyer de nouveau.\n"
        )
        handle = f"handover-{self.number}"
        if reply is None or reply.is_mime:
            return Reply(said, handle)
        return replace(reply, reason=f"{reply.reason.rstrip()}\n\n{said}", handle=handle)
