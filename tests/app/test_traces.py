"""What was sent, read, deleted and administered is told by who did it, and by nothing else of it.

One server, one story: a letter comes from another operator, is read, answered, deleted, and the box
is looked at over the administration's TLS door.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any
from unittest import mock

import pytest

from mssmtp.demo.authority import Authority, Identity, Make, Subject
from mssmtp.mail import EnvelopeId
from mssmtp.storage import TransferTrace
from tests.app.server import B_SENDER, Site, letter, serving
from tests.authority import B_DOMAIN
from tests.free_ports import free_ports
from tests.home import ZOE, Home, typed

pytestmark = pytest.mark.timeout(90)

CANARY = "canari-dossier-medical"


@dataclass(frozen=True)
class Story:
    """What is left of it when the server has ended."""

    activity: list[dict[str, Any]]
    log: list[dict[str, Any]]
    transfers: list[TransferTrace]
    everything: str
    refused: str


@pytest.fixture(scope="module")
def story(
    template: Home,
    authority: Authority,
    healthy: dict[str, Identity],
    tmp_path_factory: pytest.TempPathFactory,
) -> Story:
    directory = tmp_path_factory.mktemp("traces")
    site = Site(template.copy(directory / "home"), authority, healthy[B_DOMAIN])
    [port] = free_ports(1)
    site.write(listen__admin=f"127.0.0.1:{port}")
    mine = authority.issue(Subject("dsi.test", "1990000077", "DSI"), Make())
    files = mine.write(directory, "dsi")
    named = ("--level", "operator", "--certificate", str(files.certificate_file))
    assert site.home.mssmtp("admin", "add", "dsi", *named).code == 0
    elsewhere = {
        "MSSMTP_ADMIN": f"https://localhost:{port}",
        "MSSMTP_ADMIN_CERTIFICATE": str(files.certificate_file),
        "MSSMTP_ADMIN_KEY": str(files.key_file),
        "MSSMTP_ADMIN_ANCHORS": str(site.home.settings.pki.anchors_file),
    }
    with serving(site, 1) as server:
        assert site.receive(letter(CANARY)).startswith("250 ")
        with site.submitting() as client:
            own = letter(CANARY).replace(B_SENDER.encode(), str(ZOE).encode())
            assert client.sendmail(str(ZOE), [str(ZOE)], own) == {}
        with site.reading() as client:
            first = client.search("ALL")[0]
            client.fetch([first], ["BODY[]"])
            client.delete_messages([first])
            client.expunge()
        with mock.patch.dict(os.environ, elsewhere):
            assert typed("bal", "sent-copy", str(ZOE), "--on").code == 0
            assert site.home.mssmtp("admin", "remove", "dsi").code == 0
            refused = typed("bal", "show", str(ZOE))
        activity = site.home.mssmtp("person", "activity", str(ZOE), "--json").json
    with site.home.store() as store:
        envelopes = [
            EnvelopeId(line["envelope"]) for line in server.events if line["event"] == "accepted"
        ]
        hops = [store.read(lambda r, e=e: r.transfers(e)).result() for e in envelopes]  # type: ignore[misc]
        traces = store.read(lambda r: r.traces()).result()
    told = "".join(f"{each.author}{each.request}{each.answer}" for each in traces)
    return Story(
        activity,
        server.events,
        [hop for each in hops for hop in each],
        told + server.log,
        refused.err,
    )


@pytest.mark.requirement("OP-71", "SEED-48")
def test_there_are_two_families_of_traces_and_the_functional_one_says_who_did_what(
    story: Story,
) -> None:
    functional = {row["action"]: row for row in story.activity}
    assert {"send", "read", "delete"} <= functional.keys()
    assert {functional[what]["author"] for what in ("send", "read", "delete")} == {str(ZOE)}
    assert functional["send"]["answer"].startswith("250 ")
    assert functional["delete"]["answer"] == "1 messages"
    times = [row["at"] for row in story.activity]
    assert times == sorted(times, reverse=True)
    # The technical one: connections with their id, TLS, what failed; no person in it.
    technical = [line for line in story.log if line["event"] in ("connected", "logged in")]
    assert technical
    assert all(line["connection"] for line in technical)
    assert str(ZOE) not in str(technical)


@pytest.mark.requirement("OP-72")
def test_a_functional_trace_has_author_time_action_request_and_answer_and_no_content(
    story: Story,
) -> None:
    for row in story.activity:
        assert row.keys() == {"number", "at", "author", "action", "request", "answer", "box"}
        assert all(row[what] for what in ("at", "author", "action", "request", "answer"))
    assert CANARY not in story.everything


@pytest.mark.requirement("SEED-90")
def test_exchanges_are_traced_correspondents_authenticated_and_access_answered_for(
    story: Story,
) -> None:
    by_door = {hop.transfer.door.value: hop for hop in story.transfers}
    exchange, submission = by_door["operator"], by_door["submission"]
    # The correspondent: a certificate of the trust space, over TLS, listed on that day.
    assert exchange.transfer.peer_dn
    assert exchange.transfer.peer_serial
    assert exchange.transfer.tls_version in ("TLSv1.2", "TLSv1.3")
    assert exchange.transfer.list_date is not None
    assert (str(exchange.sender), exchange.recipients) == (B_SENDER, (str(ZOE),))
    # Access: who opened the box, sent from it and threw away is a person with a login.
    assert str(submission.sender) == str(ZOE)
    assert {row["author"] for row in story.activity if row["action"] in ("send", "delete")} == {
        str(ZOE)
    }


@pytest.mark.attack("ATT-25")
def test_att_25_an_administrator_removed_is_refused_at_the_next_call_of_a_running_server(
    story: Story,
) -> None:
    assert "n'administre rien ici" in story.refused
    [act] = [row for row in story.activity if row["action"] == "administration"]
    assert act["author"] == "dsi (opérateur)"
    assert act["request"].startswith("bal.sent-copy ")
