"""Images of mailboxes: always what the rows say, whatever happened between."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssmtp.mail import Bal, MailboxId, ModSeq, Uid
from mssmtp.storage import Store, Writing, imaging
from mssmtp.storage.flags import DELETED, SEEN
from mssmtp.storage.images import Image, Images, TooManySets, block_of, block_of_numbers, image_of
from tests.storage.support import inbox

MOMENT = datetime(2026, 1, 5, tzinfo=UTC)
NUMBERS = st.lists(st.integers(1, 60), unique=True).map(sorted)


def rows_of(image: Image) -> list[tuple[int, int]]:
    """(UID, bits) of every message."""
    return [(uid, image.sets[code]) for uid, code in zip(image.uids, image.codes, strict=True)]


def marks(bits: dict[int, int], modseq: int) -> list[tuple[int, int, int]]:
    """(UID, modseq, bits) of these messages."""
    return [(uid, modseq, each) for uid, each in sorted(bits.items())]


def look(store: Store, box: MailboxId) -> list[tuple[int, int]]:
    """What the image says; it is what the rows say."""
    image = store.read(lambda r: r.image(box)).result()
    assert image is not None
    seen = rows_of(image)
    sets = store.read(lambda r: r.flag_sets(box)).result()
    rows = store.read(lambda r: r.messages(box)).result()
    assert [(uid, sets.of(bits)) for uid, bits in seen] == [(r.uid, r.flags) for r in rows]
    assert list(image.modseqs) == [row.modseq for row in rows]
    return seen


def job(store: Store, work: Callable[[Writing], object]) -> None:
    """Run and wait."""
    store.write(work).result()


def test_an_image_follows_mail_flags_and_expunges(store: Store, zoe: Bal) -> None:
    box = inbox(store, zoe)
    assert look(store, box) == []
    for _ in range(4):
        letter = store.seal(b"Subject: x\r\n\r\ny\r\n")
        job(store, lambda w, letter=letter: w.append(box, letter, frozenset(), MOMENT))  # type: ignore[misc]
        look(store, box)
    job(store, lambda w: w.store_flags(box, [Uid(2), Uid(3)], "+", frozenset({"\\Deleted", "k"})))
    assert [bits & DELETED for _, bits in look(store, box)] == [0, DELETED, DELETED, 0]
    job(store, lambda w: w.expunge(box))
    job(store, lambda w: w.store_flags(box, [Uid(4)], "=", frozenset({"\\Seen"})))
    assert look(store, box) == [(1, 0), (4, SEEN)]


def test_what_a_job_saw_before_it_failed_is_not_remembered(store: Store, zoe: Bal) -> None:
    box = inbox(store, zoe)
    letter = store.seal(b"Subject: x\r\n\r\ny\r\n")
    job(store, lambda w: w.append(box, letter, frozenset(), MOMENT))
    before = look(store, box)

    def failing(writing: Writing) -> None:
        image = writing.image(box)
        assert image is not None
        assert writing.flag(box, image, [(0, 1)], "+", frozenset({"\\Seen"})) is not None
        raise KeyError

    with pytest.raises(KeyError):
        store.write(failing).result()
    assert look(store, box) == before
    job(store, lambda w: w.store_flags(box, [Uid(1)], "+", frozenset({"\\Draft"})))
    assert look(store, box) == [(1, 16)]


def test_flags_set_by_an_image_are_those_set_by_rows(store: Store, zoe: Bal) -> None:
    box = inbox(store, zoe)
    for _ in range(5):
        letter = store.seal(b"Subject: x\r\n\r\ny\r\n")
        job(store, lambda w, letter=letter: w.append(box, letter, frozenset(), MOMENT))  # type: ignore[misc]

    def flag(writing: Writing) -> None:
        image = writing.image(box)
        assert image is not None
        after = writing.flag(box, image, [(0, 2), (4, 5)], "+", frozenset({"\\Seen", "k"}))
        assert after is not None
        assert rows_of(after) == [(1, 33), (2, 33), (3, 0), (4, 0), (5, 33)]

    job(store, flag)
    assert look(store, box) == [(1, 33), (2, 33), (3, 0), (4, 0), (5, 33)]
    assert [m.unseen for m in store.read(lambda r: r.mailboxes(zoe.id)).result()][0] == 2
    assert store.check().problems == ()


@pytest.mark.parametrize("keyword_at", [(), (1,), (4, 5), (7,), tuple(range(1, 8))])
def test_an_image_is_of_all_rows_whether_they_fit_into_one_number(
    store: Store, zoe: Bal, monkeypatch: pytest.MonkeyPatch, keyword_at: tuple[int, ...]
) -> None:
    monkeypatch.setattr(imaging, "BLOCK", 3)
    box = inbox(store, zoe)
    many = frozenset({"a", "b", "c"})  # the third takes bit 7

    def fill(writing: Writing) -> None:
        for at in range(1, 8):
            letter = store.seal(b"Subject: x\r\n\r\ny\r\n")
            flags = frozenset({"\\Seen"}) if at % 2 else frozenset()
            writing.append(box, letter, flags | many if at in keyword_at else flags, MOMENT)
            if at in (2, 5):
                writing.discard(box, [Uid(at)])

    store.write(fill).result()
    seen = look(store, box)
    assert [uid for uid, _ in seen] == [1, 3, 4, 6, 7]
    assert [bits for _, bits in seen] == [
        at % 2 | (224 if at in keyword_at else 0) for at in (1, 3, 4, 6, 7)
    ]


@given(st.lists(st.tuples(*(st.integers(0, (1 << size) - 1) for size in (32, 24, 7)))))
def test_numbers_of_a_message_are_told_apart(marks: list[tuple[int, int, int]]) -> None:
    made = block_of_numbers([uid + (modseq << 32) + (bits << 56) for uid, modseq, bits in marks])
    assert list(zip(made.uids, made.modseqs, made.bits, strict=True)) == marks


@given(NUMBERS, st.data())
def test_news_give_the_image_that_all_rows_give(uids: list[int], data: st.DataObject) -> None:
    bits = {uid: data.draw(st.integers(0, 7)) for uid in uids}
    old = image_of(ModSeq(1), [block_of(marks(bits, 1))])
    gone = data.draw(st.sets(st.integers(1, 60)))
    new = {uid: data.draw(st.integers(0, 7)) for uid in data.draw(NUMBERS) if uid not in gone}
    after = {uid: b for uid, b in (bits | new).items() if uid not in gone}
    made = old.with_news(ModSeq(2), marks(new, 2), gone)
    assert rows_of(made) == sorted(after.items())
    unseen = [at for at, (_, b) in enumerate(sorted(after.items())) if not b & SEEN]
    assert made.first_without(SEEN) == min(unseen, default=None)
    assert made.count((0, len(made)), SEEN) == len(made) - len(unseen)


def test_an_image_refuses_more_sets_of_flags_than_an_octet_counts() -> None:
    full = image_of(ModSeq(1), [block_of([(uid, 1, uid) for uid in range(1, 257)])])
    with pytest.raises(TooManySets):
        full.with_news(ModSeq(2), [(300, 2, 300)], ())
    with pytest.raises(TooManySets):
        full.with_flags([(0, 1)], -1, 1 << 40, ModSeq(2))


def test_images_stay_within_their_bound_and_never_go_back() -> None:
    images = Images(most_messages=5)
    first = image_of(ModSeq(7), [block_of([(1, 1, 0), (2, 1, 0), (3, 1, 0)])])
    images.keep(MailboxId(1), first)
    images.keep(MailboxId(1), image_of(ModSeq(6), []))
    assert images.of(MailboxId(1)) is first
    images.keep(MailboxId(2), image_of(ModSeq(1), [block_of([(1, 1, 0), (2, 1, 0), (3, 1, 0)])]))
    assert images.of(MailboxId(1)) is None
    assert images.of(MailboxId(2)) is not None
    images.forget()
    assert images.of(MailboxId(2)) is None
