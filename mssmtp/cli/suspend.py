"""`mssmtp suspend`: stop a domain, a certificate or an account in less than a minute (OP-79)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from mssmtp import asking
from mssmtp.asking import Row
from mssmtp.cli import options
from mssmtp.cli.output import out, print_json, print_rows
from mssmtp.errors import ConfigError

app = typer.Typer(
    help="Suspend a domain, a certificate or an account, and undo it with --end.",
    no_args_is_help=True,
)

_FINGERPRINT = re.compile(r"(?:[0-9A-Fa-f]{2}:?){32}\Z")

Reason = Annotated[str, typer.Option("--reason", help="For who looks at the list later.")]
End = Annotated[bool, typer.Option("--end", help="Undo it: everything is as before.")]


@app.command()
def domain(
    name: Annotated[str, typer.Argument(metavar="DOMAIN", help="Of a partner, or our own.")],
    reason: Reason = "",
    end: End = False,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Nothing comes from a domain and nothing goes to it: letters wait on both sides.

    Of one of our own domains no box is opened and none receives.
    """
    _do("domain", {"domain": name}, reason, config, end=end, as_json=as_json)


@app.command()
def certificate(
    which: Annotated[str, typer.Argument(metavar="FILE|SHA256", help="PEM file or fingerprint.")],
    reason: Reason = "",
    end: End = False,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Refuse a certificate, whoever presents it: a partner, a gateway, a system, an administrator,
    the holder of a CPx card."""
    file = Path(which)
    if not file.exists() and not _FINGERPRINT.match(which):
        why = "n'est ni un fichier ni une empreinte SHA-256"
        raise ConfigError(which, why, "Nommez le fichier PEM, ou ses 64 chiffres hexadécimaux.")
    sha256 = asking.fingerprint(file) if file.exists() else which
    _do("certificate", {"sha256": sha256}, reason, config, end=end, as_json=as_json)


@app.command()
def account(
    login: Annotated[str, typer.Argument(metavar="LOGIN", help="Login of the account.")],
    reason: Reason = "",
    end: End = False,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Refuse a login and suspend its own box; its open sessions end."""
    _do("account", {"login": login}, reason, config, end=end, as_json=as_json)


@app.command("list")
def list_(config: options.Config = None, as_json: options.Json = False) -> None:
    """What is suspended now, since when, by whom and why."""
    rows = options.desk(config).rows("suspend.list", {})
    print_rows("Suspended", rows, "Nothing is suspended.", as_json=as_json)
    contact = options.settings(config).operator.incident_contact
    if contact and not as_json:
        out.print(f"Incidents are told to the ANS: {contact}", markup=False)


def _do(
    kind: str, named: Row, reason: str, config: options.Config, *, end: bool, as_json: bool
) -> None:
    desk = options.desk(config)
    if end:
        done = desk.row(f"suspend.end-{kind}", named)
    else:
        done = desk.row(f"suspend.{kind}", named | {"reason": reason})
    if as_json:
        print_json(done)
        return
    (name,) = named.values()
    what = "is as before" if end else "is suspended; running servers follow within seconds"
    out.print(f"{kind} {name} {what}.", markup=False)
