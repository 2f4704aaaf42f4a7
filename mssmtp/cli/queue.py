"""`mssmtp queue`: what waits for other operators, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from mssmtp import app as server
from mssmtp.cli import options
from mssmtp.cli.output import fail, out, print_json, print_table
from mssmtp.config import Settings
from mssmtp.mail import Domain, EnvelopeId, masked, masked_text
from mssmtp.storage import QueueEntry

app = typer.Typer(help="Outbound queue: list, show, retry, drop.", no_args_is_help=True)

_LISTED = ("queue_id", "recipient", "next_attempt", "attempts", "state", "last_reply")

QueueId = Annotated[str, typer.Argument(help="Queue id, as printed by `queue list`.")]


def _shown(entry: QueueEntry, settings: Settings) -> dict[str, object]:
    patients = frozenset(settings.policy.patient_domains)
    sender = masked(entry.sender, patients) if entry.sender else "<>"
    return {
        "queue_id": entry.envelope,
        "sender": sender,
        "recipient": masked(entry.recipient.address, patients),
        "queued_at": entry.queued_at.isoformat(timespec="seconds"),
        "next_attempt": entry.next_attempt.isoformat(timespec="seconds"),
        "attempts": entry.attempts,
        "state": _state(entry),
        "size_octets": entry.size_octets,
        "last_reply": masked_text(entry.last_reply or "", patients),
    }


def _state(entry: QueueEntry) -> str:
    if entry.damaged:
        return "damaged"
    return "held" if entry.held else "in delivery" if entry.leased_by else "waiting"


@app.command("list")
def list_(config: options.Config = None, as_json: options.Json = False) -> None:
    """Every waiting recipient."""
    settings = options.settings(config)
    with server.store_of(settings) as store:
        rows = [_shown(entry, settings) for entry in store.read(lambda r: r.queue()).result()]
    if as_json:
        print_json(rows)
    elif not rows:
        out.print("The queue is empty.")
    else:
        print_table("Queue", _LISTED, [tuple(row[name] for name in _LISTED) for row in rows])


@app.command()
def show(queue_id: QueueId, config: options.Config = None, as_json: options.Json = False) -> None:
    """One message: its recipients and the hops it has made."""
    settings = options.settings(config)
    envelope = EnvelopeId(queue_id)
    with server.store_of(settings) as store:
        entries, hops = store.read(
            lambda r: (r.queue_entry(envelope), r.transfers(envelope))
        ).result()
    if not entries and not hops:
        fail(queue_id, "is not known here", "`mssmtp queue list` prints what waits.")
    recipients = [_shown(entry, settings) for entry in entries]
    traces = [
        {
            "at": hop.at.isoformat(timespec="seconds"),
            "direction": hop.transfer.direction,
            "peer": hop.transfer.peer_address,
            "peer_dn": hop.transfer.peer_dn,
            "tls": hop.transfer.tls_version,
            "verdict": hop.transfer.verdict,
            "reply": masked_text(hop.transfer.reply, frozenset(settings.policy.patient_domains)),
        }
        for hop in hops
    ]
    failing = {entry.recipient.address.domain for entry in entries if entry.last_reply}
    contacts = _contacts(settings, sorted(failing)) if failing else []
    if as_json:
        told = {"waiting": recipients, "hops": traces, "contacts": contacts}
        print_json({"queue_id": queue_id} | told)
        return
    shown = (("Waiting", recipients), ("Hops", traces), ("Whom to call", contacts))
    for title, rows in shown:
        if rows:
            print_table(title, tuple(rows[0]), [tuple(row.values()) for row in rows])


def _contacts(settings: Settings, domains: Sequence[Domain]) -> list[dict[str, object]]:
    """What the list says of these domains, for our people when delivery fails (OP-80)."""
    trust = server.stored_trust(settings)
    return [{"domain": domain, **found} for domain in domains if (found := trust.contact(domain))]


@app.command()
def retry(
    queue_id: Annotated[str | None, typer.Argument(help="Queue id; all when not given.")] = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Try waiting recipients now."""
    settings = options.settings(config)
    envelope = EnvelopeId(queue_id) if queue_id else None
    with server.store_of(settings) as store:
        now = server.CLOCK.now()
        count = store.write(lambda w: w.retry_now(envelope, now)).result()
    _counted(count, queue_id, "made due", as_json)


@app.command()
def drop(
    queue_id: QueueId,
    reason: Annotated[str, typer.Option("--reason", help="Why; written to the ledger.")],
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Give up a message without a report to its sender; the reason stays in the ledger."""
    settings = options.settings(config)
    with server.store_of(settings) as store:
        count = store.write(lambda w: w.drop(EnvelopeId(queue_id), reason)).result()
    _counted(count, queue_id, "dropped", as_json)


def _counted(count: int, queue_id: str | None, done: str, as_json: bool) -> None:
    if count == 0 and queue_id:
        fail(queue_id, "has no waiting recipient", "`mssmtp queue list` prints what waits.")
    if as_json:
        print_json({"queue_id": queue_id, "recipients": count})
    else:
        out.print(f"{count} recipient(s) {done}.")
