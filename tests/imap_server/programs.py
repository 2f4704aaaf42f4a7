"""Mail programs of others, each with a home of its own, against a door of the rig."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
from pathlib import Path

from tests.imap_server.rig import PASSWORD, ZOE
from tests.space import program

COMPLAINT = re.compile(r"error|warning|fail|fatal|traceback|exception|refus", re.IGNORECASE)
HARMLESS = re.compile(r"as root is discouraged|OpenSSL exception")  # who runs it; a licence


async def run(home: Path, *command: str) -> str:
    """Run a program to its end; what it said. It must end well and without one complaint."""
    environment = {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "TERM": "xterm",
        "HOME": str(home),
    }
    done = await asyncio.to_thread(
        subprocess.run,
        [program(command[0]), *command[1:]],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=45,
        env=environment,
        cwd=home,
    )
    said = done.stdout + done.stderr
    complaints = [line for line in said.splitlines() if COMPLAINT.search(line)]
    complaints = [line for line in complaints if not HARMLESS.search(line)]
    assert (done.returncode, complaints) in ((0, []), (1, [])), said[-3000:]
    assert done.returncode == 0 or command[0] == "fetchmail", said[-3000:]  # 1: no mail
    return said


def letters(place: Path) -> list[bytes]:
    """The files in `place`, each a message, without getmail's own fields."""
    files = [file.read_bytes().replace(b"\n", b"\r\n") for file in place.iterdir()]
    return sorted(re.sub(rb"(?m)^(Return-Path|X-getmail-\S+): .*\r\n", b"", f) for f in files)


async def fetchmail(home: Path, port: int, *more: str) -> str:
    """Fetch INBOX into the file `fetched`, each message behind a line of its own."""
    file = home / "fetchmailrc"
    file.write_text(
        f'poll 127.0.0.1 protocol IMAP port {port}\n  user "{ZOE}" password "{PASSWORD}"\n'
        f"  ssl sslcertck sslcertfile {home.parent}/anchors.pem\n"
        "  sslcommonname mx.hopital-a.test"
        f" mda \"sh -c 'cat; echo ------' >>{home}/fetched\" {' '.join(more)}\n"
    )
    file.chmod(0o600)
    return await run(home, "fetchmail", "-f", str(file), "--nosyslog", "--pidfile", f"{home}/pid")


async def getmail(home: Path, port: int, *, delete: bool, mailboxes: str = '"INBOX",') -> str:
    """Fetch into `boxes`, a file for each message. (getmail delivers to no maildir as root.)"""
    (home / "boxes").mkdir(exist_ok=True)
    (home / "getmailrc").write_text(
        f"[retriever]\ntype = SimpleIMAPSSLRetriever\nserver = 127.0.0.1\nport = {port}\n"
        f"username = {ZOE}\npassword = {PASSWORD}\nmailboxes = ({mailboxes})\n"
        "[destination]\ntype = MDA_external\npath = /bin/sh\nallow_root_commands = true\n"
        f'arguments = ("-c", "cat >{home}/boxes/$$")\n'
        f"[options]\ndelete = {str(delete).lower()}\nread_all = false\n"
        "delivered_to = false\nreceived = false\n"
    )
    return await run(
        home, "getmail", "--getmaildir", str(home), "--rcfile", str(home / "getmailrc")
    )


async def mutt(home: Path, port: int, keys: str, *settings: str) -> str:
    """Type `keys` in mutt with INBOX open; what the terminal showed."""
    chosen = "".join(f"set {setting}\n" for setting in settings)
    (home / "cache").mkdir(exist_ok=True)
    (home / "muttrc").write_text(
        f'set imap_user="{ZOE}"\nset imap_pass="{PASSWORD}"\n'
        f'set folder="imaps://127.0.0.1:{port}/"\nset spoolfile="+INBOX"\n'
        f"set ssl_verify_host=no\nset ssl_verify_dates=no\n"
        f"set certificate_file={home.parent}/anchors.pem\n"
        f"set ssl_ca_certificates_file={home.parent}/anchors.pem\n"
        f"set header_cache={home}/cache\nset mbox_type=mbox\nset confirmappend=no\n"
        "set sleep_time=0\nset confirmcreate=no\nset wait_key=no\n"
        "set move=no\nset quit=yes\nset delete=yes\n"
        f'set tmpdir={home}\n{chosen}push "{keys}<quit>"\n'
    )
    shell = f"{program('mutt')} -n -F {home}/muttrc"
    return await run(home, "script", "-qec", shell, "/dev/null")


async def interimap(home: Path, port: int, theirs: int) -> str:
    """Synchronize our box with one of Dovecot's (`theirs` is its port), both ways, by QRESYNC."""
    (home / "interimaprc").write_text(
        f"database = {home}/interimap.db\n\n"
        f"[local]\ntype = imap\nSTARTTLS = NO\nhost = 127.0.0.1\nport = {theirs}\n"
        "username = zoe\npassword = sesame\n\n"
        f"[remote]\ntype = imaps\nhost = 127.0.0.1\nport = {port}\n"
        f"username = {ZOE}\npassword = {PASSWORD}\nSSL_verify = NO\n"
    )
    return await run(home, "interimap", f"--config={home}/interimaprc", "--quiet")
