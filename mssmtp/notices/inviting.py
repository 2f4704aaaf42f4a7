"""Telling somebody whom nobody knows here that a letter waits (DEF-09, SEED-35)."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import Final

from mssmtp import local_time
from mssmtp.mail import AccountId, Address, Envelope, Recipient
from mssmtp.notices.desk import Desk
from mssmtp.notices.kinds import Kind
from mssmtp.outside import Clock, Entropy
from mssmtp.storage import INVITED_FOR, Writing

CONFIRMATION: Final = "confirmation"
LINK_LASTS = timedelta(hours=48)
TOKEN_OCTETS = 16


class Inviting:
    """Mails links with which an address is confirmed, once each, for 48 hours."""

    def __init__(self, desk: Desk, clock: Clock, entropy: Entropy) -> None:
        self._desk, self._clock, self._entropy = desk, clock, entropy

    def invite(self, writing: Writing, envelope: Envelope, whom: list[Recipient]) -> None:
        """In the commit that has the letter wait. The title is not said: nobody has proved yet
        whose address it is."""
        for recipient in whom:
            self.mail_link(writing, recipient.address, envelope.sender)

    def mail_link(self, writing: Writing, to: Address, sender: Address | None) -> bool:
        """One link in 48 hours, however many letters wait: who writes to a stranger a hundred times
        does not have us do it (ATT-44). False: there is one already."""
        now = self._clock.now()
        if writing.noticed_since(to, Kind.INVITATION, now - LINK_LASTS + timedelta.resolution):
            return False
        octets = self._entropy.token_bytes(TOKEN_OCTETS)
        token = base64.urlsafe_b64encode(octets).rstrip(b"=").decode("ascii")
        content = {"address": str(to)}
        writing.new_secret(CONFIRMATION, token, AccountId(0), now + LINK_LASTS, content)
        said = {
            "sender": str(sender or ""),
            "link": self._desk.link(f"confirmation#{token}"),
            "until": local_time.day(now + INVITED_FOR, self._desk.zone),
        }
        self._desk.tell(writing, Kind.INVITATION, to, said)
        return True
