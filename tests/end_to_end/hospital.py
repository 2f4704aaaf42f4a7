"""A hospital's own mail server, Debian's Postfix or Exim: users inside, our gateway door outside.

It keeps chu-g.example, its usual domain, in one maildir, and relays everything else to us with its
certificate. It takes from us what is for its users, over TLS.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from tests.end_to_end import private_postfix
from tests.space import RunningSpace, program

T = TypeVar("T")
WITHIN_S = 30.0
USUAL = "chu-g.example"


@dataclass(frozen=True)
class Ports:
    """Where its server listens for us and for its users, and where our gateway door is."""

    mx: int
    inside: int
    door: int


class Hospital(Protocol):
    """Either of them."""

    home: Path
    ports: Ports

    @property
    def log(self) -> str: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...


def awaited(look: Callable[[], T | None], said: Callable[[], str]) -> T:
    """What `look` finds, waited for; `said` explains a failure."""
    deadline = time.monotonic() + WITHIN_S
    while (found := look()) is None:
        assert time.monotonic() < deadline, said()
        time.sleep(0.02)
    return found


def message(hospital: Hospital, text: str) -> bytes:
    """The message in the hospital's maildir that holds `text`; lines end in LF."""
    folder = hospital.home / "mail"

    def look() -> bytes | None:
        files = [file for file in folder.rglob("new/*") if file.is_file()]
        return next((o for file in files if text.encode() in (o := file.read_bytes())), None)

    return awaited(look, lambda: hospital.log[-4000:])


def lay_files(space: RunningSpace, home: Path) -> None:
    """Certificate, key and authorities of the hospital's server."""
    certificate, key = space.hospital
    shutil.copy(certificate, home / "relay.pem")
    shutil.copy(key, home / "relay.key")
    shutil.copy(space.ca_file, home / "ca.pem")


# ---------------------------------------------------------------- Postfix

MAIN_CF = """\
myhostname = relais.chu-g.test
virtual_mailbox_domains = chu-g.example
virtual_mailbox_maps = inline:{{
    {{ cardio@chu-g.example = all/ }}, {{ pediatrie@chu-g.example = all/ }} }}
relayhost = [127.0.0.1]:{door}
smtpd_relay_restrictions = reject_unauth_destination
smtpd_tls_security_level = encrypt
smtpd_tls_mandatory_protocols = >=TLSv1.2
smtpd_tls_chain_files = {home}/relay.key, {home}/relay.pem
smtpd_tls_CAfile = {home}/ca.pem
smtpd_tls_ask_ccert = yes
smtpd_tls_received_header = yes
smtpd_tls_loglevel = 1
smtp_send_xforward_command = yes
smtp_tls_security_level = encrypt
smtp_tls_policy_maps = inline:{{ {{ [127.0.0.1]:{door} = verify match=mx.hopital-a.test }} }}
smtp_tls_chain_files = {home}/relay.key, {home}/relay.pem
smtp_tls_CAfile = {home}/ca.pem
smtp_tls_loglevel = 1
"""
"""As docs/gateway.md tells a hospital's engineer, on loopback."""


@dataclass(frozen=True)
class Postfix:
    """Started as root: Postfix changes users."""

    home: Path
    ports: Ports

    @classmethod
    def lay(cls, space: RunningSpace, home: Path, ports: Ports) -> Postfix:
        program("postfix")
        lay_files(space, home)
        main_cf = MAIN_CF.format(home=home, door=ports.door)
        private_postfix.lay(home, main_cf, ports.mx, ports.inside)
        return cls(home, ports)

    @property
    def log(self) -> str:
        return (self.home / "maillog").read_text()

    def start(self) -> None:
        private_postfix.command(self.home, "start")

    def stop(self) -> None:
        private_postfix.command(self.home, "stop")


# ---------------------------------------------------------------- Exim

EXIM_CONF = """\
primary_hostname = relais.chu-g.test
exim_path = {path}
deliver_drop_privilege = true
spool_directory = {home}/spool
log_file_path = {home}/log/%slog
pid_file_path = {home}/exim.pid
exim_user = {user}
exim_group = {group}
never_users =
local_interfaces = <; [127.0.0.1]:{mx} ; [127.0.0.1]:{inside}
domainlist local_domains = chu-g.example
tls_advertise_hosts = ${{if eq{{$received_port}}{{{mx}}}{{*}}{{}}}}
tls_certificate = {home}/relay.pem
tls_privatekey = {home}/relay.key
tls_try_verify_hosts = *
tls_verify_certificates = {home}/ca.pem
acl_smtp_rcpt = rcpt
acl_smtp_data = accept
acl_smtp_mail = accept
message_size_limit = 80M
qualify_domain = chu-g.example
keep_environment =
queue_run_in_order
smtp_enforce_sync = true

begin acl
rcpt:
  accept condition = ${{if eq{{$received_port}}{{{inside}}}}}
  accept condition = ${{if def:tls_in_cipher}}
         domains = +local_domains
         local_parts = cardio : pediatrie
  deny message = unknown here

begin routers
inside:
  driver = accept
  domains = +local_domains
  transport = maildir
outside:
  driver = manualroute
  domains = ! +local_domains
  route_list = * 127.0.0.1::{door} byname
  host_find_failed = defer
  self = send
  transport = gateway

begin transports
maildir:
  driver = appendfile
  directory = {home}/mail/all
  maildir_format
  user = {user}
  group = {group}
gateway:
  driver = smtp
  allow_localhost
  hosts_require_tls = *
  tls_certificate = {home}/relay.pem
  tls_privatekey = {home}/relay.key
  tls_verify_certificates = {home}/ca.pem
  tls_verify_hosts = *
  tls_verify_cert_hostnames =
  hosts_try_dane =

begin retry
* * F,2h,15m
"""


@dataclass
class Exim:
    """Debian's exim4 with a configuration of its own, in the foreground."""

    home: Path
    ports: Ports
    process: subprocess.Popen[bytes] | None = None

    @classmethod
    def lay(cls, space: RunningSpace, home: Path, ports: Ports) -> Exim:
        program("exim4")
        user = pwd.getpwnam("Debian-exim")
        for name in ("spool", "log", "mail"):
            (home / name).mkdir(mode=0o750)
            os.chown(home / name, user.pw_uid, user.pw_gid)
        lay_files(space, home)
        for name in ("relay.key", "relay.pem", "ca.pem"):
            os.chown(home / name, user.pw_uid, user.pw_gid)
        values = {
            "home": home,
            "path": program("exim4"),
            "user": "Debian-exim",
            "group": "Debian-exim",
            "mx": ports.mx,
            "inside": ports.inside,
            "door": ports.door,
        }
        (home / "exim.conf").write_text(EXIM_CONF.format(**values))
        return cls(home, ports)

    @property
    def log(self) -> str:
        return "".join(
            file.read_text(errors="replace") for file in sorted((self.home / "log").glob("*"))
        )

    def start(self) -> None:
        self.process = subprocess.Popen(
            [program("exim4"), "-C", str(self.home / "exim.conf"), "-bdf", "-q10m"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def stop(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGTERM)
            self.process.wait(30)
