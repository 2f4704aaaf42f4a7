"""A domain that is reached by other hosts than its MX."""

from __future__ import annotations

from mssmtp.config import LimitSettings
from mssmtp.config_policy import DomainRuleSettings, PolicySettings
from mssmtp.mail import Domain
from mssmtp.policy import Engine
from mssmtp.smtp_routes import Routed
from tests.smtp_out.fakes import FakeResolver

RULE = DomainRuleSettings(domain="loin.test", action="route", hosts=(Domain("mx.relais.test"),))


async def test_the_hosts_of_a_route_take_the_place_of_the_mx_and_of_nothing_else() -> None:
    engine = Engine(PolicySettings(domain_rules=(RULE,)), LimitSettings())
    routed = Routed(FakeResolver(), engine.hosts)
    assert await routed.exchangers(Domain("loin.test")) == ("mx.relais.test",)
    assert await routed.exchangers(Domain("ch.loin.test")) == ("ch.loin.test",)
    assert await routed.addresses("mx.relais.test") == ("127.0.0.1",)
