"""The grammar: what renders parses back, what does not parse is BadSyntax, and nothing else."""

from __future__ import annotations

import unicodedata
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssmtp.errors import BadSyntax
from mssmtp.imap import dates, items, keys, names, responses
from mssmtp.imap.commands import VERBS
from mssmtp.imap.framer import Literal, Part
from mssmtp.imap.numbers import MAX_NUMBER, NumberSet, View, compress
from mssmtp.imap.syntax import Cursor
from mssmtp.storage.model import to_us

numbers = st.integers(0, MAX_NUMBER)
number_sets = st.lists(st.tuples(numbers, numbers), min_size=1, max_size=8).map(
    lambda ranges: NumberSet(tuple(ranges))
)
texts = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), max_size=12)
field_names = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ-", min_size=1, max_size=10)
days = st.dates(date(1900, 1, 1), date(2199, 12, 31))
leaves = st.one_of(
    st.just(keys.All()),
    st.builds(keys.Flagged, st.sampled_from(["\\Seen", "\\Deleted", "$Junk"]), st.booleans()),
    st.builds(keys.Recent, st.booleans()),
    st.builds(keys.Numbers, number_sets, st.booleans()),
    st.builds(keys.Dated, st.sampled_from(["BEFORE", "ON", "SINCE"]), days, st.booleans()),
    st.builds(keys.Sized, st.booleans(), numbers),
    st.builds(keys.Saved, st.sampled_from(["BEFORE", "ON", "SINCE"]), days),
    st.builds(keys.Aged, st.booleans(), st.integers(1, MAX_NUMBER)),
    st.builds(keys.Identified, st.sampled_from(["EMAILID", "THREADID"]), st.just("M-a_9")),
    st.builds(keys.Modseq, st.integers(0, (1 << 63) - 1)),
    st.builds(keys.Header, field_names, texts),
    st.builds(keys.Content, texts, st.booleans()),
)
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(keys.Not, inner),
        st.builds(keys.Or, inner, inner),
        st.builds(keys.And, st.lists(inner, min_size=1, max_size=4).map(tuple)),
    ),
    max_leaves=10,
)
sections = st.one_of(
    st.builds(
        items.Section,
        st.lists(st.integers(1, 99), max_size=3).map(tuple),
        st.sampled_from(["", "HEADER", "TEXT"]),
    ),
    st.builds(
        items.Section,
        st.lists(st.integers(1, 99), max_size=3).map(tuple),
        st.just("HEADER"),
        st.lists(field_names, min_size=1, max_size=4).map(tuple),
        st.booleans(),
    ),
)
partials = st.none() | st.tuples(numbers, st.integers(1, MAX_NUMBER))
bodies = st.builds(items.Body, sections, partials, st.booleans())

TOKENS: list[bytes] = [
    b"{3}", b"(", b")", b'"', b"\\", b"[", b"]", b"<", b">", b"*", b"%", b":", b",", b" ", b"NIL",
    b"1", b"0", b"4294967296", b"FLAGS", b"BODY", b"BODY.PEEK[", b"HEADER.FIELDS", b"TEXT", b"UID",
    b"INBOX", b"NOT", b"OR", b"ALL", b"CHARSET", b"UTF-8", b"\\Seen", b"+FLAGS", b".SILENT",
    b"\x00", b"\r", b"\xff", b"\xc3\xa9", b"&", b"1-Jan-2026", b'"x"', b"RETURN", b"MESSAGES",
    b"a/b", b"=", b"$", b"-1:-2", b"PARTIAL", b"MODSEQ", b"SAVE",
    b"SUBSCRIBED", b"RECURSIVEMATCH", b"STATUS", b"METADATA", b"/private/x", b"DEPTH", b"USE",
    b"IMAP4rev2", b"e\xcc\x81",
]  # fmt: skip
parts = st.lists(
    st.one_of(
        st.lists(st.sampled_from(TOKENS), max_size=8).map(b"".join),
        st.sampled_from(TOKENS).map(Literal),
    ),
    min_size=1,
    max_size=4,
)


def cursor(*octets: Part) -> Cursor:
    """At the beginning of a command's arguments."""
    return Cursor(octets)


@given(number_sets)
def test_number_sets_go_round(numbers: NumberSet) -> None:
    assert NumberSet.parse(numbers.render()) == numbers


@given(trees)
def test_search_keys_go_round(key: keys.Key) -> None:
    assert keys.parse(cursor(b"CHARSET UTF-8 " + keys.render(key))) == keys.And((key,))


@given(st.lists(bodies, min_size=1, max_size=4, unique=True))
def test_fetch_items_go_round(wanted: list[items.Body]) -> None:
    rendered = responses.listed(body.render() for body in wanted)
    assert items.parse(cursor(rendered)) == tuple(wanted)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_any_name_goes_round_through_modified_utf7(name: str) -> None:
    wire = names.encode(name)
    assert wire.isascii()
    assert names.decode(wire) == names.folded(name)


@given(
    st.lists(
        st.sampled_from([b"&", b"-", b"AOk", b"a", b"&-", b"&AOk-", b"&AGE-", b"2D3eAA", b"\xe9"])
    )
)
def test_two_spellings_never_name_one_mailbox(pieces: list[bytes]) -> None:
    wire = b"".join(pieces)
    try:
        name = names.decode(wire)
    except BadSyntax:
        return
    assert names.encode(name) == wire or not wire.isascii()


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_any_name_goes_round_through_utf8(name: str) -> None:
    """Composed or not, in UTF-8 or not: one mailbox (RFC 9051 5.1)."""
    kept = names.folded(name)
    for spelt in (name, kept, unicodedata.normalize("NFD", name)):
        wire = names.encode_utf8(spelt)
        assert names.decode_utf8(wire) == kept
        assert wire.isascii() or names.decode(wire) == kept
    assert names.normal_utf8(name.encode()) == unicodedata.normalize("NFC", name).encode()


@given(st.binary(max_size=40))
def test_quoted_strings_and_literals_go_round(octets: bytes) -> None:
    wire = responses.quoted(octets)
    parsed = cursor(b"", Literal(octets), b"") if wire.startswith(b"{") else cursor(wire)
    assert parsed.string() == octets


@given(st.datetimes(datetime(1982, 1, 2), datetime(2199, 1, 1)))
def test_internal_dates_go_round(at: datetime) -> None:
    aware = at.replace(tzinfo=UTC)
    shown = dates.render_date_time(to_us(aware))
    assert cursor(shown).date_time() == aware.replace(microsecond=0)


def test_apl_06_nothing_before_1982_is_shown() -> None:
    assert dates.render_date_time(-1) == b'"01-Jan-1982 00:00:00 +0000"'


def test_a_date_time_has_a_zone() -> None:
    at = cursor(b'" 1-Feb-2026 01:02:03 +0130"').date_time()
    assert at == datetime(2026, 1, 31, 23, 32, 3, tzinfo=UTC) + timedelta(0)
    for bad in (b'"1-Feb-2026 01:02:03"', b'"31-Feb-2026 01:02:03 +0000"', b'"x"'):
        with pytest.raises(BadSyntax):
            cursor(bad).date_time()


@given(st.sampled_from(sorted(VERBS)), parts)
def test_any_arguments_parse_or_raise_bad_syntax(verb: str, arguments: list[Part]) -> None:
    """BADCHARSET is a refusal of RFC 3501 6.4.4, the only other outcome."""
    line: list[Part] = []
    for part in arguments:  # as the framer gives them: text and literals in turn, text first
        if isinstance(part, bytes) == (len(line) % 2 == 0):
            line.append(part)
        elif isinstance(part, Literal):
            line += [b"", part]
    if len(line) % 2 == 0:
        line.append(b"")
    with suppress(BadSyntax):
        try:
            VERBS[verb].parse(Cursor(tuple(line)))
        except responses.Refused as refused:
            if not refused.code.startswith("BADCHARSET"):
                raise


@pytest.mark.attack
def test_att_04_nesting_and_length_are_bounded() -> None:
    for text in (
        b"(" * 51 + b"ALL" + b")" * 51,
        b"NOT " * 60 + b"ALL",
        b"OR ALL " * 60 + b"ALL",
        b" ".join([b"ALL"] * 1_001),
    ):
        with pytest.raises(BadSyntax):
            keys.parse(cursor(text))
    with pytest.raises(BadSyntax):
        items.parse(cursor(b"(" + b" ".join([b"UID"] * 1_002) + b")"))
    with pytest.raises(BadSyntax):
        NumberSet.parse(b",".join([b"1"] * 16_385))


@pytest.mark.attack
def test_att_23_names_never_become_paths() -> None:
    for name in ("../../etc/passwd", "..", ".", "a\\b", "a/../b"):
        assert names.creatable(name) == name
    for name in ("/etc/passwd", "a//b", "", "/", "a\0b", "a\nb", "x" * 256, "/".join("a" * 21)):
        with pytest.raises(names.BadName):
            names.creatable(name)


@given(st.sets(st.integers(1, 200)).map(sorted), number_sets)
def test_a_view_names_the_messages_of_a_set(uids: list[int], wanted: NumberSet) -> None:
    view = View(uids)
    last = uids[-1] if uids else 0
    expected = {
        uid
        for uid in uids
        for first, second in wanted.ranges
        if min(first or last, second or last) <= uid <= max(first or last, second or last)
    }
    assert view.uids_of(view.spans(wanted, by_uid=True)) == sorted(expected)


@given(st.lists(st.integers(1, 30), unique=True), st.sets(st.integers(1, 30)).map(sorted))
def test_expunge_numbers_replay_to_the_same_view(gone: list[int], uids: list[int]) -> None:
    view, client = View(uids), list(uids)
    for number in view.remove(gone):
        del client[number - 1]
    assert list(view.uids) == client == [uid for uid in uids if uid not in gone]


@given(st.lists(st.integers(1, 50), max_size=20))
def test_compressed_sets_keep_order_and_members(given_numbers: list[int]) -> None:
    if not given_numbers:
        assert compress([]) == b""
        return
    ranges = NumberSet.parse(compress(given_numbers)).ranges
    assert [n for a, b in ranges for n in range(a, b + 1)] == given_numbers


def test_a_saved_result_is_a_set_of_its_own() -> None:
    assert NumberSet.parse(b"$").render() == b"$"
    assert cursor(b"$ FLAGS").number_set().is_saved
    for wrong in (b"$1", b"$,1", b"1,$", b"$:2", b"$$"):
        with pytest.raises(BadSyntax):
            NumberSet.parse(cursor(wrong).astring())
