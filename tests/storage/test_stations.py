"""No sealed value can take another's place (ATT-19), and a spoilt one spoils itself alone (D10).

Every column that holds octets is either named here as not sealed, or stands at a station; and at
every station two rows exchange their values, and values are altered and cut in every part.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from sqlalchemy import LargeBinary, Table, select

from mssmtp.errors import Damaged, MailError
from mssmtp.mail import (
    AccountId,
    Address,
    BalId,
    MailboxId,
    PersonId,
    StructureId,
    Uid,
    domain,
)
from mssmtp.storage import Reading, Store
from mssmtp.storage.keys import NONCE_OCTETS
from mssmtp.storage.schema import envelopes, metadata, sql
from mssmtp.storage.scripts import ScriptRefused
from mssmtp.storage.stations import MASTER_STATIONS, OWNER_STATIONS
from tests.storage.support import SENDER, accept, add_bal, behind, inbox, message, open_new
from tests.storage.test_rotation import fill, fill_windows

STATIONS = MASTER_STATIONS + OWNER_STATIONS
NOT_SEALED = {
    ("meta", "value"): "ids of keys, the name of the home",
    ("owners", "handle"): "random, authenticated in everything of the owner",
    ("owners", "mark"): "names a key",
    ("blobs", "id"): "random, authenticated in the content",
    ("blobs", "chunks"): "lengths, authenticated in the content",
    ("blobs", "data"): "sealed chunk by chunk, tests below",
    ("doomed_files", "id"): "an id",
    ("states", "octets"): "UIDs, modseqs, bits of flags",
    ("readings", "octets"): "numbers of letters",
    ("events", "previous"): "digest of an event, which names nobody",
    ("events", "digest"): "the same",
    ("administrators", "certificate"): "SHA-256 of a certificate, believed only as sealed",
}
KEYED = {
    ("bals", "digest"),
    ("bals", "usual_digest"),
    ("accounts", "login_digest"),
    ("correspondents", "digest"),
    ("mailboxes", "digest"),
    ("subscriptions", "digest"),
    ("metadata", "digest"),
    ("queue", "digest"),
    ("sent", "digest"),
    ("sent_copies", "digest"),
    ("persons", "usual_digest"),
    ("persons", "national_digest"),
    ("structures", "finess_digest"),
    ("structures", "siret_digest"),
    ("retired", "digest"),
    ("register", "digest"),
    ("administrators", "digest"),
    ("secrets", "digest"),
    ("bindings", "digest"),
    ("notices", "digest"),
    ("invited", "digest"),
    ("scripts", "digest"),
    ("answered", "digest"),
}
"""Keyed digests for look-ups."""


@pytest.mark.attack
@pytest.mark.requirement("SEED-89")
def test_att_19_every_column_of_octets_is_sealed_keyed_or_named_here() -> None:
    octets = {
        (table.name, column.name)
        for table in metadata.sorted_tables
        for column in table.columns
        if isinstance(column.type, LargeBinary)
    }
    stations = {(station.name, name) for station in STATIONS for name in station.sealed}
    assert octets == stations | KEYED | NOT_SEALED.keys()
    assert not stations & (KEYED | NOT_SEALED.keys())


# ---------------------------------------------------------------- what can be seen

ADDRESSES = (
    "zoe@hopital-a.test",
    "secretariat@hopital-a.test",
    "secretariat@clinique.test",
)
PEOPLE = (
    ("Tartempion", "130000011", "810000000000"),
    ("Durand", "130000029", "810000000001"),
)
LOGINS = ("zoe@hopital-a.test", "remplacante")
NAMES = ("INBOX", "Sent", "Drafts", "Trash", "Junk", "Archive", "Suivi", "Ancien", "Perdu")


class Sight:
    """Everything that can be seen, each by a question of its own."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.found: dict[str, Any] = {}

    def ask(self, name: str, query: Callable[[Reading], Any]) -> Any:
        """The answer, kept under `name`; None when it is refused or there is none."""
        try:
            answer = self._store.read(query).result()
        except (MailError, ScriptRefused):
            answer = None
        if answer:
            self.found[name] = answer
        return answer or ()

    def look(self) -> dict[str, Any]:
        """What there is, by name."""
        for text in ADDRESSES:
            address = Address.parse(text)
            self.ask(f"address {text}", lambda r, a=address: r.bal(a))  # type: ignore[misc]
            self.ask(f"usual {text}", lambda r, a=address: r.bal_by_usual(a))  # type: ignore[misc]
        for text in LOGINS:
            self.ask(f"login {text}", lambda r, t=text: r.account(t))  # type: ignore[misc]
        for number in range(1, 5):
            self._look_at_account(AccountId(number))
        for number in (1, 2):
            self._look_at_bal(BalId(number))
        self._look_at_people()
        self._look_at_envelopes()
        return self.found

    def _look_at_people(self) -> None:
        for number in (1, 2):
            at = PersonId(number)
            self.ask(f"person {at}", lambda r: r.person_by_id(at))  # noqa: B023
            place = StructureId(number)
            self.ask(f"structure {place}", lambda r: r.structure(place))  # noqa: B023
            self.ask(f"records {at}", lambda r: r.records("person", at))  # noqa: B023
        for last, finess, national in PEOPLE:
            usual, served = Address.parse(f"{last}@cabinet.example"), domain(f"{last}.mssante.test")
            self.ask(f"person {last}", lambda r: r.person(usual))  # noqa: B023
            self.ask(f"national {last}", lambda r: r.person_by_national_id(national))  # noqa: B023
            former = Address.parse(f"{last}@ancien.test")
            self.ask(f"register {last}", lambda r: r.register_entry(national))  # noqa: B023
            self.ask(f"retired {last}", lambda r: r.is_retired(former))  # noqa: B023
            self.ask(f"finess {last}", lambda r: r.structure_by_number(finess))  # noqa: B023
            self.ask(f"served {last}", lambda r: r.served_domain(served))  # noqa: B023
            self.ask(f"bound {last}", lambda r: r.bound_account("psc", f"sub-{last}"))  # noqa: B023
            self.ask(f"token {last}", lambda r: r.secret("reset", f"token-{last}"))  # noqa: B023
            self.ask(f"administers {last}", lambda r: r.administrator(f"dsi {last}"))  # noqa: B023
        for number, certificate in ((5_000, f"{0:064x}"), (5_001, f"{1:064x}")):
            self.ask(f"uid {number}", lambda r: r.administrator_of_uid(number))  # noqa: B023
            self.ask(
                f"certificate {certificate}",
                lambda r: r.administrator_of_certificate(certificate),  # noqa: B023
            )
        self._look_at_services()

    def _look_at_services(self) -> None:
        for one in self.ask("suspensions", lambda r: r.suspensions()):
            if one.by:  # what is damaged stays in force, and says not by whom
                self.found[f"suspended {one.kind} {one.name}"] = one
        for one in self.ask("administrators", lambda r: r.administrators()):
            self.found[f"administrator {one.id}"] = one
        for one in self.ask("notices", lambda r: r.waiting_notices()):
            self.found[f"notice {one.id}"] = one
        for one in self.ask("acts", lambda r: r.traces()):
            self.found[f"act {one.number}"] = one
        for name in ("suspensions", "administrators", "notices", "acts"):
            self.found.pop(name, None)
        for name in ("inconnu", "inconnue"):
            to = Address.parse(f"{name}@poste.example")
            self.ask(f"invited {name}", lambda r: r.invited(to))  # noqa: B023

    def _look_at_account(self, id: AccountId) -> None:
        who = self.ask(f"account {id}", lambda r: r.principal(id))
        if who:
            del self.found[f"account {id}"]
            self.found[f"account {id}"] = who.login
            self.found |= {f"account {id} reads {bal.id}": bal for bal in who.bals}
        for one in self.ask(f"devices {id}", lambda r: r.app_passwords(id)):
            self.found[f"device {one.id}"] = one
        self.found.pop(f"devices {id}", None)
        for one in self.ask(f"bindings {id}", lambda r: r.bindings(account=id)):
            self.found[f"binding {one.id}"] = one
        self.found.pop(f"bindings {id}", None)
        self.ask(f"portal {id}", lambda r: r.portal_password(id))
        self.ask(f"newest {id}", lambda r: r.newest_secret("reset", id))

    def _look_at_bal(self, bal: BalId) -> None:
        self.ask(f"bal {bal}", lambda r: r.bal_by_id(bal))
        for one in self.ask(f"lent {bal}", lambda r: r.delegations_of(bal)):
            self.found[f"delegation {one.id}"] = one
        self.found.pop(f"lent {bal}", None)
        self.ask(f"wrote {bal}", lambda r: r.has_written(bal, SENDER))
        self.ask(f"never {bal}", lambda r: r.has_written(bal, Address.parse("nul@autre.test")))
        self.ask(f"chosen {bal}", lambda r: r.preference("bal", bal, "tri"))
        self.ask(f"active {bal}", lambda r: r.active_script(bal))
        for name in ("tri", "vacances"):
            self.ask(f"script {bal} {name}", lambda r, n=name: r.script(bal, n))  # type: ignore[misc]
        for name in self.ask(f"names {bal}", lambda r: r.subscriptions(bal)):
            self.found[f"subscribed {bal} {name}"] = name
        self.found.pop(f"names {bal}", None)
        for name in NAMES:
            self.ask(f"named {bal} {name}", lambda r, n=name: r.mailbox(bal, n))  # type: ignore[misc]
        for at, account in ((0, 0), (0, 1), (7, 0), (8, 0), (13, 0)):
            found = self.ask(
                f"entries {bal} {at} {account}",
                lambda r: r.annotations(bal, at, account),  # noqa: B023
            )
            self.found |= {f"entry {bal} {at} {account} {name}": found[name] for name in found}
            self.found.pop(f"entries {bal} {at} {account}", None)
        boxes = self.ask(f"boxes {bal}", lambda r: r.mailboxes(bal))
        self.found.pop(f"boxes {bal}", None)
        for box in boxes:
            self.found[f"box {box.id}"] = box
        for id in range(1, 20):
            self._look_at_messages(MailboxId(id))

    def _look_at_messages(self, box: MailboxId) -> None:
        for account, rights in dict(self.ask(f"acl {box}", lambda r: r.entries(box))).items():
            if rights:  # what is damaged gives nothing
                self.found[f"rights {box} {account}"] = rights
        self.found.pop(f"acl {box}", None)
        rows = self.ask(f"rows {box}", lambda r: r.messages(box))
        self.found.pop(f"rows {box}", None)
        for row in rows:
            flags = {flag for flag in row.flags if not flag.startswith("illisible-")}
            self.found |= {f"flag {box} {row.uid} {flag}": True for flag in flags}
            self.ask(f"body {box} {row.uid}", lambda r, u=row.uid: r.body(box, u))  # type: ignore[misc]
        uids = [row.uid for row in rows]
        for uid, summary in self.ask(f"all {box}", lambda r: list(r.summaries(box, uids))):
            if summary:
                self.found[f"summary {box} {uid}"] = summary
        self.found.pop(f"all {box}", None)

    def _look_at_envelopes(self) -> None:
        for entry in self.ask("queue", lambda r: r.queue()):
            if not entry.damaged:
                self.found[f"queue {entry.envelope} {entry.recipient.address}"] = entry
        self.found.pop("queue", None)
        for number in range(1, 8):
            self.ask(f"event {number}", lambda r, n=number: r._opened_lines(n))  # type: ignore[misc]
        for row in self._store.read(lambda r: r._all(_ENVELOPES)).result():
            id = row[0]
            self.ask(f"traces {id}", lambda r, e=id: r.transfers(e))  # type: ignore[misc]
            self.ask(f"facts {id}", lambda r, e=id: r.facts(e))  # type: ignore[misc]
            self.ask(f"letter {id}", lambda r, e=id: r.letter_octets(e))  # type: ignore[misc]


_ENVELOPES = sql(select(envelopes.c.id))


def nothing_foreign(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Names under which something else than before is seen; less than before is allowed."""
    return [name for name, value in after.items() if before.get(name) != value]


# ---------------------------------------------------------------- doing harm


class Spoilt(NamedTuple):
    """One filled store, looked at once, and spoilt and mended by every test."""

    store: Store
    home: Path
    before: dict[str, Any]


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spoilt]:
    home = tmp_path_factory.mktemp("stations") / "home"
    store = open_new(home)
    fill(store, packs=False)
    store.write(lambda w: None).result()
    yield Spoilt(store, home, Sight(store).look())
    assert store.check(deep=True).problems == ()
    store.close()


Row = tuple[Any, ...]


class Values:
    """One column of one table, behind the store's back; puts everything back."""

    def __init__(self, home: Path, table: Table, column: str) -> None:
        self._db = behind(home)
        self._table, self._column = table.name, column
        self._keys = [key.name for key in table.primary_key.columns]
        self._undo: list[tuple[Any, Row]] = []

    def rows(self) -> list[tuple[Row, Any]]:
        """(primary key, value), in order."""
        keys = ", ".join(f'"{key}"' for key in self._keys)
        found = self._db.execute(
            f'SELECT {keys}, "{self._column}" FROM "{self._table}" ORDER BY {keys}'  # noqa: S608
        ).fetchall()
        return [(row[:-1], row[-1]) for row in found if row[-1] is not None]

    def put(self, at: Row, value: Any) -> None:
        """Another value for one row."""
        where = " AND ".join(f'"{key}" = ?' for key in self._keys)
        self._db.execute(
            f'UPDATE "{self._table}" SET "{self._column}" = ? WHERE {where}',  # noqa: S608
            (value, *at),
        )

    def close(self) -> None:
        """Let go."""
        self._db.close()


@contextmanager
def harm(spoilt: Spoilt, table: Table, column: str) -> Iterator[Values]:
    """A column to be spoilt; mended at the end."""
    values = Values(spoilt.home, table, column)
    before = values.rows()
    try:
        yield values
    finally:
        for at, value in before:
            values.put(at, value)
        spoilt.store._keys.forget()
        values.close()


def assert_noticed(spoilt: Spoilt) -> None:
    """Nobody sees anything foreign, and the deep check finds it."""
    spoilt.store._keys.forget()
    assert nothing_foreign(spoilt.before, Sight(spoilt.store).look()) == []
    assert not spoilt.store.check(deep=True).is_sound


COLUMNS = [
    pytest.param(station.table, column, id=f"{station.name}.{column}")
    for station in STATIONS
    for column in station.sealed
    if (station.name, column) != ("owners", "older") and station.name not in ("packs", "texts")
]
"""All but what only a rotation fills, and packs, which have tests of their own."""


@pytest.mark.attack
@pytest.mark.parametrize(("table", "column"), COLUMNS)
def test_att_19_two_rows_cannot_exchange_their_sealed_values(
    spoilt: Spoilt, table: Table, column: str
) -> None:
    with harm(spoilt, table, column) as values:
        rows = values.rows()
        assert len(rows) > 1, "one row only: the fixture must make two"
        (one, mine) = rows[0]
        for other, yours in {rows[1][0]: rows[1], rows[-1][0]: rows[-1]}.values():
            values.put(one, yours)
            values.put(other, mine)
            assert_noticed(spoilt)
            values.put(one, mine)
            values.put(other, yours)


def _flipped(at: int) -> Callable[[bytes], bytes]:
    def flip(value: bytes) -> bytes:
        spoilt = bytearray(value)
        spoilt[at] ^= 1
        return bytes(spoilt)

    return flip


ALTERED: dict[str, Callable[[bytes], bytes]] = {
    "mark": _flipped(0),
    "first of the nonce": _flipped(1),
    "last of the nonce": _flipped(NONCE_OCTETS),
    "first sealed": _flipped(NONCE_OCTETS + 1),
    "middle": lambda value: _flipped(len(value) // 2)(value),
    "first of the tag": lambda value: _flipped(len(value) - 16)(value),
    "last": _flipped(-1),
    "empty": lambda value: b"",
    "mark alone": lambda value: value[:1],
    "no tag": lambda value: value[:-16],
    "last cut off": lambda value: value[:-1],
    "one more": lambda value: value + b"\0",
    "twice": lambda value: value + value,
}


@pytest.mark.attack
@pytest.mark.parametrize(("table", "column"), COLUMNS)
def test_att_19_an_altered_value_is_refused_and_the_others_are_served(
    spoilt: Spoilt, table: Table, column: str
) -> None:
    with harm(spoilt, table, column) as values:
        rows = values.rows()
        at, value = rows[0]
        for name, alter in ALTERED.items():
            values.put(at, alter(value))
            spoilt.store._keys.forget()
            after = Sight(spoilt.store).look()
            assert nothing_foreign(spoilt.before, after) == [], name
            values.put(at, value)
        for at, value in rows:
            values.put(at, ALTERED["last"](value))
        spoilt.store._keys.forget()
        assert not spoilt.store.check(deep=True).is_sound
        if (table.name, column) not in OPENED_BY_NOBODY:
            assert Sight(spoilt.store).look() != spoilt.before, "nobody looks: it proves nothing"


OPENED_BY_NOBODY = {
    ("correspondents", "sealed"): "a rotation and the check alone: the digest answers",
    ("answered", "sealed"): "the same",
    ("sent", "sealed"): "the same",
    ("sent_copies", "sealed"): "the same",
    ("retired", "sealed"): "the same",
    ("blob_keys", "summary"): "made again from the content",
}

POINTERS = {
    "another's mail": ("accounts", "bal"),
    "another's folders": ("mailboxes", "bal"),
    "another's key": ("owners", "bal"),
    "another's envelope": ("envelopes", "owner"),
    "another's traces": ("transfers", "owner"),
    "another's facts": ("facts", "owner"),
    "another's address": ("bals", "digest"),
    "another's login": ("accounts", "login_digest"),
    "another's name": ("mailboxes", "digest"),
    "another's person": ("persons", "account"),
    "another's national identifier": ("persons", "national_digest"),
    "another's structure": ("structures", "finess_digest"),
    "another's identity": ("bindings", "account"),
    "another's subject": ("bindings", "digest"),
    "another's one-time link": ("secrets", "subject"),
    "another's link": ("secrets", "digest"),
    "another's box lent": ("delegations", "bal"),
    "somebody else's delegation": ("delegations", "account"),
    "another's office by name": ("administrators", "digest"),
    "another's act": ("traces", "account"),
    "another's record": ("records", "subject_id"),
    "another's entry": ("register", "digest"),
    "another's invitation": ("invited", "digest"),
    "another's notice": ("notices", "digest"),
}


@pytest.mark.attack
@pytest.mark.parametrize(("table", "column"), POINTERS.values(), ids=POINTERS)
def test_att_19_what_is_in_clear_leads_nobody_to_anothers_mail(
    spoilt: Spoilt, table: str, column: str
) -> None:
    with harm(spoilt, metadata.tables[table], column) as values:
        rows = values.rows()
        one, mine = rows[0]
        other, yours = next(row for row in rows if row[1] != mine)
        values.put(other, -1 if isinstance(mine, int) else b"elsewhere")  # they may be unique
        values.put(one, yours)
        values.put(other, mine)
        assert_noticed(spoilt)
        values.put(other, -1 if isinstance(mine, int) else b"elsewhere")


@pytest.mark.attack
def test_att_19_a_membership_that_only_the_database_gives_counts_for_nothing(
    spoilt: Spoilt,
) -> None:
    db = behind(spoilt.home)
    (sealed,) = db.execute("SELECT sealed FROM members LIMIT 1").fetchone()
    for forged in (None, b"", sealed):
        db.execute("INSERT INTO members (account, bal, sealed) VALUES (?, ?, ?)", (2, 2, forged))
        assert_noticed(spoilt)
        db.execute("DELETE FROM members WHERE account = ? AND bal = ?", (2, 2))
    db.close()


@pytest.mark.attack
@pytest.mark.parametrize("table", ["packs", "texts"])
def test_att_19_packs_cannot_be_exchanged_nor_altered(tmp_path: Path, table: str) -> None:
    home = tmp_path / "home"
    store = open_new(home)
    box = inbox(store, add_bal(store))
    fill_windows(store, box)
    store.settle()
    uids = [Uid(number) for number in range(1, 512)]
    boxes = [row.id for row in store.read(lambda r: r.mailboxes(BalId(1))).result() if row.messages]

    def summaries() -> list[Any]:
        return [
            store.read(lambda r, b=b: list(r.summaries(b, uids))).result()  # type: ignore[misc]
            for b in boxes
        ]

    before = summaries()
    values = Values(home, metadata.tables[table], "sealed")
    (one, mine), (other, yours), *_ = values.rows()
    harms: list[tuple[bytes, bytes]] = [(yours, mine)]
    harms += [(alter(mine), yours) for alter in ALTERED.values()]
    for first, second in harms:
        values.put(one, first)
        values.put(other, second)
        assert not store.check(deep=True).is_sound
        assert summaries() == before  # from the rows, and the pack is made again
        store.settle()
    values.put(one, mine)
    values.put(other, yours)
    values.close()
    assert store.check(deep=True).is_sound
    store.close()


@pytest.mark.attack
@pytest.mark.requirement("SEED-89")
def test_att_19_contents_cannot_be_exchanged_altered_nor_cut(tmp_path: Path) -> None:
    home = tmp_path / "home"
    store = open_new(home)
    bal = add_bal(store)
    letters = [message(str(n), os.urandom(size)) for n, size in enumerate((9_000, 9_000))]
    letters += [message(str(n), os.urandom(200_000)) for n in (2, 3)]
    for octets in letters:
        accept(store, store.seal(octets), [bal])
    box = inbox(store, bal)
    values = Values(home, metadata.tables["blobs"], "data")
    files = sorted(p for p in (home / "blobs").rglob("*") if p.is_file())
    rows = values.rows()

    def served() -> list[bytes | None]:
        found: list[bytes | None] = []
        for uid in map(Uid, range(1, 5)):
            try:
                found.append(store.read(lambda r, u=uid: r.body(box, u)).result())  # type: ignore[misc]
            except Damaged:
                found.append(None)
        return found

    def assert_only(*spoilt: int) -> None:
        assert served() == [None if n in spoilt else octets for n, octets in enumerate(letters)]
        assert not store.check(deep=True).is_sound

    values.put(rows[0][0], rows[1][1])
    values.put(rows[1][0], rows[0][1])
    assert_only(0, 1)
    values.put(rows[1][0], rows[1][1])
    for alter in ALTERED.values():
        values.put(rows[0][0], alter(rows[0][1]))
        if alter(rows[0][1])[: len(rows[0][1])] != rows[0][1]:  # what lies behind is never read
            assert_only(0)
    values.put(rows[0][0], rows[0][1])
    values.close()
    contents = [path.read_bytes() for path in files]
    files[0].write_bytes(contents[1])
    files[1].write_bytes(contents[0])
    assert_only(2, 3)
    files[1].write_bytes(contents[1])
    size = len(contents[0])
    for at in (0, 65_551, 65_552, 131_103, size // 2, size - 1):
        files[0].write_bytes(_flipped(at)(contents[0]))
        assert len([one for one in served() if one is None]) == 1
    for cut in (0, 1, 65_552, size - 1):
        files[0].write_bytes(contents[0][:cut])
        assert len([one for one in served() if one is None]) == 1
    files[0].write_bytes(contents[0])
    assert store.check(deep=True).is_sound
    store.close()
