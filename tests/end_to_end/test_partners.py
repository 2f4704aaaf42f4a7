"""One letter each way with every partner of SEED-02, the letters being those of SEED-88."""

from __future__ import annotations

import asyncio
import smtplib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest

from mssmtp.demo.authority import Authority, Identity, row
from mssmtp.demo.dns import DnsServer, Zone
from tests.app.server import Site, serving
from tests.authority import A_DOMAIN, A_SUBJECT, B_DOMAIN
from tests.end_to_end.partners import LITTLE, PARTNERS, Habits, Partner, letters, partner
from tests.home import CLOCK, PATIENT_DOMAIN, ZOE, make_home, put_boxes, put_list, put_rows
from tests.smtp_out.peer import Message

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.timeout(120),
    pytest.mark.xdist_group("partners"),
]

WITHIN_S = 30.0
PATIENT = f"199019999999979@{PATIENT_DOMAIN}"
HEALTH_SPACE = Habits("Espace santé", (PATIENT_DOMAIN,), "MAILER-DAEMON", "patient", 2)


@dataclass
class Bench:
    """Our server and all partners, each in its own thread or process."""

    site: Site
    partners: dict[str, Partner]
    loop: asyncio.AbstractEventLoop

    def submit(self, to: str, octets: bytes, options: tuple[str, ...] = ()) -> str:
        """Zoé's letter; its queue id."""
        with self.site.submitting() as client:
            client.mail(str(ZOE), [])
            assert client.rcpt(to, list(options))[0] == 250
            code, text = client.data(octets)
        assert code == 250, text
        return text.decode().rsplit(" ", 1)[1]

    def taken(self, name: str, identifier: str) -> Message:
        """What a partner got with that Message-ID, waited for."""
        deadline = time.monotonic() + WITHIN_S
        while True:
            for message in self.partners[name].peer.messages:
                if f"Message-ID: <{identifier}@".encode() in message.body:
                    return message
            assert time.monotonic() < deadline, f"{name} never got {identifier}"
            time.sleep(0.02)

    def bring(self, whom: Partner, sender: str, octets: bytes, certificate: int = 0) -> str:
        """A letter of a partner for Zoé; the last reply."""
        port = self.site.ports["operators"]
        with smtplib.SMTP("localhost", port, whom.mx, WITHIN_S) as client:
            client.starttls(context=whom.clients[certificate])
            client.ehlo()
            client.mail(sender)
            code, text = client.rcpt(str(ZOE))
            if code == 250:
                code, text = client.data(octets)
        return f"{code} {text.decode()}"

    def inbox(self, identifier: str) -> bytes:
        """The message with that Message-ID in Zoé's INBOX, as IMAP gives it."""
        deadline = time.monotonic() + WITHIN_S
        with self.site.reading() as client:
            while not (found := client.search(["HEADER", "Message-ID", f"<{identifier}@"])):
                assert time.monotonic() < deadline, f"{identifier} never came"
                client.noop()
            return bytes(client.fetch(found[-1:], ["BODY.PEEK[]"])[found[-1]][b"BODY[]"])


@pytest.fixture(scope="module")
def bench(
    tmp_path_factory: pytest.TempPathFactory, authority: Authority, healthy: dict[str, Identity]
) -> Iterator[Bench]:
    directory = tmp_path_factory.mktemp("partners")
    home = make_home(directory / "home", authority, healthy[A_DOMAIN])
    site = Site(home, authority, healthy[B_DOMAIN])
    made = {
        habits.name: partner(authority, directory / "peers", habits, number)
        for number, habits in enumerate((*PARTNERS, HEALTH_SPACE))
    }
    up: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event, int]] = Future()
    thread = threading.Thread(target=lambda: asyncio.run(listen(made, up)), name="partners")
    thread.start()
    loop, over, dns_port = up.result(WITHIN_S)
    try:
        put_list(home, authority)
        listed = [(name, one.subjects) for one in made.values() for name in one.habits.domains]
        listed.append((A_DOMAIN, (A_SUBJECT,)))
        rows = [row(name, who.text, updated=CLOCK.now()) for name, all_ in listed for who in all_]
        put_rows(home, authority, rows)
        put_boxes(home)
        ports = {one.mx: one.peer.port for one in made.values()}
        site.write(smtp_out__nameserver_port=dns_port, smtp_out__ports=ports)
        with serving(site, 1):
            yield Bench(site, made, loop)
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(WITHIN_S)


async def listen(
    made: dict[str, Partner],
    up: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event, int]],
) -> None:
    """Every partner and the DNS that leads to them, until the event."""
    over = asyncio.Event()
    mx = {name: (f"10 {one.mx}.",) for one in made.values() for name in one.habits.domains}
    zone = Zone(mx=mx, a=dict.fromkeys([one.mx for one in made.values()], ("127.0.0.1",)))
    try:
        async with AsyncExitStack() as stack:
            for one in made.values():
                await stack.enter_async_context(one.peer)
            dns = await stack.enter_async_context(DnsServer(zone))
            up.set_result((asyncio.get_running_loop(), over, dns.port))
            await over.wait()
    except BaseException as error:
        if not up.done():
            up.set_exception(error)
        raise


NAMES = [habits.name for habits in PARTNERS]
SCENARIOS = ("discharge letter", "report", "prescription", "tele-expertise",
             "hospital to pharmacy", "nursing home to pharmacy", "patient")  # fmt: skip


@pytest.mark.requirement("SEED-02", "SEED-01", "SEED-88")
@pytest.mark.parametrize("name", NAMES)
def test_a_letter_reaches_every_partner_octet_for_octet(bench: Bench, name: str) -> None:
    one = bench.partners[name]
    identifier, to = f"vers-{one.domain}", f"correspondant@{one.domain}"
    octets = letters(str(ZOE), to, identifier)[one.habits.letter]
    bench.submit(to, octets)
    got = bench.taken(name, identifier)
    assert got.body.endswith(octets)
    above = got.body[: len(got.body) - len(octets)]
    assert above.startswith(b"Received: ")
    assert above.count(b"\r\nReceived: ") == 0
    assert got.recipients == (to,)
    assert A_SUBJECT.cn in one.peer.sessions[-1].client_subject


@pytest.mark.requirement("SEED-02", "SEED-01", "SEED-88", "CL-62", "OP-20")
@pytest.mark.parametrize("name", NAMES)
def test_a_letter_of_every_partner_arrives_octet_for_octet(bench: Bench, name: str) -> None:
    one = bench.partners[name]
    last = len(one.clients) - 1  # of several certificates the list knows each
    for certificate in {0, last}:
        identifier = f"de-{certificate}-{one.domain}"
        octets = letters(one.sender, str(ZOE), identifier)[one.habits.letter]
        assert bench.bring(one, one.sender, octets, certificate).startswith("250 2.0.0")
        assert bench.inbox(identifier).endswith(octets)


@pytest.mark.requirement("SEED-88", "SEED-80", "CL-62", "CL-63")
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_reference_letters_pass_unaltered_in_both_directions(
    bench: Bench, scenario: str
) -> None:
    """The whole set with one partner; a letter to a patient goes to the patients' operator."""
    key = scenario.replace(" ", "-")
    one = bench.partners["Espace santé" if scenario == "patient" else "Mailiz"]
    to = PATIENT if scenario == "patient" else f"a.martin@{one.domain}"
    octets = letters(str(ZOE), to, f"aller-{key}")[scenario]
    bench.submit(to, octets)
    assert bench.taken(one.habits.name, f"aller-{key}").body.endswith(octets)
    mailiz = bench.partners["Mailiz"]
    back = letters(mailiz.sender, str(ZOE), f"retour-{key}")[scenario]
    assert bench.bring(mailiz, mailiz.sender, back).startswith("250 2.0.0")
    assert bench.inbox(f"retour-{key}").endswith(back)


@pytest.mark.requirement("SEED-02")
def test_a_partner_with_several_domains_is_one_operator(bench: Bench) -> None:
    one = bench.partners["Mailiz"]
    other = f"i.petit@{one.habits.domains[1]}"
    octets = letters(other, str(ZOE), "second-domaine")["report"]
    assert bench.bring(one, other, octets).startswith("250 2.0.0")


@pytest.mark.requirement("SEED-02", "SEED-68")
def test_what_is_too_large_for_a_partner_comes_back_with_the_reason(bench: Bench) -> None:
    one = bench.partners["Easycrypt"]
    to = f"correspondant@{one.domain}"
    small = letters(str(ZOE), to, "trop-grand")["hospital to pharmacy"]
    octets = small + b"\r\n" + b"x" * 900 + b"\r\n" * (LITTLE // 2)
    bench.submit(to, octets)
    deadline = time.monotonic() + WITHIN_S
    with bench.site.reading() as client:
        while not (found := client.search(["FROM", "MAILER-DAEMON", "BODY", "trop-grand"])):
            assert time.monotonic() < deadline
            client.noop()
        report = client.fetch(found, ["BODY.PEEK[]"])[found[0]][b"BODY[]"].decode()
    assert "Status: 5.3.4" in report
    assert "trop volumineux" in report
    assert not any(b"trop-grand" in message.body for message in one.peer.messages)


@pytest.mark.requirement("SEED-87")
def test_an_activation_code_is_delivered_like_any_letter(bench: Bench) -> None:
    """The connector of a business software links itself by a code mailed to the box."""
    one = bench.partners["Lifen"]
    head = (
        f"From: <{one.sender}>\r\nTo: <{ZOE}>\r\nSubject: Code d'activation\r\n"
        "Message-ID: <code-activation@reference.test>\r\nAuto-Submitted: auto-generated\r\n"
    )
    octets = f"{head}\r\nVotre code est 259956. https://logiciel.test/lier?code=259956\r\n".encode()
    assert bench.bring(one, one.sender, octets).startswith("250 2.0.0")
    assert bench.inbox("code-activation").endswith(octets)


@pytest.mark.requirement("OP-90")
@pytest.mark.parametrize(
    ("subject", "more"),
    [("[FIN]", ""), ("[fin]", ""), ("[FIN] merci", ""), ("Suite", "X-MSS-MES: FIN\r\n")],
)
def test_the_end_of_a_thread_is_transported_as_it_was_written(
    bench: Bench, subject: str, more: str
) -> None:
    """Mon espace santé enforces it: what it compares must not change by one octet."""
    key = f"fin-{abs(hash((subject, more)))}"
    octets = (
        f"From: <{ZOE}>\r\nTo: <{PATIENT}>\r\nSubject: {subject}\r\n"
        f"Date: Mon, 05 Jan 2026 09:15:00 +0100\r\nMessage-ID: <{key}@reference.test>\r\n{more}"
        "\r\nFin des \u00e9changes.\r\n"
    ).encode()
    bench.submit(PATIENT, octets)
    assert bench.taken("Espace santé", key).body.endswith(octets)


# ---------------------------------------------------------------- receipts


def outcome_in_sent(bench: Bench, identifier: str, wanted: set[bytes]) -> None:
    """The keywords of the sender's own copy, as any mail client sees them, waited for."""
    deadline = time.monotonic() + WITHIN_S
    with bench.site.reading() as client:
        client.select_folder("Sent")
        while True:
            found = client.search(["HEADER", "Message-ID", f"<{identifier}@"])
            flags = client.get_flags(found)[found[0]] if found else ()
            if {flag for flag in flags if flag.startswith(b"$MSS")} == wanted:
                return
            assert time.monotonic() < deadline, flags
            client.noop()


def notice(identifier: str, text: str) -> bytes:
    return (
        f"From: MAILER-DAEMON@{PATIENT_DOMAIN}\r\nTo: {ZOE}\r\n"
        "Subject: =?utf-8?q?Message_non_distribu=C3=A9?=\r\nAuto-Submitted: auto-replied\r\n"
        f"Message-ID: <notice-{identifier}@{PATIENT_DOMAIN}>\r\n"
        f"In-Reply-To: <{identifier}@reference.test>\r\nMIME-Version: 1.0\r\n"
        "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        f"{text}\r\n"
    ).encode()


@pytest.mark.requirement("SEED-78", "SEED-79", "OP-93")
def test_a_notice_of_mon_espace_sante_shows_in_the_inbox_and_on_the_sent_item(
    bench: Bench,
) -> None:
    key = "non-active"
    queue_id = bench.submit(PATIENT, letters(str(ZOE), PATIENT, key)["patient"])
    bench.taken("Espace santé", key)
    space = bench.partners["Espace santé"]
    octets = notice(key, "Le destinataire n'a pas encore activé son espace.")
    assert bench.bring(space, "", octets).startswith("250 2.0.0")
    assert bench.inbox(f"notice-{key}").endswith(octets)
    outcome_in_sent(bench, key, {b"$MSSPatient", b"$MSSFailed"})
    told = bench.site.home.mssmtp("explain", queue_id)
    assert (
        "199**********79@patient.test: Pas remis : le patient n'a pas activé Mon espace santé"
        in told.out
    )
    machine = bench.site.home.mssmtp("explain", queue_id, "--json").json
    (one,) = machine["became"]
    assert [(step["event"], step["cause"]) for step in one["steps"]] == [
        ("relais", ""),
        ("rejet", "patient-not-activated"),
    ]
    assert PATIENT not in told.out


@pytest.mark.requirement("CL-63", "CL-64", "DEF-17")
def test_delivery_and_reading_at_a_partner_show_on_the_sent_item(bench: Bench) -> None:
    """The partner offers DSN: our sender's wishes travel, and its reports come back."""
    one = bench.partners["PandaLab"]
    key, to = "remis-et-lu", f"expert@{one.domain}"
    queue_id = bench.submit(
        to, letters(str(ZOE), to, key)["report"], ("NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;" + to)
    )
    bench.taken("PandaLab", key)
    said = [line for session in one.peer.sessions for line in session.commands]
    assert any("NOTIFY=" in line and "ORCPT=" in line for line in said), said
    common = (
        f"From: <{to}>\r\nTo: {ZOE}\r\nSubject: {{0}}\r\nMessage-ID: <{{0}}-{key}@panda.test>\r\n"
        "MIME-Version: 1.0\r\nContent-Type: multipart/report; boundary=r\r\n\r\n"
        "--r\r\n\r\n{0}\r\n--r\r\nContent-Type: message/{1}\r\n\r\n{2}\r\n"
        f"--r\r\nContent-Type: text/rfc822-headers\r\n\r\nMessage-ID: <{key}@reference.test>\r\n"
        "--r--\r\n"
    )
    status = f"Reporting-MTA: dns; x\r\n\r\nFinal-Recipient: rfc822; {to}\r\nAction: delivered\r\n"
    delivered = common.format("remis", "delivery-status", status + "Status: 2.0.0\r\n")
    assert bench.bring(one, "", delivered.encode()).startswith("250 2.0.0")
    outcome_in_sent(bench, key, {b"$MSSDelivered"})
    read = f"Final-Recipient: rfc822; {to}\r\nOriginal-Message-ID: <{key}@reference.test>\r\n"
    read += "Disposition: manual-action/MDN-sent-manually; displayed\r\n"
    seen = common.format("lu", "disposition-notification", read)
    assert bench.bring(one, "", seen.encode()).startswith("250 2.0.0")
    outcome_in_sent(bench, key, {b"$MSSDelivered", b"$MSSRead"})
    assert f"{to}: Lu par le destinataire." in bench.site.home.mssmtp("explain", queue_id).out


@pytest.mark.requirement("SEED-68", "SEED-79")
def test_a_partners_refusal_shows_on_the_sent_item(bench: Bench) -> None:
    one = bench.partners["Easycrypt"]
    to, key = f"correspondant@{one.domain}", "refus-montre"
    octets = letters(str(ZOE), to, key)["hospital to pharmacy"] + b"x" * 900 + b"\r\n" * LITTLE
    queue_id = bench.submit(to, octets)
    outcome_in_sent(bench, key, {b"$MSSFailed"})
    told = bench.site.home.mssmtp("explain", queue_id).out
    assert f"{to}: Pas remis : le message est trop volumineux" in told
