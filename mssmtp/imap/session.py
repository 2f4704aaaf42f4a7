"""One connection's state (RFC 3501 3) and what it announces (extensions.md)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache

from mssmtp.config import LimitSettings
from mssmtp.identity.sasl import MECHANISMS, Channel, Mechanisms, announced
from mssmtp.imap import capabilities
from mssmtp.imap.capabilities import Dialect
from mssmtp.imap.framer import Framer
from mssmtp.imap.selected import Selected
from mssmtp.imap.watching import EVERYTHING, OfSelected, Watching
from mssmtp.mail import Principal
from mssmtp.outside import Clock
from mssmtp.storage.model import Mailbox


@lru_cache(maxsize=64)
def _listed(names: tuple[str, ...]) -> bytes:
    """As they are told: there are few lists, and every connection is told two."""
    return " ".join(names).encode("ascii")


class State(Enum):
    """RFC 3501 3."""

    NOT_AUTHENTICATED = "not authenticated"
    AUTHENTICATED = "authenticated"
    SELECTED = "selected"
    LOGOUT = "logout"


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds. The door's own; tests choose others."""

    keep_alive_s: float = 120.0
    """GEN-08: IDLE says something every 2 minutes."""
    wrong_password_s: float = 2.0
    """Answer to a wrong password is late by this; only that connection waits."""
    refresh_s: float = 1.0
    """SEC-06: a login that ended ends an open session at its next command after this."""


@dataclass(slots=True)
class Session:
    """What commands work on. `secure`: TLS is on. `is_changed`: the door saw a watched change.

    `client`: its name by ID, before it has logged in.
    `watching`: what NOTIFY asked for. `owes_news`: the command that runs is answered by them.
    """

    limits: LimitSettings
    clock: Clock
    secure: bool
    timing: Timing = field(default_factory=Timing)
    patient_domains: frozenset[str] = frozenset()
    mechanisms: Mechanisms = field(default_factory=lambda: MECHANISMS)
    channel: Channel = field(default_factory=Channel)
    state: State = State.NOT_AUTHENTICATED
    principal_or_none: Principal | None = None
    selected_or_none: Selected | None = None
    dialect: Dialect = field(default_factory=Dialect)
    is_changed: bool = False
    watching: Watching | None = None
    owes_news: bool = False
    is_compressed: bool = False
    wrong_passwords: int = 0
    client: str = ""
    logged_in_at: float = 0.0
    refreshed_at: float = 0.0
    framer: Framer = field(init=False)

    def __post_init__(self) -> None:
        self.framer = Framer(self.limits.imap_line_octets)

    @property
    def principal(self) -> Principal:
        """Who is logged in; only asked in states where somebody is."""
        if self.principal_or_none is None:
            raise RuntimeError("nobody is logged in")
        return self.principal_or_none

    @property
    def selected(self) -> Selected:
        """The selected mailbox; only asked in the selected state."""
        if self.selected_or_none is None:
            raise RuntimeError("no mailbox is selected")
        return self.selected_or_none

    @property
    def hears(self) -> OfSelected:
        """What of the selected mailbox is told."""
        if self.watching is None or self.owes_news:
            return EVERYTHING
        return self.watching.selected

    @property
    def has_news(self) -> bool:
        """Whether there may be something to tell while nothing is asked."""
        if self.is_changed and self.state is State.SELECTED:
            return True
        return self.watching is not None and self.watching.has_heard

    def has_counted(self, before: Mailbox, after: Mailbox | None) -> None:
        """Messages between the two are its own: no news of any mailbox but the selected one."""
        if self.watching is not None:
            self.watching.counted(before, after)

    def log_in(self, principal: Principal) -> None:
        """The authenticated state (3.2)."""
        self.principal_or_none = principal
        self.state = State.AUTHENTICATED
        self.logged_in_at = self.refreshed_at = self.clock.monotonic()

    def select(self, selected: Selected | None) -> None:
        """The selected state, or back to the authenticated one (3.3)."""
        left, self.selected_or_none = self.selected_or_none, selected
        if self.watching is not None and left is not None:
            self.watching.left(left.mailbox.id)
        self.state = State.AUTHENTICATED if selected is None else State.SELECTED
        self.is_changed = False

    @property
    def literal_octets(self) -> int:
        """Largest literal that is held in memory; APPEND streams its own (ATT-03)."""
        if self.state is State.NOT_AUTHENTICATED:
            return self.limits.imap_prelogin_literal_octets
        return self.limits.imap_line_octets

    @property
    def capabilities(self) -> bytes:
        """The capability list of this moment; it changes at TLS and at login."""
        return _listed(tuple(self._capabilities()))

    def _capabilities(self) -> list[str]:
        if self.state is not State.NOT_AUTHENTICATED:
            limit = f"APPENDLIMIT={self.limits.message_octets}"
            compress = self.limits.imap_compress and not self.is_compressed
            further = [limit, *(["COMPRESS=DEFLATE"] if compress else [])]
            return [*capabilities.ALWAYS, *capabilities.AFTER_LOGIN, *further]
        if not self.secure:
            return [*capabilities.ALWAYS, *capabilities.BEFORE_TLS]
        return [
            *capabilities.ALWAYS,
            *capabilities.before_login(announced(self.mechanisms, self.channel)),
        ]
