"""Sieve scripts of a box, and whom it has answered automatically: sealed under the key of the box.

`bals.reacts` says that a delivery has something to ask here: all other boxes cost no look-up.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, delete, func, insert, select, update

from mssmtp.errors import Damaged
from mssmtp.mail import BalId
from mssmtp.storage.delegations import Delegation, DelegationKind, DelegationReading
from mssmtp.storage.model import from_us, to_us
from mssmtp.storage.preferences import PreferenceReading, PreferenceWriting
from mssmtp.storage.schema import answered, bals, scripts, sql
from mssmtp.storage.view import WritingView

SCRIPT = b"script\0"
ANSWERED = b"answered\0"
AUTO_REPLY = "auto-reply"
"""Kind of the preference of a box that is its automatic reply."""
MAX_SCRIPTS = 32
MAX_NAME = 128
"""Characters (RFC 5804 1.6)."""

_COLUMNS = (scripts.c.digest, scripts.c.sealed, scripts.c.size, scripts.c.changed_at)
_OF_BOX = sql(select(*_COLUMNS).where(scripts.c.bal == bindparam("bal")))
_ACTIVE = sql(
    select(*_COLUMNS).where(scripts.c.bal == bindparam("bal")).where(scripts.c.active.is_(True))
)
_ONE = (scripts.c.bal == bindparam("bal")) & (scripts.c.digest == bindparam("digest"))
_GET = sql(select(*_COLUMNS).where(_ONE))
_DROP = sql(delete(scripts).where(_ONE))
_NEW = sql(insert(scripts))
_SET_REACTS = sql(
    update(bals).where(bals.c.id == bindparam("bal_")).values(reacts=bindparam("new"))
)
_UNTIL = sql(
    select(answered.c.until)
    .where(answered.c.bal == bindparam("bal"))
    .where(answered.c.digest == bindparam("digest"))
)
_ANSWER = sql(insert(answered))
_ANSWER_AGAIN = sql(
    delete(answered)
    .where(answered.c.bal == bindparam("bal"))
    .where(answered.c.digest == bindparam("digest"))
)
_FORGET_ANSWERED = sql(delete(answered).where(answered.c.until < bindparam("now")))
_HOW_MANY_ANSWERED = sql(select(func.count()).where(answered.c.bal == bindparam("bal")))
MAX_ANSWERED = 20_000
"""People one box remembers to have answered; beyond that it answers nobody (ATT-44)."""


class ScriptRefused(Exception):
    """A script cannot be stored, found or removed; `code` is RFC 5804 1.3's, "" without one."""

    code = ""

    def __init__(self) -> None:
        super().__init__(type(self).__doc__)


class NoSuchScript(ScriptRefused):
    """Aucun script de ce nom ; la liste montre ceux qui existent."""

    code = "NONEXISTENT"


class ScriptExists(ScriptRefused):
    """Un script porte déjà ce nom ; choisissez-en un autre."""

    code = "ALREADYEXISTS"


class ActiveScript(ScriptRefused):
    """Ce script est actif ; désactivez-le d'abord."""

    code = "ACTIVE"


class TooManyScripts(ScriptRefused):
    """Une boîte a 32 scripts au plus ; supprimez-en un."""

    code = "QUOTA/MAXSCRIPTS"


@dataclass(frozen=True, slots=True)
class StoredScript:
    """One script of a box."""

    name: str
    octets: bytes
    is_active: bool
    changed_at: datetime


class ScriptReading(DelegationReading, PreferenceReading):
    """Looking at them."""

    def scripts(self, bal: BalId) -> tuple[StoredScript, ...]:
        """Every script that can be read, by name. Raises NoSuchBal."""
        key = self._bal_key(bal)
        found = []
        for digest, sealed, _, at in self._all(_OF_BOX, bal=bal):
            octets = self._legible(key.open, script_purpose(digest), sealed)
            if octets is not None:
                found.append(_opened(octets, at))
        return tuple(sorted(found, key=lambda script: script.name))

    def script(self, bal: BalId, name: str) -> StoredScript:
        """Raises NoSuchScript, NoSuchBal, Damaged."""
        key = self._bal_key(bal)
        for digest in key.digests(SCRIPT, name):
            row = self._one(_GET, bal=bal, digest=digest)
            if row is not None:
                found = _opened(key.open(script_purpose(row[0]), row[1]), row[3])
                if found.name != name:
                    raise Damaged("a script stands under another name")
                return found
        raise NoSuchScript

    def active_script(self, bal: BalId) -> StoredScript | None:
        """The one that sorts mail. Raises NoSuchBal, Damaged."""
        for digest, sealed, _, at in self._all(_ACTIVE, bal=bal):
            found = _opened(self._bal_key(bal).open(script_purpose(digest), sealed), at)
            if found.is_active:  # the column finds it; what was sealed counts
                return found
        return None

    def handover(self, bal: BalId) -> Delegation | None:
        """The one in force that was given last: senders are told of it (DEF-23)."""
        now = self._vault.clock.now()
        found = (each for each in self.delegations_of(bal) if each.is_in_force(now))
        handed = [each for each in found if each.kind is DelegationKind.HANDOVER]
        return handed[-1] if handed else None

    def was_answered(self, bal: BalId, whom: str, now: datetime) -> bool:
        """Whether `whom` is not to be answered again yet. Raises NoSuchBal."""
        for digest in self._bal_key(bal).digests(ANSWERED, whom):
            row = self._one(_UNTIL, bal=bal, digest=digest)
            if row is not None and row[0] > to_us(now):
                return True
        row = self._one(_HOW_MANY_ANSWERED, bal=bal)
        return row is not None and row[0] >= MAX_ANSWERED


class ScriptWriting(ScriptReading, PreferenceWriting, WritingView):
    """Changing them."""

    def put_script(self, bal: BalId, name: str, octets: bytes) -> None:
        """Store one, in the place of one of the same name; active it stays, if it was.

        Raises TooManyScripts, NoSuchBal.
        """
        before = {script.name: script for script in self.scripts(bal)}
        if name not in before and len(before) >= MAX_SCRIPTS:
            raise TooManyScripts
        was_active = name in before and before[name].is_active
        self._write_script(bal, name, octets, active=was_active)

    def activate_script(self, bal: BalId, name: str) -> None:
        """Make this one the active one; with "" none is (RFC 5804 2.8). Raises NoSuchScript."""
        chosen = self.script(bal, name) if name else None
        for script in self.scripts(bal):
            is_chosen = chosen is not None and script.name == name
            if script.is_active is not is_chosen:
                self._write_script(bal, script.name, script.octets, active=is_chosen)
        self.note_reactions(bal)

    def drop_script(self, bal: BalId, name: str) -> None:
        """Raises NoSuchScript, ActiveScript."""
        if self.script(bal, name).is_active:
            raise ActiveScript
        self._drop_script(bal, name)

    def rename_script(self, bal: BalId, old: str, new: str) -> None:
        """An active one stays so (RFC 5804 2.11). Raises NoSuchScript, ScriptExists."""
        script = self.script(bal, old)
        if any(each.name == new for each in self.scripts(bal)):
            raise ScriptExists
        self._drop_script(bal, old)
        self._write_script(bal, new, script.octets, active=script.is_active)

    def note_reactions(self, bal: BalId) -> None:
        """Bring `Bal.reacts` up to date: after a script, the automatic reply or a handover was
        changed."""
        reacts = (
            self.active_script(bal) is not None
            or self.preference("bal", bal, AUTO_REPLY) is not None
            or self.handover(bal) is not None
        )
        self._run(_SET_REACTS, bal_=bal, new=reacts)
        self.effects.first.append(self._vault.lately.changed)

    def remember_answered(self, bal: BalId, whom: str, until: datetime) -> None:
        """Nobody answers `whom` for this box before `until`. Raises NoSuchBal."""
        key = self._bal_key(bal)
        for digest in key.digests(ANSWERED, whom):
            self._run(_ANSWER_AGAIN, bal=bal, digest=digest)
        digest = key.digest(ANSWERED, whom)
        sealed = key.seal(answered_purpose(digest), whom.encode())
        self._run(_ANSWER, bal=bal, digest=digest, sealed=sealed, until=to_us(until))

    def _forget_answered(self, now: datetime) -> None:
        self._run(_FORGET_ANSWERED, now=to_us(now))

    def _write_script(self, bal: BalId, name: str, octets: bytes, *, active: bool) -> None:
        self._drop_script(bal, name)
        key = self._bal_key(bal)
        digest = key.digest(SCRIPT, name)
        opened = json.dumps([name, octets.decode(), active]).encode()
        self._run(
            _NEW,
            bal=bal,
            digest=digest,
            sealed=key.seal(script_purpose(digest), opened),
            active=active,
            size=len(octets),
            changed_at=to_us(self._vault.clock.now()),
        )

    def _drop_script(self, bal: BalId, name: str) -> None:
        for digest in self._bal_key(bal).digests(SCRIPT, name):
            self._run(_DROP, bal=bal, digest=digest)


def _opened(octets: bytes, at: int) -> StoredScript:
    name, text, active = json.loads(octets)
    return StoredScript(name, text.encode(), active, from_us(at))


def script_purpose(digest: bytes) -> bytes:
    """What a sealed script is bound to."""
    return SCRIPT + digest


def answered_purpose(digest: bytes) -> bytes:
    """What a sealed name of somebody who was answered is bound to."""
    return ANSWERED + digest
