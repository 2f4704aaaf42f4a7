"""What the demo prints for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from mssmtp.demo.attempts import Refused
from mssmtp.demo.incidents import INCIDENT_NAMES
from mssmtp.demo.portal import USUAL
from mssmtp.demo.proof import Proof
from mssmtp.demo.space import CARD_PIN, INCIDENTS, Laid, Login, Space, first_doctor
from mssmtp.home import Missing
from mssmtp.mail import BalType


def proof(console: Console, proven: Proof) -> None:
    """The steps of the main job, each with the names that bind it."""
    table = Table(title="A letter crossed two operators", title_justify="left", show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    for step, value in (
        ("from, to", f"{proven.sender} → {proven.recipient}"),
        ("submitted", proven.submission_reply),
        ("queue id at A", proven.queue_id),
        ("mutual TLS", proven.tls),
        ("B's certificate, seen by A", proven.peer_certificate),
        ("A's certificate, seen by B", proven.client_certificate),
        ("whitelist row that binds B", proven.whitelist_row),
        ("list of, CRL number", f"{proven.list_date}, {proven.crl_number}"),
        ("B's reply (delivery notice)", proven.relay_reply),
        ("read over IMAP at B", f"UID {proven.uid}, octet for octet"),
        ("attachment SHA-256", proven.attachment_sha256),
        ("found in clear on any disk", ", ".join(proven.in_clear) or "nothing: sealed"),
        ("submission to notification", f"{proven.seconds:.3f} s"),
    ):
        table.add_row(step, value)
    for where, events in (("ledger at A", proven.events_at_a), ("ledger at B", proven.events_at_b)):
        for event in events:
            table.add_row(where, event)
    console.print(table)


def refusals(console: Console, refused: Sequence[Refused]) -> None:
    """The hostile operator's attempts."""
    table = Table(title="A hostile operator was refused", title_justify="left")
    for column in ("attempt", "reply"):
        table.add_column(column, overflow="fold")
    for item in refused:
        table.add_row(item.attack, item.reply)
    console.print(table)


def settings(console: Console, space: Space) -> None:
    """Ready to paste into Thunderbird or Outlook, and one-liners for a terminal."""
    for name in ("hopital-a", "cabinet-b"):
        laid = space.operator(name)
        login = first_doctor(laid)
        listen = laid.settings.listen
        assert listen.imaps is not None  # noqa: S101 - the demo opens every door
        assert listen.submissions is not None  # noqa: S101
        assert listen.sieve is not None  # noqa: S101
        table = Table(
            title=f"Mail client settings, {name}", title_justify="left", show_header=False
        )
        table.add_column()
        table.add_column(overflow="fold")
        for what, value in (
            ("address, user name", str(login.bal.address)),
            ("app password", login.password),
            ("IMAP", f"localhost, port {listen.imaps.port}, SSL/TLS, normal password"),
            ("ManageSieve", f"localhost, port {listen.sieve.port}, STARTTLS"),
            ("SMTP", f"localhost, port {listen.submissions.port}, SSL/TLS, normal password"),
            ("authority to import once", str(space.ca_file)),
        ):
            table.add_row(what, value)
        console.print(table)
    for line in one_liners(space):
        console.print(line, soft_wrap=True, markup=False)
    console.print(_system(space), soft_wrap=True, markup=False)
    console.print(_portal(space), soft_wrap=True, markup=False)
    magic = ", ".join(f"{name}@" for name in INCIDENT_NAMES)
    console.print(f"Write to {magic} of {INCIDENTS} and the incident happens.", soft_wrap=True)
    console.print(f"Everything else is in {space.directory}/manifest.json", soft_wrap=True)


def _system(space: Space) -> str:
    """Where a patient record system logs in, and by what."""
    a = space.operator("hopital-a")
    box = next(each.bal.address for each in a.logins if each.bal.type is BalType.APP)
    return (
        f"A system opens {box} by certificate (EXTERNAL): {space.system.certificate_file},"
        f" IMAP localhost:{_port(a, 'app_imaps')}, SMTP localhost:{_port(a, 'app_submissions')},"
        " SSL/TLS"
    )


def _portal(space: Space) -> str:
    """Where a holder logs in with a browser, and where her mail lies."""
    url = space.operator("hopital-a").settings.notices.portal_url
    return (
        f"{USUAL} has been sent a link to activate her account on {url} (hopital-a): it is in"
        f" {space.service_mail}, and so will be the codes of her logins. Her CPx card, to be taken"
        f" in by a browser: {space.card_file}, PIN {CARD_PIN}."
    )


def one_liners(space: Space) -> tuple[str, str]:
    """An openssl and a swaks command that work as they are."""
    a, b = space.operator("hopital-a"), space.operator("cabinet-b")
    sender: Login = first_doctor(a)
    to: Login = first_doctor(b)
    return (
        f"openssl s_client -connect localhost:{_port(a, 'imaps')} -CAfile {space.ca_file}"
        " -verify_return_error -quiet",
        f"swaks --server localhost:{_port(a, 'submission')} --tls --tls-ca-path {space.ca_file}"
        f" --auth-user {sender.bal.address} --auth-password {sender.password}"
        f" --from {sender.bal.address} --to {to.bal.address}",
    )


def _port(laid: Laid, door: str) -> int:
    return int(getattr(laid.settings.listen, door).port)


def operators(console: Console, space: Space) -> None:
    """Who is in the space."""
    table = Table(title="The trust space", title_justify="left")
    for column in ("operator", "domains", "port 25 is", "in the signed list"):
        table.add_column(column, overflow="fold")
    for laid in space.operators:
        table.add_row(
            laid.plan.name,
            ", ".join(laid.plan.domains),
            str(_port(laid, "operators")),
            ", ".join(laid.plan.listed) or "no",
        )
    console.print(table)


def checklist(console: Console, lacking: Sequence[Missing]) -> None:
    """What a real operator still lacks."""
    table = Table(title="What a real operator still lacks", title_justify="left")
    for column in ("what", "how to get it"):
        table.add_column(column, overflow="fold")
    for item in lacking:
        table.add_row(item.what, item.remedy)
    console.print(table)
