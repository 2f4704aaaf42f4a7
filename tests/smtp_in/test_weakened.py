"""Each attack test fails when its guard is taken away (attacks.md, rule 1)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from mssmtp import smtp_reception
from mssmtp.identity import Exchange
from mssmtp.mail import Address
from mssmtp.message.tree import ScanLimits
from mssmtp.smtp import content, lines, receiver
from mssmtp.smtp_in import _SmtpDoor
from tests.smtp import test_syntax
from tests.smtp_in import (
    fakes,
    test_data,
    test_limits,
    test_operator_door,
    test_submission_door,
)
from tests.smtp_in import (
    rig as rig_module,
)
from tests.smtp_in.rig import Rig

Patch = pytest.MonkeyPatch
Attack = Callable[[Rig], Awaitable[None]]


@dataclass(frozen=True)
class Weakened:
    """An attack test, and how the build is weakened under it."""

    attack: Attack
    weaken: Callable[[Patch, Rig], None]


def lenient_receiver(patch: Patch, rig: Rig) -> None:
    patch.setattr(receiver.DataReceiver, "_inspect", lambda self, piece: None)


def buffer_kept_across_starttls(patch: Patch, rig: Rig) -> None:
    patch.setattr(lines.Inbox, "__len__", lambda self: 0)
    patch.setattr(lines.Inbox, "clear", lambda self: None)


def unlimited_headers(patch: Patch, rig: Rig) -> None:
    rig.limit(header_octets=10**9)
    patch.setattr(fakes, "ScanLimits", lambda **_: ScanLimits(header_octets=10**9))


def unchecked_header(patch: Patch, rig: Rig) -> None:
    patch.setattr(content, "check_header", lambda header: None)


def unhandled_abort(patch: Patch, rig: Rig) -> None:
    def broken(self: Exchange, line: bytes) -> None:
        raise ZeroDivisionError

    patch.setattr(Exchange, "receive", broken)


def one_thread_for_all_logins(patch: Patch, rig: Rig) -> None:
    patch.setattr("mssmtp.logins._SLOW_THREADS", 1)


def logins_never_asked_again(patch: Patch, rig: Rig) -> None:
    patch.setattr(rig.logins, "refreshed", lambda reading, principal: principal)


def lines_in_the_log(patch: Patch, rig: Rig) -> None:
    line = lines.Inbox.line

    def logged(self: lines.Inbox) -> bytes | None:
        found = line(self)
        logging.getLogger("mssmtp.smtp_link").debug("%r", found)
        return found

    patch.setattr(lines.Inbox, "line", logged)


def everybody_admitted(patch: Patch, rig: Rig) -> None:
    def admit(self: _SmtpDoor, link: object, address: str) -> None:
        return

    patch.setattr(_SmtpDoor, "admit", admit)
    patch.setattr(_SmtpDoor, "release", lambda self, link: None)


def any_from(patch: Patch, rig: Rig) -> None:
    policy = rig.settings.policy.model_copy(update={"from_policy": "ignore"})
    rig.settings = rig.settings.model_copy(update={"policy": policy})


def no_limit_of_lines(patch: Patch, rig: Rig) -> None:
    rig.limit(command_octets=10**7)


def no_error_budget(patch: Patch, rig: Rig) -> None:
    patch.setattr("mssmtp.smtp_link._MAX_ERRORS", 10**6)


def no_flood_limit(patch: Patch, rig: Rig) -> None:
    patch.setattr(smtp_reception, "_FLOOD_FACTOR", 10**6)


async def smuggle(rig: Rig) -> None:
    await test_data.test_att_01_nothing_is_smuggled_behind_a_fake_end(rig, b"\n.\r\n")


BUILDS = [
    Weakened(smuggle, lenient_receiver),
    Weakened(
        test_operator_door.test_att_02_octets_behind_starttls_close_the_connection,
        buffer_kept_across_starttls,
    ),
    Weakened(
        test_data.test_att_07_a_hundred_thousand_headers_are_refused_in_bounded_memory,
        unlimited_headers,
    ),
    Weakened(test_data.test_att_09_a_leading_fold_is_refused, unchecked_header),
    Weakened(
        test_submission_door.test_att_13_auth_cut_at_each_octet_leaves_the_door_open,
        unhandled_abort,
    ),
    Weakened(
        test_submission_door.test_att_14_a_slow_bad_login_and_broken_ones_disturb_no_other,
        one_thread_for_all_logins,
    ),
    Weakened(
        test_submission_door.test_att_18_a_revoked_password_ends_an_open_session,
        logins_never_asked_again,
    ),
    Weakened(test_operator_door.test_att_42_a_foreign_from_is_refused_and_traced, any_from),
    Weakened(test_limits.test_a_command_line_above_12288_octets_is_500_5_5_6, no_limit_of_lines),
    Weakened(test_limits.test_unknown_commands_are_bounded, no_error_budget),
    Weakened(test_data.test_a_flood_is_cut, no_flood_limit),
    Weakened(
        test_limits.test_att_41_connections_are_limited_per_address_and_freed, everybody_admitted
    ),
]


@pytest.mark.attack
@pytest.mark.parametrize("build", BUILDS, ids=lambda build: build.weaken.__name__)
async def test_an_attack_test_fails_on_a_weakened_build(
    rig: Rig, build: Weakened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rig_module, "WAIT_S", 0.6)
    build.weaken(monkeypatch, rig)
    with pytest.raises((AssertionError, TimeoutError)):
        await asyncio.wait_for(build.attack(rig), 15)


@pytest.mark.attack
def test_att_12_fails_on_a_parser_that_takes_any_local_part(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Address, "parse", lambda text: fakes.ZOE)
    with pytest.raises(pytest.fail.Exception):
        test_syntax.test_att_12_empty_and_half_quoted_local_parts_are_refused('""@b.test')


@pytest.mark.attack
async def test_att_37_fails_when_command_lines_are_logged(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lines_in_the_log(monkeypatch, rig)
    with pytest.raises(AssertionError):
        await test_limits.test_att_37_no_log_line_holds_octets_of_mail_or_credentials(rig, caplog)
