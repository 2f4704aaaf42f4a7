"""Files of the master key: the one the settings name, and beside it the next or the former one.

While a rotation runs, the new key lies in `master-next.key` beside `master.key`, where every
process of the home finds it by its id. Once the old key is no longer needed it becomes
`master-ID.key`, and the new one takes the name the settings know. Nothing here removes a key that a
store has ever wanted.
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
_CUT = bytes(KEY_OCTETS)
"""A file system may keep the length of a file that was not synced yet, and not its octets."""
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
    if octets == _CUT:
        raise ConfigError(
            _SETTING,
            "holds nothing but zeros: a power cut came before the key",
            "Remove it if no store was made with it yet; else restore it from its safe copy.",
        )
    return octets


class MasterFiles:
    """Master keys by id, around the file that the settings name."""

    def __init__(self, path: Path, entropy: Entropy) -> None:
        self._path = path
        self._entropy = entropy
        self.next = path.with_name(f"{path.stem}-next{path.suffix}")

    def __repr__(self) -> str:
        return f"MasterFiles({self._path})"

    def former(self, id: str) -> Path:
        """Where the key of this id lies when another has replaced it."""
        return self._path.with_name(f"{self._path.stem}-{id}{self._path.suffix}")

    def current(self) -> MasterKey:
        """The key in the file that the settings name. Raises ConfigError."""
        return MasterKey(read_master_key(self._path), self._entropy)

    def current_octets(self) -> bytes:
        """Its 32 octets. Raises ConfigError."""
        return read_master_key(self._path)

    def find(self, id: str) -> MasterKey:
        """The key of this id. Raises ConfigError that names the id wanted and the id found."""
        trouble: ConfigError | None = None
        held = None
        for path in (self._path, self.next, self.former(id)):
            if path != self._path and not path.exists():
                continue
            try:
                octets = read_master_key(path)
            except ConfigError as error:
                trouble = trouble or error
                continue
            if key_id(octets) == id:
                return MasterKey(octets, self._entropy)
            held = held or key_id(octets)
        if trouble is not None:
            why = f"{trouble.why}; the store wants key {id}"
            raise ConfigError(trouble.what, why, trouble.remedy)
        raise ConfigError(
            _SETTING,
            f"is not the key of this store: the store wants key {id}, the file holds key {held}",
            f"Restore the right file from its safe copy, or add it as {self.former(id).name}.",
        )

    def prepare(self) -> MasterKey:
        """The next key: the one that lies ready, or a new one, durable.

        A file cut by a crash was never wanted by a store and is made again. Raises ConfigError.
        """
        try:
            with suppress(FileNotFoundError):
                if len(written := self.next.read_bytes()) < KEY_OCTETS or written == _CUT:
                    self.next.unlink()
            with suppress(FileExistsError):
                _write(self.next, self._entropy.token_bytes(KEY_OCTETS))
            sync_directory(self._path.parent)
        except OSError as error:
            raise _unwritable(
                error, "let the server's user write there, or put the file there"
            ) from error
        return MasterKey(read_master_key(self.next), self._entropy)

    def settle(self, id: str) -> None:
        """Have the key `id` under the name of the settings, and what was there under its own id.

        Killed anywhere, it can be called again; at every moment both keys are found. Raises
        ConfigError.
        """
        here = self.current().id
        if here == id:
            return
        self.find(id)
        try:
            with suppress(FileExistsError):
                os.link(self._path, self.former(here))
            sync_directory(self._path.parent)
            is_next = self.next.exists() and key_id(read_master_key(self.next)) == id
            os.replace(self.next if is_next else self.former(id), self._path)
            sync_directory(self._path.parent)
        except OSError as error:
            raise _unwritable(
                error, f"give {self.next.name} the name {self._path.name} by hand"
            ) from error


def _unwritable(error: OSError, remedy: str) -> ConfigError:
    why = f"its directory cannot be written ({error.strerror})"
    return ConfigError(_SETTING, why, remedy[0].upper() + remedy[1:] + ".")


def _write(path: Path, octets: bytes) -> None:
    """A new file of mode 0600, on disk. Raises OSError."""
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with open(number, "wb") as file:
        file.write(octets)
        file.flush()
        os.fsync(file.fileno())
