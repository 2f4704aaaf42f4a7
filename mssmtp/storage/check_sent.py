"""What letters sent from here are found by again (`sent_letters.py`)."""

from __future__ import annotations

from typing import Any

from mssmtp.storage.check import Claim, Part
from mssmtp.storage.check_sealed import Sealed, page_of
from mssmtp.storage.schema import sent
from mssmtp.storage.sent_letters import SENT, sent_purpose
from mssmtp.storage.view import Row
from mssmtp.storage.views import Reading


class SealedSentLetters(Sealed):
    """Names of sent letters."""

    name = "sent letters"
    first = (-1, b"", "")
    claims = (Claim("sealed-sent", "sent letters", "what a report names it by opens"),)
    page = page_of((sent.c.owner, sent.c.digest, sent.c.envelope), sent.c.sealed)

    def opens(self, view: Reading, row: Row) -> bool:
        """Under the sender's box, and it leads back to it."""
        key = view._owner_key(row[0])
        named = key.open(sent_purpose(bytes(row[1]), row[2]), row[3]).decode(
            "utf-8", "surrogatepass"
        )
        return bytes(row[1]) in key.digests(SENT, named)

    def named(self, row: Row) -> str:
        """By its envelope."""
        return f"envelope {row[2]}: what a report would name it by does not open"


PARTS: tuple[type[Part[Any]], ...] = (SealedSentLetters,)
