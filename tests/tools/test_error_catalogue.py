"""docs/errors.md: one entry per refusal, and the check that says when one is missing."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import cast

import pytest

from mssmtp import pki
from mssmtp.errors import MailError, Reply
from mssmtp.imap import responses
from tools import error_catalogue
from tools.error_catalogue import entries, imap_entries, main, without_entry, written_replies

ENGLISH = re.compile(r"\b(the|is|not|error|please|message is|your)\b", re.IGNORECASE)
WITHOUT_ACCENT = re.compile(
    r"\b(reessayez|operateur|numero|boite|expediteur|prevenez|verifiez|refuse[es]?)\b",
    re.IGNORECASE,
)


def test_the_committed_page_is_complete_and_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == 0, capsys.readouterr().err


def test_every_refusal_is_there_once_with_when_and_remedy() -> None:
    known = entries()
    replies = Counter(entry.reply for entry in known)
    assert [str(reply) for reply, times in replies.items() if times > 1] == []
    keys = Counter(entry.key for entry in known)
    assert [key for key, times in keys.items() if times > 1] == []
    for entry in known:
        assert entry.when.endswith("."), entry
        assert entry.remedy.endswith("."), entry
        assert entry.reply.code >= 400


def test_the_tables_of_peers_and_the_response_codes_are_in_it() -> None:
    keys = {entry.key for entry in entries()}
    assert {"certificate.revoked", "peer.name-not-listed", "smtp.tls-unavailable"} <= keys
    codes = {entry.code for entry in imap_entries()}
    assert set(responses._TEXTS) <= codes
    assert all(entry.when and entry.remedy for entry in imap_entries())


def test_sentences_are_well_formed_french() -> None:
    for entry in entries():
        text = entry.reply.text
        assert text[0].isupper(), text
        assert text.endswith("."), text
        assert not re.search(r"  |[^ ][;!?]|'' |\s\.", text), text
        assert not re.search(r"[a-zé] ?:[^ ]", text), text
        assert text.count("«") == text.count("»"), text
        assert not ENGLISH.search(text), text
        assert not WITHOUT_ACCENT.search(text), text


def test_a_refusal_written_in_the_code_without_entry_fails_the_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    package = tmp_path / "mssmtp"
    package.mkdir()
    known = entries()
    good = known[0].reply
    source = package / "room.py"
    source.write_text(f"A = Reply({good.code}, {good.enhanced!r}, {good.text!r})\n")
    assert without_entry(known, package) == []
    # A known pair of codes with another sentence is another refusal.
    for line in (
        "B = Reply(559, '5.9.9', 'Refus.')",
        f"B = errors.Reply({good.code}, {good.enhanced!r}, 'Autre phrase.')",
        "B = Reply(559, '5.9.9', f'Refus {a}.')",
    ):
        source.write_text(line + "\n")
        assert len(without_entry(known, package)) == 1, line
        assert without_entry(known, package)[0].startswith("mssmtp/room.py:1: ")
    source.write_text("OK = Reply(250, '2.0.0', 'Pris en charge')\n")
    assert without_entry(known, package) == []

    source.write_text("B = Reply(559, '5.9.9', 'Refus.')\n")
    monkeypatch.setattr(
        error_catalogue, "without_entry", lambda found: without_entry(found, package)
    )
    assert main(["--check"]) == 1
    assert "no entry for mssmtp/room.py:1: 559 5.9.9 Refus." in capsys.readouterr().err


def test_an_error_class_without_remedy_fails_the_check(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Novel(MailError):
        """Something new."""

        smtp = Reply(559, "5.9.9", "Refus nouveau.")

    Novel.__module__ = "mssmtp.room"
    assert main(["--check"]) == 1
    assert "no entry for class Novel" in capsys.readouterr().err
    Novel.__module__ = "tests.tools"


def test_a_reason_or_response_code_without_text_fails_the_check(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = cast("dict[str, Reply]", pki.REPLIES)
    monkeypatch.setitem(table, "too old", Reply(554, "5.7.5", "Certificat trop ancien."))
    assert main(["--check"]) == 1
    assert "no entry for certificate: « too old »" in capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.setitem(responses._TEXTS, "NOVEL", b"Nouveau")
    assert main(["--check"]) == 1
    assert "no entry for IMAP response codes: NOVEL" in capsys.readouterr().err


def test_a_page_out_of_date_fails_the_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(error_catalogue, "TARGET", tmp_path / "errors.md")
    assert main(["--check"]) == 1
    assert "run python -m tools.error_catalogue" in capsys.readouterr().err
    assert main([]) == 0
    assert main(["--check"]) == 0


def test_the_scan_sees_the_code() -> None:
    assert len(list(written_replies())) > 50
