"""SORT against a slow straight reading of the same letters by Python's own library (RFC 5256 3)."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Generator, Iterator
from datetime import UTC, datetime, timedelta
from email import message_from_string
from email.header import decode_header, make_header
from email.utils import getaddresses, parsedate_to_datetime
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssmtp.imap import envelopes, sorting
from mssmtp.imap.sorting import Criterion, ordered
from mssmtp.message.headers import fields
from mssmtp.message.structure import envelope_of
from mssmtp.storage import Writing
from tests.imap.world import Client, worlds
from tests.message.test_subjects import slowly

PEOPLE = [
    *("Zoé <zoe@a.test>", "anne@b.test", '"Luc, B." <LUC@a.test>', "bob@a.test, anne@c.test"),
    *("=?utf-8?Q?=C3=89mile?= <e@a.test>", "", '"quo\\"ted" <q@a.test>', "abel@z.test (Abel)"),
]  # fmt: skip
SUBJECTS = [
    *("alpha", "Re: alpha", "ALPHA (fwd)", "béta", "=?iso-8859-1?Q?B=E9ta?=", "", "[x] Re: alpha"),
    *('say "x"', "back\\slash", "Re: [a] gamma", "x" * 1_500, "zeta\r\n folded", "été", "etz"),
]
DATES = [
    *(
        "Mon, 5 Jan 2026 10:00:00 +0200",
        "Mon, 5 Jan 2026 08:00:00 +0000",
        "5 Jan 2026 07:59:59 GMT",
    ),
    *("Fri, 2 Jan 2026 23:00:00 -0800 (PST)", "Thu, 1 Jan 1970 00:00:00 +0000", "hier", ""),
]
NAMES = ("ARRIVAL", "CC", "DATE", "FROM", "SIZE", "SUBJECT", "TO", "DISPLAYFROM", "DISPLAYTO")
COUNT = 48
T = TypeVar("T")
Keys = dict[str, Any]
"""By criterion."""


def letter(draw: random.Random) -> bytes:
    """Fields in any number and order."""
    lines = [f"{name}: {draw.choice(PEOPLE)}" for name in ("From", "To", "Cc")]
    lines += [f"Subject: {draw.choice(SUBJECTS)}", f"Date: {draw.choice(DATES)}"]
    kept = [line for line in lines if draw.random() < 0.9]
    draw.shuffle(kept)
    return "\r\n".join([*kept, "", "x" * draw.randrange(40), ""]).encode()


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, list[Keys]]]:
    """Somebody who has selected a mailbox of letters, and what each criterion compares of each."""
    draw = random.Random(5256)  # noqa: S311 - repeatable
    made = worlds(tmp_path_factory.mktemp("sorting"))
    world = next(made)
    arrived = world.clock.now()
    letters = []
    for _ in range(COUNT):
        arrived += timedelta(seconds=draw.choice((0, 1, 3_600)))
        letters.append((letter(draw), arrived))
    sealed = [(world.store.seal(octets), at) for octets, at in letters]

    def job(writing: Writing) -> None:
        inbox = writing.mailbox(world.zoe.id, "INBOX")
        assert inbox is not None
        for each, at in sealed:
            writing.append(inbox.id, each, frozenset(), at)

    world.store.write(job).result()
    yield world.client(), [slow_keys(octets, at) for octets, at in letters]
    next(made, None)


def done(work: Generator[None, None, T]) -> T:
    """What `work` comes to."""
    try:
        while True:
            next(work)
    except StopIteration as end:
        result: T = end.value
        return result


def collated(text: str) -> bytes:
    return unicodedata.normalize("NFKD", "".join(map(titled, text))).encode()[:500]


def titled(character: str) -> str:
    title = character.title()
    return title if len(title) == 1 else character


def slow_keys(octets: bytes, arrived: datetime) -> Keys:
    """What each criterion compares, by the library's parser."""
    found = message_from_string(octets.decode())

    def text(name: str) -> str:
        return str(make_header(decode_header(str(found[name] or "").replace("\r\n", ""))))

    try:
        moment = parsedate_to_datetime(str(found["Date"]))
        sent = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (TypeError, ValueError):
        sent = arrived
    keys: Keys = {"ARRIVAL": arrived, "SIZE": len(octets), "DATE": sent}
    keys["SUBJECT"] = collated(slowly(text("Subject"))[0])
    for name in ("From", "To", "Cc"):
        pairs = getaddresses([text(name)])
        display, address = pairs[0] if pairs else ("", "")
        keys[name.upper()] = collated(address.partition("@")[0])
        keys[f"DISPLAY{name.upper()}"] = collated(display or address)
    return keys


@pytest.mark.parametrize("seed", range(24))
def test_the_order_is_that_of_a_slow_straight_sort(
    filled: tuple[Client, list[Keys]], seed: int
) -> None:
    client, keys = filled
    draw = random.Random(seed)  # noqa: S311 - repeatable
    names = [NAMES[seed]] if seed < len(NAMES) else draw.sample(NAMES, draw.randrange(1, 4))
    criteria = [(name, draw.random() < 0.5) for name in names]
    expected = list(range(1, COUNT + 1))
    for name, is_reverse in reversed(criteria):
        expected.sort(key=lambda number: keys[number - 1][name], reverse=is_reverse)
    asked = " ".join(("REVERSE " if is_reverse else "") + name for name, is_reverse in criteria)
    answer = client.ok(f"SORT ({asked}) UTF-8 ALL")
    assert answer == ["* SORT " + " ".join(map(str, expected))]


@given(
    st.lists(st.tuples(st.sampled_from([b"a", b"b", b"c", b""]), st.binary(max_size=2))),
    st.booleans(),
)
def test_heaps_leave_the_order_of_one_sort(
    rows: list[tuple[bytes, bytes]], is_reverse: bool
) -> None:
    criteria = (Criterion("FROM", is_reverse), Criterion("TO", not is_reverse))
    columns = {"FROM": [row[0] for row in rows], "TO": [row[1] for row in rows]}
    expected = list(range(len(rows)))
    expected.sort(key=columns["TO"].__getitem__, reverse=not is_reverse)
    expected.sort(key=columns["FROM"].__getitem__, reverse=is_reverse)
    for heap in (1, 3, 1_000):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sorting, "HEAP", heap)
            assert done(ordered(len(rows), criteria, columns)) == expected


def test_no_heap_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """While Python sorts a list nobody else runs (ATT-27)."""
    monkeypatch.setattr(sorting, "HEAP", 100)
    draw = random.Random(1)  # noqa: S311 - repeatable
    column = [draw.randbytes(3) for _ in range(5_000)]
    heaps = done(sorting._heaps(list(range(len(column))), column))
    assert max(map(len, heaps)) <= 200


VALUES = ['""', "x", '"a\\"b"', "é", "x" * 1_200, "a\r\n b", "=?utf-8?Q?=C3=A9?=", "\\", "(", "NIL"]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                ["Subject", "Date", "From", "To", "Cc", "Sender", "Message-ID", "In-Reply-To"]
            ),
            st.sampled_from(VALUES + PEOPLE),
        ),
        max_size=9,
    )
)
def test_an_envelope_is_read_back_alike_in_both_ways(lines: list[tuple[str, str]]) -> None:
    section = "".join(f"{name}: {value}\r\n" for name, value in lines).encode() + b"\r\n"
    envelope = envelope_of(fields(section))
    whole = envelopes._whole(envelope)
    places = (envelopes.DATE, envelopes.SUBJECT, envelopes.IN_REPLY_TO, envelopes.MESSAGE_ID)
    assert len(whole) == 10
    assert envelopes.ids(envelope) == tuple(whole[place] for place in places)
    assert envelopes.head(envelope) == (whole[0], whole[1])
    for place in (envelopes.FROM, envelopes.TO, envelopes.CC):
        people = whole[place]
        first = people[0] if isinstance(people, list) else None
        expected = (first[0], first[2], first[3]) if isinstance(first, list) else (None, None, None)
        assert envelopes.first_of(envelope, place) == expected


@pytest.mark.attack("ATT-27")
def test_no_name_of_64_kib_is_remembered() -> None:
    """D11: thousands of them would fill the memory of every session, for good."""
    sorting._known_text.cache_clear()
    assert len(sorting._text(b"x" * 65_536)) == sorting.MOST_OCTETS
    assert sorting._known_text.cache_info().currsize == 0
    assert sorting._text(b"x") == b"X"
    assert sorting._known_text.cache_info().currsize == 1
