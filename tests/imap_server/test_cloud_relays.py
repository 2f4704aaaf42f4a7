"""A program of the cloud at the door: refused with a remedy, before the password (F2, CLD-01)."""

from __future__ import annotations

import base64

import pytest

from mssmtp.config_tokens import AuthSettings
from tests.imap_server.rig import PASSWORD, ZOE, Rig

pytestmark = pytest.mark.end_to_end


def settings(rig: Rig, **changes: object) -> None:
    auth = AuthSettings.model_validate(changes)
    rig.settings = rig.settings.model_copy(update={"auth": auth})


async def test_a_login_from_a_relay_hears_why_and_what_to_do(rig: Rig) -> None:
    settings(rig, cloud_ranges=["127.0.0.0/8"])
    plain = base64.b64encode(f"\0{ZOE}\0{PASSWORD}".encode())
    async with rig.door() as (_, port):
        raw = await rig.raw(port)
        await raw.line()
        right = (await raw.command(b'LOGIN %b "%b"' % (ZOE.encode(), PASSWORD.encode())))[-1]
        wrong = (await raw.command(b'LOGIN %b "faux"' % ZOE.encode()))[-1]
        sasl = (await raw.command(b"AUTHENTICATE PLAIN " + plain))[-1]
        assert right.split(b" ", 1)[1] == wrong.split(b" ", 1)[1] == sasl.split(b" ", 1)[1]
        assert right.split(b" ", 1)[1].startswith(b"NO [CONTACTADMIN] Ce logiciel confie")
        assert b"Outlook classique, Thunderbird" in right


async def test_a_name_by_id_counts_before_the_login_only_where_it_is_listed(rig: Rig) -> None:
    settings(rig, cloud_clients=["Hosted Mail"])
    login = b'LOGIN %b "%b"' % (ZOE.encode(), PASSWORD.encode())
    async with rig.door() as (_, port):
        raw = await rig.raw(port)
        await raw.line()
        await raw.ok(b'ID ("version" "1" "NAME" "hosted mail")')
        assert b"NO [CONTACTADMIN]" in (await raw.command(login))[-1]
        other = await rig.raw(port)
        await other.line()
        await other.ok(b'ID ("name" "Thunderbird" "version" "128")')
        await other.ok(login)
