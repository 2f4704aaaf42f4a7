"""`mssmtp policy`: the rules as they stand, and a change of them tried before it counts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mssmtp import app as server
from mssmtp.cli import options
from mssmtp.cli.output import EXIT_TROUBLE, out, print_json, print_table
from mssmtp.cli.progress import bars
from mssmtp.config import Settings, load
from mssmtp.policy import Engine, Moves
from mssmtp.policy.matrix import COLUMNS, rows
from mssmtp.rehearsal import Rehearsal, rehearsed

app = typer.Typer(help="Who may write to whom, and what else is decided.", no_args_is_help=True)


@app.command()
def show(config: options.Config = None, as_json: options.Json = False) -> None:
    """The table of who may write to whom, with the line that grants; what is relaxed."""
    settings = options.settings(config)
    engine = _engine(settings)
    found = [dict(zip(_KEYS, row.cells, strict=True)) for row in rows(engine.habilitation)]
    if as_json:
        told = {"habilitation": found, "beyond": engine.opened_beyond}
        print_json(
            told | {"relaxed": engine.relaxed_rules, "domain_rules": _domain_rules(settings)}
        )
        return
    print_table("Who may write to whom", COLUMNS, [tuple(row.values()) for row in found])
    if ruled := _domain_rules(settings):
        columns = ("domain", "action", "what")
        print_table("Domains", columns, [tuple(each.values()) for each in ruled])
    for opened in engine.opened_beyond:
        out.print(f"Beyond the shipped table: {opened}.", markup=False)
    for rule in engine.relaxed_rules:
        out.print(f"Relaxed: {rule}.", markup=False)


_KEYS = tuple(name.replace(" ", "_") for name in COLUMNS)


def _domain_rules(settings: Settings) -> list[dict[str, str]]:
    return [
        {
            "domain": rule.domain,
            "action": rule.action,
            "what": rule.to or " ".join(rule.hosts) or rule.reason,
        }
        for rule in sorted(settings.policy.domain_rules, key=lambda rule: rule.domain)
    ]


@app.command("try")
def try_(
    changed: Annotated[
        Path, typer.Argument(metavar="FILE", help="The settings file with the change.")
    ],
    most: Annotated[int, typer.Option("--examples", min=0, max=1000, help="How many.")] = 20,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Ask the rules of another settings file about every letter of the last days (F6).

    Prints whom the change would hit, and exits with 1 when it would stop somebody's letters.
    Nothing is sent or written; letters refused before their content came are not among them.
    """
    settings = options.settings(config)
    now, then = _engine(settings), _engine(load(changed))
    with server.store_of(settings) as store, bars(as_json=as_json) as told:
        found = rehearsed(store, now, then, lambda done, of: told("letters", done, of), most)
    if as_json:
        print_json(_plain(found))
    else:
        _print(found)
    if found.stopped:
        raise typer.Exit(EXIT_TROUBLE)


def _engine(settings: Settings) -> Engine:
    return Engine(settings.policy, settings.limits, Moves.of(settings.domains))


def _plain(found: Rehearsal) -> dict[str, object]:
    return {
        "tried": found.tried,
        "unreadable": found.unreadable,
        "changed": found.changed,
        "ways": [
            {"now": before, "then": after, "letters": count}
            for (before, after), count in found.ways.most_common()
        ],
        "stopped": dict(found.stopped.most_common()),
        "opened": dict(found.opened.most_common()),
        "examples": [
            {
                "envelope": each.envelope,
                "at": each.at.isoformat(timespec="seconds"),
                "author": each.author,
                "recipients": each.recipients,
                "now": each.before,
                "then": each.after,
            }
            for each in found.examples
        ],
    }


def _print(found: Rehearsal) -> None:
    out.print(f"{found.tried} letters tried, {found.changed} would fare otherwise.")
    if found.unreadable:
        out.print(f"{found.unreadable} could not be read: their boxes are gone.")
    if not found.changed:
        return
    ways = [(before, after, count) for (before, after), count in found.ways.most_common()]
    print_table("What would change", ("now", "then", "letters"), ways)
    for title, counted in (("Would be stopped", found.stopped), ("Would pass", found.opened)):
        if counted:
            print_table(title, ("box", "letters"), counted.most_common(50))
    shown = [
        (each.envelope, each.at.isoformat(timespec="seconds"), each.author, each.before, each.after)
        for each in found.examples
    ]
    if shown:
        columns = ("queue id", "at", "box", "now", "then")
        print_table("Examples (`mssmtp explain QUEUE-ID`)", columns, shown)
