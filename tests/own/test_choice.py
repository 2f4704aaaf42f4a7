"""Which certificate of ours is presented to whom (OP-20, OP-21)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mssmtp.demo.authority import Identity, Make
from mssmtp.mail import Domain
from mssmtp.own import NotPresentable
from mssmtp.revocation import Revocation
from mssmtp.tls import server_context
from mssmtp.trust import Snapshot
from tests.authority import A_DOMAIN, A_SUBJECT, B_DOMAIN
from tests.own.handshake import presented_to
from tests.own.operator import RENAMED, SECOND, SECOND_SUBJECT, Own

A = Domain(A_DOMAIN)
LISTED = ((A_DOMAIN, A_SUBJECT.text), (SECOND, SECOND_SUBJECT.text))


def with_second(own: Own, make: Make | None = None) -> Identity:
    second = own.authority.issue(SECOND_SUBJECT, make or Make())
    own.put(second, "second")
    own.domains = (A_DOMAIN, SECOND)
    return second


@pytest.mark.requirement("OP-20")
def test_each_sender_domain_goes_out_with_a_certificate_listed_for_it(own: Own) -> None:
    with_second(own)
    own.publish(*LISTED)
    keys = own.keys()
    assert keys.for_sender(A) is keys.slots[0].own
    assert keys.for_sender(SECOND) is keys.slots[1].own
    assert not keys.may_speak(keys.slots[0].own, SECOND)
    assert keys.may_speak(keys.slots[0].own, None)


@pytest.mark.requirement("OP-20")
def test_of_several_listed_ones_any_sound_one_will_do(own: Own) -> None:
    """The first is presented; when it has ended or is revoked, the next one is."""
    with_second(own)
    own.domains = (A_DOMAIN,)
    own.publish((A_DOMAIN, A_SUBJECT.text), (A_DOMAIN, SECOND_SUBJECT.text))
    keys = own.keys()
    first, second = (slot.own for slot in keys.slots)
    assert keys.for_sender(A) is first
    revoked = (
        own.authority.crls()[0],
        own.authority._crl(
            own.authority._name,
            own.authority._key,
            [first.leaf.serial_number],
            (own.authority.now, own.authority.now + timedelta(days=7)),
        ),
    )
    snapshot = own.trust.snapshot
    held = Revocation.of(revoked, snapshot.anchors)
    own.trust.swap(Snapshot(snapshot.whitelist, held, snapshot.anchors))
    assert keys.for_sender(A) is second
    assert keys.between_operators.present(None) is second


@pytest.mark.requirement("OP-20")
def test_the_first_ends_before_the_second(own: Own) -> None:
    soon = own.authority.now + timedelta(hours=2)
    own.put(own.authority.issue(A_SUBJECT, Make(not_after=soon)))
    with_second(own)
    own.domains = (A_DOMAIN,)
    own.publish((A_DOMAIN, A_SUBJECT.text), (A_DOMAIN, SECOND_SUBJECT.text))
    keys = own.keys()
    assert keys.for_sender(A) is keys.slots[0].own
    own.clock.moment = soon
    assert keys.for_sender(A) is keys.slots[1].own


@pytest.mark.requirement("OP-21")
def test_a_certificate_that_is_not_listed_yet_loads_and_is_presented_to_nobody(own: Own) -> None:
    own.put(own.authority.issue(RENAMED), "next")
    keys = own.keys()
    old, new = (slot.own for slot in keys.slots)
    assert keys.for_sender(A) is keys.for_sender(None) is old
    assert keys.between_operators.present("mx.hopital-a.test") is old
    own.publish((A_DOMAIN, RENAMED.text))
    assert keys.for_sender(A) is keys.for_sender(None) is new
    assert keys.between_operators.present(None) is new


@pytest.mark.requirement("OP-21")
def test_without_a_listed_certificate_nothing_goes_out(own: Own) -> None:
    own.publish((A_DOMAIN, RENAMED.text))
    keys = own.keys()
    with pytest.raises(NotPresentable) as raised:
        keys.for_sender(A)
    assert (raised.value.reply.code, raised.value.reply.enhanced) == (451, "4.7.5")
    with pytest.raises(NotPresentable):
        keys.for_sender(None)


@pytest.mark.requirement("OP-20")
async def test_a_server_presents_by_the_name_asked_for_or_the_most_useful_one(own: Own) -> None:
    """A peer looks for the name of the recipient's domain; who sends no name gets the widest."""
    with_second(own, Make(hosts=("localhost",)))
    third = Domain("annexe-a.test")
    own.domains = (A_DOMAIN, SECOND, third)
    own.publish(*LISTED, (third, A_SUBJECT.text))
    keys = own.keys()
    first, second = (slot.own for slot in keys.slots)
    context = server_context(own.settings.tls, keys.between_operators, ask_certificate=True)
    for asked, expected in (
        ("mx.clinique-a.test", second),
        ("MX.CLINIQUE-A.TEST", second),
        ("mx.hopital-a.test", first),
        ("mx.inconnu.test", first),
        (None, first),
    ):
        assert presented_to(context, asked) == (expected.leaf, *expected.chain[1:]), asked


def test_a_door_with_a_foreign_sender_or_none_may_use_any(own: Own) -> None:
    keys = own.keys()
    assert keys.for_sender(Domain(B_DOMAIN)) is keys.slots[0].own
    assert keys.may_speak(keys.slots[0].own, Domain(B_DOMAIN))
