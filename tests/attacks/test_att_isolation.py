"""Nobody reads another person's mail over IMAP, nor goes on reading what was taken away."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from mssmtp.mail import Address, Bal, BalState
from mssmtp.storage import Store
from tests.attacks.wire import Wire, reader
from tests.space import Account, Operator, RunningSpace

pytestmark = [
    pytest.mark.attack,
    pytest.mark.end_to_end,
    pytest.mark.xdist_group("attacks"),
    pytest.mark.timeout(120),
]

SECRET = b"compte rendu de la boite partagee"
LETTER = b"From: a@b.test\r\nSubject: x\r\n\r\n" + SECRET + b"\r\n"
TAKES_EFFECT_S = 1.1
"""SEC-06: what was taken away is of no use after a second."""


def box(store: Store, account: Account) -> Bal:
    found = store.read(lambda reading: reading.bal(Address.parse(account.address))).result()
    assert found is not None
    return found


def join(store: Store, org: Bal, member: Account) -> None:
    account = store.read(lambda reading: reading.account(member.address)).result()
    assert account is not None
    store.write(lambda writing: writing.add_member(org.id, account.id)).result()


@contextmanager
def suspended(operator: Operator, account: Account) -> Iterator[None]:
    """The box of `account` is suspended for a while."""
    with operator.store() as store:
        bal = box(store, account)
        store.write(lambda w: w.set_bal_state(bal.id, BalState.SUSPENDED)).result()
        try:
            yield
        finally:
            store.write(lambda w: w.set_bal_state(bal.id, BalState.ACTIVE)).result()


@pytest.fixture
def shared(space: RunningSpace) -> Account:
    """An ORG box of cabinet-b.test that two doctors are members of, with one letter."""
    org = space.b.of_type("ORG")
    with space.b.store() as store:
        bal = box(store, org)
        for number in (1, 2):
            join(store, bal, space.b.doctor(number))
    with reader(space, space.b, space.b.doctor(1)) as member:
        member.ok(b"APPEND %b {%d+}\r\n%b" % (name_of(org), len(LETTER), LETTER))
    return org


def name_of(org: Account) -> bytes:
    return f'"Other Users/{org.address}/INBOX"'.encode()


def heard(wire: Wire, command: bytes) -> bytes:
    """Everything the server says to `command` before it answers or hangs up."""
    try:
        return b"\n".join(wire.ask(command))
    except (EOFError, ConnectionError):
        return b""


@pytest.mark.parametrize("verb", [b"SELECT", b"EXAMINE"])
def test_att_25_a_selected_shared_box_is_closed_when_it_is_suspended(
    space: RunningSpace, shared: Account, verb: bytes
) -> None:
    with reader(space, space.b, space.b.doctor(1)) as wire:
        wire.ok(verb + b" " + name_of(shared))
        assert SECRET in heard(wire, b"FETCH 1 BODY.PEEK[TEXT]")
        wire.ok(b"NOOP")
        with suspended(space.b, shared):
            time.sleep(TAKES_EFFECT_S)
            assert SECRET not in heard(wire, b"FETCH 1 BODY.PEEK[TEXT]")


def test_att_25_an_idling_session_hears_nothing_more_of_a_suspended_box(
    space: RunningSpace, shared: Account
) -> None:
    with (
        reader(space, space.b, space.b.doctor(2)) as other,
        reader(space, space.b, space.b.doctor(1)) as wire,
    ):
        wire.ok(b"EXAMINE " + name_of(shared))
        wire.send(b"i IDLE\r\n")
        assert wire.line().startswith(b"+")
        with suspended(space.b, space.b.doctor(1)):
            time.sleep(TAKES_EFFECT_S)
            other.ok(b"APPEND %b {%d+}\r\n%b" % (name_of(shared), len(LETTER), LETTER))
            assert [line for line in wire.until(b"i") if b"EXISTS" in line] == []


def test_att_18_another_spelling_of_a_login_does_not_open_what_was_suspended(
    space: RunningSpace, shared: Account
) -> None:
    member = space.b.doctor(2)
    login = member.address.replace("s", "\N{LATIN SMALL LETTER LONG S}").encode()
    assert b"s" not in login
    with suspended(space.b, member), reader(space, space.b, None) as wire:
        said = heard(
            wire, b'LOGIN {%d+}\r\n%b "%b"' % (len(login), login, member.password.encode())
        )
        assert b"a NO [AUTHENTICATIONFAILED]" in said


NAMES = (
    "Other Users/{victim}/INBOX",
    "Other Users/{victim}",
    "OTHER USERS/{victim}/INBOX",
    "Other Users/{upper}/INBOX",
    "Other Users//{victim}/INBOX",
    "Other Users/{victim}/../INBOX",
    "Other Users/{victim}/INBOX/",
    "/Other Users/{victim}/INBOX",
    "../{victim}/INBOX",
    "{victim}/INBOX",
    "#user/{victim}/INBOX",
    "user.{victim}",
)
COMMANDS = (
    "SELECT {name}",
    "EXAMINE {name}",
    "STATUS {name} (MESSAGES UIDNEXT)",
    "APPEND {name} {{4+}}\r\na: b",
    "CREATE {name}",
    "RENAME {name} mien",
    "RENAME INBOX {name}",
    "DELETE {name}",
    "LIST {name} *",
    'LIST "" {name}',
)


def shown(wire: Wire) -> list[bytes]:
    """Everything a box shows of itself."""
    names = wire.ok(b'LIST "" "*"')
    return names + wire.ok(b"STATUS INBOX (MESSAGES UIDNEXT UIDVALIDITY UNSEEN)")


def test_att_24_no_name_leads_into_the_box_of_somebody_else(space: RunningSpace) -> None:
    victim = space.b.doctor(0)
    with (
        reader(space, space.b, victim) as own,
        reader(space, space.b, space.b.of_type("INT")) as wire,
    ):
        own.ok(b"APPEND INBOX {%d+}\r\n%b" % (len(LETTER), LETTER))
        before = shown(own)
        for form in NAMES:
            name = form.format(victim=victim.address, upper=victim.address.upper())
            for command in COMMANDS:
                wire.ask(command.format(name=f'"{name}"').encode())
            for verb in (b"SELECT", b"EXAMINE"):
                wire.ask(b'%b "%b"' % (verb, name.encode()))
                assert SECRET not in b"".join(wire.ask(b"FETCH 1:* BODY.PEEK[TEXT]"))
        assert shown(own) == before
