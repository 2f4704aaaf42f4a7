"""`mssmtp doctor --joining`: what can be proven is ticked, and nothing else (OP-96)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mssmtp import joining
from mssmtp.demo.authority import Authority, Identity, Make, row
from mssmtp.joining import Outside
from mssmtp.mail import Domain
from mssmtp.pki import DER
from mssmtp.tls_settings import load_certificate
from tests.authority import A_DOMAIN, A_SUBJECT, B_SUBJECT
from tests.home import CLOCK, Home, put_rows, typed

MX = "mx.hopital-a.test"
ORDER = [
    "contract",
    "certificates",
    "list and CRLs",
    "names in DNS",
    "doors",
    "tests between operators (MOTCO1)",
    "tests of the client interface (MOTCO2)",
    "report",
    "entry in the list",
    "publication in the directory",
]


@pytest.fixture
def outside(home: Home, healthy: dict[str, Identity], monkeypatch: pytest.MonkeyPatch) -> Any:
    """DNS and doors as they should be; a test changes the answers by calling it."""
    doors = "".join(
        f'{name} = {{ host = "127.0.0.1", port = {port} }}\n'
        for name, port in (("operators", 25), ("submissions", 465), ("imaps", 993))
    )
    home.edit("[listen]\n", f"[listen]\n{doors}")
    presented = home_certificate(home)
    good = Outside(
        {Domain(A_DOMAIN): (MX,)},
        {MX: ("192.0.2.25",)},
        dict.fromkeys(("operators", "submissions", "imaps"), presented),
    )
    said = [good]

    async def look(*_: object) -> Outside:
        return said[0]

    monkeypatch.setattr(joining, "look", look)

    def answer(**changes: Any) -> None:
        said[0] = dataclasses.replace(good, **changes)

    return answer


def home_certificate(home: Home) -> bytes:
    return load_certificate(home.settings.tls.users).chain[0].public_bytes(DER)


def marks(home: Home) -> dict[str, str]:
    told = home.mssmtp("doctor", "--joining", "--json").json
    return {step["title"]: step["mark"] for step in told}


@pytest.mark.requirement("OP-96")
def test_the_order_is_told_and_what_holds_is_ticked(home: Home, outside: Any) -> None:
    answer = home.mssmtp("doctor", "--joining", "--json")
    assert answer.code == 0, answer.json
    assert [step["title"] for step in answer.json] == ORDER
    assert [step["number"] for step in answer.json] == list(range(1, 11))
    proven = {step["title"] for step in answer.json if step["mark"] == "done"}
    assert proven == {ORDER[1], ORDER[2], ORDER[3], ORDER[4], ORDER[8]}
    people = [step for step in answer.json if step["mark"] == "person"]
    assert all(step["who"] and step["todo"] for step in people)
    text = home.mssmtp("doctor", "--joining").out
    assert "? 1. contract — your legal representative, with ANS" in text
    assert "✓ 2. certificates" in text
    assert "form F414" not in text, "what is done needs no instruction"


Damage = Callable[[Home, Authority, Any], object]


def ended(home: Home, authority: Authority, _: Any) -> None:
    made = Make(authority.now - timedelta(days=9), authority.now - timedelta(days=1))
    authority.issue(A_SUBJECT, made).write(home.directory / "certs", "operator")


def unlisted(home: Home, authority: Authority, _: Any) -> None:
    put_rows(home, authority, [row(A_DOMAIN, B_SUBJECT.text, updated=CLOCK.now())])


MISSING: dict[str, tuple[Damage, str, str]] = {
    "expired": (ended, ORDER[1], "refused, expired"),
    "no key": (
        lambda home, *_: (home.directory / "certs/operator.key").unlink(),
        ORDER[1],
        "cannot be read",
    ),
    "no MX": (
        lambda _, __, say: say(exchangers={Domain(A_DOMAIN): "nothing found"}),
        ORDER[3],
        "nothing found",
    ),
    "the domain itself": (
        lambda _, __, say: say(exchangers={Domain(A_DOMAIN): (Domain(A_DOMAIN),)}),
        ORDER[3],
        "has no MX record. Publish",
    ),
    "another MX": (
        lambda _, __, say: say(exchangers={Domain(A_DOMAIN): ("mx.autre.test",)}),
        ORDER[3],
        "mx.autre.test. Publish MX 10 mx.hopital-a.test.",
    ),
    "no address": (lambda _, __, say: say(addresses={}), ORDER[3], "was not asked"),
    "door shut": (
        lambda _, __, say: say(doors={"operators": "does not answer"}),
        ORDER[4],
        "does not answer",
    ),
    "another name": (unlisted, ORDER[8], "no row binds it to"),
}


@pytest.mark.requirement("OP-96")
@pytest.mark.parametrize("name", MISSING)
def test_what_is_missing_is_not_ticked_and_says_why(
    home: Home, authority: Authority, outside: Any, name: str
) -> None:
    damage, step, why = MISSING[name]
    damage(home, authority, outside)
    answer = home.mssmtp("doctor", "--joining")
    assert answer.code == 1
    assert f"✗ {ORDER.index(step) + 1}. {step}" in answer.out
    assert why in answer.out


def test_a_door_with_another_certificate_is_not_ours(
    home: Home, outside: Any, healthy: dict[str, Identity]
) -> None:
    other = healthy["cabinet-b.test"].certificate.public_bytes(DER)
    outside(doors=dict.fromkeys(("operators", "submissions", "imaps"), other))
    assert marks(home)["doors"] == "missing"


def test_a_closed_door_that_is_needed_is_missing(home: Home, outside: Any) -> None:
    home.edit('imaps = { host = "127.0.0.1", port = 993 }\n', "")
    answer = home.mssmtp("doctor", "--joining")
    assert "door imaps: is closed by the settings" in answer.out


def test_a_home_that_is_all_new_is_told_everything(tmp_path: Path, outside: Any) -> None:
    made = tmp_path / "neuf"
    assert typed("init", "--home", str(made), "--domain", A_DOMAIN).code == 0
    outside(exchangers={}, addresses={}, doors={})
    answer = typed("doctor", "--joining", "--config", str(made / "mssmtp.toml"), "--json")
    assert answer.code == 1
    told = {step["title"]: step["mark"] for step in answer.json}
    assert set(told.values()) == {"missing", "person"}
    assert [name for name in ORDER if told[name] == "missing"] == [
        ORDER[1],
        ORDER[2],
        ORDER[3],
        ORDER[4],
        ORDER[8],
    ]
