"""`mssmtp trust`: the signed list and the revocation lists in force."""

from __future__ import annotations

from typing import Annotated

import typer

from mssmtp import app as server
from mssmtp.cli import options, trust_expected, trust_file
from mssmtp.cli.output import fail, print_json, print_table
from mssmtp.errors import BadAddress
from mssmtp.mail import domain
from mssmtp.trust import Snapshot
from mssmtp.whitelist import Whitelist

app = typer.Typer(help="Trust space: the list in force.", no_args_is_help=True)
app.command("verify")(trust_file.verify)
app.command("expected")(trust_expected.expected)


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
    whitelist = snapshot.whitelist
    if whitelist is None:
        fail("whitelist", "none was accepted yet", "`mssmtp serve` fetches it; see its log.")
    if name is None:
        _print_snapshot(snapshot, whitelist, as_json=as_json)
        return
    try:
        wanted = domain(name)
    except BadAddress as error:
        fail(name, error.reply.text, "Give a domain name.")
    rows = [row for row in whitelist.rows if row.domain.strip().lower() == wanted]
    if not rows:
        fail(name, "is not in the list", "Only listed domains can be written to.")
    if as_json:
        print_json([{"domain": row.domain, "dn": row.dn, "support": row.support} for row in rows])
    else:
        print_table(name, ("certificate name", "support"), [(row.dn, row.support) for row in rows])


def _print_snapshot(snapshot: Snapshot, whitelist: Whitelist, *, as_json: bool) -> None:
    facts: dict[str, object] = {
        "list_date": whitelist.date.isoformat(),
        "sha256": whitelist.sha256,
        "signer": whitelist.signer,
        "rows": len(whitelist.rows),
        "unusable_rows": len(whitelist.unusable),
    }
    crls = [
        {
            "issuer": crl.issuer.rfc4514_string(),
            "next_update": crl.next_update.isoformat(),
        }
        for crl in (snapshot.revocation.crls if snapshot.revocation else ())
    ]
    if as_json:
        print_json(facts | {"crls": crls})
        return
    print_table("Whitelist", ("what", "value"), list(facts.items()))
    rows = [(crl["issuer"], crl["next_update"]) for crl in crls]
    print_table("Revocation lists", ("issuer", "next update"), rows)
