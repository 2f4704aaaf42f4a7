"""Service mail and the mail of the trust space have no way into one another (DEF-04)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2] / "mssmtp"
ROOM = sorted((ROOT / "notices").glob("*.py"))
TRUST_SPACE = [
    *(
        ROOT / f"smtp_{name}.py"
        for name in (
            "client",
            "lanes",
            "leaving",
            "out",
            "pool",
            "record",
            "speaker",
            "transaction",
            "wire",
        )
    ),
    ROOT / "storage/queue.py",
    ROOT / "storage/leasing.py",
    ROOT / "storage/waiting.py",
]
_STORE = frozenset(
    {
        "bal_by_id",
        "envelope_of",
        "gather_notice",
        "has_due_notices",
        "lease_notices",
        "members",
        "new_secret",
        "notice_done",
        "note_warned",
        "notice_later",
        "noticed_since",
        "person",
        "person_by_account",
        "prefer",
        "preference",
        "queue_notice",
        "relay_stuck_since",
        "relay_works",
        "role",
        "summary_of",
        "take_events",
    }
)
"""All that the room asks of the store: of a letter its summary, never its content."""
_VIEWS = frozenset({"w", "writing", "reading", "view"})


def asked_of_the_store(source: str) -> set[str]:
    """Methods called on what tests and rooms call a view of the store."""
    return {
        node.attr
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in _VIEWS
    }


@pytest.mark.requirement("DEF-04")
@pytest.mark.parametrize("file", ROOM, ids=lambda file: file.name)
def test_the_room_asks_the_store_for_no_letter(file: Path) -> None:
    assert asked_of_the_store(file.read_text("utf-8")) <= _STORE


@pytest.mark.requirement("DEF-04")
@pytest.mark.parametrize("file", TRUST_SPACE, ids=lambda file: file.name)
def test_the_way_out_of_the_trust_space_knows_no_service_mail(file: Path) -> None:
    source = file.read_text("utf-8")
    tree = list(ast.walk(ast.parse(source)))
    names = {alias.name for node in tree if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in tree if isinstance(node, ast.ImportFrom)}
    assert not {name for name in names if name.startswith("mssmtp.notices")}
    assert not asked_of_the_store(source) & {"queue_notice", "lease_notices", "gather_notice"}


def test_only_one_module_of_the_room_opens_connections() -> None:
    opening = {
        file.name
        for file in ROOM
        if {"aiosmtplib", "socket", "ssl"} & set(file.read_text("utf-8").replace(".", " ").split())
    }
    assert opening == {"relay.py"}
