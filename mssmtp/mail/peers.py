"""Where a connection comes from: its address, and with whom it shares what one peer may have."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

_SUBSCRIBER_BITS = 64


def peer_address(text: str) -> IPv4Address | IPv6Address | None:
    """The address of a peer as a socket prints it; None for what is no address.

    An IPv4 peer of a listener for both families (RFC 4291 2.5.5.2) is an IPv4 address.
    """
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found


def counted_as(address: str) -> str:
    """Under which name the connections, guesses and forms of a peer are counted (ATT-41, F13).

    An IPv4 address is one peer. Of IPv6 a whole /64 is: each subscriber has at least that much
    (RFC 6177 2), and an attacker would else be somebody new with every connection.
    """
    if ":" not in address:
        return address
    found = peer_address(address)
    if isinstance(found, IPv6Address):
        first = IPv6Address(int(found) >> _SUBSCRIBER_BITS << _SUBSCRIBER_BITS)
        return f"{first}/{_SUBSCRIBER_BITS}"
    return address if found is None else str(found)
