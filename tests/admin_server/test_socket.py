"""The Unix socket: who calls is who holds it, and every answer is JSON with a remedy (ATT-38)."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from pathlib import Path

import pytest

from mssmtp.admin import Office, callers
from mssmtp.admin_server import AdminDoor
from mssmtp.admin_sockets import bind_sockets
from mssmtp.asking import Refused, _UnixConnection
from mssmtp.errors import ConfigError
from mssmtp.mail import Actor, AdminLevel, Structure
from mssmtp.storage import Administrator, Store
from tests.admin_server.conftest import FINESS_A, FINESS_B, Ask
from tests.home import CLOCK, ENTROPY, ZOE, Home, typed

ZOE_SHOWN = str(ZOE)


async def test_a_command_reaches_the_operations_of_the_server_that_runs(
    door: AdminDoor, ask: Ask, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mssmtp.asking._here", None)  # it has no other way
    shown = await ask("bal.show", address=ZOE_SHOWN)
    assert isinstance(shown, dict)
    assert (shown["address"], shown["type"]) == (ZOE_SHOWN, "PER")
    typed = await asyncio.to_thread(home.mssmtp, "bal", "list", "--json")
    assert ZOE_SHOWN in [row["address"] for row in typed.json]


async def test_without_a_server_the_same_is_done_in_the_commands_own_process(
    ask: Ask, home: Home, run: Path
) -> None:
    (run / "admin.sock").unlink(missing_ok=True)
    shown = await ask("bal.show", address=ZOE_SHOWN)
    assert isinstance(shown, dict)
    assert shown["address"] == ZOE_SHOWN


@pytest.mark.attack("ATT-38")
async def test_att_38_the_socket_is_its_users_alone(
    door: AdminDoor, ask: Ask, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stat.S_IMODE((run / "admin.sock").stat().st_mode) == 0o600
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    monkeypatch.setattr(callers, "ROOT", -1)
    with pytest.raises(Refused, match="n'administre rien ici") as refused:
        await ask("bal.list")
    assert refused.value.remedy


@pytest.mark.requirement("MED-16")
async def test_a_user_of_the_machine_acts_within_the_scope_that_user_was_given(
    home: Home,
    store: Store,
    structures: tuple[Structure, Structure],
    tmp_path: Path,
    run: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Through the socket that everybody may open: the kernel says who does."""
    sockets = bind_sockets(run, tmp_path / "open.sock")
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    monkeypatch.setattr(callers, "ROOT", -1)
    actor = Actor(AdminLevel.STRUCTURE, "par la machine", structure=structures[0].id)
    new = Administrator(actor, uid=os.getuid())
    made = store.write(lambda w: w.add_administrator(new)).result()
    door = AdminDoor(Office(store, home.settings, CLOCK, ENTROPY))
    for sock in sockets:
        await door.start(sock)
    assert stat.S_IMODE((tmp_path / "open.sock").stat().st_mode) == 0o666
    monkeypatch.setenv("MSSMTP_ADMIN", f"unix:{tmp_path / 'open.sock'}")
    listed = await asyncio.to_thread(typed, "structure", "list", "--json")
    assert [row["finess"] for row in listed.json] == [FINESS_A]
    refused = await asyncio.to_thread(typed, "structure", "show", FINESS_B)
    assert (refused.code, "n'existe pas ici" in refused.err) == (2, True)
    store.write(lambda w: w.remove_administrator(made)).result()
    gone = await asyncio.to_thread(typed, "structure", "list")
    assert (gone.code, "n'administre rien ici" in gone.err) == (2, True)
    await door.stop(5)


def test_a_socket_is_not_made_where_others_may_replace_it(tmp_path: Path, run: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(ConfigError, match="others may write to its directory"):
        bind_sockets(run, tmp_path / "open.sock")


def test_a_server_elsewhere_is_named_with_a_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MSSMTP_ADMIN", "https://admin.operateur.test:8443")
    lacking = typed("structure", "list")
    assert (lacking.code, "MSSMTP_ADMIN_CERTIFICATE: is not set" in lacking.err) == (2, True)


@pytest.mark.parametrize(
    ("name", "body", "status", "why"),
    [
        ("bal.nothing", b"{}", 404, "n'existe pas ici"),
        ("bal.show", b"{", 400, "ce n'est pas du JSON"),
        ("bal.show", b'{"address": "x", "more": 1}', 400, "ce champ n'existe pas"),
        ("bal.show", b'{"address": "zoe"}', 400, "Adresse mal form"),
        ("bal.show", b'{"address": "n@hopital-a.test"}', 404, "n'existe pas ici"),
        ("bal.show", b" " * 70_000, 400, "plus de 65536 octets"),
    ],
)
async def test_bad_input_is_refused_with_its_reason_and_a_remedy(
    door: AdminDoor, run: Path, name: str, body: bytes, status: int, why: str
) -> None:
    answered, said = await asyncio.to_thread(post, run, f"/v1/{name}", body)
    assert answered == status
    assert why in said["why"]
    assert said["what"]
    assert said["remedy"]


async def test_a_bug_of_ours_is_500_and_tells_nothing_of_itself(
    door: AdminDoor, run: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("canary")

    monkeypatch.setattr(store, "read", broken)
    status, said = await asyncio.to_thread(post, run, "/v1/bal.list", b"{}")
    assert status == 500
    assert "canary" not in json.dumps(said)
    assert "le journal la garde sous admin-" in said["why"]


async def test_the_list_of_operations_has_the_schema_of_each_input(
    door: AdminDoor, run: Path
) -> None:
    def get() -> list[dict[str, object]]:
        connection = _UnixConnection(run / "admin.sock")
        try:
            connection.request("GET", "/v1")
            found: list[dict[str, object]] = json.loads(connection.getresponse().read())
            return found
        finally:
            connection.close()

    rows = {row["name"]: row for row in await asyncio.to_thread(get)}
    schema = rows["bal.suspend"]["input"]
    assert isinstance(schema, dict)
    assert schema["required"] == ["address"]
    assert all(row["meaning"] for row in rows.values())


def post(run: Path, path: str, body: bytes) -> tuple[int, dict[str, str]]:
    """One call; status and answer."""
    connection = _UnixConnection(run / "admin.sock")
    try:
        connection.request("POST", path, body)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


@pytest.mark.attack("ATT-41")
async def test_att_41_nobody_keeps_the_file_of_a_stranger_in_memory(
    door: AdminDoor, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = b" " * 70_000
    _, said = await asyncio.to_thread(post, run, "/v1/bal.load", body)
    assert "ce n'est pas du JSON" in said["why"]
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    monkeypatch.setattr(callers, "ROOT", -1)
    status, said = await asyncio.to_thread(post, run, "/v1/bal.load", body)
    assert (status, said["why"]) == (400, "plus de 65536 octets")
    status, said = await asyncio.to_thread(post, run, "/v1/bal.load", b"{}")
    assert status == 403
