"""Addresses and domains: written, compared, and masked for logs."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NewType

from mssmtp.errors import BadAddress, NonAsciiAddress

Domain = NewType("Domain", str)
"""Lower-case ASCII (A-label) without trailing dot; made by `domain()` only."""

MAX_LOCAL_OCTETS = 64
MAX_ADDRESS_OCTETS = 254

_LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\Z")
_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_DOT_ATOM = re.compile(rf"{_ATEXT}(\.{_ATEXT})*\Z")
_QUOTED = re.compile(r'"([\x20\x21\x23-\x5b\x5d-\x7e]|\\[\x20-\x7e])*"\Z')


@lru_cache(maxsize=4_096)
def domain(text: str) -> Domain:
    """The domain `text`, trimmed, case-folded (OP-30). Raises BadAddress, NonAsciiAddress.

    A trailing dot and an address literal are not accepted (WT-36): neither can be listed.
    """
    if not text.isascii():
        raise NonAsciiAddress
    folded = text.strip(" \t").lower()
    if len(folded) > 253 or not _HOST.match(folded):
        raise BadAddress
    return Domain(folded)


@dataclass(frozen=True, slots=True)
class Address:
    """A mail address; `local` is as given, `domain` is folded. Equality ignores the case of both.

    RFC 5321 4.1.2; local part of at most 64 octets, whole of at most 254 (RFC 3696 erratum 1690).
    """

    local: str = field(compare=False)
    domain: Domain
    _folded: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.local.isascii():
            raise NonAsciiAddress
        if not (_DOT_ATOM.match(self.local) or _QUOTED.match(self.local)):
            raise BadAddress
        if len(self.local) > MAX_LOCAL_OCTETS or len(str(self)) > MAX_ADDRESS_OCTETS:
            raise BadAddress
        if self.local in ('""', '"\\""'):  # ATT-12: an empty local part names nobody
            raise BadAddress
        object.__setattr__(self, "_folded", self.local.lower())

    @classmethod
    def parse(cls, text: str) -> Address:
        """`local@domain` without angle brackets. Raises BadAddress, NonAsciiAddress."""
        return _parsed(text)

    @property
    def key(self) -> str:
        """Case-folded form, for look-ups and digests."""
        return f"{self._folded}@{self.domain}"

    def __str__(self) -> str:
        return f"{self.local}@{self.domain}"


@lru_cache(maxsize=4_096)
def _parsed(text: str) -> Address:
    # The same few are read again and again: of a letter, from the queue and from the envelope.
    local, at, host = text.rpartition("@")
    if not at:
        raise BadAddress if text.isascii() else NonAsciiAddress
    return Address(local, domain(host))


ReversePath = Address | None
"""`None` is `<>` (RFC 5321 4.5.5)."""


def masked(address: Address, patient_domains: frozenset[Domain]) -> str:
    """`address` for logs and screens: of a patient only the first 3 and last 2 (OP-87)."""
    if address.domain not in patient_domains:
        return str(address)
    return f"{_hidden(address.local)}@{address.domain}"


def _hidden(local: str) -> str:
    stars = max(len(local) - 5, 1)
    return f"{local[:3]}{'*' * stars}{local[-2:] if len(local) > 5 else ''}"


_IN_TEXT = re.compile(r"([^\s<>@\"'(),:;]{1,64})@([A-Za-z0-9.-]{1,253})")


def masked_text(text: str, patient_domains: frozenset[Domain]) -> str:
    """`text` (a peer's reply, say) with every patient's address in it masked (OP-87)."""

    def hide(match: re.Match[str]) -> str:
        local, host = match.groups()
        # What is no proper address, an accent in it say, may still be a patient's.
        if host.lower().rstrip(".") not in patient_domains:
            return match.group()
        return f"{_hidden(local)}@{host}"

    return _IN_TEXT.sub(hide, text)
