"""What a search answers, against the plain list of results (RFC 4731, RFC 5182, RFC 9394)."""

from __future__ import annotations

import re
from array import array

from hypothesis import given
from hypothesis import strategies as st

from mssmtp.imap.numbers import NumberSet, View, count_of, part_of, spans_of
from mssmtp.imap.results import Answer, Found, Page, Returning, parse
from mssmtp.imap.syntax import Cursor

UIDS = [2, 3, 5, 8, 9, 10, 20, 21, 22, 23]
positions = st.sets(st.integers(0, len(UIDS) - 1)).map(sorted)
names = st.sets(st.sampled_from(["MIN", "MAX", "ALL", "COUNT", "SAVE"]))
ends = st.integers(1, 12)
pages = st.none() | st.tuples(ends, ends, st.booleans())


def found(at: list[int]) -> Found:
    return Found(array("I", at), array("Q"))


def page_of(given: tuple[int, int, bool] | None) -> Page | None:
    if given is None:
        return None
    first, last, from_end = given
    text = f"-{first}:-{last}" if from_end else f"{first}:{last}"
    return Page.parse(Cursor((text.encode(),)))


def shown(page: tuple[int, int, bool], results: list[int]) -> list[int]:
    low, high = sorted(page[:2])
    if page[2]:
        return sorted(results, reverse=True)[low - 1 : high][::-1]
    return results[low - 1 : high]


@given(positions, names, pages, st.booleans())
def test_an_answer_says_what_a_list_of_results_would(
    at: list[int], options: set[str], given_page: tuple[int, int, bool] | None, by_uid: bool
) -> None:
    if given_page is not None:
        options.discard("ALL")
    view = View(UIDS)
    results = [UIDS[i] if by_uid else i + 1 for i in at]
    returning = Returning(frozenset(options), page_of(given_page))
    line = Answer(view, by_uid, b"A1").extended(found(at), returning).decode()
    head = '* ESEARCH (TAG "A1")' + (" UID" if by_uid else "")
    assert line.startswith(head)
    assert line.endswith("\r\n")
    said = dict(re.findall(r" (MIN|MAX|COUNT|ALL|PARTIAL) (\([^)]*\)|\S+)", line))
    assert ("MIN" in said) == ("MIN" in options and bool(at))
    assert ("MAX" in said) == ("MAX" in options and bool(at))
    assert ("ALL" in said) == ("ALL" in options and bool(at))
    assert said.get("MIN", str(results[0]) if at else None) == (str(results[0]) if at else None)
    assert said.get("MAX", str(results[-1]) if at else None) == (str(results[-1]) if at else None)
    assert said.get("COUNT") == (str(len(at)) if "COUNT" in options else None)
    if "ALL" in said:
        assert expanded(said["ALL"]) == results
    if given_page is not None:
        text, sets = said["PARTIAL"].strip("()").split(" ")
        assert text == (page_of(given_page) or Page(1, 1, False, b"")).text.decode()
        assert ([] if sets == "NIL" else expanded(sets)) == shown(given_page, results)


def expanded(text: str) -> list[int]:
    ranges = NumberSet.parse(text.encode()).ranges
    return [number for low, high in ranges for number in range(low, high + 1)]


@given(positions, names, pages)
def test_what_is_saved_follows_the_tables_of_the_rfcs(
    at: list[int], options: set[str], given_page: tuple[int, int, bool] | None
) -> None:
    """RFC 5182 2.4 and RFC 9394 3.2, said once more in other words."""
    if given_page is not None:
        options.discard("ALL")
    returning = Returning(frozenset(options | {"SAVE"}), page_of(given_page))
    if options & {"ALL", "COUNT"} or (not options & {"MIN", "MAX"} and given_page is None):
        expected = set(at)
    else:
        expected = set(shown(given_page, at)) if given_page else set()
        expected |= set(at[:1]) if "MIN" in options else set()
        expected |= set(at[-1:]) if "MAX" in options else set()
    spans = found(at).spans(returning.chosen(len(at)))
    assert [i for start, stop in spans for i in range(start, stop)] == sorted(expected)


@given(positions, names, pages)
def test_results_that_are_enough_give_the_same_answer(
    at: list[int], options: set[str], given_page: tuple[int, int, bool] | None
) -> None:
    if given_page is not None:
        options.discard("ALL")
    returning = Returning(frozenset(options), page_of(given_page))
    if returning.enough is None or returning.is_silent:
        return
    count, from_end = returning.enough
    some = at[-count:] if from_end else at[:count]
    answer = Answer(View(UIDS), True, b"A1")
    assert answer.extended(found(some), returning) == answer.extended(found(at), returning)


@given(positions, st.sets(st.sampled_from(UIDS)))
def test_a_saved_result_loses_what_is_expunged_and_nothing_else(
    at: list[int], gone: set[int]
) -> None:
    view = View(UIDS)
    view.saved = spans_of(at)
    view.remove(gone)
    view.append([30, 31])
    left = [UIDS[i] for i in at if UIDS[i] not in gone]
    assert view.uids_of(view.spans(NumberSet.parse(b"$"), by_uid=True)) == left
    assert view.saved == spans_of([list(view.uids).index(uid) for uid in left])


def test_an_empty_list_of_options_asks_for_all() -> None:
    asked = parse(Cursor((b"RETURN () ALL",)))
    assert asked is not None
    assert asked.names == {"ALL"}
    assert parse(Cursor((b"ALL",))) is None


@given(positions, ends, ends)
def test_a_piece_of_spans_is_that_piece_of_their_positions(
    at: list[int], first: int, last: int
) -> None:
    spans = spans_of(at)
    left = part_of(spans, range(first - 1, last))
    assert [i for start, stop in left for i in range(start, stop)] == at[first - 1 : last]
    assert count_of(spans) == len(at)
