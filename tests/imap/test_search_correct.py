"""SEARCH against a full decode of every message of the corpora, looked through one by one (GEN-15).

Expected is what a message says when it is scanned and decoded anew, and the key is worked out on
it alone: no rows, summaries, packs, sieves or batches. The decoders themselves are held against
Python's own library in tests/message.
"""

from __future__ import annotations

import random
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTP
from hashlib import sha256

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mssmtp.imap import keys, objectids, search
from mssmtp.imap.keys import Key
from mssmtp.imap.numbers import NumberSet, View
from mssmtp.message import Scanner, Summary
from mssmtp.message.dates import sent_on
from mssmtp.message.decode import decode_words, fold
from mssmtp.message.headers import fields
from mssmtp.message.readable import folded_body
from mssmtp.storage import Writing
from tests.corpus import cpython_messages, torture_messages
from tests.imap.world import START, Client, World, worlds

FLAGS = ("\\Seen", "\\Deleted", "\\Answered", "\\Flagged", "\\Draft", "$Junk")


@dataclass(frozen=True)
class Read:
    """All of one message."""

    number: int
    uid: int
    flags: frozenset[str]
    size: int
    internal: datetime
    modseq: int
    fields: tuple[tuple[str, str], ...]
    body: str
    sent: date | None
    ids: dict[str, str]

    @property
    def header(self) -> str:
        return "\n".join(f"{fold(name)}: {value}" for name, value in self.fields)


@dataclass(frozen=True)
class Box:
    client: Client
    letters: list[Read]


def corpus() -> Iterator[bytes]:
    """Half of the corpora without the biggest, and 300 letters with accents in every coding."""
    for _, octets in (*cpython_messages(), *list(torture_messages())[::2]):
        if len(octets) < 20_000:
            yield octets
    for number in range(300):
        charset = ("utf-8", "iso-8859-1", "windows-1252", "iso-8859-15", "utf-7")[number % 5]
        subject = b64encode(f"Compte rendu d'hémogramme n° {number}".encode(charset)).decode()
        letter = EmailMessage(SMTP)
        letter["From"] = f"Zoé {number} <zoe{number}@hopital-a.test>"
        letter["Date"] = START - timedelta(days=number % 7)
        cte = ("base64", "quoted-printable", "8bit")[number % 3]
        odd = "œdème" if charset not in ("iso-8859-1", "utf-7") else "eczéma"
        letter.set_content(
            f"Bilan nº {number}: {odd}, naïve\r\n",
            charset=charset,
            cte="base64" if charset == "utf-7" else cte,
        )
        if number % 5 == 0:
            letter.add_alternative(f"<p>r&eacute;f {number}</p>", subtype="html", cte=cte)
        yield f"Subject: =?{charset}?B?{subject}?=\r\n".encode() + letter.as_bytes()


def read_whole(octets: bytes, number: int, flags: frozenset[str], internal: datetime) -> Read:
    scanner = Scanner()
    scanner.feed(octets)
    summary = replace(Summary.of(scanner.close()), sha256=sha256(octets).digest())
    body = b"".join(folded_body(summary, lambda start, stop: octets[start:stop]))
    return Read(
        number=number,
        uid=number,
        flags=flags,
        size=len(octets),
        internal=internal,
        modseq=0,
        fields=tuple((f.name, fold(decode_words(f.value))) for f in fields(summary.header)),
        body=body.replace(b"\xff", b"\n").decode(),
        sent=sent_on(summary.header),
        ids={
            "EMAILID": objectids.email_id(summary).decode(),
            "THREADID": objectids.thread_id(summary).decode(),
        },
    )


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    made = worlds(tmp_path_factory.mktemp("search"))
    world = next(made)
    letters = filled(world)
    client = world.client()
    rows = client.ok("UID FETCH 1:* (MODSEQ)")
    modseqs = [int(row.split("MODSEQ (")[1].rstrip(")")) for row in rows if "FETCH" in row]
    known = [
        replace(letter, modseq=modseq) for letter, modseq in zip(letters, modseqs, strict=True)
    ]
    yield Box(client, known)
    next(made, None)


def filled(world: World) -> list[Read]:
    chance = random.Random(3501)  # noqa: S311 - repeatable
    letters: list[Read] = []
    sealed = []
    for octets in corpus():
        try:
            letter = world.store.seal(octets)
        except Exception:  # noqa: S112 - what is refused at the door is in no mailbox
            continue
        flags = frozenset(flag for flag in FLAGS if chance.random() < 0.3)
        internal = START - timedelta(hours=chance.randrange(24 * 30), seconds=chance.randrange(99))
        letters.append(read_whole(octets, len(letters) + 1, flags, internal))
        sealed.append((letter, flags, internal))

    def job(writing: Writing) -> None:
        inbox = writing.mailbox(world.zoe.id, "INBOX")
        assert inbox is not None
        for letter, flags, internal in sealed:
            writing.append(inbox.id, letter, flags, internal)

    world.store.write(job).result()
    world.store.settle()
    return letters


# ---------------------------------------------------------------- what a key means


def holds(key: Key, letter: Read, view: View) -> bool:
    """RFC 3501 6.4.4, RFC 9051 6.4.4, said of one message."""
    match key:
        case keys.And(inner):
            return all(holds(each, letter, view) for each in inner)
        case keys.Or(first, second):
            return holds(first, letter, view) or holds(second, letter, view)
        case keys.Not(inner_key):
            return not holds(inner_key, letter, view)
        case keys.All():
            return True
        case keys.Flagged(flag, is_set):
            return (flag.lower() in {each.lower() for each in letter.flags}) is is_set
        case keys.Recent(is_recent):
            return is_recent
        case keys.Numbers(numbers, _):
            last = len(view)
            ends = [(last if a == 0 else a, last if b == 0 else b) for a, b in numbers.ranges]
            return any(min(a, b) <= letter.number <= max(a, b) for a, b in ends)
        case keys.Sized(larger, octets):
            return letter.size > octets if larger else letter.size < octets
        case keys.Modseq(at_least):
            return letter.modseq >= at_least
        case keys.Header(name, text):
            wanted = fold(text)
            return any(wanted in value for field, value in letter.fields if field == fold(name))
        case keys.Content(text, with_header):
            wanted = fold(text)
            return wanted in letter.body or (with_header and wanted in letter.header)
        case keys.Identified(name, id):
            return letter.ids[name] == id
        case keys.Aged(is_older, seconds):
            age = (START - letter.internal).total_seconds()
            return age >= seconds if is_older else age <= seconds
        case keys.Dated(relation, day, sent):
            found = letter.sent if sent else letter.internal.astimezone(UTC).date()
            return in_relation(found, relation, day)
        case keys.Saved(relation, day):
            return in_relation(START.date(), relation, day)


def in_relation(found: date | None, relation: str, day: date) -> bool:
    if found is None:
        return False
    return {"BEFORE": found < day, "ON": found == day, "SINCE": found >= day}[relation]


def asked(box: Box, key: Key) -> list[int]:
    (answer,) = box.client.ok(b"UID SEARCH CHARSET UTF-8 " + keys.render(key))
    return [int(uid) for uid in answer.partition(" (MODSEQ")[0].split()[2:]]


def expected(box: Box, key: Key) -> list[int]:
    view = box.client.session.selected.view
    return [letter.uid for letter in box.letters if holds(key, letter, view)]


# ---------------------------------------------------------------- claims


def test_the_corpora_are_in_the_mailbox(box: Box) -> None:
    assert len(box.letters) > 600
    assert asked(box, keys.All()) == [letter.uid for letter in box.letters]


@pytest.mark.parametrize("seed", range(30))
def test_any_piece_of_any_text_is_found_where_it_stands_and_nowhere_else(
    box: Box, seed: int
) -> None:
    """Pieces of real bodies, headers and fields, one to twelve characters long."""
    chance = random.Random(seed)  # noqa: S311 - repeatable
    letter = chance.choice([each for each in box.letters if each.body.strip() and each.fields])
    name, value = chance.choice(letter.fields)
    for key in (
        keys.Content(piece(chance, letter.body), with_header=False),
        keys.Content(piece(chance, letter.header), with_header=True),
        keys.Header(name.upper(), piece(chance, value)),
        keys.Header(name.upper(), ""),
    ):
        found = asked(box, key)
        assert letter.uid in found
        assert found == expected(box, key), key


def piece(chance: random.Random, text: str) -> str:
    """Something of one line of `text`."""
    lines = [line for line in text.replace("\r", "\n").replace("\0", "\n").split("\n") if line]
    line = chance.choice(lines) if lines else ""
    start = chance.randrange(max(len(line), 1))
    return line[start : start + chance.randrange(1, 13)]


@pytest.mark.parametrize(
    "text", ["HÉMOGRAMME", "hemogramme", "Œdème", "OEDEME", "naïve", "NAIVE", "réf", "ﬁn", "ŒUF"]
)
def test_accents_ligatures_and_case_do_not_matter(box: Box, text: str) -> None:
    for with_header in (False, True):
        key = keys.Content(text, with_header)
        assert asked(box, key) == expected(box, key)


@pytest.mark.parametrize(
    "charset", ["UTF-8", "ISO-8859-1", "iso-8859-15", "Windows-1252", "UTF-16", "UTF-7", "cp850"]
)
def test_a_charset_is_honoured(box: Box, charset: str) -> None:
    text = "hémogramme"
    octets = text.encode("utf-16-be" if charset == "UTF-16" else charset)
    if charset == "UTF-16":
        octets = b"\xfe\xff" + octets
    (answer,) = box.client.ok(
        b"UID SEARCH CHARSET %b SUBJECT {%d+}\r\n%b" % (charset.encode(), len(octets), octets)
    )
    key = keys.Header("SUBJECT", text)
    assert [int(uid) for uid in answer.split()[2:]] == expected(box, key)
    assert len(expected(box, key)) == 300


def test_octets_without_a_charset_are_read_as_what_they_are(box: Box) -> None:
    """RFC 3501 has US-ASCII there; clients send UTF-8, or Latin-1, and say nothing."""
    for octets in ("hémogramme".encode(), "hémogramme".encode("latin-1")):
        (answer,) = box.client.ok(
            b"SEARCH RETURN (COUNT) SUBJECT {%d+}\r\n%b" % (len(octets), octets)
        )
        assert answer.endswith(" COUNT 300")
        (answer,) = box.client.ok(b'SEARCH RETURN (COUNT) SUBJECT "%b"' % octets)
        assert answer.endswith(" COUNT 300")


numbers = st.integers(0, 600)  # a sequence number above the last is refused
sets = st.lists(st.tuples(numbers, numbers), min_size=1, max_size=5).map(
    lambda ranges: NumberSet(tuple(ranges))
)
days = st.dates(date(2026, 1, 25), date(2026, 3, 5))
relations = st.sampled_from(["BEFORE", "ON", "SINCE"])
words = st.sampled_from(["bilan", "é", "zo", "charset", "1", "ne se trouve nulle part", "œdeme"])
leaves = st.one_of(
    st.builds(keys.Flagged, st.sampled_from(FLAGS), st.booleans()),
    st.builds(keys.Recent, st.booleans()),
    st.builds(keys.Numbers, sets, st.booleans()),
    st.builds(keys.Dated, relations, days, st.booleans()),
    st.builds(keys.Saved, relations, days),
    st.builds(keys.Sized, st.booleans(), st.integers(0, 3_000)),
    st.builds(keys.Aged, st.booleans(), st.integers(1, 86_400 * 30)),
    st.builds(keys.Modseq, st.integers(0, 1_200)),
    st.builds(keys.Header, st.sampled_from(["SUBJECT", "FROM", "X-NONE", "DATE"]), words),
    st.builds(keys.Content, words, st.booleans()),
)
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(keys.Not, inner),
        st.builds(keys.Or, inner, inner),
        st.builds(keys.And, st.lists(inner, min_size=1, max_size=3).map(tuple)),
    ),
    max_leaves=6,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=trees, by_pieces=st.booleans())
def test_any_tree_of_keys_means_what_the_rfc_says(box: Box, key: Key, by_pieces: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if by_pieces:
            patch.setattr(search, "ROWS", 100)
            patch.setattr(search, "TEXTS", 150)
            patch.setattr(search, "MOST_COST", 50_000)
        assert asked(box, key) == expected(box, key)


def test_ids_are_found(box: Box) -> None:
    for letter in box.letters[::97]:
        ids = letter.ids
        for key in (
            keys.Identified("EMAILID", ids["EMAILID"]),
            keys.Identified("THREADID", ids["THREADID"]),
        ):
            found = asked(box, key)
            assert letter.uid in found
            assert found == expected(box, key)
