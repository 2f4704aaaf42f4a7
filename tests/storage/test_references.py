"""Who is named in which row: nobody who is not there, and nobody whose box was shredded."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Table
from sqlalchemy.dialects import sqlite

from mssmtp.mail import AccountId, Actor, Address, AdminLevel, Bal, DelegateRight
from mssmtp.storage import Administrator, Delegation, NewNotice, Store, Writing
from mssmtp.storage.check_references import REFERENCES, Reference
from mssmtp.storage.people_values import NewPerson, Record
from mssmtp.storage.schema import metadata
from mssmtp.storage.suspensions import Suspension
from tests.storage.support import behind, inbox, message, open_new, read_by, reopen
from tests.storage.test_rotation import fill

NOBODY = 999_999


def filled(home: Path) -> tuple[Store, Bal]:
    """A store in which everybody is named, and the box of whom."""
    store = open_new(home)
    bal = fill(store, packs=False)
    account = store.write(lambda w: _more(w, bal)).result()
    letter = store.seal(message("envoyée"), may_be_sent=True)

    def file_sent(w: Writing) -> None:
        sent = w.mailbox(bal.id, "Sent")
        assert sent is not None
        w.append_sent(sent, letter, frozenset(), w.now())
        box = w.mailbox(bal.id, "INBOX")
        assert box is not None
        w.store_flags(box.id, w.uids(box.id)[-1:], "+", frozenset({"\\Deleted"}))
        w.expunge(box.id)

    store.write(file_sent).result()
    box = inbox(store, bal)
    store.write(lambda w: read_by(w, account, box, w.uids(box)[:2], "lu")).result()
    store.write(lambda w: w.record_readings()).result()
    return store, bal


def _more(writing: Writing, bal: Bal) -> AccountId:
    """What else can be kept of the person whose box it is, there and in the box of others."""
    usual, now = Address.parse("zoe@poste.example"), writing.now()
    (structure, *_) = writing.structures()
    writing.set_bal_structure(bal.id, structure.id)
    person = writing.create_person(
        NewPerson(usual, "Merlin", "Zoé", national_id="810000000009"), bal.id
    )
    account = person.account
    other = writing.bal(Address.parse("secretariat@hopital-a.test"))
    assert other is not None
    shared = writing.mailbox(other.id, "INBOX")
    assert shared is not None
    writing.add_member(other.id, account)
    writing.set_entry(shared.id, account, "lr")
    writing.annotate(other.id, "/private/comment", b"note", mailbox=shared.id, account=account)
    writing.add_delegation(Delegation(other.id, account, DelegateRight.SEND, now))
    writing.add_record("person", person.id, Record("attestation", now, {"by": "dsi"}))
    writing.add_record("bal", bal.id, Record("attestation", now, {"by": "dsi"}))
    writing.bind_account("psc", "sub-Merlin", account, "e-CPS")
    writing.bind_box("certificate", "ab" * 32, bal.id, "serveur")
    writing.set_portal_password(account, "argon2")
    writing.new_secret("reset", "token-Merlin", account, now + timedelta(hours=1))
    writing.add_app_password(account, "poste", "argon2", "scram", bal.id)
    writing.prefer("account", account, "notifications", b"aucune")
    writing.put_suspension(Suspension("account", str(account), now, "dsi", "congé"))
    later = now + timedelta(hours=1)
    writing.queue_notice(NewNotice("code", usual, "fr", {}, later, later, account))
    writing.queue_notice(NewNotice("arrival", usual, "fr", {}, later, later, None, bal.id))
    writing.trace("administration", "zoe", "acte", account=account, bal=bal.id)
    actor = Actor(AdminLevel.HOLDER, "zoe", account=account)
    writing.add_administrator(Administrator(actor, uid=6_000))
    return account


# ---------------------------------------------------------------- the check


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of such a store, closed."""
    home = tmp_path_factory.mktemp("references") / "home"
    store, _ = filled(home)
    report = store.check(deep=True)
    assert report.problems == ()
    assert report.counted["references"] > 30
    store.close()
    return home


@pytest.mark.parametrize("engine", ["sqlite"])
@pytest.mark.parametrize(
    "one", REFERENCES, ids=[f"{one.name}-{one.target.table.name}" for one in REFERENCES]
)
def test_a_row_that_names_nobody_is_reported(made: Path, home: Path, one: Reference) -> None:
    shutil.copytree(made, home)
    table, column = one.column.table, one.column.name
    when = f"subject = '{one.subject}'"
    if not one.subject:
        literal = {"literal_binds": True}
        when = str(one.when.compile(dialect=sqlite.dialect(), compile_kwargs=literal))
    keys = ", ".join(f'"{key.name}"' for key in table.primary_key.columns)
    with closing(behind(home)) as db:
        named = db.execute(
            f'SELECT {keys} FROM "{table.name}" WHERE "{column}" IS NOT NULL AND {when}'  # noqa: S608
        ).fetchone()
        assert named, "nothing refers: there must be a row"
        marks = ", ".join("?" * len(named))
        db.execute(
            f'UPDATE "{table.name}" SET "{column}" = ? WHERE ({keys}) = ({marks})',  # noqa: S608
            (NOBODY, *named),
        )
    with closing(reopen(home)) as store:
        problems = store.check().problems
    assert any(each.startswith(f"{one.name} of ") for each in problems), problems


# ---------------------------------------------------------------- a box that is shredded

KEPT = {
    ("owners", "bal"): "its id never comes again; shredded, there is no key in the row",
    ("envelopes", "owner"): "evidence (SEED-66); shredded, nothing in it can be opened",
    ("transfers", "owner"): "the same, of hops",
    ("traces", "account"): "what people did is kept three years (OP-73)",
    ("traces", "bal"): "the same",
    ("readings", "account"): "who has read what in a box that others have",
    ("administrators", "account"): "an office is not a box: it is taken away by itself",
    ("changes", "bal"): "numbers, forgotten within the day",
    ("changes", "mailbox"): "the same",
}
"""What still names the box, its mailboxes or its people afterwards, and why. What was declared of
them (`records`) is a proof and stays."""


def naming() -> Iterator[tuple[Table, str, str]]:
    """Every column that names a box, a mailbox, an account or the key of an owner."""
    for table in metadata.sorted_tables:
        for column in table.columns:
            if column.name in ("bal", "mailbox", "account", "owner"):
                yield table, column.name, column.name
    for name, key, what in (
        ("bals", "id", "bal"),
        ("mailboxes", "id", "mailbox"),
        ("accounts", "id", "account"),
        ("secrets", "subject", "account"),
    ):
        yield metadata.tables[name], key, what


@pytest.mark.requirement("SEED-89")
@pytest.mark.requirement("OP-77")
@pytest.mark.parametrize("key_goes", [True, False], ids=["shredded", "removed"])
def test_of_a_box_and_its_people_nothing_stays_that_is_not_named_here(
    home: Path, *, key_goes: bool
) -> None:
    store, bal = filled(home)
    with closing(behind(home)) as db:

        def numbers(statement: str) -> set[int]:
            return {row[0] for row in db.execute(statement).fetchall()}

        gone = {
            "bal": {int(bal.id)},
            "account": numbers(f"SELECT id FROM accounts WHERE bal = {bal.id}"),  # noqa: S608
            "mailbox": numbers(f"SELECT id FROM mailboxes WHERE bal = {bal.id}"),  # noqa: S608
            "owner": numbers(f"SELECT id FROM owners WHERE bal = {bal.id}"),  # noqa: S608
        }

        def stay() -> set[tuple[str, str]]:
            return {
                (table.name, column)
                for table, column, what in naming()
                if numbers(f'SELECT "{column}" FROM "{table.name}"') & gone[what]  # noqa: S608
            }

        before = stay()
        if key_goes:
            store.shred_bal(bal.id, "fin de contrat")
        else:
            store.remove_bal(bal.id, "fin de conservation")
        assert stay() <= KEPT.keys() | (set() if key_goes else {("event_lines", "owner")})
        left = {(table.name, column) for table, column, _ in naming()} - before
        assert left <= NOT_FILLED, "the fixture must make a row of each"
        chosen = db.execute("SELECT subject, id FROM preferences").fetchall()
        ours = {("bal", int(bal.id)), *(("account", one) for one in gone["account"])}
        assert not ours & set(chosen)
        suspended = db.execute("SELECT kind, name FROM suspensions").fetchall()
        assert not {("account", str(one)) for one in gone["account"]} & set(suspended)
    assert store.check(deep=True).problems == ()
    store.close()


NOT_FILLED = frozenset({("packs", "mailbox"), ("texts", "mailbox"), ("copying", "mailbox")})
"""Caches, made of many messages, and a COPY of many while it is under way."""
