"""LIST against the rules of RFC 5258 as they are written there, name by name."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssmtp.imap import listing, mailboxes
from mssmtp.imap.listing import Answer, Listing, Selection
from mssmtp.imap.mailboxes import Shown, object_id
from mssmtp.imap.patterns import matches
from mssmtp.storage.model import Mailbox
from tests.imap.world import World

LEVELS = ("a", "b", "c")
NAMES = ["/".join((x, y, z)).rstrip("/") for x in LEVELS for y in ("", *LEVELS) for z in ("", "a")]
NAMES = sorted({name for name in NAMES if "//" not in name})
PATTERNS = (b"*", b"%", b"a/%", b"%/%", b"*a", b"b*", b"a/b", b"%/b")
_LINE = re.compile(rb'\* LIST \(([^)]*)\) "/" "([^"]*)"( \("CHILDINFO" \("SUBSCRIBED"\)\))?\r\n')

Told = dict[str, tuple[frozenset[str], bool]]
"""Attributes of each name, and whether CHILDINFO came."""


def mailbox(name: str) -> Mailbox:
    made: Any = object()
    return Mailbox(made, made, name, made, made, made, None, False, 0, 0, made, 0)


def shown(existing: frozenset[str]) -> list[Shown]:
    """As `mailboxes.shown`: with the levels that only hold others."""
    levels = {name[:i] for name in existing for i, c in enumerate(name) if c == "/"} | existing
    return [
        Shown(name, mailbox(name) if name in existing else None, rights="lr")
        for name in sorted(levels)
    ]


def told(
    existing: frozenset[str], subscribed: frozenset[str], selection: Selection, pattern: bytes
) -> Told:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mailboxes, "shown", lambda *_: shown(existing))
        patch.setattr(mailboxes, "subscribed", lambda *_: sorted(subscribed))
        nothing: Any = None
        names = Listing(nothing, nothing, subscribed=True)
        lines = list(names.lines(selection, (pattern,), Answer(subscriptions=True)))
    out: Told = {}
    for line in lines:
        found = _LINE.fullmatch(line)
        assert found, line
        name = found[2].decode()
        assert name not in out, "3.3 (1): at most one response for each name"
        out[name] = frozenset(found[1].decode().split()), bool(found[3])
    return out


def below(name: str, of: frozenset[str]) -> frozenset[str]:
    return frozenset(other for other in of if other.startswith(name + "/"))


def ruled(
    existing: frozenset[str], subscribed: frozenset[str], selection: Selection, pattern: bytes
) -> Told:
    """What section 3 asks, of all names that could be."""
    criteria = subscribed if selection.subscribed else existing
    out: Told = {}
    for name in NAMES:
        if not matches(pattern, name.encode()):
            continue
        unmatched = [n for n in below(name, criteria) if not matches(pattern, n.encode())]
        is_bridge = bool(unmatched) and (selection.recursive or not selection.subscribed)
        if name not in criteria and not (
            is_bridge and (name not in existing or selection.recursive)
        ):
            continue
        attributes = {"\\HasChildren" if below(name, existing) else "\\HasNoChildren"}
        if name not in existing:
            attributes.add("\\NonExistent")
        if name in subscribed:
            attributes.add("\\Subscribed")
        out[name] = frozenset(attributes), selection.recursive and bool(below(name, criteria))
    return out


some_names = st.frozensets(st.sampled_from(NAMES), max_size=8)


@given(some_names, some_names, st.sampled_from(PATTERNS), st.booleans(), st.booleans())
def test_list_tells_what_rfc_5258_3_asks(
    existing: frozenset[str],
    subscribed: frozenset[str],
    pattern: bytes,
    is_selected: bool,
    is_recursive: bool,
) -> None:
    selection = Selection(
        subscribed=is_selected, recursive=is_selected and is_recursive, is_extended=True
    )
    found = told(existing, subscribed, selection, pattern)
    assert found == ruled(existing, subscribed, selection, pattern)


@given(some_names, st.sampled_from(PATTERNS))
def test_the_basic_syntax_shows_every_level(existing: frozenset[str], pattern: bytes) -> None:
    """RFC 3501 6.3.8: also levels that only hold others, and those as `\\Noselect`."""
    found = told(existing, frozenset(), Selection(), pattern)
    expected = {each.name for each in shown(existing) if matches(pattern, each.name.encode())}
    assert found.keys() == expected
    assert all(("\\Noselect" in found[name][0]) == (name not in existing) for name in found)


@pytest.mark.parametrize(
    "weaken",
    [
        lambda patch: patch.setattr(listing, "_ancestors", lambda of: frozenset()),
        lambda patch: patch.setattr(Listing, "_gone", lambda self, **_: []),
        lambda patch: patch.setattr(Listing, "_is_bridge", lambda *_: False),
    ],
    ids=["no ancestors", "nothing gone", "no bridges"],
)
def test_the_rules_see_a_listing_that_forgets_them(
    monkeypatch: pytest.MonkeyPatch, weaken: Callable[[pytest.MonkeyPatch], None]
) -> None:
    weaken(monkeypatch)
    existing, subscribed = frozenset({"a", "b/a"}), frozenset({"a/b", "b/a", "c"})
    selection = Selection(subscribed=True, recursive=True, is_extended=True)
    found = told(existing, subscribed, selection, b"%")
    assert found != ruled(existing, subscribed, selection, b"%")


def test_a_mailboxid_never_comes_back(world: World) -> None:
    """RFC 8474 4: not for the next mailbox of the same name, nor for any other."""
    client = world.client(select=None)
    seen: set[bytes] = set()
    for _ in range(3):
        client.ok("CREATE Wieder")
        all_now = world.store.read(lambda r: r.mailboxes(world.zoe.id)).result()
        client.ok("DELETE Wieder")
        others = {object_id(each) for each in all_now}
        assert len(others) == len(all_now)
        seen |= others
    assert len(seen) == len(all_now) + 2
