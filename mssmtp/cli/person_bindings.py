"""`mssmtp person boxes` and `person binding`: what a person opens, and by which identities."""

from __future__ import annotations

from typing import Annotated

import typer

from mssmtp.asking import Row
from mssmtp.cli import options
from mssmtp.cli.output import out, print_json, print_rows

app = typer.Typer(help="Identities bound to an account (e-CPS, card).", no_args_is_help=True)

Person = Annotated[
    str, typer.Argument(metavar="PERSON", help="Usual address, or login, of the person.")
]


def boxes(person: Person, config: options.Config = None, as_json: options.Json = False) -> None:
    """Which boxes a person may open, own first, and the rights there."""
    rows = options.desk(config).rows("person.boxes", {"person": person})
    print_rows(f"Boxes of {person}", rows, "None.", as_json=as_json)


@app.command("list")
def list_(person: Person, config: options.Config = None, as_json: options.Json = False) -> None:
    """Identities bound to the account, ended ones too."""
    rows = options.desk(config).rows("person.binding.list", {"person": person})
    print_rows(f"Bindings of {person}", rows, "None is bound.", as_json=as_json)


@app.command()
def remove(
    person: Person,
    number: Annotated[int, typer.Argument(help="As `list` prints it.")],
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """End a binding; open sessions end at their next command."""
    given: Row = {"person": person, "number": number}
    done = options.desk(config).row("person.binding.remove", given)
    if as_json:
        print_json(done)
    else:
        out.print(f"Binding {number} of {person} has ended.", markup=False)
