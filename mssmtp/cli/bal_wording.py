"""`mssmtp bal auto-reply`, `signature`, `xdm`, `mssmtp structure templates`: what boxes say."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from mssmtp.asking import Row
from mssmtp.cli import options
from mssmtp.cli.output import out, print_json, print_table
from mssmtp.errors import ConfigError

BoxAddress = Annotated[str, typer.Argument(metavar="ADDRESS", help="Address of the box.")]
File = Annotated[
    Path | None, typer.Option("--file", help="File with the text, in UTF-8; - for standard input.")
]
_MOST_OCTETS = 65_536
_DATES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M"]


def auto_reply(
    address: BoxAddress,
    text: Annotated[str | None, typer.Option("--text", help="What is answered.")] = None,
    file: File = None,
    subject: Annotated[
        str, typer.Option("--subject", help="In place of « Auto: » and that of the letter.")
    ] = "",
    since: Annotated[
        datetime | None, typer.Option("--from", formats=_DATES, help="First day, local time.")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option("--until", formats=_DATES, help="Last day, or when it ends.")
    ] = None,
    off: Annotated[bool, typer.Option("--off", help="Answer no more.")] = False,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Have a box answer by itself (SEED-44): once a person in four days, never to lists, reports or
    software, inside the trust space only. Without a text, show what is set."""
    said = _text(text, file)
    operation, given = "bal.auto-reply", Row(address=address)
    if off:
        operation = "bal.auto-reply.stop"
    elif said is not None:
        operation = "bal.auto-reply.set"
        given |= {
            "text": said,
            "subject": subject,
            "since": _at(since, config),
            "until": _at(_through(until), config),
        }
    _print("Automatic reply", options.desk(config).row(operation, given), as_json=as_json)


def signature(
    address: BoxAddress,
    text: Annotated[str | None, typer.Option("--text", help="The signature.")] = None,
    file: File = None,
    off: Annotated[bool, typer.Option("--off", help="That of the structure again.")] = False,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """The signature and the report footer offered to who writes from a box (SEED-45); the server
    adds neither to a letter. With a text, give the box a signature of its own."""
    said = "" if off else _text(text, file)
    desk = options.desk(config)
    if said is not None:
        desk.row("bal.signature.set", {"address": address, "text": said})
    _print("Offered", desk.row("bal.signature", {"address": address}), as_json=as_json)


def xdm(
    address: BoxAddress,
    to: Annotated[str | None, typer.Option("--to", help="The APP box of the software.")] = None,
    off: Annotated[bool, typer.Option("--off", help="No more.")] = False,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Have an ORG box send letters with an IHE_XDM.zip, or a subject XDM/1.0/DDM, to an APP box
    too, which is asked for a receipt (CL-72)."""
    if (to is None) is not off:
        raise ConfigError("xdm", "aucune boîte APP n'est nommée", "Donnez --to ADRESSE, ou --off.")
    done = options.desk(config).row("bal.xdm", {"address": address, "application": to})
    if as_json:
        print_json(done)
    elif to is None:
        out.print(f"{address} keeps its XDM letters to itself.", markup=False)
    else:
        out.print(f"XDM letters of {address} go to {to} too.", markup=False)


def templates(
    structure: Annotated[str, typer.Argument(help="FINESS or SIRET.")],
    kind: Annotated[
        str | None, typer.Option("--kind", help="signature, or footer (of reports).")
    ] = None,
    text: Annotated[str | None, typer.Option("--text", help="The template.")] = None,
    file: File = None,
    off: Annotated[bool, typer.Option("--off", help="None any more.")] = False,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Templates that a structure gives its boxes (SEED-45). In them {prénom}, {nom}, {profession},
    {structure} and {adresse} stand for those of who writes."""
    said = "" if off else _text(text, file)
    desk = options.desk(config)
    if said is not None:
        if kind is None:
            raise ConfigError("--kind", "manque", "Donnez --kind signature ou --kind footer.")
        given: Row = {"structure": structure, "kind": kind, "text": said}
        desk.row("structure.template.set", given)
    found = desk.row("structure.templates", {"structure": structure})
    _print("Templates", found, as_json=as_json)


def _print(title: str, row: Row, *, as_json: bool) -> None:
    if as_json:
        print_json(row)
    else:
        print_table(title, ("what", "value"), [(name, row[name]) for name in row])


def _through(day: datetime | None) -> datetime | None:
    """A day is told as the last one of an absence, not as the moment it begins."""
    is_day = day is not None and (day.hour, day.minute) == (0, 0)
    return day.replace(hour=23, minute=59, second=59) if day is not None and is_day else day


def _at(given: datetime | None, config: options.Config) -> str | None:
    """What was typed is of the operator's clock."""
    return None if given is None else given.replace(tzinfo=options.zone(config)).isoformat()


def _text(text: str | None, file: Path | None) -> str | None:
    """None: nothing is to be changed. Raises ConfigError."""
    if file is None:
        return text
    if text is not None:
        raise ConfigError("--file", "dit la même chose que --text", "Donnez l'un des deux.")
    try:
        if str(file) == "-":
            return sys.stdin.read(_MOST_OCTETS)
        with file.open(encoding="utf-8") as opened:
            return opened.read(_MOST_OCTETS)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            str(file), "ne se lit pas", "Nommez un fichier de texte en UTF-8."
        ) from error
