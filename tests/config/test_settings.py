"""Settings that are refused whatever else the file says."""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

import pytest
from pydantic import ValidationError

from mssmtp.config import ListenSettings, load
from mssmtp.config_example import render
from mssmtp.config_senders import comes_from
from mssmtp.errors import ConfigError
from tests.home import values


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.7", "::", "not an address"])  # noqa: S104
def test_metrics_are_refused_anywhere_but_on_loopback(host: str) -> None:
    with pytest.raises(ValidationError):
        ListenSettings.model_validate({"metrics": {"host": host, "port": 9125}})


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_metrics_are_served_on_loopback(host: str) -> None:
    settings = ListenSettings.model_validate({"metrics": {"host": host, "port": 9125}})
    assert settings.metrics is not None
    assert settings.metrics.host == host


MOVES = [
    ('served_from = "2026-03-01T08:00:00"', "time zone"),
    ("served_from = 2026-03-01T08:00:00Z\nforward_only_until = 2026-04-01T08:00:00Z", "one date"),
    ('name = "ailleurs.test"\nserved_from = 2026-03-01T08:00:00Z', "operator.domains"),
    ('forward_only_until = 2026-04-01T08:00:00Z\n[[domains]]\nname = "hopital-a.test"', "two"),
]


@pytest.mark.requirement("OP-101")
@pytest.mark.parametrize(("move", "why"), MOVES)
def test_a_move_that_cannot_be_meant_is_refused(tmp_path: Path, move: str, why: str) -> None:
    file = tmp_path / "mssmtp.toml"
    named = "" if move.startswith("name") else 'name = "hopital-a.test"\n'
    file.write_text(f"{render(values())}\n[[domains]]\n{named}{move}\n", "utf-8")
    with pytest.raises(ConfigError, match=why):
        load(file)


@pytest.mark.requirement("OP-101")
def test_a_domain_that_comes_and_one_that_leaves_are_read(tmp_path: Path) -> None:
    file = tmp_path / "mssmtp.toml"
    tables = (
        '[[domains]]\nname = "hopital-a.test"\nserved_from = 2026-03-01T08:00:00+01:00\n'
        '[[domains]]\nname = "ailleurs.test"\nforward_only_until = 2026-04-01T08:00:00Z\n'
    )
    file.write_text(f"{render(values())}\n{tables}", "utf-8")
    coming, leaving = load(file).domains
    assert coming.served_from == datetime(2026, 3, 1, 7, tzinfo=UTC)
    assert leaving.forward_only_until == datetime(2026, 4, 1, 8, tzinfo=UTC)


@pytest.mark.requirement("OP-20")
def test_one_certificate_between_operators_or_several_are_read(tmp_path: Path) -> None:
    """A table is a list of one; relative paths of each are those of the file."""
    file = tmp_path / "mssmtp.toml"
    text = render(values())
    file.write_text(text, "utf-8")
    (only,) = load(file).tls.operators
    assert only.certificate_file == tmp_path / "certs/operator.pem"
    more = '[[tls.operators]]\ncertificate_file = "certs/b.pem"\nkey_file = "certs/b.key"\n\n'
    several = text.replace("\n[tls.operators]", "\n[[tls.operators]]")
    file.write_text(several.replace("\n[tls.users]", f"\n{more}[tls.users]"), "utf-8")
    first, second = load(file).tls.operators
    assert first == only
    assert second.key_file == tmp_path / "certs/b.key"
    file.write_text(several.replace("certificate_file =", "certificat_file =", 1), "utf-8")
    with pytest.raises(ConfigError, match="tls.operators.certificate_file"):
        load(file)


NAMED = (IPv4Network("192.0.2.0/24"), IPv6Network("2001:db8::/64"))


@pytest.mark.requirement("DEF-19")
@pytest.mark.parametrize(
    ("address", "may"),
    [
        ("192.0.2.7", True),
        ("::ffff:192.0.2.7", True),
        ("2001:db8::7", True),
        ("192.0.3.7", False),
        ("::ffff:192.0.3.7", False),
        ("2001:db8:0:1::7", False),
        ("fe80::7%eth0", False),
        ("", False),
    ],
)
def test_a_sender_of_a_fixed_address_comes_from_there_whatever_the_socket_prints(
    address: str, may: bool
) -> None:
    assert comes_from(address, NAMED) is may
