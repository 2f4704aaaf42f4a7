"""One operator's server as its own process, and the clients its tests need."""

from __future__ import annotations

import json
import os
import signal
import smtplib
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imapclient import IMAPClient

from mssmtp.config_example import Value, render
from mssmtp.demo.authority import Authority, Identity
from mssmtp.storage import Reading
from tests.free_ports import free_ports
from tests.home import PASSWORD, ZOE, Home, values

ROOT = Path(__file__).resolve().parents[2]
READY_WITHIN_S = 30.0
DOORS = ("operators", "submission", "submissions", "imap", "imaps", "metrics")
B_SENDER = "luc.dupont@cabinet-b.test"


def until(condition: Callable[[], object], what: str, within_s: float = 30.0) -> None:
    """Wait for something another process does."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        time.sleep(0.02)


@dataclass
class Site:
    """A home with its ports. `ca` verifies its doors, `peer` is the other operator."""

    home: Home
    authority: Authority
    peer: Identity
    settings: dict[str, Value] = field(default_factory=dict)
    ports: dict[str, int] = field(
        default_factory=lambda: dict(zip(DOORS, free_ports(len(DOORS)), strict=True))
    )

    def write(self, **more: Value) -> None:
        """Write the settings file anew, with every door on its port."""
        listen = {f"listen__{door}": f"127.0.0.1:{port}" for door, port in self.ports.items()}
        # Nothing answers there: the list and the CRLs on disk are all there is.
        closed: dict[str, Value] = {
            "whitelist__url": "https://127.0.0.1:9/liste.xml",
            "smtp_out__nameservers": "127.0.0.1",
            "smtp_out__nameserver_port": 9,
        }
        written = {**listen, **closed, **self.settings, **more}
        self.home.config_file.write_text(render(values(**written)), "utf-8")

    # ------------------------------------------------------------ clients

    def context(self, identity: Identity | None = None) -> ssl.SSLContext:
        """TLS of a client that trusts the authority, with a certificate or without."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=self.authority.anchors_pem.decode())
        if identity is not None:
            files = identity.write(self.home.directory / "peer", "peer")
            context.load_cert_chain(files.certificate_file, files.key_file)
        return context

    @contextmanager
    def submitting(self, address: str = str(ZOE)) -> Iterator[smtplib.SMTP]:
        """A logged-in session on the submission door."""
        with self._smtp("submission", None) as client:
            client.login(address, PASSWORD)
            yield client

    @contextmanager
    def as_operator(self) -> Iterator[smtplib.SMTP]:
        """The other operator on the operator door."""
        with self._smtp("operators", self.peer) as client:
            yield client

    @contextmanager
    def _smtp(self, door: str, identity: Identity | None) -> Iterator[smtplib.SMTP]:
        client = smtplib.SMTP("localhost", self.ports[door], "poste.test", timeout=20)
        try:
            client.starttls(context=self.context(identity))
            client.ehlo()
            yield client
        finally:
            client.close()

    @contextmanager
    def reading(self, address: str = str(ZOE)) -> Iterator[IMAPClient]:
        """A logged-in IMAP session with INBOX selected."""
        client = IMAPClient(
            "localhost", self.ports["imaps"], ssl=True, ssl_context=self.context(), timeout=20
        )
        try:
            client.login(address, PASSWORD)
            client.select_folder("INBOX")
            yield client
        finally:
            with suppress(OSError):
                client.shutdown()

    def receive(self, octets: bytes) -> str:
        """Hand `octets` in for Zoé as the other operator; the final reply or the first refusal."""
        with self.as_operator() as client:
            return send(client, octets)

    def stored(self) -> list[str]:
        """The subjects in Zoé's INBOX, sorted, from the store itself: no server is needed."""

        def query(reading: Reading) -> list[bytes]:
            bal = reading.bal(ZOE)
            assert bal is not None
            inbox = reading.mailbox(bal.id, "INBOX")
            assert inbox is not None
            rows = reading.messages(inbox.id)
            return [reading.body(inbox.id, row.uid, 0, 2_000) for row in rows]

        with self.home.store() as store:
            heads = store.read(query).result()
            assert store.check(deep=True).problems == ()
        found = [head.partition(b"\r\nSubject: ")[2].partition(b"\r\n")[0] for head in heads]
        return sorted(subject.decode() for subject in found)

    def subjects(self) -> list[str]:
        """Of everything in Zoé's INBOX, in order, as a mail client sees them."""
        with self.reading() as client:
            uids = client.search("ALL")
            found = client.fetch(uids, ["ENVELOPE"]) if uids else {}
        return [found[uid][b"ENVELOPE"].subject.decode() for uid in sorted(found)]


def send(client: smtplib.SMTP, octets: bytes) -> str:
    """One message for Zoé; the final reply, or the first refusal on the way."""
    code, text = client.mail(B_SENDER)
    if code < 400:
        code, text = client.rcpt(str(ZOE))
    if code < 400:
        code, text = client.docmd("DATA")
    if code < 400:
        client.send(octets.replace(b"\r\n.", b"\r\n..") + b".\r\n")
        code, text = client.getreply()
    return f"{code} {text.decode()}"


def letter(subject: str, octets: int = 200) -> bytes:
    """A message of about that size."""
    head = f"From: <{B_SENDER}>\r\nTo: <{ZOE}>\r\nSubject: {subject}\r\n\r\n"
    return head.encode() + b"Une ligne de resultat dans la norme.\r\n" * (octets // 38 + 1)


class Server:
    """`mssmtp serve` on a site, in a session of its own so that nothing can be left behind."""

    def __init__(self, site: Site, workers: int = 2, *, code: str = "") -> None:
        """`code` starts a weakened build in place of the module."""
        self.site = site
        self.log_file = site.home.directory / "server.log"
        self._ready = site.home.directory / "store" / "run" / "ready"
        if self._ready.exists():
            self._ready.unlink()
        start = ["-c", code] if code else ["-m", "mssmtp"]
        command = [sys.executable, "-W", "error", *start, "serve"]
        command += ["--config", str(site.home.config_file), "--workers", str(workers)]
        self.started_s = time.monotonic()
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_ready(self) -> float:
        """Seconds from exec to every door listening."""
        while not self._ready.exists():
            assert self.process.poll() is None, self.log
            assert time.monotonic() - self.started_s < READY_WITHIN_S, self.log
            time.sleep(0.005)
        return time.monotonic() - self.started_s

    @property
    def log(self) -> str:
        """Everything it has said."""
        return self.log_file.read_text("utf-8")

    @property
    def events(self) -> list[dict[str, Any]]:
        """Its log lines."""
        return [json.loads(line) for line in self.log.splitlines() if line.startswith("{")]

    def said(self, event: str) -> int:
        """How many lines of that event there are."""
        return sum(line["event"] == event for line in self.events)

    @property
    def workers(self) -> set[int]:
        """Process ids of its workers."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return {int(child) for child in children}

    @property
    def cpu_s(self) -> float:
        """Processor time of supervisor, workers and what they have waited for."""
        ticks = 0
        for pid in (self.process.pid, *self.workers):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))
        return ticks / os.sysconf("SC_CLK_TCK")

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Stop it; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(40)

    def kill(self) -> None:
        """End every process of it at once."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def living(self) -> set[int]:
        """Processes of its session that still run."""
        found = set()
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                state, _, group = stat.read_text().rpartition(")")[2].split()[:3]
            except OSError:
                continue  # it ended meanwhile
            if int(group) == self.process.pid and state != "Z":
                found.add(int(stat.parent.name))
        return found


@contextmanager
def serving(site: Site, workers: int = 2, *, code: str = "") -> Iterator[Server]:
    """A ready server; nothing of it runs afterwards, whatever happened."""
    server = Server(site, workers, code=code)
    try:
        server.wait_ready()
        yield server
    finally:
        try:
            server.end()
        except subprocess.TimeoutExpired:
            server.kill()
            raise
    until(lambda: not server.living(), "every process has ended")
