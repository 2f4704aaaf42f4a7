"""What the trust space published, as kept under `<home>/trust`.

state.json    what is in force, written last and atomically: everything else hangs from it
lists/        signed lists as received, the last 30 (whitelist.md §9)
crls/         CRLs as received, one file per address
lock          held by the one worker that fetches
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import sha256
from pathlib import Path

from mssmtp.trust_feed.fetch import Validators

KEPT_LISTS = 30


@dataclass(frozen=True, slots=True)
class ListState:
    """The list in force: its file, its date (nothing older is accepted) and its last check."""

    file: str
    date: datetime
    sha256: str
    checked_at: datetime
    validators: Validators = Validators()


@dataclass(frozen=True, slots=True)
class CrlState:
    """One CRL in force and its last successful download."""

    file: str
    checked_at: datetime
    validators: Validators = Validators()


@dataclass(frozen=True, slots=True)
class State:
    """What is in force; `crls` by address."""

    listed: ListState | None = None
    crls: Mapping[str, CrlState] = field(default_factory=dict)

    @property
    def files(self) -> tuple[str, ...]:
        """Changes exactly when the content in force changes."""
        crls = sorted(crl.file for crl in self.crls.values())
        return (self.listed.file if self.listed else "", *crls)


class TrustFiles:
    """The directory. Readers need no lock; only the holder of the lock writes."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock: int | None = None
        for folder in (directory, directory / "lists", directory / "crls"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    # ------------------------------------------------------------ reading

    def state(self) -> State:
        """What is in force; nothing when there is no file or it is damaged (then: fetch anew)."""
        try:
            return _state_of(json.loads((self._directory / "state.json").read_bytes()))
        except (OSError, ValueError, KeyError, TypeError):
            return State()

    def version(self) -> tuple[int, int]:
        """Changes with every writing of the state; cheap enough to ask every second."""
        try:
            status = (self._directory / "state.json").stat()
        except OSError:
            return (0, 0)
        return (status.st_mtime_ns, status.st_ino)

    def octets(self, name: str) -> bytes:
        """A kept file. Raises OSError."""
        return (self._directory / name).read_bytes()

    # ------------------------------------------------------------ writing

    def take_lock(self) -> bool:
        """Become the one who fetches; False while another worker is. Ends with the process."""
        if self._lock is None:
            handle = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(handle)
                return False
            self._lock = handle
        return True

    def release(self) -> None:
        """Let another worker fetch."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def keep_list(self, octets: bytes, date: datetime, now: datetime, said: Validators) -> None:
        """Put a verified list in force, and forget the oldest beyond the last 30."""
        digest = sha256(octets).hexdigest()
        name = f"lists/{date:%Y%m%dT%H%M%SZ}-{digest[:16]}.xml"
        self._write(name, octets)
        self._save(replace(self.state(), listed=ListState(name, date, digest, now, said)))
        kept = sorted((self._directory / "lists").glob("*.xml"))
        for old in kept[:-KEPT_LISTS]:
            old.unlink(missing_ok=True)

    def keep_crl(self, url: str, octets: bytes, now: datetime, said: Validators) -> None:
        """Put a checked CRL in force in place of the one of the same address."""
        address, digest = sha256(url.encode()).hexdigest()[:8], sha256(octets).hexdigest()[:16]
        name, state = f"crls/{address}-{digest}.crl", self.state()
        self._write(name, octets)
        self._save(replace(state, crls={**state.crls, url: CrlState(name, now, said)}))
        for old in (self._directory / "crls").glob(f"{address}-*.crl"):
            if old.name != Path(name).name:
                old.unlink(missing_ok=True)

    def checked_list(self, now: datetime) -> None:
        """The list in force is still the one published."""
        state = self.state()
        if state.listed is not None:
            self._save(replace(state, listed=replace(state.listed, checked_at=now)))

    def checked_crl(self, url: str, now: datetime) -> None:
        """The CRL in force is still the one published."""
        state = self.state()
        known = state.crls[url]
        self._save(replace(state, crls={**state.crls, url: replace(known, checked_at=now)}))

    def _save(self, state: State) -> None:
        self._write("state.json", json.dumps(_json_of(state), indent=1).encode())

    def _write(self, name: str, octets: bytes) -> None:
        """Whole or not at all, also after a power cut."""
        target = self._directory / name
        draft = target.with_name(f".{target.name}.new")
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(octets)
            file.flush()
            os.fsync(handle)
        draft.replace(target)
        folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


Json = dict[str, str | None]


def _json_of(state: State) -> dict[str, object]:
    listed = state.listed
    return {
        "list": listed
        and {
            "date": listed.date.isoformat(),
            "sha256": listed.sha256,
            **_common(listed),
        },
        "crls": {url: _common(crl) for url, crl in state.crls.items()},
    }


def _common(entry: ListState | CrlState) -> Json:
    return {
        "file": entry.file,
        "checked_at": entry.checked_at.isoformat(),
        "etag": entry.validators.etag,
        "last_modified": entry.validators.last_modified,
    }


def _state_of(raw: dict[str, dict[str, dict[str, str]]]) -> State:
    crls = {
        url: CrlState(c["file"], datetime.fromisoformat(c["checked_at"]), _validators(c))
        for url, c in raw["crls"].items()
    }
    return State(_list_of(raw["list"]), crls)


def _list_of(raw: Mapping[str, object] | None) -> ListState | None:
    if raw is None:
        return None
    return ListState(
        str(raw["file"]),
        datetime.fromisoformat(str(raw["date"])),
        str(raw["sha256"]),
        datetime.fromisoformat(str(raw["checked_at"])),
        _validators(raw),
    )


def _validators(raw: Mapping[str, object]) -> Validators:
    etag, last = raw["etag"], raw["last_modified"]
    return Validators(
        etag if isinstance(etag, str) else None, last if isinstance(last, str) else None
    )
