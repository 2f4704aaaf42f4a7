"""The first of the two commands: what `./run demo` proves, prints and leaves behind."""

from __future__ import annotations

import base64
import contextlib
import imaplib
import json
import os
import re
import smtplib
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mssmtp.demo.space import ports
from tests.handshakes import Clear, asks
from tests.space import (
    ROOT,
    RunningSpace,
    free_base_port,
    start_demo,
    stop_demo,
    wait_ready,
)

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.xdist_group("space"),
    pytest.mark.timeout(120),
]

SHA256 = re.compile(r"[0-9a-f]{64}\Z")
QUEUE_ID = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}\Z")


def processes_of(directory: Path) -> list[int]:
    """Processes that have `directory` in their command line or environment."""
    mark, found = os.fsencode(directory), []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if mark in (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue  # it has ended meanwhile
    return found


def listening_ports(directory: Path) -> set[int]:
    """Ports on which the processes of `directory` listen."""
    inodes = set()
    for number in processes_of(directory):
        for handle in Path(f"/proc/{number}/fd").iterdir():
            with contextlib.suppress(OSError):
                inodes.add(os.readlink(handle))
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {
        int(words[1].rpartition(":")[2], 16)
        for words in lines
        if words[3] == "0A" and f"socket:[{words[9]}]" in inodes
    }


@dataclass(frozen=True)
class Once:
    """`demo --once --json`: exit code, both outputs, its temporary directory, time."""

    code: int
    stdout: str
    stderr: str
    temporary: Path
    took_s: float

    @property
    def answer(self) -> dict[str, Any]:
        """The one object on standard output."""
        found: dict[str, Any] = json.loads(self.stdout)
        return found


@dataclass(frozen=True)
class Shown:
    """`demo` as a person runs it, after SIGTERM."""

    manifest: dict[str, Any]
    ports_while_up: set[int]
    code: int
    output: str
    directory: Path


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """`./run demo --once --json` with nothing but a TMPDIR and free ports."""
    temporary = tmp_path_factory.mktemp("once")
    began_s = time.monotonic()
    done = subprocess.run(
        ["./run", "demo", "--once", "--json", "--base-port", str(free_base_port())]
        + ["--accounts", "1"],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(temporary)},
        capture_output=True,
        text=True,
        timeout=110,
    )
    took_s = time.monotonic() - began_s
    return Once(done.returncode, done.stdout, done.stderr, temporary, took_s)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    """`mssmtp demo` for a person, seen up, then told to stop by SIGTERM."""
    folder = tmp_path_factory.mktemp("shown")
    temporary, directory = folder / "tmp", folder / "space"
    temporary.mkdir()
    process, log = start_demo(["--directory", str(directory), "--accounts", "1"], temporary)
    try:
        manifest = wait_ready(directory, process, log)
        listening = listening_ports(directory)
    finally:
        code = stop_demo(process)
    return Shown(manifest, listening, code, log.read_text(), directory)


# ---------------------------------------------------------------- for machines


@pytest.mark.requirement("SEED-01")
def test_once_prints_one_object_in_which_everything_held(once: Once) -> None:
    assert once.code == 0, once.stderr
    answer = once.answer
    assert (answer["delivered"], answer["read_over_imap"], answer["sealed"]) == (True, True, True)
    assert 0 < answer["seconds"] < once.took_s
    assert answer["failure"] is None


def test_the_proof_names_certificates_row_queue_id_uid_and_ledger(once: Once) -> None:
    proof = once.answer["proof"]
    assert proof["peer_certificate"].startswith("CN=mx.cabinet-b.test,OU=")
    assert proof["client_certificate"].startswith("CN=mx.hopital-a.test,OU=")
    assert proof["whitelist_row"] == f"cabinet-b.test = {proof['peer_certificate']}"
    assert QUEUE_ID.match(proof["queue_id"])
    assert QUEUE_ID.match(proof["envelope_id_at_b"])
    assert proof["queue_id"] in proof["submission_reply"]
    assert proof["envelope_id_at_b"] in proof["relay_reply"]
    assert proof["tls"].startswith(("TLSv1.3 ", "TLSv1.2 "))
    assert proof["uid"] >= 1
    assert proof["in_clear"] == []
    assert SHA256.match(proof["attachment_sha256"])
    kinds_and_digests = [e.split(" ") for e in (*proof["events_at_a"], *proof["events_at_b"])]
    assert [kind for kind, _ in kinds_and_digests] == ["scellement", "relais"] + [
        "scellement",
        "remise",
    ]
    assert all(SHA256.match(digest) for _, digest in kinds_and_digests)


@pytest.mark.attack
@pytest.mark.requirement("OP-03", "OP-10")
def test_five_attacks_are_refused_each_with_reply_and_reason(once: Once) -> None:
    refused = once.answer["refused"]
    assert len(refused) >= 5
    assert len({item["attack"] for item in refused}) == len(refused)
    for item in refused:
        assert re.match(r"5\d\d 5\.7\.\d+ \S", item["reply"]), item
        assert len(item["reason"]) > 20, item
        assert item["reason"] in item["reply"]


def test_once_leaves_no_process_no_port_and_no_file(once: Once) -> None:
    assert processes_of(once.temporary) == []
    assert listening_ports(once.temporary) == set()
    assert list(once.temporary.iterdir()) == []


def test_what_must_be_left_by_nobody_can_be_seen(space: RunningSpace) -> None:
    """Control of the test above: of a space that runs, both are found."""
    assert len(processes_of(space.directory)) >= 1 + 5 * 3
    doors = {door for o in (space.a, space.b) for door in (o.smtp, o.submission, o.imap, o.imaps)}
    doors |= {space.manifest["operators"][0]["sieve"]["port_starttls"]}
    assert doors | {space.manifest["dns"]["port"]} <= listening_ports(space.directory)


def test_a_holder_is_told_what_scripts_may_ask(space: RunningSpace) -> None:
    place = space.manifest["operators"][0]["sieve"]
    with socket.create_connection((place["host"], place["port_starttls"]), timeout=10) as wire:
        greeting = wire.recv(4_096).decode()
    assert greeting.startswith('"IMPLEMENTATION" "mssmtp"\r\n"SIEVE" "fileinto ')
    assert '"STARTTLS"' in greeting


@pytest.mark.requirement("CL-15")
@pytest.mark.parametrize("name", ["hopital-a", "cabinet-b"])
def test_a_system_reads_and_submits_by_certificate(space: RunningSpace, name: str) -> None:
    """EXTERNAL as a vendor tries it: the manifest's certificate, Python's own clients."""
    operator = space.operator(name)
    box = operator.of_type("APP").address
    context = ssl.create_default_context(cafile=space.ca_file)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    system = space.manifest["system"]
    context.load_cert_chain(system["certificate_file"], system["key_file"])
    place = operator.raw["app_submission"]
    with smtplib.SMTP("localhost", place["port_starttls"], timeout=20) as smtp:
        smtp.starttls(context=context)
        smtp.ehlo("dpi.test")
        assert smtp.esmtp_features["auth"].split() == ["EXTERNAL"]
        initial = base64.b64encode(box.encode()).decode()
        assert smtp.docmd("AUTH", f"EXTERNAL {initial}")[0] == 235
        letter = f"From: <{box}>\r\nTo: <{box}>\r\nSubject: CR\r\n\r\nBonjour\r\n"
        assert smtp.sendmail(box, [box], letter) == {}
    port = operator.raw["app_imap"]["port_tls"]
    with imaplib.IMAP4_SSL("localhost", port, ssl_context=context, timeout=20) as imap:
        assert "AUTH=EXTERNAL" in imap.capabilities
        imap.authenticate("EXTERNAL", lambda _: b"")  # its only box here
        imap.select("INBOX")
        assert imap.search(None, "SUBJECT", "CR")[1] != [b""]


@pytest.mark.requirement("CL-16")
def test_only_listeners_of_operators_and_systems_send_a_certificate_request(
    space: RunningSpace,
) -> None:
    raw = space.a.raw
    smtp, imap = ("submission", "app_submission"), ("imap", "app_imap")
    for door in (*smtp, *imap):
        clear: Clear = "smtp" if door in smtp else "imap"
        expected = door.startswith("app_")
        assert asks(raw[door]["port_starttls"], clear, "1.2") is expected, door
        assert asks(raw[door]["port_tls"], "", "1.3") is expected, door
    assert asks(space.a.smtp, "smtp", "1.3")


# ---------------------------------------------------------------- for people


def cells(output: str) -> str:
    """The output without borders, every run of white space one space."""
    return " ".join(re.sub(r"[│┃┡┏┳┓╇┩└┴┘┌┬┐━─├┼┤╭╮╰╯]", " ", output).split())


def test_it_prints_the_trust_space_with_the_hostile_operator(shown: Shown) -> None:
    text = cells(shown.output)
    ports = {o["name"]: o["smtp"]["port"] for o in shown.manifest["operators"]}
    assert (
        f"hopital-a hopital-a.test, chu-g.test {ports['hopital-a']} hopital-a.test, chu-g.test"
        in text
    )
    assert f"cabinet-b cabinet-b.test {ports['cabinet-b']} cabinet-b.test" in text
    assert f"hostile pirate.test {ports['hostile']} no" in text


def test_it_prints_each_step_of_the_proof(shown: Shown) -> None:
    text = cells(shown.output)
    for item in (
        r"mutual TLS TLSv1\.[23] \w+",
        r"B's certificate, seen by A CN=mx\.cabinet-b\.test,OU=312345678900017,",
        r"A's certificate, seen by B CN=mx\.hopital-a\.test,OU=1990000017,",
        r"whitelist row that binds B cabinet-b\.test = CN=mx\.cabinet-b\.test,",
        r"queue id at A [0-9A-Z]{26}",
        r"B's reply \(delivery notice\) 250 2\.0\.0 ",
        r"read over IMAP at B UID \d+, octet for octet",
        r"attachment SHA-256 [0-9a-f]{64}",
        r"found in clear on any disk nothing: sealed",
        r"ledger at A scellement [0-9a-f]{64}",
        r"ledger at A relais [0-9a-f]{64}",
        r"ledger at B remise [0-9a-f]{64}",
    ):
        assert re.search(item, text), item


def test_it_prints_five_refusals_with_reasons(shown: Shown) -> None:
    text = cells(shown.output)
    for reply in ("530 5.7.0 Connexion", "554 5.7.0 Certificat absent", "554 5.7.1 Operateur"):
        assert reply in text
    assert text.count("554 5.7.5 Certificat") == 2


def test_it_prints_settings_to_paste_with_an_app_password(shown: Shown) -> None:
    text = cells(shown.output)
    for operator in shown.manifest["operators"][:2]:
        account = operator["accounts"][0]
        assert f"address, user name {account['address']}" in text
        assert f"app password {account['password']}" in text
        imaps = operator["imap"]["port_tls"]
        assert f"IMAP localhost, port {imaps}, SSL/TLS, normal password" in text
        submissions = operator["submission"]["port_tls"]
        assert f"SMTP localhost, port {submissions}, SSL/TLS, normal password" in text


def test_it_prints_one_liners_that_name_the_running_doors(shown: Shown) -> None:
    a = shown.manifest["operators"][0]
    imaps, submission = a["imap"]["port_tls"], a["submission"]["port_starttls"]
    assert f"openssl s_client -connect localhost:{imaps} " in shown.output
    assert f"swaks --server localhost:{submission} --tls " in shown.output
    assert f"--auth-password {a['accounts'][0]['password']}" in shown.output
    assert f"IMAP localhost:{a['app_imap']['port_tls']}, SMTP " in shown.output


def test_it_ends_with_what_a_real_operator_still_lacks(shown: Shown) -> None:
    text = cells(shown.output)
    assert "What a real operator still lacks" in text
    lacking = text.partition("still lacks")[2]
    for item in (
        "operator certificate: operator.pem Order an IGC-Santé SERV SSL certificate",
        "declaration of hopital-a.test, chu-g.test to ANS",
        "send the rows of `mssmtp trust expected`",
        "MX record of hopital-a.test, chu-g.test Publish MX 10 mx.hopital-a.test.",
    ):
        assert item in lacking, item


def test_sigterm_stops_everything(shown: Shown) -> None:
    guest = shown.manifest["guest"]["smtp"]["port"]
    base_port = shown.manifest["operators"][0]["smtp"]["port"] - 25
    assert shown.ports_while_up == set(ports(base_port)) - {guest}
    assert shown.code == 0
    assert processes_of(shown.directory) == []
    assert listening_ports(shown.directory) == set()
    manifest = json.loads((shown.directory / "manifest.json").read_text())
    assert manifest["state"] == "stopped"


def test_a_port_in_use_is_named_in_one_sentence_at_once(tmp_path: Path) -> None:
    port = free_base_port() + 1993
    with socket.create_server(("127.0.0.1", port)):
        done = subprocess.run(
            ["./run", "demo", "--once", "--base-port", str(port - 1993)],
            cwd=ROOT,
            env=os.environ | {"TMPDIR": str(tmp_path), "COLUMNS": "200"},
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    named = re.search(r"port (\d+) of the demo: cannot be used \(Address already", done.stderr)
    assert named, done.stderr
    assert int(named.group(1)) in ports(port - 1993)
    assert "--base-port" in done.stderr
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- manifest.json


def test_the_manifest_has_every_key_of_its_version(space: RunningSpace) -> None:
    manifest = space.manifest
    assert (manifest["version"], manifest["state"]) == (1, "ready")
    assert Path(manifest["directory"]) == space.directory
    assert set(manifest["whitelist"]) == {"file", "url"}
    assert manifest["whitelist"]["url"].startswith("https://127.0.0.1:")
    assert set(manifest["psc"]) == {
        "issuer",
        "configuration_url",
        "client_id",
        "client_secret_file",
    }
    assert manifest["dns"] == {"host": "127.0.0.1", "port": space.a.smtp - 25 + 53}
    assert {"revoked", "expired", "other_ca_same_name", "name_not_listed", "no_client_use"} <= set(
        manifest["test_certificates"]
    )
    assert set(manifest["system"]) == {"certificate_file", "key_file", "dn"}
    names = [operator["name"] for operator in manifest["operators"]]
    assert names == ["hopital-a", "cabinet-b", "patient", "apicrypt", "hostile"]
    for index, operator in enumerate(manifest["operators"]):
        assert {"host", "port"} == set(operator["smtp"])
        assert operator["smtp"]["port"] == space.a.smtp + 1000 * index
        assert {"host", "port_starttls", "port_tls"} == set(operator["submission"])
        assert {"host", "port_starttls", "port_tls"} == set(operator["imap"])
        assert {"host", "port_starttls"} == set(operator["sieve"])
        for door in ("app_submission", "app_imap"):
            assert {"host", "port_starttls", "port_tls"} == set(operator[door])
        assert operator["dn"].startswith("CN=mx.")
        assert operator["listed"] is (operator["name"] != "hostile")
        for account in operator["accounts"]:
            known = {"address", "login", "password", "bal_type", "state", "national_id"}
            assert known == set(account)
            # SEED-22: members open an ORG box with their own.
            assert len(account["password"]) == (0 if account["bal_type"] == "ORG" else 20)
    assert {a.bal_type for a in space.a.accounts} == {"PER", "ORG", "APP", "MED", "INT"}
    assert {a.state for a in space.a.accounts} == {"certified", "not-certified"}


def test_every_file_of_the_manifest_exists_and_keys_are_private(space: RunningSpace) -> None:
    def files(value: object, key: str = "") -> Iterator[tuple[str, str]]:
        if isinstance(value, dict):
            for name, inner in value.items():
                yield from files(inner, name)
        elif isinstance(value, list):
            for inner in value:
                yield from files(inner, key)
        elif key.endswith("file") or key in ("home", "directory"):
            yield key, str(value)

    found = list(files(space.manifest))
    assert len(found) > 4 + 5 * 4
    for key, name in found:
        assert Path(name).exists(), name
        if key == "key_file":
            assert Path(name).stat().st_mode & 0o077 == 0, name
