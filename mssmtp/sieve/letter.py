"""What a script sees of a letter and of the box it came for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from mssmtp.mail import Address, ReversePath
from mssmtp.message.addresses import Group, Mailbox, parse_addresses
from mssmtp.message.decode import text_of
from mssmtp.message.headers import Field, fields
from mssmtp.message.transfer import decoded
from mssmtp.message.tree import Part, Scan
from mssmtp.message.words import decode_charset, decode_words
from mssmtp.sieve.budget import Budget

MAX_BODY = 4 * 1_048_576
"""Octets of one part that `body` looks at; the rest of it is not searched."""
MAX_VALUE = 32_768
"""Characters of one header value that are compared."""


@dataclass(frozen=True, slots=True)
class Box:
    """The box: its addresses (the first is its own), its mailboxes, those with a special use."""

    addresses: tuple[Address, ...]
    mailboxes: frozenset[str] = frozenset(("INBOX",))
    special_uses: Mapping[str, str] = field(default_factory=dict)
    """From the attribute in lower case (`\\junk`) to the name."""


@dataclass(frozen=True)
class Letter:
    """`read` gives octets [start, stop) of the message, whose header section is `scan.header`.

    `recipient` is the address of the box that the envelope names. `now` bears the zone that a
    script means where it names none (RFC 5260 4.1).
    """

    scan: Scan
    sender: ReversePath
    recipient: Address
    now: datetime
    read: Callable[[int, int], bytes]

    @cached_property
    def fields(self) -> tuple[Field, ...]:
        """Of the top header section."""
        return fields(self.scan.header)

    def sections(self) -> Iterator[tuple[Part, tuple[Field, ...]]]:
        """The header section of every entity, the top one first (RFC 5703 4.1)."""
        yield self.scan.root, self.fields
        for part in parts(self.scan.root):
            if part is not self.scan.root:
                yield part, fields(self.read(part.header_start, part.body_start))

    def values(self, name: str) -> list[str]:
        """Of every field called `name`, as a reader sees them."""
        return shown(self.fields, name)

    def body(self, part: Part, budget: Budget) -> bytes:
        """The decoded octets of a leaf. Raises ScriptFailed."""
        end = min(part.body_end, part.body_start + MAX_BODY)
        budget.characters(end - part.body_start)
        return decoded(part.encoding, self.read(part.body_start, end))

    def text(self, part: Part, budget: Budget) -> str:
        """What a reader sees of a text leaf (RFC 5173 5.3). Raises ScriptFailed."""
        end = min(part.body_end, part.body_start + MAX_BODY)
        budget.characters(end - part.body_start)
        return text_of(part, self.read(part.body_start, end))

    def content(self, part: Part, budget: Budget) -> str:
        """The characters of a part, HTML with its tags (RFC 5173 5.2). Raises ScriptFailed."""
        octets = self.body(part, budget)
        return (
            decode_charset(octets, part.charset)
            if part.media_type == "text"
            else octets.decode("utf-8", "replace")
        )

    def around(self, part: Part, budget: Budget) -> str:
        """Of what has parts: what stands before and behind them, or the header of the message it
        holds (RFC 5173 5.2). Raises ScriptFailed."""
        first, last = part.children[0], part.children[-1]
        if part.is_message:
            ranges = [(first.header_start, first.body_start)]
        else:
            ranges = [(part.body_start, first.header_start), (last.body_end, part.body_end)]
        octets = b"".join(
            self.read(start, min(stop, start + MAX_BODY)) for start, stop in ranges if start < stop
        )
        budget.characters(len(octets))
        return octets.decode("utf-8", "replace")

    def raw(self, budget: Budget) -> str:
        """The body as it came (RFC 5173 5.1). Raises ScriptFailed."""
        start, end = self.scan.root.body_start, self.scan.size_octets
        end = min(end, start + MAX_BODY)
        budget.characters(end - start)
        return self.read(start, end).decode("utf-8", "replace")


def parts(root: Part) -> Iterator[Part]:
    """Every entity, parents first."""
    waiting = [root]
    while waiting:
        part = waiting.pop()
        yield part
        waiting.extend(reversed(part.children))


def shown(section: tuple[Field, ...], name: str) -> list[str]:
    """Values of the fields called `name`, decoded, at most MAX_VALUE characters of each."""
    wanted = name.lower()
    return [decode_words(each.value)[:MAX_VALUE].strip() for each in section if each.name == wanted]


def mailboxes_of(section: tuple[Field, ...], name: str) -> list[Mailbox]:
    """Every address in the fields called `name`; of a group its members."""
    wanted = name.lower()
    found: list[Mailbox] = []
    for each in section:
        if each.name == wanted:
            for entry in parse_addresses(each.value[:MAX_VALUE]).entries:
                found.extend(entry.members if isinstance(entry, Group) else (entry,))
    return [each for each in found if each.local]


def spelled(local: bytes) -> str:
    """A local part without its quotes (RFC 5228 2.7.4)."""
    text = local.decode("utf-8", "replace")
    if text.startswith('"') and text.endswith('"') and len(text) > 1:
        text = text[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    return text
