"""`mssmtp trust forecast`: what ends in the next days, sorted by date, with what to do."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

import typer

from mssmtp import app as server
from mssmtp import forecast as room
from mssmtp.cli import options
from mssmtp.cli.output import EXIT_TROUBLE, out, print_json
from mssmtp.config import Settings
from mssmtp.own import OwnFiles
from mssmtp.tls_settings import load_certificate
from mssmtp.trust_feed import PeerFiles, TrustFiles
from mssmtp.whitelist import ListRefused

_SOON = timedelta(days=30)


def forecast(
    days: Annotated[int, typer.Option("--days", min=1, max=3_650, help="How far to look.")] = 90,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """The expiry weather: our certificates, peers', list, CRLs; exit 1 when something has ended."""
    settings, now = options.settings(config), server.CLOCK.now()
    found = room.endings(settings, _known(settings), now, timedelta(days=days))
    if as_json:
        print_json([_shown(each, now) for each in found])
    elif not found:
        out.print(f"Nothing ends in the next {days} days.")
    else:
        _print(found, now)
    if any(each.is_trouble(now) for each in found):
        raise typer.Exit(EXIT_TROUBLE)


def _print(found: tuple[room.Ending, ...], now: datetime) -> None:
    for each in found:
        left = each.at - now
        colour = "default" if each.routine else "yellow" if left > _SOON else "red"
        out.print(f"{each.at:%Y-%m-%d %H:%M}  [{colour}]{_left(left):>9}[/]  ", end="")
        out.print(f"{each.what}", markup=False)
        out.print(f"{'':29}{each.whose}: {each.then}", markup=False)
        out.print(f"{'':29}{each.remedy}", markup=False)


def _known(settings: Settings) -> room.Known:
    directory = settings.store.home / "trust"
    files, snapshot = TrustFiles(directory), server.stored_trust(settings).snapshot
    state = files.state()
    signer = None
    if state.in_force is not None and snapshot.whitelist is not None:
        from mssmtp.whitelist_signature import signer_of  # the XML libraries load only here

        try:
            signer = signer_of(files.list_octets(state.in_force))
        except (OSError, ListRefused):
            signer = None  # `trust show` says that the kept list is unusable
    own = {
        each.certificate_file: load_certificate(each).chain[0]
        for each in (*settings.tls.operators, settings.tls.users)
    }
    peers = PeerFiles(directory / "peers").all()
    return room.Known(
        snapshot,
        tuple(own.items()),
        tuple(room.Peer(each.certificate, each.at) for each in peers),
        signer,
        state.published.checked_at if state.published else None,
        _own_crls(settings),
    )


def _own_crls(settings: Settings) -> tuple[tuple[str, datetime], ...]:
    seen = OwnFiles(settings.store.home).memory().crls
    return tuple((url, datetime.fromisoformat(crl.ends)) for url, crl in seen.items() if crl.ends)


def _shown(each: room.Ending, now: datetime) -> dict[str, object]:
    return {
        "at": each.at.isoformat(),
        "days_left": (each.at - now).days,
        "whose": each.whose,
        "what": each.what,
        "then": each.then,
        "remedy": each.remedy,
        "routine": each.routine,
    }


def _left(left: timedelta) -> str:
    if left <= timedelta(0):
        return "ended"
    return f"{left.days} days" if left.days else f"{int(left.total_seconds() // 3600)} h"
