"""The same script and letter, here and in Dovecot's Pigeonhole: the same is done with it.

Left out on purpose: `string` without a comparator (Pigeonhole compares octets, RFC 5228 2.7.3 says
`i;ascii-casemap`), and `:count` of `:detail`, which RFC 5231 and RFC 5233 leave open together.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mssmtp.sieve.faults import BadScript
from mssmtp.sieve.interpreter import run
from mssmtp.sieve.script import Script
from tests.sieve import cases
from tests.sieve.foreign import Done, SieveTest
from tests.sieve.letters import BOX, PLAIN, SENDER, box_of, letter_of

ALL = (
    b'require ["fileinto","envelope","variables","relational","subaddress","copy","body","mime",'
    b'"imap4flags","mailbox","vacation","date","comparator-i;ascii-numeric"];\n'
)
_AT_ONCE = 60


@pytest.fixture(scope="module")
def dovecot() -> Iterator[SieveTest]:
    if shutil.which("sieve-test") is None or os.geteuid() != 0:
        pytest.skip("dovecot-sieve is not installed, or we are not root: it changes users")
    # Not below pytest's own directory, which every session closes to others again.
    with tempfile.TemporaryDirectory(prefix="mssmtp-sieve-") as place:
        yield SieveTest(Path(place))


def ours(script: bytes) -> Done | None:
    """None: it may not be stored."""
    try:
        read = Script.read(script)
    except BadScript:
        return None
    return Done.of(run(read, letter_of(PLAIN), box_of("Archive")))


def theirs(dovecot: SieveTest, script: bytes) -> Done | None:
    return dovecot.run(script, PLAIN, SENDER, BOX)


def asked(tests: tuple[str, ...]) -> bytes:
    """A script that keeps the letter with a keyword for each test that holds."""
    asks = (f'if {test} {{ addflag "t{n}"; }}\n' for n, test in enumerate(tests))
    return ALL + "".join(asks).encode() + b"keep;"


def test_every_test_finds_what_dovecot_finds(dovecot: SieveTest) -> None:
    every = cases.tests()
    for first in range(0, len(every), _AT_ONCE):
        some = every[first : first + _AT_ONCE]
        mine, other = ours(asked(some)), theirs(dovecot, asked(some))
        assert mine is not None
        assert other is not None
        differing = {flag for _, flags in mine.filed ^ other.filed for flag in flags}
        both = {flag for _, flags in mine.filed & other.filed for flag in flags}
        assert mine == other, [some[int(flag[1:])] for flag in sorted(differing - both)]


@pytest.mark.parametrize("script", cases.SCRIPTS)
def test_every_script_does_what_it_does_in_dovecot(dovecot: SieveTest, script: str) -> None:
    octets = ALL + script.encode()
    assert ours(octets) == theirs(dovecot, octets)


_TESTS = st.recursive(
    st.sampled_from(cases.tests()),
    lambda inner: st.one_of(
        inner.map("not {}".format),
        st.lists(inner, min_size=1, max_size=3).map(lambda t: f"allof({','.join(t)})"),
        st.lists(inner, min_size=1, max_size=3).map(lambda t: f"anyof({','.join(t)})"),
    ),
    max_leaves=4,
)
_ACTIONS = st.sampled_from([each for each in cases.SCRIPTS[:48] if "require" not in each])


def _chosen(parts: tuple[str, str, str, str]) -> str:
    test, one, other, after = parts
    return f"if {test} {{ {one} }} else {{ {other} }} {after}"


_SCRIPTS = st.recursive(
    _ACTIONS,
    lambda inner: st.tuples(_TESTS, inner, inner, inner).map(_chosen),
    max_leaves=6,
).filter(lambda script: script.count("vacation") < 2)


@given(_SCRIPTS)
@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_script_of_these_pieces_does_what_it_does_in_dovecot(
    dovecot: SieveTest, script: str
) -> None:
    octets = ALL + script.encode()
    assert ours(octets) == theirs(dovecot, octets)
