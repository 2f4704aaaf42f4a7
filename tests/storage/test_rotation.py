"""Replacing keys (SEED-89, OP-77): everybody reads on, and nothing needs the old key."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mssmtp.errors import ConfigError
from mssmtp.mail import (
    Actor,
    Address,
    AdminLevel,
    Bal,
    BalId,
    BalType,
    DelegateRight,
    MailboxId,
    Recipient,
    Structure,
    StructureId,
    Uid,
    domain,
)
from mssmtp.outside import SystemEntropy
from mssmtp.storage import (
    Administrator,
    Delegation,
    NewNotice,
    Outcome,
    Reading,
    RotationReport,
    Store,
    Writing,
)
from mssmtp.storage.keys import MasterState, OwnerMark, OwnerRow
from mssmtp.storage.people_values import NewPerson, Record, ServedDomain
from mssmtp.storage.register import RegisterEntry
from mssmtp.storage.stations import MASTER_STATIONS, OWNER_STATIONS
from mssmtp.storage.suspensions import Suspension
from tests.storage.support import (
    SENDER,
    SUBMITTED,
    TRANSFER,
    SteppingClock,
    accept,
    add_bal,
    behind,
    inbox,
    message,
    open_new,
    recipients,
    reopen,
    settings,
)


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> str:
    """The embedded one, unless a test asks for the other."""
    return str(getattr(request, "param", "sqlite"))


Rotate = Callable[[Store], RotationReport]


def rotate_master(store: Store) -> RotationReport:
    return store.rotate_master()


def rotate_all(store: Store) -> RotationReport:
    return store.rotate_owners(None)


def both(store: Store) -> RotationReport:
    store.rotate_master()
    return store.rotate_owners(None)


EVERY = pytest.mark.parametrize(
    ("engine", "rotate"),
    [
        ("sqlite", rotate_master),
        ("sqlite", rotate_all),
        ("sqlite", both),
        ("postgresql", both),
    ],
    indirect=["engine"],
)
"""The other engine once: what differs is the SQL, and `both` runs all of it."""


def fill(store: Store, *, packs: bool = True) -> Bal:
    """Two rows or more at every station; the BAL of it."""
    bal = add_bal(store)
    other = store.write(
        lambda w: w.create_bal(
            Address.parse("secretariat@hopital-a.test"),
            BalType.ORG,
            usual_address=Address.parse("secretariat@clinique.test"),
        )
    ).result()
    accept(store, store.seal(message()), [bal, other])
    to = recipients("marius@cabinet-b.test", "olive@cabinet-b.test")
    envelope, _ = accept(store, store.seal(message(body=os.urandom(200_000))), [bal], to, bal.id)
    stranger = recipients("inconnu@poste.example", "inconnue@poste.example")
    accept(store, store.seal(message()), [bal], owner=bal.id, invited=stranger)
    for copies in ([bal], [bal, other]):
        accept(store, store.seal(message()), copies, owner=bal.id, transfer=SUBMITTED)
    later = SteppingClock().now() + timedelta(hours=1)
    outcomes = [Outcome(envelope, to[0], "retry", "451 plus tard", later)]
    outcomes.append(Outcome(envelope, to[1], "retry", "451 encore plus tard", later))
    box = inbox(store, bal)
    filed = [store.seal(message(body=b"%d\r\n" % n), may_be_sent=True) for n in range(2)]

    def rest(writing: Writing) -> None:
        account = writing.account("zoe@hopital-a.test")
        assert account is not None
        writing.add_member(other.id, account.id)
        second = writing.create_account("remplacante", other.id)
        writing.add_member(bal.id, second.id)
        writing.add_app_password(account.id, "telephone", "argon2", "scram")
        writing.add_app_password(account.id, "ordinateur", "argon2 bis", "scram bis")
        writing.record(outcomes, TRANSFER)
        made = writing.create_mailbox(bal.id, "Suivi")
        writing.store_flags(box, [Uid(1)], "+", frozenset({"Urgent", "Lu"}))
        for name in ("Ancien", "Perdu"):
            writing.delete_mailbox(bal.id, writing.create_mailbox(bal.id, name).name)
        writing.copy(box, [Uid(1)], made.id)
        sent = writing.mailbox(bal.id, "Sent")
        assert sent is not None
        for letter in filed:
            writing.append_sent(sent, letter, frozenset(), SteppingClock().now())
        writing.set_entry(made.id, second.id, "lr")
        writing.set_entry(box, second.id, "")
        writing.annotate(bal.id, "/shared/comment", b"cabinet", mailbox=made.id)
        writing.annotate(bal.id, "/private/comment", b"\xe9t\xc3\xa9", account=account.id)

    store.write(rest).result()
    store.write(fill_people).result()
    store.write(lambda w: fill_services(w, bal.id)).result()
    if packs:
        fill_windows(store, box)
    return bal


def fill_people(writing: Writing) -> None:
    """Two persons, structures, domains, records."""
    for number, (last, finess) in enumerate((("Tartempion", "130000011"), ("Durand", "130000029"))):
        structure = writing.create_structure(
            Structure(StructureId(0), f"Clinique {last}", finess, f"1300000{number}000019")
        )
        served = domain(f"{last}.mssante.test")
        writing.put_domain(ServedDomain(served, structure.id, purpose=last))
        person = writing.create_person(
            NewPerson(
                Address.parse(f"{last}@cabinet.example"),
                last,
                "Zoé",
                national_id=f"8{10_000_000_000 + number}",
                structure=structure.id,
            )
        )
        writing.put_register_entry(RegisterEntry(f"8{10_000_000_000 + number}", last))
        writing._retire(Address.parse(f"{last}@ancien.test"))
        writing.bind_account("psc", f"sub-{last}", person.account, f"e-CPS {last}")
        dated = Record("attestation", SteppingClock().now(), {"by": last})
        writing.add_record("person", person.id, dated)
        writing.set_portal_password(person.account, f"argon2 {last}")
        writing.new_secret(
            "reset", f"token-{last}", person.account, SteppingClock().now(), {"a": last}
        )
        writing.put_suspension(
            Suspension("account", str(person.account), SteppingClock().now(), last)
        )
        writing.add_administrator(
            Administrator(
                Actor(AdminLevel.STRUCTURE, f"dsi {last}", structure=structure.id),
                certificate=f"{number:064x}",
                uid=5_000 + number,
            )
        )
        writing.add_delegation(
            Delegation(
                BalId(number + 1),
                person.account,
                DelegateRight.SEND,
                SteppingClock().now(),
                reason=f"absence de {last}",
            )
        )
        writing.trace("administration", f"dsi {last}", "person.add", account=person.account)
        now = SteppingClock().now()
        writing.queue_notice(
            NewNotice("code", person.usual_address, "fr", {"code": last}, now, now)
        )


def fill_services(writing: Writing, bal: BalId) -> None:
    """Two scripts, people who were answered, and choices."""
    for name in ("vacances", "tri"):
        writing.put_script(bal, name, f"# {name}".encode())
        writing.remember_answered(bal, f"{name}@autre.test", SteppingClock().now())
        writing.prefer("bal", bal, name, name.encode())
    writing.activate_script(bal, "tri")


def fill_windows(store: Store, box: MailboxId) -> None:
    """Enough messages in two mailboxes that a pack is made of each."""
    later = SteppingClock().now()
    many = [store.seal(message(str(number))) for number in range(520)]
    for at in range(0, len(many), 130):
        some = many[at : at + 130]
        store.write(
            lambda w, some=some: [w.append(box, one, frozenset(), later) for one in some]  # type: ignore[misc]
        ).result()
    uids = [Uid(n) for n in range(1, 520)]
    bal = store.read(lambda r: r.mailbox_by_id(box)).result()
    assert bal is not None
    copy = store.write(lambda w: w.create_mailbox(bal.bal, "Copies")).result()
    store.write(lambda w: w.copy(box, uids, copy.id)).result()
    for one in (box, copy.id):
        store.read(lambda r, one=one: list(r.summaries(one, uids))).result()  # type: ignore[misc]
    store.write(lambda w: None).result()


def seen(store: Store) -> dict[str, Any]:
    """Everything people and clients can see."""

    def look(r: Reading) -> dict[str, Any]:
        found: dict[str, Any] = {"bals": r.bals(), "queue": r.queue()}
        for bal in r.bals():
            assert r.bal(bal.address) == bal
            assert bal.usual_address is None or r.bal_by_usual(bal.usual_address) == bal
            found[f"subscribed {bal.id}"] = r.subscriptions(bal.id)
            found[f"wrote {bal.id}"] = r.has_written(bal.id, SENDER)
            found[f"scripts {bal.id}"] = r.scripts(bal.id), r.active_script(bal.id)
            found[f"chosen {bal.id}"] = r.preference("bal", bal.id, "tri")
            found[f"members {bal.id}"] = r.members(bal.id)
            found[f"notes {bal.id}"] = r.annotations(bal.id, account=1)
            for box in r.mailboxes(bal.id):
                assert r.mailbox(bal.id, box.name) == box
                found[f"rights {box.id}"] = r.entries(box.id), r.annotations(bal.id, box.id)
                rows = r.messages(box.id)
                found[f"box {box.id}"] = box, rows, r.keywords(box.id)
                uids = [row.uid for row in rows]
                found[f"summaries {box.id}"] = list(r.summaries(box.id, uids))
                found[f"bodies {box.id}"] = [r.body(box.id, uid) for uid in uids[:5]]
        account = r.account("ZOE@hopital-a.test")
        assert account is not None
        found["structures"] = r.structures(), r.served_domains()
        for person in r.persons():
            assert r.person(person.usual_address) == person
            assert person.national_id is not None
            assert r.person_by_national_id(person.national_id) == person
            former = Address.parse(f"{person.last_name}@ancien.test")
            found[f"entry {former}"] = r.register_entry(person.national_id)
            found[f"former {former}"] = r.is_retired(former)
            found[f"person {person.id}"] = person, r.records("person", person.id)
            assert r.bound_account("psc", f"sub-{person.last_name}") == person.account
            found[f"password {person.id}"] = r.portal_password(person.account)
            secret = r.secret("reset", f"token-{person.last_name}")
            assert secret == r.newest_secret("reset", person.account)
            assert secret is not None
            found[f"secret {person.id}"] = secret, r.suspensions()
            found[f"bindings {person.id}"] = r.bindings(account=person.account)
            found[f"chosen {person.id}"] = r.preference("account", person.account, "notifications")
            since = SteppingClock().now()
            found[f"told {person.id}"] = r.noticed_since(person.usual_address, "code", since)
        found["notices"] = r.waiting_notices()
        for name in ("inconnu", "inconnue"):
            found[name] = r.invited(Address.parse(f"{name}@poste.example"))
            assert len(found[name]) == 1
        found["account"] = account, r.principal(account.id), r.app_passwords(account.id)
        for entry in r.queue():
            found[f"letter {entry.envelope}"] = r.letter_octets(entry.envelope)
            found[f"events {entry.envelope}"] = r.events(entry.envelope)
            found[f"transfers {entry.envelope}"] = r.transfers(entry.envelope)
            found[f"facts {entry.envelope}"] = r.facts(entry.envelope)
        return found

    return store.read(look).result()


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("rotation") / "home"
    store = open_new(home)
    fill(store)
    store.close()
    return home


@pytest.fixture
def used_home(filled: Path, home: Path, engine: str) -> Path:
    """A store with something at every station."""
    if engine == "sqlite":
        shutil.copytree(filled, home)
    else:
        store = open_new(home)
        fill(store)
        store.close()
    return home


@pytest.fixture
def used(used_home: Path) -> Iterator[Store]:
    store = reopen(used_home)
    yield store
    report = store.check(deep=True)
    store.close()
    assert report.problems == ()


def keys_in(home: Path) -> set[str]:
    return {path.name for path in home.glob("*.key")}


def wanted(store: Store) -> MasterState:
    return store.read(lambda r: r.master_state()).result()


@pytest.mark.requirement("SEED-89")
@pytest.mark.requirement("OP-77")
@EVERY
def test_a_rotation_changes_no_answer_and_leaves_nothing_under_the_old_key(
    used: Store, rotate: Rotate
) -> None:
    before = seen(used)
    rows = used.read(lambda r: {**r.rows_of(None), **r.rows_under_master()}).result()
    assert all(rows.values()), rows  # something stands at every station
    report = rotate(used)
    assert report.is_finished
    assert not report.damaged
    assert seen(used) == before
    stations = MASTER_STATIONS + OWNER_STATIONS
    assert used.read(lambda r: r.stale_count(stations)).result() == 0
    assert used.read(lambda r: r.owners_between_keys()).result() == []


def test_a_rotated_master_key_takes_the_old_name_and_the_old_one_keeps_its_id(
    used: Store, home: Path
) -> None:
    old, before = wanted(used).id, (home / "master.key").read_bytes()
    used.rotate_master()
    new = wanted(used)
    assert new.id != old
    assert new.older is None
    assert keys_in(home) == {"master.key", f"master-{old}.key"}
    assert (home / f"master-{old}.key").read_bytes() == before
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in home.glob("*.key"))
    (home / f"master-{old}.key").unlink()  # the operator's step
    again = reopen(home)
    assert seen(again) == seen(used)
    again.close()
    (home / "master.key").rename(home / "kept")
    (home / "master.key").write_bytes(before)
    (home / "master.key").chmod(0o600)
    with pytest.raises(
        ConfigError, match=f"the store wants key {new.id}, the file holds key {old}"
    ):
        reopen(home)
    (home / "kept").replace(home / "master.key")


class _Killed(Exception):
    pass


class _DiesAfter:
    """A store whose process ends once `commits` of it are on disk."""

    def __init__(self, store: Store, monkeypatch: pytest.MonkeyPatch, commits: int) -> None:
        self._left = commits
        self._write = store.write
        monkeypatch.setattr(store, "write", self.write)

    def write(self, job: Callable[[Writing], Any]) -> Any:
        if not self._left:
            raise _Killed
        self._left -= 1
        return self._write(job)


@pytest.mark.requirement("OP-77")
@pytest.mark.parametrize(
    ("engine", "rotate"),
    [("sqlite", rotate_master), ("sqlite", rotate_all), ("postgresql", rotate_master)],
    indirect=["engine"],
)
def test_a_rotation_killed_after_any_commit_goes_on_where_it_was(
    used: Store, rotate: Rotate, home: Path
) -> None:
    before = seen(used)
    for commits in range(100):
        store = reopen(home)
        with pytest.MonkeyPatch.context() as patch:
            _DiesAfter(store, patch, commits % 3)
            try:
                rotate(store)
                break
            except _Killed:
                pass
        assert seen(store) == before
        store.close()
        assert seen(used) == before  # another process, open since before it all began
    else:
        pytest.fail("never finished")
    store.close()
    assert commits > 5
    stations = MASTER_STATIONS + OWNER_STATIONS
    assert used.read(lambda r: r.stale_count(stations)).result() == 0


@pytest.mark.parametrize("dies_at", ["link", "replace", "fsync"])
def test_a_rotation_killed_between_key_files_goes_on(used: Store, dies_at: str, home: Path) -> None:
    old = wanted(used).id
    for count in range(20):
        with pytest.MonkeyPatch.context() as patch:
            _die_at(patch, dies_at, count)
            try:
                used.rotate_master()
                break
            except _Killed:
                pass
        again = reopen(home)
        assert again.check(deep=True).is_sound
        again.close()
    assert keys_in(home) >= {"master.key", f"master-{old}.key"}
    assert "master-next.key" not in keys_in(home)


def _die_at(patch: pytest.MonkeyPatch, name: str, count: int) -> None:
    left = [count]
    real = getattr(os, name)

    def call(*arguments: Any) -> Any:
        if not left[0]:
            raise _Killed
        left[0] -= 1
        return real(*arguments)

    patch.setattr(f"mssmtp.storage.masters.os.{name}", call)


@EVERY
def test_others_work_on_while_keys_are_replaced(used: Store, rotate: Rotate, home: Path) -> None:
    """Another process adds people, mail, mailboxes, keywords between any two commits."""
    rotating = reopen(home)
    write = rotating.write
    done: list[str] = []

    def interleaved(job: Callable[[Writing], Any]) -> Any:
        future = write(job)
        future.result()
        _everything(used, len(done))
        done.append("once")
        return future

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rotating, "write", interleaved)
        report = rotate(rotating)
    assert report.is_finished
    assert not report.damaged
    assert len(done) > 3
    assert seen(used) == seen(rotating)
    rotating.close()
    fresh = reopen(home)
    assert seen(fresh) == seen(used)
    fresh.close()


def _everything(store: Store, number: int) -> None:
    """One of each kind of write, by a process that has not heard of a rotation."""
    address = Address.parse(f"personne{number}@hopital-a.test")
    made = store.write(
        lambda w: w.create_bal(address, BalType.ORG, login=f"personne{number}")
    ).result()
    zoe = store.read(lambda r: r.bal(Address.parse("zoe@hopital-a.test"))).result()
    assert zoe is not None
    to = (Recipient(Address.parse(f"autre{number}@domaine{number}.test")),)
    accept(store, store.seal(message()), [made, zoe], to)

    def rest(writing: Writing) -> None:
        box = writing.create_mailbox(zoe.id, f"Suivi {number}")
        letters = writing.mailbox(zoe.id, "INBOX")
        assert letters is not None
        newest = writing.uids(letters.id)[-1]
        writing.store_flags(letters.id, [newest], "+", frozenset({f"Mot{number % 9}"}))
        writing.move(letters.id, [newest, Uid(2 + number)], box.id)
        account = writing.account(f"personne{number}")
        assert account is not None
        writing.add_member(zoe.id, account.id)
        writing.add_app_password(account.id, "poste", "argon2", "scram")

    store.write(rest).result()
    names = (f"Suivi {number}", f"Clos {number}")
    if number % 5 == 4:
        store.write(lambda w: w.rename_mailbox(zoe.id, *names)).result()


def test_no_key_is_dropped_before_a_snapshot_shows_that_nothing_needs_it(used: Store) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mssmtp.storage.rotation._ROUNDS", 0)
        report = used.rotate_owners(None)
        assert not report.is_finished  # nothing was swept: nothing may be dropped
    assert used.rotate_owners(None).is_finished


@pytest.mark.parametrize("rotate", [rotate_master, rotate_all])
def test_damaged_rows_keep_the_old_key_until_they_are_given_up(
    used_home: Path, rotate: Rotate
) -> None:
    db = behind(used_home)
    for table in ("app_passwords", "keywords"):
        (value,) = db.execute(f"SELECT sealed FROM {table}").fetchone()  # noqa: S608
        spoilt = value[:-1] + bytes([value[-1] ^ 1])
        db.execute(f"UPDATE {table} SET sealed = ?", (spoilt,))  # noqa: S608
    db.close()
    store = reopen(used_home)
    report = rotate(store)
    assert not report.is_finished
    assert report.damaged
    assert all(one.startswith(("app_passwords", "keywords")) for one in report.damaged)
    assert not rotate(store).is_finished
    if rotate is rotate_master:
        assert wanted(store).older is not None
        assert store.rotate_master(give_up=True).is_finished
    else:
        assert len(store.read(lambda r: r.owners_between_keys()).result()) == 1
        assert store.rotate_owners(give_up=True).is_finished
        assert store.read(lambda r: r.owners_between_keys()).result() == []
    store.close()


@pytest.mark.requirement("OP-77")
@pytest.mark.parametrize("engine", ["sqlite", "postgresql"], indirect=True)
def test_new_message_keys_change_no_answer_and_leave_no_old_content(
    used_home: Path, engine: str
) -> None:
    clock = SteppingClock()
    clock.advance(timedelta(hours=2))
    store = Store(settings(used_home), clock, SystemEntropy(), worker="later")
    before, contents = seen(store), contents_of(used_home)
    report = store.rotate_messages()
    assert report.is_finished
    assert report.renewed == len(contents) > 500
    assert seen(store) == before
    after = contents_of(used_home)
    assert len(after) == len(contents)
    assert not contents & after
    clock.advance(timedelta(seconds=1))
    assert store.check(deep=True).problems == ()
    assert store.rotate_messages().renewed == 0  # what is young stays
    store.close()


def contents_of(home: Path) -> set[bytes]:
    """Sealed contents, of rows and of files."""
    db = behind(home)
    rows = db.execute("SELECT data FROM blobs WHERE data IS NOT NULL").fetchall()
    db.close()
    files = {path.read_bytes() for path in (home / "blobs").rglob("*") if path.is_file()}
    return {bytes(row[0]) for row in rows} | files


def test_new_message_keys_are_given_to_one_owner_and_go_on_when_killed(used_home: Path) -> None:
    clock = SteppingClock()
    clock.advance(timedelta(hours=2))
    store = Store(settings(used_home), clock, SystemEntropy(), worker="later")
    org = store.read(lambda r: r.bal(Address.parse("secretariat@hopital-a.test"))).result()
    assert org is not None
    before, contents = seen(store), contents_of(used_home)
    for commits in range(20):
        with pytest.MonkeyPatch.context() as patch:
            _DiesAfter(store, patch, commits)
            try:
                report = store.rotate_messages(org.id)
                break
            except _Killed:
                pass
    assert report.is_finished
    assert commits > 2
    assert len(contents - contents_of(used_home)) == 2  # the letters of this box
    assert seen(store) == before
    clock.advance(timedelta(seconds=1))
    assert store.check(deep=True).problems == ()
    store.close()


def test_a_content_that_does_not_open_keeps_its_key_and_is_named(used_home: Path) -> None:
    db = behind(used_home)
    db.execute("UPDATE blobs SET data = zeroblob(length(data)) WHERE number = 1")
    db.close()
    clock = SteppingClock()
    clock.advance(timedelta(hours=2))
    store = Store(settings(used_home), clock, SystemEntropy(), worker="later")
    report = store.rotate_messages()
    assert report.damaged == ("blobs 1",)
    assert not report.is_finished
    store.close()


def test_a_snapshot_of_before_the_end_does_not_get_the_key_of_after_it(used: Store) -> None:
    """Else what is under the older key looks damaged to who reads while a rotation ends."""
    keys = used._keys
    old, new = (keys.new_owner_key(b"name", b"handle") for _ in range(2))
    before = OwnerRow(700, b"name", b"handle", b"\x01", old, None)
    sealed = keys.owner(before).seal(b"purpose", b"text")
    during = replace(before, mark=b"\x02", wrapped=new, older=old)
    keys.owner(replace(during, older=None))
    assert keys.cached(700, OwnerMark(b"\x02", replaces=False)) is not None
    assert keys.cached(700, OwnerMark(b"\x02", replaces=True)) is None
    assert keys.owner(during).open(b"purpose", sealed) == b"text"
    assert keys.cached(700, OwnerMark(b"\x02", replaces=True)) is not None
