"""Master key, keys per owner, keys per message: what is wrapped under what.

master key (file) -> one key per BAL and per domain -> one key per message, wrapped once per owner
that refers to it. Everything is AES-256-GCM with its purpose and its owner authenticated, so that
no sealed value can be moved to another place or another owner (ATT-19).
"""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
from collections import OrderedDict
from pathlib import Path
from threading import Lock

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mssmtp.errors import ConfigError, Damaged
from mssmtp.mail import BlobId
from mssmtp.outside import Entropy

KEY_OCTETS = 32
NONCE_OCTETS = 12
HANDLE_OCTETS = 16
CACHED_OWNERS = 4_096


def create_master_key(path: Path, entropy: Entropy) -> None:
    """Write a new master key to `path`, mode 0600, unless the file exists. Raises OSError."""
    try:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        return
    with open(number, "wb") as file:
        file.write(entropy.token_bytes(KEY_OCTETS))
        file.flush()
        os.fsync(file.fileno())


def read_master_key(path: Path) -> bytes:
    """The 32 octets of `path`. Raises ConfigError: missing, readable by others, wrong size."""
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            octets = file.read(KEY_OCTETS + 1)
    except OSError as error:
        raise ConfigError(
            "store.master_key_file",
            f"cannot be read ({error.strerror})",
            "Restore it from its safe copy: without it the store cannot be opened.",
        ) from error
    if not stat.S_ISREG(mode) or mode & 0o077:
        raise ConfigError(
            "store.master_key_file", "others may read the file", "Set its mode to 0600."
        )
    if len(octets) != KEY_OCTETS:
        raise ConfigError(
            "store.master_key_file", "must hold exactly 32 octets", "Restore it from its safe copy."
        )
    return octets


class Sealer:
    """One AES-256-GCM key with random nonces, for small values of known purpose."""

    __slots__ = ("_aead", "_entropy")

    def __init__(self, key: bytes, entropy: Entropy) -> None:
        self._aead = AESGCM(key)
        self._entropy = entropy

    def seal(self, purpose: bytes, octets: bytes) -> bytes:
        """Nonce and ciphertext; `purpose` is authenticated."""
        nonce = self._entropy.token_bytes(NONCE_OCTETS)
        return nonce + self._aead.encrypt(nonce, octets, purpose)

    def open(self, purpose: bytes, sealed: bytes) -> bytes:
        """What `seal` took. Raises Damaged."""
        try:
            return self._aead.decrypt(sealed[:NONCE_OCTETS], sealed[NONCE_OCTETS:], purpose)
        except (InvalidTag, ValueError) as error:
            raise Damaged("a sealed value does not authenticate") from error


class OwnerKey:
    """The key of one BAL or domain. `handle` names it in every authenticated context."""

    __slots__ = ("_digest_key", "_sealer", "handle", "id")

    def __init__(self, id: int, handle: bytes, key: bytes, entropy: Entropy) -> None:
        self.id = id
        self.handle = handle
        self._sealer = Sealer(_derived(key, b"seal"), entropy)
        self._digest_key = _derived(key, b"digest")

    def seal(self, purpose: bytes, octets: bytes) -> bytes:
        """Seal a small value of this owner."""
        return self._sealer.seal(purpose + self.handle, octets)

    def open(self, purpose: bytes, sealed: bytes) -> bytes:
        """Open a value of this owner. Raises Damaged."""
        return self._sealer.open(purpose + self.handle, sealed)

    def wrap(self, blob: BlobId, key: bytes) -> bytes:
        """The message key `key` for this owner only."""
        return self.seal(b"message-key\0" + blob, key)

    def unwrap(self, blob: BlobId, wrapped: bytes) -> bytes:
        """The message key. Raises Damaged."""
        return self.open(b"message-key\0" + blob, wrapped)

    def digest(self, purpose: bytes, text: str) -> bytes:
        """Keyed digest for look-ups: equal for nobody else's same text."""
        return _digest(self._digest_key, purpose, text)


class Keyring:
    """Master key and a bounded cache of owner keys; safe between threads."""

    def __init__(self, master: bytes, entropy: Entropy) -> None:
        self._entropy = entropy
        self._wrapping = Sealer(_derived(master, b"owners"), entropy)
        self._names = Sealer(_derived(master, b"names"), entropy)
        self._digest_key = _derived(master, b"digest")
        self._cache: OrderedDict[int, OwnerKey] = OrderedDict()
        self._lock = Lock()

    def digest(self, purpose: bytes, text: str) -> bytes:
        """Keyed digest of an address or login of ours."""
        return _digest(self._digest_key, purpose, text)

    def seal(self, purpose: bytes, octets: bytes) -> bytes:
        """Seal under the master key: names and addresses of the operator's own people."""
        return self._names.seal(purpose, octets)

    def open(self, purpose: bytes, sealed: bytes) -> bytes:
        """Open what `seal` took. Raises Damaged."""
        return self._names.open(purpose, sealed)

    def new_owner(self) -> tuple[bytes, bytes]:
        """Handle and wrapped key for a new row of `owners`."""
        handle = self._entropy.token_bytes(HANDLE_OCTETS)
        key = self._entropy.token_bytes(KEY_OCTETS)
        return handle, self._wrapping.seal(b"owner-key\0" + handle, key)

    def owner(self, id: int, handle: bytes, wrapped: bytes) -> OwnerKey:
        """The opened key of a row of `owners`, kept for next time. Raises Damaged."""
        key = self._wrapping.open(b"owner-key\0" + handle, wrapped)
        opened = OwnerKey(id, handle, key, self._entropy)
        with self._lock:
            self._cache[id] = opened
            while len(self._cache) > CACHED_OWNERS:
                self._cache.popitem(last=False)
        return opened

    def cached(self, id: int) -> OwnerKey | None:
        """The key if it was opened lately."""
        with self._lock:
            found = self._cache.get(id)
            if found is not None:
                self._cache.move_to_end(id)
            return found

    def forget(self) -> None:
        """Empty the cache: after a rollback an id may come again with another key."""
        with self._lock:
            self._cache.clear()


def _derived(key: bytes, purpose: bytes) -> bytes:
    """One HKDF-Expand block (RFC 5869 2.3); `key` is uniform, so no extract step is needed."""
    return hmac.digest(key, b"mssmtp " + purpose + b"\x01", hashlib.sha256)


def _digest(key: bytes, purpose: bytes, text: str) -> bytes:
    return hmac.digest(key, purpose + b"\0" + text.encode("utf-8"), "sha256")[:16]
