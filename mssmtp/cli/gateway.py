"""`mssmtp gateway`: hospitals whose own mail servers stand in front of us."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from mssmtp import gateway_form, gateway_trial
from mssmtp.cli import options
from mssmtp.cli.output import EXIT_TROUBLE, out, print_json, print_table
from mssmtp.config import Settings, load
from mssmtp.config_senders import GatewaySettings
from mssmtp.finding import Finding, Severity
from mssmtp.gateways import Gateways
from mssmtp.workers import have_reloaded

app = typer.Typer(
    help="Hospitals' own mail servers: form, init, list, show, check, undo.", no_args_is_help=True
)

Name = Annotated[str, typer.Argument(help="Short name of the gateway.")]
_COLOURS = {"error": "red", "warning": "yellow", "ok": "green"}
_LISTED = ("name", "domains", "inbound", "hosts", "addresses", "aliases")


@app.command()
def form() -> None:
    """Print a prerequisites form to fill in."""
    typer.echo(gateway_form.TEMPLATE, nl=False)


@app.command()
def init(
    form_file: Annotated[Path, typer.Argument(metavar="FORM.toml", help="The filled-in form.")],
    dry: Annotated[
        bool, typer.Option("--dry", help="Try both directions, change nothing.")
    ] = False,
    in_spite: Annotated[
        bool, typer.Option("--in-spite", help="Switch on although a dry try failed.")
    ] = False,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Try both directions dry, then switch the gateway on. `undo` takes it back."""
    path = options.config_path(config)
    filled = gateway_form.read_form(form_file)
    draft = gateway_form.draft(filled, path)
    is_on = False
    try:
        found = gateway_trial.tried(draft.settings, filled.name, filled)
        is_good = all(each.severity is not Severity.ERROR for each in found)
        if not dry and (is_good or in_spite):
            gateway_form.switch_on(draft)
            is_on = True
    finally:
        if not is_on:
            gateway_form.abandon(draft)
    reloaded = is_on and have_reloaded(draft.settings.store.home / "run")
    if as_json:
        print_json({"switched_on": is_on, "reloaded": reloaded, "findings": _plain(found)})
    else:
        _tell(found)
        _tell_state(filled.name, is_on=is_on, reloaded=reloaded)
    if not is_good:
        raise typer.Exit(EXIT_TROUBLE)


@app.command()
def undo(name: Name, config: options.Config = None, as_json: options.Json = False) -> None:
    """Take a gateway that `init` switched on out of the settings; its boxes get their mail."""
    path = options.config_path(config)
    gateway_form.undo(name, path)
    reloaded = have_reloaded(load(path).store.home / "run")
    if as_json:
        print_json({"undone": name, "reloaded": reloaded})
        return
    out.print(f"{name} is out of the settings. {_reloading(reloaded=reloaded)}", markup=False)
    out.print("What still waited for its servers is put into the boxes here.")


@app.command("list")
def list_(config: options.Config = None, as_json: options.Json = False) -> None:
    """Every gateway of the settings."""
    settings = options.settings(config)
    rows = [_row(each, settings) for each in settings.gateways]
    if as_json:
        print_json(rows)
    elif not rows:
        out.print("There is no gateway. `mssmtp gateway form` prints a form for one.")
    else:
        print_table("Gateways", _LISTED, [tuple(row[key] for key in _LISTED) for row in rows])


@app.command()
def show(name: Name, config: options.Config = None, as_json: options.Json = False) -> None:
    """One gateway: its settings and its table."""
    settings = options.settings(config)
    gateway = next((each for each in Gateways.load(settings).all if each.name == name), None)
    if gateway is None:
        raise gateway_form.unknown(name)
    pairs = {str(usual): str(mss) for usual, mss in gateway.aliases.to_mss.items()}
    told = gateway.settings.model_dump(mode="json")
    if as_json:
        print_json(told | {"aliases": pairs})
        return
    print_table(name, ("setting", "value"), list(told.items()))
    print_table("Aliases", ("usual", "mssante"), list(pairs.items()))


@app.command()
def check(name: Name, config: options.Config = None, as_json: options.Json = False) -> None:
    """Try both directions dry, as `init` did; exit 1 on an error."""
    found = gateway_trial.tried(options.settings(config), name)
    if as_json:
        print_json(_plain(found))
    else:
        _tell(found)
    if any(each.severity is Severity.ERROR for each in found):
        raise typer.Exit(EXIT_TROUBLE)


def _row(gateway: GatewaySettings, settings: Settings) -> dict[str, object]:
    loaded = Gateways.load(settings.model_copy(update={"gateways": (gateway,)})).all[0]
    return {
        "name": gateway.name,
        "domains": ", ".join(gateway.domains),
        "inbound": gateway.inbound,
        "hosts": ", ".join(gateway.hosts),
        "addresses": ", ".join(map(str, gateway.addresses)),
        "aliases": len(loaded.aliases),
    }


def _plain(found: Sequence[Finding]) -> list[dict[str, str]]:
    return [
        {"severity": f.severity.value, "what": f.what, "why": f.why, "remedy": f.remedy}
        for f in found
    ]


def _tell(found: Sequence[Finding]) -> None:
    for each in found:
        out.print(f"[{_COLOURS[each.severity]}]{each.severity:<8}[/]", end="")
        out.print(f"{each.what}: {each.why.rstrip('.')}. {each.remedy}".strip(), markup=False)


def _tell_state(name: str, *, is_on: bool, reloaded: bool) -> None:
    if is_on:
        undone = f"`mssmtp gateway undo {name}` takes it back."
        out.print(f"{name} is switched on. {_reloading(reloaded=reloaded)} {undone}", markup=False)
    else:
        out.print("Nothing was changed.")


def _reloading(*, reloaded: bool) -> str:
    return "The server takes it up now." if reloaded else "No server runs on this home."
