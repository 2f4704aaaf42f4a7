"""Foreign clients through the doors: imaplib and imapclient."""

from __future__ import annotations

import asyncio
import hashlib
import imaplib
import ssl

import imapclient
import pytest

from tests.imap.world import message
from tests.imap_server.rig import PASSWORD, ZOE, Rig

pytestmark = pytest.mark.end_to_end


def _imaplib_session(port: int, context: ssl.SSLContext) -> None:
    with imaplib.IMAP4_SSL("127.0.0.1", port, ssl_context=context) as imap:
        assert imap.login(ZOE, PASSWORD)[0] == "OK"
        assert imap.enable("CONDSTORE")[0] == "OK"
        assert imap.select("INBOX") == ("OK", [b"2"])
        assert imap.search(None, "UNSEEN")[1] == [b"1 2"]
        kind, data = imap.fetch("1", "(RFC822)")
        assert kind == "OK"
        assert isinstance(data[0], tuple)
        assert data[0][1] == message(1)
        assert imap.store("1", "+FLAGS", "\\Deleted")[0] == "OK"
        assert imap.expunge()[1] == [b"1"]
        assert (
            imap.append("Drafts", "\\Draft", imaplib.Time2Internaldate(1e9), message(9))[0] == "OK"
        )
        assert imap.status("Drafts", "(MESSAGES UNSEEN)")[1] == [b'"Drafts" (MESSAGES 1 UNSEEN 1)']
        assert imap.uid("MOVE", "2", "Archive")[0] == "OK"
        assert imap.namespace()[0] == "OK"
        assert imap.create("Patients")[0] == "OK"
        assert len(imap.list()[1]) == 7


@pytest.mark.requirement("OP-81", "CL-04", "CL-35")
async def test_imaplib_works_over_implicit_tls(rig: Rig) -> None:
    rig.deliver(message(1))
    rig.deliver(message(2))
    async with rig.door() as (_, port):
        await asyncio.to_thread(_imaplib_session, port, rig.context)


def _imapclient_session(port: int, context: ssl.SSLContext) -> None:
    with imapclient.IMAPClient("127.0.0.1", port, ssl=False, use_uid=True) as imap:
        assert imap.has_capability("STARTTLS")
        assert imap.has_capability("LOGINDISABLED")
        imap.starttls(context)
        imap.login(ZOE, PASSWORD)
        for capability in ("UIDPLUS", "MOVE", "IDLE", "SPECIAL-USE", "UNSELECT", "LITERAL+"):
            assert imap.has_capability(capability)
        assert imap.find_special_folder(b"\\Sent") == "Sent"
        imap.create_folder("Été & 😀/2026")
        assert imap.folder_exists("Été & 😀/2026")
        imap.rename_folder("Été & 😀", "Hiver")
        assert imap.folder_exists("Hiver/2026")
        assert imap.select_folder("INBOX")[b"EXISTS"] == 2
        uids = imap.search(["SUBJECT", "rendu 2"], "UTF-8")
        fetched = imap.fetch(uids, ["ENVELOPE", "BODYSTRUCTURE", "FLAGS", "BODY.PEEK[]"])
        assert fetched[uids[0]][b"ENVELOPE"].subject == b"Compte rendu 2"
        assert fetched[uids[0]][b"BODY[]"] == message(2)
        imap.add_flags(uids, ["\\Flagged", "$MSSPris"])
        assert set(imap.get_flags(uids)[uids[0]]) == {b"$MSSPris", b"\\Flagged", b"\\Recent"}
        imap.copy(uids, "Hiver/2026")
        imap.delete_messages(uids)
        imap.uid_expunge(uids)
        imap.idle()
        imap.idle_done()
        imap.unselect_folder()
        assert imap.folder_status("Hiver/2026")[b"MESSAGES"] == 1
        imap.logout()


async def test_imapclient_works_over_starttls(rig: Rig) -> None:
    rig.deliver(message(1))
    rig.deliver(message(2))
    async with rig.door(implicit_tls=False) as (_, port):
        await asyncio.to_thread(_imapclient_session, port, rig.context)


def _append_and_fetch(port: int, context: ssl.SSLContext, letter: bytes) -> None:
    with imapclient.IMAPClient("127.0.0.1", port, ssl_context=context) as imap:
        imap.login(ZOE, PASSWORD)
        imap.append("Sent", letter, ["\\Seen"])
        imap.select_folder("Sent", readonly=True)
        got = imap.fetch([1], ["BODY.PEEK[]", "RFC822.SIZE"])[1]
        assert got[b"RFC822.SIZE"] == len(letter)
        assert hashlib.sha256(got[b"BODY[]"]).digest() == hashlib.sha256(letter).digest()


async def test_a_large_letter_is_appended_and_read_back_octet_for_octet(rig: Rig) -> None:
    body = b"".join(b"%076d\r\n" % number for number in range(60_000))
    async with rig.door() as (_, port):
        await asyncio.to_thread(_append_and_fetch, port, rig.context, message(1) + body)
