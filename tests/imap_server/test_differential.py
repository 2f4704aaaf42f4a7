"""Generated sessions beside Debian's Dovecot: the short run of the long command."""

from __future__ import annotations

import pytest

from tests.imap_server import differential

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(120)]


def test_every_difference_from_dovecot_has_its_reason() -> None:
    played, found = differential.run(range(1, 26))
    assert played > 400
    unknown = [each for each in found if each.reason is None]
    assert unknown == [], "\n".join(differential.shown(e.ours, e.theirs) for e in unknown)


def test_a_difference_without_a_reason_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(differential, "REASONS", [])
    _, found = differential.run(range(1, 4))
    assert any(each.reason is None for each in found)
