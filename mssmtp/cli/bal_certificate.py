"""`mssmtp bal certificate`: the systems that open an APP box, by their certificates (CL-15)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mssmtp.cli import options
from mssmtp.cli.output import out, print_json, print_table
from mssmtp.errors import ConfigError

app = typer.Typer(help="Certificates of the systems that open an APP box.", no_args_is_help=True)

Box = Annotated[str, typer.Argument(metavar="BOX", help="Address of the APP box.")]
_MOST_OCTETS = 16_384


@app.command()
def add(
    box: Box,
    file: Annotated[
        Path | None, typer.Argument(help="PEM file of the certificate, without its key.")
    ] = None,
    name: Annotated[
        str, typer.Option("--name", help="In place of a file: the certificate's name, CN first.")
    ] = "",
    label: Annotated[str, typer.Option("--label", help="What the system is called.")] = "",
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Let a system open an APP box; its certificate before and after a renewal may both stand."""
    given = {"box": box, "pem": _pem(file) if file else "", "name": name, "label": label}
    done = options.desk(config).row("bal.certificate.add", given)
    if as_json:
        print_json(done)
    else:
        out.print(f"{box} is opened by certificate {done['number']}.", markup=False)


@app.command()
def remove(
    box: Box,
    number: Annotated[int, typer.Argument(help="As `list` prints it.")],
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Take a certificate away; open sessions end at their next command."""
    done = options.desk(config).row("bal.certificate.remove", {"box": box, "number": number})
    if as_json:
        print_json(done)
    else:
        out.print(f"Certificate {number} opens {box} no more.", markup=False)


@app.command("list")
def list_(box: Box, config: options.Config = None, as_json: options.Json = False) -> None:
    """Which certificates open a box, and whose they are."""
    rows = options.desk(config).rows("bal.certificate.list", {"box": box})
    if as_json:
        print_json(rows)
    elif not rows:
        out.print(f"No certificate opens {box}: mssmtp bal certificate add BOX FILE", markup=False)
    else:
        heads = ["number", "kind", "holder", "label", "since", "ended"]
        print_table(
            f"Certificates of {box}",
            heads,
            [[str(row[head] or "") for head in heads] for row in rows],
        )


def _pem(file: Path) -> str:
    """Raises ConfigError."""
    try:
        with file.open(encoding="ascii") as opened:
            return opened.read(_MOST_OCTETS)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(str(file), "ne se lit pas", "Nommez le fichier PEM.") from error
