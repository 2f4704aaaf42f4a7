"""Private Postfix and Dovecot to measure beside us: SMTP with client certificate -> LMTP -> mdbox.

Postfix takes mail on a loopback port, asks for a certificate as our operator door does, and hands
it to Dovecot by LMTP, which keeps it encrypted (mail_crypt); Dovecot serves IMAPS. Everything lies
in one directory and ends with `stop`; nothing of the machine's own mail set-up is touched. It needs
root, because both programs change users.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NEEDED = {
    "/usr/sbin/postfix": "postfix",
    "/usr/sbin/dovecot": "dovecot-core",
    "/usr/lib/dovecot/imap": "dovecot-imapd",
    "/usr/lib/dovecot/lmtp": "dovecot-lmtpd",
}
DOMAIN = "perf.test"
USERS = 10
_WITHIN_S = 30.0

_DOVECOT = """
base_dir = {place}/dovecot/run
state_dir = {place}/dovecot/run
log_path = {place}/dovecot/log
protocols = imap lmtp
listen = 127.0.0.1
ssl = required
ssl_cert = <{certificate}
ssl_key = <{key}
auth_mechanisms = plain login
auth_cache_size = 10M
mail_location = mdbox:{place}/mail/%u
mail_uid = mail
mail_gid = mail
first_valid_uid = 1
mail_max_userip_connections = 0
default_vsz_limit = 2G
default_client_limit = 4000
{crypt}
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {place}/dovecot/users
}}
userdb {{
  driver = static
  args = uid=mail gid=mail home={place}/mail/home/%u
}}
namespace inbox {{
  inbox = yes
}}
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {lmtp}
  }}
  process_min_avail = 2
}}
service imap-login {{
  inet_listener imap {{
    port = 0
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
  service_count = 0
  process_min_avail = 2
}}
service imap {{
  process_min_avail = 4
  service_count = 200
}}
service stats {{
  unix_listener stats-writer {{
    mode = 0666
  }}
}}
"""
_CRYPT = """mail_plugins = mail_crypt
plugin {{
  mail_crypt_global_private_key = <{place}/dovecot/crypt.key
  mail_crypt_global_public_key = <{place}/dovecot/crypt.pub
  mail_crypt_save_version = 2
}}"""
_POSTFIX = """
compatibility_level = 3.6
queue_directory = {place}/postfix/queue
data_directory = {place}/postfix/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = {place}/postfix/log
maillog_file_prefixes = {place}
myhostname = mx.{domain}
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
alias_maps =
alias_database =
local_recipient_maps =
virtual_mailbox_domains = {domain}
virtual_transport = lmtp:inet:127.0.0.1:{lmtp}
lmtp_destination_concurrency_limit = 20
smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination
message_size_limit = 60000000
mailbox_size_limit = 0
virtual_mailbox_limit = 0
in_flow_delay = 0
smtpd_tls_security_level = encrypt
smtpd_tls_ask_ccert = yes
smtpd_tls_req_ccert = yes
smtpd_tls_CAfile = {ca}
smtpd_tls_chain_files = {key} {certificate}
"""


def missing() -> list[str]:
    """Debian packages that are not here."""
    return [package for path, package in NEEDED.items() if not Path(path).exists()]


class Peers:
    """One pair of servers."""

    def __init__(self, place: Path, base_port: int) -> None:
        self.place = place
        self.smtp_port, self.lmtp_port, self.imaps_port = (base_port + n for n in (25, 24, 93))
        self._dovecot_conf = place / "dovecot" / "dovecot.conf"
        self._postfix_conf = place / "postfix" / "conf"

    def prepare(self, certificate: str, key: str, ca: str, *, encrypted: bool) -> None:
        """Directories, keys and configuration files."""
        for name in ("dovecot/run", "mail", "postfix/conf", "postfix/queue", "postfix/data"):
            (self.place / name).mkdir(parents=True)
        shutil.chown(self.place / "mail", "mail", "mail")
        shutil.chown(self.place / "postfix" / "data", "postfix")
        names = {
            "place": self.place,
            "certificate": certificate,
            "key": key,
            "ca": ca,
            "domain": DOMAIN,
            "lmtp": self.lmtp_port,
            "imaps": self.imaps_port,
        }
        self._make_crypt_key()
        crypt = _CRYPT.format(**names) if encrypted else ""
        self._dovecot_conf.write_text(_DOVECOT.format(**names, crypt=crypt), "ascii")
        users = "".join(f"u{n}@{DOMAIN}:{{PLAIN}}pw{n}\n" for n in range(USERS))
        (self.place / "dovecot" / "users").write_text(users, "ascii")
        (self._postfix_conf / "main.cf").write_text(_POSTFIX.format(**names), "ascii")
        (self._postfix_conf / "master.cf").write_text(postfix_services(self.smtp_port), "ascii")

    def _make_crypt_key(self) -> None:
        folder = self.place / "dovecot"
        private: list[str | Path] = [
            "openssl",
            "genpkey",
            "-algorithm",
            "EC",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
        ]
        subprocess.run([*private, "-out", folder / "crypt.key"], check=True, capture_output=True)
        public: list[str | Path] = ["openssl", "pkey", "-in", folder / "crypt.key", "-pubout"]
        subprocess.run([*public, "-out", folder / "crypt.pub"], check=True, capture_output=True)

    def start(self) -> None:
        """Both, and one letter for every user: concurrent first deliveries lock each other out."""
        self._run("dovecot", "-c", str(self._dovecot_conf))
        self._run("postfix", "-c", str(self._postfix_conf), "start")

    def stop(self) -> None:
        """End both."""
        for command in (
            ("postfix", "-c", str(self._postfix_conf), "stop"),
            ("doveadm", "-c", str(self._dovecot_conf), "stop"),
        ):
            subprocess.run(command, check=False, capture_output=True)

    def _run(self, *command: str) -> None:
        said = self.place / "said"
        with said.open("wb") as file:  # not a pipe: a daemon keeps its end of it
            done = subprocess.run(command, check=False, stdout=file, stderr=file)
        if done.returncode:
            raise SystemExit(f"{command[0]} did not start:\n{said.read_text()}")

    @property
    def roots(self) -> list[int]:
        """The two processes that all others descend from."""
        files = (
            self.place / "postfix" / "queue" / "pid" / "master.pid",
            self.place / "dovecot" / "run" / "master.pid",
        )
        return [int(file.read_text("ascii")) for file in files]

    def queued(self) -> int:
        """Letters that Postfix has accepted and Dovecot does not have yet."""
        queue = self.place / "postfix" / "queue"
        return sum(
            len(files)
            for name in ("incoming", "active", "deferred", "maildrop")
            for _, _, files in os.walk(queue / name)
        )

    def drain(self) -> None:
        """Wait until everything is delivered."""
        deadline = time.monotonic() + 4 * _WITHIN_S
        while self.queued():
            if time.monotonic() > deadline:
                raise SystemExit(f"Postfix does not deliver; see {self.place}/postfix/log")
            time.sleep(0.01)


@contextmanager
def peers(
    base_port: int, certificate: str, key: str, ca: str, *, encrypted: bool = True
) -> Iterator[Peers]:
    """A running pair."""
    place = Path(tempfile.mkdtemp(prefix="mssmtp-peers-", dir="/var/tmp"))  # noqa: S108
    place.chmod(0o755)
    pair = Peers(place, base_port)
    try:
        pair.prepare(certificate, key, ca, encrypted=encrypted)
        pair.start()
        yield pair
    finally:
        pair.stop()
        shutil.rmtree(place, ignore_errors=True)


def postfix_services(port: int, *more: str) -> str:
    """Debian's master.cf, without chroot, with smtpd on `port` of loopback, and `more` lines."""
    lines = []
    for line in Path("/usr/share/postfix/master.cf.dist").read_text("ascii").splitlines():
        words = line.split()
        if line[:1].isalpha() and len(words) >= 8:
            if words[0] == "smtp" and words[1] == "inet":
                words[0] = f"127.0.0.1:{port}"
            words[4] = "n"
            line = " ".join(words)
        lines.append(line)
    return "\n".join([*lines, *more]) + "\n"
