"""`mssmtp store`: the sealed store. Each command is a module `store_<command>`, registered here."""

from __future__ import annotations

import typer

from mssmtp.cli import (
    store_check,
    store_crash_test,
    store_migrate,
    store_rebuild,
    store_rotate,
    store_stats,
)

app = typer.Typer(
    help="The sealed store: what holds, what fills it, new keys, new caches, another engine.",
    no_args_is_help=True,
)

app.command("check")(store_check.check)
app.command("stats")(store_stats.stats)
app.command("rotate")(store_rotate.rotate)
app.command("rebuild")(store_rebuild.rebuild)
app.command("migrate")(store_migrate.migrate)
app.command(
    "crash-test",
    # Its options are the laboratory's, --help too.
    context_settings={
        "allow_extra_args": True,
        "ignore_unknown_options": True,
        "help_option_names": [],
    },
)(store_crash_test.crash_test)
