"""Names with every octet, and boxes with very many mailboxes."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import pytest

from mssmtp.imap import names
from mssmtp.storage import mailboxes
from mssmtp.storage.mailboxes import MAX_MAILBOXES
from mssmtp.storage.view import View
from tests.imap.world import Client, World

REFUSED = [b"NO [CANNOT]", b"NO [TOOBIG]", b"BAD"]


def created(client: Client, wire: bytes) -> str:
    """What CREATE of these octets, as a literal, made: a name, or nothing when it is refused.

    Whatever is made comes back from LIST in the same octets, is selected and deleted by them.
    """
    before = set(client.ok('LIST "" "*"'))
    answer = client.send(b"a CREATE {%d+}\r\n%b\r\n" % (len(wire), wire))
    last = answer.splitlines()[-1]
    after = set(client.ok('LIST "" "*"')) - before
    if not last.startswith(b"a OK"):
        assert any(refusal in last for refusal in REFUSED), last
        assert not after
        return ""
    made = wire.removesuffix(b"/")
    assert any(quoted(made) in line.encode() for line in after), (made, after)
    client.ok(b"SELECT " + quoted(made))
    client.ok(b"UNSELECT")
    client.ok(b"DELETE " + quoted(made))
    if made.startswith(b"a/"):
        client.ok("DELETE a")
    return names.decode(made)


def quoted(wire: bytes) -> bytes:
    """As a quoted string (RFC 3501 4.3)."""
    return b'"' + wire.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def files(home: Path) -> set[Path]:
    """Every name in the home but those of the engine and of processes."""
    return {path for path in home.rglob("*") if not path.name.startswith("store.db")}


@pytest.mark.attack
@pytest.mark.parametrize("around", [b"%b", b"x%by", b"a/%b"], ids=["alone", "inside", "child"])
def test_att_23_every_octet_in_a_name_is_a_name_or_refused(world: World, around: bytes) -> None:
    """Raw octets: printable ASCII but `&` makes a mailbox; controls, 8-bit and NUL never do."""
    before, client = files(world.home), world.client(select=None)
    made = {octet: created(client, around % bytes([octet])) for octet in range(256)}
    assert files(world.home) == before, "no name became a path"
    for octet, name in made.items():
        is_printable = 0x20 <= octet <= 0x7E and octet != ord("&")
        at_an_end = octet == ord("/") and around in (b"%b", b"a/%b")
        assert bool(name) == (is_printable and not at_an_end), (octet, name)


@pytest.mark.attack
def test_att_23_every_character_in_modified_utf7_is_a_name_or_refused(world: World) -> None:
    before, client = files(world.home), world.client(select=None)
    for code in (*range(256), 0x2028, 0x202E, 0xFEFF, 0xFFFF, 0x1F9D1):
        name = created(client, names.encode(f"x{chr(code)}y"))
        is_control = code < 0x20 or 0x7F <= code <= 0x9F or code in (0x2028, 0xFFFF)
        assert bool(name) != is_control, (code, name)
    assert files(world.home) == before


@pytest.mark.attack
@pytest.mark.parametrize(
    "wire",
    [
        b"/etc/passwd",
        b"a//b",
        b"a" * 256,
        b"a" * 100_000,
        b"/".join([b"a"] * 21),
        b"&2D0-",  # half a surrogate pair
        b"&AGE-",  # `a`, spelt another way
        b"&",
        b"&AAA-",  # NUL
        b"&" + b"A" * 5_000 + b"-",
    ],
)
def test_att_23_impossible_names_are_refused_and_the_session_goes_on(
    world: World, wire: bytes
) -> None:
    client = world.client(select=None)
    answer = client.send(b"a CREATE {%d+}\r\n%b\r\n" % (len(wire), wire))
    assert any(refusal in answer.splitlines()[-1] for refusal in REFUSED), answer
    client.ok("NOOP")


@pytest.mark.attack
@pytest.mark.parametrize("name", ["..", ".", "../../etc/passwd", "a\\b", "~root", "|id", "$(id)"])
def test_att_23_names_that_look_like_paths_are_only_names(world: World, name: str) -> None:
    before = files(world.home)
    client = world.client(select=None)
    client.ok(b"CREATE " + quoted(name.encode()))
    client.ok(b"SELECT " + quoted(name.encode()))
    world.fill(1, mailbox=name)
    assert files(world.home) == before


def fill_with_mailboxes(world: World, count: int) -> None:
    """Mailboxes of Zoé up to `count`, in one commit."""

    def job(writing: Any) -> None:
        there = len(writing.mailboxes(world.zoe.id))
        for number in range(count - there):
            writing._add_mailbox(world.zoe.id, f"Dossier {number:05d}", None)

    world.store.write(job).result()


def rows_read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each statement from now on gives."""
    counts: list[int] = []
    original = View._all

    def counted(self: View, statement: str, **values: object) -> list[Any]:
        found = original(self, statement, **values)
        counts.append(len(found))
        return found

    monkeypatch.setattr(View, "_all", counted)
    return counts


@pytest.mark.timeout(60)
def test_ten_thousand_mailboxes_are_listed_and_one_more_is_refused(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_with_mailboxes(world, MAX_MAILBOXES)
    client = world.client(select=None)
    assert len(client.ok('LIST "" "*"')) == MAX_MAILBOXES
    client.no("CREATE Encore", "LIMIT")
    client.no("RENAME Archive Nouveau/Archive", "CANNOT")
    client.no('RENAME "Dossier 00001" "Nouveau/Dossier"', "LIMIT")
    counts = rows_read(monkeypatch)
    assert "MESSAGES 0" in client.ok('STATUS "Dossier 05000" (MESSAGES)')[0]
    client.ok('DELETE "Dossier 05000"')
    client.ok("CREATE Encore")
    client.ok("SELECT Encore")
    assert sum(counts) < 100, "what concerns one mailbox does not read them all"
    client.no("CREATE Parent/Enfant", "LIMIT")


def test_the_limit_counts_the_parents_that_would_be_made(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = world.client(select=None)
    here = len(client.ok('LIST "" "*"'))
    monkeypatch.setattr(mailboxes, "MAX_MAILBOXES", here + 2)
    client.no("CREATE a/b/c", "LIMIT")
    client.ok("CREATE a/b")
    client.no("CREATE c", "LIMIT")
    assert len(client.ok('LIST "" "*"')) == here + 2


@pytest.mark.parametrize("enabled", [False, True], ids=["rev1", "rev2"])
def test_octets_that_are_no_utf8_are_bad_syntax(world: World, enabled: bool) -> None:
    """RFC 6855 3: BAD for any octet sequence that fails to be UTF-8, never a name."""
    client = world.client(select=None)
    if enabled:
        client.ok("ENABLE UTF8=ACCEPT")
    for octets in (b"\xff", b"a\xc3", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"):
        client.bad(b'CREATE "%b"' % octets)
        client.bad(b"CREATE {%d+}\r\n%b" % (len(octets), octets))


@pytest.mark.attack
def test_att_23_every_character_in_utf8_is_a_name_or_refused(world: World) -> None:
    """After ENABLE a name goes to the wire as it is kept; no control character ever does."""
    before, client = files(world.home), world.client(select=None)
    client.ok("ENABLE UTF8=ACCEPT")
    for code in (*range(0xA0, 0x100), 0x85, 0x9F, 0x2028, 0x2029, 0x202E, 0xFEFF, 0x1F9D1, 0x0344):
        spelt = f"x{chr(code)}y".encode()
        tagged, _ = client.command(b'CREATE "%b"' % spelt)
        is_control = code in (0x85, 0x9F, 0x2028, 0x2029)
        assert tagged.startswith("NO [CANNOT]" if is_control else "OK"), (code, tagged)
        if not is_control:
            kept = unicodedata.normalize("NFC", spelt.decode())
            assert any(kept in line for line in client.ok(b'LIST "" "%b"' % spelt)), code
            client.ok(b'DELETE "%b"' % spelt)
    assert files(world.home) == before
