"""A session that idles when its account is suspended ends at once, with a reason (OP-79)."""

from __future__ import annotations

import pytest

from mssmtp import suspending
from mssmtp.imap_server import _Connection
from mssmtp.mail import AccountId, Address, BalId, BalState, BalType, Role
from mssmtp.outside import SystemClock
from mssmtp.storage import Writing
from mssmtp.storage.suspensions import Suspension
from mssmtp.trust import Suspended
from tests.imap.world import message
from tests.imap_server.rig import LUC, SERVICE, ZOE, Rig, until


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


@pytest.mark.attack("ATT-18", "ATT-25")
@pytest.mark.parametrize("taken", ["password", "membership", "box"])
async def test_who_idles_hears_bye_when_what_let_him_in_is_taken_away(rig: Rig, taken: str) -> None:
    """Not at the next sign of life of the server, two minutes later."""

    def let_in(writing: Writing) -> tuple[BalId, AccountId]:
        account = writing.account(LUC)
        assert account is not None
        box = writing.create_bal(Address.parse(SERVICE), BalType.ORG, login=SERVICE)
        writing.add_member(box.id, account.id, Role.SECRETAIRE)
        return box.id, account.id

    bal, luc = rig.store.write(let_in).result()

    def take(writing: Writing) -> None:
        if taken == "password":
            for each in writing.app_passwords(luc):
                writing.revoke_app_password(each.id)
        elif taken == "membership":
            writing.remove_member(bal, luc)
        else:
            writing.set_bal_state(bal, BalState.SUSPENDED)

    async with rig.door() as (door, port):
        idle = await rig.client(port, LUC)
        await idle.ok(b'SELECT "Other Users/%b/INBOX"' % SERVICE.encode())
        await idle.send(b"i IDLE\r\n")
        await idle.line()
        (waiting,) = door.connections
        assert isinstance(waiting, _Connection)
        await until(lambda: waiting._wakes_on_change)
        rig.store.write(take).result()
        assert b"* BYE [" in await idle.ends()


@pytest.mark.attack("ATT-18", "ATT-25")
@pytest.mark.parametrize("octets", [20_000, 15_000_000])
async def test_who_fetches_slowly_gets_no_more_once_shut_out(rig: Rig, octets: int) -> None:
    """SEC-06: a thief asks for all of it with one command, and takes hours to read the answer."""
    head = message(1)
    many = 15_000_000 // octets
    for _ in range(many):
        rig.deliver(head + b"a" * (octets - len(head)))

    def revoke(writing: Writing) -> None:
        account = writing.account(ZOE)
        assert account is not None
        for each in writing.app_passwords(account.id):
            writing.revoke_app_password(each.id)

    async with rig.door() as (door, port):
        slow = await rig.client(port)
        (connection,) = door.connections
        await slow.send(b"f FETCH 1:* BODY.PEEK[]\r\n")
        await until(lambda: not connection._writable.is_set())
        rig.store.write(revoke).result()
        told = await slow.ends()
    assert len(told) < 0.9 * many * octets
    assert b"f OK" not in told
    assert b"* BYE [EXPIRED]" in told or octets > 1_000_000  # in a literal it could not be told
