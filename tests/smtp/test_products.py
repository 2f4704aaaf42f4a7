"""Counting the software that writes, by its X-MSS fields (OP-62)."""

from __future__ import annotations

import pytest

from mssmtp.smtp.products import product


@pytest.mark.requirement("OP-62", "CL-40", "CL-41", "CL-42")
@pytest.mark.parametrize(
    ("fields", "label"),
    [
        ([], ("none", "none")),
        ([("message-id", "<a@b>"), ("x-mss-other", "1")], ("none", "none")),
        ([("x-mss-nil", " LPS-2024.1/a ")], ("LPS-2024.1/a", "nil")),
        (
            [("x-mss-ins", "O"), ("x-mss-codecda", "34874-8,11488-4"), ("x-mss-nil", "DPI-7")],
            ("DPI-7", "codecda ins nil"),
        ),
        ([("x-mss-mes", "FIN")], ("none", "mes")),
        ([("x-mss-nil", "A"), ("x-mss-nil", "B")], ("illegible", "nil")),
        ([("x-mss-nil", "A"), ("x-mss-nil", "A")], ("A", "nil")),
        ([("x-mss-nil", "")], ("illegible", "nil")),
    ],
)
def test_a_product_is_its_reference_and_the_fields_it_sets(
    fields: list[tuple[str, str]], label: tuple[str, str]
) -> None:
    assert product(fields) == label


@pytest.mark.attack
@pytest.mark.parametrize(
    "value", ["MARTIN Jeanne 1980", "199019999999979@patient.test", "x" * 41, 'a"b', "a\nb", "é"]
)
def test_att_37_what_is_no_reference_becomes_no_label(value: str) -> None:
    assert product([("x-mss-nil", value)])[0] == "illegible"
