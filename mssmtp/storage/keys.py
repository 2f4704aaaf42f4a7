"""Master key, keys per owner, keys per message: what is wrapped under what.

master key (file) -> one key per BAL and per domain -> one key per message, wrapped once per owner
that refers to it. Everything is AES-256-GCM with its purpose and its owner authenticated, so that
no sealed value can be moved to another place or another owner (ATT-19).

Every sealed value begins with the *mark* of its key, one octet that each rotation counts on. While
a key is being replaced both of them open; what is sealed anew is sealed under the new one. The
mark itself is not authenticated and needs not to be: under another key the value does not open.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from threading import Lock
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mssmtp.errors import Damaged
from mssmtp.mail import BlobId
from mssmtp.outside import Entropy

KEY_OCTETS = 32
NONCE_OCTETS = 12
HANDLE_OCTETS = 16
CACHED_OWNERS = 4_096
FIRST_MARK = b"\x01"


def next_mark(mark: bytes) -> bytes:
    """The mark after `mark`: never more than two are in use, so that one octet is enough."""
    return bytes([(mark[0] + 1) & 0xFF])


class Sealer:
    """One AES-256-GCM key with random nonces, for small values of known purpose."""

    __slots__ = ("_aead", "_encrypt", "_entropy")

    def __init__(self, key: bytes, entropy: Entropy) -> None:
        self._aead = AESGCM(key)
        self._encrypt = self._aead.encrypt
        self._entropy = entropy

    def seal(self, purpose: bytes, octets: bytes) -> bytes:
        """Nonce and ciphertext; `purpose` is authenticated."""
        nonce = self._entropy.token_bytes(NONCE_OCTETS)
        return nonce + self._encrypt(nonce, octets, purpose)

    def open(self, purpose: bytes, sealed: bytes) -> bytes:
        """What `seal` took. Raises Damaged."""
        try:
            return self._aead.decrypt(sealed[:NONCE_OCTETS], sealed[NONCE_OCTETS:], purpose)
        except (InvalidTag, ValueError) as error:
            raise Damaged("a sealed value does not authenticate") from error


@dataclass(frozen=True, slots=True)
class OwnerRow:
    """What the table `owners` knows about a key; `older` is there while it is being replaced."""

    id: int
    name: bytes
    """Whose it is: authenticated, so that no row can be given to somebody else."""
    handle: bytes
    mark: bytes
    wrapped: bytes
    older: bytes | None


class OwnerMark(NamedTuple):
    """Which key of an owner a snapshot has; `replaces`: values may be under the one before."""

    mark: bytes
    replaces: bool


class OwnerKey:
    """The key of one BAL or domain. `handle` names it in every authenticated context."""

    __slots__ = ("_digest_keys", "_sealer", "_sealers", "handle", "id", "mark")

    def __init__(self, row: OwnerRow, keys: dict[bytes, bytes], entropy: Entropy) -> None:
        """`keys` by mark, the current one first."""
        self.id = row.id
        self.handle = row.handle
        self.mark = row.mark
        self._sealers = {m: Sealer(derived(key, b"seal"), entropy) for m, key in keys.items()}
        self._digest_keys = tuple(derived(key, b"digest") for key in keys.values())
        self._sealer = self._sealers[row.mark]

    def __repr__(self) -> str:
        return f"OwnerKey({self.id})"

    @property
    def replaces(self) -> bool:
        """It opens what is under the key before it, too."""
        return len(self._sealers) > 1

    def seal(self, purpose: bytes, octets: bytes) -> bytes:
        """Seal a small value of this owner."""
        return self.mark + self._sealer.seal(purpose + self.handle, octets)

    def open(self, purpose: bytes, sealed: bytes) -> bytes:
        """Open a value of this owner. Raises Damaged."""
        sealer = self._sealers.get(sealed[:1])
        if sealer is None:
            raise Damaged("a sealed value does not authenticate: no key of its owner has its mark")
        return sealer.open(purpose + self.handle, sealed[1:])

    def is_current(self, sealed: bytes) -> bool:
        """True when `sealed` needs no key but the newest."""
        return sealed[:1] == self.mark

    def renewed(self, purpose: bytes, sealed: bytes) -> bytes:
        """The same value under the newest key. Raises Damaged."""
        return sealed if self.is_current(sealed) else self.seal(purpose, self.open(purpose, sealed))

    def wrap(self, blob: BlobId, key: bytes) -> bytes:
        """The message key `key` for this owner only."""
        return self.seal(MESSAGE_KEY + blob, key)

    def unwrap(self, blob: BlobId, wrapped: bytes) -> bytes:
        """The message key. Raises Damaged."""
        return self.open(MESSAGE_KEY + blob, wrapped)

    def digest(self, purpose: bytes, text: str) -> bytes:
        """Keyed digest for look-ups: equal for nobody else's same text."""
        return _digest(self._digest_keys[0], purpose, text)

    def digest_each(self, purpose: bytes, texts: Iterable[str]) -> dict[bytes, str]:
        """`texts` by their digests, in their order."""
        begun = hmac.new(self._digest_keys[0], digestmod="sha256")
        return {_ended(begun, purpose, text): text for text in texts}

    def digests(self, purpose: bytes, text: str) -> tuple[bytes, ...]:
        """Digests under which a row may stand: the newest first, then that being replaced."""
        return tuple(_digest(key, purpose, text) for key in self._digest_keys)


MESSAGE_KEY = b"message-key\0"
OWNER_KEY = b"owner-key\0"


class MasterKey:
    """One master key, opened for its three uses. `id` may be told to anybody."""

    __slots__ = ("_digesting", "_names", "_wrapping", "id")

    def __init__(self, key: bytes, entropy: Entropy) -> None:
        self.id = key_id(key)
        self._wrapping = Sealer(derived(key, b"owners"), entropy)
        self._names = Sealer(derived(key, b"names"), entropy)
        # Every address looked for is digested: a copy costs a quarter of beginning again.
        self._digesting = hmac.new(derived(key, b"digest"), digestmod="sha256")

    def __repr__(self) -> str:
        return f"MasterKey({self.id})"

    @property
    def wrapping(self) -> Sealer:
        """For owner keys."""
        return self._wrapping

    @property
    def names(self) -> Sealer:
        """For names and addresses of the operator's own people."""
        return self._names

    def digest(self, purpose: bytes, text: str) -> bytes:
        """Keyed digest of an address or login of ours."""
        return _ended(self._digesting, purpose, text)


@dataclass(frozen=True, slots=True)
class MasterState:
    """Which master keys a store wants: `id` under `mark`; `older` while it is being replaced."""

    mark: bytes
    id: str
    older: str | None = None

    def __bytes__(self) -> bytes:
        return self.mark + f"{self.id} {self.older or ''}".encode()

    @classmethod
    def parse(cls, octets: bytes) -> MasterState:
        """The inverse of `bytes`. Raises Damaged."""
        id, space, older = octets[1:].decode("ascii", "replace").partition(" ")
        if not octets[:1] or not id or not space:
            raise Damaged("the ids of the master key cannot be read")
        return cls(octets[:1], id, older or None)


@dataclass(frozen=True, slots=True)
class _InForce:
    """One state and its keys by mark, the newest first."""

    state: MasterState
    masters: dict[bytes, MasterKey]

    @property
    def current(self) -> MasterKey:
        """What seals."""
        return self.masters[self.state.mark]

    def of(self, sealed: bytes) -> MasterKey:
        """What opens. Raises Damaged."""
        if (master := self.masters.get(sealed[:1])) is None:
            raise Damaged("a sealed value does not authenticate: no master key has its mark")
        return master


class Wrapping:
    """The keys of owners under the master keys in force."""

    __slots__ = ("_now",)

    def __init__(self, now: Callable[[], _InForce]) -> None:
        self._now = now

    def seal(self, purpose: bytes, octets: bytes) -> bytes:
        """A key wrapped under the newest master key."""
        now = self._now()
        return now.state.mark + now.current.wrapping.seal(purpose, octets)

    def open(self, purpose: bytes, sealed: bytes) -> bytes:
        """A wrapped key. Raises Damaged."""
        return self._now().of(sealed).wrapping.open(purpose, sealed[1:])

    def digest(self, purpose: bytes, text: str) -> bytes:
        """As `Keyring.digest`."""
        return self._now().current.digest(purpose, text)


class Keyring:
    """The master keys in force and a bounded cache of owner keys; safe between threads.

    `find` gives the master key of an id: at the start, and when a rotation, perhaps by another
    process, needs one that is not known yet.
    """

    def __init__(
        self, state: MasterState, entropy: Entropy, find: Callable[[str], MasterKey]
    ) -> None:
        """What `find` raises."""
        self._entropy = entropy
        self._find = find
        # Replaced as a whole: who reads it without the lock sees one state, complete.
        self._now = _InForce(state, self._found(state, {}))
        self._cache: OrderedDict[int, OwnerKey] = OrderedDict()
        self._lock = Lock()

    def __repr__(self) -> str:
        return f"Keyring({self._now.state.id})"

    @property
    def state(self) -> MasterState:
        """The newest state followed."""
        return self._now.state

    def follow(self, state: MasterState, *, is_truth: bool = False) -> bool:
        """Have the keys of `state` and no others; True when something changed.

        A state older than the one in force, of a snapshot taken before, changes nothing; unless it
        `is_truth`, read by the one transaction that writes: then one before was undone. What `find`
        raises.
        """
        with self._lock:
            known = self._now.state
            if state == known or not (is_truth or _is_after(state, known)):
                return False
            by_id = {master.id: master for master in self._now.masters.values()}
            self._now = _InForce(state, self._found(state, by_id))
            return True

    def knows(self, sealed: bytes) -> bool:
        """False when a value is sealed under a master key that was not followed yet."""
        return sealed[:1] in self._now.masters

    def is_current(self, sealed: bytes) -> bool:
        """True when `sealed` needs no master key but the newest."""
        return sealed[:1] == self._now.state.mark

    def digest(self, purpose: bytes, text: str) -> bytes:
        """Keyed digest of an address or login of ours, for a new row."""
        return self._now.current.digest(purpose, text)

    def digests(self, purpose: bytes, text: str) -> tuple[bytes, ...]:
        """Digests under which a row may stand, the newest first."""
        masters = self._now.masters.values()
        return tuple([master.digest(purpose, text) for master in masters])

    def seal(self, purpose: bytes, octets: bytes) -> bytes:
        """Seal under the master key: names and addresses of the operator's own people."""
        now = self._now
        return now.state.mark + now.current.names.seal(purpose, octets)

    def open(self, purpose: bytes, sealed: bytes) -> bytes:
        """Open what `seal` took. Raises Damaged."""
        return self._now.of(sealed).names.open(purpose, sealed[1:])

    @property
    def wrapping(self) -> Wrapping:
        """The other use of the master key: opening and sealing the keys of owners."""
        return Wrapping(lambda: self._now)

    def new_owner(self, name: bytes) -> tuple[bytes, bytes]:
        """Handle and wrapped key for a new row of `owners`."""
        handle = self._entropy.token_bytes(HANDLE_OCTETS)
        return handle, self.new_owner_key(name, handle)

    def new_owner_key(self, name: bytes, handle: bytes) -> bytes:
        """A fresh key, wrapped, for the owner of `handle`."""
        return self.wrapping.seal(OWNER_KEY + handle + name, self._entropy.token_bytes(KEY_OCTETS))

    def owner(self, row: OwnerRow) -> OwnerKey:
        """The opened key of a row of `owners`, kept for next time. Raises Damaged."""
        purpose, wrapping = OWNER_KEY + row.handle + row.name, self.wrapping
        keys = {row.mark: wrapping.open(purpose, row.wrapped)}
        if row.older is not None:
            keys[_mark_before(row.mark)] = wrapping.open(purpose, row.older)
        opened = OwnerKey(row, keys, self._entropy)
        with self._lock:
            self._cache[row.id] = opened
            while len(self._cache) > CACHED_OWNERS:
                self._cache.popitem(last=False)
        return opened

    def cached(self, id: int, mark: OwnerMark) -> OwnerKey | None:
        """The key if it was opened lately and no other has replaced it.

        One that was opened at the end of a rotation is none for who still reads a snapshot of
        before it, with values under the key that went.
        """
        with self._lock:
            found = self._cache.get(id)
            if found is None or found.mark != mark.mark or (mark.replaces and not found.replaces):
                return None
            self._cache.move_to_end(id)
            return found

    def forget(self) -> None:
        """Empty the cache: after a rollback an id may come again with another key."""
        with self._lock:
            self._cache.clear()

    def _found(self, state: MasterState, known: dict[str, MasterKey]) -> dict[bytes, MasterKey]:
        masters = {state.mark: known.get(state.id) or self._find(state.id)}
        if state.older is not None:
            before = _mark_before(state.mark)
            masters[before] = known.get(state.older) or self._find(state.older)
        return masters


def key_id(key: bytes) -> str:
    """What names a master key to people and in the store; nothing about the key follows from it."""
    return derived(key, b"id")[:8].hex()


def _mark_before(mark: bytes) -> bytes:
    return bytes([(mark[0] - 1) & 0xFF])


def _is_after(state: MasterState, known: MasterState) -> bool:
    """True when `state` came after `known`. Marks come round, but never by half the circle."""
    if state.mark == known.mark:
        return known.older is not None and state.older is None
    return (state.mark[0] - known.mark[0]) & 0xFF < 0x80


def derived(key: bytes, purpose: bytes) -> bytes:
    """One HKDF-Expand block (RFC 5869 2.3); `key` is uniform, so no extract step is needed."""
    return hmac.digest(key, b"mssmtp " + purpose + b"\x01", hashlib.sha256)


def _digest(key: bytes, purpose: bytes, text: str) -> bytes:
    return hmac.digest(key, purpose + b"\0" + text.encode("utf-8"), "sha256")[:16]


def _ended(begun: hmac.HMAC, purpose: bytes, text: str) -> bytes:
    """As `_digest`, of a key that was begun with."""
    digesting = begun.copy()
    digesting.update(purpose + b"\0" + text.encode("utf-8"))
    return digesting.digest()[:16]
