"""Every command, with every right and without it, in one's own, a shared, a stranger's and a
missing mailbox (ATT-24): one table. A verb without a row fails.

What a member may not do is refused, and what he may not know of is answered as if it did not exist.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mssmtp.imap.commands import VERBS, copy, expunge, store
from mssmtp.mail import ALL_RIGHTS, Role
from mssmtp.storage import PATIENT, Reading, Writing
from tests.imap.world import LUC, SERVICE, ZOE, Client, World, message

SHARED = f"Other Users/{SERVICE}/Dossier"
FOREIGN = f"Other Users/{LUC}/Dossier"
MISSING = f"Other Users/{SERVICE}/Absent"
NOWHERE = "Other Users/personne@hopital-a.test/Dossier"
OWN = "Dossier"


@dataclass(frozen=True)
class Row:
    """One form of a command. Without `<mailbox>` it is about the selected one.

    `needs`: letters that must all be there. `changes`: what succeeds spoils the mailbox. `missing`:
    the answer when the mailbox must not be known. `known_by`: letters of which one must be there.
    """

    line: str
    needs: str = ""
    changes: bool = False
    missing: str = "NO [NONEXISTENT]"
    known_by: str = ""


IT = "<mailbox>"
NEW = f"Other Users/{SERVICE}/Autre"
LITERAL = f"{{{len(message(3))}+}}\r\n{message(3).decode()}"

NAMED: dict[str, tuple[Row, ...]] = {
    "APPEND": (Row('APPEND "<mailbox>" ' + LITERAL, "i", changes=True, missing="NO [TRYCREATE]"),),
    "DELETE": (Row('DELETE "<mailbox>"', "x", changes=True),),
    "DELETEACL": (Row(f'DELETEACL "{IT}" {LUC}', "a", changes=True),),
    "EXAMINE": (Row('EXAMINE "<mailbox>"', "r"),),
    "GETACL": (Row('GETACL "<mailbox>"', "a"),),
    "GETMETADATA": (Row(f'GETMETADATA "{IT}" /shared/comment', "l", known_by="rswi"),),
    "LISTRIGHTS": (Row(f'LISTRIGHTS "{IT}" {LUC}', "a"),),
    "GETQUOTAROOT": (Row('GETQUOTAROOT "<mailbox>"', "r"),),
    "MYRIGHTS": (Row('MYRIGHTS "<mailbox>"', known_by="lrikxa"),),
    "RENAME": (Row(f'RENAME "{IT}" "{NEW}"', "x", changes=True),),
    "SELECT": (Row('SELECT "<mailbox>"', "r"),),
    "SETACL": (Row(f'SETACL "{IT}" {LUC} lr', "a", changes=True),),
    "SETMETADATA": (
        Row(f'SETMETADATA "{IT}" (/private/comment "x")', "l", known_by="rswi", changes=True),
        Row(f'SETMETADATA "{IT}" (/shared/comment "x")', "lw", changes=True),
    ),
    "STATUS": (Row('STATUS "<mailbox>" (MESSAGES UIDNEXT)', "r"),),
    "SUBSCRIBE": (Row('SUBSCRIBE "<mailbox>"', "l"),),
}
"""Commands that name a mailbox that exists."""

INSIDE: dict[str, tuple[Row, ...]] = {
    "CHECK": (Row("CHECK"),),
    "CLOSE": (Row("CLOSE", changes=True),),
    "COPY": (Row("COPY 1 Dossier"),),
    "EXPUNGE": (Row("EXPUNGE", "e", changes=True),),
    "FETCH": (Row("FETCH 1 (FLAGS UID)"), Row("FETCH 1 BODY[]", changes=True)),
    "MOVE": (Row("MOVE 1 Dossier", "te", changes=True),),
    "REPLACE": (Row("REPLACE 1 Dossier " + LITERAL, "te", changes=True),),
    "SEARCH": (Row("SEARCH ALL"),),
    "SORT": (Row("SORT (DATE) UTF-8 ALL"),),
    "STORE": (
        Row("STORE 1 +FLAGS (\\Seen)", "s", changes=True),
        Row("STORE 1 -FLAGS (\\Deleted)", "t", changes=True),
        Row("STORE 1 +FLAGS (urgent)", "w", changes=True),
        Row("STORE 1 +FLAGS.SILENT (\\Flagged \\Deleted)", known_by="wt", changes=True),
        Row("STORE 1 FLAGS ()", known_by="swt", changes=True),
    ),
    "THREAD": (Row("THREAD REFERENCES UTF-8 ALL"),),
    "UID COPY": (Row("UID COPY 1 Dossier"),),
    "UID EXPUNGE": (Row("UID EXPUNGE 1:*", "e", changes=True),),
    "UID FETCH": (Row("UID FETCH 1:* (FLAGS)"),),
    "UID MOVE": (Row("UID MOVE 1:* Dossier", "te", changes=True),),
    "UID REPLACE": (Row("UID REPLACE 1 Dossier " + LITERAL, "te", changes=True),),
    "UID SEARCH": (Row("UID SEARCH UNSEEN"),),
    "UID SORT": (Row("UID SORT (DATE) UTF-8 ALL"),),
    "UID STORE": (Row("UID STORE 1:* +FLAGS (\\Deleted)", "t", changes=True),),
    "UID THREAD": (Row("UID THREAD REFERENCES UTF-8 ALL"),),
    "UIDBATCHES": (Row("UIDBATCHES 500"),),
    "UNSELECT": (Row("UNSELECT"),),
}
"""Commands about the selected mailbox: `r` is needed by all of them."""

ELSEWHERE = {
    "CANCELUPDATE": "nothing but the asker's own searches",
    "LIST": "told below, name by name",
    "LSUB": "told below",
    "NOTIFY": "in silence of what may not be read: told in test_notify",
    "XLIST": "told below",
    "CREATE": "below: of the mailbox above",
    "GETQUOTA": "a root, not a mailbox: test_quota",
    "SETQUOTA": "the operator's alone",
    "ESEARCH": "of what may not be read it is silent: told below",
    "UNSUBSCRIBE": "nothing but the asker's own list",
    **dict.fromkeys(
        ("AUTHENTICATE", "CAPABILITY", "COMPRESS", "ENABLE", "ID", "IDLE", "LOGIN", "LOGOUT"),
        "no mailbox",
    ),
    **dict.fromkeys(("NAMESPACE", "NOOP", "STARTTLS"), "no mailbox"),
}
"""Verbs without a row, and why."""

SETS = ["", *ALL_RIGHTS, *(ALL_RIGHTS.replace(right, "") for right in ALL_RIGHTS), ALL_RIGHTS]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    made.share(Role.SECRETAIRE)
    made.share(Role.LECTEUR, LUC)
    for bal in (made.zoe, made.luc, made.service):
        rebuild(made, bal)
    yield made
    made.close()


def rebuild(world: World, bal: Any) -> None:
    """The mailbox `Dossier` of a box as it was at first: one message, unread, to be removed."""
    letter = world.store.seal(message(1))

    def job(writing: Writing) -> None:
        for name in ("Dossier", "Autre"):
            if writing.mailbox(bal.id, name) is not None:
                writing.delete_mailbox(bal.id, name)
        made = writing.create_mailbox(bal.id, "Dossier")
        flags = frozenset({"\\Deleted"})
        writing.append(made.id, letter, flags, world.clock.now())

    world.store.write(job).result()


def give(world: World, rights: str) -> None:
    """Zoé has `rights` in the shared mailbox, whatever her role says."""

    def job(writing: Writing) -> None:
        account, box = writing.account(ZOE), writing.mailbox(world.service.id, "Dossier")
        assert account is not None
        assert box is not None
        writing.set_entry(box.id, account.id, rights)

    world.store.write(job).result()


def answer(client: Client, line: str) -> tuple[str, str]:
    """The tagged response, and everything said before it."""
    tagged, untagged = client.command(line)
    return tagged, "\n".join(untagged)


def flags_in_shared(world: World) -> list[set[str]]:
    """Of each message of the shared mailbox."""

    def query(reading: Reading) -> list[set[str]]:
        box = reading.mailbox(world.service.id, "Dossier")
        assert box is not None
        return [set(row.flags) for row in reading.messages(box.id)]

    return world.store.read(query).result()


def permitted(row: Row, rights: str) -> bool:
    known = not row.known_by or any(right in rights for right in row.known_by)
    return known and all(right in rights for right in row.needs)


@pytest.mark.attack
def test_att_24_every_verb_has_a_row() -> None:
    assert NAMED.keys() | INSIDE.keys() | ELSEWHERE.keys() == VERBS.keys()
    assert len(NAMED) + len(INSIDE) + len(ELSEWHERE) == len(VERBS)


@pytest.mark.attack
@pytest.mark.requirement("SEED-16")
@pytest.mark.parametrize("rights", SETS, ids=lambda rights: rights or "none")
def test_att_24_a_named_mailbox_gives_what_the_rights_give(world: World, rights: str) -> None:
    give(world, rights)
    for row in (row for rows in NAMED.values() for row in rows):
        client = world.client(select=None)
        tagged, said = answer(client, row.line.replace(IT, SHARED))
        if permitted(row, rights):
            assert tagged.startswith("OK"), (row.line, tagged)
        elif "l" in rights:
            assert tagged.startswith("NO [NOPERM]"), (row.line, tagged)
        else:  # as if it were not there: not one octet is different
            absent = answer(client, row.line.replace(IT, MISSING))
            assert (tagged, said) == absent, row.line
            assert tagged.startswith(row.missing), (row.line, tagged)
        if tagged.startswith("OK") and row.changes:
            rebuild(world, world.service)
            give(world, rights)
    assert_listed(world.client(select=None), visible="l" in rights)


LISTED = (
    'LIST "" "*"',
    'LIST (SUBSCRIBED) "" "*" RETURN (STATUS (MESSAGES) MYRIGHTS)',
    'LSUB "" "*"',
    'XLIST "" "*"',
)


def assert_listed(client: Client, *, visible: bool) -> None:
    for line in (
        'LIST "" "*"',
        'LIST (SUBSCRIBED) "" "*" RETURN (STATUS (MESSAGES))',
        'LSUB "" "*"',
        'XLIST "" "*"',
    ):
        said = "\n".join(client.ok(line))
        assert (f'"{SHARED}"' in said) == visible, line
        assert LUC not in said
    assert f'"{OWN}"' in said


@pytest.mark.attack
@pytest.mark.parametrize("rights", SETS, ids=lambda rights: rights or "none")
def test_att_24_a_search_in_many_mailboxes_reads_only_what_may_be_read(
    world: World, rights: str
) -> None:
    """Cyrus CVE-2026-47083: a mailbox that is hidden answers like one that does not exist."""
    give(world, rights)
    client = world.client(select=None)
    found = f'MAILBOX "{SHARED}" UIDVALIDITY'
    said = "".join(client.ok(f'ESEARCH IN (mailboxes ("{SHARED}" "{FOREIGN}")) ALL'))
    assert (found in said) == ("r" in rights)
    assert FOREIGN not in said
    for sources in ('subtree "Other Users"', f'subtree-one "Other Users/{SERVICE}"', 'subtree ""'):
        said = "".join(client.ok(f"ESEARCH IN ({sources}) RETURN (COUNT) ALL"))
        assert (found in said) == ("r" in rights and "l" in rights)
        assert FOREIGN not in said
    if "r" not in rights:
        hidden, missing = (
            client.ok(f'ESEARCH IN (mailboxes "{name}") ALL') for name in (SHARED, MISSING)
        )
        assert hidden == missing == []


@pytest.mark.attack
@pytest.mark.parametrize("rights", SETS, ids=lambda rights: rights or "none")
def test_att_25_an_open_mailbox_gives_what_is_left_of_the_rights(world: World, rights: str) -> None:
    for row in (row for rows in INSIDE.values() for row in rows):
        give(world, ALL_RIGHTS)
        client = world.client(select=None)
        client.ok(f'SELECT "{SHARED}"')
        give(world, rights)
        if "r" not in rights:  # RFC 2180 3.3: nothing of it may be said any more
            assert b"BYE [UNAVAILABLE]" in client.send(b"X1 " + row.line.encode() + b"\r\n")
            assert not client.is_open
            continue
        tagged, said = answer(client, row.line)
        expected = "OK" if permitted(row, rights) else "NO [NOPERM]"
        assert tagged.startswith(expected), (row.line, tagged)
        if row.line == "FETCH 1 BODY[]":
            assert ("\\Seen" in said) == ("s" in rights)
        if row.line == "CLOSE":
            assert (not flags_in_shared(world)) == ("e" in rights)
        if expected == "OK" and row.changes:
            rebuild(world, world.service)


@pytest.mark.attack
def test_att_24_a_strangers_mailbox_answers_like_one_that_does_not_exist(world: World) -> None:
    client = world.client(select=None)
    for row in (row for rows in NAMED.values() for row in rows):
        foreign = answer(client, row.line.replace(IT, FOREIGN))
        assert foreign[0].startswith(row.missing), (row.line, foreign)
        assert foreign == answer(client, row.line.replace(IT, NOWHERE)), row.line
    for line in ('COPY 1 "<mailbox>"', 'MOVE 1 "<mailbox>"'):
        client.ok("SELECT Dossier")
        foreign = answer(client, line.replace(IT, FOREIGN))
        assert foreign[0].startswith("NO [TRYCREATE]")
        assert foreign == answer(client, line.replace(IT, NOWHERE))
    assert answer(client, f'CREATE "{FOREIGN}/Sous"') == answer(client, f'CREATE "{NOWHERE}/Sous"')


@pytest.mark.attack
def test_att_24_in_ones_own_mailbox_everything_is_permitted(world: World) -> None:
    for row in (row for rows in (NAMED | INSIDE).values() for row in rows):
        client = world.client(select=None)
        if "ACL" in row.line or "LISTRIGHTS" in row.line:
            continue  # permitted, and there is nobody to give anything to
        if IT not in row.line:
            client.ok("SELECT Dossier")
        tagged, _ = answer(client, row.line.replace(f"Other Users/{SERVICE}/", "").replace(IT, OWN))
        assert tagged.startswith("OK"), (row.line, tagged)
        rebuild(world, world.zoe)


@pytest.mark.attack
@pytest.mark.parametrize("rights", ["", *ALL_RIGHTS])
def test_att_24_copying_into_a_shared_mailbox_needs_i_and_keeps_what_flags_it_may(
    world: World, rights: str
) -> None:
    given = "".join(sorted({*rights, "i"})) if rights else "l"
    give(world, given)
    client = world.client(select="Dossier")
    client.ok("STORE 1 FLAGS (\\Seen \\Deleted \\Flagged urgent)")
    for verb in ("COPY", "UID COPY", "UID MOVE"):
        tagged, _ = answer(client, f'{verb} 1:* "{SHARED}"')
        assert tagged.startswith("OK" if "i" in given else "NO [NOPERM]"), (verb, tagged)
    expected = {"s": {"\\Seen"}, "t": {"\\Deleted"}, "w": {"\\Flagged", "urgent"}}
    allowed: set[str] = set().union(*(expected.get(right, set()) for right in given))
    assert flags_in_shared(world)[1:] == ([allowed] * 3 if "i" in given else [])


@pytest.mark.requirement("DEF-05")
@pytest.mark.parametrize("verb", ["COPY", "MOVE"])
def test_a_letter_of_a_patient_stays_marked_where_its_bearer_may_set_no_flag(
    world: World, verb: str
) -> None:
    give(world, "lri")
    letter = world.store.seal(message(4))

    def job(writing: Writing) -> None:
        box = writing.mailbox(world.zoe.id, "Dossier")
        assert box is not None
        writing.append(box.id, letter, frozenset({PATIENT, "urgent"}), world.clock.now())

    world.store.write(job).result()
    world.client(select="Dossier").ok(f'{verb} 2 "{SHARED}"')
    assert flags_in_shared(world)[1:] == [{PATIENT}]


@pytest.mark.attack
@pytest.mark.parametrize("rights", SETS, ids=lambda rights: rights or "none")
def test_att_24_a_mailbox_is_made_below_one_with_k(world: World, rights: str) -> None:
    client = world.client(select=None)
    give(world, rights)
    tagged, _ = answer(client, f'CREATE "{SHARED}/Sous/Sous"')
    assert tagged.startswith("OK" if "k" in rights else "NO [NOPERM]")


@pytest.mark.attack("ATT-24")
@pytest.mark.parametrize("rights", ["", "k", "kx", "rswi"])
def test_att_24_a_name_taken_by_what_is_hidden_answers_like_one_where_nothing_may_be_made(
    world: World, rights: str
) -> None:
    """Neither that it exists, nor what is in it or below it; whoever sees it hears the truth."""
    give(world, "l")
    client = world.client(select=None)
    client.no(f'CREATE "{SHARED}"', "ALREADYEXISTS")
    give(world, rights)
    box = f"Other Users/{SERVICE}"
    client.ok(f'CREATE "{box}/Tri/Dossier"')
    arrange(world)
    barred = client.command(f'CREATE "{SHARED}/Sous"')
    for line in (
        f'CREATE "{SHARED}"',
        f'RENAME "{box}/Tri" "{SHARED}"',
        f'RENAME "{box}/Tri" "{box}/Haut"',
    ):
        tagged, said = client.command(line)
        assert tagged.startswith("NO [NOPERM]"), (line, tagged)
        assert said == []
    if "k" not in rights:
        assert barred[0].startswith("NO [NOPERM]")
    client.no(f'RENAME "{box}/Tri" "{box}/INBOX"', "ALREADYEXISTS")
    client.ok(f'RENAME "{box}/Tri" "{box}/Bas"')


def arrange(world: World) -> None:
    """Zoé may rename `Tri`; below `Haut`, which is no mailbox, stands one that is hidden."""

    def job(writing: Writing) -> None:
        account, box = writing.account(ZOE), world.service.id
        assert account is not None
        for name in ("Tri", "Tri/Dossier"):
            tri = writing.mailbox(box, name)
            assert tri is not None
            writing.set_entry(tri.id, account.id, "lrkx")
        hidden = writing.create_mailbox(box, "Haut/Dossier")
        writing.delete_mailbox(box, "Haut")
        writing.set_entry(hidden.id, account.id, "")

    world.store.write(job).result()


@pytest.mark.attack("ATT-25")
@pytest.mark.parametrize(
    ("line", "module", "name"),
    [
        ("STORE 1:4 +FLAGS (\\Flagged)", store, "BATCH"),
        ("MOVE 1:4 INBOX", copy, "BATCH"),
        ("EXPUNGE", expunge, "BATCH"),
        ("UID EXPUNGE 1:*", expunge, "BATCH"),
    ],
)
def test_att_25_rights_that_end_in_the_middle_of_a_long_command_end_it(
    world: World, monkeypatch: pytest.MonkeyPatch, line: str, module: Any, name: str
) -> None:
    """Each commit asks again: what was done before stays done, and nothing more is."""
    give(world, ALL_RIGHTS)
    for _ in range(3):
        world.deliver(message(1), "Dossier", world.service)
    client = world.client(select=None)
    client.ok(f'SELECT "{SHARED}"')
    client.ok("STORE 1:4 +FLAGS.SILENT (\\Deleted)")
    monkeypatch.setattr(module, name, 2)
    commits = iter(range(9))

    def interfere(*_: object) -> None:
        if next(commits) == 0:
            give(world, "lr")

    monkeypatch.setattr(world, "changed", interfere)
    client.no(line, "NOPERM")
    assert next(commits) == 1  # no commit but the first
    left = [flags for flags in flags_in_shared(world) if "\\Flagged" not in flags]
    assert len(left) == 2


@pytest.mark.attack("ATT-25")
def test_att_25_a_copy_asks_for_the_rights_of_its_source_when_it_is_written(world: World) -> None:
    give(world, ALL_RIGHTS)
    client = world.client(select=None)
    client.ok(f'SELECT "{SHARED}"')
    permitted = copy.Copy.copy

    def closed_meanwhile(*arguments: Any) -> Any:
        writing = arguments[1]
        box, account = writing.mailbox(world.service.id, "Dossier"), writing.account(ZOE)
        writing.set_entry(box.id, account.id, "l")
        return permitted(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(copy.Copy, "copy", closed_meanwhile)
        client.no("COPY 1 INBOX", "NOPERM")
    assert "MESSAGES 0" in "".join(world.client(select=None).ok("STATUS INBOX (MESSAGES)"))
