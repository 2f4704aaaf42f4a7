"""`mssmtp queue retry|hold|release|drop`: decisions about what waits, each in the ledger."""

from __future__ import annotations

import getpass
import os
from typing import Annotated

import typer

from mssmtp import app as server
from mssmtp import queueing as room
from mssmtp.cli import options, progress
from mssmtp.cli.output import EXIT_USAGE, fail, out, print_json
from mssmtp.mail import Domain, EnvelopeId
from mssmtp.storage import Decision, Store

Ids = Annotated[
    list[str] | None, typer.Argument(metavar="QUEUE_ID...", help="As `queue list` prints them.")
]
OfDomain = Annotated[
    str | None, typer.Option("--domain", help="Everything that waits for this domain.")
]
Everything = Annotated[bool, typer.Option("--all", help="Everything that waits.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; written to the ledger.")]

_DONE: dict[Decision, str] = {
    "retried": "made due",
    "held": "held",
    "released": "released",
    "dropped": "dropped",
}


def retry(
    queue_ids: Ids = None,
    domain: OfDomain = None,
    reason: Reason = "",
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Try waiting recipients now; everything when no id and no domain is given.

    What is held, and what its sender wants later, is tried only when its id is given.
    """
    everything = not queue_ids and domain is None
    _act("retried", (queue_ids, domain, everything), reason, config, as_json=as_json)


def hold(
    queue_ids: Ids = None,
    domain: OfDomain = None,
    everything: Everything = False,
    reason: Reason = "",
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Stop trying until `release`; nothing is lost, nobody is told."""
    _act("held", (queue_ids, domain, everything), reason, config, as_json=as_json)


def release(
    queue_ids: Ids = None,
    domain: OfDomain = None,
    everything: Everything = False,
    reason: Reason = "",
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Let go what was held."""
    _act("released", (queue_ids, domain, everything), reason, config, as_json=as_json)


def drop(
    queue_ids: Ids = None,
    domain: OfDomain = None,
    everything: Everything = False,
    reason: Annotated[
        str | None, typer.Option("--reason", help="Why; written to the ledger.")
    ] = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Give up messages without a report to their senders; the reason stays in the ledger."""
    if not reason:
        fail(
            "queue drop", "wants a reason", "Say why: --reason; it stays in the ledger.", EXIT_USAGE
        )
    _act("dropped", (queue_ids, domain, everything), reason, config, as_json=as_json)


def _act(
    decision: Decision,
    what: tuple[list[str] | None, str | None, bool],
    reason: str,
    config: options.Config,
    *,
    as_json: bool,
) -> None:
    queue_ids, of, everything = what
    if sum((bool(queue_ids), of is not None, everything)) != 1:
        remedy = "Give queue ids, or --domain, or --all: one of them."
        fail("queue", "it is not clear what is meant", remedy, EXIT_USAGE)
    settings = options.settings(config)
    domain = None if of is None else options.domain_name(of)
    note = f"{_who()}: {reason}" if reason else _who()
    with server.store_of(settings) as store, progress.bars(as_json=as_json) as told:
        if queue_ids:
            ids = [EnvelopeId(each) for each in queue_ids]
        else:
            ids = _waiting(store, domain, held=decision == "released")
        count = room.decide(
            store,
            ids,
            decision,
            (note, server.CLOCK.now()),
            lambda done: told(decision, done, len(ids)),
            are_named=bool(queue_ids),
        )
    if not count and queue_ids:
        why = "is not held" if decision == "released" else "has no waiting recipient"
        fail(queue_ids[0], why, "`mssmtp queue list` prints what waits.")
    if as_json:
        named = queue_ids[0] if queue_ids and len(queue_ids) == 1 else None
        print_json({"queue_id": named, "recipients": count})
    else:
        out.print(f"{count} recipient(s) {_DONE[decision]}.")


def _waiting(store: Store, domain: Domain | None, *, held: bool) -> list[EnvelopeId]:
    return list(room.letters(store, domain, held=held))


def _who() -> str:
    """Of this machine, for the ledger."""
    return os.environ.get("SUDO_USER") or getpass.getuser()
