"""Attributes of XCLIENT and XFORWARD, as Postfix defines them (XCLIENT_README, XFORWARD_README)."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from ipaddress import ip_address

from mssmtp.errors import BadSyntax
from mssmtp.smtp import replies

XCLIENT = ("NAME", "ADDR", "PORT", "PROTO", "HELO")
"""LOGIN is not among them: nobody is logged in by somebody else's word (ATT-17)."""
XFORWARD = ("NAME", "ADDR", "PORT", "PROTO", "HELO", "IDENT", "SOURCE")

_LONGEST = 255
_PRINTABLE = re.compile(r"[\x21-\x7e]{1,255}\Z")
_ENCODED = re.compile(r"\+([0-9A-Fa-f]{2})")
_UNKNOWN = frozenset({"[UNAVAILABLE]", "[TEMPUNAVAIL]"})


class BadAttribute(BadSyntax):
    """An attribute that was not announced, or a value that is none."""

    smtp = replies.BAD_ATTRIBUTE


@dataclass(frozen=True, slots=True)
class Told:
    """What a gateway said of the client behind it; empty: nothing."""

    address: str = ""
    helo: str = ""

    def with_attributes(self, told: dict[str, str]) -> Told:
        """After the command; `[UNAVAILABLE]` is nothing, whatever was said before."""
        return replace(
            self, address=told.get("ADDR", self.address), helo=told.get("HELO", self.helo)
        )

    def or_of(self, other: Told) -> Told:
        """What is not known here, as the other has it."""
        return Told(self.address or other.address, self.helo or other.helo)


def attributes(argument: str | None, known: tuple[str, ...]) -> dict[str, str]:
    """`NAME=value …`; values in xtext, "" for `[UNAVAILABLE]`. Raises BadAttribute."""
    if not argument or not argument.isascii():
        raise BadAttribute
    found: dict[str, str] = {}
    for word in argument.split():
        name, equals, value = word.partition("=")
        name = name.upper()
        if not equals or name not in known or name in found:
            raise BadAttribute
        found[name] = _value(name, value)
    return found


def _value(name: str, text: str) -> str:
    if text.upper() in _UNKNOWN:
        return ""
    value = _ENCODED.sub(lambda pair: chr(int(pair[1], 16)), text)
    if len(value) > _LONGEST or not _PRINTABLE.match(value):
        raise BadAttribute
    if name != "ADDR":
        return value
    try:
        return str(ip_address(value[5:] if value.upper().startswith("IPV6:") else value))
    except ValueError as error:
        raise BadAttribute from error
