"""The base subject, against the procedure of RFC 5256 2.1 done step by step."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssmtp.message.collation import casemapped
from mssmtp.message.subjects import base_subject

BLOB = r"(?:\[[^\[\]]*\] *)"
REFWD = rf"(?:(?:re|fwd?) *{BLOB}?:)"
LEADER = re.compile(rf"(?:{BLOB}*{REFWD}| )", re.IGNORECASE)
PREFIX_BLOB = re.compile(BLOB)
TRAILER = re.compile(r"(?:\(fwd\)| )\Z", re.IGNORECASE)
FORWARDED = re.compile(r"\[fwd:(.*)\]\Z", re.IGNORECASE | re.DOTALL)

TOKENS = [
    *("re:", "Re:", "RE :", "fw:", "Fwd:", "fwd", "re", "[x]", "[x y]", "[", "]", "(fwd)", "(FWD)"),
    *("[fwd:", "[Fwd:", " ", "  ", "\t", ":", "compte", "rendu", "é", "(", "re[2]:", "fw [a] :"),
]


def slowly(subject: str) -> tuple[str, bool]:
    """(1) to (7), one match at a time."""
    text = re.sub(r"[ \t\r\n]+", " ", subject)
    is_reply = False
    while True:
        while found := TRAILER.search(text):  # (2)
            is_reply |= found.group() != " "
            text = text[: found.start()]
        while True:  # (5)
            before = text
            while found := LEADER.match(text):  # (3)
                is_reply |= found.group() != " "
                text = text[found.end() :]
            found = PREFIX_BLOB.match(text)  # (4)
            if found and text[found.end() :]:
                text = text[found.end() :]
            if text == before:
                break
        found = FORWARDED.match(text)  # (6)
        if not found:
            return text, is_reply
        text, is_reply = found[1], True


@given(st.lists(st.sampled_from(TOKENS), max_size=14).map("".join))
def test_a_base_subject_is_what_the_procedure_leaves(subject: str) -> None:
    assert base_subject(subject) == slowly(subject)


@pytest.mark.parametrize(
    ("subject", "base", "is_reply"),
    [
        ("Compte rendu", "Compte rendu", False),
        ("Re: Compte rendu", "Compte rendu", True),
        ("RE: Re: FW : Fwd: Compte rendu", "Compte rendu", True),
        ("re[3]: Compte rendu", "Compte rendu", True),
        ("Compte rendu (fwd)", "Compte rendu", True),
        ("Compte rendu (fwd) (FWD) ", "Compte rendu", True),
        ("[Fwd: Compte rendu]", "Compte rendu", True),
        ("[fwd: [fwd: Compte rendu]]", "Compte rendu", True),
        ("[Service] Compte rendu", "Compte rendu", False),
        ("[Service] Re: [autre] Compte rendu", "Compte rendu", True),
        ("[Service]", "[Service]", False),
        ("[a] [b]", "[b]", False),
        ("XDM/1.0/DDM+Compte rendu", "XDM/1.0/DDM+Compte rendu", False),
        ("Réponse: rien", "Réponse: rien", False),
        ("Re:", "", True),
        ("[fwd:]", "", True),
        ("", "", False),
        (" \t  x \r\n y ", "x y", False),
    ],
)
def test_base_subjects(subject: str, base: str, is_reply: bool) -> None:
    assert base_subject(subject) == (base, is_reply)


@pytest.mark.attack("ATT-27")
@pytest.mark.parametrize("piece", ["[a]", "[fwd:", "re:", "re[", "[", " ", "(fwd)", "fwd [x]"])
def test_att_27_no_subject_takes_long(piece: str) -> None:
    subject = piece * (200_000 // len(piece))
    for text in (subject, subject + "x", "x" + subject, subject + "]" * 1_000):
        base_subject(text)  # the square of this takes minutes, and a test has seconds


def test_texts_compare_by_titlecase_and_decomposition() -> None:
    assert casemapped("Été") == casemapped("ÉTÉ") == casemapped("e\u0301te\u0301")
    assert casemapped("abc") == b"ABC"
    assert casemapped("eté") < casemapped("été") < casemapped("f")
    assert casemapped("\u01c6") == casemapped("\u01c5") != casemapped("dz")
