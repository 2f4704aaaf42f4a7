"""Last of all: what the letters of this run said is nowhere in clear on any disk (SEED-58)."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import pytest
import zstandard

from mssmtp.demo.letter import found_in_clear
from tests.end_to_end.mail import (
    CANARIES,
    SUBJECT_CANARY,
    arrival,
    attachment,
    letter,
    mailbox,
    submit,
)
from tests.postgres import USER
from tests.space import RunningSpace

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.xdist_group("space"),
    pytest.mark.timeout(120),
]

_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_BEGINNING_OCTETS = 4_096


NOTICES = "service-mail/"
"""What the demo's relay was given for the ordinary Internet: a title may stand there (DEF-15)."""


def leaks(directory: Path) -> list[str]:
    """Files with a canary: as it is, in base64, in hexadecimal, or compressed and not sealed."""
    return found_in_clear(directory, CANARIES) + [
        path.relative_to(directory).as_posix()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and not path.is_symlink() and is_compressed_clear(path.read_bytes())
    ]


def is_compressed_clear(octets: bytes) -> bool:
    """True when a canary is at the beginning of a zstd frame somewhere in `octets`."""
    at = octets.find(_ZSTD_MAGIC)
    while at >= 0:
        try:
            reader = zstandard.ZstdDecompressor().stream_reader(octets[at:])
            beginning = reader.read(_BEGINNING_OCTETS)
        except zstandard.ZstdError:
            beginning = b""
        if any(canary in beginning for canary in CANARIES):
            return True
        at = octets.find(_ZSTD_MAGIC, at + 1)
    return False


@pytest.fixture
def read_twice(space: RunningSpace) -> None:
    """A letter small enough for a row and one large enough for a file, read, searched, moved."""
    sender, to = space.a.doctor(0), space.b.doctor(0)
    for octets in (1_000, 1_000_000):
        sent = letter(sender, [to], attachments=[attachment(octets)])
        assert submit(space, space.a, sender, [to], sent.octets).data.startswith("250 2.0.0")
        uid = arrival(space, space.b, to, sent.message_id).uid
        with mailbox(space, space.b, to) as client:
            assert client.search(["TEXT", CANARIES[1].decode(), "UID", str(uid)]) == [uid]
            client.fetch([uid], ["ENVELOPE", "BODYSTRUCTURE", "BODY.PEEK[]"])
            client.append("Drafts", sent.octets)
            client.move([uid], "Archive")


@pytest.mark.requirement("SEED-58")
@pytest.mark.usefixtures("read_twice")
def test_no_canary_is_found_in_any_home_log_or_temporary_directory(space: RunningSpace) -> None:
    assert leaks_in_rows(space) == []
    assert [path for path in leaks(space.directory) if not path.startswith(NOTICES)] == []
    assert leaks(space.temporary) == []
    assert not any(canary in space_output(space) for canary in CANARIES)


@pytest.mark.requirement("DEF-15")
@pytest.mark.usefixtures("read_twice")
def test_service_mail_says_nothing_of_a_letter_but_its_title(space: RunningSpace) -> None:
    told = space.directory / NOTICES
    assert any(told.iterdir())
    others = tuple(each for each in CANARIES if each != SUBJECT_CANARY.encode())
    assert found_in_clear(told, others) == []


def leaks_in_rows(space: RunningSpace) -> list[str]:
    """In the database: its files and log as they lie there, and a dump of everything."""
    cluster = space.database
    if cluster is None:
        stores = [path for path in space.directory.rglob("store.db*") if path.is_file()]
        assert stores, "the stores are not where this test looks"
        return []  # looked at with the home
    cluster.execute("CHECKPOINT")
    dump = space.temporary / "dump.sql"
    dump.write_text(cluster.run("pg_dumpall", "--host", str(cluster.directory), "--username", USER))
    assert "COPY public.messages" in dump.read_text("utf-8")
    return leaks(cluster.directory)


def space_output(space: RunningSpace) -> bytes:
    """What the demo itself has printed."""
    log = space.temporary.with_suffix(".log")
    return log.read_bytes() if log.exists() else b""


@pytest.mark.parametrize("number", range(len(CANARIES)))
def test_a_leak_would_be_found_however_it_is_spelt(tmp_path: Path, number: int) -> None:
    """Control of the test above."""
    canary = b"avant " + CANARIES[number] + b" et apres"
    spellings = {
        "clear": canary,
        "base64": b64encode(canary),
        "base64 shifted": b64encode(b"x" + canary),
        "hex": canary.hex().encode(),
        "zstd": b"\0row\0" + zstandard.ZstdCompressor(level=1).compress(canary * 3),
    }
    for name, octets in spellings.items():
        (tmp_path / name).write_bytes(b"\0" * 100 + octets + b"\0" * 100)
    assert set(leaks(tmp_path)) == set(spellings)
