"""What changed between two lists: domains, the names that speak for them, texts (F1).

Pure. Names are compared normalised, so that another spelling of one name is no change of names.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mssmtp.mail import DnKey, Domain
from mssmtp.whitelist import Whitelist


@dataclass(frozen=True, slots=True)
class TextChange:
    """One text of a domain's rows, before and after."""

    column: str
    before: tuple[str, ...]
    after: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DomainChange:
    """A domain in both lists whose rows differ in more than their DateMAJ."""

    domain: Domain
    added_names: tuple[str, ...]
    removed_names: tuple[str, ...]
    texts: tuple[TextChange, ...]


@dataclass(frozen=True, slots=True)
class ListDiff:
    """From one list to another; everything sorted by domain."""

    added: tuple[Domain, ...]
    removed: tuple[Domain, ...]
    changed: tuple[DomainChange, ...]
    rows_before: int
    rows_after: int

    @property
    def is_empty(self) -> bool:
        """Nothing that decides or is shown has changed."""
        return not (self.added or self.removed or self.changed)

    @property
    def renamed(self) -> tuple[DomainChange, ...]:
        """Domains that another set of certificates speaks for."""
        return tuple(c for c in self.changed if c.added_names or c.removed_names)


def difference(before: Whitelist, after: Whitelist) -> ListDiff:
    """What `after` has otherwise than `before`."""
    kept = sorted(before.domains & after.domains)
    changes = (_change(name, before, after) for name in kept)
    return ListDiff(
        added=tuple(sorted(after.domains - before.domains)),
        removed=tuple(sorted(before.domains - after.domains)),
        changed=tuple(change for change in changes if change is not None),
        rows_before=len(before.rows),
        rows_after=len(after.rows),
    )


_TEXTS = (
    ("Description", "description"),
    ("ResponsableContact", "responsible"),
    ("SupportContact", "support"),
)


def _change(name: Domain, before: Whitelist, after: Whitelist) -> DomainChange | None:
    old, new = before.names(name), after.names(name)
    rows = (before.rows_of(name), after.rows_of(name))
    texts = []
    for column, attribute in _TEXTS:
        was, now = (_distinct(getattr(row, attribute) for row in side) for side in rows)
        if set(was) != set(now):
            texts.append(TextChange(column, was, now))
    if old == new and not texts:
        return None
    return DomainChange(
        name, _printed(after, name, new - old), _printed(before, name, old - new), tuple(texts)
    )


def _printed(listed: Whitelist, name: Domain, keys: Iterable[DnKey]) -> tuple[str, ...]:
    rows = (listed.row(name, key) for key in sorted(keys))
    return tuple(row.dn for row in rows if row is not None)


def _distinct(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))
