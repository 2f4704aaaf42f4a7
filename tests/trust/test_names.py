"""Names are compared as normalised RDN sequences (OP-32, ATT-15)."""

from __future__ import annotations

from collections import Counter

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from mssmtp.pki import certificate_name, listed_name, printed_name
from tests.trust import names
from tests.trust.names import OIDS, Tally, population, subject, walk
from tests.trust.names import Name as Printed


def name_of(*printed: tuple[str, str]) -> x509.Name:
    """A certificate's name from RDNs in printed order."""
    return subject(printed)


def rdns(*parts: str) -> Printed:
    return tuple((kind, value) for kind, _, value in (part.partition("=") for part in parts))


NBSP = "\u00a0"
VECTORS: list[tuple[str, str, Printed, bool]] = [
    ("V01", 'CN=a,O="CH  VAL",C=FR', rdns("CN=a", "O=CH  VAL", "C=FR"), True),
    ("V02", "CN=a,O=CH  VAL,C=FR", rdns("CN=a", "O=CH  VAL", "C=FR"), True),
    ("V03", "CN=a,ST=Paris(75),C=FR", rdns("CN=a", "ST=Paris (75)", "C=FR"), True),
    ("V04", "CN=a, OU=1,C=FR", rdns("CN=a", "OU=1", "C=FR"), True),
    ("V05", "CN=A.example,C=FR", rdns("CN=a.EXAMPLE", "C=FR"), True),
    ("V06", 'CN=a,O="A, B",C=FR', rdns("CN=a", "O=A, B", "C=FR"), True),
    ("V07", r"CN=a,O=A\, B,C=FR", rdns("CN=a", "O=A, B", "C=FR"), True),
    ("V08", 'CN=a,O=CENTRE "X-Y",C=FR', rdns("CN=a", 'O=CENTRE "X-Y"', "C=FR"), True),
    ("V09", "CN=a,O=CENTRE  X-Y,C=FR", rdns("CN=a", 'O=CENTRE "X-Y"', "C=FR"), True),
    ("V10", f"CN=a,O=LA{NBSP} MUSE,C=FR", rdns("CN=a", f"O=LA{NBSP} MUSE", "C=FR"), True),
    ("V11", "CN=a,S=Rhône (69),C=FR", rdns("CN=a", "ST=Rhône (69)", "C=FR"), True),
    ("V12", "CN=a,ST=Rho\u0302ne (69),C=FR", rdns("CN=a", "ST=Rh\u00f4ne (69)", "C=FR"), True),
    ("V13", "CN=a,OU=1990000017,C=FR", rdns("CN=a", "OU=1990000018", "C=FR"), False),
    ("V14", "CN=a,L=Paris (75),C=FR", rdns("CN=a", "ST=Paris (75)", "C=FR"), False),
    ("V15", "CN=a,OU=1,C=FR", rdns("CN=a", "OU=1", "OU=2", "C=FR"), False),
    ("V16", "CN=a,OU=1,C=FR", rdns("CN=a", "C=FR"), False),
    ("V17", "CN=a,OU=1,C=FR", rdns("OU=1", "CN=a", "C=FR"), False),
    ("V18", "CN=a,O=HOPITAL,C=FR", rdns("CN=a", "O=HÔPITAL", "C=FR"), False),
]


@pytest.mark.requirement("OP-32")
@pytest.mark.parametrize(
    ("listed", "printed", "equal"), [v[1:] for v in VECTORS], ids=[v[0] for v in VECTORS]
)
def test_vectors_of_the_specification(listed: str, printed: Printed, equal: bool) -> None:
    key = listed_name(listed)
    assert key is not None
    assert (key == certificate_name(name_of(*printed))) is equal


def test_v19_odd_number_of_quotes_makes_the_entry_unusable() -> None:
    assert listed_name('CN=a,O="X,C=FR') is None


def test_v20_multi_valued_rdn_never_matches() -> None:
    multiple = x509.Name(
        [
            x509.RelativeDistinguishedName([x509.NameAttribute(NameOID.COUNTRY_NAME, "FR")]),
            x509.RelativeDistinguishedName(
                [
                    x509.NameAttribute(NameOID.COMMON_NAME, "a"),
                    x509.NameAttribute(NameOID.SERIAL_NUMBER, "1"),
                ]
            ),
        ]
    )
    assert certificate_name(multiple) is None
    assert listed_name("CN=a,C=FR") is not None


@pytest.mark.parametrize(
    "text",
    ["", "CN", "CN=a,", "CN=a,,C=FR", "=a", "CN=", "CN=a\\", 'CN="', r"CN=\FF", 'CN="",C=FR'],
)
def test_unreadable_entry_is_unusable(text: str) -> None:
    assert listed_name(text) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (r"CN=Rh\C3\B4ne", "CN=Rhône"),
        ("2.5.4.3=a", "CN=a"),
        ("oid.2.5.4.8=Var (83)", "S=Var(83)"),
        ("cn = a , c = fr", "CN=a,C=FR"),
        (r"CN=a\2CO=b", r"CN=a\,O=b"),
    ],
)
def test_spellings_of_one_name_meet(one: str, other: str) -> None:
    assert listed_name(one) == listed_name(other) is not None


@pytest.mark.attack
def test_att_15_look_alikes_do_not_match() -> None:
    """Suffix, prefix, several CN, none, NUL, other types of string, order, other alphabets."""
    honest = rdns("CN=mx.hopital.test", "OU=1990000017", "O=HOPITAL", "C=FR")
    key = listed_name(",".join(f"{t}={v}" for t, v in honest))
    lies = [
        rdns("CN=evil-mx.hopital.test", *_rest(honest)),
        rdns("CN=mx.hopital.test.evil.test", *_rest(honest)),
        rdns("CN=mx.hopital.test\x00.evil.test", *_rest(honest)),
        rdns("CN=mx.hopital.test\u200b", *_rest(honest)),
        rdns("CN=mx.h\u043epital.test", *_rest(honest)),
        rdns("CN=mx.hopital.test,OU=1990000017", *_rest(honest)),
        rdns("CN=mx.hopital.test", "CN=evil.test", *_rest(honest)),
        rdns("CN=evil.test", "CN=mx.hopital.test", *_rest(honest)),
        rdns(*_rest(honest)),
        tuple(reversed(honest)),
        rdns("CN=mx.hopital.test", "OU=1990000017", "O=HOPITAL"),
    ]
    assert certificate_name(name_of(*honest)) == key
    assert [lie for lie in lies if certificate_name(name_of(*lie)) == key] == []
    # The detector sees a name compared by containment, the error of CVE-2019-3814's family.
    contained = [lie for lie in lies if "mx.hopital.test" in printed_name(name_of(*lie))]
    assert contained


def _rest(printed: Printed) -> list[str]:
    return [f"{kind}={value}" for kind, value in printed[1:]]


TEXTS = st.lists(
    st.sampled_from(
        [
            "A",
            "é",
            "e\u0301",
            " ",
            NBSP,
            '"',
            ",",
            "\\",
            "=",
            "+",
            "(",
            "75",
            "ß",
            "İ",
            "\u2003",
            "#",
        ]
    ),
    min_size=1,
    max_size=8,
).map("".join)
NAMES = st.lists(st.tuples(st.sampled_from(sorted(OIDS)), TEXTS), min_size=1, max_size=5).map(tuple)


def spelt(printed: Printed) -> str:
    """One of the ways a list may print the name: every value escaped."""
    special = '",\\+=#'
    return ",".join(
        f"{kind}={''.join(chr(92) + c if c in special else c for c in value)}"
        for kind, value in printed
    )


@given(NAMES)
def test_a_name_printed_with_escapes_is_the_certificates(printed: Printed) -> None:
    values = [" ".join(v.replace('"', "").split()) for _, v in printed]
    parts = [p for p in printed if p[0] != "C"]  # a country has two letters in a certificate
    if not all(values) or not parts:
        return
    assert listed_name(spelt(tuple(parts))) == certificate_name(name_of(*parts))


@given(st.lists(st.sampled_from(['"', ",", "\\", "=", "C", "N", "2", "F", " ", "é"])).map("".join))
def test_any_list_text_is_a_name_or_unusable(text: str) -> None:
    key = listed_name(text)
    assert key is None or all(rdn.type and rdn.value for rdn in key)


@pytest.mark.requirement("OP-32")
def test_the_statistics_of_the_genuine_list() -> None:
    """391 strings are 380 names, each merge two spellings of one certificate; 13 strings are not
    readable by RFC 4514, whose strict reader would cut their operators off."""
    listed = population()
    texts = {text for text, _ in listed}
    keys = Counter(listed_name(text) for text in texts)
    assert (len(texts), len(keys)) == (names.STRINGS, names.NAMES)
    assert sum(count - 1 for count in keys.values()) == names.MERGED
    assert None not in keys
    for text, name in listed:
        assert listed_name(text) == certificate_name(subject(name))
    unparsable = 0
    for text in texts:
        try:
            x509.Name.from_rfc4514_string(text)
        except ValueError:
            unparsable += 1
    assert unparsable == names.UNPARSABLE


@pytest.mark.requirement("OP-32")
def test_no_altered_name_matches_and_every_spelling_does() -> None:
    """The short walk; the long one is `python -m tests.trust.names --count 1000000`."""
    tally = Tally()
    walk(6_000, 32, tally)
    assert tally.wrong == []
    assert tally.rounds == 6_000
    assert 1_000 < tally.unusable < 5_000  # spoilt texts of both kinds were read


@pytest.mark.parametrize(
    ("careless", "words"),
    [
        (lambda text: listed_name(text.replace("\x00", "")), "something invisible"),
        (lambda text: listed_name(text.encode("ascii", "ignore").decode()), "an accent less"),
        (lambda text: (listed_name(text) or ())[:1], "an RDN less"),
        (lambda text: x509.Name.from_rfc4514_string(text), "a spelling that does not match"),
    ],
    ids=["NUL dropped", "accents dropped", "only the CN", "as RFC 4514"],
)
def test_the_walk_finds_a_careless_reader(
    monkeypatch: pytest.MonkeyPatch, careless: object, words: str
) -> None:
    def read(text: str) -> object:
        try:
            return careless(text)  # type: ignore[operator]  # one of the above
        except ValueError:
            return None

    monkeypatch.setattr(names, "listed_name", read)
    if words == "an RDN less":
        monkeypatch.setattr(names, "certificate_name", lambda n: (certificate_name(n) or ())[:1])
    tally = Tally()
    walk(2_000, 32, tally)
    assert any(words in line for line in tally.wrong)


@pytest.mark.attack
@pytest.mark.parametrize("odd", ["\x1c", "\x1d", "\x1e", "\x1f"])
def test_att_15_a_separator_character_is_no_white_space(odd: str) -> None:
    """Python's `split` drops these four; a CN that ends in one is not the host's."""
    listed = listed_name("CN=mx.hopital.test,C=FR")
    assert certificate_name(name_of(("CN", f"mx.hopital.test{odd}"), ("C", "FR"))) != listed
    assert listed_name(f"CN{odd}=mx.hopital.test,C=FR") != listed
    assert listed_name("CN=mx.hopital.test\t,C=FR") == listed


def test_printed_name_holds_no_control_character() -> None:
    assert printed_name(name_of(("CN", "a\r\nX: y"), ("O", "b\u202e"))) == "CN=a??X: y,O=b?"
