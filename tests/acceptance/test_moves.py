"""What a new list does to the queue (WT-43, OP-34), and domains that move (OP-101)."""

from __future__ import annotations

import email
import email.policy
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mssmtp.demo.authority import Identity
from mssmtp.mail import Address
from mssmtp.outside import LookupFailed
from mssmtp.storage import QueueEntry
from tests.acceptance.ours import Ours, answer, letter
from tests.acceptance.space import BUS, OWN_SUBJECT, Space, partner
from tests.acceptance.table import Table
from tests.acceptance.test_certificates import BY_NAME, delivered, received, undelivered
from tests.home import ZOE
from tests.smtp_out.peer import Peer, Script

VALID = BY_NAME["cert-valide-audit"]
SENDER = f"essai@{VALID.domain}"
DAY = timedelta(days=1)
NOW = datetime.now(UTC).replace(microsecond=0)


def table_of(domain: str, key: str, moment: datetime) -> str:
    """A table of the settings file."""
    return f'\n[[domains]]\nname = "{domain}"\n{key} = {moment.isoformat()}\n'


# ---------------------------------------------------------------- OP-34: the queue and a new list


@pytest.fixture(scope="module")
def waiting(space: Space, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ours]:
    """An operator that knows of one announced move, of a domain served elsewhere."""
    also = tuple((f"{name}.test", BUS.text) for name in ("retire", "change", "demenage"))
    tables = table_of("demenage.test", "forward_only_until", NOW + 10 * DAY)
    with Ours(tmp_path_factory.mktemp("waiting"), space, tables=tables, also=also).running() as it:
        for domain, _ in also:
            it.resolver.hosts[domain] = LookupFailed()
        yield it


def entries(ours: Ours, domain: str) -> list[QueueEntry]:
    return [e for e in ours.queue() if e.recipient.address.domain == domain]


def status_of(report: bytes) -> str:
    """The delivery-status part of a DSN, unfolded."""
    parts = email.message_from_bytes(report, policy=email.policy.default).walk()
    status = next(p for p in parts if p.get_content_type() == "message/delivery-status")
    return " ".join(status.as_string().split())


@pytest.mark.requirement("OP-97", "OP-34", "OP-19")
def test_wt_43_a_hundred_letters_to_a_removed_domain_come_back_with_the_cause(
    waiting: Ours, table: Table
) -> None:
    before = len(waiting.inbox())
    for number in range(100):
        waiting.submit(f"essai{number}@retire.test")

    def all_tried() -> bool | None:
        return all(e.attempts for e in entries(waiting, "retire.test")) or None

    waiting.until(all_tried, "each letter is tried once")
    assert len(entries(waiting, "retire.test")) == 100
    waiting.list_again("retire.test")

    def none_left() -> bool | None:
        return not entries(waiting, "retire.test") or None

    waiting.until(none_left, "the letters come back")
    reports = waiting.inbox()[before:]
    assert len(reports) == 100
    causes = {status_of(each).split("Diagnostic-Code:")[1].split("(liste")[0] for each in reports}
    assert all("Status: 5.7.1" in status_of(each) for each in reports)
    (cause,) = causes
    table.saw(
        "WT-43",
        "domain removed, 100 messages queued",
        "outbound",
        f"100 DSN 5.7.1:{cause}(liste du …)",
    )


@pytest.mark.requirement("OP-97", "OP-34", "OP-21")
def test_wt_43_a_domain_listed_with_another_name_is_tried_at_once(
    waiting: Ours, table: Table
) -> None:
    renamed = partner("change.test")
    identity = waiting.space.authority.issue(renamed)
    with waiting.exposed("change.test", (identity, Script())) as (peer,):
        undelivered(waiting, "essai@change.test", peer)
        waiting.list_again("retire.test", also=(("change.test", renamed.text),))
        waiting.gone("essai@change.test")
        assert len(peer.messages) == 1
    table.saw(
        "WT-43",
        "domain listed with another name",
        "outbound",
        "tried at once with the new list: delivered",
    )


@pytest.mark.requirement("OP-97", "OP-34", "OP-101")
def test_wt_43_an_announced_move_holds_what_is_queued(waiting: Ours, table: Table) -> None:
    recipient = "essai@demenage.test"
    waiting.submit(recipient)
    first = waiting.tried(recipient)
    before = len(waiting.inbox())
    waiting.list_again("retire.test", "demenage.test")
    waiting.clock.ahead += 3 * DAY  # far behind the 48 hours after which a letter is given up
    waiting.tick()

    def again() -> QueueEntry | None:
        (entry,) = entries(waiting, "demenage.test")
        return entry if entry.attempts > first.attempts and entry.leased_by is None else None

    held = waiting.until(again, "the next attempt")
    assert held.last_reply is not None
    said = held.last_reply.split(" au plus tard")[0]
    reports = [status_of(each) for each in waiting.inbox()[before:]]
    assert all("Action: delayed" in each for each in reports)
    with waiting.exposed("demenage.test", (waiting.space.bus, Script())) as (peer,):
        waiting.list_again("retire.test")
        waiting.gone(recipient)
        assert len(peer.messages) == 1
    table.saw(
        "WT-43",
        "domain removed, move announced",
        "outbound",
        f"held beyond 48 h: {said} …; delivered once listed again",
    )


# ---------------------------------------------------------------- OP-101: domains of ours that move

NEAR, FAR, LEAVING = "bientot.test", "plus-tard.test", "parti.test"
OTHER = partner("nouvel-operateur.test")


@pytest.fixture
def moving(space: Space, tmp_path: Path) -> Iterator[Ours]:
    """An operator to which two domains come and which one leaves; all are listed for two."""
    more = {"operator.domains": ("hopital-a.test", NEAR, FAR, LEAVING)}
    tables = (
        table_of(NEAR, "served_from", NOW + DAY)
        + table_of(FAR, "served_from", NOW + 10 * DAY)
        + table_of(LEAVING, "forward_only_until", NOW + 10 * DAY)
    )
    also = tuple(
        (domain, name) for domain in (NEAR, FAR, LEAVING) for name in (OWN_SUBJECT.text, OTHER.text)
    )
    with Ours(tmp_path, space, more, tables=tables, also=also).running() as operator:
        for domain in (NEAR, FAR, LEAVING):
            operator.add_box(Address.parse(f"luc@{domain}"))
        yield operator


@contextmanager
def other_operator(ours: Ours) -> Iterator[Peer]:
    """Listens under the host name that is the CN of its listed certificate."""
    identity: Identity = ours.space.authority.issue(OTHER)
    with ours.exposed("nouvel-operateur.test", (identity, Script())) as (peer,):
        ours.settings.smtp_out.ports[OTHER.cn] = peer.port
        yield peer


def said_to(ours: Ours, recipient: str, sender: str = SENDER) -> str:
    """The last reply to a letter from outside."""
    with ours.peer(ours.space.identity(VALID)) as client:
        client.mail(sender)
        said = client.rcpt(recipient)
        if said[0] == 250:
            said = client.data(letter(sender, recipient))
    return answer(said)


def undated(said: str) -> str:
    """A reply without its date."""
    found = re.search(r"\d\d/\d\d/\d{4} a \d\d:\d\d \(UTC[^)]*\) ?", said)
    assert found is not None, said
    return f"{said[: found.start()]}… {said[found.end() :]}".strip()


@pytest.mark.requirement("OP-101")
def test_op_101_a_domain_that_comes_is_served_from_its_date(moving: Ours, table: Table) -> None:
    near, far = f"luc@{NEAR}", f"luc@{FAR}"
    near_said, far_said = said_to(moving, near), said_to(moving, far)
    assert near_said.startswith("450 4.7.1 ")
    assert far_said.startswith("550 5.7.1 ")
    table.saw("OP-101", "served here from a date that is near", "inbound", undated(near_said))
    table.saw("OP-101", "served here from a date that is far", "inbound", undated(far_said))
    with moving.exposed(FAR, (moving.space.authority.issue(OTHER), Script())) as (peer,):
        delivered(moving, peer, far)
    assert moving.inbox(Address.parse(far)) == []
    table.saw(
        "OP-101", "served here from a date that is far", "outbound", "delivered to its operator"
    )
    moving.clock.ahead += DAY + timedelta(minutes=1)
    said = said_to(moving, near)
    assert len(moving.inbox(Address.parse(near))) == 1
    table.saw("OP-101", "served here, the date has come", "inbound", said)
    handed_on(moving, table)


def handed_on(moving: Ours, table: Table) -> None:
    """The operator a domain comes from forwards a letter of somebody else's."""
    box = f"luc@{NEAR}"
    with moving.peer(moving.space.authority.issue(OTHER)) as client:
        client.mail(box)
        assert client.rcpt(box)[0] == 250
        said = answer(client.data(letter(SENDER, box)))
        # The same for another's box, or from another reverse-path, is what OP-15 refuses.
        client.mail(box)
        assert client.rcpt(str(ZOE))[0] == 250
        assert answer(client.data(letter(SENDER, box))).startswith("550 5.7.1 ")
    assert len(moving.inbox(Address.parse(box))) == 2
    table.saw("OP-101", "handed on by the operator it comes from", "inbound", said)


@pytest.mark.requirement("OP-101", "OP-34")
def test_op_101_a_domain_that_leaves_is_forwarded_until_its_date(
    moving: Ours, table: Table
) -> None:
    box = f"luc@{LEAVING}"
    # DNS leads to us still, under our own name and under another one.
    moving.resolver.hosts[LEAVING] = ("mx.hopital-a.test", "aussi-nous.test")
    moving.settings.smtp_out.ports["aussi-nous.test"] = moving.ports["operators"]
    with other_operator(moving) as peer:
        said = said_to(moving, box)
        moving.gone(box)
        moving.submit(box)
        moving.gone(box)
        first, second = peer.messages
        assert [c for c in peer.sessions[0].commands if c.startswith("MAIL")][0].startswith(
            f"MAIL FROM:<{box}>"
        )
        assert letter(SENDER, box).splitlines()[0] in first.body
        assert second.recipients == (box,)
    assert moving.inbox(Address.parse(box)) == []
    row = ("OP-101", "forward only, until a date")
    table.saw(*row, "inbound", said)
    table.saw(*row, "outbound", "handed on, the box as reverse-path, From unchanged")
    unknown = said_to(moving, f"personne@{LEAVING}")
    table.saw("OP-101", "forward only, box unknown", "inbound", unknown)
    moving.clock.ahead += 10 * DAY + timedelta(minutes=1)
    moving.publish_crls(NOW + 20 * DAY)
    moving.tick()
    passed = said_to(moving, box)
    table.saw("OP-101", "forward only, the date has passed", "inbound", undated(passed))


@pytest.mark.requirement("DEF-01", "OP-13")
def test_def_01_a_domain_that_is_not_listed_yet_exchanges_with_nobody_outside(
    space: Space, table: Table, tmp_path: Path
) -> None:
    domain, row = "demande.test", ("DEF-01", "a domain of ours not listed yet")
    more = {"operator.domains": ("hopital-a.test", domain)}
    with Ours(tmp_path, space, more).running() as ours:
        box = Address.parse(f"luc@{domain}")
        ours.add_box(box)
        table.saw(*row, "inbound", said_to(ours, str(box)))
        client = ours.log_in(box)
        assert client.mail(str(box))[0] == 250
        assert client.rcpt(str(ZOE))[0] == 250  # inside this operator its boxes are in use
        table.saw(*row, "outbound", answer(client.rcpt(SENDER)))
        client.quit()


@pytest.mark.requirement("OP-101")
def test_op_101_a_box_of_a_domain_to_come_does_not_send_yet(moving: Ours) -> None:
    sender = Address.parse(f"luc@{FAR}")
    said = moving.sender_refusal(sender)
    assert said.startswith("550 5.7.1 Votre domaine plus-tard.test ne sera servi ici qu'a partir")
    assert received(moving, moving.space.identity(VALID), SENDER).startswith("250 ")
