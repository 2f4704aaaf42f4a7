"""Programs of others, run as their users run them: no error, no warning, nothing lost."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from pathlib import Path

import pytest
from imapclient import IMAPClient

from tests.end_to_end.mail import arrival, letter, mailbox, submit
from tests.space import Account, Operator, RunningSpace, program

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.xdist_group("space"),
    pytest.mark.timeout(120),
]

COMPLAINT = re.compile(r"error|warning|fail|fatal|traceback|exception|refus", re.IGNORECASE)


TLS_1_2 = """openssl_conf = everywhere
[everywhere]
ssl_conf = tls
[tls]
system_default = limits
[limits]
MaxProtocol = TLSv1.2
"""


def run(
    *command: str, typed: str = "", home: Path | None = None, openssl: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, whatever it says. `openssl`: a configuration for its OpenSSL."""
    environment = {
        "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "TERM": "xterm",
        "HOME": str(home or "/nonexistent"),
        **({"OPENSSL_CONF": str(openssl)} if openssl else {}),
    }  # fmt: skip
    return subprocess.run(
        [program(command[0]), *command[1:]],
        input=typed,
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
    )


def content(done: subprocess.CompletedProcess[str]) -> str:
    """Both outputs of a program that must be content: code 0 and not one complaint."""
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-3000:]
    complaints = [line for line in said.splitlines() if COMPLAINT.search(line)]
    complaints = [line for line in complaints if "OpenSSL exception" not in line]  # a licence
    assert complaints == [], said[-3000:]
    return said


def delivered(space: RunningSpace, to: Account, number: int) -> list[str]:
    """So many fresh letters in an INBOX of B; their Message-IDs."""
    sender, identifiers = space.a.doctor(0), []
    for _ in range(number):
        sent = letter(sender, [to])
        assert submit(space, space.a, sender, [to], sent.octets).data.startswith("250")
        identifiers.append(sent.message_id)
    for identifier in identifiers:
        arrival(space, space.b, to, identifier)
    return identifiers


# ---------------------------------------------------------------- swaks


def swaks(space: RunningSpace, port: int, sender: object, to: object, *more: str) -> list[str]:
    return [
        "swaks", "--server", f"localhost:{port}", "--tls-ca-path", space.ca_file,
        "--tls-verify", "--from", str(sender), "--to", str(to), *more,
    ]  # fmt: skip


def test_swaks_delivers_with_a_listed_certificate(space: RunningSpace, tmp_path: Path) -> None:
    to, (certificate, key) = space.b.doctor(0), space.guest
    sent = letter("labo@guest.test", [to])
    file = tmp_path / "letter"
    file.write_bytes(sent.octets)
    command = swaks(
        space, space.b.smtp, "labo@guest.test", to, "--tls", "--tls-cert", certificate,
        "--tls-key", key, "--ehlo", "mx.guest.test", "--data", f"@{file}",
    )  # fmt: skip
    said = content(run(*command))
    assert re.search(r"^<~  250 2\.0\.0 Message pris en charge", said, re.MULTILINE)
    arrival(space, space.b, to, sent.message_id)


@pytest.mark.attack
@pytest.mark.requirement("OP-01", "OP-03")
def test_swaks_is_refused_without_a_certificate_and_without_tls(space: RunningSpace) -> None:
    to = space.b.doctor(0)
    done = run(*swaks(space, space.b.smtp, "labo@guest.test", to, "--tls"))
    assert done.returncode == 23, done.stdout
    assert "<~* 554 5.7.0 Certificat absent" in done.stdout
    done = run(*swaks(space, space.b.smtp, "labo@guest.test", to))
    assert done.returncode == 23, done.stdout
    assert "<** 530 5.7.0 " in done.stdout


def test_swaks_submits_with_auth_on_587_and_465(space: RunningSpace, tmp_path: Path) -> None:
    sender, to = space.a.doctor(0), space.b.doctor(0)
    for port, *more in (
        (space.a.submission, "--tls", "--auth", "PLAIN"),
        (space.a.submission, "--tls", "--auth", "LOGIN"),
        (space.a.submissions, "--tls-on-connect", "--auth", "PLAIN"),
    ):
        sent = letter(sender, [to])
        file = tmp_path / "letter"
        file.write_bytes(sent.octets)
        login = ["--auth-user", sender.address, "--auth-password", sender.password]
        content(run(*swaks(space, port, sender, to, *more, *login, "--data", f"@{file}")))
        arrival(space, space.b, to, sent.message_id)


# ---------------------------------------------------------------- openssl


def s_client(space: RunningSpace, port: int, typed: str, *more: str) -> str:
    done = run(
        "openssl", "s_client", "-connect", f"localhost:{port}", "-CAfile", space.ca_file,
        "-verify_return_error", "-verify_hostname", "localhost", "-quiet", "-crlf", *more,
        typed=typed,
    )  # fmt: skip
    content(done)
    assert "verify return:0" not in done.stderr
    return done.stdout


def test_openssl_reads_a_mailbox_on_993_and_143(space: RunningSpace) -> None:
    account = space.b.doctor(0)
    typed = f"a LOGIN {account.address} {account.password}\nb SELECT INBOX\nc LOGOUT\n"
    for port, more in ((space.b.imaps, ()), (space.b.imap, ("-starttls", "imap"))):
        said = s_client(space, port, typed, *more)
        assert re.search(r"^\* \d+ EXISTS$", said, re.MULTILINE)
        assert said.splitlines()[-1].startswith("c OK ")


def test_openssl_speaks_to_the_operator_door_with_a_certificate(space: RunningSpace) -> None:
    certificate, key = space.guest
    to = space.b.doctor(0).address
    typed = f"EHLO mx.guest.test\nMAIL FROM:<labo@guest.test>\nrcpt TO:<{to}>\nquit\n"
    more = ("-cert", certificate, "-cert_chain", certificate, "-key", key)
    said = s_client(space, space.b.smtp, typed, "-starttls", "smtp", *more)
    assert "\n250 2.1.5 Destinataire accepte\n" in said


# ---------------------------------------------------------------- mbsync


class Mbsync:
    """A channel between all mailboxes of an account and a maildir, in both directions."""

    def __init__(self, space: RunningSpace, account: Account, directory: Path, tls: str) -> None:
        self.boxes = directory / "boxes"
        self.boxes.mkdir(parents=True)
        port = space.b.imaps if tls == "IMAPS" else space.b.imap
        self._file = directory / "mbsyncrc"
        self._file.write_text(
            f"IMAPAccount b\nHost localhost\nPort {port}\nUser {account}\n"
            f"Pass {account.password}\nSSLType {tls}\nCertificateFile {space.ca_file}\n\n"
            "IMAPStore far\nAccount b\n\n"
            f"MaildirStore near\nPath {self.boxes}/\nInbox {self.boxes}/INBOX\n"
            "SubFolders Verbatim\n\n"
            "Channel all\nFar :far:\nNear :near:\nPatterns *\n"
            "Create Both\nExpunge Both\nSync All\nSyncState *\n"
        )

    def sync(self) -> None:
        content(run("mbsync", "-c", str(self._file), "-a"))

    def find(self, identifier: str, mailbox: str = "INBOX") -> Path:
        """The maildir file of the message with that Message-ID."""
        wanted = f"Message-ID: {identifier}".encode()
        files = [f for f in (self.boxes / mailbox).glob("*/*") if wanted in f.read_bytes()]
        assert len(files) == 1, f"{len(files)} files of {identifier}"
        return files[0]

    @staticmethod
    def flag(file: Path, flags: str) -> None:
        """Set its flags as a maildir client does."""
        name = file.name.partition(":2,")[0]
        file.rename(file.parent.parent / "cur" / f"{name}:2,{flags}")

    def add(self, octets: bytes, mailbox: str) -> None:
        """Put a new message into `mailbox`."""
        (self.boxes / mailbox / "new" / f"1.{os.urandom(6).hex()}.essai").write_bytes(octets)


def without_mark(octets: bytes) -> bytes:
    """mbsync marks each copy it makes, to find it again."""
    return re.sub(rb"^X-TUID: \S+\r\n", b"", octets, flags=re.MULTILINE)


@pytest.mark.parametrize("tls", ["IMAPS", "STARTTLS"])
def test_mbsync_propagates_both_ways(space: RunningSpace, tmp_path: Path, tls: str) -> None:
    account = space.b.doctor(4)
    kept, flagged, gone = delivered(space, account, 3)
    channel = Mbsync(space, account, tmp_path, tls)
    channel.sync()
    names = {path.name for path in channel.boxes.iterdir()}
    assert {"INBOX", "Sent", "Drafts", "Trash", "Junk", "Archive"} <= names
    as_received = arrival(space, space.b, account, kept).octets
    assert without_mark(channel.find(kept).read_bytes().replace(b"\n", b"\r\n")) == as_received

    pushed = letter(account, ["x@guest.test"])
    channel.flag(channel.find(flagged), "FS")
    channel.flag(channel.find(gone), "T")
    channel.add(pushed.octets.replace(b"\r\n", b"\n"), "Sent")
    channel.sync()
    with mailbox(space, space.b, account) as client:
        found = {i: client.search(["HEADER", "Message-ID", i]) for i in (kept, flagged, gone)}
        assert (len(found[kept]), len(found[flagged]), len(found[gone])) == (1, 1, 0)
        flags = client.get_flags(found[flagged])[found[flagged][0]]
        assert {b"\\Seen", b"\\Flagged"} <= set(flags)
        client.add_flags(found[kept], [b"\\Answered"])
        client.delete_messages(found[flagged])
        client.expunge()
    there = arrival_in(space, space.b, account, pushed.message_id, "Sent")
    assert without_mark(there) == pushed.octets

    channel.sync()
    assert ":2," in channel.find(kept).name
    assert "R" in channel.find(kept).name.partition(":2,")[2]
    with pytest.raises(AssertionError, match="0 files"):
        channel.find(flagged)


def arrival_in(
    space: RunningSpace, operator: Operator, account: Account, identifier: str, name: str
) -> bytes:
    """The message of that Message-ID in another mailbox."""
    with mailbox(space, operator, account, name) as client:
        (uid,) = client.search(["HEADER", "Message-ID", identifier])
        octets: bytes = client.fetch([uid], ["BODY.PEEK[]"])[uid][b"BODY[]"]
        return octets


# ---------------------------------------------------------------- offlineimap


@pytest.mark.parametrize("tls", ["ssl = yes", "ssl = no\nstarttls = yes"])
def test_offlineimap_copies_everything_and_pushes_back(
    space: RunningSpace, tmp_path: Path, tls: str
) -> None:
    account = space.b.doctor(3)
    (identifier,) = delivered(space, account, 1)
    port = space.b.imaps if tls == "ssl = yes" else space.b.imap
    # imaplib2 reads and writes one TLS session from two threads, which OpenSSL forbids: a session
    # ticket (TLS 1.3) that arrives while it writes makes it lose our reply and wait for ever, with
    # any server, some 1 time in 20. TLS 1.2 sends nothing after the handshake: 250 runs of 250.
    openssl = tmp_path / "openssl.cnf"
    openssl.write_text(TLS_1_2)
    file = tmp_path / "offlineimaprc"
    file.write_text(
        f"[general]\naccounts = b\nmetadata = {tmp_path}/meta\nui = basic\n\n"
        "[Account b]\nlocalrepository = near\nremoterepository = far\n\n"
        f"[Repository near]\ntype = Maildir\nlocalfolders = {tmp_path}/boxes\n\n"
        f"[Repository far]\ntype = IMAP\nremotehost = localhost\nremoteport = {port}\n"
        f"remoteuser = {account}\nremotepass = {account.password}\n{tls}\n"
        f"sslcacertfile = {space.ca_file}\n"
    )
    command = ("offlineimap", "-o", "-c", str(file))
    content(run(*command, home=tmp_path, openssl=openssl))
    copies = [p for p in (tmp_path / "boxes/INBOX").glob("*/*") if os.fsencode(identifier) in
              p.read_bytes()]  # fmt: skip
    assert len(copies) == 1

    Mbsync.flag(copies[0], "FS")
    pushed = letter(account, ["x@guest.test"])
    new = tmp_path / "boxes/Drafts/new" / f"1.{os.urandom(6).hex()}.essai"
    new.write_bytes(pushed.octets.replace(b"\r\n", b"\n"))
    content(run(*command, home=tmp_path, openssl=openssl))
    there = arrival_in(space, space.b, account, pushed.message_id, "Drafts")
    assert there.endswith(pushed.octets.partition(b"\r\n\r\n")[2])
    with mailbox(space, space.b, account) as client:
        (uid,) = client.search(["HEADER", "Message-ID", identifier])
        assert {b"\\Seen", b"\\Flagged"} <= set(client.get_flags([uid])[uid])


# ---------------------------------------------------------------- mutt


def mutt(space: RunningSpace, account: Account, home: Path, tls: str, keys: str) -> str:
    """Run mutt on the account's INBOX in a terminal of its own; what it showed."""
    port = space.b.imaps if tls == "imaps" else space.b.imap
    file = home / "muttrc"
    file.write_text(
        f'set imap_user="{account}"\nset imap_pass="{account.password}"\n'
        f'set folder="{tls}://localhost:{port}/"\nset spoolfile="+INBOX"\n'
        f'set certificate_file="{space.ca_file}"\nset ssl_ca_certificates_file="{space.ca_file}"\n'
        "set ssl_starttls=yes\nset ssl_force_tls=yes\nset imap_condstore=yes\n"
        "set mbox_type=mbox\nset confirmappend=no\nset confirmcreate=no\nset wait_key=no\n"
        f"set move=no\nset quit=yes\nset delete=yes\nset tmpdir={home}\n"
        f'push "{keys}<quit>"\n'
    )
    shell = f"{program('mutt')} -n -F {file}"
    return content(run("script", "-qec", shell, "/dev/null", home=home))


@pytest.mark.parametrize("tls", ["imaps", "imap"])
def test_mutt_opens_flags_saves_and_deletes(space: RunningSpace, tmp_path: Path, tls: str) -> None:
    account = space.b.doctor(2)
    with mailbox(space, space.b, account) as client:
        client.delete_messages(client.search())
        client.expunge()
    identifiers = delivered(space, account, 3)
    saved = tmp_path / "saved"
    keys = (
        f"<tag-pattern>~A<enter><tag-prefix><copy-message>{saved}<enter>"
        "<first-entry><flag-message><last-entry><delete-message><sync-mailbox>"
    )
    shown = mutt(space, account, tmp_path, tls, keys)
    assert "Msgs:2 New:2 Flag:1" in shown, shown[-600:]
    assert saved.read_bytes().count(b"Message-ID: <") == 3
    with IMAPClient(
        "localhost", space.b.imaps, ssl=True, ssl_context=space.user_context()
    ) as client:
        client.login(account.address, account.password)
        client.select_folder("INBOX")
        (first, second) = client.search()
        flags = client.get_flags([first, second])
    assert b"\\Flagged" in flags[first]
    assert b"\\Flagged" not in flags[second]
    assert len(identifiers) == 3


def test_a_session_of_tls_is_taken_up_by_whichever_worker(space: RunningSpace) -> None:
    """As mail programs come back all day: the kernel chooses the worker they meet."""
    context, session = space.user_context(), None
    found = []
    for _ in range(12):
        with (
            socket.create_connection(("127.0.0.1", space.b.imaps), 20) as raw,
            context.wrap_socket(raw, server_hostname="localhost", session=session) as client,
        ):
            assert client.recv(4_096).startswith(b"* OK")
            found.append(client.session_reused)
            session = client.session
            client.sendall(b"a LOGOUT\r\n")
            while client.recv(4_096):
                continue
    assert found == [False] + [True] * 11
