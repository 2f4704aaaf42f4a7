"""A key is one holder's; two trust spaces never meet (ATT-43, OP-100)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mssmtp.config import Settings
from mssmtp.demo.authority import Authority, Identity
from mssmtp.errors import ConfigError
from mssmtp.mail import Domain, Operator
from mssmtp.own import OwnFiles, OwnKeys, findings, space_in_force
from mssmtp.own.judging import key_of
from mssmtp.own.memory import KeyUse, Memory
from mssmtp.pki import Anchors, certificate_name, printed_name, serial_text
from mssmtp.tls_settings import DEMO_MARK
from mssmtp.trust import Snapshot, Trust
from tests.authority import A_DOMAIN, A_SUBJECT, B_DOMAIN, B_SUBJECT, shared_keys
from tests.own.operator import RENAMED, Own, renewed

# ---------------------------------------------------------------- somebody else's key


@pytest.mark.attack
def test_a_key_the_list_binds_to_domains_of_others_only_is_not_loaded(own: Own) -> None:
    own.publish((B_DOMAIN, A_SUBJECT.text))
    with pytest.raises(ConfigError, match=f"bound by the whitelist to {B_DOMAIN}") as raised:
        own.keys()
    assert raised.value.what == str(own.pairs[0].key_file)
    assert "Make a key of your own" in raised.value.remedy


@pytest.mark.attack
def test_a_key_this_home_used_for_another_domain_is_not_loaded(own: Own) -> None:
    """A home copied for a second tenant, with a certificate of its own on the first one's key."""
    remembered(own, "CN=mx.cabinet-b.test,C=FR", B_DOMAIN)
    with pytest.raises(ConfigError, match=r"was seen here as CN=mx\.cabinet-b\.test"):
        own.keys()


def test_a_key_used_here_under_another_name_for_our_own_domain_is_ours(own: Own) -> None:
    remembered(own, "CN=ancien nom,C=FR", A_DOMAIN)
    own.keys()


def test_a_list_that_loses_us_does_not_keep_the_server_from_starting(own: Own) -> None:
    """The key was used here under this name: that one of its domains has moved is no theft."""
    name = own.keys().slots[0].own.leaf.subject.rfc4514_string()
    remembered(own, name, A_DOMAIN)
    own.publish((B_DOMAIN, A_SUBJECT.text))
    own.keys()


@pytest.mark.attack
def test_a_renewal_with_a_foreign_key_is_refused(own: Own) -> None:
    keys = own.keys()
    stolen = own.authority.issue(B_SUBJECT)
    own.publish((A_DOMAIN, A_SUBJECT.text), (B_DOMAIN, B_SUBJECT.text))
    own.put(stolen)
    renewed(keys)
    assert "is a key of somebody else" in keys.slots[0].refused
    assert keys.slots[0].own.leaf != stolen.certificate


@pytest.mark.attack
async def test_a_peer_with_our_key_is_an_alarm_and_its_keys_are_not_loaded_later(
    own: Own, caplog: pytest.LogCaptureFixture
) -> None:
    """KIM, 37C3: a vendor gave several tenants one key. Here the peer's certificate shows it."""
    keys = own.keys()
    ours = own.pairs[0].key_file.read_bytes()
    made = (own.authority.issue(B_SUBJECT) for _ in range(9))  # tests share a few keys
    peer = next(each for each in made if each.key_pem == ours)
    keys.met(operator_of(peer), peer.chain)
    assert caplog.text.count("a peer presents our own key") == 1
    keys.met(operator_of(peer), peer.chain)
    assert caplog.text.count("a peer presents our own key") == 1, "once for each certificate"
    await own.watch(keys).tick()
    own.keys()  # we have used it under our name: an alarm, and no reason to stop
    found = findings(own.settings, own.clock.now(), own.trust.snapshot.whitelist)
    assert any("another operator presents the same key" in each.why for each in found)
    own.put(own.authority.issue(RENAMED))
    for _ in range(9):  # until the new name comes with that key too
        if own.pairs[0].key_file.read_bytes() == ours:
            break
        own.put(own.authority.issue(RENAMED))
    with pytest.raises(ConfigError, match="is a key of somebody else"):
        own.keys()


def operator_of(peer: Identity) -> Operator:
    leaf = peer.certificate
    return Operator(
        dn=certificate_name(leaf.subject) or (),
        dn_text=printed_name(leaf.subject),
        serial=serial_text(leaf),
        issuer_text=printed_name(leaf.issuer),
        domains=frozenset({Domain(B_DOMAIN)}),
        list_date=datetime(2026, 1, 5, tzinfo=UTC),
        crl_number=1,
    )


def remembered(own: Own, name: str, domain: str) -> None:
    pair = own.keys().slots[0].own
    files = OwnFiles(own.directory)
    assert files.take_lock()
    files.keep(Memory(keys=(KeyUse(key_of(pair), name, (domain,)),)))
    files.release()


# ---------------------------------------------------------------- two spaces

Mix = Callable[[Own, Authority], object]


@pytest.fixture
def production(authority: Authority) -> Authority:
    """An authority with the national names, as if it were the real one."""
    return Authority(authority.now, make_key=shared_keys(60), prefix="")


def users_anchors(own: Own, production: Authority) -> None:
    own.more["users_anchors_file"] = str(written(own, production))


def told_production(own: Own, production: Authority) -> None:
    own.more["space"] = "production"


def certificate(own: Own, production: Authority) -> None:
    own.put(production.issue(A_SUBJECT))


def home(own: Own, production: Authority) -> None:
    files = OwnFiles(own.directory)
    assert files.take_lock()
    files.keep(Memory(space="production"))
    files.release()


def written(own: Own, production: Authority) -> Path:
    path = own.directory / "other.pem"
    path.write_bytes(production.anchors_pem)
    return path


@pytest.mark.requirement("OP-100", "OP-07")
@pytest.mark.parametrize("mix", [users_anchors, told_production, certificate, home])
def test_production_and_test_are_never_active_together(
    own: Own, production: Authority, mix: Mix
) -> None:
    own.keys()
    mix(own, production)
    with pytest.raises(ConfigError, match="never active together"):
        own.keys()


@pytest.mark.requirement("OP-100")
def test_the_lists_server_counts_too(own: Own, production: Authority) -> None:
    path = written(own, production)
    raw = own.settings.model_dump()
    raw["whitelist"]["https_anchors_file"] = path
    with pytest.raises(ConfigError, match="never active together"):
        space_in_force(Settings.model_validate(raw))


def test_the_space_is_told_by_the_anchors_or_by_the_settings(
    own: Own, production: Authority
) -> None:
    assert space_in_force(own.settings) == "test"
    anchors = own.directory / "anchors.pem"
    anchors.write_bytes(production.anchors_pem)
    assert space_in_force(own.settings) == "production"
    private = Authority(own.authority.now, make_key=shared_keys(70), prefix="TEST ")
    assert Anchors.from_pem(private.anchors_pem).space == "test"


@pytest.mark.requirement("OP-100")
def test_a_key_of_the_demo_is_not_loaded_in_production(
    own: Own, production: Authority, tmp_path: Path
) -> None:
    """Whoever copied a demo's key and had it certified: others have a copy of it."""
    real = in_production(own, production)
    with pytest.raises(ConfigError, match="was made by `mssmtp demo`"):
        OwnKeys(own.settings, real, own.clock)
    key = own.pairs[0].key_file
    key.write_bytes(key.read_bytes()[key.read_bytes().index(b"-----BEGIN") :])
    assert OwnKeys(own.settings, real, own.clock).space == "production"


def in_production(own: Own, production: Authority) -> Trust:
    (own.directory / "anchors.pem").write_bytes(production.anchors_pem)
    own.put(production.issue(A_SUBJECT))
    assert own.pairs[0].key_file.read_bytes().startswith(DEMO_MARK)
    return Trust(Snapshot(None, None, Anchors.from_pem(production.anchors_pem)))
