"""What SEARCH looks through: folded texts, HTML as a reader sees it, whatever the splits (T16)."""

from __future__ import annotations

import base64
import email.policy
import html.parser
import quopri
from email.message import EmailMessage

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mssmtp.message import Scanner, Summary, TooComplex, hypertext, readable
from mssmtp.message.decode import fold
from mssmtp.message.hypertext import Hypertext, seen
from mssmtp.message.readable import BORDER, Needle, field_mark, folded_body, folded_header
from mssmtp.message.transfer import decoded, decoder_of
from tests.corpus import cpython_messages, torture_messages
from tests.message.test_decode import PIECES
from tests.message.test_differential import letters


def body_text(octets: bytes) -> bytes:
    """The text of the body of a whole message."""
    scanner = Scanner()
    scanner.feed(octets)
    summary = Summary.of(scanner.close())
    return b"".join(folded_body(summary, lambda start, stop: octets[start:stop]))


# ---------------------------------------------------------------- folding


def test_folding_goes_character_by_character_and_once() -> None:
    for code in (*range(0x3400), *range(0xA640, 0xA700), *range(0xF900, 0x10000), 0x1D400, 0xD800):
        folded = fold(chr(code))
        assert fold(folded) == folded, hex(code)
        assert fold("é" + chr(code) + "Ω") == fold("é") + folded + fold("Ω"), hex(code)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=20), st.text(max_size=20))
def test_what_is_folded_in_two_pieces_is_folded_as_one(one: str, other: str) -> None:
    assert fold(one + other) == fold(one) + fold(other)
    fold(one).encode()


# ---------------------------------------------------------------- HTML

MARKUP = [
    "<",
    ">",
    "&",
    ";",
    "&eacute;",
    "&lt;",
    "&nbsp",
    "&#233",
    "<!--",
    "-->",
    "<!-->",
    "--",
    "<style>",
    "</style",
    "<script src=x>",
    "</SCRIPT>",
    "<sty",
    "le>",
    "<p>",
    "<b>",
    "</b>",
    "<br/>",
    '<a title="x>y">',
    " ",
    "\r\n",
    "mot",
    "é",
    "a < b",
]


@settings(max_examples=500, deadline=None)
@given(st.lists(st.lists(st.sampled_from(MARKUP), max_size=4).map("".join), max_size=8))
@example(["</style&>", "<"])
@example(["<sty<p>", ">"])
@example(["&nbsp<b>", ";"])
@example(["a &amp", " > b &l", "t;"])
def test_html_reads_the_same_however_it_was_split(pieces: list[str]) -> None:
    reader = Hypertext()
    parts = [reader.feed(piece) for piece in pieces] + [reader.close()]
    assert "".join(parts) == seen("".join(pieces))


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("<p>un</p><p>deux</p>", " un deux "),
        ("h&eacute;mo<b>globine</b>", "hémoglobine"),
        ("<td>12</td>\r\n<td>13</td>", " 12 13 "),
        ("insuffisance\r\n   r&eacute;nale", "insuffisance rénale"),
        ("<style>p {color: red}</style>vu", "vu"),
        ("<STYLE type='text/css'>p<</STYLE >vu", "vu"),
        ("<script>if (a > b) {}</script>vu<!-- <p>caché</p> -->", "vu"),
        ("a < b et c > d", "a < b et c > d"),
        ("5 &lt; 6 &amp;&amp; 7&nbsp;g", "5 < 6 && 7\xa0g"),
        ("<p sans fin", "<p sans fin"),
        ("<stylet>vu", "vu"),
        ("<!-- sans fin", ""),
    ],
)
def test_html_as_a_reader_sees_it(markup: str, text: str) -> None:
    assert seen(markup) == text


class Reference(html.parser.HTMLParser):
    """The standard library's reading of simple pages."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.words: list[str] = []

    def handle_data(self, data: str) -> None:
        self.words += data.split()


WORDS = st.sampled_from(["bilan", "h&eacute;mato", "caf&#233;", "5&nbsp;mg", "&lt;10", "œdème"])
TAGS = st.sampled_from(["p", "div", "li", "td", "h2"])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(TAGS, st.lists(WORDS, min_size=1, max_size=5)), max_size=8))
def test_pages_read_as_the_standard_library_reads_them(blocks: list[tuple[str, list[str]]]) -> None:
    page = "".join(f'<{tag} class="x">{" ".join(words)}</{tag}>' for tag, words in blocks)
    reference = Reference()
    reference.feed(page)
    reference.close()
    assert seen(page).split() == reference.words


@pytest.mark.attack
def test_att_29_references_are_resolved_up_to_a_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hypertext, "MAX_REFERENCES", 3)
    reader = Hypertext()
    assert reader.feed("<p>&eacute;&eacute;</p>") == " éé "
    assert reader.feed("&eacute;&eacute;") == "&eacute;&eacute;"


@pytest.mark.attack
def test_att_29_a_tag_without_end_is_held_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hypertext, "MAX_HELD", 100)
    reader = Hypertext()
    assert reader.feed("vu<p ") == "vu"
    assert reader.feed("x" * 200) == "<p " + "x" * 200
    assert reader.feed("<b>vu</b>") == "vu"


STEPS = 300_000


@pytest.mark.attack
@pytest.mark.parametrize(
    "token", ["<", "<p", "<!--", "<!---->", "<style>", "</", "&", "<a ", "-->", "<b><", "&#1", " <"]
)
def test_att_27_html_of_one_token_over_and_over_is_read(token: str) -> None:
    """A quadratic reading would need minutes (the limit of a test is 20 s)."""
    seen(token * STEPS)


# ---------------------------------------------------------------- transfer encodings, charsets


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["base64", "quoted-printable", "8bit"]),
    st.lists(st.sampled_from(PIECES), max_size=30),
)
def test_decoding_ignores_how_octets_were_split(encoding: str, chunks: list[bytes]) -> None:
    decoder = decoder_of(encoding)
    parts = [decoder.feed(chunk) for chunk in chunks] + [decoder.close()]
    assert b"".join(parts) == decoded(encoding, b"".join(chunks))


def letter(charset: str, encoding: str, octets: bytes, kind: str = "plain") -> bytes:
    """One part in a charset and an encoding."""
    if encoding == "base64":
        octets = base64.encodebytes(octets).replace(b"\n", b"\r\n")
    elif encoding == "quoted-printable":
        octets = quopri.encodestring(octets).replace(b"\n", b"\r\n")
    declared = f"; charset={charset}" if charset else ""
    return (
        f"From: a@b.test\r\nContent-Type: text/{kind}{declared}\r\n"
        f"Content-Transfer-Encoding: {encoding}\r\n\r\n"
    ).encode() + octets


@pytest.mark.parametrize("block", [7, 64, 100_000])
@pytest.mark.parametrize("encoding", ["base64", "quoted-printable", "8bit"])
@pytest.mark.parametrize(
    ("charset", "codec"),
    [
        ("utf-8", "utf-8"),
        ("", "utf-8"),
        ("", "cp1252"),
        ("us-ascii", "utf-8"),
        ("iso-8859-15", "iso8859-15"),
        ("windows-1252", "cp1252"),
        ("utf-16", "utf-16"),
        ("utf-16", "utf-16-be"),
        ("utf-7", "utf-7"),
        ("iso-2022-jp", "iso2022_jp"),
        ("x-unknown", "latin-1"),
    ],
)
def test_a_long_text_reads_as_a_short_one(
    charset: str, codec: str, encoding: str, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The blocks of a stream may cut characters, escapes and shifts."""
    monkeypatch.setattr(readable, "BLOCK_OCTETS", block)
    text = "Le dossier " * 20 if codec == "iso2022_jp" else "L'œdème était là, 5 µg. " * 20
    if codec == "latin-1":
        text = text.replace("œ", "oe")
    octets = letter(charset, encoding, text.encode(codec))
    assert fold(text).strip().encode() in body_text(octets)


@pytest.mark.attack
def test_att_27_a_shifted_run_without_end_is_not_begun_again_with_every_block() -> None:
    octets = letter("utf-7", "8bit", b"+" + b"AGEAYQBh" * 500_000)
    scanner = Scanner()
    scanner.feed(octets)
    summary = Summary.of(scanner.close())
    pieces = list(folded_body(summary, lambda start, stop: octets[start:stop]))
    assert max(map(len, pieces)) <= 2 * readable.BLOCK_OCTETS
    assert b"".join(pieces).startswith(b"a" * 100_000)


# ---------------------------------------------------------------- whole messages


@settings(max_examples=100, deadline=None)
@given(letters())
def test_every_text_and_name_of_a_letter_is_found(message: EmailMessage) -> None:
    """Against CPython's own decoding."""
    texts = body_text(message.as_bytes(policy=email.policy.SMTP)).decode("utf-8", "surrogateescape")
    for part in message.walk():
        if part.get_content_type() == "text/plain":
            wanted = fold(part.get_content()).replace("\r\n", "\n").strip("\n")
            assert wanted in texts.replace("\r\n", "\n")
        name = part.get_filename()
        if name:
            assert fold(name) in texts


def test_a_nested_message_is_read_with_its_header_and_the_top_one_is_not() -> None:
    octets = (
        b"From: a@b.test\r\nSubject: dehors\r\nContent-Type: message/rfc822\r\n\r\n"
        b"From: c@d.test\r\nSubject: =?utf-8?q?d=C3=A9dans?=\r\n\r\nle texte\r\n"
    )
    text = body_text(octets)
    assert b"subject: dedans" in text
    assert b"le texte" in text
    assert b"dehors" not in text


def test_nothing_is_found_across_two_parts_or_two_fields() -> None:
    octets = (
        b"From: a@b.test\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
        b"--b\r\n\r\nun\r\n--b\r\n\r\ndeux\r\n--b--\r\n"
    )
    assert b"un" in body_text(octets)
    assert b"undeux" not in body_text(octets).replace(b"\r\n", b"")
    header = folded_header(b"A: un\r\nB: deux\r\n\r\n")
    assert header == BORDER + b"a: un" + BORDER + b"b: deux"


@pytest.mark.parametrize(
    ("name", "text", "is_there"),
    [
        ("A", "un", True),
        ("a", "deux", False),
        ("B", "DEUX", True),
        ("B", "trois", True),
        ("B", "b: d", False),
        ("B", "deux trois", False),
        ("C", "un", False),
        ("AB", "un", False),
    ],
)
def test_a_needle_with_a_field_is_found_in_values_of_that_field_only(
    name: str, text: str, is_there: bool
) -> None:
    header = folded_header(b"A: un\r\nB: deux\r\nX-A: un\r\nB: trois\r\n\r\n")
    needle = Needle(fold(text).encode(), field_mark(name))
    assert needle.is_in(header, 0, len(header)) is is_there


@pytest.mark.attack
def test_att_11_every_ugly_message_reads_the_same_in_blocks_of_any_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, octets in (*cpython_messages(), *torture_messages()):
        try:
            whole = body_text(octets)
        except TooComplex:
            continue
        whole.replace(BORDER, b"").decode("utf-8")
        if len(octets) > 20_000:
            continue
        with monkeypatch.context() as patch:
            patch.setattr(readable, "BLOCK_OCTETS", 50)
            assert body_text(octets) == whole, name
