"""`mssmtp bal member`: who may open the box of an organisation, and as what."""

from __future__ import annotations

from typing import Annotated

import typer

from mssmtp import app as server
from mssmtp.accounts import bind_password
from mssmtp.cli import options
from mssmtp.cli.output import out, print_json, print_table
from mssmtp.errors import ConfigError
from mssmtp.identity.app_password import grouped
from mssmtp.mail import AccountId, Bal, BalType, Role
from mssmtp.storage import Reading, Writing

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
    _give(org, person, role, config, is_new=True, as_json=as_json)


@app.command("set")
def set_(
    org: Org,
    person: Person,
    role: AsRole,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Give a member another role; sessions that are open feel it at their next command."""
    _give(org, person, role, config, is_new=False, as_json=as_json)


@app.command()
def remove(
    org: Org, person: Person, config: options.Config = None, as_json: options.Json = False
) -> None:
    """End a membership, with everything single mailboxes gave the person."""

    def job(writing: Writing) -> None:
        bal, account, role = _found(writing, org, person)
        if role is None:
            raise ConfigError(
                person, f"is no member of {org}", f"`mssmtp bal member list {org}` prints them."
            )
        writing.remove_member(bal.id, account)

    with server.store_of(options.settings(config)) as store:
        store.write(job).result()
    if as_json:
        print_json({"box": org, "person": person, "role": None})
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
    with server.store_of(options.settings(config)) as store:
        bal, account, role = store.read(lambda reading: _found(reading, org, person)).result()
        if role is None:
            remedy = f"`mssmtp bal member add {org} {person} --role …` first."
            raise ConfigError(person, f"is no member of {org}", remedy)
        made = bind_password(store, bal, account, device, server.ENTROPY)
    if as_json:
        print_json({"login": org, "person": person, "password": made})
    else:
        rows = [("user name", org), ("app password (shown once)", grouped(made))]
        print_table(f"For {person}", ("setting", "value"), rows)


@app.command("list")
def list_(org: Org, config: options.Config = None, as_json: options.Json = False) -> None:
    """Members of an ORG box, and folders where one of them has other rights than the role gives."""

    def query(reading: Reading) -> list[dict[str, object]]:
        bal = _box(reading, org)
        return [_row(reading, bal, *member) for member in reading.members(bal.id)]

    with server.store_of(options.settings(config)) as store:
        rows = store.read(query).result()
    if as_json:
        print_json(rows)
    elif not rows:
        out.print(f"No member yet: mssmtp bal member add {org} LOGIN --role …", markup=False)
    else:
        shown = [(row["person"], row["role"], row["rights"], _told(row)) for row in rows]
        print_table(f"Members of {org}", ("person", "role", "rights", "other rights in"), shown)


def _told(row: dict[str, object]) -> str:
    found = row["mailboxes"]
    pairs = found.items() if isinstance(found, dict) else ()
    return ", ".join(f"{name} ({rights or 'none'})" for name, rights in pairs)


def _row(reading: Reading, bal: Bal, account: AccountId, role: Role) -> dict[str, object]:
    names = {mailbox.id: mailbox.name for mailbox in reading.mailboxes(bal.id)}
    exceptions = reading.exceptions(account, bal.id).items()
    return {
        "person": reading.account_login(account),
        "role": role.value,
        "rights": role.rights,
        "mailboxes": {names.get(id, str(id)): rights for id, rights in exceptions},
    }


def _give(
    org: str, person: str, role: Role, config: options.Config, *, is_new: bool, as_json: bool
) -> None:
    def job(writing: Writing) -> None:
        bal, account, now = _found(writing, org, person)
        if is_new and now is not None:
            remedy = f"`mssmtp bal member set {org} {person} --role …` gives another role."
            raise ConfigError(person, f"is a member of {org} already, as {now.value}", remedy)
        if not is_new and now is None:
            remedy = f"`mssmtp bal member add {org} {person} --role {role.value}`"
            raise ConfigError(person, f"is no member of {org}", remedy)
        writing.add_member(bal.id, account, role)

    with server.store_of(options.settings(config)) as store:
        store.write(job).result()
    if as_json:
        print_json({"box": org, "person": person, "role": role.value, "rights": role.rights})
    else:
        out.print(f"{person} is {role.value} of {org}.", markup=False)


def _box(reading: Reading, org: str) -> Bal:
    bal = reading.bal(options.address(org))
    if bal is None:
        raise ConfigError(org, "is no box here", "`mssmtp bal list` prints them.")
    if bal.type is not BalType.ORG:
        raise ConfigError(
            org, f"is a box of type {bal.type}", "Only the box of an organisation has members."
        )
    return bal


def _found(reading: Reading, org: str, person: str) -> tuple[Bal, AccountId, Role | None]:
    bal = _box(reading, org)
    account = reading.account(person)
    if account is None:
        raise ConfigError(
            person, "is no login here", "Add the person's own box first: `mssmtp bal add`."
        )
    if account.login.casefold() == str(bal.address).casefold():
        raise ConfigError(person, "is the box itself", "Name the person.")
    return bal, account.id, reading.role(account.id, bal.id)
