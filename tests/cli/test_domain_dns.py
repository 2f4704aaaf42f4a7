"""`mssmtp domain dns`: what to publish so that mail programs set themselves up."""

from __future__ import annotations

import dns.rrset
import dns.zone
import pytest

from tests.authority import A_DOMAIN
from tests.home import Home


@pytest.mark.requirement("CL-26", "OP-85")
def test_a_zone_takes_the_records_as_they_are_printed(home: Home) -> None:
    home.edit(
        '# imaps = { host = "127.0.0.1", port = … }',
        'imaps = { host = "127.0.0.1", port = 1993, published_port = 993 }',
    )
    answer = home.mssmtp("domain", "dns", A_DOMAIN)
    assert answer.code == 0, answer.err
    head = (
        f"$ORIGIN {A_DOMAIN}.\n@ 3600 IN SOA ns hostmaster 1 2 3 4 5\n@ 3600 IN NS ns.autre.test.\n"
    )
    zone = dns.zone.from_text(head + answer.out, relativize=False)
    (imaps,) = zone.find_rdataset(f"_imaps._tcp.{A_DOMAIN}.", "SRV")
    assert (imaps.priority, imaps.port, str(imaps.target)) == (10, 993, "mx.hopital-a.test.")
    (pop,) = zone.find_rdataset(f"_pop3._tcp.{A_DOMAIN}.", "SRV")
    assert str(pop.target) == "."
    assert "autoconfig" not in answer.out  # no pages, so nobody answers there


def test_machines_get_the_same_and_the_names_that_the_certificate_lacks(home: Home) -> None:
    home.edit(
        '# web = { host = "127.0.0.1", port = … }', 'web = { host = "127.0.0.1", port = 8443 }'
    )
    home.edit("# certificate_file = (none)", 'certificate_file = "certs/operator.pem"')
    home.edit("# key_file = (none)", 'key_file = "certs/operator.key"')
    home.edit(
        '# portal_url = "https://portail.medimail.example"',
        'portal_url = "https://portail.hopital-a.test:8443/x"',
    )
    answer = home.mssmtp("domain", "dns", A_DOMAIN.upper(), "--json")
    assert answer.code == 0, answer.err
    found = answer.json
    assert found["domain"] == A_DOMAIN
    by_name = {each["name"]: each for each in found["records"]}
    assert by_name[f"autoconfig.{A_DOMAIN}."]["value"] == "portail.hopital-a.test."
    assert by_name[f"_autodiscover._tcp.{A_DOMAIN}."]["value"] == (
        "0 1 8443 portail.hopital-a.test."
    )
    names = [f"autoconfig.{A_DOMAIN}", f"autodiscover.{A_DOMAIN}"]
    assert found["names_missing_in_certificate"] == names
    told = home.mssmtp("domain", "dns", A_DOMAIN).out
    assert f"does not name {names[0]} and {names[1]}" in " ".join(told.split())


def test_a_domain_of_others_is_refused_in_french(home: Home) -> None:
    answer = home.mssmtp("domain", "dns", "ailleurs.test")
    assert answer.code == 2
    assert "n'est pas un domaine servi ici" in answer.err
