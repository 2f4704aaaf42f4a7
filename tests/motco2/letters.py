"""SEND and FETCH: what goes in comes out, octet for octet, with headers and folders (CL-34, 35)."""

from __future__ import annotations

import imaplib
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate

from tests.motco2.cases import Case, Wrong, expect
from tests.motco2.target import Box, Target

ARRIVES_WITHIN_S = 30.0
_PAUSE_S = 0.2
_MSS = (
    b"X-MSS-NIL: bench\r\nX-MSS-INS: O\r\nX-Mss-CodeCDA: 34133-9,\r\n 11502-2\r\nX-MSS-MES: FIN\r\n"
)


def cases() -> Iterator[Case]:
    """From capabilities to clean-up."""
    group = "send and fetch"
    yield Case(group, "IDLE, MOVE, UIDPLUS, NAMESPACE, SPECIAL-USE are offered", "CL-35", _offered)
    yield Case(group, "QUOTA and CONDSTORE are offered", "CL-35, R09", _not_yet, is_open=True)
    yield Case(group, "Sent, Drafts, Trash, Junk with their uses", "CL-34", _special)
    yield Case(
        group,
        "a letter to To and Cc arrives, octet for octet below the trace",
        "SEED-54, OP-63",
        _letter,
    )
    yield Case(group, "X-MSS headers keep order, case and folding", "OP-62", _headers)
    yield Case(group, "BODYSTRUCTURE, a part alone, a part of a part", "R03, R16", _parts)
    yield Case(group, "flags, SEARCH, COPY, MOVE, UID EXPUNGE", "CL-35", _folders)
    yield Case(group, "APPEND of a sent copy answers with its UID", "R05", _append)
    yield Case(group, "IDLE tells of a new letter", "CL-35", _idle)
    yield Case(group, "four STATUS in one go", "R02", _status)


@contextmanager
def inbox(target: Target, box: Box, name: str = "INBOX") -> Iterator[imaplib.IMAP4]:
    """A session with a mailbox selected."""
    with target.imap_session(box) as client:
        expect(client.select(name)[0] == "OK", f"SELECT {name}")
        yield client


def compose(target: Target, *, extra: bytes = b"", cc: str = "") -> tuple[bytes, str]:
    """A letter with an attachment, and its Message-ID."""
    name = f"<{os.urandom(12).hex()}@banc.invalid>"
    head = (
        f"From: <{target.box.address}>\r\nTo: <{target.other.address}>\r\n"
        + (f"Cc: <{cc}>\r\n" if cc else "")
        + f"Subject: =?utf-8?q?Essai_du_banc_=C3=A9?=\r\nDate: {formatdate()}\r\n"
        f"Message-ID: {name}\r\nMIME-Version: 1.0\r\n"
    ).encode()
    body = (
        b'Content-Type: multipart/mixed; boundary="bord"\r\n\r\n--bord\r\n'
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        + "Cher confrère,\r\n.\r\n..deux points\r\n".encode()
        + b"--bord\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n"
        b'Content-Disposition: attachment; filename="compte.pdf"\r\n\r\n'
        b"JVBERi0xLjQK\r\n--bord--\r\n"
    )
    return head + extra + body, name


def send(target: Target, letter: bytes, *to: str) -> None:
    """Submit it. Raises smtplib's errors."""
    with target.smtp_session(target.box) as client:
        client.sendmail(target.box.address, to or [target.other.address], letter)


def fetched(client: imaplib.IMAP4, uid: str, what: str) -> bytes:
    """The literal of one FETCH item."""
    answer = client.uid("FETCH", uid, f"({what})")[1]
    parts = [each[1] for each in answer if isinstance(each, tuple)]
    expect(len(parts) == 1, answer)
    return bytes(parts[0])


def arrived(client: imaplib.IMAP4, name: str) -> str:
    """UID of the letter with that Message-ID, waited for. Raises Wrong."""
    deadline = time.monotonic() + ARRIVES_WITHIN_S
    while time.monotonic() < deadline:
        client.noop()
        found = client.uid("SEARCH", "HEADER", "Message-ID", name)[1][0].split()
        if found:
            return str(found[-1].decode())
        time.sleep(_PAUSE_S)
    raise Wrong(f"{name} did not arrive in {ARRIVES_WITHIN_S:.0f} s")


def remove(client: imaplib.IMAP4, uid: str) -> None:
    """Leave the box as it was."""
    client.uid("STORE", uid, "+FLAGS.SILENT", r"(\Deleted)")
    client.uid("EXPUNGE", uid)


def _capabilities(client: imaplib.IMAP4) -> set[str]:
    return set(client.capability()[1][0].decode().upper().split())


def _offered(target: Target) -> str:
    with target.imap_session(target.box) as client:
        names = _capabilities(client)
    missing = {"IMAP4REV1", "IDLE", "MOVE", "UIDPLUS", "NAMESPACE", "SPECIAL-USE"} - names
    expect(not missing, f"missing: {', '.join(sorted(missing))}")
    return " ".join(sorted(names))


def _not_yet(target: Target) -> str:
    with target.imap_session(target.box) as client:
        missing = {"QUOTA", "CONDSTORE"} - _capabilities(client)
    expect(not missing, f"missing: {', '.join(sorted(missing))}")
    return "offered"


def _special(target: Target) -> str:
    with target.imap_session(target.box) as client:
        lines = [bytes(each).decode() for each in client.list()[1] if isinstance(each, bytes)]
    for use in (r"\Sent", r"\Drafts", r"\Trash", r"\Junk"):
        expect(sum(use in line for line in lines) == 1, f"{use}: {lines}")
    return f"{len(lines)} mailboxes"


def _letter(target: Target) -> str:
    letter, name = compose(target, cc=target.box.address)
    send(target, letter, target.other.address, target.box.address)
    for box in (target.other, target.box):
        with inbox(target, box) as client:
            uid = arrived(client, name)
            octets = fetched(client, uid, "BODY.PEEK[]")
            remove(client, uid)
        expect(octets.endswith(letter), "not octet for octet what was sent")
        trace = octets[: -len(letter)]
        expect(b"Received:" in trace, trace)
    return f"{len(letter)} octets under a trace of {len(trace)}"


def _headers(target: Target) -> str:
    letter, name = compose(target, extra=_MSS)
    send(target, letter)
    with inbox(target, target.other) as client:
        uid = arrived(client, name)
        header = fetched(client, uid, "BODY.PEEK[HEADER]")
        remove(client, uid)
    expect(_MSS in header, header)
    return "byte-identical"


def _parts(target: Target) -> str:
    letter, name = compose(target)
    send(target, letter)
    with inbox(target, target.other) as client:
        uid = arrived(client, name)
        shape = str(client.uid("FETCH", uid, "(BODYSTRUCTURE)")[1])
        part = fetched(client, uid, "BODY.PEEK[2]")
        piece = fetched(client, uid, "BODY.PEEK[2]<0.4>")
        flags = str(client.uid("FETCH", uid, "(FLAGS)")[1])
        remove(client, uid)
    expect("compte.pdf" in shape and "8bit" in shape.lower(), shape)
    expect(part.startswith(b"JVBERi0xLjQK"), part)
    expect(piece == b"JVBE", piece)
    expect("Seen" not in flags, f"PEEK has marked it as seen: {flags}")
    return "structure, part and piece"


def _folders(target: Target) -> str:
    letter, _ = compose(target)
    folder = f"banc-{os.urandom(4).hex()}"
    with inbox(target, target.box) as client:
        expect(client.create(folder)[0] == "OK", "CREATE")
        try:
            client.append(folder, None, None, letter)
            client.select(folder)
            expect(client.uid("STORE", "1:*", "+FLAGS", r"(\Flagged banc)")[0] == "OK", "STORE")
            found = client.uid("SEARCH", "FLAGGED", "KEYWORD", "banc")[1][0].split()
            expect(len(found) == 1, f"SEARCH {found}")
            uid = found[0].decode()
            expect(client.uid("COPY", uid, folder)[0] == "OK", "COPY")
            expect(client._simple_command("UID", "MOVE", uid, folder)[0] == "OK", "MOVE")
            left = client.uid("SEARCH", "ALL")[1][0].split()
            expect(len(left) == 2 and found[0] not in left, f"after MOVE {left}")
            remove(client, left[0].decode())
            expect(client.uid("SEARCH", "ALL")[1][0].split() == left[1:], "UID EXPUNGE")
        finally:
            client.select("INBOX")
            client.delete(folder)
    return "as asked"


def _append(target: Target) -> str:
    letter, _ = compose(target)
    with target.imap_session(target.box) as client:
        answer = client.append("Sent", r"(\Seen)", None, letter)
        found = re.search(rb"APPENDUID (\d+) (\d+)", answer[1][0])
        expect(found, answer)
        client.select("Sent")
        uid = found[2].decode() if found else ""
        octets = fetched(client, uid, "BODY.PEEK[]")
        remove(client, uid)
    expect(octets == letter, "the copy is not what was appended")
    return str(answer[1][0].decode())


def _idle(target: Target) -> str:
    letter, name = compose(target)
    with inbox(target, target.other) as client:
        client.send(b"x1 IDLE\r\n")
        expect(client.readline().startswith(b"+"), "no continuation")
        send(target, letter)
        line = b""
        while b"EXISTS" not in line:
            line = client.readline()
            expect(line, "the connection ended")
        client.send(b"DONE\r\n")
        while not line.startswith(b"x1 "):
            line = client.readline()
            expect(line, "the connection ended")
        remove(client, arrived(client, name))
    return "EXISTS"


def _status(target: Target) -> str:
    with target.imap_session(target.box) as client:
        for name in ("INBOX", "Sent", "Drafts", "Trash"):
            answer = client.status(name, "(MESSAGES UIDNEXT UIDVALIDITY UNSEEN)")
            expect(answer[0] == "OK", answer)
    return "four answers"
