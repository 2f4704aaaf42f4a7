"""What the trust space published, as kept under `<home>/trust`.

state.json    what is in force, held and remembered, written last and atomically: all hangs from it
lists/        accepted lists as received, the last 30
held/         the list that waits for a person
refused/      the last few lists that were not taken, as evidence
crls/         CRLs as received, one file per address
lock          held by the one worker that fetches, as long as it lives
changing      held for a moment by whoever changes state.json: that worker, or a command
refresh       there while a command asks for a fetch
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from pydantic import ValidationError

from mssmtp.trust_feed.fetch import Validators
from mssmtp.trust_feed.state import (
    SERVER,
    CrlState,
    Event,
    Failure,
    Happening,
    Held,
    ListState,
    RolledBack,
    State,
)
from mssmtp.whitelist import ListRefused, Whitelist
from mssmtp.whole_files import OneWriter, write_whole

KEPT_REFUSED = 3
LEAST_DIGEST = 6
"""Hexadecimal digits that name a list in a command; they must be of one list only."""

_NAME = re.compile(r"(\d{8}T\d{6}Z)-([0-9a-f]{16})\.xml", re.ASCII)


class ChoiceRefused(Exception):
    """A person asked for what cannot be done: what, why, and what to do."""

    def __init__(self, what: str, why: str, remedy: str) -> None:
        super().__init__(f"{what}: {why}. {remedy}")
        self.what, self.why, self.remedy = what, why, remedy


@dataclass(frozen=True, slots=True)
class Answer:
    """One whole answer of the list's server."""

    url: str
    octets: bytes
    validators: Validators


class TrustFiles:
    """The directory. Readers need no lock; a change is made by one process at a time.

    The fetching worker accepts, holds and refuses; commands look (`history`, `held`,
    `list_octets`), choose (`confirm`, `roll_back`, `undo`) and ask (`request_refresh`). Running
    workers see a new state.json within two seconds and verify what it names before they use it.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._fetcher = OneWriter(lambda: self._open("lock"))
        self._known: tuple[tuple[int, int], State] | None = None
        for folder in ("", "lists", "held", "refused", "crls"):
            if not (directory / folder).is_dir():
                (directory / folder).mkdir(mode=0o700, parents=True, exist_ok=True)
                self._hand_over(directory / folder)

    # ------------------------------------------------------------ reading

    def state(self) -> State:
        """What is known. A lost or damaged file leaves what the kept lists themselves say."""
        version = self.version()
        if self._known is None or self._known[0] != version:
            self._known = (version, self._read())
        return self._known[1]

    def _read(self) -> State:
        try:
            state = State.model_validate_json((self._directory / "state.json").read_bytes())
        except (OSError, ValidationError):
            state = State()
        if state.accepted:
            return state
        accepted = tuple(self._accepted_on_disk())
        newest = accepted[-1].sha256 if accepted else None
        return state.model_copy(update={"accepted": accepted, "in_force": newest})

    def _accepted_on_disk(self) -> Iterator[ListState]:
        """From old to new. OP-26 must not end with one small file."""
        for path in sorted((self._directory / "lists").glob("*.xml")):
            digest, named = sha256(path.read_bytes()).hexdigest(), _NAME.fullmatch(path.name)
            if named is not None and digest.startswith(named[2]):
                date = datetime.strptime(named[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
                yield ListState(file=f"lists/{path.name}", date=date, sha256=digest)

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

    def history(self) -> tuple[Event, ...]:
        """What happened to the lists, newest first."""
        return self.state().events[::-1]

    def held(self) -> Held | None:
        """The list that verified and waits for a person."""
        return self.state().held

    def find(self, digest: str) -> ListState:
        """The accepted or held list whose digest begins so. Raises ChoiceRefused."""
        state = self.state()
        known = [*state.accepted]
        if state.held is not None:
            known.append(state.held.listed)
        wanted = digest.lower()
        found = [each for each in known if each.sha256.startswith(wanted)]
        if len(wanted) < LEAST_DIGEST or len(found) != 1:
            why = "is the digest of no kept list" if not found else "may be several lists"
            raise ChoiceRefused(
                digest,
                why if len(wanted) >= LEAST_DIGEST else "is too short to name a list",
                "`mssmtp trust history` shows the digests.",
            )
        return found[0]

    def list_octets(self, digest: str) -> bytes:
        """An accepted or held list, as received. Raises ChoiceRefused, OSError."""
        return self.octets(self.find(digest).file)

    # ------------------------------------------------------------ who fetches, who changes

    def take_lock(self) -> bool:
        """Become the one who fetches; False while another worker is. Ends with the process."""
        return self._fetcher.take()

    def release(self) -> None:
        """Let another worker fetch."""
        self._fetcher.release()

    @contextmanager
    def _changing(self) -> Iterator[State]:
        """The state, which nobody else changes meanwhile."""
        handle = self._open("changing")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            self._known = None
            yield self.state()
        finally:
            os.close(handle)

    def _open(self, name: str) -> int:
        handle = os.open(self._directory / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._hand_over(handle)
        return handle

    def _hand_over(self, made: Path | int) -> None:
        """What a command typed by root makes belongs to whom the home belongs to: the server."""
        if os.geteuid() == 0:
            home = self._directory.parent.stat()
            os.chown(made, home.st_uid, home.st_gid)

    # ------------------------------------------------------------ what a fetch brought

    def is_known(self, digest: str) -> bool:
        """In force, held, or held off by a rollback: there is nothing to verify or decide."""
        state = self.state()
        held = state.held is not None and digest == state.held.listed.sha256
        left = state.rolled_back is not None and digest == state.rolled_back.left.sha256
        return digest == state.in_force or held or left

    def checked_list(self, now: datetime) -> None:
        """The server still publishes what it did last."""
        with self._changing() as state:
            if state.published is not None:
                published = state.published.model_copy(update={"checked_at": now})
                state = state.without_failure(published.url)
                self._save(state.model_copy(update={"published": published}))

    def published(self, answer: Answer, now: datetime) -> None:
        """The server publishes a list that is known already."""
        with self._changing() as state:
            digest = sha256(answer.octets).hexdigest()
            self._save(state.publishing(answer.url, digest, answer.validators, now))

    def take_list(
        self, answer: Answer, listed: Whitelist, reasons: tuple[str, ...], now: datetime
    ) -> Happening:
        """Put a verified list in force; with `reasons` hold it until a person confirms.

        Raises ListRefused when it is older than the newest ever accepted, or of the same date and
        another (OP-26); then what is in force has not changed.
        """
        kept = _kept("held" if reasons else "lists", listed)
        with self._changing() as state:
            newest = state.bar(now)
            if newest is not None and listed.date < newest.date:
                raise ListRefused("older than the list in force", listed.date.isoformat())
            if newest is not None and listed.date == newest.date:
                if listed.sha256 != newest.sha256:
                    self._save(state.in_conflict_with(listed, now))
                    raise ListRefused("same date, other content", listed.date.isoformat())
                self._write(newest.file, answer.octets)  # its file was lost or damaged
                self._save(state.publishing(answer.url, listed.sha256, answer.validators, now))
                return "accepted"
            self._write(kept.file, answer.octets)
            state = state.publishing(answer.url, listed.sha256, answer.validators, now)
            if reasons:
                held = Held(listed=kept, reasons=reasons, since=now)
                state = state.model_copy(update={"held": held})
                state = state.noting("held", kept, SERVER, now, "; ".join(reasons))
            else:
                was = newest.signer if newest is not None else kept.signer
                # OP-25: the pinned subject may renew its certificate; it is told.
                detail = "" if was in ("", kept.signer) else f"signer renewed: {kept.signer}"
                state = state.putting_in_force(kept).noting("accepted", kept, SERVER, now, detail)
            self._save(state)
            self._forget(state)
        return "held" if reasons else "accepted"

    def note_refusal(self, octets: bytes, error: ListRefused, now: datetime) -> None:
        """Remember that a list was not taken, and keep it as evidence; once per list and reason."""
        digest = sha256(octets).hexdigest()
        with self._changing() as state:
            for event in state.events:
                if (event.what, event.sha256, event.detail) == ("refused", digest, str(error)):
                    return
            self._write(f"refused/{now:%Y%m%dT%H%M%SZ}-{digest[:16]}.xml", octets)
            event = Event(at=now, who=SERVER, what="refused", sha256=digest, detail=str(error))
            self._save(state.with_event(event))
            for old in sorted((self._directory / "refused").glob("*.xml"))[:-KEPT_REFUSED]:
                old.unlink(missing_ok=True)

    def note_failure(self, url: str, reason: str, now: datetime) -> None:
        """Remember why an address brought nothing: whoever asked for it waits for an answer."""
        with self._changing() as state:
            failures = {**state.failures, url: Failure(at=now, reason=reason)}
            self._save(state.model_copy(update={"failures": failures}))

    # ------------------------------------------------------------ what a person decides

    def confirm(self, digest: str, who: str, now: datetime) -> ListState:
        """Put the held list in force. Raises ChoiceRefused when it is not this one that is held."""
        with self._changing() as state:
            held = state.held
            if held is None:
                raise ChoiceRefused(
                    "no list", "is held: there is nothing to confirm", "`mssmtp trust show`."
                )
            if self.find(digest) != held.listed:
                raise ChoiceRefused(
                    digest,
                    "is not the list that is held",
                    f"The one held is {held.listed.sha256[:12]}; look at `mssmtp trust diff`.",
                )
            name = Path(held.listed.file).name
            kept = held.listed.model_copy(update={"file": f"lists/{name}"})
            self._write(kept.file, self.octets(held.listed.file))
            state = state.putting_in_force(kept).noting("confirmed", kept, who, now)
            self._save(state)
            self._forget(state)
        return kept

    def roll_back(self, to: str, who: str, now: datetime) -> ListState:
        """Go back to an earlier accepted list. Raises ChoiceRefused, OSError.

        What is not newer than the newest accepted so far stays out until something newer is
        published, or until `undo`.
        """
        with self._changing() as state:
            target, newest = self.find(to), state.newest
            if target not in state.accepted or newest is None:
                raise ChoiceRefused(
                    to, "was never in force", "A held list is taken by `mssmtp trust confirm`."
                )
            if target.sha256 == state.in_force:
                raise ChoiceRefused(to, "is in force already", "Nothing to do.")
            if target == newest:
                raise ChoiceRefused(
                    to, "is the newest list", "Take it back by `mssmtp trust rollback --undo`."
                )
            self.octets(target.file)
            gone = RolledBack(left=newest, by=who, at=now)
            state = state.marking(target, left=True).model_copy(
                update={"in_force": target.sha256, "rolled_back": gone}
            )
            self._save(state.noting("rolled back", target, who, now))
        return target

    def undo(self, who: str, now: datetime) -> ListState:
        """End a rollback: the newest accepted list is in force again. Raises ChoiceRefused."""
        with self._changing() as state:
            if state.rolled_back is None or state.newest is None:
                raise ChoiceRefused(
                    "no rollback", "is in effect", "`mssmtp trust history` shows what happened."
                )
            newest, listed = state.newest, state.listed
            if listed is not None:
                state = state.marking(listed, left=False)
            state = state.model_copy(update={"in_force": newest.sha256, "rolled_back": None})
            self._save(state.noting("undone", newest, who, now))
        return newest

    def request_refresh(self) -> None:
        """Ask the worker that fetches to do it now; it looks every two seconds."""
        os.close(self._open("refresh"))

    def refresh_requested(self) -> bool:
        """Did somebody ask? Answers once."""
        try:
            (self._directory / "refresh").unlink()
        except FileNotFoundError:
            return False
        return True

    # ------------------------------------------------------------ CRLs

    def keep_crl(self, url: str, octets: bytes, now: datetime, said: Validators) -> None:
        """Put a checked CRL in force in place of the one of the same address."""
        address, digest = sha256(url.encode()).hexdigest()[:8], sha256(octets).hexdigest()[:16]
        name = f"crls/{address}-{digest}.crl"
        kept = CrlState(file=name, checked_at=now, etag=said.etag, last_modified=said.last_modified)
        with self._changing() as state:
            self._write(name, octets)
            state = state.without_failure(url)
            self._save(state.model_copy(update={"crls": {**state.crls, url: kept}}))
            for old in (self._directory / "crls").glob(f"{address}-*.crl"):
                if old.name != Path(name).name:
                    old.unlink(missing_ok=True)

    def checked_crl(self, url: str, now: datetime) -> None:
        """The CRL in force is still the one published."""
        with self._changing() as state:
            known = state.crls.get(url)
            if known is None:
                return  # lost meanwhile: the next fetch brings it whole
            known = known.model_copy(update={"checked_at": now})
            state = state.without_failure(url)
            self._save(state.model_copy(update={"crls": {**state.crls, url: known}}))

    # ------------------------------------------------------------ writing

    def _save(self, state: State) -> None:
        self._write("state.json", state.model_dump_json(indent=1).encode())
        self._known = None

    def _forget(self, state: State) -> None:
        """Remove the files no record names any more."""
        named = {each.file for each in state.accepted}
        if state.held is not None:
            named.add(state.held.listed.file)
        for folder in ("lists", "held"):
            for path in (self._directory / folder).glob("*.xml"):
                if f"{folder}/{path.name}" not in named:
                    path.unlink(missing_ok=True)

    def _write(self, name: str, octets: bytes) -> None:
        """Whole or not at all, also after a power cut."""
        write_whole(self._directory / name, octets, self._hand_over)


def _kept(folder: str, listed: Whitelist) -> ListState:
    return ListState(
        file=f"{folder}/{_name(listed.date, listed.sha256)}",
        date=listed.date,
        sha256=listed.sha256,
        signer=listed.signer,
        rows=len(listed.rows),
        domains=len(listed.domains),
    )


def _name(date: datetime, digest: str) -> str:
    return f"{date:%Y%m%dT%H%M%SZ}-{digest[:16]}.xml"
