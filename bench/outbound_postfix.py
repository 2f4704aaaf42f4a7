"""A private Postfix with a full queue, for `bench.outbound`: nothing of the machine's is touched.

Letters wait in its hold queue; `release` makes them due, and it delivers them over TLS with a
client certificate to 127.0.0.n, one nexthop for each domain.
"""

from __future__ import annotations

import os
import shutil
import smtplib
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from bench.letters import letter
from bench.peers import postfix_services

_TLS_PROXY = "tlsproxy unix - - n - 0 tlsproxy"
"""Commented out in the file as delivered."""
_MAIN = """
compatibility_level = 3.6
queue_directory = {place}/queue
data_directory = {place}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = {place}/log
maillog_file_prefixes = {place}
myhostname = mx.hopital-a.test
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
alias_maps =
alias_database =
local_recipient_maps =
in_flow_delay = 0
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_recipient_restrictions = check_client_access static:HOLD, permit_mynetworks, reject
transport_maps = hash:{place}/transport
smtp_tls_security_level = encrypt
smtp_tls_chain_files = {ours}/ours.key {ours}/ours.pem
smtp_tls_CAfile = {ours}/anchors.pem
smtp_tls_connection_reuse = {reuse}
smtp_connection_cache_on_demand = yes
smtp_destination_concurrency_limit = 20
smtp_host_lookup = native
disable_dns_lookups = yes
"""


class Postfix:
    """One instance, from `with` to its end."""

    def __init__(
        self, ours: Path, port: int, sink: int, domains: int, *, reuses: bool = True
    ) -> None:
        """`reuses`: with the cache of TLS connections, which is off as delivered."""
        self._reuse = "yes" if reuses else "no"
        self._ours, self._port, self._sink, self._domains = ours, port, sink, domains
        self._place = ours / "postfix"
        self._conf = self._place / "conf"

    def __enter__(self) -> Postfix:
        shutil.rmtree(self._place, ignore_errors=True)
        for name in ("conf", "queue", "data"):
            (self._place / name).mkdir(parents=True)
        shutil.chown(self._place / "data", "postfix")
        (self._conf / "main.cf").write_text(
            _MAIN.format(place=self._place, ours=self._ours, reuse=self._reuse), "ascii"
        )
        (self._conf / "master.cf").write_text(postfix_services(self._port, _TLS_PROXY), "ascii")
        routes = (
            f"d{n}.test smtp:[127.0.0.{n}]:{self._sink}\n" for n in range(1, self._domains + 1)
        )
        transport = self._place / "transport"
        transport.write_text("".join(routes), "ascii")
        self._run("postmap", "-c", str(self._conf), f"hash:{transport}")
        self._run("postfix", "-c", str(self._conf), "start")
        return self

    def __exit__(self, *_: object) -> None:
        stop = ["postfix", "-c", str(self._conf), "stop"]
        subprocess.run(stop, check=False, capture_output=True)
        shutil.rmtree(self._place, ignore_errors=True)

    def _run(self, *command: str) -> None:
        said = self._place / "said"
        with said.open("wb") as file:  # not a pipe: a daemon keeps its end of it
            done = subprocess.run(command, check=False, stdout=file, stderr=file)
        if done.returncode:
            raise SystemExit(f"{command[0]} failed:\n{said.read_text()}")

    def fill(self, messages: int, octets: int) -> None:
        """So many letters into the hold queue."""
        sender, letter_ = "zoe.tartempion@hopital-a.test", letter(1, octets)
        with smtplib.SMTP("127.0.0.1", self._port) as client:
            for number in range(messages):
                client.sendmail(sender, f"luc@d{number % self._domains + 1}.test", letter_)
        deadline = time.monotonic() + 60
        while self._held() < messages:
            if time.monotonic() > deadline:
                raise SystemExit(f"Postfix holds {self._held()} of {messages}")
            time.sleep(0.1)

    def _held(self) -> int:
        return sum(len(files) for _, _, files in os.walk(self._place / "queue" / "hold"))

    def make_ready(self) -> None:
        """From the hold queue to the deferred one, where they wait for `release`."""
        self._run("postsuper", "-c", str(self._conf), "-H", "ALL")

    def release(self) -> None:
        """Everything goes now."""
        self._run("postqueue", "-c", str(self._conf), "-f")

    def cpu_s(self) -> float:
        """Processor time of master and all below it, ended ones included."""
        pid = int((self._place / "queue" / "pid" / "master.pid").read_text("ascii"))
        ticks, waiting = 0, [pid]
        while waiting:
            each = waiting.pop()
            with suppress(OSError):
                stat = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
                ticks += sum(map(int, stat[11:15]))
                for task in Path(f"/proc/{each}/task").iterdir():
                    waiting += map(int, (task / "children").read_text().split())
        return ticks / os.sysconf("SC_CLK_TCK")
