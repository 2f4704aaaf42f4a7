"""Store: a home opened by one process, with its two doors."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import bindparam, select

from mssmtp import processors
from mssmtp.config import StoreSettings
from mssmtp.errors import ConfigError, Damaged, StorageFull, StorageUnavailable
from mssmtp.mail import BalId, BlobId, Change, EnvelopeId, MailboxId
from mssmtp.message.body_digest import BodyDigest
from mssmtp.outside import Clock, Entropy
from mssmtp.storage import deadlines, first_schema, identifiers, moved, rebuilding, rotation
from mssmtp.storage.answers import Answers
from mssmtp.storage.changes import Follower
from mssmtp.storage.committer import Committer, home_lock
from mssmtp.storage.database import refusal
from mssmtp.storage.deadlines import Answer, Deadlines
from mssmtp.storage.engine import Connection, Engine, engine_of, take_time, when_replaced
from mssmtp.storage.files import (
    DIRECTORY_MODE,
    BlobFiles,
    forget_left_behind,
    make_directories,
    require_directories,
    sync_directory,
)
from mssmtp.storage.images import Images
from mssmtp.storage.keys import FIRST_MARK, Keyring, MasterState
from mssmtp.storage.known import Known
from mssmtp.storage.lately import Lately
from mssmtp.storage.letters import LetterWriter, Reader, message_reader
from mssmtp.storage.masters import MasterFiles, create_master_key
from mssmtp.storage.messages import PACK_UIDS, TEXT_UIDS
from mssmtp.storage.model import CheckReport, Letter, Owner
from mssmtp.storage.packer import Packer
from mssmtp.storage.readers import Readers
from mssmtp.storage.readings import Noted
from mssmtp.storage.rebuilding import RebuildReport
from mssmtp.storage.remembered import Remembered
from mssmtp.storage.rotation import Progress, RotationReport, silent
from mssmtp.storage.schema import blobs, meta, sql
from mssmtp.storage.sealing import ChunkReader
from mssmtp.storage.texts import keeping
from mssmtp.storage.textsealing import SealedSieve, SealedTexts, TextKind
from mssmtp.storage.view import MASTERS, Effects, Vault
from mssmtp.storage.views import Reading, Writing

if TYPE_CHECKING:
    from mssmtp.message.scanner import ScanLimits
    from mssmtp.storage.stats import StoreStats

__all__ = ["Reading", "Store", "Writing"]

T = TypeVar("T")

FOLDS_AT_ONCE = 8
_META = sql(select(meta.c.value).where(meta.c.key == bindparam("key")))
OPENERS = 2
"""Threads that open packs for searches: AES and zstd run beside the interpreter."""
_HAS_BLOB = sql(select(blobs.c.number).where(blobs.c.id == bindparam("id")))


class Store:
    """The encrypted store of one home. Safe between threads; one object per process."""

    def __init__(
        self,
        settings: StoreSettings,
        clock: Clock,
        entropy: Entropy,
        *,
        limits: ScanLimits | None = None,
        worker: str = "cli",
        reader: Reader | None = None,
        tells: bool = False,
    ) -> None:
        """Raises ConfigError: no store, key missing or wrong, modes too open, newer schema.

        `tells`: arrivals and openings are noted, for whoever sends the service mail.
        """
        self._home = settings.home
        self._engine = _existing(settings)
        self._masters = MasterFiles(settings.master_key_file, entropy)
        self._entropy = entropy
        self._ids = identifiers.Identifiers(clock, entropy)
        self._small_octets = settings.small_octets
        self._reader = reader or message_reader(limits)
        self._worker, self._started = worker, self._ids.new_octets()
        self._folds = threading.BoundedSemaphore(FOLDS_AT_ONCE)
        try:
            db = self._opened()
        except (sqlite3.Error, OSError, StorageUnavailable, StorageFull) as error:
            raise self._engine.unusable(error) from error
        self.lately = Lately(self._home / "run", clock)
        self._openers = ThreadPoolExecutor(OPENERS, "store-opener", processors.roam)
        self._packer = Packer(self._pack)
        self.noted = Noted()
        self._vault = self._made_vault(settings, clock, tells=tells)
        when_replaced(db, self._forget)
        forget_unused = self._vault.remembered.forget_unused
        self._deadlines = Deadlines(deadlines.ANSWER_WITHIN_S, forget_unused)
        self._committer: Committer[Writing] = Committer(
            db,
            self._engine,
            lambda rows: Writing(db, self._vault, rows),
            self._forget,
            self._tidy,
            self._deadlines,
        )
        self._local = threading.local()
        self._connections: list[Connection] = []
        self._readers = Readers(settings.read_threads)
        self.answers = Answers(self._engine.watch, clock)
        self._follower: Follower | None = None
        self._follower_lock = threading.Lock()

    def _made_vault(self, settings: StoreSettings, clock: Clock, *, tells: bool) -> Vault:
        return Vault(
            self._keys,
            self._files,
            clock,
            self._entropy,
            self._reader,
            settings.facts_kept,
            settings.quota_octets,
            self.noted,
            Known(),
            Images(),
            Remembered(clock),
            self.lately,
            self._openers,
            self._later,
            self._packer.want,
            tells,
            self._worker,
        )

    def _opened(self) -> Connection:
        """The writing connection, once key and schema are right and leftovers are swept."""
        with home_lock(self._home):
            require_directories(self._home)
            self._engine.require_whole()
            # A death before the sweep must not find the log folded and the dead not yet forgotten.
            with self._engine.kept_open():
                return self._swept()

    def _swept(self) -> Connection:
        with ExitStack() as stack:  # undone in reverse: the database is let go of last
            self._engine.ensure_version()
            db = self._engine.connect(writing=True)
            stack.callback(db.close)
            stack.callback(forget_left_behind, self._home)
            moved.require_here(db)
            self._keys = self._keyring(db)
            sync_directory(self._home)  # the log's name, before what tells that there is one
            self._files = BlobFiles(self._home, self._worker, self._started)
            stack.callback(self._files.close)
            self._files.sweep(lambda blob: _has(db, blob), lambda: _wait_for_commits(db))
            stack.pop_all()
        return db

    @staticmethod
    def create(settings: StoreSettings, clock: Clock, entropy: Entropy) -> None:
        """Make home (0700), master key (0600) when missing, and an empty store.

        Raises ConfigError when there is a store already or the place cannot be written.
        """
        home = settings.home
        engine = engine_of(settings)
        if engine.holds_store():
            raise ConfigError("store.home", "holds a store already", "Choose another directory.")
        try:
            home.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
            home.chmod(DIRECTORY_MODE)
            settings.master_key_file.parent.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
            create_master_key(settings.master_key_file, entropy)
            make_directories(home)
            for made in (settings.master_key_file, home):
                with suppress(PermissionError):  # a directory we may write to but not list
                    sync_directory(made.parent)
            master = MasterFiles(settings.master_key_file, entropy).current()
            with home_lock(home):
                engine.create({MASTERS: bytes(MasterState(FIRST_MARK, master.id))})
                sync_directory(home)
        except OSError as error:
            raise ConfigError(
                "store.home", f"cannot be written ({error.strerror})", "Correct owner and modes."
            ) from error

    def read(self, query: Callable[[Reading], T], *, patient: bool = False) -> Future[T]:
        """Run `query` on one snapshot, in a reading thread.

        It fails with StorageUnavailable when nothing comes within ANSWER_WITHIN_S while the thread
        computes nothing (CL-79), unless `patient`: for commands that a person watches.
        """
        future: Future[T] = Future()
        if patient:
            taken = self._readers.put(lambda: self._answer_patiently(query, future))
        else:
            answer = self._deadlines.expect(future, is_read=True)
            taken = self._readers.put(lambda: self._answer_query(query, answer))
        if not taken:
            future.set_exception(StorageUnavailable("the store is closed"))
        return future

    @property
    def is_behind(self) -> bool:
        """The disk does not keep up: a door takes no new message now (D11)."""
        return self._committer.is_behind

    @contextmanager
    def coming(self) -> Iterator[None]:
        """A letter is being received, until its commit is answered: a group waits for it a little.

        For one thread only, that of the doors.
        """
        self._committer.coming += 1
        try:
            yield
        finally:
            self._committer.coming -= 1

    def write(self, job: Callable[[Writing], T], *, octets: int = 0) -> Future[T]:
        """Run `job` in the next group commit; the future resolves only once it is on disk.

        It fails with what the job raised, StorageFull or StorageUnavailable; then nothing of the
        job was written. `octets`: what the job holds in memory until then (`Letter.held_octets`).
        When too much waits it fails at once with StorageBehind.
        """
        return self._committer.submit(job, octets)

    def writer(self, reader: Reader | None = None, *, may_be_sent: bool = False) -> LetterWriter:
        """A writer for one message, fed while it arrives; `reader` instead of the usual one.

        `may_be_sent`: the letter is to be known again as a sent copy (CL-80).
        """
        return LetterWriter(
            BlobId(self._ids.new_octets()),
            reader or self._reader,
            self._files,
            self._entropy,
            self._small_octets,
            BodyDigest() if may_be_sent else None,
        )

    def seal(self, octets: bytes, *, may_be_sent: bool = False) -> Letter:
        """A whole message at once: notifications, small APPENDs."""
        writer = self.writer(may_be_sent=may_be_sent)
        try:
            writer.write(octets)
            return writer.finish()
        except BaseException:
            writer.abort()
            raise

    def content(self, letter: Letter) -> ChunkReader:
        """What is in a letter that no commit has taken yet, for who reads it before."""
        blob, data = letter.blob, letter.blob.data
        source = (
            self._files.source(blob.id)
            if data is None
            else lambda offset, octets: data[offset : offset + octets]
        )
        return ChunkReader(blob.id, blob.key, blob.index, letter.size_octets, source)

    @staticmethod
    def discard(letter: Letter) -> None:
        """Remove a letter that no commit adopted, now rather than when it is forgotten.

        Harmless at any moment: what a job is writing is removed only if that job fails.
        """
        letter.blob.discard()

    def subscribe(
        self,
        listener: Callable[[tuple[Change, ...]], None],
        hurries: Callable[[], bool] = lambda: True,
    ) -> Callable[[], None]:
        """Call `listener`, from a thread of the store, for the commits of every process.

        Without any change, and apart from those, when something in the queue became due. It must
        return quickly. `hurries`: whether it now matters to hear within milliseconds, also while
        one commit follows the other. Returns how to stop it.
        """
        with self._follower_lock:
            if self._follower is None:
                self._follower = Follower(self._engine, f"{self._worker}-{self._started.hex()}")
            return self._follower.subscribe(listener, hurries)

    def check(
        self, *, deep: bool = False, told: Callable[[str, int, int], None] | None = None
    ) -> CheckReport:
        """Every invariant of the store; `deep` opens every sealed value too.

        Beside a running server, in many short snapshots. `told` is called after each with what
        is being looked at, how many of it are done and about how many there are.
        """
        from mssmtp.storage.check import check

        def ask(query: Callable[[Reading], T]) -> T:
            return self.read(query, patient=True).result()

        return check(ask, self._vault, deep=deep, told=told)

    def rotate_master(
        self, *, give_up: bool = False, progress: Progress = silent
    ) -> RotationReport:
        """Replace the master key, or go on where a crash stopped that (`rotation`).

        Raises ConfigError, StorageFull, StorageUnavailable, Damaged.
        """
        return rotation.rotate_master(self, self._masters, give_up=give_up, progress=progress)

    def shred_bal(self, bal: BalId, reason: str) -> None:
        """Make a box unreadable for ever, its part of the proofs too, then tidy (`shredding`).

        Killed, it goes on when called again. Raises NoSuchBal, StorageFull, StorageUnavailable.
        """
        self.write(lambda w: w.shred_key(bal, reason)).result()
        self._tidy_bal(bal)

    def remove_bal(self, bal: BalId, reason: str) -> None:
        """Destroy the mail of a box and forget whose it was; its proofs stay (OP-49).

        Killed, it goes on when called again. Raises NoSuchBal, StorageFull, StorageUnavailable.
        """
        self.write(lambda w: w.remove_box(bal, reason)).result()
        self._tidy_bal(bal)

    def _tidy_bal(self, bal: BalId) -> None:
        while self.write(lambda w: w.tidy_shredded(bal)).result():
            pass
        self.scrub()

    def prepare_master(self) -> tuple[Path, str]:
        """Write the key that the next `rotate_master` will use: its file and its id.

        For stores on several nodes, each with a directory of keys. Raises ConfigError.
        """
        return self._masters.next, self._masters.prepare().id

    def scrub(self) -> None:
        """Have the engine overwrite what rows held before, as far as it can (docs/sealing.md)."""
        self._engine.scrub()

    def rotate_owners(
        self, owner: Owner | None = None, *, give_up: bool = False, progress: Progress = silent
    ) -> RotationReport:
        """Replace the key of a BAL, of a domain, or of everybody; or go on with that.

        Raises NoSuchBal, StorageFull, StorageUnavailable, Damaged.
        """
        return rotation.rotate_owners(self, owner, give_up=give_up, progress=progress)

    def stats(self) -> StoreStats:
        """Sizes and counts; nothing is opened."""
        from mssmtp.storage.stats import stats

        return self.read(lambda view: stats(view, self._vault), patient=True).result()

    def rebuild(
        self, told: rebuilding.Told = rebuilding.silent, *, from_the_start: bool = False
    ) -> RebuildReport:
        """Make every summary and pack anew and compare; beside a running server (D6)."""
        return rebuilding.rebuild(self, told, from_the_start=from_the_start)

    def settle(self) -> None:
        """Wait until the packs that are wanted are made and kept."""
        for _ in range(2):  # what is wanted is told behind a commit; what is made waits for one
            self.write(lambda _: None).result()
            self._packer.settle()

    def rotate_messages(
        self, owner: Owner | None = None, *, progress: Progress = silent
    ) -> RotationReport:
        """New keys for the messages themselves: every content is written anew (`resealing`).

        Raises NoSuchBal, StorageFull, StorageUnavailable.
        """
        return rotation.rotate_messages(self, owner, progress=progress)

    def floor(self, age: timedelta) -> BlobId:
        """An id such that what is older than `age` has a smaller one."""
        return BlobId(identifiers.least_octets(self._vault.clock.now() - age))

    def new_envelope_id(self) -> EnvelopeId:
        """A queue id: 26 characters, time-ordered, unique in the store."""
        return EnvelopeId(self._ids.new())

    def close(self) -> None:
        """Finish queued jobs and let go of everything, of the database last: what is left of a
        home whose log is missing says whether that is the log of an orderly end."""
        with ExitStack() as stack:
            stack.enter_context(self._engine.kept_open())
            self._packer.close()
            self._committer.close()
            if self._follower is not None:
                self._follower.close()
            self._readers.close()
            self.answers.close()
            self._openers.shutdown(wait=True)
            self._deadlines.close()
            for db in self._connections:
                db.close()
            self.lately.close()
            with home_lock(self._home):
                self._files.close()
                stack.close()
                forget_left_behind(self._home)  # who died meanwhile left the log to be folded here

    def _answer_query(self, query: Callable[[Reading], T], answer: Answer[T]) -> None:
        if not answer.begin():
            return
        try:
            result = self._run_query(query)
        except BaseException as error:
            answer.fail(error)
        else:
            answer.give(result)

    def _answer_patiently(self, query: Callable[[Reading], T], future: Future[T]) -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            result = self._run_query(query, patient=True)
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(result)

    def _run_query(self, query: Callable[[Reading], T], *, patient: bool = False) -> T:
        try:
            db = self._reading_connection()
            db.execute("BEGIN")
            if patient:
                take_time(db)
            try:
                return query(Reading(db, self._vault))
            finally:
                if db.in_transaction:
                    db.execute("ROLLBACK")
        except (sqlite3.Error, OSError) as error:
            answer = refusal(error)
            if answer is error:
                raise
            raise answer from error

    def _reading_connection(self) -> Connection:
        db: Connection | None = getattr(self._local, "db", None)
        if db is None:
            db = self._local.db = self._engine.connect(writing=False)
            when_replaced(db, self._forget_contents)
            self._connections.append(db)
        return db

    def _pack(self, mailbox: MailboxId, window: int) -> None:
        """Make what a window lacks, one pack in memory at a time."""
        for kind in TextKind:
            is_kept = True
            while is_kept:
                made = self.read(_making(mailbox, kind, window), patient=True).result()
                is_kept = made is not None and self.write(keeping(made)).result()
        is_kept = True
        while is_kept:
            sieve = self.read(lambda r: r.missing_sieve(mailbox, window), patient=True).result()
            is_kept = sieve is not None and self.write(_keeping_sieve(sieve)).result()
        self.read(lambda r: r.make_pack(mailbox, window * TEXT_UIDS // PACK_UIDS)).result()

    def _later(self, job: Callable[[Writing], object]) -> None:
        """Write a pack when there is time; never more than a few at once."""
        if not self._folds.acquire(blocking=False):
            return
        future = self.write(job)
        future.add_done_callback(lambda _: self._folds.release())

    def _forget(self) -> None:
        """After a rollback, or on another server: what was looked up may not be so."""
        self._keys.forget()
        self._vault.known.forget()
        self._forget_contents()

    def _forget_contents(self) -> None:
        self._vault.images.forget()
        self._vault.remembered.forget()

    def _tidy(self, effects: Effects) -> None:
        if effects.changes:
            self._packer.mail_came()
        for blob in effects.adopted:
            if blob.data is None:
                self._files.adopt(blob.id)
        for id in effects.doomed:
            self._files.remove(id)

    def _keyring(self, db: Connection) -> Keyring:
        """The keys this store wants. Raises ConfigError with their ids when they are others."""
        row = db.execute(_META, {"key": MASTERS}).fetchone()
        if row is None and db.execute(_META, {"key": first_schema.KEY_CHECK}).fetchone():
            first_schema.convert(db, self._masters.current_octets(), self._entropy)
            row = db.execute(_META, {"key": MASTERS}).fetchone()
        try:
            state = MasterState.parse(row[0] if row else b"")
        except Damaged as error:
            raise ConfigError(
                "store.home",
                "the store does not say which master key it wants",
                "Restore the last good copy of the store.",
            ) from error
        return Keyring(state, self._entropy, self._masters.find)


def _existing(settings: StoreSettings) -> Engine:
    home = settings.home
    engine = engine_of(settings)
    try:
        mode = home.stat().st_mode
    except OSError:
        mode = None
    holds_store = mode is not None and engine.holds_store()
    if settings.database and not holds_store and (home / "store.db").exists():
        raise ConfigError(
            "store.database",
            "is empty, and the home holds a SQLite store",
            "Move that into it: `mssmtp store migrate`.",
        )
    if mode is None or not holds_store:
        raise ConfigError(
            "store.home", f"there is no store in {home}", "Run `mssmtp init` to make one."
        )
    if mode & 0o077:
        raise ConfigError("store.home", "others may enter the directory", "Set its mode to 0700.")
    return engine


def _making(
    mailbox: MailboxId, kind: TextKind, window: int
) -> Callable[[Reading], SealedTexts | None]:
    return lambda reading: reading.missing_texts(mailbox, kind, window)


def _keeping_sieve(sieve: SealedSieve) -> Callable[[Writing], bool]:
    return lambda writing: writing.keep_sieve(sieve)


def _wait_for_commits(db: Connection) -> None:
    """Whoever commits holds the lock of writers until everybody can see it. StorageUnavailable."""
    db.execute("BEGIN IMMEDIATE")
    db.execute("ROLLBACK")


def _has(db: Connection, blob: BlobId) -> bool:
    return db.execute(_HAS_BLOB, {"id": blob}).fetchone() is not None
