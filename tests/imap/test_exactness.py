"""All that FETCH says of a message comes from the same octets and agrees (GEN-02, APL-02, APL-03).

The message is put together again from what BODYSTRUCTURE announces and BODY[...] gives, and its
parts are decoded a second time by the standard library.
"""

from __future__ import annotations

import base64
import quopri
import re
import string
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from mssmtp.message.scanner import Scanner
from mssmtp.message.summary import Summary
from mssmtp.message.tree import ScanLimits
from mssmtp.storage import Reading
from mssmtp.storage.letters import message_reader
from tests.corpus import PLAIN, cpython_messages, torture_messages
from tests.imap.fetched import Value, parsed, responses
from tests.imap.world import Client, World

READER = message_reader(None)
TYPICAL = ((0, 7), (3, 1), (5, 1_000_000), (1_000_000, 1))


@dataclass(frozen=True)
class Leaf:
    """A part of BODYSTRUCTURE without parts: what it says of itself."""

    number: str
    fields: list[Value]

    @property
    def kind(self) -> bytes:
        media_type, subtype = self.fields[:2]
        assert isinstance(media_type, bytes)
        assert isinstance(subtype, bytes)
        return media_type + b"/" + subtype

    @property
    def encoding(self) -> bytes:
        encoding = self.fields[5]
        assert isinstance(encoding, bytes)
        return encoding.lower()

    @property
    def octets(self) -> int:
        octets = self.fields[6]
        assert isinstance(octets, int)
        return octets

    @property
    def is_message(self) -> bool:
        return self.kind == b"MESSAGE/RFC822" and isinstance(self.fields[7], list)

    @property
    def lines(self) -> int | None:
        lines = self.fields[9] if self.is_message else None
        if self.kind.startswith(b"TEXT/"):
            lines = self.fields[7]
        assert lines is None or isinstance(lines, int)
        return lines


def is_multipart(structure: Value) -> bool:
    return isinstance(structure, list) and isinstance(structure[0], list)


def leaves(structure: Value, prefix: str = "") -> Iterator[Leaf]:
    """RFC 3501 6.4.5: part numbers, with those of a nested message below its own."""
    assert isinstance(structure, list)
    if not is_multipart(structure):
        yield from _leaf(Leaf(f"{prefix}1", structure))
        return
    for number, part in enumerate(_parts(structure), 1):
        if is_multipart(part):
            yield from leaves(part, f"{prefix}{number}.")
        else:
            assert isinstance(part, list)
            yield from _leaf(Leaf(f"{prefix}{number}", part))


def _leaf(leaf: Leaf) -> Iterator[Leaf]:
    yield leaf
    if leaf.is_message:
        yield from leaves(leaf.fields[8], f"{leaf.number}.")


def _parts(structure: list[Value]) -> list[Value]:
    return structure[: _count(structure)]


def _count(structure: list[Value]) -> int:
    """Parts come before the subtype, which is a string."""
    return next(at for at, value in enumerate(structure) if isinstance(value, bytes))


def _basic(structure: Value) -> Value:
    """BODYSTRUCTURE without its extension data: BODY (7.4.2)."""
    assert isinstance(structure, list)
    if is_multipart(structure):
        count = _count(structure)
        return [*map(_basic, structure[:count]), structure[count]]
    leaf = Leaf("", structure)
    if leaf.is_message:
        return [*structure[:8], _basic(structure[8]), structure[9]]
    return structure[: 8 if leaf.kind.startswith(b"TEXT/") else 7]


class Fetching:
    """One message in a client's hands."""

    def __init__(self, client: Client, number: int) -> None:
        self._client = client
        self._number = number

    def get(self, *items: str) -> dict[bytes, Any]:
        command = f"x FETCH {self._number} ({' '.join(items)})\r\n".encode()
        answer = self._client.send(command)
        at = max(answer.rfind(b"x OK"), answer.rfind(b"x NO [UNKNOWN-CTE]"))
        return responses(answer[:at]).get(self._number, {})

    def one(self, item: str) -> Any:
        (value,) = self.get(item).values()
        return value


def check(message: Fetching, octets: bytes) -> None:
    """Every property of this module."""
    top = message.get(
        "RFC822.SIZE", "ENVELOPE", "BODY", "BODYSTRUCTURE", "BODY.PEEK[]", "BODY.PEEK[HEADER]",
        "BODY.PEEK[TEXT]", "BINARY.PEEK[]", "BINARY.SIZE[]",
    )  # fmt: skip
    assert top[b"BODY[]"] == top[b"BINARY[]"] == octets
    assert top[b"RFC822.SIZE"] == top[b"BINARY.SIZE[]"] == len(octets)
    assert top[b"BODY[HEADER]"] + top[b"BODY[TEXT]"] == octets
    assert top[b"BODY"] == _basic(top[b"BODYSTRUCTURE"])
    assert len(top[b"ENVELOPE"]) == 10
    _check_fields(message, top[b"BODY[HEADER]"])
    found = list(leaves(top[b"BODYSTRUCTURE"]))
    at = 0
    for leaf in found:
        at = _check_leaf(message, leaf, octets, at)
    _check_boundaries(message, top[b"BODYSTRUCTURE"], top[b"BODY[TEXT]"], "")


def _check_fields(message: Fetching, header: bytes) -> None:
    """HEADER.FIELDS and HEADER.FIELDS.NOT share the fields out and lose none."""
    names = "(Content-Type subject X-MSS-Type)"
    got = message.get(f"BODY.PEEK[HEADER.FIELDS {names}]", f"BODY.PEEK[HEADER.FIELDS.NOT {names}]")
    chosen, others = got.values()
    assert chosen.endswith(b"\r\n")
    assert sorted((chosen + others).split()) == sorted(header.split()) or b"\0" in header


def _check_leaf(message: Fetching, leaf: Leaf, octets: bytes, at: int) -> int:
    """One part against the message; where its body begins."""
    n = leaf.number
    got = message.get(f"BODY.PEEK[{n}]", f"BODY.PEEK[{n}.MIME]")
    body, mime = got[b"BODY[%b]" % n.encode()], got[b"BODY[%b.MIME]" % n.encode()]
    assert len(body) == leaf.octets
    if leaf.lines is not None:
        assert leaf.lines == body.count(b"\n") + (bool(body) and not body.endswith(b"\n"))
    start = octets.find(mime + body, at)
    assert start >= at
    _check_partials(message, f"BODY.PEEK[{n}]", body)
    _check_binary(message, leaf, body)
    if leaf.is_message:
        inner = message.get(f"BODY.PEEK[{n}.HEADER]", f"BODY.PEEK[{n}.TEXT]")
        header, text = inner.values()
        assert header + text == body
        if not header.endswith((b"\r\n\r\n", b"\n\n")):
            return start + len(mime)  # a forgotten empty line is forgiven inside a message only
        alone = _scanned(body)
        assert parsed(alone.envelope) == leaf.fields[7]
        assert parsed(alone.bodystructure) == leaf.fields[8]
    return start + len(mime)


def _scanned(octets: bytes) -> Summary:
    """What is said of a nested message when it is no longer nested."""
    scanner = Scanner()
    scanner.feed(octets)
    return Summary.of(scanner.close())


def _check_partials(message: Fetching, item: str, whole: bytes) -> None:
    for start, length in TYPICAL:
        assert message.one(f"{item}<{start}.{length}>") == whole[start : start + length]


def _check_binary(message: Fetching, leaf: Leaf, body: bytes) -> None:
    got = message.get(f"BINARY.PEEK[{leaf.number}]", f"BINARY.SIZE[{leaf.number}]")
    if leaf.encoding not in (b"7bit", b"8bit", b"binary", b"base64", b"quoted-printable"):
        assert got == {}
        return
    decoded, size = got.values()
    assert len(decoded) == size
    _check_partials(message, f"BINARY.PEEK[{leaf.number}]", decoded)
    if leaf.encoding == b"base64":
        assert decoded == slow_base64(body)
    elif leaf.encoding == b"quoted-printable" and b"==" not in body:
        lines = [line.rstrip(b" \t") == line for line in body.split(b"\r\n")]
        if all(lines) and b"\r" not in body.replace(b"\r\n", b""):
            assert decoded == quopri.decodestring(body) or not body.endswith(b"\n")
    elif leaf.encoding in (b"7bit", b"8bit", b"binary"):
        assert decoded == body


def slow_base64(body: bytes) -> bytes:
    """RFC 2045 6.8 letter by letter: what is no letter is passed over, wherever it stands."""
    alphabet = string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"
    bits = "".join(f"{alphabet.index(chr(c)):06b}" for c in body if chr(c) in alphabet)
    return bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits) - 7, 8))


def _check_boundaries(message: Fetching, structure: Value, text: bytes, prefix: str) -> None:
    """Between two parts stands a delimiter line of the boundary that BODYSTRUCTURE tells."""
    if not is_multipart(structure):
        return
    assert isinstance(structure, list)
    count = _count(structure)
    parameters = structure[count + 1]
    assert isinstance(parameters, list)
    values = dict(zip(parameters[::2], parameters[1::2], strict=True))
    boundary = values.get(b"BOUNDARY")
    if not isinstance(boundary, bytes):
        return  # told in RFC 2231 form
    line = re.compile(rb"(?:\A|(?<=\n))--" + re.escape(boundary.rstrip()) + rb"[ \t\r]*(?:\n|\Z)")
    at = 0
    for number in range(1, count + 1):
        got = message.get(f"BODY.PEEK[{prefix}{number}.MIME]", f"BODY.PEEK[{prefix}{number}]")
        whole = b"".join(got.values())
        delimiter = line.search(text, at)
        assert delimiter, (number, boundary)
        assert text.startswith(whole, delimiter.end())
        at = delimiter.end() + len(whole)
        _check_boundaries(message, structure[number - 1], whole, f"{prefix}{number}.")


def put(world: World, messages: list[bytes]) -> Client:
    """All of them in Zoé's INBOX, in one commit."""
    letters = [world.store.seal(octets) for octets in messages]

    def job(writing: Any) -> None:
        inbox = writing.mailbox(world.zoe.id, "INBOX").id
        for letter in letters:
            writing.append(inbox, letter, frozenset(), world.clock.now())

    world.store.write(job).result()
    return world.client()


def corpora() -> list[tuple[str, bytes]]:
    """What the message room reads; of those made by the hundred, some."""
    torture = list(torture_messages())
    many = [each for each in torture if each[0].startswith(("cut", "tokens"))]
    return [*cpython_messages(), *(each for each in torture if each not in many), *many[::24]]


@pytest.mark.attack
def test_all_that_is_told_of_a_message_agrees(tmp_path: Path) -> None:
    """D10 too: every ugly message beside every other, and none keeps another from being read."""
    messages = [(name, octets) for name, octets in corpora() if octets]
    world = World(tmp_path)
    client = put(world, [octets for _, octets in messages])
    for number, (name, octets) in enumerate(messages, 1):
        try:
            check(Fetching(client, number), octets)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error
    world.close()


@pytest.mark.attack
def test_a_message_beyond_the_limits_is_a_stub_with_its_raw_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D10: the limits are lower than when it came, and what was kept of it is made anew."""
    octets = dict(torture_messages())["nested"]
    world = World(tmp_path)
    client = put(world, [octets, PLAIN + b"\r\nBonjour\r\n"])
    reader = message_reader(ScanLimits(mime_depth=2))
    monkeypatch.setattr(world.store, "_vault", replace(world.store._vault, reader=reader))
    monkeypatch.setattr(Reading, "_summary", lambda view, row, key: view._computed(row[3], key))
    message = Fetching(client, 1)
    top = message.get("RFC822.SIZE", "BODYSTRUCTURE", "BODY", "ENVELOPE", "BODY.PEEK[]")
    assert top[b"BODY[]"] == octets
    assert top[b"RFC822.SIZE"] == len(octets)
    assert top[b"ENVELOPE"][1] == b"Message illisible"
    assert top[b"BODY"] == _basic(top[b"BODYSTRUCTURE"])
    text, raw = leaves(top[b"BODYSTRUCTURE"])
    shown = message.one("BODY.PEEK[1]")
    assert "trop complexe" in shown.decode()
    assert (text.octets, text.lines) == (len(shown), shown.count(b"\n"))
    assert message.one("BODY.PEEK[2]") == message.one("BINARY.PEEK[2]") == octets
    assert raw.octets == message.one("BINARY.SIZE[2]") == len(octets)
    assert b"message.eml" in message.one("BODY.PEEK[2.MIME]")
    assert message.one("BODY.PEEK[3]") is None
    assert message.one("BODY.PEEK[HEADER.FIELDS (Subject)]").startswith(b"Subject: Message ill")
    assert client.ok("SEARCH BODY bonjour") == ["* SEARCH 2"]
    world.close()


def test_objectid_survives_new_keys_a_rebuild_and_summaries_of_an_older_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 8474 5: never another, and never the same for other octets."""
    world = World(tmp_path)
    client = put(world, [PLAIN + b"\r\nun\r\n", PLAIN + b"\r\ndeux\r\n"])

    def ids() -> list[Any]:
        return [Fetching(client, n).get("EMAILID", "THREADID") for n in (1, 2)]

    first = ids()
    assert first[0][b"EMAILID"] != first[1][b"EMAILID"]
    world.clock.advance(100_000)
    assert world.store.rotate_messages(world.zoe.id).renewed == 2
    world.store.rotate_owners(world.zoe.id)
    assert ids() == first
    assert world.store.rebuild(from_the_start=True).all_identical
    assert ids() == first
    monkeypatch.setattr(
        world.store, "_vault", replace(world.store._vault, reader=replace(READER, version=b"?"))
    )
    assert ids() == first
    world.close()


XDM = (
    b"Subject: XDM/1.0/DDM+a1b2c3|1.2.250.1.213|^^^&1.2.250.1.213.1.4.8&ISO^NH=\r\n"
    b"X-MSS-TYPE:XDM \r\n\tsuite \r\nx-mss-nir : 1\xe9\r\nX-MSS-INS: =?utf-8?q?=C3=A9?=\r\n"
    b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"--b\r\nContent-Type: text/plain\r\n\r\nVoir piece jointe. \r\n"
)
NAMES = (b"IHE_XDM.ZIP", b"ihe_xdm.zip", b"Ihe_Xdm.Zip")


def test_xdm_letters_reach_the_client_octet_for_octet(tmp_path: Path) -> None:
    """R10, and subjects, X-MSS fields and attachments as they were sent."""
    archive = bytes(range(256)) * 40
    part = (
        b"--b\r\nContent-Type: application/zip; name=%b\r\nContent-Transfer-Encoding: base64\r\n"
        b'Content-Disposition: attachment; filename="%b"\r\n\r\n%b'
    )
    encoded = base64.encodebytes(archive).replace(b"\n", b"\r\n")
    octets = XDM + b"".join(part % (name, name, encoded) for name in NAMES) + b"--b--\r\n"
    world = World(tmp_path)
    message = Fetching(put(world, [octets]), 1)
    check(message, octets)
    assert message.one("ENVELOPE")[1] == XDM.split(b"\r\n")[0].removeprefix(b"Subject: ")
    fields = message.one("BODY.PEEK[HEADER.FIELDS (X-MSS-TYPE X-MSS-NIR X-MSS-INS)]")
    assert fields == b"".join(XDM.partition(b"\r\n")[2].partition(b"MIME-Version")[:1]) + b"\r\n"
    structure = message.one("BODYSTRUCTURE")
    for number, name in enumerate(NAMES, 2):
        shown = structure[number - 1]
        assert shown[2] == [b"NAME", name]
        assert shown[8] == [b"ATTACHMENT", [b"FILENAME", name]]
        assert message.one(f"BINARY.PEEK[{number}]") == archive
    world.close()


def test_parts_are_served_without_reading_the_message_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R03: a client that takes parts one by one costs the parts alone."""
    world = World(tmp_path)
    far = b"--b\r\n\r\n" + b"x" * 300_000 + b"\r\n--b\r\n\r\nlast\r\n--b--\r\n"
    message = Fetching(put(world, [XDM + far]), 1)
    read: list[int] = []
    body = Reading.body

    def noted(self: Reading, mailbox: int, uid: int, start: int, stop: int) -> bytes:
        read.append(stop - start)
        return body(self, mailbox, uid, start, stop)  # type: ignore[arg-type]

    monkeypatch.setattr(Reading, "body", noted)
    monkeypatch.setattr(Scanner, "feed", None)
    assert message.one("BODY.PEEK[3]") == b"last"
    assert message.one("BODY.PEEK[1]<0.4>") == b"Voir"
    message.get("BODYSTRUCTURE", "BINARY.SIZE[2]", "BODY.PEEK[HEADER]", "EMAILID")
    assert sum(read) == 8
    world.close()
