"""Chunks, keys, writers."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssmtp.errors import ConfigError, Damaged
from mssmtp.mail import Bal, BlobId, MailboxId, Uid
from mssmtp.message import TooComplex
from mssmtp.outside import SystemEntropy
from mssmtp.storage import NoSuchMailbox, Reading, Store, Writing
from mssmtp.storage.keys import FIRST_MARK, Keyring, MasterKey, MasterState, OwnerKey, OwnerRow
from mssmtp.storage.masters import MasterFiles, read_master_key
from mssmtp.storage.sealing import CHUNK_OCTETS, ChunkReader, ChunkSealer
from tests.storage.support import SteppingClock, accept, inbox, message, reopen

KEY, BLOB = bytes(32), BlobId(bytes(range(16)))


def sealed(octets: bytes) -> tuple[list[bytes], bytes]:
    sealer = ChunkSealer(BLOB, KEY)
    blocks = [octets[i : i + CHUNK_OCTETS] for i in range(0, len(octets), CHUNK_OCTETS)] or [b""]
    chunks = [sealer.seal(b, last=i == len(blocks) - 1) for i, b in enumerate(blocks)]
    return chunks, sealer.index()


def reader(chunks: list[bytes], index: bytes, size: int) -> ChunkReader:
    data = b"".join(chunks)
    return ChunkReader(BLOB, KEY, index, size, lambda offset, n: data[offset : offset + n])


@given(
    st.sampled_from([0, 1, CHUNK_OCTETS - 1, CHUNK_OCTETS, CHUNK_OCTETS + 1, 3 * CHUNK_OCTETS]),
    st.integers(-10, 4 * CHUNK_OCTETS),
    st.integers(0, 4 * CHUNK_OCTETS),
)
def test_any_range_is_the_slice(size: int, start: int, stop: int) -> None:
    octets = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    found = reader(*sealed(octets), size)
    assert found.read(start, stop) == octets[max(start, 0) : stop]
    assert found.read() == octets
    found.verify()


def test_chunks_cannot_be_swapped_cut_or_relabelled() -> None:
    octets = os.urandom(3 * CHUNK_OCTETS)
    chunks, index = sealed(octets)
    swapped = reader([chunks[1], chunks[0], chunks[2]], index, len(octets))
    with pytest.raises(Damaged):
        swapped.read(0, 1)
    assert swapped.read(2 * CHUNK_OCTETS) == octets[2 * CHUNK_OCTETS :]
    with pytest.raises(Damaged):  # the second chunk is not the last one
        reader(chunks[:2], index[:8], 2 * CHUNK_OCTETS).verify()
    with pytest.raises(Damaged):  # another size
        reader(chunks, index, len(octets) - 1).verify()
    relabelled = bytes([index[0] ^ 0x80]) + index[1:]
    with pytest.raises(Damaged):
        reader(chunks, relabelled, len(octets)).read(0, 1)


def test_a_tampered_chunk_damages_only_its_message(store: Store, zoe: Bal, home: Path) -> None:
    big = message(body=os.urandom(200_000))
    accept(store, store.seal(big), [zoe])
    accept(store, store.seal(message()), [zoe])
    (path,) = [path for path in (home / "blobs").rglob("*") if path.is_file()]
    octets = bytearray(path.read_bytes())
    octets[100_000] ^= 1
    path.write_bytes(octets)
    box = inbox(store, zoe)
    with pytest.raises(Damaged):
        store.read(lambda r: r.body(box, Uid(1))).result()
    assert store.read(lambda r: r.body(box, Uid(1), 0, 500)).result() == big[:500]
    assert store.read(lambda r: r.body(box, Uid(2))).result() == message()
    assert len(store.check(deep=True).problems) == 1
    octets[100_000] ^= 1
    path.write_bytes(octets)


@given(st.lists(st.integers(1, 90_000), max_size=6))
def test_sealing_does_not_depend_on_how_octets_arrive(cuts: list[int]) -> None:
    writer = _Pieces.store().writer()
    octets = message(body=b"texte " * 40_000)
    position = 0
    for cut in cuts:
        writer.write(octets[position : position + cut])
        position += cut
    writer.write(octets[position:])
    letter = writer.finish()
    blob = letter.blob
    data = blob.data or b""
    found = ChunkReader(
        blob.id, blob.key, blob.index, letter.size_octets, lambda o, n: data[o : o + n]
    )
    assert found.read() == octets


class _Pieces:
    """One store for all examples of the property above."""

    _store: Store | None = None

    @classmethod
    def store(cls) -> Store:
        assert cls._store is not None
        return cls._store


@pytest.fixture(autouse=True)
def _store_for_pieces(store: Store) -> None:
    _Pieces._store = store


def test_an_aborted_or_forgotten_letter_leaves_no_file(store: Store, home: Path) -> None:
    def files() -> list[Path]:
        return [p for p in home.rglob("*") if p.is_file() and p.parent.parent.name != "incoming"]

    before = len(files())
    writer = store.writer()
    writer.write(b"\r\n" + os.urandom(300_000))
    assert any(p.name != "lock" for p in (home / "incoming").glob("*/*"))
    writer.abort()
    letter = store.seal(b"\r\n" + os.urandom(300_000))
    assert len(files()) == before + 1
    del letter
    kept = store.seal(b"\r\n" + os.urandom(300_000))
    store.discard(kept)
    assert len(files()) == before
    assert [p.name for p in (home / "incoming").glob("*/*")] == ["lock"]


def test_a_message_over_a_limit_is_aborted_without_trace(store: Store, home: Path) -> None:
    writer = store.writer()
    with pytest.raises(TooComplex):
        writer.write(b"".join(b"X-%d: y\r\n" % number for number in range(100_000)))
    writer.abort()
    assert [p.name for p in (home / "incoming").glob("*/*")] == ["lock"]


def test_an_owners_value_opens_for_nobody_else() -> None:
    master = MasterKey(bytes(32), SystemEntropy())
    keys = Keyring(MasterState(FIRST_MARK, master.id), SystemEntropy(), lambda _: master)

    def owned(id: int) -> OwnerKey:
        handle, wrapped = keys.new_owner(b"bal")
        return keys.owner(OwnerRow(id, b"bal", handle, FIRST_MARK, wrapped, None))

    one, two = owned(1), owned(2)
    value = one.seal(b"purpose", b"secret")
    assert one.open(b"purpose", value) == b"secret"
    for owner, purpose in ((two, b"purpose"), (one, b"other")):
        with pytest.raises(Damaged):
            owner.open(purpose, value)
    assert one.digest(b"p", "x") != two.digest(b"p", "x")


def test_a_key_that_a_power_cut_left_without_its_octets_is_no_key(tmp_path: Path) -> None:
    """Its length may be on disk before its octets; everybody knows the key of zeros."""
    files = MasterFiles(tmp_path / "master.key", SystemEntropy())
    for left in (b"", bytes(31), bytes(32)):
        files.next.write_bytes(left)
        files.next.chmod(0o600)
        files.prepare()
        assert files.next.read_bytes() != bytes(32)
        files.next.write_bytes(bytes(32))
        with pytest.raises(ConfigError, match="nothing but zeros"):
            read_master_key(files.next)


def test_master_key_must_be_private_and_the_right_one(store: Store, home: Path) -> None:
    path = home / "master.key"
    assert path.stat().st_mode & 0o777 == 0o600
    right = path.read_bytes()
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="0600"):
        read_master_key(path)
    path.chmod(0o600)
    path.write_bytes(b"x" * 32)
    with pytest.raises(
        ConfigError, match="the store wants key [0-9a-f]{16}, the file holds key [0-9a-f]{16}"
    ):
        reopen(home)
    path.write_bytes(right[:31])
    with pytest.raises(ConfigError, match="32 octets"):
        reopen(home)
    path.write_bytes(right)


def test_discarding_under_a_running_job_does_not_take_its_content(
    store: Store, zoe: Bal, home: Path
) -> None:
    octets = message(body=os.urandom(200_000))
    letter = store.seal(octets)
    box = inbox(store, zoe)
    when = SteppingClock().now()

    def gives_up(writing: Writing) -> Uid:
        uid = writing.append(box, letter, frozenset(), when)
        store.discard(letter)  # the door's connection is lost while the job runs
        return uid

    uid = store.write(gives_up).result()
    store.discard(letter)
    assert store.read(lambda r: r.body(box, uid)).result() == octets

    second = store.seal(octets)

    def fails(writing: Writing) -> None:
        writing.append(box, second, frozenset(), when)
        store.discard(second)
        raise RuntimeError("undone")

    with pytest.raises(RuntimeError):
        store.write(fails).result()
    assert len([p for p in (home / "blobs").rglob("*") if p.is_file()]) == 1
    with pytest.raises(ValueError, match="discarded"):
        store.write(lambda w: w.append(box, second, frozenset(), when)).result()


def test_a_letter_whose_job_failed_can_be_written_by_another(store: Store, zoe: Bal) -> None:
    octets = message(body=os.urandom(200_000))
    letter = store.seal(octets)
    box = inbox(store, zoe)
    when = SteppingClock().now()
    with pytest.raises(NoSuchMailbox):
        store.write(lambda w: w.append(MailboxId(999), letter, frozenset(), when)).result()
    first = store.write(lambda w: w.append(box, letter, frozenset(), when)).result()
    again = store.write(lambda w: w.append(box, letter, frozenset(), when)).result()
    for uid in (first, again):
        assert store.read(partial(Reading.body, mailbox=box, uid=uid)).result() == octets
