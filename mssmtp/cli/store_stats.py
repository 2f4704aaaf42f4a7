"""`mssmtp store stats`: what the store holds and what fills it. Ids and numbers, no address."""

from __future__ import annotations

from dataclasses import asdict

from mssmtp import app as server
from mssmtp.cli import options
from mssmtp.cli.output import machine_names, print_json, print_table
from mssmtp.storage.stats import StoreStats

_UNITS = ("octets", "KiB", "MiB", "GiB", "TiB")


def stats(config: options.Config = None, as_json: options.Json = False) -> None:
    """Sizes by kind, counts, the largest mailboxes by id, schema, engine, ids of the keys."""
    settings = options.settings(config)
    with server.store_of(settings) as store:
        found = store.stats()
    if as_json:
        named = {"octets": machine_names(found.octets), "rows": machine_names(found.rows)}
        print_json(asdict(found) | named)
    else:
        _print(found)


def _print(found: StoreStats) -> None:
    key = found.master_key
    if found.older_master_key is not None:
        key += f", replacing {found.older_master_key}"
    told = [("engine", found.engine), ("schema", found.schema), ("master key", key)]
    if found.oldest_queued is not None:
        told.append(("oldest in queue", found.oldest_queued.isoformat(timespec="seconds")))
    print_table("Store", ("what", "value"), told)
    octets = [(kind, _size(octets)) for kind, octets in found.octets.items()]
    print_table("On disk", ("kind", "size"), octets)
    rows = [*found.rows.items(), ("octets of messages", _size(found.message_octets))]
    print_table("Holds", ("what", "how many"), rows)
    largest = [
        (each.mailbox, each.bal, each.messages, each.unseen, _size(each.octets))
        for each in found.largest
        if each.messages
    ]
    if largest:
        columns = ("mailbox", "bal", "messages", "unseen", "size")
        print_table("Largest mailboxes", columns, largest)


def _size(octets: int) -> str:
    """For people; --json has the octets."""
    size, unit = float(octets), 0
    while size >= 1_024 and unit < len(_UNITS) - 1:
        size, unit = size / 1_024, unit + 1
    return f"{size:.0f} {_UNITS[unit]}" if unit == 0 else f"{size:.1f} {_UNITS[unit]}"
