"""`mssmtp trust history`, `diff`, `confirm`, `rollback`, `refresh`, `forecast`, and its alarms."""

from __future__ import annotations

import json
import os
import pwd
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from mssmtp.cli import trust_lists
from mssmtp.demo.authority import Authority, Make, Subject, row
from mssmtp.demo.web import Site, https_context
from mssmtp.trust_feed import PeerFiles, TrustFiles
from mssmtp.whitelist import Row
from tests.authority import A_DOMAIN, A_SUBJECT, B_DOMAIN, B_SUBJECT
from tests.home import CLOCK, CRL_URLS, LIST_URL, Home, put_rows

ME = pwd.getpwuid(os.getuid()).pw_name
OTHER = Subject("mx2.cabinet-b.test", "312345678900017", "ALPHA OPERATEUR")


def rows(**dns: str) -> list[Row]:
    named = {A_DOMAIN: A_SUBJECT.text, B_DOMAIN: OTHER.text, "nouveau.test": B_SUBJECT.text}
    return [row(name, dn, updated=CLOCK.now()) for name, dn in (named | dns).items()]


def digest(home: Home, name: str) -> str:
    state = home.trust_files.state()
    listed = state.held.listed if name == "held" and state.held else state.listed
    assert listed is not None
    return listed.sha256


@pytest.fixture
def changed(home: Home, authority: Authority) -> Home:
    """A second list: another certificate for cabinet-b, a new domain, the patients' gone."""
    put_rows(home, authority, rows())
    return home


def test_the_last_change_is_shown_domain_by_domain(changed: Home) -> None:
    told = changed.mssmtp("trust", "diff", "--json").json
    assert (told["added"], told["removed"]) == (["nouveau.test"], ["patient.test"])
    [change] = told["changed"]
    assert change["domain"] == B_DOMAIN
    assert (change["added_names"], change["removed_names"]) == ([OTHER.text], [B_SUBJECT.text])
    people = changed.mssmtp("trust", "diff")
    assert people.code == 0
    assert "3 rows become 3; 1 domains come, 1 go, 1 change their certificates" in people.out
    assert f"    - {B_SUBJECT.text}" in people.out


def test_a_diff_of_everybody_is_short_for_people(home: Home, authority: Authority) -> None:
    come = [row(f"d{n:04}.test", B_SUBJECT.text, updated=CLOCK.now()) for n in range(150)]
    put_rows(home, authority, [*rows(), *come])
    people = home.mssmtp("trust", "diff").out
    assert people.count("\n+ d0") == 100
    assert "+ … and 51 more; --json has them all." in people
    assert len(home.mssmtp("trust", "diff", "--json").json["added"]) == 151


def test_a_diff_may_name_digests_and_files(changed: Home, tmp_path: Path) -> None:
    first = changed.trust_files.state().accepted[0]
    file = tmp_path / "liste.xml"
    file.write_bytes(changed.trust_files.octets(first.file))
    by_digest = changed.mssmtp("trust", "diff", first.sha256[:10], "in-force", "--json").json
    assert changed.mssmtp("trust", "diff", str(file), "--json").json == by_digest
    assert changed.mssmtp("trust", "diff", first.sha256, str(file)).out.endswith(
        "Nothing that decides or is shown has changed.\n"
    )
    assert "is the digest of no kept list" in changed.mssmtp("trust", "diff", "abcdef12").err
    assert "there is no such list now" in changed.mssmtp("trust", "diff", "held").err
    file.write_bytes(file.read_bytes().replace(b"cabinet", b"kabinet", 1))
    spoilt = changed.mssmtp("trust", "diff", str(file))
    assert spoilt.code == 1
    assert "signature: digest" in spoilt.err


def test_a_rollback_is_undone_and_both_are_in_the_history(changed: Home) -> None:
    first, second = changed.trust_files.state().accepted
    done = changed.mssmtp("trust", "rollback", "--json")
    assert (done.code, done.json["sha256"]) == (0, first.sha256)
    shown = changed.mssmtp("trust", "show")
    assert f"was rolled back by {ME}" in shown.out
    assert changed.mssmtp("trust", "show", "--json").json["sha256"] == first.sha256
    assert "is in force already" in changed.mssmtp("trust", "rollback", first.sha256).err
    assert "within two seconds" in changed.mssmtp("trust", "rollback", "--undo").out
    assert digest(changed, "in force") == second.sha256
    assert changed.mssmtp("trust", "rollback", "--undo").code == 1
    told = changed.mssmtp("trust", "history", "--json").json
    assert [(e["what"], e["who"]) for e in told["events"][:2]] == [
        ("undone", ME),
        ("rolled back", ME),
    ]
    assert [each["in_force"] for each in told["lists"]] == [True, False]
    history = changed.mssmtp("trust", "history").out
    assert second.sha256[:12] in history
    assert "date of the list" in history
    assert f"{first.date:%Y-%m-%d %H:%M:%S} UTC" in history
    assert "in force" in history
    assert "_" not in history  # the names of the JSON are for machines


def test_an_error_is_json_for_machines(home: Home) -> None:
    answer = home.mssmtp("trust", "rollback", "--json")
    assert (answer.code, answer.out) == (1, "")
    assert json.loads(answer.err) == {
        "error": "rollback",
        "why": "no list was in force before this one",
        "remedy": "`mssmtp trust history` shows what is kept.",
    }
    assert answer.err.count("\n") == 1
    wrong = home.mssmtp("trust", "show", "--json", "un domaine")
    assert (wrong.code, set(json.loads(wrong.err))) == (2, {"error", "why", "remedy"})
    assert home.mssmtp("trust", "rollback").err.startswith("mssmtp: rollback: ")


def test_without_an_earlier_list_there_is_nothing_to_go_back_to(home: Home) -> None:
    for command in ("rollback", "diff"):
        answer = home.mssmtp("trust", command)
        assert (answer.code, answer.out) == (1, "")
        assert f"{command}: no list was in force before" in answer.err


def test_a_held_list_is_shown_compared_and_confirmed(home: Home, authority: Authority) -> None:
    before = digest(home, "in force")
    put_rows(home, authority, rows()[:1], ("shrinks by 66.7 %: 3 rows to 1",))
    held = digest(home, "held")
    shown = home.mssmtp("trust", "show")
    assert shown.code == 1
    assert "is held and not used: shrinks by 66.7 %" in shown.out
    assert f"mssmtp trust confirm {held[:12]}" in shown.out
    told = home.mssmtp("trust", "show", "--json").json
    assert (told["sha256"], told["held"]) == (before, held)
    assert told["alarms"][0]["severity"] == "error"
    gone = home.mssmtp("trust", "diff", "--json").json
    assert gone["removed"] == [B_DOMAIN, "patient.test"]
    assert "is not the list that is held" in home.mssmtp("trust", "confirm", before).err
    confirmed = home.mssmtp("trust", "confirm", held[:8])
    assert confirmed.code == 0
    assert digest(home, "in force") == held
    assert home.mssmtp("trust", "confirm", held).code == 1
    assert home.mssmtp("trust", "show").code == 0


def test_a_list_without_our_domain_is_an_alarm_of_show(home: Home, authority: Authority) -> None:
    put_rows(home, authority, rows()[1:])
    answer = home.mssmtp("trust", "show", "--json")
    assert answer.code == 1
    assert A_DOMAIN in {alarm["what"] for alarm in answer.json["alarms"]}


# ---------------------------------------------------------------- refresh


@pytest.fixture
def site(home: Home, authority: Authority, tmp_path: Path) -> Iterator[Path]:
    """The trust space's web server; the directory of what it publishes."""
    published = tmp_path / "published"
    published.mkdir()
    web = authority.issue(Subject("liste.test"), Make(hosts=("127.0.0.1",)))
    files = web.write(tmp_path / "web", "web")
    context = https_context(files.certificate_file, files.key_file)
    for name, crl in zip(("racine.crl", "organisations.crl"), authority.crls(), strict=True):
        (published / name).write_bytes(crl)
    list_site, crl_site = Site(published, 0, context), Site(published, 0)
    home.edit(LIST_URL, f"https://127.0.0.1:{list_site.port}/liste.xml")
    for url in CRL_URLS:
        home.edit(url, url.replace("crl.test", f"127.0.0.1:{crl_site.port}"))
    yield published
    list_site.close()
    crl_site.close()


def test_a_refresh_without_a_server_fetches_by_itself(
    home: Home, authority: Authority, site: Path
) -> None:
    (site / "liste.xml").write_bytes(authority.sign_whitelist(rows(), CLOCK.now()))
    answer = home.mssmtp("trust", "refresh", "--json")
    assert answer.code == 0, answer.json
    assert answer.json["fetched_by"] == "this command"
    assert {each["obtained"] for each in answer.json["addresses"].values()} == {True}
    assert home.trust_files.state().listed is not None
    assert answer.json["in_force"] == digest(home, "in force")
    again = home.mssmtp("trust", "refresh")
    assert again.code == 0
    assert "No server runs on this home" in again.err


def test_a_refresh_says_why_an_address_gave_nothing(
    home: Home, authority: Authority, site: Path
) -> None:
    (site / "racine.crl").unlink()
    altered = authority.sign_whitelist(rows(), CLOCK.now()).replace(b"nouveau", b"vieille")
    (site / "liste.xml").write_bytes(altered)
    answer = home.mssmtp("trust", "refresh", "--json")
    assert answer.code == 1
    reasons = {url.rpartition("/")[2]: a["reason"] for url, a in answer.json["addresses"].items()}
    assert reasons["organisations.crl"] == ""
    assert "404" in reasons["racine.crl"]
    assert "signature" in reasons["liste.xml"]
    doctor = {f["what"]: f for f in home.mssmtp("doctor", "--json").json}
    assert "404" in doctor["CRLs"]["why"]
    assert "then operators are deferred" in doctor["CRLs"]["why"]
    assert doctor["CRLs"]["severity"] == "warning"
    assert "the last try failed: signature" in doctor["whitelist"]["why"]


def test_a_refresh_beside_a_server_asks_it_and_waits(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = TrustFiles(home.settings.store.home / "trust")
    assert server.take_lock()
    moments: list[datetime] = []

    def a_moment(_: float) -> None:
        # What the fetching worker does within two seconds of the request.
        if not moments:
            assert server.refresh_requested()
        moments.append(CLOCK.now())
        server.checked_list(CLOCK.now())
        for url in CRL_URLS:
            server.note_failure(url, "no route", CLOCK.now())

    monkeypatch.setattr(trust_lists, "_pause", a_moment)
    answer = home.mssmtp("trust", "refresh", "--json")
    server.release()
    assert len(moments) == 1
    assert answer.code == 1
    assert answer.json["fetched_by"] == "server"
    assert answer.json["addresses"][LIST_URL] == {"obtained": True, "reason": ""}
    assert answer.json["addresses"][CRL_URLS[0]]["reason"] == "no route"


# ---------------------------------------------------------------- forecast


def test_the_forecast_of_a_home(home: Home, authority: Authority) -> None:
    peer = Make(authority.now - timedelta(days=900), authority.now + timedelta(days=20))
    seen = authority.issue(B_SUBJECT, peer).certificate
    PeerFiles(home.settings.store.home / "trust" / "peers").saw([seen], CLOCK.now())
    answer = home.mssmtp("trust", "forecast", "--json")
    assert answer.code == 0
    told = answer.json
    assert [each["at"] for each in told] == sorted(each["at"] for each in told)
    [of_peer] = [each for each in told if each["whose"] == "peer"]
    assert of_peer["days_left"] == 19
    assert "Tell them: 01 00 00 00 00" in of_peer["remedy"]
    years = home.mssmtp("trust", "forecast", "--days", "2000").out
    assert "our certificate CN=mx.hopital-a.test" in years
    assert "certificate of the list's signer CN=alb.mssante.example" in years
    assert years.index("19 days") < years.index("our certificate")


def test_what_has_ended_makes_the_forecast_fail(home: Home, authority: Authority) -> None:
    ended = Make(authority.now - timedelta(days=90), authority.now - timedelta(days=1))
    authority.issue(A_SUBJECT, ended).write(home.directory / "certs", "operator")
    answer = home.mssmtp("trust", "forecast")
    assert answer.code == 1
    assert "ended" in answer.out


def test_a_list_that_does_not_verify_any_more_is_not_chosen(
    changed: Home, authority: Authority
) -> None:
    """No worker would take it: the next start would have none."""
    files = changed.trust_files
    first = files.state().accepted[0]
    kept = changed.settings.store.home / "trust" / first.file
    kept.write_bytes(kept.read_bytes().replace(b"cabinet", b"kabinet", 1))
    refused = changed.mssmtp("trust", "rollback")
    assert refused.code == 1
    assert "signature: digest" in refused.err
    put_rows(changed, authority, rows()[:1], ("shrinks by 66.7 %: 3 rows to 1",))
    held = files.held()
    assert held is not None
    waiting = changed.settings.store.home / "trust" / held.listed.file
    waiting.write_bytes(waiting.read_bytes()[:-1])
    assert "not XML" in changed.mssmtp("trust", "confirm", held.listed.sha256).err
    assert files.state().rolled_back is None
    assert files.held() == held


def test_doctor_says_that_an_earlier_list_serves(changed: Home) -> None:
    newest = changed.trust_files.state().accepted[-1]
    (changed.settings.store.home / "trust" / newest.file).write_bytes(b"")
    answer = changed.mssmtp("doctor")
    assert answer.code == 1
    assert "an earlier one serves" in answer.out
