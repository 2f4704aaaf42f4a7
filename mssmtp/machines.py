"""Devices that send by themselves: scanners, laboratory analysers (MAC-02).

A machine record ties one credential, a certificate or a password, to one APP box and to the
addresses the device has. It opens no other door, no other box and nothing from anywhere else.
"""

from __future__ import annotations

import hashlib
import hmac
import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network
from typing import Protocol, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from mssmtp.config_senders import MachineSettings, comes_from
from mssmtp.identity import BadCredentials, TooManyGuesses, app_password
from mssmtp.identity.guesses import Guesses
from mssmtp.identity.scram import ScramName, ScramProof, ScramProven, ScramSalt
from mssmtp.mail import AccountId, Address, Bal, BalState, BalType, Principal
from mssmtp.outside import Clock, Entropy

_NOBODY = AccountId(0)
"""A machine is no person: it has no account."""
_MOST_OCTETS = 320
"""Of a name or password that is looked at."""
_SLOW_AT_ONCE = 2
_MOST_KNOWN = 1_000

T = TypeVar("T")


class BoxReading(Protocol):
    """The part of `storage.Reading` a machine needs."""

    def bal(self, address: Address) -> Bal | None: ...


class Boxes(Protocol):
    """`storage.Store` as a machine's login sees it."""

    def read(self, query: Callable[[BoxReading], T]) -> Future[T]: ...


@dataclass(frozen=True, slots=True)
class Machine:
    """One record of the settings."""

    name: str
    box: Address
    networks: tuple[IPv4Network | IPv6Network, ...]
    password_hash: str | None
    fingerprint: bytes | None

    def is_at(self, address: str) -> bool:
        """Whether the device may come from `address`."""
        return comes_from(address, self.networks)


def machines_of(settings: Collection[MachineSettings]) -> tuple[Machine, ...]:
    """The records of the settings, which have been checked."""
    return tuple(
        Machine(
            each.name,
            Address.parse(each.box),
            each.addresses,
            each.password_hash,
            bytes.fromhex(each.certificate_sha256.replace(":", ""))
            if each.certificate_sha256
            else None,
        )
        for each in settings
    )


class Machines:
    """Who of them is speaking; asked like `identity.Authenticator`, and thread-safe like it."""

    def __init__(
        self,
        records: Sequence[Machine],
        boxes: Boxes,
        clock: Clock,
        entropy: Entropy,
        guesses: Guesses | None = None,
    ) -> None:
        """`guesses`: counted together with other workers; this process's own when None."""
        self._records = tuple(records)
        self._boxes = boxes
        self._clock = clock
        self._guesses = (guesses or Guesses.alone(entropy)).of("machine")
        self._slow = threading.BoundedSemaphore(_SLOW_AT_ONCE)
        self._known: set[tuple[str, bytes]] = set()

    def are_at(self, address: str) -> bool:
        """Some machine may come from `address`."""
        return any(each.is_at(address) for each in self._records)

    # ------------------------------------------------------------ by certificate

    def presenting(
        self, chain: Sequence[x509.Certificate], address: str, now: datetime
    ) -> Machine | None:
        """The machine at `address` whose own certificate this is, octet for octet."""
        if not chain or not self._is_in_date(chain[0], now):
            return None
        shown = chain[0].fingerprint(hashes.SHA256())
        return next(
            (
                each
                for each in self._records
                if each.fingerprint is not None
                and hmac.compare_digest(each.fingerprint, shown)
                and each.is_at(address)
            ),
            None,
        )

    @staticmethod
    def _is_in_date(certificate: x509.Certificate, now: datetime) -> bool:
        return certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc

    # ------------------------------------------------------------ by password

    def authenticate(self, login: str, password: str, address: str = "") -> Principal:
        """The box of the machine `login` at `address`. Raises BadCredentials, TooManyGuesses."""
        login, password = login.strip().casefold()[:_MOST_OCTETS], password[:_MOST_OCTETS]
        secret = self._digest(login, password)
        record = self._named(login, address)
        # Two machines may share a box, and log in by its name: each has its own password and place.
        if record is None or (record.name, secret) not in self._known:
            self._verify(login, password, address, record)
            if record is not None and len(self._known) < _MOST_KNOWN:
                self._known.add((record.name, secret))
        assert record is not None  # noqa: S101 - `_verify` has refused it
        self._guesses.right(login, address, self._clock.monotonic())
        return self._boxes.read(lambda reading: self.principal(reading, record)).result()

    def recognize(self, login: str, password: str, address: str = "") -> Future[Principal | None]:
        """None: that `authenticate` has to decide. Machines are few: it always does."""
        decided: Future[Principal | None] = Future()
        decided.set_result(None)
        return decided

    def salted(self, asked: ScramName, address: str = "") -> Future[ScramSalt]:
        """No device of those days knows SCRAM: it is not offered to them. Raises BadCredentials."""
        raise BadCredentials

    def prove(self, shown: ScramProof, address: str = "") -> ScramProven:
        """See `salted`."""
        raise BadCredentials

    def is_known(self, login: str, password: str) -> bool:
        """True when this password was right before, and needs no slow hash."""
        secret = self._digest(login.strip().casefold(), password)
        return any((each.name, secret) in self._known for each in self._records)

    def refreshed(self, reading: BoxReading, principal: Principal) -> Principal:
        """The same machine as of now (ATT-18). Raises BadCredentials."""
        for each in self._records:
            if each.name == principal.login:
                return self.principal(reading, each)
        raise BadCredentials

    def principal(self, reading: BoxReading, record: Machine) -> Principal:
        """Who acts in the box of `record`, and in it alone. Raises BadCredentials."""
        bal = reading.bal(record.box)
        if bal is None or bal.type is not BalType.APP or bal.state is not BalState.ACTIVE:
            raise BadCredentials("no active APP box")
        return Principal(_NOBODY, record.name, (bal,), box=bal.id)

    def _named(self, login: str, address: str) -> Machine | None:
        for each in self._records:
            if login in (each.name.casefold(), each.box.key) and each.is_at(address):
                return each
        return None

    def _verify(self, login: str, password: str, address: str, record: Machine | None) -> None:
        """The same work whether the name exists here or not (ATT-21)."""
        now = self._clock.monotonic()
        wait = self._guesses.begin(login, address, now)
        if wait > 0:
            raise TooManyGuesses(delay_s=wait)
        stored = [] if record is None or record.password_hash is None else [record.password_hash]
        with self._slow:
            found = app_password.matching(password, stored)
        if not found:
            secret = self._digest(login, password)
            raise BadCredentials(delay_s=self._guesses.wrong(login, address, secret, now))

    def _digest(self, login: str, password: str) -> bytes:
        text = login.encode("utf-8", "replace") + b"\0" + password.encode("utf-8", "replace")
        return hmac.digest(self._guesses.key, text, hashlib.sha256)
