"""A hospital's own mail server in front of us: Debian's Postfix and Exim, both directions.

The hospital is chu-g.test, served by operator A; its users write and read under chu-g.example.
"""

from __future__ import annotations

import os
import shutil
import smtplib
import socket
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from mssmtp.mail import Address
from mssmtp.storage import Reading
from tests.end_to_end.hospital import (
    USUAL,
    Exim,
    Hospital,
    Ports,
    Postfix,
    awaited,
    message,
)
from tests.end_to_end.mail import arrival, attachment, letter, say, submit
from tests.free_ports import free_ports
from tests.space import RunningSpace

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.xdist_group("space"),
    pytest.mark.timeout(120),
]

CARDIO, PEDIATRIE = "cardiologie@chu-g.test", "pediatrie@chu-g.test"
ALIASES = f"usuelle;mssante\ncardio@{USUAL};{CARDIO}\n"

FORM = """\
name = "chu-g"
domains = ["chu-g.test"]
aliases = "alias.csv"
correspondent = "{correspondent}"
listen = {{ host = "127.0.0.1", port = {door} }}
[outbound]
certificates = ["{certificate}"]
addresses = ["127.0.0.0/8"]
xclient = true
[inbound]
mode = "forward"
hosts = ["relais.chu-g.test:{mx}"]
"""


@pytest.fixture(scope="module")
def ports(space: RunningSpace) -> Iterator[Ports]:
    """Its ports and our door's; whatever happened, no gateway is left behind."""
    mx, inside, door = free_ports(3)
    yield Ports(mx, inside, door)
    space.a.command("gateway", "undo", "chu-g")


@pytest.fixture(scope="module", params=[Postfix, Exim], ids=["postfix", "exim"])
def hospital(
    request: pytest.FixtureRequest, space: RunningSpace, ports: Ports
) -> Iterator[Hospital]:
    """Its server, running; stopped at the end."""
    if os.geteuid() != 0:
        pytest.skip("both start as root only")
    home = Path(tempfile.mkdtemp(prefix="mssmtp-hospital-"))
    home.chmod(0o755)  # their daemons run as users of their own
    try:
        private: Hospital = request.param.lay(space, home, ports)
        private.start()
        try:
            awaited(lambda: is_open(ports.mx), lambda: private.log)
            yield private
        finally:
            private.stop()
    finally:
        shutil.rmtree(home)


def user_sends(hospital: Hospital, to: Sequence[object], octets: bytes) -> None:
    """What a mail client inside the hospital says to its own server."""
    with smtplib.SMTP("127.0.0.1", hospital.ports.inside, timeout=20) as client:
        client.ehlo()
        assert say(client, f"cardio@{USUAL}", to, octets).data.startswith("250")


def is_open(port: int) -> bool | None:
    with socket.socket() as sock:
        return True if sock.connect_ex(("127.0.0.1", port)) == 0 else None


@pytest.fixture(scope="module")
def form(space: RunningSpace, ports: Ports) -> Iterator[Path]:
    """The hospital's form, and its boxes."""
    folder = Path(tempfile.mkdtemp(prefix="mssmtp-form-"))
    for address in (CARDIO, PEDIATRIE):
        added = space.a.command("bal", "add", address, "--type", "ORG")
        assert added.code == 0 or "existe" in added.stderr, added.stderr
    (folder / "alias.csv").write_text(ALIASES)
    shutil.copy(space.a.config_file, folder / "before.toml")
    certificate, _ = space.hospital
    correspondent = str(space.b.doctor(0))
    values = {"door": ports.door, "mx": ports.mx, "certificate": certificate}
    (folder / "form.toml").write_text(FORM.format(correspondent=correspondent, **values))
    yield folder / "form.toml"
    shutil.rmtree(folder)


@pytest.fixture
def gateway(space: RunningSpace, ports: Ports, form: Path, hospital: Hospital) -> None:
    """Switched on by the command, once; `test_undo` takes it back."""
    if is_open(ports.door):
        return
    done = space.a.command("gateway", "init", str(form))
    assert done.code == 0, done.stdout + done.stderr
    awaited(lambda: is_open(ports.door), lambda: space.a.log.read_text()[-3000:])


@pytest.mark.requirement("DEF-19", "SEED-81", "SEED-82", "OP-63")
def test_a_letter_of_the_hospital_crosses_to_another_operator(
    space: RunningSpace, hospital: Hospital, gateway: None
) -> None:
    to = space.b.doctor(0)
    sent = letter(f"cardio@{USUAL}", [to], attachments=[attachment(300_000)])
    user_sends(hospital, [to], sent.octets)
    try:
        received = arrival(space, space.b, to, sent.message_id)
    except AssertionError as error:
        raise AssertionError(hospital.log[-4000:]) from error
    ours = sent.octets.replace(f"<cardio@{USUAL}>".encode(), f"<{CARDIO}>".encode())
    trace = received.below_trace(ours)  # no other octet (OP-63)
    assert f"Return-Path: <{CARDIO}>".encode() in trace
    assert b"by mx.hopital-a.test with ESMTPS" in trace


@pytest.mark.requirement("DEF-19", "OP-13")
def test_a_letter_to_the_internet_comes_back_with_the_reason(
    space: RunningSpace, hospital: Hospital, gateway: None
) -> None:
    sent = letter(f"cardio@{USUAL}", ["quelquun@internet.example"])
    user_sends(hospital, ["quelquun@internet.example"], sent.octets)
    report = message(hospital, "n'est pas dans l'espace de confiance MSSante")
    assert sent.message_id.encode() in report


@pytest.mark.requirement("DEF-19", "OP-19")
def test_a_user_the_hospital_does_not_know_is_reported_to_the_sender(
    space: RunningSpace, hospital: Hospital, gateway: None
) -> None:
    """Its box exists here, its server does not take the address: no pair in the table."""
    sender = space.b.doctor(0)
    sent = letter(sender, [PEDIATRIE], subject="Sans alias")
    submit(space, space.b, sender, [PEDIATRIE], sent.octets)
    report = arrival(space, space.b, sender, "Undelivered", "Subject")
    assert PEDIATRIE.encode() in report.octets


@pytest.mark.requirement("DEF-19", "OP-63")
def test_the_answer_goes_on_to_the_hospitals_server_over_tls(
    space: RunningSpace, hospital: Hospital, gateway: None
) -> None:
    sender = space.b.doctor(0)
    sent = letter(sender, [CARDIO], cc=[PEDIATRIE], attachments=[attachment(300_000)])
    submit(space, space.b, sender, [CARDIO], sent.octets)
    octets = message(hospital, sent.message_id)
    theirs = sent.octets.replace(f"To: {CARDIO}".encode(), f"To: cardio@{USUAL}".encode())
    assert octets.endswith(theirs.replace(b"\r\n", b"\n"))
    assert f"Cc: {PEDIATRIE}".encode() in octets  # it has no usual address in the table


@pytest.mark.requirement("SEED-82", "DEF-19")
def test_one_command_takes_everything_back_and_what_waited_is_in_the_box(
    space: RunningSpace, hospital: Hospital, gateway: None, ports: Ports, form: Path
) -> None:
    """The hospital's server is down: we queue; after `undo` the letter is read here."""
    sender = space.b.doctor(0)
    sent = letter(sender, [CARDIO])
    hospital.stop()
    try:
        submit(space, space.b, sender, [CARDIO], sent.octets)
        awaited(lambda: waits(space), lambda: space.a.log.read_text()[-3000:])
        undone = space.a.command("gateway", "undo", "chu-g", "--json")
        assert undone.code == 0, undone.stderr
        awaited(lambda: not waits(space) or None, lambda: space.a.log.read_text()[-3000:])
        awaited(lambda: not is_open(ports.door) or None, lambda: space.a.log.read_text()[-3000:])
    finally:
        hospital.start()
    assert sent.octets in in_box(space, CARDIO)
    assert space.a.config_file.read_text() == (form.parent / "before.toml").read_text()
    assert list((space.a.config_file.parent / "gateways").iterdir()) == []


def waits(space: RunningSpace) -> bool | None:
    """Something was tried in vain and waits for the hospital."""
    with space.a.store() as store:
        queued = store.read(lambda r: r.queue()).result()
    return True if any(e.recipient.address.domain == "chu-g.test" for e in queued) else None


def in_box(space: RunningSpace, address: str) -> bytes:
    """All that lies in the INBOX of a box, one after the other."""
    with space.a.store() as store:
        bal = store.read(lambda r: r.bal(Address.parse(address))).result()
        assert bal is not None
        inbox = store.read(lambda r: r.mailbox(bal.id, "INBOX")).result()
        assert inbox is not None
        place = inbox.id

        def read(reading: Reading) -> bytes:
            return b"".join(reading.body(place, uid) for uid in reading.uids(place))

        return store.read(read).result()
