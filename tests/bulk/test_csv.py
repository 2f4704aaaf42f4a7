"""A CSV is taken as DEF-10 has it; every other way to save it is recognised and named."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssmtp.bulk import BadFile, Column, read_lines
from mssmtp.bulk.columns import MAX_FILE_OCTETS
from tests.bulk.files import MED, ORG, PER, csv_of, lines_of


def test_lines_are_read_under_their_header_with_the_numbers_an_editor_shows() -> None:
    octets = csv_of(PER) + b"\r\n;;;\r\n" + csv_of(ORG).split(b"\r\n")[1]
    first, second = lines_of(octets)
    assert (first.number, first.cells) == (2, PER)
    assert (second.number, second.cells) == (5, ORG)


def test_a_mark_of_order_and_unix_ends_of_line_make_no_difference() -> None:
    octets = b"\xef\xbb\xbf" + csv_of(PER, MED).replace(b"\r\n", b"\n")
    assert [line.cells for line in lines_of(octets)] == [PER, MED]


def test_a_heading_may_have_accents_capitals_and_the_name_of_the_clients_own_file() -> None:
    octets = csv_of(PER).replace(b"prenom", "Prénom".encode()).replace(b"nom;", b"NOM;")
    octets = octets.replace(b"rpps_adeli", "N° national".encode())
    assert lines_of(octets, {"n° national": "rpps_adeli"})[0].cells == PER


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        (b"", "il est vide"),
        (b"\r\n\r\n", "il est vide"),
        (csv_of(), "aucune ligne"),
        (csv_of(PER, encoding="cp1252"), "sans doute en Windows-1252 (« "),
        (csv_of(PER, encoding="utf-16"), "UTF-16"),
        (csv_of(PER, separator=","), "séparées par des virgules"),
        (csv_of(PER, separator="\t"), "séparées par des tabulations"),
        (csv_of(PER).replace(b"\r\n", b"\r"), "fin de ligne ancienne"),
        (csv_of(PER).replace(b"Tart", b"Ta\0t"), "octet nul"),
        (b"\xd0\xcf\x11\xe0" + b"\0" * 600, "classeur .xls ancien"),
        (csv_of(PER).replace(b"profession_code", b"profesion_code"), "colonne inconnue"),
        (csv_of(PER).replace(b";nom;", b";prenom;"), "la colonne prenom est là deux fois"),
        (b"nom;prenom\r\na;b\r\n", "il manque action, type_bal, structure_id"),
        (csv_of(PER) + b"x" * 70_000, "trop longue"),
    ],
)
def test_another_kind_of_file_is_refused_with_its_name_and_a_remedy(
    octets: bytes, why: str
) -> None:
    with pytest.raises(BadFile) as refused:
        lines_of(octets)
    assert why in str(refused.value)
    assert refused.value.remedy.endswith(".")


def test_a_heading_that_is_nearly_right_is_proposed() -> None:
    with pytest.raises(BadFile, match="Est-ce profession_code ?"):
        lines_of(csv_of(PER).replace(b"profession_code", b"profesion_code"))


def test_a_quote_left_open_spoils_its_own_line_alone() -> None:
    spoilt = csv_of({**PER, Column.LABEL: "x"}, MED).replace(b";x;", b';"x;')
    first, second = lines_of(spoilt)
    assert "guillemet mal fermé" in first.problems[0].text
    assert not first.cells
    assert second.cells == MED


def test_cells_beyond_the_columns_are_told_and_not_lost() -> None:
    octets = csv_of(PER).rstrip(b"\r\n") + b";de trop\r\n"
    assert "21 cellules pour 20 colonnes" in lines_of(octets)[0].problems[0].text


class _Huge(io.BytesIO):
    """Announces a gigabyte; who reads it fails."""

    def seek(self, place: int, whence: int = 0) -> int:
        return 1_073_741_824 if whence == 2 else 0

    def read(self, size: int | None = -1) -> bytes:
        raise AssertionError("read before the limit was asked")


def test_a_file_of_a_gigabyte_is_refused_before_it_is_read() -> None:
    with pytest.raises(BadFile, match=f"1024 Mio, plus que {MAX_FILE_OCTETS // 1_048_576}"):
        read_lines(_Huge(), {})


def test_more_lines_than_the_limit_are_refused_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mssmtp.bulk.reading.MAX_LINES", 2)
    assert len(lines_of(csv_of(PER, MED))) == 2
    with pytest.raises(BadFile, match="plus de 2 lignes"):
        lines_of(csv_of(PER, MED, ORG))


_TOKENS = [b";", b'"', b'""', b"\r\n", b"\n", b"\r", b"C", b"PER", b"\xc3\xa9", b"\xe9", b" ", b"="]


@given(st.lists(st.sampled_from(_TOKENS), max_size=40))
def test_any_octets_are_lines_or_one_refusal(tokens: list[bytes]) -> None:
    """Whatever is under a good header, nothing but BadFile is raised, and numbers only grow."""
    octets = csv_of().rstrip(b"\r\n") + b"\n" + b"".join(tokens)
    try:
        lines = lines_of(octets)
    except BadFile:
        return
    numbers = [line.number for line in lines]
    assert numbers == sorted(set(numbers))
    assert all(line.cells or line.problems for line in lines)
