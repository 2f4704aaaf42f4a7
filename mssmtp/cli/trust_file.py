"""`mssmtp trust verify` and `trust diff`: lists as files."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from mssmtp import app as server
from mssmtp import whitelist_audit as room
from mssmtp.cli import options
from mssmtp.cli.output import EXIT_TROUBLE, err, print_json, print_table
from mssmtp.config import WhitelistSettings
from mssmtp.errors import ConfigError
from mssmtp.pki import printed_name, serial_text
from mssmtp.whitelist import ListRefused

_NO_MEANING = {
    "chain": "the chain of the signer was not checked: --signer was believed as it is",
    "revocation": "whether the signer is revoked was not checked: no CRL was given",
}


def verify(
    file: Annotated[Path, typer.Argument(help="A signed list.")],
    anchors: Annotated[
        Path | None,
        typer.Option(
            "--anchors",
            help="Authorities: a file, or a directory of certificates and CRLs, PEM or DER.",
        ),
    ] = None,
    signer: Annotated[
        Path | None,
        typer.Option("--signer", help="The one certificate that may have signed, PEM or DER."),
    ] = None,
    at: Annotated[
        str | None, typer.Option("--at", help="As of this time, ISO 8601, UTC; default: now.")
    ] = None,
    pin: Annotated[
        str | None, typer.Option("--pin", help="Subject that must have signed, such as CN=….")
    ] = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Does everything in a list file hold? Needs no home when --anchors or --signer is given."""
    given, most = _given(anchors, signer, pin, config)
    moment = server.CLOCK.now() if at is None else _moment(at)
    octets = room.read_file(file, most)
    try:
        audit = room.audit(octets, given, moment, most)
    except ListRefused as error:
        _refused(file, error, as_json=as_json)
    listed, whose = audit.listed, audit.signer
    facts: dict[str, object] = {
        "file": str(file),
        "holds": True,
        "generated": listed.date.isoformat(),
        "entries": len(listed.rows),
        "domains": len(listed.domains),
        "names_as_printed": audit.printed_names,
        "names_normalised": audit.names,
        "unusable_entries": list(listed.unusable),
        "signer": printed_name(whose.subject),
        "signer_serial": serial_text(whose),
        "signer_valid_until": whose.not_valid_after_utc.isoformat(),
        "sha256": listed.sha256,
        "verified_at": moment.isoformat(),
        "not_checked": list(audit.not_checked),
    }
    if as_json:
        print_json(facts)
        return
    shown = [(name.replace("_", " "), _text(value)) for name, value in facts.items()]
    print_table("Everything that was checked holds", ("what", "value"), shown)
    for name in audit.not_checked:
        err.print(f"Note: {_NO_MEANING[name]}.", markup=False, style="yellow")


def _given(
    anchors: Path | None, signer: Path | None, pin: str | None, config: Path | None
) -> tuple[room.Given, int]:
    most = int(WhitelistSettings.model_fields["max_octets"].default)
    if anchors is not None and signer is not None:
        raise ConfigError(
            "--signer", "says what --anchors would check", "Give one of the two, not both."
        )
    if signer is not None:
        found = room.certificates_of(room.read_file(signer))
        if not found:
            raise ConfigError(
                str(signer), "holds no certificate", "Give the signer's, in PEM or DER."
            )
        return room.Given(signer=found[0], pin=pin), most
    if anchors is not None:
        authorities, revocation = room.authorities(anchors)
        return room.Given(authorities, revocation, pin=pin), most
    settings = options.settings(config)
    snapshot = server.stored_trust(settings).snapshot
    wanted = pin or settings.whitelist.signer_subject
    return (
        room.Given(snapshot.anchors, snapshot.revocation, pin=wanted),
        settings.whitelist.max_octets,
    )


def _refused(file: Path, error: ListRefused, *, as_json: bool) -> NoReturn:
    why, remedy = room.WHY[error.reason]
    if as_json:
        print_json(
            {
                "file": str(file),
                "holds": False,
                "reason": error.reason,
                "detail": error.detail,
                "why": why,
                "remedy": remedy,
            }
        )
    else:
        detail = f" ({error.detail})" if error.detail else ""
        err.print(f"mssmtp: {file}: {error.reason}{detail}: {why}", markup=False, style="red")
        err.print(f"  {remedy}", markup=False)
    raise SystemExit(EXIT_TROUBLE)


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(
            "--at", f"« {text} » is no time", "Write it as 2025-03-01T12:00:00Z."
        ) from error
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _text(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "yes" if value is True else str(value)
