"""Letters for an address nobody has registered yet, in the commit that accepts them (DEF-09).

They are no rows of `queue`: the relay has no way to lease one. Whom a letter waits for is sealed
under the master key, by which it is found; the content stays sealed under the key of the sender.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import bindparam, insert, select

from mssmtp.mail import Envelope, Recipient
from mssmtp.storage.keys import OwnerKey
from mssmtp.storage.model import to_us
from mssmtp.storage.packing import packed_recipient
from mssmtp.storage.schema import invited, sql
from mssmtp.storage.view import WritingView

INVITED = b"invited"
INVITED_FOR = timedelta(days=30)
"""So long a letter waits; then it comes back as a DSN."""

_NEW = sql(insert(invited))
_STILL_INVITED = sql(
    select(invited.c.position).where(invited.c.envelope == bindparam("envelope")).limit(1)
)


class InvitingWriting(WritingView):
    """Having letters wait."""

    def _invite(self, envelope: Envelope, whom: Sequence[Recipient], key: OwnerKey) -> None:
        """`whom` are to be told by whoever accepts the letter; `key` is the sender's."""
        at = envelope.received_at
        for position, recipient in enumerate(whom):
            octets = json.dumps(packed_recipient(recipient)).encode()
            self._later(
                _NEW,
                envelope=envelope.id,
                position=position,
                digest=self._master_digest(INVITED, recipient.address.key),
                sealed=self._master_seal(invited_purpose(envelope.id, position), octets),
                owner=key.id,
                at=to_us(at),
                expires_at=to_us(at + INVITED_FOR),
            )

    def _is_invited(self, envelope: str) -> bool:
        """Somebody is still waited for: the content is needed."""
        return self._one(_STILL_INVITED, envelope=envelope) is not None


def invited_purpose(envelope: str, position: int) -> bytes:
    """What a sealed invited recipient is bound to."""
    return INVITED + b"\0" + envelope.encode() + b"\0%d" % position
