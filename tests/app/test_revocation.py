"""What is revoked or taken out of the list counts in every open session of the real server."""

from __future__ import annotations

import smtplib
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

import pytest

from mssmtp.demo.authority import Authority, row
from mssmtp.trust_feed.fetch import Validators
from tests.app.server import B_SENDER, Site, serving, until
from tests.authority import A_DOMAIN, A_SUBJECT, B_SUBJECT, MakeCrl, make_crl
from tests.home import CLOCK, put_rows

pytestmark = pytest.mark.timeout(90)


def mail(session: smtplib.SMTP) -> str:
    """The reply to MAIL in a session that stays open."""
    code, text = session.mail(B_SENDER)
    session.rset()
    return f"{code} {text.decode()}"


def refused(session: smtplib.SMTP, reply: str) -> bool:
    return mail(session).startswith(reply)


@pytest.mark.attack
@pytest.mark.requirement("OP-08", "OP-09", "OP-34")
def test_att_25_revocation_and_removal_count_at_the_next_mail_of_open_sessions(
    site: Site, authority: Authority
) -> None:
    """Two workers, sessions on both; nothing is restarted, no connection is closed."""
    gone, kept = site.peer, authority.issue(B_SUBJECT)
    with serving(site, workers=2), ExitStack() as stack:
        revoked = [stack.enter_context(site.as_operator()) for _ in range(4)]
        honest = stack.enter_context(replace(site, peer=kept).as_operator())
        assert {mail(each)[:4] for each in (*revoked, honest)} == {"250 "}

        crl = make_crl(authority, MakeCrl([gone.certificate.serial_number]))
        url = site.home.settings.pki.crl_urls[1]
        site.home.trust_files.keep_crl(url, crl, CLOCK.now(), Validators())
        for each in revoked:
            until(partial(refused, each, "554 5.7.5"), "revoked", 20)
        assert mail(honest).startswith("250 ")

        rest = [row(A_DOMAIN, A_SUBJECT.text, updated=CLOCK.now())]
        put_rows(site.home, authority, rest)
        until(partial(refused, honest, "554 5.7.1"), "taken out of the list", 20)
        for each in (*revoked, honest):
            assert each.noop()[0] == 250
