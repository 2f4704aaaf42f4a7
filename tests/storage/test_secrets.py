"""What is stored names nobody in clear."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest

from mssmtp.mail import Address, BalType, Recipient
from mssmtp.storage import Outcome
from tests.storage.support import RPPS, TRANSFER, SteppingClock, accept, add_bal, open_new

CANARY = "CanariTartempion"


@pytest.mark.requirement("SEED-58")
@pytest.mark.attack
def test_att_39_no_name_subject_or_body_is_found_in_clear(home: Path) -> None:
    store = open_new(home)
    address = Address.parse(f"{CANARY}@hopital-a.test")
    bal = store.write(
        lambda w: w.create_bal(
            address,
            BalType.PER,
            national_id=RPPS,
            usual_address=Address.parse(f"{CANARY}.usuel@clinique.test"),
            login=f"{CANARY}-login",
        )
    ).result()
    octets = (
        f"From: {CANARY} <{CANARY}@b.test>\r\nSubject: {CANARY}\r\nX-MSS-NIL: {CANARY}\r\n"
        "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
        f"Content-Type: text/plain; name={CANARY}.txt\r\n"
        f"Content-Disposition: attachment; filename={CANARY}.txt\r\n\r\n{CANARY}\r\n--b--\r\n"
    ).encode()
    to = (Recipient(Address.parse(f"{CANARY}@cabinet-c.test")),)
    for extra in (b"", os.urandom(300_000)):
        envelope, _ = accept(store, store.seal(octets + extra), [bal], to, owner=bal.id)
    later = SteppingClock().now()
    outcome = Outcome(envelope, to[0], "retry", f"451 {CANARY}", later)
    store.write(lambda w: w.record([outcome], TRANSFER)).result()
    box = store.write(lambda w: w.create_mailbox(bal.id, f"Suivi {CANARY}")).result()
    letter = store.seal(octets)
    store.write(lambda w: w.append(box.id, letter, frozenset({CANARY}), later)).result()
    found = list(leaks(home))
    store.close()
    found += leaks(home)
    assert found == []


def test_the_search_for_leaks_finds_one(home: Path) -> None:
    home.mkdir()
    (home / "x").write_bytes(b"..." + CANARY.lower().encode() + b"...")
    assert len(list(leaks(home))) == 1


def leaks(home: Path) -> list[Path]:
    """Files that hold the canary in clear, in any case, or in base64 at any offset."""
    needles = [CANARY.lower().encode(), CANARY.lower().encode("utf-16-le")]
    needles += [base64.b64encode(b"x" * n + CANARY.encode())[4:-4].lower() for n in range(3)]
    found = []
    for path in home.rglob("*"):
        if path.is_file():
            octets = path.read_bytes().lower()
            found += [path for needle in needles if needle in octets]
    return found


def test_everything_in_the_home_is_private(home: Path) -> None:
    store = open_new(home)
    accept(store, store.seal(b"\r\n" + os.urandom(300_000)), [add_bal(store)])
    store.write(lambda w: None).result()
    for path in [home, *home.rglob("*")]:
        assert path.lstat().st_mode & 0o077 == 0, path
    store.close()
