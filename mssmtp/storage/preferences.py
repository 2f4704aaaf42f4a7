"""Texts and choices of a box, an account or a structure, sealed under the master key.

What a kind means is for the room that keeps it: an automatic reply, a signature, who is told what.
"""

from __future__ import annotations

from typing import Literal

from sqlalchemy import bindparam, delete, insert, select

from mssmtp.storage.model import to_us
from mssmtp.storage.schema import preferences, sql
from mssmtp.storage.view import View, WritingView

PREFERENCE = b"preference\0"

Subject = Literal["bal", "account", "structure"]

_OF = (
    (preferences.c.subject == bindparam("subject"))
    & (preferences.c.id == bindparam("id"))
    & (preferences.c.kind == bindparam("kind"))
)
_GET = sql(select(preferences.c.sealed).where(_OF))
_DROP = sql(delete(preferences).where(_OF))
_NEW = sql(insert(preferences))


class PreferenceReading(View):
    """Looking at them."""

    def preference(self, subject: Subject, id: int, kind: str) -> bytes | None:
        """What was chosen; None: nothing was. Raises Damaged."""
        row = self._one(_GET, subject=subject, id=id, kind=kind)
        return (
            None
            if row is None
            else self._master_open(preference_purpose(subject, id, kind), row[0])
        )


class PreferenceWriting(PreferenceReading, WritingView):
    """Choosing."""

    def prefer(self, subject: Subject, id: int, kind: str, octets: bytes | None) -> None:
        """Set or, with None, forget one."""
        self._run(_DROP, subject=subject, id=id, kind=kind)
        if octets is None:
            return
        self._run(
            _NEW,
            subject=subject,
            id=id,
            kind=kind,
            sealed=self._master_seal(preference_purpose(subject, id, kind), octets),
            changed_at=to_us(self._vault.clock.now()),
        )


def preference_purpose(subject: str, id: int, kind: str) -> bytes:
    """What a sealed choice is bound to."""
    return PREFERENCE + f"{subject}\0{id}\0{kind}".encode()
