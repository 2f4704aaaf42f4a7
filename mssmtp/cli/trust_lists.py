"""`mssmtp trust history`, `diff`, `confirm`, `rollback`, `refresh`: which list is in force."""

from __future__ import annotations

import asyncio
import os
import pwd
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from mssmtp import app as server
from mssmtp.cli import options
from mssmtp.cli.output import EXIT_TROUBLE, err, fail, out, print_json, print_table
from mssmtp.config import Settings
from mssmtp.trust_feed import (
    ChoiceRefused,
    Event,
    ListState,
    State,
    TrustFeed,
    TrustFiles,
    list_rules,
)
from mssmtp.whitelist import ListRefused, ListRules, Whitelist
from mssmtp.whitelist_audit import WHY, read_file
from mssmtp.whitelist_diff import ListDiff, difference

_SHORT = 12
_SHOWN = 100
"""Domains of one kind that a difference shows to people."""
_NOTHING_BEFORE = "no list was in force before this one"
_pause = time.sleep
_POLL_S = 0.2
_ANSWER_WITHIN_S = 150.0
"""The server looks every two seconds; each address may take a minute (fetch.DEADLINE_S)."""

Digest = Annotated[str, typer.Argument(help="Digest of a list, or its beginning.")]


def files_of(settings: Settings) -> TrustFiles:
    """What is kept under the home of these settings."""
    return TrustFiles(settings.store.home / "trust")


@contextmanager
def _told() -> Iterator[None]:
    """A refused choice is one clear message."""
    try:
        yield
    except ChoiceRefused as error:
        fail(error.what, error.why, error.remedy)
    except OSError as error:
        fail("trust", f"the kept lists cannot be used ({error.strerror})", "Check the home.")


def who() -> str:
    """The system's user, for the history; a variable of the shell could name anybody."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


# ---------------------------------------------------------------- history


def history(config: options.Config = None, as_json: options.Json = False) -> None:
    """What happened to the lists, newest first, and which ones are kept."""
    state = files_of(options.settings(config)).state()
    events = [
        {
            "at": event.at.isoformat(timespec="seconds"),
            "who": event.who,
            "what": event.what,
            "list_date": event.date.isoformat() if event.date else None,
            "sha256": event.sha256,
            "detail": event.detail,
        }
        for event in reversed(state.events)
    ]
    kept = [_kept(each, state) for each in reversed(state.accepted)]
    if as_json:
        print_json({"events": events, "lists": kept})
        return
    if state.events:
        events_told = [_told_event(each) for each in reversed(state.events)]
        columns = ("when", "who", "what", "date of the list", "digest", "why")
        print_table("What happened", columns, events_told)
    if kept:
        lists_told = [_told_kept(each, state) for each in reversed(state.accepted)]
        headings = ("date of the list", "digest", "rows", "domains", "")
        print_table("Lists that are kept", headings, lists_told)
    if not kept:
        out.print("No list was ever accepted.")


def _told_event(event: Event) -> tuple[str, ...]:
    listed = "" if event.date is None else _moment(event.date)
    digest = event.sha256[:_SHORT]
    return _moment(event.at), event.who, event.what, listed, digest, event.detail


def _told_kept(listed: ListState, state: State) -> tuple[str, ...]:
    place = "in force" if listed.sha256 == state.in_force else ""
    digest = listed.sha256[:_SHORT]
    return _moment(listed.date), digest, str(listed.rows), str(listed.domains), place


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def _kept(listed: ListState, state: State) -> dict[str, object]:
    return {
        "list_date": listed.date.isoformat(),
        "sha256": listed.sha256,
        "rows": listed.rows,
        "domains": listed.domains,
        "in_force": listed.sha256 == state.in_force,
    }


# ---------------------------------------------------------------- what a person decides


def confirm(digest: Digest, config: options.Config = None, as_json: options.Json = False) -> None:
    """Put the held list in force."""
    settings = options.settings(config)
    files = files_of(settings)
    with _told():
        _must_verify(settings, files, digest)
        chosen = files.confirm(digest, who(), server.CLOCK.now())
    _chosen(chosen, "confirmed", as_json=as_json)


def rollback(
    digest: Annotated[
        str | None, typer.Argument(help="Digest of the list; default: the one before.")
    ] = None,
    undo: Annotated[bool, typer.Option("--undo", help="End the rollback.")] = False,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Go back to an earlier list; what was left stays out until something newer is published."""
    settings = options.settings(config)
    files = files_of(settings)
    with _told():
        if undo:
            chosen = files.undo(who(), server.CLOCK.now())
        else:
            before = files.state().before(1)
            if digest is None and not before:
                raise ChoiceRefused(
                    "rollback", _NOTHING_BEFORE, "`mssmtp trust history` shows what is kept."
                )
            wanted = digest or before[0].sha256
            _must_verify(settings, files, wanted)
            chosen = files.roll_back(wanted, who(), server.CLOCK.now())
    _chosen(chosen, "rollback ended" if undo else "rolled back", as_json=as_json)


def _must_verify(settings: Settings, files: TrustFiles, digest: str) -> None:
    """No worker takes a list that does not verify now; a person must not leave them without."""
    snapshot = server.stored_trust(settings).snapshot
    rules = list_rules(settings.whitelist, snapshot, snapshot.revocation)
    # By its whole digest: a file here that happens to be called so is not meant.
    _load(files, files.find(digest).sha256, rules)


def _chosen(chosen: ListState, what: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"done": what, "list_date": chosen.date.isoformat(), "sha256": chosen.sha256})
        return
    out.print(
        f"{what}: the list of {_moment(chosen.date)} ({chosen.sha256[:_SHORT]}) is in force.",
        markup=False,
    )
    out.print("A running server takes it up within two seconds, without a restart.")


# ---------------------------------------------------------------- refresh


def refresh(config: options.Config = None, as_json: options.Json = False) -> None:
    """Fetch the list and the CRLs now, and wait for the outcome."""
    settings = options.settings(config)
    files = files_of(settings)
    asked_at = server.CLOCK.now()
    files.request_refresh()
    is_ours = files.take_lock()
    if is_ours:
        files.release()
        if not as_json:
            err.print("No server runs on this home: this command fetches by itself.")
        trust = server.stored_trust(settings)
        feed = TrustFeed(settings, trust, server.CLOCK, server.ENTROPY)
        with err.status("Fetching the list and the CRLs…"):
            asyncio.run(feed.once())
        answers = _answers(settings, files.state(), asked_at)
    else:
        with err.status("The server fetches the list and the CRLs…"):
            answers = _wait(settings, files, asked_at)
    _print_answers(answers, files.state(), "this command" if is_ours else "server", as_json)


def _answers(settings: Settings, state: State, since: datetime) -> dict[str, str | None]:
    """What each address answered since then; None: nothing yet."""
    listed = state.published.checked_at if state.published is not None else None
    checked = {settings.whitelist.url: listed}
    for url in settings.pki.crl_urls:
        crl = state.crls.get(url)
        checked[url] = crl.checked_at if crl is not None else None
    found: dict[str, str | None] = {}
    for url, at in checked.items():
        failure = state.failures.get(url)
        if failure is not None and failure.at >= since:
            found[url] = failure.reason
        else:
            found[url] = "" if at is not None and at >= since else None
    return found


def _wait(settings: Settings, files: TrustFiles, since: datetime) -> dict[str, str | None]:
    deadline = time.monotonic() + _ANSWER_WITHIN_S
    while True:
        answers = _answers(settings, files.state(), since)
        if None not in answers.values() or time.monotonic() > deadline:
            return answers
        _pause(_POLL_S)


def _print_answers(answers: dict[str, str | None], state: State, by: str, as_json: bool) -> None:
    listed = state.listed
    good = all(reason == "" for reason in answers.values())
    told = {
        url: {"obtained": reason == "", "reason": "no answer in time" if reason is None else reason}
        for url, reason in answers.items()
    }
    if as_json:
        print_json(
            {
                "fetched_by": by,
                "addresses": told,
                "in_force": None if listed is None else listed.sha256,
                "list_date": None if listed is None else listed.date.isoformat(),
                "held": None if state.held is None else state.held.listed.sha256,
            }
        )
    else:
        rows = [(url, "obtained" if t["obtained"] else t["reason"]) for url, t in told.items()]
        print_table("Fetched now", ("address", "outcome"), rows)
        if listed is not None:
            out.print(f"In force: the list of {_moment(listed.date)}.")
        if state.held is not None:
            err.print(
                f"Held: {'; '.join(state.held.reasons)}. `mssmtp trust diff` shows the changes;"
                f" `mssmtp trust confirm {state.held.listed.sha256[:_SHORT]}` takes it.",
                markup=False,
                style="yellow",
            )
    if not good or state.held is not None:
        raise typer.Exit(EXIT_TROUBLE)


# ---------------------------------------------------------------- diff


def diff(
    before: Annotated[
        str | None, typer.Argument(metavar="A", help="Digest, `held`, `in-force`, or a file.")
    ] = None,
    after: Annotated[str | None, typer.Argument(metavar="B", help="The same.")] = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """What changed between two lists; without names: the held one, or the last change."""
    settings = options.settings(config)
    files = files_of(settings)
    with _told():
        one, other = _pair(files, before, after)
        snapshot = server.stored_trust(settings).snapshot
        rules = list_rules(settings.whitelist, snapshot, snapshot.revocation)
        old, new = (_load(files, each, rules) for each in (one, other))
    if None in (before, after) and old.date > new.date:
        old, new = new, old
    found = difference(old, new)
    if as_json:
        heads = {
            name: {"date": listed.date.isoformat(), "sha256": listed.sha256}
            for name, listed in (("from", old), ("to", new))
        }
        print_json(heads | asdict(found))
    else:
        _print_diff(old, new, found)


_IN_FORCE, _HELD = "in-force", "held"


def _pair(files: TrustFiles, before: str | None, after: str | None) -> tuple[str, str]:
    state = files.state()
    if before is not None:
        return before, after or _IN_FORCE
    if state.held is not None:
        return _IN_FORCE, _HELD
    earlier = state.before(1)
    if not earlier:
        raise ChoiceRefused(
            "diff", _NOTHING_BEFORE, "Name two lists: digests of `mssmtp trust history`, or files."
        )
    return earlier[0].sha256, _IN_FORCE


def _load(files: TrustFiles, name: str, rules: ListRules) -> Whitelist:
    """A list by its name on the command line, verified as the server would now."""
    from mssmtp.whitelist_signature import verify  # the XML libraries load only here

    state, path = files.state(), Path(name)
    if name == _IN_FORCE and state.in_force is not None:
        octets = files.list_octets(state.in_force)
    elif name == _HELD and state.held is not None:
        octets = files.list_octets(state.held.listed.sha256)
    elif name in (_IN_FORCE, _HELD):
        raise ChoiceRefused(name, "there is no such list now", "See `mssmtp trust history`.")
    elif path.is_file():
        octets = read_file(path, rules.max_octets)
    else:
        octets = files.list_octets(name)
    try:
        return verify(octets, rules, server.CLOCK.now())
    except ListRefused as error:
        fail(name, str(error), WHY[error.reason][1])


def _print_diff(old: Whitelist, new: Whitelist, found: ListDiff) -> None:
    out.print(
        f"From the list of {_moment(old.date)} ({old.sha256[:_SHORT]})"
        f" to that of {_moment(new.date)} ({new.sha256[:_SHORT]}):",
        markup=False,
    )
    out.print(
        f"{found.rows_before} rows become {found.rows_after}; {len(found.added)} domains come,"
        f" {len(found.removed)} go, {len(found.renamed)} change their certificates,"
        f" {len(found.changed) - len(found.renamed)} only texts."
    )
    for mark, domains in (("+", found.added), ("-", found.removed)):
        for domain in domains[:_SHOWN]:
            out.print(f"{mark} {domain}", markup=False)
        _more(mark, len(domains))
    for change in found.changed[:_SHOWN]:
        out.print(f"~ {change.domain}", markup=False)
        for mark, names in (("+", change.added_names), ("-", change.removed_names)):
            for name in names:
                out.print(f"    {mark} {name}", markup=False)
        for text in change.texts:
            was, now = (" / ".join(side) for side in (text.before, text.after))
            out.print(f"    {text.column}: « {was} » becomes « {now} »", markup=False)
    _more("~", len(found.changed))
    if found.is_empty:
        out.print("Nothing that decides or is shown has changed.")


def _more(mark: str, count: int) -> None:
    """A list that loses everybody must not scroll its own first line away."""
    if count > _SHOWN:
        out.print(f"{mark} … and {count - _SHOWN} more; --json has them all.", markup=False)
