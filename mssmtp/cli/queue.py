"""`mssmtp queue`: what waits for other operators, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from typing import Annotated

import typer

from mssmtp import app as server
from mssmtp import queueing as room
from mssmtp.cli import options, queue_act
from mssmtp.cli.output import (
    EXIT_USAGE,
    fail,
    machine_names,
    out,
    print_json,
    print_table,
)
from mssmtp.config import Settings
from mssmtp.mail import Domain, EnvelopeId, masked, masked_text
from mssmtp.storage import QUEUE_BEGIN, Backlog, Owner, QueueEntry, QueuePlace, Reading

app = typer.Typer(
    help="Outbound queue: list, show, why, top; retry, hold, release, drop.", no_args_is_help=True
)
for _command in (queue_act.retry, queue_act.hold, queue_act.release, queue_act.drop):
    app.command()(_command)

_LISTED = ("queue_id", "recipient", "next_attempt", "attempts", "state", "last_reply")
_AGES = ("5 min", "1 h", "4 h", "24 h", "older")

QueueId = Annotated[str, typer.Argument(help="Queue id, as printed by `queue list`.")]


def _shown(entry: QueueEntry, settings: Settings) -> dict[str, object]:
    patients = frozenset(settings.policy.patient_domains)
    sender = masked(entry.sender, patients) if entry.sender else "<>"
    return {
        "queue_id": entry.envelope,
        "place": f"{entry.envelope}:{entry.position}",
        "sender": sender,
        "recipient": masked(entry.recipient.address, patients),
        "queued_at": entry.queued_at.isoformat(timespec="seconds"),
        "next_attempt": entry.next_attempt.isoformat(timespec="seconds"),
        "attempts": entry.attempts,
        "state": _state(entry),
        "size_octets": entry.size_octets,
        "last_reply": masked_text(entry.last_reply or "", patients),
        **_wishes(entry),
    }


def _wishes(entry: QueueEntry) -> dict[str, object]:
    """What the sender asks of the way, as far as it does."""
    wishes: dict[str, object] = {}
    if entry.priority:
        wishes["priority"] = entry.priority
    if entry.hold_until is not None:
        wishes["hold_until"] = _time(entry.hold_until)
    if entry.deliver_by is not None:
        wishes["deliver_by"] = _time(entry.deliver_by.deadline)
        wishes["if_late"] = "returned" if entry.deliver_by.mode == "R" else "sender told"
    if entry.require_tls:
        wishes["require_tls"] = True
    return wishes


def _time(at: datetime) -> str:
    return at.isoformat(timespec="seconds")


def _state(entry: QueueEntry) -> str:
    if entry.damaged:
        return "damaged"
    return "held" if entry.held else "in delivery" if entry.leased_by else "waiting"


@app.command("list")
def list_(
    domain: Annotated[str | None, typer.Option("--domain", help="Of this domain only.")] = None,
    held: Annotated[bool, typer.Option("--held", help="Only what is held.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="At most.")] = 100,
    after: Annotated[
        str | None, typer.Option("--after", help="Behind this `place` of another page.")
    ] = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Waiting recipients in the order of arrival, page by page."""
    settings = options.settings(config)
    place = _place(after)
    of = None if domain is None else options.domain_name(domain)
    with server.store_of(settings) as store:
        entries, following = store.read(
            lambda r: r.queue_page(place, limit, domain=of, held=held)
        ).result()
    rows = [_shown(entry, settings) for entry in entries]
    if as_json:
        print_json(rows)
    elif not rows:
        out.print("The queue is empty." if after is None and not (of or held) else "Nothing more.")
    else:
        print_table("Queue", _LISTED, [tuple(row[name] for name in _LISTED) for row in rows])
        if following is not None:
            out.print(f"More: --after {following.envelope}:{following.position}", markup=False)


def _place(text: str | None) -> QueuePlace:
    if text is None:
        return QUEUE_BEGIN
    envelope, _, position = text.partition(":")
    if not position.isascii() or not position.isdigit():
        fail("--after", "wants a place, ID:NUMBER", "`queue list` prints it.", EXIT_USAGE)
    return QueuePlace(EnvelopeId(envelope), int(position))


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
            "rewritten": ", ".join(f"{typed} -> {used}" for typed, used in hop.typed),
        }
        for hop in hops
    ]
    failing = {entry.recipient.address.domain for entry in entries if entry.last_reply}
    contacts = _contacts(settings, sorted(failing)) if failing else []
    plans = [_plan(entry, settings) for entry in entries if not entry.damaged]
    if as_json:
        told = {"waiting": recipients, "schedule": plans, "hops": traces, "contacts": contacts}
        print_json({"queue_id": queue_id} | told)
        return
    shown = (
        ("Waiting", recipients),
        ("If every attempt fails", plans),
        ("Hops", traces),
        ("Whom to call", contacts),
    )
    for title, rows in shown:
        if rows:
            names = tuple(dict.fromkeys(name for row in rows for name in row))
            print_table(title, names, [tuple(row.get(each) for each in names) for row in rows])


def _plan(entry: QueueEntry, settings: Settings) -> dict[str, object]:
    """The schedule of one recipient (OP-18)."""
    times = room.schedule(entry, settings.queue)
    patients = frozenset(settings.policy.patient_domains)
    return {
        "recipient": masked(entry.recipient.address, patients),
        "attempts": len(times),
        "next": [_time(each) for each in times[:5]],
        "given_up": _time(times[-1]),
    }


def _contacts(settings: Settings, domains: Sequence[Domain]) -> list[dict[str, object]]:
    """What the list says of these domains, for our people when delivery fails (OP-80)."""
    trust = server.stored_trust(settings)
    return [{"domain": domain, **found} for domain in domains if (found := trust.contact(domain))]


@app.command()
def why(
    what: Annotated[str, typer.Argument(metavar="QUEUE_ID|DOMAIN", help="What waits.")],
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Why a message waits, or the first ones of a domain, and what can be done."""
    settings = options.settings(config)
    with server.store_of(settings) as store:
        found = store.read(_entries_of(what)).result()
        if not found:
            remedy = "`mssmtp queue list` prints what waits; `mssmtp explain` what became of it."
            fail(what, "nothing waits under this name", remedy)
        around = [store.read(partial(room.looked_at, entry=entry)).result() for entry in found]
    listed = server.stored_trust(settings).snapshot
    patients = frozenset(settings.policy.patient_domains)
    rows: list[dict[str, object]] = []
    for entry, looked in zip(found, around, strict=True):
        known = room.Around(
            server.CLOCK.now(),
            settings.queue,
            looked.ahead,
            looked.said,
            listed.lists(entry.recipient.address.domain),
            looked.note,
            looked.sender,
            looked.is_stopped,
            UTC if as_json else settings.operator.zone,
        )
        told = room.why(entry, known)
        rows.append(
            {
                "queue_id": entry.envelope,
                "recipient": masked(entry.recipient.address, patients),
                "cause": told.cause,
                "why": masked_text(told.sentence, patients),
                "remedy": told.remedy,
            }
        )
    if as_json:
        print_json(rows)
        return
    for row in rows:
        out.print(f"{row['queue_id']} {row['recipient']}: {row['why']}.", markup=False)
        out.print(f"  {row['remedy']}", markup=False)


def _entries_of(what: str) -> Callable[[Reading], tuple[QueueEntry, ...]]:
    if "." in what:
        domain = options.domain_name(what)
        return lambda r: r.queue_page(QUEUE_BEGIN, 10, domain=domain)[0]
    return lambda r: r.queue_entry(EnvelopeId(what))


@app.command()
def top(
    senders: Annotated[
        bool, typer.Option("--senders", help="By who waits, not by whom for.")
    ] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="At most.")] = 20,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Where most recipients wait, by age: one line per domain, or per sending box."""
    settings = options.settings(config)
    now = server.CLOCK.now()

    def look(reading: Reading) -> list[dict[str, object]]:
        found = reading.queue_senders(now, limit) if senders else reading.queue_top(now, limit)
        return [_backlog(each, _named(reading, each.of, settings)) for each in found]

    with server.store_of(settings) as store:
        rows = store.read(look).result()
    if as_json:
        print_json([machine_names(row) for row in rows])
    elif not rows:
        out.print("The queue is empty.")
    else:
        print_table("Queue, longest first", tuple(rows[0]), [tuple(r.values()) for r in rows])


def _named(reading: Reading, owner: Owner, settings: Settings) -> str:
    if isinstance(owner, str):
        return owner
    box = reading.bal_by_id(owner)
    patients = frozenset(settings.policy.patient_domains)
    return masked(box.address, patients) if box is not None else f"box {owner}"


def _backlog(backlog: Backlog, name: str) -> dict[str, object]:
    """Ages as Postfix's qshape shows them: how many waited for at most so long."""
    cut = (0, *backlog.younger_than, backlog.waiting)
    ages = (high - low for low, high in pairwise(cut))
    return {
        "name": name,
        "waiting": backlog.waiting,
        **dict(zip(_AGES, ages, strict=True)),
        "held": backlog.held,
        "in_delivery": backlog.leased,
        "oldest": _time(backlog.oldest),
        "next_attempt": _time(backlog.due) if backlog.due is not None else "",
    }
