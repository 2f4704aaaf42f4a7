"""Flags of neighbouring messages as one row: what is packed is unpacked, for every mailbox."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssmtp.errors import Damaged
from mssmtp.mail import ModSeq
from mssmtp.storage.images import TooManySets, block_of, image_of
from mssmtp.storage.states import STATE_UIDS, Mark, packed, state_of, unpacked

OFFSETS = st.integers(0, STATE_UIDS - 1)
MODSEQS = st.integers(1, 300) | st.integers(1, 1 << 62)
BITS = st.integers(0, 3) | st.integers(0, (1 << 62) - 1)
ONE_WINDOW = st.dictionaries(OFFSETS, st.tuples(MODSEQS, BITS), min_size=1, max_size=40)


@given(st.integers(0, (1 << 32) // STATE_UIDS - 1), ONE_WINDOW)
def test_a_state_survives_being_kept(window: int, found: dict[int, tuple[int, int]]) -> None:
    marks = [(window * STATE_UIDS + at, *found[at]) for at in sorted(found)]
    state = unpacked(window, packed(state_of(marks)))
    assert state.marks() == marks
    assert state.window == window
    assert state.modseq == max(modseq for _, modseq, _ in marks)
    assert [state.mark(uid) for uid, _, _ in marks] == marks
    assert state.mark(marks[-1][0] + 1) is None


def test_a_whole_window_of_different_flags_survives_being_kept() -> None:
    marks = [(STATE_UIDS + at, at + 1, at << 3) for at in range(STATE_UIDS)]
    assert unpacked(1, packed(state_of(marks))).marks() == marks


def test_a_whole_window_of_the_same_flags_is_a_few_octets() -> None:
    image = image_of(
        ModSeq(1), [block_of([(uid, 1, 0) for uid in range(STATE_UIDS, 2 * STATE_UIDS)])]
    )
    after, changed = image.with_flags([(0, STATE_UIDS)], -1, 1, ModSeq(9))
    (state,) = after.states(changed)
    assert len(packed(state)) < 32
    assert unpacked(1, packed(state)).marks() == [(uid, 9, 1) for uid in image.uids]


@given(ONE_WINDOW, st.data())
def test_damage_is_told(found: dict[int, tuple[int, int]], data: st.DataObject) -> None:
    octets = packed(state_of([(at, *found[at]) for at in sorted(found)]))
    cut = data.draw(st.integers(0, len(octets) - 1))
    with pytest.raises(Damaged):
        unpacked(0, octets[:cut] if cut else b"\xff" * len(octets))


@given(
    st.lists(st.integers(1, 4 * STATE_UIDS), unique=True, min_size=1, max_size=60).map(sorted),
    st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20), st.integers(0, 7)), max_size=5),
)
def test_an_image_of_rows_and_states_is_the_image_that_made_them(
    uids: list[int], changes: list[tuple[int, int, int]]
) -> None:
    came: list[Mark] = [(uid, 1, uid & 3) for uid in uids]
    image = image_of(ModSeq(1), [block_of(came)])
    kept: dict[int, bytes] = {}
    for modseq, (start, length, more) in enumerate(changes, 2):
        span = (min(start, len(uids)), min(start + length, len(uids)))
        image, changed = image.with_flags([span], 5, more, ModSeq(modseq))
        kept |= {state.window: packed(state) for state in image.states(changed)}
    states = [unpacked(window, octets) for window, octets in sorted(kept.items())]
    again = image_of(image.modseq, [block_of(came)], states)
    assert shown(again.uids, again.modseqs, again.codes, again.sets) == shown(
        image.uids, image.modseqs, image.codes, image.sets
    )


def shown(uids: object, modseqs: object, codes: bytes, sets: tuple[int, ...]) -> list[object]:
    """Comparable, whatever codes the sets got."""
    return [uids, modseqs, [sets[code] for code in codes]]


def test_an_image_of_states_refuses_too_many_sets_too() -> None:
    state = state_of([(uid, 2, uid << 8) for uid in range(1, 300)])
    with pytest.raises(TooManySets):
        image_of(ModSeq(2), [block_of([(uid, 1, 0) for uid in range(1, 300)])], [state])
