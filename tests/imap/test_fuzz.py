"""Every generated line in every state: the session answers, and only its own session can end."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mssmtp.imap.commands import VERBS
from tests.imap.test_syntax import TOKENS
from tests.imap.world import PASSWORD, ZOE, Client, World

PREFIXES: dict[str, list[bytes]] = {
    "stranger": [],
    "clear": [],
    "logged in": [f"LOGIN {ZOE} {PASSWORD}".encode()],
    "selected": [f"LOGIN {ZOE} {PASSWORD}".encode(), b"SELECT INBOX"],
    "examined": [f"LOGIN {ZOE} {PASSWORD}".encode(), b"EXAMINE Sent"],
    "idling": [f"LOGIN {ZOE} {PASSWORD}".encode(), b"SELECT INBOX", b"IDLE"],
    "authenticating": [b"AUTHENTICATE PLAIN"],
    "appending": [f"LOGIN {ZOE} {PASSWORD}".encode(), b"APPEND INBOX {20}"],
}
verbs = st.sampled_from([verb.encode() for verb in sorted(VERBS)])
arguments = st.lists(
    st.sampled_from([*TOKENS, b"{3+}\r\n", b"1:*", b"(FLAGS)", b"\r\n", b"INBOX ", b"1 "]),
    max_size=8,
).map(b"".join)
lines = st.tuples(verbs, arguments).map(b" ".join) | arguments


@pytest.mark.attack
@pytest.mark.parametrize("state", sorted(PREFIXES))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(said=st.lists(lines, min_size=1, max_size=4))
def test_att_11_any_line_in_any_state(world: World, state: str, said: list[bytes]) -> None:
    client = Client(world, secure=state != "clear")
    for number, prefix in enumerate(PREFIXES[state]):
        client.send(b"p%d %b\r\n" % (number, prefix))
    before = len(client.received)
    for number, line in enumerate(said):
        if client.is_open:
            client.send(b"f%d %b\r\n" % (number, line))
    heard = bytes(client.received[before:])
    assert b"SERVERBUG" not in heard
    client.check_answers()
    assert b"\r\n" in heard or state in ("appending", "idling") or b"{" in b"".join(said)
    world.clients.remove(client)
    honest = world.client()
    honest.ok("NOOP")
    world.clients.remove(honest)


@pytest.mark.attack
@pytest.mark.parametrize(
    "text",
    ["AUTHENTICATE PLAIN AGEAYg==", "AUTHENTICATE LOGIN", f"LOGIN {ZOE} {{6+}}"],
)
def test_att_13_a_login_cut_at_any_octet_leaves_nothing(world: World, text: str) -> None:
    whole = b"a " + text.encode() + b"\r\nAGEAYg==\r\nAGEAYg==\r\n"
    from mssmtp.imap.effects import Woken

    for length in range(len(whole)):
        client = Client(world, secure=True)
        client.send(whole[:length])
        client.wake(Woken.CLOSED)
        assert not client.is_open
        world.clients.remove(client)
    world.client().ok("NOOP")


def test_a_command_split_at_every_octet_is_the_same_command(world: World) -> None:
    world.fill(1)
    script = (
        b'a1 FETCH 1 (FLAGS BODY.PEEK[HEADER.FIELDS ("Subject")])\r\n'
        b"a2 SEARCH SUBJECT {5+}\r\nrendu\r\n"
        b"a3 APPEND Drafts (\\Draft) {5+}\r\nhello\r\n"
        b"a4 IDLE\r\nDONE\r\na5 NOOP\r\n"
    )
    whole = world.client()
    expected = whole.send(script)
    single = world.client()
    heard = b"".join(single.send(bytes([octet])) for octet in script)
    for answer in (expected, heard):
        assert b"a5 OK" in answer
    strip = [
        line
        for line in expected.split(b"\r\n")
        if b"APPENDUID" not in line and b"RECENT" not in line
    ]
    for line in strip:
        if b"\\Recent" not in line:
            assert line in heard.split(b"\r\n")
