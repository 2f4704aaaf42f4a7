"""URLs of messages that CATENATE takes: opened with the rights of the moment (ATT-24, ATT-25)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssmtp.imap.urls import BadUrl, MessageUrl
from tests.imap.world import SERVICE, ZOE, World

TOKENS = [b"/", b"INBOX", b";UID=", b"1", b";UIDVALIDITY=", b"/;SECTION=", b"HEADER", b"%5B", b"%"]
TOKENS += [b"/;PARTIAL=", b"0", b".", b"]", b"\xff", b" ", b"..", b"HEADER.FIELDS%20(A)", b"%00"]


@given(st.lists(st.sampled_from(TOKENS), max_size=12).map(b"".join))
def test_any_octets_are_a_url_or_bad(octets: bytes) -> None:
    try:
        found = MessageUrl.parse(octets)
    except BadUrl as error:
        code = error.code
    else:
        assert found.uid > 0
        return
    assert code.isascii()
    assert code.isprintable()
    assert "]" not in code


@pytest.mark.attack("ATT-24")
@pytest.mark.parametrize(
    ("rights", "code"), [("lrswit", None), ("lswit", "BADURL"), ("", "BADURL")]
)
def test_a_url_needs_the_right_to_read(world: World, rights: str, code: str | None) -> None:
    world.fill(1, bal=world.service)
    account = world.store.read(lambda r: r.account(ZOE)).result()
    inbox = world.store.read(lambda r: r.mailbox(world.service.id, "INBOX")).result()
    assert account is not None
    assert inbox is not None
    world.store.write(lambda w: w.add_member(world.service.id, account.id)).result()
    world.store.write(lambda w: w.set_entry(inbox.id, account.id, rights)).result()
    client = world.client()
    append = f'APPEND Drafts CATENATE (URL "/Other%20Users/{SERVICE}/INBOX/;UID=1")'
    if code:
        client.no(append, code)
    else:
        client.ok(append)
