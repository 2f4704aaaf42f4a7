"""Sessions of foreign programs: what they fetch is what was delivered, what they do is done."""

from __future__ import annotations

import asyncio
import imaplib
import ssl
from pathlib import Path

import pytest

from tests.dovecot import dovecot
from tests.imap.world import message
from tests.imap_server import programs
from tests.imap_server.rig import PASSWORD, ZOE, Rig

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(120)]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Where a program keeps its things."""
    made = tmp_path / "home-of-a-program"
    made.mkdir()
    return made


async def held(rig: Rig, port: int, mailbox: bytes = b"INBOX") -> dict[int, set[bytes]]:
    """UID and flags of what a mailbox holds, asked by another client."""
    client = await rig.raw(port)
    await client.line()
    await client.ok(b'LOGIN %b "%b"' % (ZOE.encode(), PASSWORD.encode()))
    await client.ok(b"EXAMINE %b" % mailbox)
    found = {}
    for line in (await client.ok(b"UID FETCH 1:* (FLAGS)"))[:-1]:
        if b"FETCH (UID " in line:
            uid, _, flags = line.partition(b"(UID ")[2].partition(b" FLAGS (")
            found[int(uid)] = set(flags.partition(b")")[0].split()) - {b"\\Recent"}
    await client.ok(b"LOGOUT")
    return found


# ---------------------------------------------------------------- fetchmail and getmail


async def test_fetchmail_takes_new_mail_once_and_leaves_it_seen(rig: Rig, home: Path) -> None:
    for number in (1, 2, 3):
        rig.deliver(message(number))
    async with rig.door() as (_, port):
        assert "3 messages" in await programs.fetchmail(home, port, "keep")
        assert await held(rig, port) == {n: {b"\\Seen"} for n in (1, 2, 3)}
        rig.deliver(message(4))
        await programs.fetchmail(home, port, "keep")
    fetched = (home / "fetched").read_bytes().split(b"------\n")[:-1]
    assert [b"Compte rendu %d\n" % n in got for n, got in enumerate(fetched, 1)] == [True] * 4


async def test_fetchmail_deletes_what_it_has_taken(rig: Rig, home: Path) -> None:
    for number in (1, 2):
        rig.deliver(message(number))
    async with rig.door() as (_, port):
        await programs.fetchmail(home, port, "nokeep", "fetchall")
        assert await held(rig, port) == {}


async def test_getmail_takes_each_message_octet_for_octet(rig: Rig, home: Path) -> None:
    for number in (1, 2, 3):
        rig.deliver(message(number))
    boxes = home / "boxes"
    async with rig.door() as (_, port):
        await programs.getmail(home, port, delete=False)
        assert programs.letters(boxes) == sorted(message(n) for n in (1, 2, 3))
        rig.deliver(message(4))
        await programs.getmail(home, port, delete=True)
        assert programs.letters(boxes) == sorted(message(n) for n in (1, 2, 3, 4))
        assert await held(rig, port) == {}


# ---------------------------------------------------------------- mutt


@pytest.mark.parametrize("qresync", ["yes", "no"])
@pytest.mark.parametrize("condstore", ["yes", "no"])
async def test_mutt_sees_on_its_second_visit_what_changed(
    rig: Rig, home: Path, condstore: str, qresync: str
) -> None:
    for number in range(1, 6):
        rig.deliver(message(number))
    settings = (f"imap_condstore={condstore}", f"imap_qresync={qresync}")
    async with rig.door() as (_, port):
        shown = await programs.mutt(
            home, port, "<first-entry><flag-message><sync-mailbox>", *settings
        )
        assert "Msgs:5" in shown, shown[-600:]
        other = await rig.client(port)
        await other.ok(b"STORE 2 +FLAGS (\\Deleted)")
        await other.ok(b"STORE 3 +FLAGS (\\Seen \\Answered)")
        await other.ok(b"EXPUNGE")
        rig.deliver(message(6))
        shown = await programs.mutt(
            home,
            port,
            "<last-entry><delete-message><sync-mailbox>"
            f"<tag-pattern>~A<enter><tag-prefix><copy-message>{home}/saved<enter>",
            *settings,
        )
        assert "Msgs:4" in shown, shown[-600:]
        flags = await held(rig, port)
    saved = (home / "saved").read_bytes()
    assert [n for n in range(1, 7) if b"Bonjour %d\n" % n in saved] == [1, 3, 4, 5]
    assert flags[1] == {b"\\Flagged", b"Old"}
    assert flags[3] - {b"Old"} == {b"\\Seen", b"\\Answered"}
    assert set(flags) == {1, 3, 4, 5}


# ---------------------------------------------------------------- interimap


class Mailboxes(dict[bytes, tuple[set[bytes], bytes]]):
    """Each message of a mailbox by its octets: flags and internal date."""

    @classmethod
    def of(cls, client: imaplib.IMAP4, mailbox: str) -> Mailboxes:
        """As a client finds it."""
        found = cls()
        client.select(mailbox, readonly=True)
        for item in client.uid("FETCH", "1:*", "(FLAGS INTERNALDATE BODY.PEEK[])")[1]:
            if isinstance(item, tuple):
                flags = set(imaplib.ParseFlags(item[0])) - {b"\\Recent"}
                at = imaplib.Internaldate2tuple(item[0])
                found[item[1]] = (flags, str(at).encode())
        return found


def _both(port: int, theirs: int, context: ssl.SSLContext) -> list[imaplib.IMAP4]:
    ours = imaplib.IMAP4_SSL("127.0.0.1", port, ssl_context=context)
    ours.login(ZOE, PASSWORD)
    other = imaplib.IMAP4("127.0.0.1", theirs)
    other.login("zoe", "sesame")
    return [ours, other]


def _change(ours: imaplib.IMAP4, theirs: imaplib.IMAP4) -> None:
    ours.select("INBOX")
    ours.store("1", "+FLAGS", "(\\Flagged $MDNSent)")
    ours.store("2", "+FLAGS", "\\Deleted")
    ours.expunge()
    ours.append("Archive", "\\Seen", '" 5-Mar-2026 10:00:00 +0100"', message(21))
    theirs.select("INBOX")
    theirs.store("3", "+FLAGS", "(\\Answered \\Seen)")
    theirs.append("INBOX", "(\\Draft)", '"15-Mar-2026 10:00:00 +0100"', message(22))


async def test_interimap_keeps_dovecot_and_us_the_same(rig: Rig, home: Path) -> None:
    """Bidirectional, by QRESYNC: VANISHED, MODSEQ and UIDs of both servers have to be right."""
    for number in range(1, 6):
        rig.deliver(message(number))
    with dovecot() as peer:
        async with rig.door() as (_, port):
            await programs.interimap(home, port, peer.port)
            ours, theirs = await asyncio.to_thread(_both, port, peer.port, rig.context)
            await asyncio.to_thread(_change, ours, theirs)
            await programs.interimap(home, port, peer.port)
            for mailbox, count in (("INBOX", 5), ("Archive", 1), ("Drafts", 0)):
                here = await asyncio.to_thread(Mailboxes.of, ours, mailbox)
                there = await asyncio.to_thread(Mailboxes.of, theirs, mailbox)
                assert here == there
                assert len(here) == count
            ours.shutdown()
            theirs.shutdown()
