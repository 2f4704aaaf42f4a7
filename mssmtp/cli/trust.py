"""`mssmtp trust`: the signed list and the CRLs in force."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from mssmtp import app as server
from mssmtp.cli import (
    options,
    trust_expected,
    trust_explain,
    trust_file,
    trust_forecast,
    trust_lists,
)
from mssmtp.cli.output import EXIT_TROUBLE, fail, out, print_json, print_table
from mssmtp.config import Settings
from mssmtp.finding import Finding, Severity
from mssmtp.own import findings as own_findings
from mssmtp.own import standings_of
from mssmtp.own_rows import publication
from mssmtp.trust import Snapshot
from mssmtp.trust_feed import State, TrustFiles
from mssmtp.trust_findings import list_findings, revocation_findings
from mssmtp.whitelist import Whitelist

app = typer.Typer(help="Trust space: list, certificates, what ends when.", no_args_is_help=True)


@app.command()
def show(
    name: Annotated[
        str | None, typer.Argument(metavar="DOMAIN", help="Show the rows of one domain.")
    ] = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """The whitelist and the CRLs the server uses, or who may speak for a domain."""
    settings = options.settings(config)
    snapshot = server.stored_trust(settings).snapshot
    state, now = TrustFiles(settings.store.home / "trust").state(), server.CLOCK.now()
    whitelist = snapshot.whitelist
    if whitelist is None:
        none = next(list_findings(settings, snapshot, state, now))
        fail(none.what, none.why, none.remedy)
    if name is not None:
        _print_domain(name, whitelist, as_json=as_json)
        return
    alarms = [
        each
        for each in (
            *list_findings(settings, snapshot, state, now),
            *revocation_findings(settings.pki, snapshot, state, now),
            *own_findings(settings, now, whitelist),
            *publication(settings, whitelist, now),
        )
        if each.severity is not Severity.OK
    ]
    facts = _facts(settings, whitelist, state)
    crls = _crls(snapshot)
    if as_json:
        told = [asdict(each) for each in alarms]
        print_json(facts | {"crls": crls, "own_domains": _own(settings, whitelist), "alarms": told})
    else:
        _print(facts, crls, alarms)
        rows = [
            tuple("not recorded" if cell is None else cell for cell in each.values())
            for each in _own(settings, whitelist)
        ]
        print_table("Our domains", ("domain", "state", "since", "our names", "others"), rows)
    if any(each.severity is Severity.ERROR for each in alarms):
        raise typer.Exit(EXIT_TROUBLE)


app.command("explain")(trust_explain.explain)
app.command("forecast")(trust_forecast.forecast)
app.command("expected")(trust_expected.expected)
app.command("diff")(trust_lists.diff)
app.command("history")(trust_lists.history)
app.command("confirm")(trust_lists.confirm)
app.command("rollback")(trust_lists.rollback)
app.command("refresh")(trust_lists.refresh)
app.command("verify")(trust_file.verify)


def _facts(settings: Settings, whitelist: Whitelist, state: State) -> dict[str, object]:
    now, published, held = server.CLOCK.now(), state.published, state.held
    return {
        "list_date": whitelist.date.isoformat(),
        "age_hours": round((now - whitelist.date).total_seconds() / 3600, 1),
        "last_obtained": published.checked_at.isoformat() if published else None,
        "sha256": whitelist.sha256,
        "signer": whitelist.signer,
        "signer_pin": settings.whitelist.signer_subject,
        "rows": len(whitelist.rows),
        "domains": len(whitelist.domains),
        "unusable_rows": len(whitelist.unusable),
        "graced_rows": len(whitelist.graced),
        "held": held.listed.sha256 if held else None,
        "rolled_back_by": state.rolled_back.by if state.rolled_back else None,
    }


def _own(settings: Settings, whitelist: Whitelist) -> list[dict[str, object]]:
    """Where our domains stand (DEF-01)."""
    return [
        {
            "domain": each.domain,
            "state": each.state,
            "since": each.since.isoformat() if each.since else None,
            "our_names": len(each.ours),
            "others": each.others,
        }
        for each in standings_of(settings, whitelist)
    ]


def _crls(snapshot: Snapshot) -> list[dict[str, object]]:
    return [
        {
            "issuer": crl.issuer.rfc4514_string(),
            "number": crl.number,
            "revoked": crl.count,
            "next_update": crl.next_update.isoformat(),
        }
        for crl in (snapshot.revocation.crls if snapshot.revocation else ())
    ]


def _print(facts: dict[str, object], crls: list[dict[str, object]], alarms: list[Finding]) -> None:
    shown = [
        (name.replace("_", " "), "none" if value is None else value)
        for name, value in facts.items()
    ]
    print_table("Whitelist", ("what", "value"), shown)
    rows = [tuple(crl.values()) for crl in crls]
    print_table("CRLs", ("issuer", "number", "revoked", "next update"), rows)
    for each in alarms:
        colour = "red" if each.severity is Severity.ERROR else "yellow"
        out.print(f"[{colour}]{each.severity}[/] ", end="")
        out.print(f"{each.what}: {each.why}. {each.remedy}", markup=False)


def _print_domain(name: str, whitelist: Whitelist, *, as_json: bool) -> None:
    wanted = options.domain_name(name)
    rows = whitelist.rows_of(wanted)
    if not rows:
        fail(name, "is not in the list", "Only listed domains can be written to.")
    if as_json:
        print_json(
            [
                {
                    "domain": row.domain,
                    "dn": row.dn,
                    "responsible": row.responsible,
                    "support": row.support,
                }
                for row in rows
            ]
        )
    else:
        columns = ("certificate name", "responsible", "support")
        print_table(name, columns, [(row.dn, row.responsible, row.support) for row in rows])
