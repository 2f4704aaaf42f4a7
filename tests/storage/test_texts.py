"""Searching sealed texts: packs are a cache, answers are those of a full decode (T16, F7, D6)."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import pytest

from mssmtp.errors import Damaged
from mssmtp.mail import Bal, MailboxId, Uid
from mssmtp.message import Scanner, Summary, TooComplex
from mssmtp.message.readable import BORDER, Needle, field_mark, folded_body, folded_header
from mssmtp.storage import Store, textpack, textsealing
from mssmtp.storage import texts as storage_texts
from mssmtp.storage.messages import TEXT_UIDS
from mssmtp.storage.sealing import compressed, decompressed
from mssmtp.storage.textpack import OtherRelease, TextPack, frame, framed, packed
from mssmtp.storage.textsealing import TextKind
from mssmtp.storage.textspans import Span
from tests.corpus import cpython_messages, torture_messages
from tests.storage.support import SteppingClock, behind, inbox, message

SEED = 20_260_105


def readable(octets: bytes) -> bool:
    try:
        scanner = Scanner()
        scanner.feed(octets)
        scanner.close()
    except TooComplex:
        return False
    return True


CORPUS = [octets for _, octets in (*cpython_messages(), *torture_messages()) if readable(octets)]


def append(store: Store, mailbox: MailboxId, *letters: bytes) -> None:
    """Store `letters`; those that no door would take are left out."""
    when = SteppingClock().now()
    sealed = [store.seal(octets) for octets in letters]
    store.write(
        lambda w: [w.append(mailbox, letter, frozenset(), when) for letter in sealed]
    ).result()


@cache
def expected(octets: bytes) -> dict[TextKind, bytes]:
    """The whole text of a message, decoded at once."""
    scanner = Scanner()
    scanner.feed(octets)
    summary = Summary.of(scanner.close())
    body = b"".join(folded_body(summary, lambda start, stop: octets[start:stop]))
    return {TextKind.HEADER: folded_header(summary.header), TextKind.BODY: body}


def found(
    store: Store, mailbox: MailboxId, kind: TextKind, needles: list[bytes], high: int
) -> list[set[int]]:
    """Who holds each needle, by the store."""
    uids = [Uid(uid) for uid in range(1, high + 1)]
    sought = [Needle(needle) for needle in needles]
    steps = store.read(lambda r: list(r.find_texts(mailbox, kind, sought, uids))).result()
    assert [step.last for step in steps] == sorted(step.last for step in steps)
    result: list[set[int]] = [set() for _ in needles]
    for step in steps:
        for uids_of_needle, some in zip(result, step.found, strict=True):
            uids_of_needle |= some
    return result


def packs(home: Path) -> list[tuple[int, int, int, int]]:
    """(kind, first, last, count) of the packs on disk."""
    db = behind(home)
    try:
        rows = db.execute("SELECT kind, first, last, count FROM texts ORDER BY kind, first")
        return [tuple(row) for row in rows]
    finally:
        db.close()


def needles(chance: random.Random, texts: list[bytes], count: int) -> Iterator[bytes]:
    """Drawn from the texts, some changed by one character, some across a border."""
    pool = [text for text in texts if text]
    for _ in range(count):
        text = chance.choice(pool)
        at = chance.randrange(len(text))
        # Without the border: it is then a needle that lies on both sides of it.
        needle = text[at : at + chance.choice((1, 2, 3, 5, 8, 20, 60))].replace(BORDER, b"")
        if chance.randrange(4) == 0:
            needle += b"\xc3\xa9" if chance.randrange(2) else b"q"
        if needle:
            yield needle


def letters(count: int, word: str = "ligne") -> list[bytes]:
    """Letters that differ by a number."""
    return [message(f"sujet {n}", f"{word} numero-{n}.\r\n".encode()) for n in range(1, count + 1)]


def compared(store: Store, mailbox: MailboxId, corpus: Sequence[bytes], count: int) -> None:
    """The store against a search in whole texts, for `count` needles of each kind."""
    chance = random.Random(SEED)  # noqa: S311 - repeatable, not secret
    texts = [expected(octets) for octets in corpus]
    for kind in TextKind:
        wanted = list(needles(chance, [text[kind] for text in texts], count))
        truth = [
            {uid for uid, text in enumerate(texts, 1) if needle in text[kind]} for needle in wanted
        ]
        assert found(store, mailbox, kind, wanted, len(corpus)) == truth
        for needle, holders in list(zip(wanted, truth, strict=True))[:5]:
            assert found(store, mailbox, kind, [needle], len(corpus)) == [holders]


def test_packs_answer_as_a_full_decode_of_the_whole_corpus(
    store: Store, zoe: Bal, home: Path
) -> None:
    box = inbox(store, zoe)
    append(store, box, *CORPUS)
    assert len(CORPUS) > 2 * TEXT_UIDS
    store.settle()
    closed = (len(CORPUS) + 1) // TEXT_UIDS
    assert {first // TEXT_UIDS for _, first, _, _ in packs(home)} == set(range(closed))
    compared(store, box, CORPUS, 200)


def test_a_search_in_some_fields_answers_as_one_in_the_whole_header() -> None:
    chance = random.Random(SEED)  # noqa: S311
    texts: list[textpack.Text] = [
        (Uid(uid), expected(octets)[TextKind.HEADER]) for uid, octets in enumerate(CORPUS, 1)
    ]
    octets = framed([*texts, (Uid(len(CORPUS) + 1), None)])
    answered = 0
    for names in (("subject",), ("from", "subject"), ("cc",), ("to",), ("date",), ("x-none",)):
        pack = TextPack.opened(decompressed(frame(octets, names), textpack.MAX_PACK_OCTETS))
        assert pack.apart == [len(CORPUS) + 1]
        for name in names:
            mark = field_mark(name)
            some = [text for _, text in texts if text and mark in text]
            values = [text.split(mark)[1].split(BORDER)[0] for text in some]
            for value in chance.sample(values, min(len(values), 40)):
                needle = Needle(value[:3] or mark, mark)
                wanted = [uid for uid, text in texts if text and needle.is_in(text, 0, len(text))]
                assert list(pack.find(needle)) == wanted
                answered += len(wanted)
    assert answered > 100
    sizes = [len(frame(octets, names)) for names in (("subject",), ("from", "to"), None)]
    assert sizes == sorted(sizes)
    assert 3 * sizes[0] < sizes[2]


def test_a_pack_of_headers_without_frames_is_of_another_release() -> None:
    """As they were before: one compressed piece."""
    with pytest.raises(OtherRelease):
        frame(compressed(packed([(Uid(1), b"\xffsubject: ancien")])), None)
    with pytest.raises(Damaged):
        frame(b"\x01", None)


def test_any_of_the_packs_may_be_missing_or_damaged(store: Store, zoe: Bal, home: Path) -> None:
    box, some = inbox(store, zoe), CORPUS[-2 * TEXT_UIDS :]
    append(store, box, *some)
    store.settle()
    db = behind(home)
    for statement in (
        "DELETE FROM texts WHERE first = 128",
        "UPDATE texts SET sealed = zeroblob(200) WHERE first = 0",
        "DELETE FROM texts WHERE kind = 0",
        "DELETE FROM texts",
    ):
        db.execute(statement)
        compared(store, box, some, 10)
    db.close()
    store.settle()
    assert len(packs(home)) >= 4, "who searches leaves packs behind"
    compared(store, box, some, 10)


def test_a_text_just_too_long_for_a_pack_is_found_all_the_same(
    store: Store, zoe: Bal, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The boundary: packed up to the limit, read from the message beyond it."""
    monkeypatch.setattr(storage_texts, "MAX_TEXT_OCTETS", 1_000)
    box = inbox(store, zoe)
    corpus = letters(TEXT_UIDS - 1)
    for number, size in ((5, 998), (6, 999), (7, 1_000), (8, 1_001), (9, 400_000)):
        corpus[number - 1] = message(f"sujet {number}", b"a" * (size - 4) + b"FIN ")
    append(store, box, *corpus)
    store.settle()
    whole = Span(0, TEXT_UIDS - 1)
    pack = store.read(lambda r: r.open_texts(box, TextKind.BODY, whole)).result()
    assert pack is not None
    assert [uid for uid, text in pack.items() if text is None] == [7, 8, 9]
    needles = [b"fin", b"aaaafin ", b"numero-3.", b"a" * 500]
    everywhere = {5, 6, 7, 8, 9}
    assert found(store, box, TextKind.BODY, needles, TEXT_UIDS) == [
        everywhere,
        everywhere,
        {3},
        everywhere,
    ]


def test_a_window_with_much_text_has_several_packs(
    store: Store, zoe: Bal, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for room in (storage_texts, textsealing):
        monkeypatch.setattr(room, "MAX_PACK_OCTETS", 2_000)
    box = inbox(store, zoe)
    corpus = letters(TEXT_UIDS + 3, "ligne " * 30)
    append(store, box, *corpus)
    store.settle()
    bodies = [row for row in packs(home) if row[0] == TextKind.BODY]
    assert len(bodies) > 5
    assert sum(count for *_, count in bodies) == TEXT_UIDS - 1
    compared(store, box, corpus, 50)
    db = behind(home)
    db.execute("DELETE FROM texts WHERE first = ?", (bodies[2][1],))
    db.close()
    compared(store, box, corpus, 50)


def test_an_expunged_message_takes_its_text_away(store: Store, zoe: Bal, home: Path) -> None:
    box = inbox(store, zoe)
    append(store, box, *letters(2 * TEXT_UIDS))
    store.settle()
    before = packs(home)
    store.write(lambda w: w.store_flags(box, [Uid(7)], "+", frozenset({"\\Deleted"}))).result()
    others = store.write(lambda w: (w.expunge(box), w.drop_texts())[1]).result()
    assert others == len([row for row in before if row[1] != 0]), "dropped in the same commit"
    assert found(store, box, TextKind.BODY, [b"numero-7.", b"numero-8."], 300) == [set(), {8}]
    store.settle()
    after = packs(home)
    assert {row[:3] for row in before if row[1] == 0} <= {row[:3] for row in after}, "made again"
    assert after[0][3] == before[0][3] - 1
    assert found(store, box, TextKind.BODY, [b"numero-7.", b"numero-8."], 300) == [set(), {8}]


def test_a_pack_made_before_an_expunge_is_not_kept_after_it(
    store: Store, zoe: Bal, home: Path
) -> None:
    box = inbox(store, zoe)
    append(store, box, *letters(TEXT_UIDS))
    store.settle()
    store.write(lambda w: w.drop_texts()).result()
    made = store.read(lambda r: r.missing_texts(box, TextKind.BODY, 0)).result()
    assert made is not None
    store.write(lambda w: w.store_flags(box, [Uid(7)], "+", frozenset({"\\Deleted"}))).result()
    store.write(lambda w: w.expunge(box)).result()
    assert store.write(lambda w: w.keep_texts(made)).result() is False
    assert packs(home) == []


def test_a_pack_stands_for_its_own_window_and_kind_only(store: Store, zoe: Bal, home: Path) -> None:
    """ATT-19: a pack moved to another row is no pack."""
    box = inbox(store, zoe)
    corpus = letters(2 * TEXT_UIDS)
    append(store, box, *corpus)
    store.settle()
    db = behind(home)
    sealed = db.execute("SELECT sealed FROM texts WHERE kind = 1 AND first = 128").fetchone()[0]
    db.execute("UPDATE texts SET sealed = ? WHERE kind = 1 AND first = 0", (sealed,))
    db.close()
    compared(store, box, corpus, 50)
    store.settle()  # the right one is kept again


def test_deleting_a_mailbox_takes_its_texts_away(store: Store, zoe: Bal, home: Path) -> None:
    made = store.write(lambda w: w.create_mailbox(zoe.id, "Ancien")).result()
    append(store, made.id, *letters(TEXT_UIDS))
    store.settle()
    assert packs(home)
    store.write(lambda w: w.delete_mailbox(zoe.id, "Ancien")).result()
    store.settle()
    assert packs(home) == []


def test_a_damaged_message_holds_nothing_and_the_others_are_found(
    store: Store, zoe: Bal, home: Path
) -> None:
    """D10."""
    box = inbox(store, zoe)
    append(store, box, *letters(TEXT_UIDS))
    store.settle()
    db = behind(home)
    data = db.execute("SELECT data FROM blobs WHERE number = 3").fetchone()[0]
    db.execute("UPDATE blobs SET data = zeroblob(10) WHERE number = 3")
    db.execute("DELETE FROM texts")
    everybody = set(range(1, TEXT_UIDS + 1))
    for _ in range(2):  # without a pack, then with one
        assert found(store, box, TextKind.BODY, [b"numero-"], 200) == [everybody - {3}]
        store.settle()
    db.execute("UPDATE blobs SET data = ? WHERE number = 3", (data,))
    db.close()
    assert found(store, box, TextKind.BODY, [b"numero-"], 200) == [everybody], (
        "it is readable again"
    )


@pytest.mark.requirement("SEED-58")
def test_no_word_of_a_text_is_on_the_disk(store: Store, zoe: Bal, home: Path) -> None:
    box = inbox(store, zoe)
    append(store, box, *letters(TEXT_UIDS, "canari-hemoglobine"))
    store.settle()
    assert found(store, box, TextKind.BODY, [b"canari-hemoglobine"], 200)[0]
    octets = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())
    db = behind(home)
    octets += b"".join(bytes(row[0]) for row in db.execute("SELECT sealed FROM texts").fetchall())
    db.close()
    assert packs(home)
    for canary in (b"hemoglobine", b"canari", b"numero-7", b"sujet 7"):
        assert canary not in octets.lower()


@pytest.mark.attack
def test_att_31_a_pack_that_grows_beyond_its_limit_is_no_pack(
    store: Store, zoe: Bal, home: Path
) -> None:
    """However it came there: the announced size is looked at before anything is allocated."""
    from mssmtp.storage.sealing import compressed, decompressed

    bomb = compressed(b"\0" * 64 * 1_048_576)
    assert len(bomb) < 10_000
    with pytest.raises(Damaged):
        decompressed(bomb, textpack.MAX_PACK_OCTETS)


def test_octets_that_are_no_pack_are_damaged() -> None:
    whole = packed([(Uid(1), b"un"), (Uid(2), None), (Uid(3), b"deux")])
    assert TextPack.opened(whole).texts() == {1: b"un", 2: None, 3: b"deux"}
    assert list(TextPack.opened(whole).find(Needle(b"deux"))) == [3]
    assert list(TextPack.opened(whole).find(Needle(b"un"))) == [1]
    for octets in (b"", b"\0\0\1", b"\x02\xff\xff\xff\xff" + whole[5:], b"\x01" + whole[1:]):
        with pytest.raises(Damaged):
            TextPack.opened(octets)
