"""Progress of long work: a bar per kind of thing on a terminal, silence elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from mssmtp.cli.output import err

Told = Callable[[str, int, int], None]
"""Called with what is worked on, how many of it are done, and how many there are."""


@contextmanager
def bars(*, as_json: bool) -> Iterator[Told]:
    """Bars on standard error that go away at the end; none with `as_json` or without a terminal."""
    columns = (
        TextColumn("{task.description:<18}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(
        *columns, console=err, transient=True, disable=as_json or not err.is_terminal
    ) as progress:
        tasks: dict[str, TaskID] = {}

        def told(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(name, total=total)
            progress.update(tasks[name], completed=done, total=total)

        yield told
