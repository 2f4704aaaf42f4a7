"""`mssmtp doctor`: one broken thing hides nothing else, and every finding has a remedy."""

from __future__ import annotations

import json
import shutil
import socket
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta

import pytest

from mssmtp.demo.authority import Authority, Make, row
from mssmtp.trust_feed import TrustFiles
from mssmtp.whitelist import ListRefused
from tests.authority import A_DOMAIN, A_SUBJECT, B_DOMAIN, B_SUBJECT
from tests.home import CLOCK, Home, put_rows

Damage = Callable[[Home, Authority], object]
ROWS = tuple(
    row(name, subject.text, updated=CLOCK.now())
    for name, subject in ((A_DOMAIN, A_SUBJECT), (B_DOMAIN, B_SUBJECT))
)


def certificate(*, days: int, subject: object = A_SUBJECT) -> Damage:
    def damage(home: Home, authority: Authority) -> None:
        now = authority.now
        made = Make(now - timedelta(days=400), now + timedelta(days=days))
        authority.issue(A_SUBJECT, made).write(home.directory / "certs", "operator")

    return damage


def renamed(home: Home, authority: Authority) -> None:
    authority.issue(B_SUBJECT).write(home.directory / "certs", "operator")


def bit_flipped(home: Home, authority: Authority) -> None:
    with closing(sqlite3.connect(home.directory / "store/store.db")) as db, db:
        db.execute("UPDATE mailboxes SET unseen = 7")


def without_root_crl(home: Home, authority: Authority) -> None:
    state = home.directory / "store/trust/state.json"
    told = json.loads(state.read_bytes())
    del told["crls"]["http://crl.test/racine.crl"]
    state.write_text(json.dumps(told))


def held(home: Home, authority: Authority) -> None:
    put_rows(home, authority, ROWS, reasons=("shrinks by 50.0 %: 6 rows to 3",))


def twice(home: Home, authority: Authority) -> None:
    listed = put_rows(home, authority, ROWS)
    with pytest.raises(ListRefused, match="same date"):
        put_rows(home, authority, ROWS[::-1], date=listed.date)


def not_obtained(home: Home, authority: Authority) -> None:
    state = home.directory / "store/trust/state.json"
    told = json.loads(state.read_bytes())
    told["published"]["checked_at"] = (CLOCK.now() - timedelta(hours=73)).isoformat()
    state.write_text(json.dumps(told))


ERRORS: dict[str, tuple[Damage, str, str, str]] = {
    "expired": (certificate(days=-10), "certificate for operators", "has expired", "Order"),
    "key": (
        lambda home, _: (home.directory / "certs/operator.key").unlink(),
        "certs/operator.key",
        "cannot be read",
        "Put there the PEM private key.",
    ),
    "open key": (
        lambda home, _: (home.directory / "certs/operator.key").chmod(0o644),
        "certs/operator.key",
        "can be read by others",
        "chmod 600",
    ),
    "garbage": (
        lambda home, _: (home.directory / "certs/operator.pem").write_text("x"),
        "certs/operator.pem",
        "holds no PEM certificate",
        "Export",
    ),
    "anchors": (
        lambda home, _: (home.directory / "certs/ca.pem").unlink(),
        "certs/ca.pem",
        "cannot be read",
        "Check the path",
    ),
    "no list": (
        lambda home, _: shutil.rmtree(home.directory / "store/trust"),
        "whitelist",
        "every operator is deferred with 451 4.7.5",
        "https://liste.test/liste.xml answers",
    ),
    "no CRL of the root": (
        without_root_crl,
        "CRLs",
        "none of CN=TEST AC RACINE IGC-SANTE ELEMENTAIRE",
        "pki.crl_urls",
    ),
    "held list": (held, "UTC", "is held and not used: shrinks by 50.0 %", "mssmtp trust confirm"),
    "two lists of one date": (twice, "UTC", "exists twice with other content", "Tell ANS"),
    "list not obtained for three days": (
        not_obtained,
        "whitelist",
        "last obtained",
        "Mail goes on with this list.",
    ),
    "other name": (renamed, "hopital-a.test", "peers refuse us", "Install the listed certificate"),
    "not listed": (
        lambda home, _: home.edit('domains = ["hopital-a.test"]', 'domains = ["autre.test"]'),
        "autre.test",
        "not in the whitelist",
        "Declare it to ANS",
    ),
    "relaxed": (
        lambda home, _: home.edit("[policy]\n", '[policy]\nrelax = ["recipient.listed"]\n'),
        "policy rule recipient.listed",
        "is relaxed by this configuration",
        "Only a test profile",
    ),
    "unknown rule": (
        lambda home, _: home.edit("[policy]\n", '[policy]\nrelax = ["nothing"]\n'),
        "policy.relax",
        "is not the name of a must rule",
        "The must rules are",
    ),
    "no store": (
        lambda home, _: (home.directory / "store/store.db").unlink(),
        "store.home",
        "there is no store",
        "mssmtp init",
    ),
    "invariant": (bit_flipped, "store", "counters", "Keep a copy"),
}


def test_a_home_in_order_is_all_green_but_for_the_antivirus_and_code_0(home: Home) -> None:
    answer = home.mssmtp("doctor", "--deep", "--json")
    assert answer.code == 0
    assert {f["what"] for f in answer.json if f["severity"] != "ok"} == {"antivirus"}
    what = {finding["what"] for finding in answer.json}
    assert {"whitelist", "CRLs", "policy", "disk", "queue", "store"} <= what
    people = home.mssmtp("doctor")
    assert people.code == 0
    assert "every invariant holds" in people.out


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_is_code_1_with_why_and_remedy_beside_the_rest(
    home: Home, authority: Authority, name: str
) -> None:
    damage, what, why, remedy = ERRORS[name]
    damage(home, authority)
    answer = home.mssmtp("doctor", "--json")
    assert answer.code == 1
    found = [f for f in answer.json if f["severity"] == "error" and f["what"].endswith(what)]
    assert found, answer.json
    assert why in found[0]["why"]
    assert remedy in found[0]["remedy"]
    assert answer.json[0]["severity"] == "error", "worst first"
    assert any(finding["severity"] == "ok" for finding in answer.json)
    assert all(f["why"] for f in answer.json)


def test_a_table_of_rights_that_opens_more_than_the_shipped_one_is_a_warning(home: Home) -> None:
    line = '[[policy.habilitation]]\nname = "more"\nboxes = ["INT"]\nto = ["operators"]\n'
    home.edit("[queue]", f"{line}\n[queue]")
    answer = home.mssmtp("doctor", "--json")
    assert answer.code == 0
    (found,) = (f for f in answer.json if f["what"] == "policy habilitation")
    assert found["severity"] == "warning"
    assert "INT, certified, to operators (line more)" in found["why"]


def test_a_certificate_that_ends_soon_is_a_warning_only(home: Home, authority: Authority) -> None:
    certificate(days=20)(home, authority)
    answer = home.mssmtp("doctor")
    assert answer.code == 0
    assert answer.out.startswith("warning certificate for operators: expires in ")


def clamd_of(home: Home, place: object) -> None:
    home.edit("[antivirus]\n", f'[antivirus]\nclamd = "{place}"\n')


@pytest.mark.requirement("OP-68")
def test_no_antivirus_is_a_warning_and_one_that_is_silent_an_error(home: Home) -> None:
    (found,) = (f for f in home.mssmtp("doctor", "--json").json if f["what"] == "antivirus")
    assert found["severity"] == "warning"
    assert "not scanned" in found["why"]
    clamd_of(home, home.directory / "nobody.ctl")
    answer = home.mssmtp("doctor", "--json")
    assert answer.code == 1
    (found,) = (f for f in answer.json if f["what"] == "antivirus")
    assert found["severity"] == "error"
    assert "every message is deferred" in found["why"]


@pytest.mark.parametrize(
    ("version", "severity"),
    [
        ("ClamAV 1.0.7", "ok"),
        (f"ClamAV 1.0.7/27450/{CLOCK.now() - timedelta(days=1):%a %b %d %H:%M:%S %Y}", "ok"),
        ("ClamAV 1.0.7/27450/Sat Nov  9 09:41:23 2024", "warning"),
    ],
    ids=("none", "of yesterday", "old"),  # the same in every process that collects it
)
def test_old_signatures_are_a_warning(home: Home, version: str, severity: str) -> None:
    place = home.directory / "clamd.ctl"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(place))
        server.listen()

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                assert connection.recv(100) == b"zVERSION\0"
                connection.sendall(version.encode() + b"\0")

        thread = threading.Thread(target=answer)
        thread.start()
        clamd_of(home, place)
        told = home.mssmtp("doctor", "--json").json
        thread.join()
    assert [f["severity"] for f in told if f["what"] == "antivirus"] == [severity]


def test_a_rollback_in_effect_is_a_warning(home: Home, authority: Authority) -> None:
    files = TrustFiles(home.directory / "store" / "trust")
    first = files.state().accepted[0]
    put_rows(home, authority, ROWS)
    files.roll_back(first.sha256, "anne", CLOCK.now())
    answer = home.mssmtp("doctor")
    assert answer.code == 0
    assert "warning whitelist: was rolled back by anne" in answer.out
    assert "mssmtp trust rollback --undo" in answer.out


def test_deep_authenticates_every_sealed_object(home: Home) -> None:
    with home.store() as store:
        letter = store.seal(b"Subject: essai\r\n\r\ntexte\r\n")
        bal = store.read(lambda r: r.bals()).result()[0]
        store.write(
            lambda w: w.append(w.mailboxes(bal.id)[0].id, letter, frozenset(), CLOCK.now())
        ).result()
    with closing(sqlite3.connect(home.directory / "store/store.db")) as db, db:
        db.execute("UPDATE blobs SET data = zeroblob(length(data))")
    assert home.mssmtp("doctor").code == 0
    deep = home.mssmtp("doctor", "--deep")
    assert deep.code == 1
    assert "chunk 0 does not authenticate" in deep.out
