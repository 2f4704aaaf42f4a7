"""`mssmtp bal member`: who may open the box of an organisation, and as what."""

from __future__ import annotations

from typing import Annotated

import typer

from mssmtp.asking import Row
from mssmtp.cli import options
from mssmtp.cli.output import out, print_json, print_table
from mssmtp.identity.app_password import grouped
from mssmtp.mail import Role

app = typer.Typer(help="Members of an ORG box and their roles.", no_args_is_help=True)

Org = Annotated[str, typer.Argument(metavar="ORG", help="Address of the ORG box.")]
Person = Annotated[str, typer.Argument(metavar="PERSON", help="Login of the person.")]
_ROLES = (
    "lecteur reads; secretaire also files, throws away and writes in the name of the box;"
    " responsable also removes folders and gives rights."
)
AsRole = Annotated[Role, typer.Option("--role", help=_ROLES)]


@app.command()
def add(
    org: Org,
    person: Person,
    role: AsRole = Role.SECRETAIRE,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Let a person open an ORG box; the box appears by itself in the person's mail client."""
    _give("bal.member.add", org, person, role, config, as_json=as_json)


@app.command("set")
def set_(
    org: Org,
    person: Person,
    role: AsRole,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Give a member another role; sessions that are open feel it at their next command."""
    _give("bal.member.set", org, person, role, config, as_json=as_json)


@app.command()
def remove(
    org: Org, person: Person, config: options.Config = None, as_json: options.Json = False
) -> None:
    """End a membership, with everything single mailboxes gave the person."""
    done = options.desk(config).row("bal.member.remove", {"org": org, "person": person})
    if as_json:
        print_json(done)
    else:
        out.print(f"{person} is no member of {org} any more.", markup=False)


@app.command()
def password(
    org: Org,
    person: Person,
    device: Annotated[str, typer.Option("--device", help="Which program it is for.")] = "programme",
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """A password of a member's own for a program that knows one box only: the login is the box's
    address, the password opens that box alone, and traces name the person."""
    given = {"org": org, "person": person, "device": device}
    made = options.desk(config).row("bal.member.password", given)
    if as_json:
        print_json(made)
    else:
        shown = grouped(str(made["password"]))
        rows = [("user name", org), ("app password (shown once)", shown)]
        print_table(f"For {person}", ("setting", "value"), rows)


@app.command("list")
def list_(org: Org, config: options.Config = None, as_json: options.Json = False) -> None:
    """Members of an ORG box, and folders where one of them has other rights than the role gives."""
    rows = options.desk(config).rows("bal.member.list", {"org": org})
    if as_json:
        print_json(rows)
    elif not rows:
        out.print(f"No member yet: mssmtp bal member add {org} LOGIN --role …", markup=False)
    else:
        shown = [(row["person"], row["role"], row["rights"], _told(row)) for row in rows]
        print_table(f"Members of {org}", ("person", "role", "rights", "other rights in"), shown)


def _told(row: Row) -> str:
    found = row["mailboxes"]
    pairs = found.items() if isinstance(found, dict) else ()
    return ", ".join(f"{name} ({rights or 'none'})" for name, rights in pairs)


def _give(
    operation: str, org: str, person: str, role: Role, config: options.Config, *, as_json: bool
) -> None:
    given = {"org": org, "person": person, "role": role.value}
    done = options.desk(config).row(operation, given)
    if as_json:
        print_json(done)
    else:
        out.print(f"{person} is {role.value} of {org}.", markup=False)
