"""MX look-ups against the demo's DNS server: real queries on loopback (OP-16, RFC 5321 5.1)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import dns.message
import dns.rcode
import dns.rdatatype
import pytest

from mssmtp.demo.dns import DnsServer, Zone, answer
from mssmtp.mail import Domain
from mssmtp.outside import DnsResolver, LookupFailed, NoMailAccepted, SystemEntropy

ZONE = Zone(
    mx={
        "ordered.test": ("20 second.ordered.test.", "10 first.ordered.test."),
        "equal.test": tuple(f"10 mx{number}.equal.test." for number in range(6)),
        "null.test": ("0 .",),
        "odd.test": ("5 under_score.odd.test.", "10 good.odd.test."),
        "useless.test": ("5 under_score.useless.test.",),
        "vast.test": tuple(
            f"{number} a-rather-long-name-{number}.vast.test." for number in range(90)
        ),
    },
    a={
        "host.test": ("127.0.0.9",),
        "many.test": tuple(f"127.0.1.{number}" for number in range(40)),
        "broken6.test": ("127.0.0.8",),
    },
    aaaa={"host.test": ("::1",)},
    txt={"text.test": ('"v=1"',)},
    srv={"_imaps._tcp.text.test": ("0 1 993 imap.text.test.",)},
    failing=frozenset({"down.test"}),
    silent=frozenset({"silent.test"}),
)


@pytest.fixture
async def server() -> AsyncIterator[DnsServer]:
    async with DnsServer(ZONE) as running:
        yield running


def resolver(server: DnsServer, lifetime_s: float = 5.0) -> DnsResolver:
    return DnsResolver(SystemEntropy(), (server.host,), server.port, lifetime_s=lifetime_s)


@pytest.mark.requirement("OP-16")
async def test_hosts_come_by_preference(server: DnsServer) -> None:
    hosts = await resolver(server).exchangers(Domain("ordered.test"))
    assert hosts == ("first.ordered.test", "second.ordered.test")


@pytest.mark.requirement("OP-16")
async def test_equal_preferences_come_in_random_order(server: DnsServer) -> None:
    ask = resolver(server)
    orders = {await ask.exchangers(Domain("equal.test")) for _ in range(30)}
    assert len(orders) > 10
    assert len({frozenset(order) for order in orders}) == 1


@pytest.mark.requirement("OP-16")
async def test_without_mx_the_domain_itself_is_the_host(server: DnsServer) -> None:
    ask = resolver(server)
    assert await ask.exchangers(Domain("host.test")) == ("host.test",)
    assert await ask.addresses("host.test") == ("127.0.0.9", "::1")


async def test_a_domain_without_any_host_is_a_temporary_failure(server: DnsServer) -> None:
    ask = resolver(server)
    assert await ask.exchangers(Domain("nothing.test")) == ("nothing.test",)
    with pytest.raises(LookupFailed) as refusal:
        await ask.addresses("nothing.test")
    assert refusal.value.reply.enhanced == "4.4.3"


async def test_null_mx_is_permanent(server: DnsServer) -> None:
    with pytest.raises(NoMailAccepted) as refusal:
        await resolver(server).exchangers(Domain("null.test"))
    assert refusal.value.reply.is_permanent


@pytest.mark.parametrize("name", ["down.test", "silent.test"])
async def test_servfail_and_silence_are_temporary(server: DnsServer, name: str) -> None:
    ask = resolver(server, lifetime_s=0.4)
    with pytest.raises(LookupFailed):
        await ask.exchangers(Domain(name))
    with pytest.raises(LookupFailed):
        await ask.addresses(name)


async def test_nobody_listening_is_temporary() -> None:
    async with DnsServer(ZONE) as gone:
        pass
    with pytest.raises(LookupFailed):
        await resolver(gone, lifetime_s=0.5).exchangers(Domain("ordered.test"))


@pytest.mark.attack
async def test_results_of_a_hostile_zone_are_bounded(server: DnsServer) -> None:
    ask = resolver(server)
    hosts = await ask.exchangers(Domain("vast.test"))  # does not fit UDP: truncated, then TCP
    assert len(hosts) == DnsResolver.MAX_HOSTS
    assert hosts[0] == "a-rather-long-name-0.vast.test"
    assert len(await ask.addresses("many.test")) == DnsResolver.MAX_ADDRESSES


async def test_names_that_cannot_be_hosts_are_left_out(server: DnsServer) -> None:
    ask = resolver(server)
    assert await ask.exchangers(Domain("odd.test")) == ("good.odd.test",)
    with pytest.raises(LookupFailed):
        await ask.exchangers(Domain("useless.test"))


async def test_answers_are_cached_for_their_ttl(server: DnsServer) -> None:
    ask = resolver(server)
    await ask.exchangers(Domain("ordered.test"))
    asked = server.queries
    await ask.exchangers(Domain("ordered.test"))
    assert server.queries == asked


@pytest.mark.parametrize(
    ("name", "kind", "text"),
    [
        ("text.test", "TXT", '"v=1"'),
        ("_imaps._tcp.text.test", "SRV", "0 1 993 imap.text.test."),
        ("host.test", "AAAA", "::1"),
    ],
)
def test_demo_server_answers_every_type_it_holds(name: str, kind: str, text: str) -> None:
    wire = answer(dns.message.make_query(name, kind).to_wire(), ZONE, limit=None)
    assert wire is not None
    response = dns.message.from_wire(wire)
    assert [rdata.to_text() for rrset in response.answer for rdata in rrset] == [text]


@pytest.mark.parametrize(
    ("name", "rcode"),
    [
        ("absent.test", dns.rcode.NXDOMAIN),
        ("text.test", dns.rcode.NOERROR),
        ("_tcp.text.test", dns.rcode.NOERROR),
        ("down.test", dns.rcode.SERVFAIL),
    ],
)
def test_demo_server_tells_no_name_from_no_record(name: str, rcode: dns.rcode.Rcode) -> None:
    wire = answer(dns.message.make_query(name, "MX").to_wire(), ZONE, limit=None)
    assert wire is not None
    response = dns.message.from_wire(wire)
    assert response.rcode() == rcode
    assert not response.answer


@pytest.mark.parametrize("octets", [b"", b"\0" * 11, b"\xff" * 40, b"\0" * 12])
def test_demo_server_survives_octets_that_are_no_query(octets: bytes) -> None:
    reply = answer(octets, ZONE, limit=512)
    assert reply is None or dns.message.from_wire(reply).rcode() == dns.rcode.NOTIMP


async def test_demo_server_survives_a_client_that_leaves(server: DnsServer) -> None:
    _, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(b"\x00")
    writer.close()
    await writer.wait_closed()
    assert await resolver(server).exchangers(Domain("host.test")) == ("host.test",)
