"""The two views a job or query gets: everything readable, everything writable."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from mssmtp.mail import BalId
from mssmtp.storage.activity import INACTIVITY_TOLD
from mssmtp.storage.administrators import AdministratorReading, AdministratorWriting
from mssmtp.storage.bindings import BindingReading, BindingWriting
from mssmtp.storage.bodies import BodyReading
from mssmtp.storage.copying import CopyingReading, CopyingWriting
from mssmtp.storage.handed import HandedReading, HandedWriting
from mssmtp.storage.invited import InvitedReading
from mssmtp.storage.ledger import LedgerReading
from mssmtp.storage.notices import NoticeReading, NoticeWriting
from mssmtp.storage.outgoing import OutgoingReading, OutgoingWriting
from mssmtp.storage.people_values import Record
from mssmtp.storage.persons import PersonReading
from mssmtp.storage.rebuilding import RebuildReading, RebuildWriting
from mssmtp.storage.register import RegisterReading, RegisterWriting
from mssmtp.storage.resealing import ResealReading, ResealWriting
from mssmtp.storage.rotating import RotationReading, RotationWriting
from mssmtp.storage.scripts import ScriptReading, ScriptWriting
from mssmtp.storage.secrets import SecretReading, SecretWriting
from mssmtp.storage.sent import SentWriting
from mssmtp.storage.shredding import ShredReading, ShredWriting
from mssmtp.storage.structures import StructureReading
from mssmtp.storage.suspensions import SuspensionWriting
from mssmtp.storage.traces import TraceReading, TraceWriting
from mssmtp.storage.waiting import QueueReading


class Reading(
    CopyingReading,
    ScriptReading,
    HandedReading,
    BodyReading,
    NoticeReading,
    InvitedReading,
    ResealReading,
    QueueReading,
    OutgoingReading,
    PersonReading,
    StructureReading,
    RegisterReading,
    AdministratorReading,
    TraceReading,
    BindingReading,
    SecretReading,
    RebuildReading,
    LedgerReading,
    RotationReading,
    ShredReading,
):
    """One snapshot of the store."""


class Writing(
    CopyingWriting,
    ScriptWriting,
    HandedWriting,
    NoticeWriting,
    ResealWriting,
    ShredWriting,
    OutgoingWriting,
    SentWriting,
    AdministratorWriting,
    TraceWriting,
    RegisterWriting,
    BindingWriting,
    SecretWriting,
    SuspensionWriting,
    RebuildWriting,
    RotationWriting,
    Reading,
):
    """The store inside a group commit; what a job raises undoes the job alone."""

    def note_warned(self, bal: BalId, which: Mapping[str, str], written_at: datetime) -> None:
        """OP-48: the warning `which` counts, once the relay has taken it and once whoever else it
        goes to; not when the box was used since it was written."""
        box, now = self.bal_by_id(bal), self.now()
        if box is None or (since := self.last_activity(bal)) > written_at:
            return
        told = self.records("bal", bal).get(INACTIVITY_TOLD)
        is_first = told is None or told.at < since
        if told is not None and not is_first and dict(told.values) == dict(which):
            return
        self.add_record("bal", bal, Record(INACTIVITY_TOLD, now, which))
        self.set_idle_notices(bal, 1 if is_first else self.idle_notices(bal) + 1)

    def prune(self, now: datetime) -> None:
        """Forget facts whose time is over, files whose removal a crash prevented, sent letters that
        no client will file any more, delegations long over, who may be answered again, service
        mail that has left and secrets that have expired.

        Events are never purged (SEED-66).
        """
        self._forget_facts(now)
        self._bury_files()
        self._forget_sent(now)
        self._forget_delegations(now)
        self._forget_answered(now)
        self._forget_notices(now)
        self._forget_secrets(now)
