"""What the server remembers of itself, as kept in `<home>/own/memory.json`.

Which names a key was used for (ATT-43), since when a domain is listed or not (DEF-01), since when a
certificate waits for its publication, when the CRLs our certificates name were last seen (CL-10),
and which trust space the home belongs to (OP-100). One worker writes, holding the lock.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from mssmtp.mail import Domain, DomainState
from mssmtp.pki import Space
from mssmtp.whole_files import OneWriter, write_whole

State = DomainState
STATES: tuple[State, ...] = ("requested", "listed", "withdrawn")

KEPT_CHANGES = 100


@dataclass(frozen=True, slots=True)
class Change:
    """A domain came into a state. Times are ISO 8601, as in the file."""

    state: State
    since: str


@dataclass(frozen=True, slots=True)
class KeyUse:
    """A key of ours, by digest of its public half: the name it was used with, and for whom."""

    key: str
    name: str
    domains: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CrlSeen:
    """A CRL that one of our certificates names: last try, last success, its end."""

    tried: str
    seen: str | None = None
    ends: str | None = None
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Memory:
    """Everything remembered. `waiting`: leaf digest -> since when; `in_use`: file -> leaf digest;
    `refused`: file -> why its new content is not used."""

    space: Space | None = None
    domains: Mapping[Domain, tuple[Change, ...]] = field(default_factory=dict)
    keys: tuple[KeyUse, ...] = ()
    waiting: Mapping[str, str] = field(default_factory=dict)
    in_use: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    crls: Mapping[str, CrlSeen] = field(default_factory=dict)

    def was_listed(self, domain: Domain) -> bool:
        """It was listed with a certificate of ours once."""
        return any(change.state == "listed" for change in self.domains.get(domain, ()))

    def since(self, domain: Domain, state: State) -> datetime | None:
        """When the domain came into `state`, if that is the last thing known of it."""
        known = self.domains.get(domain, ())
        if not known or known[-1].state != state:
            return None
        return datetime.fromisoformat(known[-1].since)


class OwnFiles:
    """The directory. Readers need no lock; only its holder writes."""

    def __init__(self, home: Path) -> None:
        self.directory = home / "own"
        self._file = self.directory / "memory.json"
        self._writer = OneWriter(self._open_lock)

    def memory(self) -> Memory:
        """What is remembered; nothing when there is no file or it is damaged."""
        try:
            return _memory_of(json.loads(self._file.read_bytes()))
        except (OSError, ValueError, KeyError, TypeError):
            return Memory()

    def version(self) -> tuple[int, int]:
        """Changes with every writing."""
        try:
            status = self._file.stat()
        except OSError:
            return (0, 0)
        return (status.st_mtime_ns, status.st_ino)

    def take_lock(self) -> bool:
        """Become the one who writes; False while another worker is. Ends with the process."""
        return self._writer.take()

    def release(self) -> None:
        """Let another worker write."""
        self._writer.release()

    def keep(self, memory: Memory) -> None:
        """Whole or not at all, also after a power cut."""
        write_whole(self._file, json.dumps(asdict(memory), indent=1).encode())

    def _open_lock(self) -> int:
        self.directory.mkdir(mode=0o700, exist_ok=True)
        return os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


T = TypeVar("T")


def _as(kind: type[T], value: object) -> T:
    if not isinstance(value, kind):
        raise TypeError(kind.__name__)
    return value


def _memory_of(raw: Mapping[str, object]) -> Memory:
    space = raw["space"]
    return Memory(
        space=None if space is None else ("test" if space == "test" else "production"),
        domains={
            Domain(name): tuple(_change(each) for each in _as(list, changes))
            for name, changes in _as(dict, raw["domains"]).items()
        },
        keys=tuple(
            KeyUse(each["key"], each["name"], tuple(each["domains"]))
            for each in _as(list, raw["keys"])
        ),
        waiting=_texts(raw["waiting"]),
        in_use=_texts(raw["in_use"]),
        refused=_texts(raw["refused"]),
        crls={url: CrlSeen(**each) for url, each in _as(dict, raw["crls"]).items()},
    )


def _texts(raw: object) -> dict[str, str]:
    return {_as(str, name): _as(str, value) for name, value in _as(dict, raw).items()}


def _change(raw: Mapping[str, str]) -> Change:
    if raw["state"] not in STATES:
        raise ValueError("state")
    datetime.fromisoformat(raw["since"])
    return Change(next(s for s in STATES if s == raw["state"]), raw["since"])
