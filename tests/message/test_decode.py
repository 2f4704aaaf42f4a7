"""What a person reads: words, parameters, transfer encodings, charsets, folding (GEN-15)."""

from __future__ import annotations

import base64
import binascii
import quopri
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mssmtp.message.decode import decode_words, fold, header_text, headers_text, text_of
from mssmtp.message.parameters import MAX_PARAMETERS, decode_parameters, parse_parametrised
from mssmtp.message.transfer import counter_of, decoded
from mssmtp.message.words import _CODECS, codec_of, decode_base64, decode_charset
from tests.corpus import torture_messages


@dataclass(frozen=True)
class Leaf:
    encoding: str = "8bit"
    charset: str = "utf-8"
    full_type: str = "text/plain"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"plain", "plain"),
        (b"=?UTF-8?Q?Zo=C3=A9?=", "Zoé"),
        (b"=?utf-8?b?Wm/DqQ==?=", "Zoé"),
        (b"=?utf-8?b?Wm/DqQ?=", "Zoé"),
        (b"=?iso-8859-1?q?Zo=E9_T=2E?= suite", "Zoé T. suite"),
        (b"=?utf-8?q?Zo=C3?= =?utf-8?q?=A9?=", "Zoé"),
        (b"=?utf-8?q?a?= =?iso-8859-1?q?=E9?= b", "aé b"),
        (b"=?utf-8?q?a?= x =?utf-8?q?b?=", "a x b"),
        (b"=?utf-8*fr?q?=C3=A9?=", "é"),
        (b"=?x-none?q?=E9?=", "é"),
        (b"=?zlib?b?eJw=?=", "x\x9c"),
        (b"=?utf-8?q?ouvert", "=?utf-8?q?ouvert"),
        (b"=?utf-8?z?a?=", "=?utf-8?z?a?="),
        (b"=?=?=?", "=?=?=?"),
        (b"Zo\xe9", "Zoé"),
        ("Zoé".encode(), "Zoé"),
        (b"=?utf-8?q?=FF?=", "\ufffd"),
    ],
)
def test_words(value: bytes, expected: str) -> None:
    assert decode_words(value) == expected


WORDS = [
    b"=?",
    b"?=",
    b"?",
    b"=",
    b"utf-8",
    b"?q?",
    b"?b?",
    b"=C3=A9",
    b"w6k=",
    b" ",
    b"\xe9",
    b"_",
]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=30))
def test_any_octets_decode_to_text(pieces: list[bytes]) -> None:
    decode_words(b"".join(pieces)).encode("utf-8", "surrogatepass")


# ---------------------------------------------------------------- parameters


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"a/b", ()),
        (b'a/b; x=y; Z="a \\" b"', (("x", "y"), ("z", 'a " b'))),
        (b"a/b ; charset = us-ascii (Plain text)", (("charset", "us-ascii"),)),
        (b"a/b; name=Compte rendu (1).pdf", (("name", "Compte rendu (1).pdf"),)),
        (b"a/b; name*=UTF-8''%C3%A9.pdf", (("name", "é.pdf"),)),
        (b"a/b; name*=iso-8859-1'fr'%E9", (("name", "é"),)),
        (b"a/b; name=e.pdf; name*=UTF-8''%C3%A9.pdf", (("name", "é.pdf"),)),
        (b"a/b; name*1=b; name*0=a; name*3=d", (("name", "ab"),)),
        (b"a/b; name*0*=UTF-8''%C3%A9; name*1=%20; name*2*=%20c", (("name", "é%20 c"),)),
        (b"a/b; name*1=b; name=plain", (("name", "plain"),)),
        (b"a/b; name=un; name=deux", (("name", "un"),)),
        (b'a/b; name="=?utf-8?q?=C3=A9?="', (("name", "é"),)),
        (b"a/b; name==?utf-8?b?w6k=?=", (("name", "é"),)),
        (b'a/b; name="\xc3\xa9"', (("name", "é"),)),
        (b'a/b; name="\xe9"', (("name", "é"),)),
        (b'a/b; name="sans fin', (("name", "sans fin"),)),
        (b"a/b; name*=sans-apostrophe", (("name", "sans-apostrophe"),)),
        (b"a/b; name*=%C3", (("name", "Ã"),)),
        (b"a/b; name*=utf-8''%zz%4", (("name", "%zz%4"),)),
        (b"a/b;;;=;x", ()),
    ],
)
def test_parameters(value: bytes, expected: tuple[tuple[str, str], ...]) -> None:
    assert decode_parameters(parse_parametrised(value).parameters) == expected


@pytest.mark.attack
def test_att_06_a_million_parameters_are_cut() -> None:
    parsed = parse_parametrised(b"a/b" + b"; n*1*=x" * 1_000_000)
    assert len(parsed.parameters) == MAX_PARAMETERS
    assert parsed.is_cut


def test_a_long_value_is_cut() -> None:
    parsed = parse_parametrised(b"a/b; n=" + b"x" * 100_000)
    assert parsed.is_cut
    assert len(parsed.parameters[0][1]) == 4_096


# ---------------------------------------------------------------- transfer encodings

PIECES = [
    b"=",
    b"=\r\n",
    b"=\n",
    b"=3D",
    b"=e9",
    b"=E",
    b"\r",
    b"\n",
    b"QUJD",
    b"QQ==",
    b" ",
    b"-",
    b"\xe9",
]


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["base64", "quoted-printable", "8bit", "x-unknown"]),
    st.lists(st.sampled_from(PIECES), max_size=30),
)
def test_counting_ignores_how_octets_were_split_and_agrees_with_decoding(
    encoding: str, chunks: list[bytes]
) -> None:
    whole = b"".join(chunks)
    counter = counter_of(encoding)
    for chunk in chunks:
        counter.add(chunk)
    assert counter.total() == len(decoded(encoding, whole))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_what_the_standard_library_encodes_is_decoded(octets: bytes) -> None:
    for encoding, encoded in (
        ("base64", base64.encodebytes(octets).replace(b"\n", b"\r\n")),
        ("quoted-printable", binascii.b2a_qp(octets, istext=False)),
    ):
        assert decoded(encoding, encoded) == octets


def test_broken_base64_decodes_as_far_as_possible() -> None:
    assert decode_base64(b"UEsF!!!Bg") == b"PK\x05\x06"
    assert decode_base64(b"A") == b""


# ---------------------------------------------------------------- charsets and folding


@pytest.mark.parametrize("charset", ["zlib", "punycode", "idna", "rot13", "hex", "unicode_escape"])
def test_what_is_no_charset_is_never_a_codec(charset: str) -> None:
    assert codec_of(charset) is None
    assert decode_charset(b"\xe9", charset) == "é"


@pytest.mark.parametrize("charset", ["UTF-8", "utf_8", "windows-1252", "ISO-8859-15", "KOI8-R"])
def test_usual_charsets_are_read(charset: str) -> None:
    codec = codec_of(charset.replace("utf_8", "utf-8"))
    assert codec is not None
    assert decode_charset(b"abc", charset) == "abc"


@pytest.mark.parametrize("charset", sorted(_CODECS))
def test_every_charset_of_the_table_reads_any_octets(charset: str) -> None:
    assert decode_charset(bytes(range(256)) * 3, charset)


def test_utf_16_is_big_endian_unless_its_mark_says_otherwise() -> None:
    for octets in ("é".encode("utf-16-be"), "é".encode("utf-16"), b"\xfe\xff\0\xe9"):
        assert decode_charset(octets, "utf-16") == "é"


@pytest.mark.attack
def test_att_29_a_reference_of_ten_thousand_digits_is_one_unknown_character() -> None:
    page = Leaf("8bit", "utf-8", "text/html")
    assert text_of(page, b"a&#" + b"9" * 10_000 + b";b").startswith("a\ufffd")
    assert text_of(page, b"&#0000233;&#xe9;&eacute") == "ééé"


def test_undeclared_octets_are_utf_8_or_windows() -> None:
    assert decode_charset("é".encode(), "us-ascii") == "é"
    assert decode_charset(b"\xe9\x80", "") == "é€"


# clients.md GEN-15
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Éléonore", "ELEONORE"),
        ("e\u0301te\u0301", "été"),
        ("Œdème", "oedeme"),
        ("ﬁèvre", "FIEVRE"),
        ("STRASSE", "straße"),
        ("\uff21\uff22", "ab"),
        ("l’hôpital", "L'HOPITAL"),
        ("Ångström", "angstrom"),
        ("Ελλάδα", "ελλαδα"),
    ],
)
def test_folded_texts_are_equal(one: str, other: str) -> None:
    assert fold(one) == fold(other)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=50))
def test_folding_twice_is_folding_once_for_case(text: str) -> None:
    assert fold(text.upper().lower()) == fold(fold(text.upper().lower())) or not text.isascii()


# clients.md GEN-15
@pytest.mark.parametrize(
    ("leaf", "body"),
    [
        (Leaf("quoted-printable"), quopri.encodestring("œdème aigu".encode())),
        (Leaf("base64"), base64.encodebytes("Œdème AIGU".encode())),
        (Leaf("8bit", "iso-8859-15"), "œdème aigu".encode("iso-8859-15")),
        (Leaf("8bit", ""), "\u0153dème aigu".encode("cp1252")),
        (Leaf("7bit", "", "text/html"), b"<p class='a'>&oelig;d&egrave;me <b>aigu</b></p>"),
    ],
)
def test_accented_text_is_found_in_any_encoding(leaf: Leaf, body: bytes) -> None:
    assert fold("OEDEME AIGU") in fold(text_of(leaf, body))


def test_header_text_is_decoded() -> None:
    header = b"Subject: =?utf-8?q?=C3=A9t=C3=A9?=\r\nX: 1\r\nSubject: deux\r\n\r\n"
    assert header_text(header, "SUBJECT") == "été\ndeux"
    assert headers_text(header) == "Subject: été\nX: 1\nSubject: deux"


@pytest.mark.attack
def test_att_11_broken_text_is_read_for_every_torture_message() -> None:
    for _name, octets in torture_messages():
        for charset in ("utf-8", "", "x-none", "utf-16", "utf-7", "iso-2022-jp"):
            for encoding in ("base64", "quoted-printable", "8bit"):
                text_of(Leaf(encoding, charset, "text/html"), octets[:3_000])
        headers_text(octets[:3_000])
