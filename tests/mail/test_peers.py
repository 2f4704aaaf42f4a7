"""As whom a connection is counted: an IPv4 address, a /64 of IPv6 (ATT-41, F13)."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssmtp.config_web import WebSettings
from mssmtp.mail import counted_as, peer_address
from mssmtp.smtp_link import Link
from mssmtp.tls_layer import Admission, Layer
from mssmtp.user_link import UserLink
from mssmtp.web.connections import Crowd
from tests.imap_server.rig import Rig as ImapRig
from tests.smtp_in.rig import Rig as SmtpRig

SUBSCRIBER = [f"2001:db8:0:64::{number:x}" for number in (1, 0xFFFF, 0xDEAD_BEEF >> 16)]
"""Three addresses of one /64."""
NEIGHBOUR = "2001:db8:0:65::1"
MAPPED = ["::ffff:192.0.2.1", "::FFFF:c000:201", "192.0.2.1"]
"""Three spellings of one IPv4 address."""


@pytest.mark.attack("ATT-41")
@pytest.mark.parametrize("addresses", [SUBSCRIBER, MAPPED], ids=["IPv6", "IPv4"])
def test_one_peer_has_one_name(addresses: list[str]) -> None:
    assert len({counted_as(each) for each in addresses}) == 1


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:0:64:1:2:3:4", "2001:db8:0:64::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("", ""),
        ("?", "?"),
        ("a:b", "a:b"),
    ],
)
def test_names_of_peers(address: str, name: str) -> None:
    assert counted_as(address) == name


@given(st.ip_addresses(v=6), st.ip_addresses(v=6))
def test_two_of_ipv6_share_a_name_when_they_share_64_bits(
    one: IPv6Address, other: IPv6Address
) -> None:
    near = IPv6Address(int(one) >> 64 << 64 | int(other) & (1 << 64) - 1)
    assert counted_as(str(near)) == counted_as(str(one)) or near.ipv4_mapped or one.ipv4_mapped
    if int(one) >> 64 != int(other) >> 64:
        assert counted_as(str(other)) != counted_as(str(one))


@given(st.ip_addresses(v=4), st.ip_addresses(v=4))
def test_two_of_ipv4_share_a_name_when_they_are_one(one: IPv4Address, other: IPv4Address) -> None:
    assert (counted_as(f"::ffff:{one}") == counted_as(str(other))) == (one == other)


def test_what_is_no_address_is_none() -> None:
    assert peer_address("hopital-a.test") is None
    assert peer_address("2001:db8::1%eth0") == IPv6Address("2001:db8::1")
    assert peer_address("::ffff:192.0.2.1") == IPv4Address("192.0.2.1")


# ---------------------------------------------------------------- at the doors


@dataclass(eq=False)
class Caller:
    """What a door asks of a connection before it has said anything."""

    address: str

    def get_extra_info(self, name: str) -> tuple[str, int, int, int] | None:
        return (self.address, 40_000, 0, 0) if name == "peername" else None


@dataclass(eq=False)
class Unfinished:
    """A TLS handshake that has begun."""

    raw: Caller


@pytest.mark.attack("ATT-41")
async def test_att_41_a_door_of_smtp_counts_a_subscriber_of_ipv6_as_one(smtp: SmtpRig) -> None:
    smtp.limit(connections_per_address=2)
    async with smtp.operators() as (door, _):
        links = [cast(Link, Caller(each)) for each in (*SUBSCRIBER, NEIGHBOUR)]
        refused = [door.admit(each, each.address) is not None for each in links]
        assert refused == [False, False, True, False]
        for each in (links[0], links[1], links[3]):
            door.release(each)
        assert door.admit(links[2], links[2].address) is None
        door.release(links[2])
        assert not door._addresses


@pytest.mark.attack("ATT-41")
async def test_att_41_a_door_of_mail_programs_counts_a_subscriber_of_ipv6_as_one(
    imap: ImapRig,
) -> None:
    """The doors of IMAP and ManageSieve count with the same lines."""
    imap.limit(connections_per_address=2)
    async with imap.door() as (door, _):
        links = [cast(UserLink, Caller(each)) for each in (*SUBSCRIBER, NEIGHBOUR)]
        assert [door.admit(each) for each in links] == [True, True, False, True]
        for each in links:
            door.release(each)
        assert not door._per_address


@pytest.mark.attack("ATT-41")
def test_att_41_pages_count_connections_and_forms_of_a_subscriber_of_ipv6_as_one() -> None:
    crowd = Crowd(WebSettings(connections_per_address=2, posts_per_minute=2))
    assert [crowd.enter(each) for each in SUBSCRIBER] == [True, True, False]
    assert crowd.enter(NEIGHBOUR)
    assert [crowd.may_post(each, 0.0) for each in SUBSCRIBER] == [True, True, False]
    assert crowd.may_post(NEIGHBOUR, 0.0)
    crowd.leave(SUBSCRIBER[0])
    assert crowd.enter(SUBSCRIBER[2])
    for each in (SUBSCRIBER[1], SUBSCRIBER[2], NEIGHBOUR):
        crowd.leave(each)
    assert not crowd._from


@pytest.mark.attack("ATT-40", "ATT-41")
def test_att_41_unfinished_handshakes_of_a_subscriber_of_ipv6_are_counted_as_one() -> None:
    admission = Admission(10)  # two of one peer
    layers = [cast(Layer, Unfinished(Caller(each))) for each in (*SUBSCRIBER, NEIGHBOUR)]
    assert [admission.enter(each) for each in layers] == [True, True, False, True]
    for each in layers:
        admission.leave(each)
    assert not admission._addresses
