"""What counts as fetched and what as seen: once for each person, message and day (DEF-06)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mssmtp.config import StoreSettings
from mssmtp.errors import Ended
from mssmtp.imap import effects
from mssmtp.imap.commands import copy
from mssmtp.mail import AccountId, Bal, BalId, Role, Uid
from mssmtp.outside import SystemEntropy
from mssmtp.storage import Store, Writing, readings
from mssmtp.storage.quotas import OverQuota
from mssmtp.storage.readings import Noted
from tests.imap.world import LUC, SERVICE, START, World, message

RADIOLOGY = f"Other Users/{SERVICE}"
FETCHED = {"releve"}
SEEN = {"lu"}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    made.fill(3)
    yield made
    made.close()


def events(world: World, bal: Bal | None = None) -> list[tuple[str, int, int]]:
    """(kind, account, message) of a box, once written."""
    while world.store.noted:
        world.store.write(lambda w: w.record_readings()).result()
    box = (bal or world.zoe).id
    found = world.store.read(lambda r: r.reading_events(box, START)).result()
    return [(event.kind, event.account, event.message) for event in found]


@pytest.mark.requirement("DEF-06")
@pytest.mark.parametrize(
    ("command", "kinds"),
    [
        ("FETCH 1 (FLAGS UID ENVELOPE BODYSTRUCTURE RFC822.SIZE INTERNALDATE)", set()),
        ("FETCH 1 BODY.PEEK[HEADER]", set()),
        ("FETCH 1 RFC822.HEADER", set()),
        ("FETCH 1 (BODY.PEEK[HEADER.FIELDS (Subject)] BODY.PEEK[HEADER.FIELDS.NOT (To)])", set()),
        ("FETCH 1 BODY.PEEK[1.MIME]", set()),
        ("FETCH 1 BINARY.SIZE[1]", set()),
        ("FETCH 1 (EMAILID THREADID SAVEDATE MODSEQ BODY)", set()),
        ("FETCH 1 BODY.PEEK[2]", set()),  # there is no such part
        ("FETCH 1 BODY.PEEK[TEXT]<100000.5>", set()),  # nothing of it
        ("FETCH 1 BODY.PEEK[]", FETCHED),
        ("FETCH 1 BODY.PEEK[TEXT]<0.1>", FETCHED),
        ("UID FETCH 1 BODY.PEEK[1]", FETCHED),
        ("FETCH 1 BINARY.PEEK[1]", FETCHED),
        ("FETCH 1 BINARY.PEEK[]<0.9>", FETCHED),
        ("FETCH 1 PREVIEW", FETCHED),
        ("FETCH 1 (UID FLAGS PREVIEW (LAZY))", FETCHED),
        ("FETCH 1 (PREVIEW BODY[HEADER])", FETCHED),
        ("FETCH 4 BODY.PEEK[HEADER]", set()),
        ("FETCH 4 BODY.PEEK[2.MIME]", set()),
        ("FETCH 4 BODY.PEEK[2.HEADER.FIELDS (Subject)]", FETCHED),
        ("FETCH 4 BODY.PEEK[2.TEXT]", FETCHED),
        ("FETCH 1 BODY[]", FETCHED | SEEN),
        ("FETCH 1 RFC822.TEXT", FETCHED | SEEN),
        ("FETCH 1 BODY[HEADER]", set()),
        ("STORE 1 +FLAGS (\\Seen)", SEEN),
        ("STORE 1 FLAGS.SILENT (\\Seen \\Flagged)", SEEN),
        ("STORE 1 +FLAGS ($MDNSent)", SEEN),
        ("STORE 1 +FLAGS (\\Answered)", set()),
        ("STORE 1 -FLAGS (\\Seen)", set()),
        ("COPY 1 Archive", set()),
        ("MOVE 1 Archive", set()),
        ("SEARCH BODY Bonjour", set()),
        ("SEARCH RETURN (COUNT) TEXT Bonjour", set()),
        ("SORT (SUBJECT) UTF-8 BODY Bonjour", set()),
        ('APPEND Drafts CATENATE (URL "/INBOX/;UID=1/;SECTION=HEADER")', set()),
        ('APPEND Drafts CATENATE (URL "/INBOX/;UID=1")', FETCHED),
        ('APPEND INBOX CATENATE (URL "/INBOX/;UID=1/;SECTION=TEXT")', FETCHED),
        ('REPLACE 2 INBOX CATENATE (URL "/INBOX/;UID=1/;SECTION=1/;PARTIAL=0.1")', FETCHED),
    ],
)
def test_a_command_leaves_its_events(world: World, command: str, kinds: set[str]) -> None:
    world.deliver(
        b"Subject: deux\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nVoir\r\n"
        b"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: un\r\n\r\nVu\r\n--b--\r\n"
    )
    world.client().ok(command)
    assert {kind for kind, _, _ in events(world)} == kinds


@pytest.mark.requirement("DEF-06")
def test_what_a_store_has_left_alone_was_not_seen(world: World) -> None:
    """RFC 7162 3.1.3: another has changed it meanwhile, and its flags are as they were."""
    client, other = world.client(), world.client()
    other.ok("STORE 2 +FLAGS (\\Flagged)")
    inbox = world.store.read(lambda r: r.mailbox(world.zoe.id, "INBOX")).result()
    assert inbox is not None
    before = inbox.highest_modseq - 1
    tagged, _ = client.command(f"STORE 1:2 (UNCHANGEDSINCE {before}) +FLAGS (\\Seen)")
    assert tagged.startswith("OK [MODIFIED 2]")
    assert [(kind, letter) for kind, _, letter in events(world)] == [("lu", 1)]


@pytest.mark.requirement("DEF-06")
def test_once_for_each_person_message_and_day(world: World) -> None:
    world.share(Role.LECTEUR)
    world.share(Role.SECRETAIRE, LUC)
    world.fill(2, bal=world.service)
    for _ in range(2):
        for login in (LUC, SERVICE):
            client = world.client(login, None)
            prefix = "" if login == SERVICE else f"Other Users/{SERVICE}/"
            client.ok(f'SELECT "{prefix}INBOX"')
            client.ok("FETCH 1:2 BODY[]")
            client.ok("COPY 1 INBOX")  # the same message
    of_one_day = events(world, world.service)
    assert len(of_one_day) == len(set(of_one_day)) == 2 * 2 + 2
    assert {account for kind, account, _ in of_one_day if kind == "releve"} == {2, 3}
    assert {account for kind, account, _ in of_one_day if kind == "lu"} == {2}
    world.clock.advance(86_400)
    client = world.client(SERVICE)
    client.ok("FETCH 1 BODY.PEEK[]")
    assert len(events(world, world.service)) == len(of_one_day) + 1


@pytest.mark.requirement("DEF-06")
@pytest.mark.attack
@pytest.mark.parametrize("octets", [300, 2_000_000])
@pytest.mark.parametrize(("items", "kinds"), [("BODY.PEEK[]", FETCHED), ("BODY[]", FETCHED | SEEN)])
def test_who_cuts_the_line_behind_what_they_wanted_has_read_it(
    world: World, monkeypatch: pytest.MonkeyPatch, octets: int, items: str, kinds: set[str]
) -> None:
    """All but the last octets of a letter are in their hands by then."""
    head = message(4)
    world.deliver(head + b"a" * (octets - len(head)))
    client = world.client()
    perform = client._perform

    def cut(effect: effects.Effect) -> bool:
        done = perform(effect)
        if isinstance(effect, effects.Send) and b"aaaaaaaa" in effect.octets:
            raise Ended
        return done

    monkeypatch.setattr(client, "_perform", cut)
    client.send(f"a FETCH 4 {items}\r\n".encode())
    assert not client.is_open
    assert {kind for kind, _, _ in events(world)} == kinds


@pytest.mark.requirement("DEF-06")
@pytest.mark.attack
@pytest.mark.parametrize(
    ("command", "kinds"),
    [
        ("COPY 1 INBOX", FETCHED),
        ("COPY 1:* Archive", FETCHED),
        ("UID MOVE 1 Archive", FETCHED),
        (f'COPY 1 "{RADIOLOGY}/Archive"', set()),
        (f'MOVE 1 "{RADIOLOGY}/Archive"', set()),
        ("MOVE 1 Trash", set()),  # that of the box is meant
        (f'APPEND Drafts CATENATE (URL "/Other%20Users/{SERVICE}/INBOX/;UID=1")', FETCHED),
        ("COPY 1 Absent", set()),
    ],
)
def test_a_letter_that_is_taken_out_of_a_box_was_fetched(
    world: World, command: str, kinds: set[str]
) -> None:
    """In a box of one's own it is read where nobody of the service sees that."""
    world.share()
    world.fill(1, bal=world.service)
    client = world.client(select=None)
    client.ok(f'SELECT "{RADIOLOGY}/INBOX"')
    done, _ = client.command(command)
    assert done.startswith("NO [TRYCREATE]" if "Absent" in command else "OK")
    zoe = client.session.principal.account
    found = {(kind, who) for kind, who, _ in events(world, world.service)}
    assert found == {(kind, zoe) for kind in kinds}
    assert events(world) == []


@pytest.mark.requirement("DEF-06")
@pytest.mark.attack
def test_a_copy_of_several_commits_that_is_undone_was_fetched_all_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a moment they were there to be read."""
    world.share()
    world.fill(3, bal=world.service)
    monkeypatch.setattr(copy, "BATCH", 2)
    client = world.client(select=None)
    client.ok(f'SELECT "{RADIOLOGY}/INBOX"')
    with monkeypatch.context() as patch:
        patch.setattr(Writing, "end_copy", _full)
        client.no("COPY 1:* Archive", "OVERQUOTA")
    assert "* 0 EXISTS" in client.ok("EXAMINE Archive")
    assert [kind for kind, _, _ in events(world, world.service)] == ["releve"] * 2


def _full(_writing: Writing, _copy: int) -> None:
    raise OverQuota


@pytest.mark.requirement("DEF-06")
@pytest.mark.attack
@pytest.mark.parametrize("command", ["STORE 1 +FLAGS (\\Seen)", "FETCH 1 BODY[]"])
def test_who_cuts_the_line_behind_the_flag_has_seen_the_letter(
    world: World, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    client = world.client()
    perform = client._perform

    def cut(effect: effects.Effect) -> bool:
        done = perform(effect)
        if isinstance(effect, effects.Write):
            raise Ended
        return done

    monkeypatch.setattr(client, "_perform", cut)
    client.send(f"a {command}\r\n".encode())
    assert not client.is_open
    assert [kind for kind, _, _ in events(world)] == ["lu"]


@pytest.mark.requirement("DEF-06")
@pytest.mark.attack
@pytest.mark.parametrize("octets", [300, 200_000])
def test_a_mailbox_deleted_while_its_letter_is_on_its_way_was_read(
    world: World, monkeypatch: pytest.MonkeyPatch, octets: int
) -> None:
    """By another session, between the look into the store and the note of it."""
    client = world.client(select=None)
    client.ok("CREATE Suivi")
    world.deliver(message(1) + b"a" * octets, "Suivi")
    client.ok("SELECT Suivi")
    perform = client._perform

    def late(effect: effects.Effect) -> bool:
        if isinstance(effect, effects.Note):
            world.store.write(lambda w: w.delete_mailbox(world.zoe.id, "Suivi")).result()
        return perform(effect)

    monkeypatch.setattr(client, "_perform", late)
    client.send(b"a FETCH 1 BODY.PEEK[]\r\n")
    assert [kind for kind, _, _ in events(world)] == ["releve"]


@pytest.mark.requirement("DEF-06")
@pytest.mark.parametrize("end", ["EXPUNGE", "CLOSE", "MOVE 1:3 Archive", "DELETE Suivi"])
def test_what_is_removed_at_once_was_read_nevertheless(world: World, end: str) -> None:
    client = world.client(select=None)
    client.ok("CREATE Suivi")
    world.fill(3, "Suivi")
    client.ok("SELECT Suivi")
    client.ok("FETCH 1:3 BODY.PEEK[]")
    client.ok("STORE 1:3 +FLAGS.SILENT (\\Deleted)")
    client.ok(end)
    assert [kind for kind, _, _ in events(world)] == ["releve"] * 3


@pytest.mark.requirement("DEF-06")
@pytest.mark.attack
@pytest.mark.parametrize("end", ["moved", "expunged", "deleted"])
@pytest.mark.parametrize(
    ("command", "kinds"),
    [
        ("FETCH 1:2 BODY.PEEK[]", FETCHED),
        ("FETCH 1:2 BODY[]", FETCHED | SEEN),
        ("STORE 1:2 +FLAGS (\\Seen)", SEEN),
        ("STORE 1:2 FLAGS.SILENT (\\Seen $Travail)", SEEN),
    ],
)
def test_what_another_worker_takes_away_at_once_was_read_nevertheless(
    world: World, command: str, kinds: set[str], end: str
) -> None:
    """With a second connection somebody read the letters of a shared box and was in no list."""
    world.client().ok("CREATE Suivi")
    world.fill(3, "Suivi")
    world.client(select="Suivi").ok(command)
    settings = StoreSettings(home=world.home, master_key_file=world.home.parent / "master.key")
    other = Store(settings, world.clock, SystemEntropy(), worker="another")

    def job(writing: Writing) -> None:
        found, archive = (writing.mailbox(world.zoe.id, name) for name in ("Suivi", "Archive"))
        assert found is not None
        assert archive is not None
        if end == "moved":
            writing.move(found.id, [Uid(1), Uid(2)], archive.id)
        elif end == "expunged":
            writing.discard(found.id, [Uid(1), Uid(2)])
        else:
            writing.delete_mailbox(world.zoe.id, "Suivi")

    try:
        other.write(job).result()
    finally:
        other.close()
    assert sorted(kind for kind, _, _ in events(world)) == sorted([*kinds] * 2)


def test_while_nothing_can_be_written_memory_stays_bounded(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk keeps no mail from being read; it must not fill the memory, either (D11)."""
    monkeypatch.setattr(readings, "MOST_NOTED", 10)
    monkeypatch.setattr(readings, "MOST_KEPT", 20)
    noted = Noted()
    for account in range(1, 8):
        noted.add(AccountId(account), BalId(1), [1, 2, 3, 4], "lu", START)
        assert len(noted.some(1_000)) <= 5
    assert sum(len(letters) for _, _, letters in noted.some(1_000)) == 20
    assert noted.lost == 8
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    noted.forget(noted.some(12))
    assert not noted.add(AccountId(9), BalId(1), [1], "lu", START)
    assert not noted.lost
