"""A certificate is renewed on disk while the server runs (OP-21)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta

import pytest

from mssmtp.demo.authority import EMAIL_ONLY, Authority, Make
from mssmtp.mail import Domain
from mssmtp.own import OwnKeys
from mssmtp.tls import server_context
from tests.authority import A_DOMAIN, A_SUBJECT, shared_keys
from tests.own.handshake import presented_to
from tests.own.operator import RENAMED, Own, renewed

A = Domain(A_DOMAIN)
Damage = Callable[[Own], object]


@pytest.mark.requirement("OP-21")
def test_a_renewed_pair_of_the_same_name_is_taken_up_at_the_second_look(own: Own) -> None:
    keys = own.keys()
    old = keys.slots[0].own
    context = server_context(own.settings.tls, keys.between_operators, ask_certificate=True)
    before = context.engine()
    fresh = own.authority.issue(A_SUBJECT)
    own.put(fresh)
    keys.refresh()
    assert keys.for_sender(A) is old, "the second file may still be on its way"
    keys.refresh()
    assert keys.for_sender(A).leaf == fresh.certificate
    assert presented_to(context, None)[0] == fresh.certificate
    shown = before._connection.get_certificate(as_cryptography=True)
    assert shown == old.leaf, "a session that was open goes on with what it has"


def half_written(own: Own) -> None:
    held = own.pairs[0].key_file.read_bytes()
    made = (own.authority.issue(A_SUBJECT) for _ in range(9))  # tests share a few keys
    fresh = next(each for each in made if each.key_pem != held)
    own.pairs[0].certificate_file.write_bytes(fresh.certificate_pem)


def of_key(octets: bytes, mode: int = 0o600) -> Damage:
    def damage(own: Own) -> None:
        own.pairs[0].key_file.write_bytes(octets)
        own.pairs[0].key_file.chmod(mode)

    return damage


def issued(start: timedelta, end: timedelta) -> Damage:
    def damage(own: Own) -> None:
        now = own.clock.now()
        own.put(own.authority.issue(A_SUBJECT, Make(now + start, now + end)))

    return damage


def for_mail_only(own: Own) -> None:
    own.put(own.authority.issue(A_SUBJECT, Make(usages=EMAIL_ONLY)))


def without_issuer(own: Own) -> None:
    fresh = own.authority.issue(A_SUBJECT)
    own.put(fresh)
    pem = fresh.certificate_pem
    end = b"-----END CERTIFICATE-----\n"
    own.pairs[0].certificate_file.write_bytes(pem.partition(end)[0] + end)


def of_a_stranger(own: Own) -> None:
    stranger = Authority(own.authority.now, make_key=shared_keys(50))
    own.put(stranger.issue(A_SUBJECT))


def opened(own: Own) -> None:
    own.put(own.authority.issue(A_SUBJECT))
    own.pairs[0].key_file.chmod(0o644)


_DAY = timedelta(days=1)
BAD: dict[str, tuple[Damage, str]] = {
    "another key": (half_written, "is not the key of the first certificate"),
    "no key": (of_key(b"hello"), "holds no PEM private key"),
    "expired": (issued(-2 * _DAY, -_DAY), "has expired"),
    "not yet valid": (issued(_DAY, 2 * _DAY), "is not valid yet"),
    "usage": (for_mail_only, "is not made for a server"),
    "without its issuer": (without_issuer, "is sent without CN=TEST AC IGC-SANTE ELEMENTAIRE"),
    "of another authority": (of_a_stranger, "was not issued by the authorities of its door"),
    "key others can read": (opened, "can be read by others"),
    "gone": (lambda own: own.pairs[0].key_file.unlink(), "cannot be read"),
}


@pytest.mark.requirement("OP-21", "OP-06")
@pytest.mark.parametrize("name", BAD)
def test_a_bad_pair_is_refused_whole_and_the_old_one_stays(
    own: Own, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    damage, why = BAD[name]
    keys = own.keys()
    old = keys.slots[0].own
    damage(own)
    renewed(keys)
    keys.refresh()
    assert keys.for_sender(A) is old
    assert keys.between_operators.present(None) is old
    assert why in keys.slots[0].refused
    told = [each for each in caplog.records if "new certificate refused" in each.message]
    assert len(told) == 1, "once for each cause, not every two seconds"
    assert told[0].levelno == logging.ERROR


def test_a_bad_pair_that_is_corrected_is_taken_up(own: Own) -> None:
    keys = own.keys()
    half_written(own)
    renewed(keys)
    fresh = own.authority.issue(A_SUBJECT)
    own.put(fresh)
    renewed(keys)
    assert keys.for_sender(A).leaf == fresh.certificate
    assert keys.slots[0].refused == ""


@pytest.mark.requirement("OP-21")
def test_another_name_is_blocked_until_the_list_has_it(own: Own) -> None:
    keys = own.keys()
    old = keys.slots[0].own
    new = own.authority.issue(RENAMED)
    own.put(new)
    renewed(keys)
    assert keys.for_sender(A) is old
    assert "has another name, which the whitelist does not have yet" in keys.slots[0].refused
    own.publish((A_DOMAIN, A_SUBJECT.text), (A_DOMAIN, RENAMED.text))
    keys.refresh()
    assert keys.for_sender(A).leaf == new.certificate


@pytest.mark.requirement("OP-21")
def test_changed_settings_must_not_lose_a_listed_name_either(own: Own) -> None:
    """SIGHUP with the old pair taken out of the settings before the new name is published."""
    keys = own.keys()
    own.pairs.clear()
    own.put(own.authority.issue(RENAMED), "next")
    with pytest.raises(Exception, match="has another name"):
        keys.check_successor(own.keys())
    own.publish((A_DOMAIN, A_SUBJECT.text), (A_DOMAIN, RENAMED.text))
    keys.check_successor(own.keys())
    own.put(own.authority.issue(RENAMED, Make(usages=EMAIL_ONLY)), "next")
    with pytest.raises(Exception, match="is not made for a server"):
        keys.check_successor(own.keys())


def test_the_users_pair_is_renewed_too(own: Own) -> None:
    own.users = own.authority.issue(A_SUBJECT).write(own.directory, "users")
    keys = own.keys()
    fresh = own.authority.issue(A_SUBJECT)
    fresh.write(own.directory, "users")
    renewed(keys)
    assert keys.to_users.present(None).leaf == fresh.certificate
    assert keys.for_sender(A).leaf != fresh.certificate


def test_at_the_start_a_certificate_that_has_ended_is_loaded(own: Own) -> None:
    """Nobody trusts it any more, but the mail that is here can still be read."""
    issued(-2 * _DAY, -_DAY)(own)
    assert own.keys().for_sender(A).leaf.not_valid_after_utc < own.clock.now()


@pytest.mark.requirement("OP-21")
def test_a_worker_that_replaces_another_goes_on_with_what_was_good(own: Own) -> None:
    """Somebody is just spoiling the files, and a worker dies: its successor serves all the same."""
    first = own.keys()
    half_written(own)
    second = OwnKeys(own.settings, own.trust, own.clock, before=first.pairs)
    assert second.for_sender(A) is first.for_sender(A)
    assert "is not the key" in second.slots[0].refused
    own.put(own.authority.issue(RENAMED))
    third = OwnKeys(own.settings, own.trust, own.clock, before=first.pairs)
    assert third.for_sender(A) is first.for_sender(A)
    fresh = own.authority.issue(A_SUBJECT)
    own.put(fresh)
    fourth = OwnKeys(own.settings, own.trust, own.clock, before=first.pairs)
    assert fourth.for_sender(A).leaf == fresh.certificate


def test_workers_share_what_sessions_of_users_are_taken_up_again_by(own: Own) -> None:
    """One pair may serve operators and users: it is loaded for each (`OwnCertificate.resuming`)."""
    first, settings = own.keys(), own.settings.tls
    server_context(settings, first.to_users, ask_certificate=False, resumes=True)
    (made,) = first.users.own.resuming.values()
    for _ in range(2):
        worker = OwnKeys(own.settings, own.trust, own.clock, before=first.pairs)
        door = server_context(settings, worker.to_users, ask_certificate=False, resumes=True)
        assert door.engine()._connection.get_context() is made


def test_files_written_again_are_no_renewal(own: Own, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    keys = own.keys()
    same = own.pairs[0].certificate_file
    same.write_bytes(same.read_bytes() + b"\n")
    renewed(keys)
    assert "renewed" not in caplog.text
    assert keys.slots[0].refused == ""
