"""`mssmtp bal quota`, `sent-copy`, `readings`: what a box may hold and keeps; who read what."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

import typer

from mssmtp import app as server
from mssmtp.cli import options
from mssmtp.cli.output import out, print_json, print_table
from mssmtp.errors import ConfigError
from mssmtp.mail import Bal
from mssmtp.storage import Reading, Writing
from mssmtp.storage.quotas import Room

BoxAddress = Annotated[str, typer.Argument(metavar="ADDRESS", help="Address of the box.")]
_UNITS = {"": 1, "k": 1_024, "m": 1_024**2, "g": 1_024**3}
_SIZE = re.compile(r"(\d{1,15})([kmg]?)i?b?\Z")


def quota(
    address: BoxAddress,
    octets: Annotated[
        str | None, typer.Option("--octets", help="Such as 5G; none; default (the settings').")
    ] = None,
    messages: Annotated[str | None, typer.Option("--messages", help="A number, or none.")] = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """What a box holds and may hold; with --octets or --messages it is changed first."""
    sizes, count = _limit("--octets", octets), _limit("--messages", messages)

    def job(writing: Writing) -> None:
        bal = _box(writing, address)
        kept = writing.quota(bal.id)
        most_octets = kept[0] if octets is None else sizes
        writing.set_quota(bal.id, most_octets, kept[1] if messages is None else count)

    with server.store_of(options.settings(config)) as store:
        if octets is not None or messages is not None:
            store.write(job).result()
        room = store.read(lambda reading: reading.room(_box(reading, address).id)).result()
    _print_room(address, room, as_json=as_json)


def _print_room(address: str, room: Room, *, as_json: bool) -> None:
    if as_json:
        limits = {"most_octets": room.most_octets, "most_messages": room.most_messages}
        used = {"octets": room.octets, "messages": room.messages}
        print_json({"address": address, **used, **limits})
        return
    rows = (
        ("octets", room.octets, room.most_octets or "no limit"),
        ("messages", room.messages, room.most_messages or "no limit"),
    )
    print_table(f"Room of {address}", ("of", "used", "limit"), rows)


def _limit(option: str, text: str | None) -> int | None:
    """0 is no limit, None the settings' own."""
    if text is None or text == "default":
        return None
    if text == "none":
        return 0
    found = _SIZE.match(text.lower())
    if found is None or not int(found[1]):
        raise ConfigError(
            option, f"{text} is no size", "Write a number such as 5G, or none, or default."
        )
    return int(found[1]) * _UNITS[found[2]]


def sent_copy(
    address: BoxAddress,
    on: Annotated[
        bool | None,
        typer.Option("--on/--off", help="Whether a copy is filed in Sent at submission."),
    ] = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Whether what is sent from a box is filed in its Sent (CL-80); with --on or --off, changed.

    A mail client that files its own copy makes no second one. Software that sends much may want
    none.
    """
    with server.store_of(options.settings(config)) as store:
        if on is not None:
            store.write(lambda w: w.set_sent_copy(_box(w, address).id, on=on)).result()
        is_on = store.read(lambda reading: _box(reading, address).keeps_sent).result()
    if as_json:
        print_json({"address": address, "sent_copy": is_on})
    else:
        what = "is filed in Sent" if is_on else "is not kept"
        out.print(f"What is sent from {address} {what}.", markup=False)


def readings(
    address: BoxAddress,
    days: Annotated[int, typer.Option("--days", min=1, help="Of so many days.")] = 7,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Who fetched (releve) and who has seen (lu) which message, once for each person and day."""

    def query(reading: Reading) -> list[dict[str, object]]:
        since = server.CLOCK.now() - timedelta(days=days - 1)
        return [
            {
                "at": event.at.isoformat(timespec="seconds"),
                "kind": event.kind,
                "person": reading.account_login(event.account) or f"account {event.account}",
                "message": event.message,
                "queue_id": event.envelope,
            }
            for event in reading.reading_events(_box(reading, address).id, since)
        ]

    with server.store_of(options.settings(config)) as store:
        rows = store.read(query).result()
    if as_json:
        print_json(rows)
    elif not rows:
        out.print("Nothing was read.", markup=False)
    else:
        shown = [tuple("" if cell is None else cell for cell in row.values()) for row in rows]
        print_table(f"Readings of {address}", tuple(rows[0]), shown)


def _box(reading: Reading, address: str) -> Bal:
    bal = reading.bal(options.address(address))
    if bal is None:
        raise ConfigError(address, "is no box here", "`mssmtp bal list` prints them.")
    return bal
