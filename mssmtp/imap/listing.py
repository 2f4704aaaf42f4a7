"""What LIST shows (RFC 3501 6.3.8, RFC 5258, RFC 9051 6.3.9): which names, with what said of each.

A name is *chosen* when it meets the selection; it is *told* when it also matches a pattern.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mssmtp.imap import mailboxes, names, responses
from mssmtp.imap.mailboxes import Shown
from mssmtp.imap.names import DELIMITER
from mssmtp.imap.patterns import matches

if TYPE_CHECKING:
    from mssmtp.mail import Principal
    from mssmtp.storage import Reading

Extra = Callable[["Reading", Shown, bytes], bytes]
"""A response that follows the LIST line of a mailbox; the octets are its name on the wire."""


@dataclass(frozen=True, slots=True)
class Selection:
    """`subscribed`, `special`: only such names (RFC 5258 3.1, RFC 6154 5.1), both when both are
    given. `recursive`: also the names above them, with CHILDINFO. `is_extended`: the client has
    shown that it knows RFC 5258."""

    subscribed: bool = False
    special: bool = False
    recursive: bool = False
    is_extended: bool = False

    @property
    def is_any(self) -> bool:
        """True when every existing name is chosen."""
        return not (self.subscribed or self.special)

    @property
    def child_info(self) -> bytes:
        """The extended data item that says of what a name has children (RFC 5258 3.5)."""
        given = [(self.subscribed, b'"SUBSCRIBED"'), (self.special, b'"SPECIAL-USE"')]
        return b' ("CHILDINFO" (%b))' % b" ".join(text for on, text in given if on)


@dataclass(frozen=True, slots=True)
class Answer:
    """How each name is told. `subscriptions`: with `\\Subscribed`. `unasked`: as an event."""

    utf8: bool = False
    subscriptions: bool = False
    extras: tuple[Extra, ...] = ()
    unasked: bool = False


class Listing:
    """The names of one snapshot, those that only a subscription keeps included."""

    def __init__(self, reading: Reading, who: Principal, *, subscribed: bool) -> None:
        """`subscribed`: which names are subscribed is asked too."""
        self._reading = reading
        self.shown = mailboxes.shown(reading, who)
        self._parents = {_above(each.name) for each in self.shown}
        self.subscribed = set(mailboxes.subscribed(reading, who)) if subscribed else set()

    def lines(
        self, selection: Selection, patterns: tuple[bytes, ...], answer: Answer
    ) -> Iterator[bytes]:
        """The responses of a LIST command, each name once (RFC 5258 3.3)."""
        known = [*self.shown, *self._gone(recursive=selection.recursive)]
        chosen = {each.name for each in known if self._is_chosen(each, selection)}
        matched = _matched(known, patterns, utf8=answer.utf8)
        with_children = _ancestors(chosen) if selection.recursive else frozenset()
        hidden = _ancestors(chosen - matched.keys()) if selection.is_extended else frozenset()
        for each in known:
            wire = matched.get(each.name)
            is_chosen = each.name in chosen
            if wire is None or not (is_chosen or self._is_bridge(each, selection, hidden)):
                continue
            info = selection.child_info if each.name in with_children else b""
            yield self.line(each, wire, answer, info=info, extended=selection.is_extended)
            if is_chosen and each.mailbox is not None:
                for extra in answer.extras:
                    yield extra(self._reading, each, wire)

    def line(
        self, each: Shown, wire: bytes, answer: Answer, *, info: bytes = b"", extended: bool = True
    ) -> bytes:
        """`* LIST` of one name."""
        attributes = self._attributes(each, answer, extended=extended)
        name = responses.quoted(wire, utf8=answer.utf8)
        return b'* LIST (%b) "/" %b%b\r\n' % (attributes, name, info)

    def _is_chosen(self, each: Shown, selection: Selection) -> bool:
        if selection.is_any:
            # A level that only holds others is told to who may not know that it has any; to who
            # asks by RFC 5258, only when they are not told themselves (3, `\NonExistent`).
            return each.mailbox is not None or not selection.is_extended
        return (not selection.subscribed or each.name in self.subscribed) and (
            not selection.special or each.special_use is not None
        )

    @staticmethod
    def _is_bridge(each: Shown, selection: Selection, hidden: frozenset[str]) -> bool:
        """True for a name that is told for what is below it and not told itself."""
        if selection.is_any:
            return each.mailbox is None and each.name in hidden
        return selection.recursive and each.name in hidden

    def _gone(self, *, recursive: bool) -> list[Shown]:
        """Subscribed names that no longer exist; with `recursive` the levels above them too."""
        there = {each.name for each in self.shown}
        gone = self.subscribed - there
        if recursive:
            gone |= _ancestors(gone) - there
        return [Shown(name, None) for name in sorted(gone)]

    def _attributes(self, each: Shown, answer: Answer, *, extended: bool) -> bytes:
        out = [b"\\HasChildren" if each.name in self._parents else b"\\HasNoChildren"]
        if each.mailbox is None:
            out.insert(0, b"\\NonExistent" if extended else b"\\Noselect")
        elif mailboxes.READ not in each.rights:
            # RFC 5819 2, RFC 5465 3.1: its name may be seen, nothing else.
            out.insert(0, b"\\NoAccess" if answer.unasked else b"\\Noselect")
        if each.special_use:
            out.append(each.special_use.encode("ascii"))
        if answer.subscriptions and each.name in self.subscribed:
            out.append(b"\\Subscribed")
        return b" ".join(out)


def unasked(shown: Shown, *, gone: bool = False, was: bytes = b"") -> bytes:
    """`* LIST` of a name for a client that has enabled IMAP4rev2 (RFC 9051 6.3.2, 6.3.9.7).

    `was`: the OLDNAME, in UTF-8. Nothing is said of children: that would open every name of a box.
    """
    attributes = [b"\\NonExistent"] if gone else []
    if shown.special_use:
        attributes.append(shown.special_use.encode("ascii"))
    if not gone and shown.mailbox is not None and shown.mailbox.subscribed:
        attributes.append(b"\\Subscribed")
    name = responses.mailbox(shown.name, utf8=True)
    old = b' ("OLDNAME" (%b))' % responses.quoted(was, utf8=True) if was else b""
    return b'* LIST (%b) "/" %b%b\r\n' % (b" ".join(attributes), name, old)


def _matched(
    known: Iterable[Shown], patterns: tuple[bytes, ...], *, utf8: bool
) -> dict[str, bytes]:
    """Names that match a pattern, as they are spelt on the wire."""
    spelt = ((each.name, names.spelling(each.name, utf8=utf8)) for each in known)
    return {name: wire for name, wire in spelt if any(matches(p, wire) for p in patterns)}


def _above(name: str) -> str:
    return name.rpartition(DELIMITER)[0]


def _ancestors(of: Iterable[str]) -> frozenset[str]:
    out: set[str] = set()
    for name in of:
        while (name := _above(name)) and name not in out:
            out.add(name)
    return frozenset(out)
