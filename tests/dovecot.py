"""Debian's Dovecot, private: a peer to compare with and copy from. Needs root (it changes users).

Plain IMAP on a loopback port; everything lies in one directory and ends with `stop`.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.free_ports import free_ports
from tests.space import program

PASSWORD = "sesame"
_WITHIN_S = 20.0
_CONFIGURATION = """
base_dir = {place}/run
state_dir = {place}/run
log_path = {place}/log
protocols = imap
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain login
mail_location = mdbox:{place}/mail/%u
mail_uid = mail
mail_gid = mail
mail_fsync = never
first_valid_uid = 1
mail_max_userip_connections = 0
mailbox_list_index = yes
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid=mail gid=mail home={place}/mail/home/%u
}}
namespace inbox {{
  inbox = yes
  separator = /
  mailbox Drafts {{
    special_use = \\Drafts
  }}
  mailbox Sent {{
    special_use = \\Sent
  }}
  mailbox Trash {{
    special_use = \\Trash
  }}
  mailbox Junk {{
    special_use = \\Junk
  }}
  mailbox Archive {{
    special_use = \\Archive
  }}
}}
service imap-login {{
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
  service_count = 0
}}
service stats {{
  unix_listener stats-writer {{
    mode = 0666
  }}
}}
protocol imap {{
  imap_idle_notify_interval = 2 mins
}}
"""


@dataclass(frozen=True, slots=True)
class Dovecot:
    """A running one: every login exists, with PASSWORD, and an empty box of its own."""

    place: Path
    port: int

    @property
    def log(self) -> str:
        """What it complained of."""
        return (self.place / "log").read_text("utf-8", "replace")

    def complains_of(self, words: str) -> bool:
        """Whether they come into its log: another of its processes writes that."""
        deadline = time.monotonic() + _WITHIN_S
        while words not in self.log:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True


@contextmanager
def dovecot() -> Iterator[Dovecot]:
    """Start it, and end it. The test is skipped by name without it, never in CI."""
    master, admin = program("dovecot"), program("doveadm")
    if os.geteuid():
        pytest.skip("Dovecot changes users: it is started as root only")
    # Not below the directory of the tests: its own user could not enter.
    place = Path(tempfile.mkdtemp(prefix="mssmtp-dovecot-", dir="/var/tmp"))  # noqa: S108
    place.chmod(0o755)
    (place / "run").mkdir()
    (place / "mail").mkdir()
    shutil.chown(place / "mail", "mail", "mail")
    [port] = free_ports(1)
    file = place / "dovecot.conf"
    file.write_text(_CONFIGURATION.format(place=place, port=port, password=PASSWORD), "ascii")
    try:
        with (place / "said").open("wb") as said:  # not a pipe: a daemon keeps its end of it
            subprocess.run([master, "-c", str(file)], check=True, stdout=said, stderr=said)
        _wait_for(port)
        yield Dovecot(place, port)
    finally:
        subprocess.run([admin, "-c", str(file), "stop"], check=False, capture_output=True)
        shutil.rmtree(place, ignore_errors=True)


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + _WITHIN_S
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), 1.0) as connection:
                connection.settimeout(_WITHIN_S)
                assert connection.recv(4_096).startswith(b"* OK")
                return
        except ConnectionRefusedError:
            assert time.monotonic() < deadline, "Dovecot does not answer"
            time.sleep(0.02)
