"""`doctor` about domains that move between operators, `explain` about one with two names."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mssmtp.demo.authority import Authority, Subject, row
from tests.authority import A_DOMAIN, A_SUBJECT, B_DOMAIN, B_SUBJECT
from tests.home import CLOCK, ZOE, Home, put_rows

DAY = timedelta(days=1)
NOW = CLOCK.now().replace(microsecond=0)
BOTH = ((A_DOMAIN, A_SUBJECT), (A_DOMAIN, B_SUBJECT), (B_DOMAIN, B_SUBJECT), (B_DOMAIN, A_SUBJECT))

SAID = [
    # key, days from now, domain, rows, what doctor says
    ("served_from", 3, A_DOMAIN, BOTH, "moves, "),
    ("served_from", 3, A_DOMAIN, BOTH[1:], "but the list does not name us for it"),
    ("served_from", -31, A_DOMAIN, BOTH, "its former operator may still hand its mail on"),
    ("forward_only_until", 3, A_DOMAIN, BOTH, "moves, "),
    ("forward_only_until", 3, A_DOMAIN, BOTH[:1], "names nobody beside us: its mail waits"),
    ("forward_only_until", -1, A_DOMAIN, BOTH, "left on "),
    ("forward_only_until", 3, B_DOMAIN, BOTH, "moves, "),
    ("forward_only_until", -1, B_DOMAIN, BOTH, "left on "),
]


@pytest.mark.requirement("OP-101")
@pytest.mark.parametrize(("key", "days", "domain", "rows", "said"), SAID)
def test_doctor_says_what_a_move_lacks(
    home: Home,
    authority: Authority,
    key: str,
    days: int,
    domain: str,
    rows: tuple[tuple[str, Subject], ...],
    said: str,
) -> None:
    put_rows(home, authority, [row(d, s.text, updated=NOW) for d, s in rows])
    with home.config_file.open("a", encoding="utf-8") as file:
        moment = (NOW + days * DAY).isoformat()
        file.write(f'\n[[domains]]\nname = "{domain}"\n{key} = {moment}\n')
    found = [f for f in home.mssmtp("doctor", "--json").json if f["what"] == f"domain {domain}"]
    (told,) = [f for f in found if said in f["why"]]
    assert (told["severity"] == "ok") == said.startswith("moves")


@pytest.mark.requirement("OP-20")
def test_explain_answers_for_a_domain_with_two_certificates(
    home: Home, authority: Authority
) -> None:
    put_rows(home, authority, [row(d, s.text, updated=NOW) for d, s in BOTH])
    answer = home.mssmtp("explain", str(ZOE), "--from", f"luc@{B_DOMAIN}")
    assert answer.code == 0, answer.err
