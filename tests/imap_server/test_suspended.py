"""A session that idles when its account is suspended ends at once, with a reason (OP-79)."""

from __future__ import annotations

import pytest

from mssmtp import suspending
from mssmtp.imap_server import _Connection
from mssmtp.outside import SystemClock
from mssmtp.storage.suspensions import Suspension
from mssmtp.trust import Suspended
from tests.imap_server.rig import LUC, ZOE, Rig, until


class _Trust:
    suspended = Suspended()


@pytest.mark.attack("ATT-25")
@pytest.mark.requirement("OP-79")
@pytest.mark.parametrize("kind", ["account", "domain"])
async def test_who_idles_hears_bye_when_the_suspension_is_seen(rig: Rig, kind: str) -> None:
    async with rig.door() as (door, port):
        idle = await rig.client(port, LUC)
        await idle.send(b"i IDLE\r\n")
        await idle.line()
        (waiting,) = door.connections
        assert isinstance(waiting, _Connection)
        await until(lambda: waiting._wakes_on_change)
        account = rig.store.read(lambda r: r.account(LUC)).result()
        assert account is not None
        name = str(account.id) if kind == "account" else "hopital-a.test"
        new = Suspension(kind, name, SystemClock().now())  # type: ignore[arg-type]
        rig.store.write(lambda w: suspending.suspend(w, new)).result()
        watch = suspending.SuspensionWatch(rig.store, _Trust(), door.ask_again)  # type: ignore[arg-type]
        await watch.look()
        assert b"* BYE [EXPIRED]" in await idle.ends()
        rig.store.write(lambda w: suspending.resume(w, new.kind, name)).result()
        await (await rig.client(port, ZOE)).ok(b"NOOP")
