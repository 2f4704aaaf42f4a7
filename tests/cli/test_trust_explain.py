"""`mssmtp trust explain`: row, rule and reason of a domain or a certificate, both ways."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from mssmtp.demo.authority import EMAIL_ONLY, Authority, Identity, Make, row
from tests.authority import A_DOMAIN, B_SUBJECT, shared_keys
from tests.home import CLOCK, PATIENT_DOMAIN, Home, put_rows

B = "cabinet-b.test"


def written(directory: Path, identity: Identity) -> str:
    path = directory / "peer.pem"
    path.write_bytes(identity.certificate_pem)
    return str(path)


def ways(told: Any) -> dict[str, Any]:
    return {verdict["way"]: verdict for verdict in told["verdicts"]}


def test_a_listed_certificate_may_speak_both_ways(
    home: Home, authority: Authority, tmp_path: Path
) -> None:
    file = written(tmp_path, authority.issue(B_SUBJECT))
    answer = home.mssmtp("trust", "explain", file, "--json")
    assert answer.code == 0
    told = ways(answer.json)
    assert told["inbound"]["decision"] == told["outbound"]["decision"] == "accepted"
    assert f"{B}, {PATIENT_DOMAIN}" in told["inbound"]["why"]
    assert [(r["number"], r["row"]["domain"]) for r in answer.json["rows"]] == [
        (2, B),
        (3, PATIENT_DOMAIN),
    ]
    people = home.mssmtp("trust", "explain", file, "--domain", B)
    assert people.code == 0
    assert f"may send as {B}" in people.out
    assert B_SUBJECT.text in people.out


CASES: dict[str, tuple[Callable[[Authority], Identity], str, str, str, str]] = {
    "expired": (
        lambda a: a.issue(B_SUBJECT, Make(a.now - timedelta(days=9), a.now - timedelta(days=1))),
        "refused",
        "deferred",
        "certificate: expired",
        "554 5.7.5",
    ),
    "e-mail only": (
        lambda a: a.issue(B_SUBJECT, Make(usages=EMAIL_ONLY)),
        "refused",
        "deferred",
        "certificate: usage",
        "554 5.7.5",
    ),
    "another authority": (
        lambda a: Authority(a.now, make_key=shared_keys(20)).issue(B_SUBJECT),
        "refused",
        "deferred",
        "certificate: chain",
        "554 5.7.5",
    ),
    "a new name": (
        lambda a: a.issue(dataclasses.replace(B_SUBJECT, o="BETA OPERATEUR")),
        "refused",
        "refused",
        "name not listed",
        "554 5.7.1",
    ),
}


@pytest.mark.requirement("OP-08", "OP-32")
@pytest.mark.parametrize("name", CASES)
def test_what_is_not_accepted_names_rule_reason_and_reply(
    home: Home, authority: Authority, tmp_path: Path, name: str
) -> None:
    make, inbound, outbound, why, reply = CASES[name]
    answer = home.mssmtp("trust", "explain", written(tmp_path, make(authority)), "--json")
    assert answer.code == 1
    told = ways(answer.json)
    assert told["inbound"]["decision"] == inbound
    assert told["outbound"]["decision"] == outbound
    assert told["inbound"]["why"] == why
    assert told["inbound"]["reply"].startswith(reply)
    assert told["inbound"]["remedy"]
    assert "OP-" in told["inbound"]["rule"]


def test_a_changed_name_is_shown_beside_the_listed_one(
    home: Home, authority: Authority, tmp_path: Path
) -> None:
    renamed = authority.issue(dataclasses.replace(B_SUBJECT, o="BETA OPERATEUR"))
    answer = home.mssmtp("trust", "explain", written(tmp_path, renamed), "--domain", B)
    assert answer.code == 1
    assert f"Almost: {B_SUBJECT.text} ({B}, {PATIENT_DOMAIN})" in answer.out
    assert "O: list « alpha operateur », certificate « beta operateur »" in answer.out


def test_a_good_certificate_is_not_good_for_every_domain(
    home: Home, authority: Authority, tmp_path: Path
) -> None:
    file = written(tmp_path, authority.issue(B_SUBJECT))
    answer = home.mssmtp("trust", "explain", file, "--domain", A_DOMAIN, "--json")
    assert answer.code == 1
    told = ways(answer.json)
    assert told["inbound"]["why"] == told["outbound"]["why"] == "name not of domain"
    assert told["outbound"]["decision"] == "deferred", "the next MX may be right"
    assert told["inbound"]["rule"] == "step 8, inbound (OP-10, OP-11)"
    assert told["outbound"]["rule"].startswith("step 5, outbound")


def test_a_domain_shows_rows_contacts_and_state(home: Home) -> None:
    answer = home.mssmtp("trust", "explain", "Cabinet-B.test", "--json")
    assert answer.code == 0
    facts = dict(answer.json["facts"])
    assert facts["state"] == "listed, of another operator"
    assert "support@exploitation.test" in facts["support contact"]
    assert answer.json["rows"][0]["row"]["dn"] == B_SUBJECT.text
    assert answer.json["rows"][0]["number"] == 2
    ours = home.mssmtp("trust", "explain", f"zoe@{A_DOMAIN}")
    assert ours.code == 0
    assert "state: served here, listed" in ours.out
    assert "delivered without another operator" in ours.out


@pytest.mark.requirement("DEF-01", "OP-101")
def test_a_domain_of_ours_shows_where_it_stands_and_its_move(
    home: Home, authority: Authority
) -> None:
    put_rows(home, authority, [row(A_DOMAIN, B_SUBJECT.text, updated=CLOCK.now())])
    until = (CLOCK.now() + timedelta(days=3)).isoformat()
    with home.config_file.open("a", encoding="utf-8") as file:
        file.write(f'\n[[domains]]\nname = "{A_DOMAIN}"\nforward_only_until = "{until}"\n')
    shown = home.mssmtp("trust", "explain", A_DOMAIN).out
    assert "state: served here, requested" in shown
    assert "the list binds it to no certificate of ours" in shown
    assert "forward only until: " in shown


@pytest.mark.requirement("OP-30")
def test_a_domain_that_is_not_listed_says_what_may_have_been_meant(home: Home) -> None:
    answer = home.mssmtp("trust", "explain", "sous.cabinet-b.test")
    assert answer.code == 1
    assert "inbound  refused: domain not listed" in answer.out
    assert "cabinet-b.test is listed, but a listed parent covers no sub-domain" in answer.out
    spelt = home.mssmtp("trust", "explain", "cabinet-d.test")
    assert "cabinet-b.test is listed: was it meant?\n" in spelt.out


def test_without_a_list_everything_is_deferred(
    home: Home, authority: Authority, tmp_path: Path
) -> None:
    (home.directory / "store/trust/state.json").unlink()
    for kept in (home.directory / "store/trust/lists").glob("*.xml"):
        kept.unlink()
    for target in (B, written(tmp_path, authority.issue(B_SUBJECT))):
        told = ways(home.mssmtp("trust", "explain", target, "--json").json)
        assert {verdict["decision"] for verdict in told.values()} == {"deferred"}


def test_what_is_neither_a_domain_nor_a_certificate(home: Home, tmp_path: Path) -> None:
    other = tmp_path / "texte.pem"
    other.write_text("rien")
    assert "holds no certificate" in home.mssmtp("trust", "explain", str(other)).err
    answer = home.mssmtp("trust", "explain", "pas un domaine")
    assert (answer.code, answer.out) == (2, "")
    missing = home.mssmtp("trust", "explain", "partenaire.pem")
    assert missing.code == 2
    assert "there is no such file" in missing.err


@pytest.mark.attack
def test_a_certificate_whose_name_cannot_be_read_is_one_clear_message(
    home: Home, authority: Authority, tmp_path: Path
) -> None:
    der = authority.issue(B_SUBJECT).certificate.public_bytes(Encoding.DER)
    (tmp_path / "peer.der").write_bytes(der.replace(b"cabinet", b"\xff" * 7))
    answer = home.mssmtp("trust", "explain", str(tmp_path / "peer.der"))
    assert answer.code == 1
    assert "holds no certificate" in answer.err
