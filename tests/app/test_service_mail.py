"""A whole server with a relay for service mail, which is not of our making."""

from __future__ import annotations

import pytest
from aiosmtpd.controller import Controller

from mssmtp.mail import Address
from mssmtp.storage import Writing
from tests.app.server import Site, letter, serving, until
from tests.free_ports import free_ports
from tests.home import ZOE
from tests.notices.relays import Said

pytestmark = pytest.mark.timeout(60)

USUAL = Address.parse("zoe.usuelle@poste.example")


@pytest.mark.requirement("SEED-61", "DEF-04")
def test_a_letter_that_comes_in_is_told_once_at_the_usual_address_by_two_workers(
    site: Site,
) -> None:
    def know(writing: Writing) -> None:
        box = writing.bal(ZOE)
        assert box is not None
        writing._set_usual(box.id, USUAL)

    with site.home.store() as store:
        store.write(know).result()
    (port,) = free_ports(1)
    said = Said()
    relay = Controller(said, "127.0.0.1", port)
    relay.start()
    try:
        site.write(
            notices__relay_host="127.0.0.1", notices__relay_port=port, notices__relay_tls="none"
        )
        with serving(site, workers=2) as server:
            for number in range(3):
                assert site.receive(letter(f"Compte rendu {number}")).startswith("250 ")
            until(lambda: len(said.letters) >= 3, "three notices")
            log = server.log
    finally:
        relay.stop()
    assert {to for to, _ in said.letters} == {str(USUAL)}
    subjects = sorted(mail["subject"] for mail in said.mails())
    assert subjects == [f"[MEDIMAIL : Reception] Compte rendu {n}" for n in range(3)]
    assert all(b"resultat dans la norme" not in octets for _, octets in said.letters)
    assert str(USUAL) not in log
    assert "Compte rendu" not in log
