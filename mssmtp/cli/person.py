"""`mssmtp person`: who has an account, where they stand, what they did."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from mssmtp.asking import Row
from mssmtp.cli import (
    exporting,
    options,
    person_activation,
    person_address,
    person_bindings,
    person_notifications,
)
from mssmtp.cli.output import print_json, print_rows, print_table
from mssmtp.mail import BalType

app = typer.Typer(
    help="Persons: create (or add), list, show, change, certify, close, activity, export.",
    no_args_is_help=True,
)
app.command()(person_address.change_usual_address)
app.command()(person_activation.notify)
app.command()(person_activation.finalise)

Person = Annotated[
    str, typer.Argument(metavar="PERSON", help="Usual address, or login, of the person.")
]
InStructure = Annotated[
    str | None, typer.Option("--structure", help="FINESS or SIRET; one's own when left out.")
]
Language = Annotated[str | None, typer.Option("--language", help="fr or en.")]
Rpps = Annotated[str | None, typer.Option("--rpps", help="RPPS, or idNatPS.")]
Profession = Annotated[str | None, typer.Option("--profession", help="Code of TRE_G15.")]
Service = Annotated[str | None, typer.Option("--service", help="Where the person works.")]
Phone = Annotated[str | None, typer.Option("--phone", help="Telephone.")]


app.command()(person_notifications.notifications)
app.command()(person_bindings.boxes)
app.add_typer(person_bindings.app, name="binding")


@app.command("create")
@app.command()
def add(
    usual_address: Annotated[
        str, typer.Argument(metavar="USUAL-ADDRESS", help="Ordinary e-mail address: the login.")
    ],
    last_name: Annotated[str, typer.Option("--last-name", help="Name of exercise.")],
    first_name: Annotated[str, typer.Option("--first-name", help="First name.")],
    structure: InStructure = None,
    type: Annotated[BalType, typer.Option("--type", help="PER, MED or INT.")] = BalType.PER,
    rpps: Rpps = None,
    profession: Profession = None,
    local: Annotated[
        str | None, typer.Option("--local", help="What stands before the @; else OP-44.")
    ] = None,
    service: Service = None,
    phone: Phone = None,
    language: Language = None,
    red_list: Annotated[bool, typer.Option("--red-list", help="Not published (OP-54).")] = False,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Make a person of a structure, pre-registered, with a box."""
    given: Row = {
        "usual_address": usual_address,
        "last_name": last_name,
        "first_name": first_name,
        "structure": structure,
        "type": type.value,
        "national_id": rpps,
        "profession": profession,
        "local": local,
        "service": service,
        "phone": phone,
        "language": language,
        "red_list": red_list,
    }
    _print(options.desk(config).row("person.add", given), as_json=as_json)


@app.command("list")
def list_(
    structure: InStructure = None, config: options.Config = None, as_json: options.Json = False
) -> None:
    """Every person within one's scope."""
    rows = options.desk(config).pages("person.list", {"structure": structure})
    empty = "Nobody yet: mssmtp person add USUAL-ADDRESS --last-name …"
    print_rows("Persons", rows, empty, as_json=as_json)


@app.command()
def export(
    file: exporting.File, structure: InStructure = None, config: options.Config = None
) -> None:
    """Write the list to a file."""
    exporting.write(options.desk(config).pages("person.list", {"structure": structure}), file)


@app.command()
def show(person: Person, config: options.Config = None, as_json: options.Json = False) -> None:
    """A person: profile, state on the ladder with its dates, box."""
    _print(options.desk(config).row("person.show", {"person": person}), as_json=as_json)


@app.command()
def change(
    person: Person,
    last_name: Annotated[str | None, typer.Option("--last-name", help="Another name.")] = None,
    first_name: Annotated[str | None, typer.Option("--first-name", help="Another.")] = None,
    rpps: Rpps = None,
    profession: Profession = None,
    service: Service = None,
    phone: Phone = None,
    language: Language = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Change names, profession or contact; never the usual address."""
    given: Row = {
        "person": person,
        "last_name": last_name,
        "first_name": first_name,
        "national_id": rpps,
        "profession": profession,
        "service": service,
        "phone": phone,
        "language": language,
    }
    _print(options.desk(config).row("person.change", given), as_json=as_json)


@app.command()
def attest(
    person: Person,
    on: Annotated[
        datetime | None, typer.Option("--on", formats=["%Y-%m-%d"], help="Day; today.")
    ] = None,
    takes_part: Annotated[
        bool, typer.Option("--takes-part", help="Takes part in the care of the patient.")
    ] = False,
    strictly_needed: Annotated[
        bool, typer.Option("--strictly-needed", help="Reads only what is strictly needed.")
    ] = False,
    informed: Annotated[
        bool, typer.Option("--informed", help="The patient was told, and may object.")
    ] = False,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Record that a person has affirmed the three conditions of access (SEED-31)."""
    at = (on.replace(tzinfo=UTC) if on else datetime.now(UTC)).isoformat()
    given: Row = {
        "person": person,
        "at": at,
        "takes_part": takes_part,
        "strictly_needed": strictly_needed,
        "informed": informed,
    }
    _print(options.desk(config).row("person.attest", given), as_json=as_json)


@app.command()
def pending(config: options.Config = None, as_json: options.Json = False) -> None:
    """Requests for certification that wait, the oldest first (SEED-36)."""
    rows = options.desk(config).rows("person.pending", {})
    print_rows("Waiting for certification", rows, "Nobody waits.", as_json=as_json)


@app.command()
def request(person: Person, config: options.Config = None, as_json: options.Json = False) -> None:
    """Ask for the certification of somebody registered alone, or refused before."""
    _print(options.desk(config).row("person.request", {"person": person}), as_json=as_json)


@app.command()
def certify(person: Person, config: options.Config = None, as_json: options.Json = False) -> None:
    """Answer a request for certification with yes, once the register confirms."""
    _print(options.desk(config).row("person.certify", {"person": person}), as_json=as_json)


@app.command()
def refuse(
    person: Person,
    reason: Annotated[str, typer.Option("--reason", help="Kept with the refusal.")],
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Answer a request for certification with no."""
    given: Row = {"person": person, "reason": reason}
    _print(options.desk(config).row("person.refuse", given), as_json=as_json)


@app.command()
def suspend(person: Person, config: options.Config = None, as_json: options.Json = False) -> None:
    """Refuse the login and suspend the own box; nothing is deleted."""
    _print(options.desk(config).row("person.suspend", {"person": person}), as_json=as_json)


@app.command()
def resume(person: Person, config: options.Config = None, as_json: options.Json = False) -> None:
    """Undo `suspend`."""
    _print(options.desk(config).row("person.resume", {"person": person}), as_json=as_json)


@app.command()
def close(person: Person, config: options.Config = None, as_json: options.Json = False) -> None:
    """End the activity of a person: login, devices and boxes (OP-49)."""
    _print(options.desk(config).row("person.close", {"person": person}), as_json=as_json)


@app.command()
def activity(
    person: Person,
    most: Annotated[int, typer.Option("--most", min=1, max=1_000, help="Of the newest.")] = 200,
    days: Annotated[
        int, typer.Option("--days", min=0, max=400, help="Of what was read, so many days.")
    ] = 7,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """The log of an account: who did what, when, and what was answered (SEED-48)."""
    rows = options.desk(config).rows(
        "person.activity", {"person": person, "limit": most, "days": days}
    )
    print_rows(f"Activity of {person}", rows, "Nothing yet.", as_json=as_json)


def _print(found: Row, *, as_json: bool) -> None:
    if as_json:
        print_json(found)
    else:
        print_table("Person", ("what", "value"), list(found.items()))
