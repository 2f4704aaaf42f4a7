"""Files of the master key: the one the settings name, and beside it the next or the former one.

While a rotation runs, the new key lies in `NAME-ID.key` beside `NAME.key`, where every process of
the home finds it by its id. When the old key is no longer needed it gets its own id as a name, and
the new one the name the settings know. Nothing here removes the last copy of a key.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from mssmtp.errors import ConfigError
from mssmtp.outside import Entropy
from mssmtp.storage.files import sync_directory
from mssmtp.storage.keys import KEY_OCTETS, MasterKey, key_id

_SETTING = "store.master_key_file"
_RESTORE = "Restore it from its safe copy: without it the store cannot be opened."


def create_master_key(path: Path, entropy: Entropy) -> None:
    """Write a new master key to `path`, mode 0600, unless the file exists. Raises OSError."""
    with suppress(FileExistsError):
        _write(path, entropy.token_bytes(KEY_OCTETS))


def read_master_key(path: Path) -> bytes:
    """The 32 octets of `path`. Raises ConfigError: missing, readable by others, wrong size."""
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            octets = file.read(KEY_OCTETS + 1)
    except OSError as error:
        raise ConfigError(_SETTING, f"cannot be read ({error.strerror})", _RESTORE) from error
    if not stat.S_ISREG(mode) or mode & 0o077:
        raise ConfigError(_SETTING, "others may read the file", "Set its mode to 0600.")
    if len(octets) != KEY_OCTETS:
        raise ConfigError(_SETTING, "must hold exactly 32 octets", "Restore it from its safe copy.")
    return octets


class MasterFiles:
    """Master keys by id, around the file that the settings name."""

    def __init__(self, path: Path, entropy: Entropy) -> None:
        self._path = path
        self._entropy = entropy

    def __repr__(self) -> str:
        return f"MasterFiles({self._path})"

    def named(self, id: str) -> Path:
        """Where the key of this id lies when it is not the one in use."""
        return self._path.with_name(f"{self._path.stem}-{id}{self._path.suffix}")

    def current(self) -> MasterKey:
        """The key in the file that the settings name. Raises ConfigError."""
        return MasterKey(read_master_key(self._path), self._entropy)

    def find(self, id: str) -> MasterKey:
        """The key of this id. Raises ConfigError that names the id wanted and the id found."""
        beside = self.named(id)
        try:
            octets = read_master_key(self._path)
        except ConfigError:
            if not beside.exists():
                raise
            octets = b""
        if octets and key_id(octets) == id:
            return MasterKey(octets, self._entropy)
        if beside.exists() and key_id(found := read_master_key(beside)) == id:
            return MasterKey(found, self._entropy)
        holds = f"holds key {key_id(octets)}" if octets else "cannot be used"
        raise ConfigError(
            _SETTING,
            f"is not the key of this store: the store wants key {id}, the file {holds}",
            f"Restore the right file from its safe copy, or put it beside as {beside.name}.",
        )

    def create(self) -> MasterKey:
        """A new key under its own name, durable. Raises ConfigError when it cannot be written."""
        octets = self._entropy.token_bytes(KEY_OCTETS)
        try:
            _write(self.named(key_id(octets)), octets)
            sync_directory(self._path.parent)
        except OSError as error:
            raise ConfigError(
                _SETTING,
                f"its directory cannot be written ({error.strerror})",
                "Let the server's user write there while the key is replaced.",
            ) from error
        return MasterKey(octets, self._entropy)

    def discard(self, id: str) -> None:
        """Remove a key made by `create` that no store ever wanted."""
        self.named(id).unlink(missing_ok=True)

    def settle(self, id: str) -> None:
        """Have the key `id` under the name of the settings, and what was there under its own id.

        Killed anywhere, it can be called again; at every moment both keys are found. Raises
        ConfigError.
        """
        here = key_id(read_master_key(self._path))
        if here == id:
            self.named(id).unlink(missing_ok=True)
            return
        self.find(id)
        turning = self._path.with_name(self._path.name + ".next")
        try:
            with suppress(FileExistsError):
                os.link(self._path, self.named(here))
            turning.unlink(missing_ok=True)
            os.link(self.named(id), turning)
            sync_directory(self._path.parent)
            os.replace(turning, self._path)
            self.named(id).unlink(missing_ok=True)
            sync_directory(self._path.parent)
        except OSError as error:
            raise ConfigError(
                _SETTING,
                f"its directory cannot be written ({error.strerror})",
                f"Give {self.named(id).name} the name {self._path.name} by hand.",
            ) from error


def _write(path: Path, octets: bytes) -> None:
    """A new file of mode 0600, on disk. Raises OSError."""
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with open(number, "wb") as file:
        file.write(octets)
        file.flush()
        os.fsync(file.fileno())
