"""Mail programs whose maker's servers log in with the user's password (F2, CLD-01, CLD-05).

The new Outlook, or Gmail's fetching of other accounts, keep the password and a copy of the mail
outside of certified hosting. They are known by where they come from. A hospital behind one
address is none of them, however many log in: only listed addresses count.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import date, timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import ClassVar, Protocol, Self, TypeVar

from mssmtp.config import Settings
from mssmtp.config_senders import comes_from
from mssmtp.config_tokens import AuthSettings
from mssmtp.errors import Reply
from mssmtp.identity import Bearer, Claim, Credentials, LoginRefused
from mssmtp.identity.scram import ScramName
from mssmtp.mail import AccountId
from mssmtp.notices import Desk
from mssmtp.notices.kinds import Kind
from mssmtp.outside import Clock
from mssmtp.storage import Account, Writing

Network = IPv4Network | IPv6Network
T = TypeVar("T")

LISTED_ON = date(2026, 6, 6)
"""The day of the newest published list below; `doctor` tells once it is older than a year."""

# Microsoft: endpoint group 1 of Exchange Online, worldwide, of that day. Google: what
# _netblocks.google.com and _netblocks2.google.com name, without the range of its public cloud
# (35.190.247.0/24) and without _netblocks3, which holds load balancers of other people's machines.
_SHIPPED = {
    "Microsoft": (
        "13.107.6.152/31 13.107.18.10/31 13.107.128.0/22 23.103.160.0/20 40.96.0.0/13"
        " 40.104.0.0/15 52.96.0.0/14 131.253.33.215/32 132.245.0.0/16 150.171.32.0/22"
        " 204.79.197.215/32 2603:1006::/40 2603:1016::/36 2603:1026::/36 2603:1036::/36"
        " 2603:1046::/36 2603:1056::/36"
    ),
    "Google": (
        "64.233.160.0/19 66.102.0.0/20 66.249.80.0/20 72.14.192.0/18 74.125.0.0/16"
        " 108.177.8.0/21 173.194.0.0/16 209.85.128.0/17 216.58.192.0/19 216.239.32.0/19"
        " 2001:4860:4000::/36 2404:6800:4000::/36 2607:f8b0:4000::/36 2800:3f0:4000::/36"
        " 2a00:1450:4000::/36 2c0f:fb50:4000::/36"
    ),
}
SHIPPED = {
    maker: tuple(ip_network(text) for text in texts.split()) for maker, texts in _SHIPPED.items()
}
OWN_RANGES = "auth.cloud_ranges"
OWN_NAMES = "auth.cloud_clients"
_SPARED = ""
"""In the place of a maker's name: whatever it calls itself."""
_MOST_PLACED = 4_096
_MOST_TOLD = 10_000
_TOLD_EVERY = timedelta(days=1)
_LOOKED_AT = 100
"""Traces of an account, the newest: if as many came since, the holder hears of it again."""

logger = logging.getLogger(__name__)


class CloudRelay(LoginRefused):
    """Told before the password is looked at: it says nothing about it, and nobody waits."""

    is_guess: ClassVar[bool] = False
    imap_text: ClassVar[str] = (
        "Ce logiciel confie votre mot de passe et votre courrier aux serveurs de son editeur :"
        " connexion refusee, mot de passe non examine. Utilisez Outlook classique, Thunderbird ou"
        " une application qui se connecte directement, ou voyez votre administrateur."
    )
    smtp = Reply(
        535,
        "5.7.1",
        "Ce logiciel passe par les serveurs de son éditeur : connexion refusée, mot de passe non"
        " examiné ; utilisez Outlook classique, Thunderbird ou une application directe.",
    )
    imap = "CONTACTADMIN"


class Store(Protocol):
    """`storage.Store` as the guard sees it."""

    def write(self, job: Callable[[Writing], T]) -> Future[T]: ...


@dataclass(frozen=True, slots=True)
class Ranges:
    """Who is a relay, by the settings."""

    makers: tuple[tuple[str, tuple[Network, ...]], ...]
    spared: tuple[Network, ...]
    clients: tuple[str, ...]
    _placed: dict[str, str | None] = field(default_factory=dict, repr=False, compare=False)
    """Whose addresses are that came lately: a hospital comes from one, thousands of times a day."""

    @classmethod
    def of(cls, settings: AuthSettings) -> Ranges:
        """The shipped list, unless it is switched off, and what the settings add and except."""
        shipped = tuple(SHIPPED.items()) if settings.cloud_shipped_ranges else ()
        return cls(
            ((OWN_RANGES, settings.cloud_ranges), *shipped),
            settings.cloud_except,
            tuple(name.casefold() for name in settings.cloud_clients),
        )

    def maker(self, address: str, client: str = "") -> str | None:
        """Whose server that is; None for everybody else, and for whoever is spared."""
        if address not in self._placed:
            if len(self._placed) >= _MOST_PLACED:
                self._placed.clear()
            self._placed[address] = self._looked_up(address)
        maker = self._placed[address]
        if maker is not None:
            return None if maker == _SPARED else maker
        named = client.casefold()
        return OWN_NAMES if named and named in self.clients else None

    def _looked_up(self, address: str) -> str | None:
        if comes_from(address, self.spared):
            return _SPARED
        makers = (maker for maker, networks in self.makers if comes_from(address, networks))
        return next(makers, None)


class CloudGuard:
    """One per door, on its loop."""

    def __init__(
        self, settings: AuthSettings, store: Store, clock: Clock, desk: Desk | None = None
    ) -> None:
        """`desk`: takes what the holder of the account is told."""
        self._desk = desk
        self._answer = settings.cloud_relays
        self._ranges = Ranges.of(settings)
        self._store, self._clock = store, clock
        self._told: OrderedDict[tuple[str, str, date], None] = OrderedDict()

    @classmethod
    def of(cls, settings: Settings, store: Store, clock: Clock) -> Self:
        """By the whole settings."""
        return cls(settings.auth, store, clock, Desk.of(settings, clock))

    def judge(self, claim: Claim, address: str, client: str = "") -> None:
        """Raises CloudRelay, whatever password would follow. `client`: its name by IMAP ID."""
        if self._answer == "allow":
            return
        maker = self._ranges.maker(address, client)
        if maker is None:
            return
        match claim:
            case Credentials() | ScramName():
                self._tell(claim.login, maker, address)
            case Bearer():
                self._tell(claim.box, maker, address)
        if self._answer == "refuse":
            raise CloudRelay

    def _tell(self, login: str, maker: str, address: str) -> None:
        """Once a day for a login and a maker: whoever claims logins all day fills no disk."""
        key = (login.strip().casefold()[:320], maker, self._clock.now().date())
        if key in self._told:
            return
        self._told[key] = None
        while len(self._told) > _MOST_TOLD:
            self._told.popitem(last=False)
        request = f"relais de messagerie ({maker}), adresse {address}"
        answer = "refusé avant examen" if self._answer == "refuse" else "signalé"
        told = {"maker": maker, "peer": address, "answer": self._answer}

        def done(job: Future[AccountId | None]) -> None:
            if job.cancelled():
                return
            if (error := job.exception()) is not None:
                told["kind"] = type(error).__name__
                logger.warning("alarm: cloud relay; not traced", extra=told)
                return
            logger.warning("alarm: cloud relay", extra=told | {"account": job.result()})

        def trace(writing: Writing) -> AccountId | None:
            account = writing.account(key[0])
            if account is None:
                return None
            self._tell_holder(writing, account, maker, address)
            writing.trace("cloud-relay", key[0], request, answer, account=account.id)
            return account.id

        # Nobody waits for it: a login that exists is refused as quickly as one that does not.
        self._store.write(trace).add_done_callback(done)

    def _tell_holder(self, writing: Writing, account: Account, maker: str, address: str) -> None:
        """Whoever gave a password away is to change it; once a day, whichever process notices.

        What a client says of itself is not repeated: it could be anything (ATT-44). The mail says
        that the login was refused: where it is let through, the administrator alone hears of it.
        """
        now, person = self._clock.now(), writing.person_by_account(account.id)
        if self._desk is None or person is None or self._answer != "refuse":
            return
        lately = writing.traces(account=account.id, most=_LOOKED_AT)
        if any(one.kind == "cloud-relay" and now - one.at < _TOLD_EVERY for one in lately):
            return
        values = {
            "login": account.login,
            "product": maker if maker in SHIPPED else "logiciel désigné par votre opérateur",
            "address": address,
            "time": self._desk.moment(now, person.language),
        }
        self._desk.tell(writing, Kind.CLOUD_RELAY, person, values)
