"""Texts: French, one line, safe with any attachment name, complete for the documents."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssmtp.mail import Attachment, Stage
from mssmtp.policy import all_replies, quotable
from mssmtp.policy.engine import RULES
from tests.policy.samples import ENGINE, THEIRS, ZOE, submitted, to


def test_every_refusal_has_an_entry_with_text_and_remedy() -> None:
    entries = list(all_replies())
    keys = [key for key, _, _, _ in entries]
    assert len(keys) == len(set(keys)) >= 25
    for key, reply, when, remedy in entries:
        assert reply.enhanced, key
        assert reply.text[0].isupper(), key
        assert reply.text.endswith("."), key
        assert when.endswith("."), key
        assert remedy.endswith("."), key


def test_refusal_texts_fit_reply_lines() -> None:
    for key, reply, _, _ in all_replies():
        assert len(reply.text.encode()) < 400, key


def test_every_rule_is_tied_to_a_requirement_and_a_stage() -> None:
    names = [rule.name for rule in RULES]
    assert len(names) == len(set(names))
    assert all(rule.requirements and rule.stages and rule.doors for rule in RULES)


@pytest.mark.requirement("SEED-55")
@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("compte rendu.pdf", "compte rendu.pdf"),
        ("été.pdf", "été.pdf"),
        ("a\r\n250 OK\r\n.pdf", "a 250 OK .pdf"),
        ("x\u202efdp.exe", "xfdp.exe"),
        ("\x00\x1b[31m.pdf", "[31m.pdf"),
        ("{name} {0}.pdf", "{name} {0}.pdf"),
        ("", "sans nom"),
        ("\u200b\u2028", "sans nom"),
    ],
)
def test_the_name_of_the_file_is_told_without_its_tricks(name: str, shown: str) -> None:
    big = Attachment(name, "application/pdf", 10_485_761)
    facts = submitted(Stage.CONTENT, ZOE, to(f"bob@{THEIRS}"), attachments=(big,))
    reply = ENGINE.decide(facts).final.reply
    assert reply is not None
    assert f"« {shown} »" in reply.text


@pytest.mark.attack
@given(st.text(max_size=300))
def test_att_37_no_name_breaks_a_reply_line(name: str) -> None:
    shown = quotable(name)
    assert 0 < len(shown) <= 60
    assert not any(unicodedata.category(letter)[0] == "C" for letter in shown)
    assert len(shown.splitlines()) == 1
    assert quotable(shown) == shown
