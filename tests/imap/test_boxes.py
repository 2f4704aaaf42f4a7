"""Boxes as people use them: several in one session, by several programs, with own folders."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mssmtp.imap.effects import Woken
from mssmtp.mail import BalState, Role, Uid
from mssmtp.storage import Writing
from tests.imap.world import LUC, PASSWORD, SERVICE, ZOE, World, message

SHARED = f"Other Users/{SERVICE}/INBOX"
XDM = b"Subject: XDM/1.0/DDM+CR d'imagerie =?utf-8?Q?L=C3=89GER_Zo=C3=A9?= 01/02/1960\r\n"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    made.share(Role.SECRETAIRE)
    yield made
    made.close()


@pytest.mark.requirement("SEED-16")
def test_a_person_switches_between_all_boxes_in_one_session(world: World) -> None:
    """Own login, no shared password; what is read in the shared box is read for all."""
    world.fill(1)
    world.fill(2, bal=world.service)
    client = world.client(select=None)
    assert any(SHARED in line for line in client.ok('LIST "" "*"'))
    assert "* 1 EXISTS" in client.ok("SELECT INBOX")
    assert "* 2 EXISTS" in client.ok(f'SELECT "{SHARED}"')
    client.ok("FETCH 1 BODY[]")
    colleague = world.client(SERVICE)
    assert any("\\Seen" in line for line in colleague.ok("FETCH 1 FLAGS"))
    client.ok("MOVE 2 INBOX")
    assert "* 2 EXISTS" in client.ok("SELECT INBOX")


@pytest.mark.requirement("SEED-16")
@pytest.mark.attack
def test_att_24_a_password_for_one_box_shows_that_box_alone_with_the_rights_of_the_role(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.fill(1, bal=world.service)
    person = world.login(ZOE, PASSWORD)
    bound = replace(person, bals=(world.service,), box=world.service.id)
    monkeypatch.setattr(world, "login", lambda *_: bound)
    client = world.client()
    assert '* MYRIGHTS "INBOX" lrswipktecd' in client.ok("MYRIGHTS INBOX")
    assert "Other Users" not in "\n".join(client.ok('LIST "" "*"') + client.ok("NAMESPACE"))
    for name in (f"Other Users/{ZOE}/INBOX", SHARED):
        client.no(f'SELECT "{name}"', "NONEXISTENT")
    client.ok("SELECT INBOX")
    client.ok("FETCH 1 BODY.PEEK[]")
    world.share(Role.LECTEUR)
    client.no("STORE 1 +FLAGS (\\Deleted)", "NOPERM")
    client.no("DELETE Archive", "NOPERM")


@pytest.mark.requirement("SEED-22")
def test_what_leaves_a_shared_box_or_is_thrown_away_there_is_traced_to_the_person(
    world: World,
) -> None:
    """Colleagues ask where a letter is: an EXPUNGE says so, a MOVE must too."""
    world.fill(3, bal=world.service)
    client = world.client(select=None)
    client.ok(f'SELECT "{SHARED}"')
    for command in ("MOVE 1 INBOX", "MOVE 1 Trash", f'MOVE 1 "{SHARED[:-5]}Archive"'):
        client.ok(command)
    client.ok("SELECT INBOX")
    client.ok("MOVE 1 Trash")  # one's own order is nobody's question
    found = [
        each
        for each in world.store.read(lambda r: r.traces()).result()
        if each.kind == "delete" and each.request.startswith("MOVE")
    ]
    assert len(found) == 2
    assert {(each.author, each.answer) for each in found} == {(ZOE, "1 messages")}
    assert sum(" of box " in each.request for each in found) == 1
    of_box = world.store.read(lambda r: r.traces(bal=world.service.id)).result()
    assert {each.number for each in found} <= {each.number for each in of_box}


@pytest.mark.requirement("SEED-22")
def test_nothing_is_thrown_out_of_a_shared_box_where_its_trash_takes_nothing(world: World) -> None:
    world.fill(1, bal=world.service)
    world.share(Role.RESPONSABLE, LUC)
    world.client(LUC).ok(f'SETACL "{SHARED[:-5]}Trash" {ZOE} lr')
    client = world.client(select=None)
    client.ok(f'SELECT "{SHARED}"')
    for command in ("MOVE 1 Trash", "COPY 1 Trash"):
        client.no(command, "NOPERM")
    world.share(Role.LECTEUR)
    client.ok("COPY 1 Trash")  # takes nothing away: a copy is a copy
    assert "* 1 EXISTS" in client.ok("SELECT Trash")


@pytest.mark.requirement("SEED-05")
def test_programs_of_every_kind_work_in_one_box_at_the_same_time(world: World) -> None:
    """Business software polls and takes parts, an old telephone takes pieces, a mail client idles.
    The webmail is a client of the same rows, and comes with its own tests."""
    world.fill(1)
    software, telephone, mail_client = (world.client() for _ in range(3))
    mail_client.send(b"I1 IDLE\r\n")
    world.deliver(message(2))
    assert b"* 2 EXISTS" in mail_client.received
    assert '* STATUS "INBOX" (MESSAGES 2 UNSEEN 2)' in software.ok("STATUS INBOX (MESSAGES UNSEEN)")
    software.ok("NOOP")
    assert any("BODYSTRUCTURE" in line for line in software.ok("UID FETCH 2 BODYSTRUCTURE"))
    assert any("Bonjour 2" in line for line in software.ok("UID FETCH 2 BODY.PEEK[1]"))
    telephone.ok("NOOP")
    assert any("<0>" in line for line in telephone.ok("FETCH 2 BODY[]<0.8192>"))
    assert b"2 FLAGS (\\Recent \\Seen)" in mail_client.received
    assert b"I1 OK" in mail_client.send(b"DONE\r\n")


@pytest.mark.requirement("SEED-17")
def test_folders_are_made_renamed_filled_and_removed_by_the_user(world: World) -> None:
    world.fill(2)
    client = world.client()
    for top in ("", f"Other Users/{SERVICE}/"):
        client.ok(f'CREATE "{top}Suivi/2026/Mars"')
        client.ok(f'COPY 1 "{top}Suivi/2026/Mars"')
        if not top:
            client.ok(f'RENAME "{top}Suivi/2026" "{top}Suivi/Ancien"')
            told = "\n".join(client.ok(f'LIST "" "{top}Suivi/*"'))
            assert f'"{top}Suivi/Ancien/Mars"' in told
            assert "Suivi/2026" not in told
            client.ok(f'DELETE "{top}Suivi/Ancien/Mars"')
    client.no(f'DELETE "Other Users/{SERVICE}/Suivi/2026/Mars"', "NOPERM")


@pytest.mark.requirement("DEF-07")
@pytest.mark.parametrize("qresync", [False, True])
def test_what_retention_takes_away_is_told_as_expunged_and_never_comes_again(
    world: World, qresync: bool
) -> None:
    world.fill(3)
    idle, busy = world.client(select=None), world.client()
    if qresync:
        idle.ok("ENABLE QRESYNC")
    before = "\n".join(idle.ok("SELECT INBOX"))
    idle.send(b"I1 IDLE\r\n")

    def purge(writing: Writing) -> None:
        box = writing.mailbox(world.zoe.id, "INBOX")
        assert box is not None
        for uid in (1, 3):
            writing.withdraw(box.id, Uid(uid))

    world.store.write(purge).result()
    world.changed()
    expected = [b"VANISHED 1,3"] if qresync else [b"* 1 EXPUNGE", b"* 2 EXPUNGE"]
    assert all(line in idle.received for line in expected)
    idle.wake(Woken.CLOSED)
    assert "* 1 EXPUNGE" in busy.ok("NOOP")
    busy.ok(b"APPEND INBOX {%d+}\r\n%b" % (len(message(4)), message(4)))
    after = "\n".join(world.client(select=None).ok("SELECT INBOX"))
    assert "[UIDNEXT 5]" in after
    validity = next(line for line in before.splitlines() if "UIDVALIDITY" in line)
    assert validity in after


@pytest.mark.requirement("CL-48")
@pytest.mark.parametrize("subject", [XDM, XDM.replace(b" 01/02/1960", b"")])
def test_the_subject_of_a_document_reaches_the_client_octet_by_octet(
    world: World, subject: bytes
) -> None:
    world.deliver(subject + message(1).replace(b"Subject: Compte rendu 1\r\n", b""))
    client = world.client(ZOE)
    client.received.clear()
    client.ok("FETCH 1 BODY.PEEK[HEADER.FIELDS (SUBJECT)]")
    assert subject in bytes(client.received)
    client.received.clear()
    client.ok("FETCH 1 ENVELOPE")
    assert subject.removeprefix(b"Subject: ").rstrip() in bytes(client.received)
    assert "* SEARCH 1" in client.ok('SEARCH SUBJECT "XDM/1.0/DDM"')
    assert "* SEARCH 1" in client.ok(
        "SEARCH CHARSET UTF-8 SUBJECT {5+}\r\nléger".encode().replace(b"{5+}", b"{6+}")
    )


@pytest.mark.requirement("SEED-16")
def test_a_member_without_a_box_of_his_own_hides_a_mailbox_from_himself_alone(world: World) -> None:
    """His only box is that of others: its names have no prefix, and it is theirs all the same."""

    def close_own(writing: Writing) -> None:
        writing.set_bal_state(world.luc.id, BalState.SUSPENDED)

    world.share(Role.LECTEUR, LUC)
    world.store.write(close_own).result()
    reader, owner = world.client(LUC, select=None), world.client(SERVICE, select=None)
    told = '* LSUB () "/" "Archive"'
    assert told in reader.ok('LSUB "" Archive')
    reader.ok("UNSUBSCRIBE Archive")
    assert told not in reader.ok('LSUB "" Archive')
    assert told in owner.ok('LSUB "" Archive')
    reader.ok("SUBSCRIBE Archive")
    assert told in reader.ok('LSUB "" Archive')
