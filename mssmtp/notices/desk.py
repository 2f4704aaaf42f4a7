"""Where the rest of the server hands in what people are to be told (DEF-04).

`tell` queues in the caller's transaction: a mail goes out if and only if what it tells of was
committed. Nothing here waits for anybody.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, tzinfo
from typing import Self

from mssmtp import local_time
from mssmtp.config import Settings
from mssmtp.config_notices import NoticeSettings
from mssmtp.errors import MailError, Reply
from mssmtp.mail import AccountId, Address, BalId, Domain, Person
from mssmtp.notices.kinds import TRAITS, Kind
from mssmtp.notices.templates import LANGUAGES, Value, checked
from mssmtp.outside import Clock
from mssmtp.storage import NewNotice, Reading, Writing

logger = logging.getLogger(__name__)


class NoticesDown(MailError):
    """No service mail goes out now: a code or link that somebody waits for is not promised.

    Temporary, and never "wrong password": mail itself goes on (DEF-04).
    """

    smtp = Reply(
        454,
        "4.7.0",
        "L'envoi des codes par e-mail est momentanément indisponible ; réessayez dans quelques"
        " minutes. Le courrier MSSanté n'est pas touché.",
    )
    imap = "UNAVAILABLE"


class Desk:
    """Takes in service mail. `served`: the domains of the trust space that are ours; nobody's usual
    address is there, and a notice to one would cause another notice (ATT-44). `has_pages`: a door
    answers browsers here. `zone`: the clock of who reads."""

    def __init__(
        self,
        settings: NoticeSettings,
        served: Collection[Domain],
        clock: Clock,
        *,
        zone: tzinfo = UTC,
        has_pages: bool = False,
    ) -> None:
        self.settings, self._served, self._clock = settings, frozenset(served), clock
        self.zone, self._has_pages = zone, has_pages

    @classmethod
    def of(cls, settings: Settings, clock: Clock) -> Self:
        """By the whole settings."""
        operator, has_pages = settings.operator, settings.listen.web is not None
        zone = operator.zone
        return cls(settings.notices, operator.domains, clock, zone=zone, has_pages=has_pages)

    def moment(self, at: datetime, language: str = "fr") -> str:
        """A time as a service mail tells it."""
        return local_time.moment(at, self.zone, language)

    @property
    def is_on(self) -> bool:
        """A relay is configured."""
        return self.settings.is_on

    def is_ours(self, address: Address) -> bool:
        """The address is a box here, and no ordinary one."""
        return address.domain in self._served

    def link(self, path: str) -> str:
        """A link into the portal."""
        return f"{self.settings.portal_url}/{path.lstrip('/')}"

    def require(self, reading: Reading) -> None:
        """Before a secret is made that only a service mail can bring. Raises NoticesDown."""
        if not self.works(reading):
            raise NoticesDown

    def works(self, reading: Reading) -> bool:
        """There is a relay, and it takes what it is given."""
        return self.is_on and reading.relay_stuck_since() is None

    def tell(
        self,
        writing: Writing,
        kind: Kind,
        to: Person | Address,
        values: Mapping[str, Value],
        *,
        bal: BalId | None = None,
        language: str = "fr",
        due: datetime | None = None,
        expires_at: datetime | None = None,
    ) -> None:
        """Queue one service mail. `values` are those that `kinds.TRAITS` names, all of them but the
        link to the page of a kind that has one.

        Of a person the language and the usual address are known; `language` is for an address that
        has no account yet. Raises NoticesDown for what somebody waits for; what nobody waits for
        is left out, with a line in the log, when there is no relay at all. BadNotice is our bug.
        """
        traits = TRAITS[kind]
        if traits.page:  # a link that leads nowhere is worse than none
            values = {**values, "link": self.link(traits.page) if self._has_pages else ""}
        opened = checked(kind, values)
        if traits.is_awaited:
            self.require(writing)
        if not self.is_on:
            logger.info("not told: notices.relay_host is not set", extra={"kind": kind.value})
            return
        account: AccountId | None = None
        address = to
        if isinstance(to, Person):
            account, address, language = to.account, to.usual_address, to.language
        assert isinstance(address, Address)  # noqa: S101 - one of the two it may be
        if self.is_ours(address):
            logger.warning("not told: the usual address is a box here", extra={"kind": kind.value})
            return
        now = self._clock.now()
        writing.queue_notice(
            NewNotice(
                kind.value,
                address,
                language if language in LANGUAGES else "fr",
                opened,
                due or now,
                expires_at or now + traits.lifetime,
                account,
                bal,
            )
        )
