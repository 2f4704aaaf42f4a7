"""Sieves say which packs a search need not open, and never leave out one that it needs."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mssmtp.mail import Bal
from mssmtp.storage import Store, sieves
from mssmtp.storage.messages import TEXT_UIDS
from mssmtp.storage.sieves import lets_through, places_of, sieve_of
from mssmtp.storage.textpack import TextPack
from mssmtp.storage.textsealing import SIEVES, TextKind
from mssmtp.storage.textspans import Span
from tests.storage.support import behind, inbox
from tests.storage.test_texts import append, found, letters

WORDS = [
    b"a",
    b"ab",
    b"abc",
    b"\xc3\xa9t\xc3\xa9",
    b" ",
    b"\t",
    b"\n",
    b"\r\n",
    b"\xff",
    b"0",
    b"-",
]


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=40), st.integers(2, 50), st.data())
def test_whatever_stands_in_a_text_is_let_through(
    words: list[bytes], piece: int, data: st.DataObject
) -> None:
    text = b"".join(words)
    start = data.draw(st.integers(0, len(text)))
    needle = text[start : data.draw(st.integers(start, len(text)))]
    with pytest.MonkeyPatch.context() as small:
        small.setattr(sieves, "_PIECE_OCTETS", piece)
        small.setattr(sieves, "_KNOWN_WORDS", 3)
        pieced = sieve_of([b"avant", text])
    assert lets_through(pieced, places_of(needle))
    assert lets_through(sieve_of([text, b"apres"]), places_of(needle))


def test_a_word_that_is_in_no_text_is_held_back() -> None:
    sieve = sieve_of([b"compte rendu de consultation", b"dossier 4711"])
    assert not lets_through(sieve, places_of(b"pheochromocytome"))
    assert not lets_through(sieve, places_of(b"dossier 4712"))
    assert lets_through(sieve, places_of(b"ndu de con"))
    assert lets_through(sieve, places_of(b"du")), "too short to tell"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The first UID of each pack that was opened."""
    seen: list[int] = []
    genuine = TextPack.opened.__func__  # type: ignore[attr-defined]

    def noted(cls: type[TextPack], octets: bytes) -> TextPack:
        pack: TextPack = genuine(cls, octets)
        seen.append(pack.uids[0])
        return pack

    monkeypatch.setattr(TextPack, "opened", classmethod(noted))
    return seen


def kept(home: Path, kind: int) -> list[tuple[int, int]]:
    """The spans of the rows of a kind."""
    db = behind(home)
    try:
        rows = db.execute("SELECT first, last FROM texts WHERE kind = ? ORDER BY first", (kind,))
        return [(int(first), int(last)) for first, last in rows]
    finally:
        db.close()


def test_only_packs_that_may_hold_a_word_are_opened(
    store: Store, zoe: Bal, home: Path, opened: list[int]
) -> None:
    box = inbox(store, zoe)
    texts = letters(4 * TEXT_UIDS - 1)
    texts[300] = texts[300].replace(b"ligne", b"hemoglobine")
    append(store, box, *texts)
    store.settle()
    assert kept(home, SIEVES) == kept(home, TextKind.BODY)
    opened.clear()
    assert found(store, box, TextKind.BODY, [b"moglobin"], len(texts)) == [{301}]
    assert opened == [2 * TEXT_UIDS]
    opened.clear()
    wanted = [b"moglobin", b"numero-5."]
    assert found(store, box, TextKind.BODY, wanted, len(texts)) == [{301}, {5}]
    assert set(opened) >= {1, 2 * TEXT_UIDS}
    opened.clear()
    assert found(store, box, TextKind.BODY, [b"mo"], len(texts))[0] == {301}
    assert len(opened) == 4, "the control: too short a word"


def test_packs_of_the_release_before_get_their_sieves_behind_the_search(
    store: Store, zoe: Bal, home: Path, opened: list[int]
) -> None:
    box = inbox(store, zoe)
    texts = letters(2 * TEXT_UIDS - 1)
    append(store, box, *texts)
    store.settle()
    db = behind(home)
    db.execute("DELETE FROM texts WHERE kind = ?", (SIEVES,))
    db.close()
    assert found(store, box, TextKind.BODY, [b"hemoglobine"], len(texts)) == [set()]
    store.settle()
    assert kept(home, SIEVES) == kept(home, TextKind.BODY)
    opened.clear()
    assert found(store, box, TextKind.BODY, [b"hemoglobine"], len(texts)) == [set()]
    assert opened == []


def test_a_damaged_sieve_lets_everything_through(store: Store, zoe: Bal, home: Path) -> None:
    box = inbox(store, zoe)
    texts = letters(TEXT_UIDS - 1)
    append(store, box, *texts)
    store.settle()
    db = behind(home)
    db.execute("UPDATE texts SET sealed = zeroblob(100) WHERE kind = ?", (SIEVES,))
    db.close()
    assert found(store, box, TextKind.BODY, [b"numero-77."], len(texts)) == [{77}]
    assert store.rebuild().texts.changed == 1
    assert store.rebuild().all_identical


def test_no_sieve_is_kept_of_a_pack_that_was_dropped(store: Store, zoe: Bal, home: Path) -> None:
    box = inbox(store, zoe)
    append(store, box, *letters(TEXT_UIDS - 1))
    store.settle()
    db = behind(home)
    db.execute("DELETE FROM texts WHERE kind = ?", (SIEVES,))
    made = store.read(lambda r: r.missing_sieve(box, 0)).result()
    assert made is not None
    assert made.span == Span(0, TEXT_UIDS - 1)
    db.execute("DELETE FROM texts")
    db.close()
    assert not store.write(lambda w: w.keep_sieve(made)).result()
    assert kept(home, SIEVES) == []
