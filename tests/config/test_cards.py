"""Settings of the port for cards: refused when half of them would let nobody in, or anybody."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from mssmtp.config import load
from mssmtp.config_example import Value, render
from mssmtp.config_web import CardSettings
from mssmtp.demo.authority import Authority, Identity
from mssmtp.errors import ConfigError
from mssmtp.own import space_in_force
from mssmtp.trust_feed import CARDS as CARDS_PLACE
from mssmtp.trust_feed import TrustFiles
from mssmtp.trust_feed.fetch import Validators
from tests.authority import A_DOMAIN, shared_keys
from tests.home import CLOCK, make_home, values

WEB: dict[str, Value] = {
    "listen.web": "127.0.0.1:0",
    "web.certificate_file": "certs/operator.pem",
    "web.key_file": "certs/operator.key",
}
CARDS: dict[str, Value] = {
    "listen.card": "127.0.0.1:8443",
    "web.cards.anchors_file": "certs/ca.pem",
    "web.cards.crl_urls": ("http://crl.test/cartes.crl",),
}


def without(*names: str) -> dict[str, Value]:
    return {name: value for name, value in (WEB | CARDS).items() if name not in names}


@pytest.mark.requirement("SEED-12", "OP-09")
@pytest.mark.parametrize(
    ("more", "why"),
    [
        (without("listen.card"), "go together"),
        (without("web.cards.anchors_file", "web.cards.crl_urls"), "go together"),
        (without("web.cards.anchors_file"), "is missing"),
        (without("web.cards.crl_urls"), "no card could be checked"),
        (without("listen.web"), "its browsers come from the pages"),
        (without() | {"tls.min_version": "1.3", "web.cards.max_version": "1.2"}, "below"),
        (without() | {"web.cards.url": "http://portail.example"}, "https"),
    ],
)
def test_half_a_port_for_cards_is_refused(tmp_path: Path, more: dict[str, Value], why: str) -> None:
    file = tmp_path / "mssmtp.toml"
    file.write_text(render(values() | more), "utf-8")
    with pytest.raises(ConfigError, match=why):
        load(file)


def test_the_port_is_reached_at_the_host_of_the_pages_or_where_it_is_said_to_be() -> None:
    cards = CardSettings(anchors_file=Path("cards.pem"), ocsp="ask")
    portal = "https://portail.ch-valmont.example/messagerie"
    assert cards.reached(portal, 8443) == "https://portail.ch-valmont.example:8443"
    assert cards.reached("https://[2001:db8::1]:9443", 8443) == "https://[2001:db8::1]:8443"
    named = cards.model_copy(update={"url": "https://carte.ch-valmont.example/"})
    assert named.reached(portal, 8443) == "https://carte.ch-valmont.example"


@pytest.mark.requirement("OP-100")
def test_authorities_of_cards_of_the_other_space_are_refused(
    tmp_path: Path, authority: Authority, healthy: Mapping[str, Identity]
) -> None:
    more = WEB | CARDS | {"web.cards.anchors_file": "certs/cards.pem"}
    home = make_home(tmp_path / "home", authority, healthy[A_DOMAIN], more)
    file = home.directory / "certs" / "cards.pem"
    file.write_bytes(authority.anchors_pem)
    assert space_in_force(home.settings) == "test"
    real = Authority(authority.now, make_key=shared_keys(60), prefix="")
    file.write_bytes(real.anchors_pem)
    with pytest.raises(ConfigError, match="OP-100"):
        space_in_force(home.settings)
    file.unlink()
    answer = home.mssmtp("check-config")
    assert (answer.code, "cards.pem" in answer.err) == (2, True), answer


@pytest.mark.requirement("OP-09")
def test_doctor_says_whether_cards_can_be_judged(
    tmp_path: Path, authority: Authority, healthy: Mapping[str, Identity]
) -> None:
    home = make_home(tmp_path / "home", authority, healthy[A_DOMAIN], WEB | CARDS)

    def found() -> dict[str, str]:
        (one,) = (f for f in home.mssmtp("doctor", "--json").json if f["what"] == "CRLs of cards")
        return dict(one)

    assert found()["severity"] == "error"
    assert "every card is refused" in found()["why"]
    files, now = TrustFiles(home.settings.store.home / "trust" / CARDS_PLACE), CLOCK.now()
    root, issuing = authority.crls(this_update=now)
    files.keep_crl("http://crl.test/cartes.crl", issuing, now, Validators())
    assert "none of CN=TEST AC RACINE" in found()["why"]
    files.keep_crl("http://crl.test/racine.crl", root, now, Validators())
    assert found()["severity"] == "ok"
