"""Starts, reloads, stops and deaths of the real server."""

from __future__ import annotations

import os
import signal
import smtplib
import socket
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import pytest

from mssmtp.demo.authority import Authority, Identity, Make
from tests.app.server import B_SENDER, DOORS, Server, Site, letter, send, serving, until
from tests.authority import A_DOMAIN, A_SUBJECT, B_DOMAIN
from tests.home import PASSWORD, PATIENT_DOMAIN, ZOE, Home, typed

pytestmark = pytest.mark.timeout(90)


def test_a_letter_goes_in_and_is_read_and_the_stop_is_orderly(site: Site) -> None:
    with serving(site) as server:
        assert len(server.workers) == 2
        assert site.receive(letter("essai")).startswith("250 ")
        assert site.subjects() == ["essai"]
    assert server.end() == 0
    assert server.said("serving") == 2
    assert server.said("worker died") == 0


def test_a_home_made_by_init_serves_once_its_certificates_are_there(
    authority: Authority, healthy: dict[str, Identity], tmp_path: Path
) -> None:
    assert typed("init", "--home", str(tmp_path / "op"), "--domain", A_DOMAIN).code == 0
    site = Site(Home(tmp_path / "op"), authority, healthy[B_DOMAIN])
    for door, port in zip(DOORS, (25, 587, 465, 143, 993, 9125), strict=True):
        host = "127.0.0.1" if door == "metrics" else "0.0.0.0"  # noqa: S104 - what init wrote
        place = f'{{ host = "{host}", port = {port} }}'
        site.home.edit(place, f"{{ port = {site.ports[door]} }}")
    # No test asks the national servers for anything.
    site.home.edit("http://igc-sante.esante.gouv.fr/CRL/", "http://127.0.0.1:9/")
    site.home.edit("http://igc-sante.esante.gouv.fr/CRL/", "http://127.0.0.1:9/")
    site.home.edit("# url = ", 'url = "https://127.0.0.1:9/liste.xml"\n# url = ')
    for stem in ("operators", "users"):
        healthy[A_DOMAIN].write(site.home.directory / "certs", stem)
    (site.home.directory / "certs" / "igc-sante.pem").write_bytes(authority.anchors_pem)
    password = ("--password-stdin", "--type", "MED")
    with serving(site):
        assert site.home.mssmtp("bal", "add", str(ZOE), *password, stdin=f"{PASSWORD}\n").code == 0
        assert site.subjects() == []
        assert site.receive(letter("essai")).startswith("451 4.7.5 "), "no list yet"


def test_a_start_costs_little(site: Site) -> None:
    """Less than 2 s on a machine that has nothing else to do: processor time knows no others."""
    with serving(site, 1) as server:
        assert server.cpu_s < 3.0


def test_a_port_in_use_is_named_with_its_door(site: Site) -> None:
    with closing(socket.socket()) as other:
        other.bind(("127.0.0.1", site.ports["imap"]))
        other.listen()
        server = Server(site)
        assert server.process.wait(20) == 2
    port = site.ports["imap"]
    assert f"mssmtp: listen.imap: 127.0.0.1 port {port}: the port is in use" in server.log
    assert "or choose another port" in server.log
    assert not server.living()


def test_a_second_server_on_the_same_home_is_refused_and_the_first_serves_on(site: Site) -> None:
    with serving(site) as first:
        second = Site(site.home, site.authority, site.peer)
        before = site.home.config_file.read_text("utf-8")
        second.write()
        again = Server(second)
        assert again.process.wait(20) == 2
        holder = f"process {first.process.pid} on {socket.gethostname()}"
        assert f"a server is running on it already ({holder})" in again.log
        site.home.config_file.write_text(before, "utf-8")
        assert site.receive(letter("essai")).startswith("250 ")


def test_wrong_settings_start_nothing(site: Site) -> None:
    site.home.edit("[limits]\n", "[limits]\nmessage_octet = 5\n")
    server = Server(site)
    assert server.process.wait(20) == 2
    assert "The nearest known setting is limits.message_octets." in server.log


def test_an_expired_certificate_of_ours_is_said_and_mail_can_still_be_read(site: Site) -> None:
    now = site.authority.now
    made = Make(now - timedelta(days=40), now - timedelta(days=10), hosts=("localhost",))
    site.authority.issue(A_SUBJECT, made).write(site.home.directory / "certs", "operator")
    with serving(site, 1) as server:
        assert server.said("own certificate has expired") == 1


# ---------------------------------------------------------------- beside the running server


def test_a_box_added_while_it_runs_works_at_once_in_every_worker(site: Site) -> None:
    new = "lea.nouvelle@hopital-a.test"
    with serving(site):
        added = site.home.mssmtp(
            "bal", "add", new, "--type", "MED", "--password-stdin", stdin=f"{PASSWORD}\n"
        )
        assert added.code == 0
        for _ in range(6):  # connections fall on either worker
            with site.submitting(new), site.reading(new) as client:
                assert client.folder_status("INBOX")[b"MESSAGES"] == 0


def test_a_suspended_box_is_refused_at_once_in_every_worker(site: Site) -> None:
    with serving(site):
        for _ in range(6):  # every worker has it in its cache
            with site.submitting():
                pass
        assert site.home.mssmtp("bal", "suspend", str(ZOE)).code == 0
        for _ in range(6):
            with pytest.raises(smtplib.SMTPAuthenticationError) as refused, site.submitting():
                pass
            assert refused.value.smtp_code == 535
        assert site.receive(letter("essai")).startswith("450 4.2.1 ")


def test_what_waits_for_another_operator_is_seen_hurried_and_dropped(site: Site) -> None:
    """DNS is down: the letter is accepted and waits; it can be hurried and given up."""
    queue = ("queue", "list", "--json")
    with serving(site, 1) as server:
        with site.submitting() as client:
            text = letter("essai").replace(B_SENDER.encode(), str(ZOE).encode())
            assert client.sendmail(str(ZOE), [B_SENDER], text) == {}
        until(lambda: site.home.mssmtp(*queue).json[0]["attempts"] == 1, "one attempt", 25)
        (row,) = site.home.mssmtp(*queue).json
        assert row["last_reply"].startswith("451 4.4.3 ")
        assert row["recipient"] == B_SENDER
        assert site.home.mssmtp("queue", "retry", row["queue_id"]).code == 0
        until(lambda: site.home.mssmtp(*queue).json[0]["state"] == "in delivery", "a second", 3)
        assert site.home.mssmtp("queue", "drop", row["queue_id"], "--reason", "essai").code == 0
        assert site.home.mssmtp(*queue).json == []
        assert site.receive(letter("suivant")).startswith("250 ")
        assert server.said("delivery failed") == 0
        server.kill()  # an orderly stop would wait for the resolver


@pytest.mark.requirement("OP-87")
def test_no_address_reaches_the_log_or_the_metrics(site: Site) -> None:
    ins = "199019999999979"
    patient = f"{ins}@{PATIENT_DOMAIN}"
    text = letter("essai").replace(B_SENDER.encode(), str(ZOE).encode())
    with serving(site, 1) as server:
        with site.submitting() as client:
            assert client.sendmail(str(ZOE), [patient], text) == {}  # waits: DNS is down
            client.mail(str(ZOE))
            assert client.rcpt(f"{ins}9@{PATIENT_DOMAIN}")[0] == 550
            assert client.rcpt(f"{ins}@inconnu.test")[0] == 550
        with site.as_operator() as client:
            client.mail(patient)
            client.rcpt(str(ZOE))
        assert site.receive(letter("essai")).startswith("250 ")
        assert site.subjects() == ["essai"]
        fetch = build_opener(ProxyHandler({})).open
        page = (
            fetch(f"http://127.0.0.1:{site.ports['metrics']}/metrics", timeout=20).read().decode()
        )
        assert "mssmtp_" in page
        server.kill()
    for said in (server.log, page):
        assert ins not in said
        assert "@" not in said


# ---------------------------------------------------------------- the list


@pytest.mark.parametrize("damage", ["missing", "unreadable"])
def test_without_a_list_peers_are_deferred_and_mail_is_read(site: Site, damage: str) -> None:
    trust = site.home.settings.store.home / "trust"
    if damage == "missing":
        (trust / "state.json").unlink()
    else:
        next((trust / "lists").glob("*.xml")).write_bytes(b"<nothing/>")
    with serving(site, 1):
        with site.as_operator() as client:
            code, text = client.mail(B_SENDER)
            assert (code, text[:5]) == (451, b"4.7.5")
        assert site.subjects() == []
        with site.submitting() as client:
            client.mail(str(ZOE))
            assert client.rcpt(str(ZOE))[0] == 250
            assert client.rcpt(B_SENDER)[0] in (451, 550)


def test_the_list_is_verified_once_for_all_workers_and_their_successors(site: Site) -> None:
    with serving(site) as server:
        os.kill(min(server.workers), signal.SIGKILL)
        until(lambda: server.said("serving") == 3, "replaced")
        for _ in range(6):
            assert site.receive(letter("essai")).startswith("250 ")
        assert server.said("list verified") == 1


def test_a_new_pin_makes_nothing_of_what_the_old_one_accepted(site: Site) -> None:
    with serving(site, 1) as server:
        assert site.receive(letter("essai")).startswith("250 ")
        site.write(whitelist__signer_subject="CN=autre.test")
        server.process.send_signal(signal.SIGHUP)
        until(lambda: server.said("serving") == 2, "replaced")
        assert site.receive(letter("essai")).startswith("451 4.7.5 ")


# ---------------------------------------------------------------- signals


class Load(threading.Thread):
    """Hands letters in until told to stop, and knows which were acknowledged."""

    def __init__(self, site: Site, number: int) -> None:
        super().__init__(daemon=True)
        self._site, self._number = site, number
        self.halt = threading.Event()
        self.acknowledged: list[str] = []
        self.refused: list[str] = []

    def run(self) -> None:
        count = 0
        while not self.halt.is_set():
            try:
                with self._site.as_operator() as client:
                    while not self.halt.is_set():
                        count += 1
                        self._send(client, f"charge {self._number}.{count}")
            except (OSError, smtplib.SMTPException):
                self.halt.wait(0.02)

    def _send(self, client: smtplib.SMTP, subject: str) -> None:
        octets = letter(subject, 300_000 if subject.endswith("0") else 500)
        reply = send(client, octets)
        if reply.startswith("421"):
            raise smtplib.SMTPServerDisconnected
        if reply.startswith("250"):
            self.acknowledged.append(subject)
        else:
            self.refused.append(reply)


@pytest.fixture
def load(site: Site) -> Iterator[list[Load]]:
    threads = [Load(site, number) for number in range(4)]
    yield threads
    for each in threads:
        each.halt.set()
    for each in threads:
        if each.ident is not None:
            each.join(30)


def acknowledged(load: list[Load]) -> list[str]:
    return sorted(subject for each in load for subject in each.acknowledged)


def half_sent(site: Site, server: Server) -> str:
    """A letter whose second half is sent after SIGTERM; the reply, empty when there is none."""
    octets = letter("essai", 400_000)
    with site.as_operator() as client:
        client.mail(B_SENDER)
        client.rcpt(str(ZOE))
        assert client.docmd("DATA")[0] == 354
        client.send(octets[:200_000])
        server.process.send_signal(signal.SIGTERM)
        until(lambda: server.said("stopping") == 2, "the worker stops too")
        try:
            client.send(octets[200_000:] + b".\r\n")
            return str(client.getreply()[0])
        except (OSError, smtplib.SMTPServerDisconnected):
            return ""


def test_a_letter_in_the_middle_of_its_data_is_taken_after_sigterm(site: Site) -> None:
    with serving(site, 1) as server:
        assert half_sent(site, server) == "250"
        assert server.process.wait(20) == 0
    assert site.stored() == ["essai"]


def test_the_detector_sees_a_server_that_cuts_what_is_in_flight(site: Site) -> None:
    weakened = (
        "from mssmtp import cli, smtp_in\n"
        "async def stop(self, grace_s):\n"
        "    for link in tuple(self._links):\n"
        "        link.abort()\n"
        "smtp_in._SmtpDoor.stop = stop\n"
        "cli.main()\n"
    )
    with serving(site, 1, code=weakened) as server:
        assert half_sent(site, server) == ""
        server.kill()
    assert site.stored() == []


def test_sigterm_under_load_finishes_what_is_in_flight_and_loses_nothing(
    site: Site, load: list[Load]
) -> None:
    with serving(site) as server:
        for each in load:
            each.start()
        until(lambda: len(acknowledged(load)) > 40, "the load runs")
        assert server.end() == 0
        for each in load:
            each.halt.set()
            each.join(30)
    assert server.said("worker killed: it did not stop in time") == 0
    assert server.said("taking content failed") == 0
    stored = site.stored()
    assert len(set(stored)) == len(stored)
    assert set(acknowledged(load)) <= set(stored)
    assert len(stored) - len(acknowledged(load)) <= len(load), "what nobody was told of"


def test_sighup_replaces_the_workers_with_new_settings_and_no_door_closes(
    site: Site, load: list[Load]
) -> None:
    with serving(site) as server:
        before = server.workers
        with site.as_operator() as client:
            assert client.esmtp_features["size"] == "62914560"
        for each in load:
            each.start()
        until(lambda: len(acknowledged(load)) > 20, "the load runs")
        site.write(limits__message_octets=1_000_000)
        server.process.send_signal(signal.SIGHUP)
        until(lambda: not server.workers & before and server.said("serving") == 4, "replaced")
        for _ in range(6):
            with site.as_operator() as client:
                assert client.esmtp_features["size"] == "1000000"
        for each in load:
            each.halt.set()
            each.join(30)
        assert [reply for each in load for reply in each.refused] == []
        assert server.said("worker died") == 0
        assert set(acknowledged(load)) <= set(site.subjects())


def test_sighup_with_wrong_settings_changes_nothing_and_says_so(site: Site) -> None:
    with serving(site, 1) as server:
        before = server.workers
        good = site.home.config_file.read_text("utf-8")
        site.home.edit("[limits]\n", "[limits]\nmessage_octet = 5\n")
        server.process.send_signal(signal.SIGHUP)
        until(lambda: server.said("not reloaded: the settings are wrong") == 1, "it said so")
        assert server.workers == before
        assert site.receive(letter("essai")).startswith("250 ")
        site.home.config_file.write_text(good, "utf-8")


def test_no_worker_outlives_a_killed_supervisor(site: Site) -> None:
    with serving(site) as server:
        assert site.receive(letter("essai")).startswith("250 ")
        os.kill(server.process.pid, signal.SIGKILL)
        server.process.wait(10)
        until(lambda: not server.living(), "the workers have ended")
    assert site.stored() == ["essai"]


def test_a_killed_worker_is_replaced_and_loses_nothing(site: Site, load: list[Load]) -> None:
    with serving(site) as server:
        for each in load:
            each.start()
        for _ in range(3):
            done = len(acknowledged(load))
            until(lambda done=done: len(acknowledged(load)) > done + 10, "the load runs")  # type: ignore[misc]
            os.kill(server.workers.pop(), signal.SIGKILL)
            until(lambda: len(server.workers) == 2, "replaced")
        for each in load:
            each.halt.set()
            each.join(30)
    stored = site.stored()
    assert set(acknowledged(load)) <= set(stored)
    assert len(set(stored)) == len(stored)
    with closing(sqlite3.connect(site.home.settings.store.home / "store.db")) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
