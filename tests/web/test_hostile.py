"""What browsers are made to do, and what is sent by what is no browser."""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import re
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from mssmtp.web import connections, door, origin
from mssmtp.web.page import Answer, Call, Needs, Page, Sent, Shown
from mssmtp.web.pages import ALL
from tests.web.browser import Browser
from tests.web.conftest import PASSWORD, PORTAL, Place

ADA = "ada.hostile@cabinet.example"
COOKIE = "__Host-session"
SAME = {"Origin": "null", "Sec-Fetch-Site": "same-origin"}


@pytest.fixture(scope="module")
def ada(place: Place) -> Browser:
    """Somebody's browser who is logged in; tests leave it so."""
    place.person(ADA)
    browser = place.browser()
    assert browser.log_in(ADA, PASSWORD).path == "/compte"
    return browser


def is_in(browser: Browser) -> bool:
    return browser.get("compte").status == 200 and browser.get("compte").path == "/compte"


# ---------------------------------------------------------------- forms of other sites


@pytest.mark.attack("ATT-38")
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "null", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "https://localhost.evil.example"},
        {"Origin": "http://localhost"},
        {"Sec-Fetch-Site": "same-site"},
    ],
    ids=str,
)
def test_a_form_of_another_site_changes_nothing(ada: Browser, headers: dict[str, str]) -> None:
    """Even with the right value in it."""
    value = ada.get("compte").fields["csrf"]
    refused = ada.ask("POST", "deconnexion", {"csrf": value}, headers)
    assert refused.status == 403
    assert is_in(ada)


@pytest.mark.attack("ATT-38")
def test_a_form_without_the_value_of_this_session_changes_nothing(
    place: Place, ada: Browser
) -> None:
    stranger = place.browser()
    of_another = stranger.get("connexion").fields["csrf"]
    token = ada.cookies[COOKIE]
    for value in ("", "0" * 64, of_another, token, origin.form_value(token)[:-1], "é"):
        assert ada.ask("POST", "deconnexion", {"csrf": value}, SAME).status == 403
    assert ada.ask("POST", "deconnexion", {}, SAME).status == 403
    assert is_in(ada)


@pytest.mark.attack("ATT-38")
def test_nobody_is_logged_in_to_the_account_of_who_made_the_form(place: Place) -> None:
    """Login CSRF: before the login there is a value too, of this browser alone."""
    attacker, victim = place.browser(), place.browser()
    value = attacker.get("connexion").fields["csrf"]
    for browser in (victim, attacker):
        browser.get("connexion")
    filled = {"csrf": value, "usual": ADA, "password": PASSWORD}
    assert victim.ask("POST", "connexion", filled, SAME).status == 403
    assert "__Host-essai" not in victim.cookies


@pytest.mark.attack("ATT-38")
def test_every_page_that_changes_something_wants_the_value_and_every_inner_one_a_session(
    place: Place, ada: Browser
) -> None:
    stranger = place.browser()
    for page in ALL:
        path = re.sub(r"\{\w+\}", "1", page.path)
        if page.post is not None:
            assert ada.ask("POST", path, {}, SAME).status == 403, path
            if page.needs is Needs.SESSION:
                answer = stranger.ask("POST", path, {}, SAME)
                assert answer.headers["Location"].startswith("/connexion"), path
        if page.get is not None and page.needs is Needs.SESSION:
            answer = stranger.ask("GET", path)
            assert answer.headers["Location"].startswith("/connexion?vers="), path
    assert is_in(ada)


# ---------------------------------------------------------------- what every answer carries


@pytest.mark.attack("ATT-38")
def test_every_answer_tells_the_browser_what_it_may_do_with_it(ada: Browser) -> None:
    style = re.search(r'href="(/static/[^"]+)"', ada.get("connexion").html)
    assert style is not None
    pages = [
        ada.ask("GET", "compte"),
        ada.ask("GET", "connexion"),
        ada.ask("GET", "nulle-part"),
        ada.ask("POST", "deconnexion", {}, SAME),
        ada.ask("DELETE", "compte"),
        ada.ask("GET", "compte", headers={"Host": "evil.example"}),
    ]
    assert [each.status for each in pages] == [200, 303, 404, 403, 405, 421]
    for each in pages:
        policy = each.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert each.headers["Cache-Control"] == "no-store"
    for each in (*pages, ada.ask("GET", style.group(1))):
        told = each.headers
        assert told["X-Content-Type-Options"] == "nosniff"
        assert told["Referrer-Policy"] == "no-referrer"
        assert told["X-Frame-Options"] == "DENY"
        assert int(told["Strict-Transport-Security"].partition("=")[2]) >= 31_536_000
        assert told["Cross-Origin-Resource-Policy"] == "same-origin"
        assert told["Server"] == "mssmtp"
    static = ada.ask("GET", style.group(1))
    assert "immutable" in static.headers["Cache-Control"]
    assert ada.ask("GET", "/static/../door.py").status == 404
    assert ada.ask("GET", "/static/%2e%2e/door.py").status == 404


def test_no_page_has_a_style_or_a_script_inside(ada: Browser, place: Place) -> None:
    stranger = place.browser()
    for page in ALL:
        if page.get is None or "{" in page.path:
            continue
        browser = ada if page.needs is Needs.SESSION else stranger
        html = browser.get(page.path).html
        assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\son\w+=|\sstyle=|javascript:", html)
        assert '<html lang="fr">' in html
        for name in re.findall(r'<input id="(f-[^"]+)"', html):
            assert f'for="{name}"' in html, "a field has no label"


@pytest.mark.attack("ATT-38")
def test_only_the_host_of_the_links_and_this_machine_are_answered(
    place: Place, ada: Browser
) -> None:
    own = PORTAL.removeprefix("https://")
    for host, status in (
        (own, 200),
        (own.upper(), 200),
        ("127.0.0.1:8443", 200),
        ("[::1]:8443", 200),
        ("evil.example", 421),
        (f"{own}.evil.example", 421),
        (f"{own}:99999", 421),
        ("", 421),
        ("[", 421),
    ):
        assert ada.ask("GET", "activation", headers={"Host": host}).status == status, host


# ---------------------------------------------------------------- too much, too slow, too many


def test_a_body_beyond_the_limit_is_refused_before_it_is_read(ada: Browser, place: Place) -> None:
    assert ada.ask("POST", "connexion", {"usual": "x" * 70_000}, SAME).status == 413
    huge = {"Content-Type": "application/x-www-form-urlencoded", "Content-Length": str(1 << 40)}
    assert spoken(place, huge, b"").status == 413
    many = "&".join("a=b" for _ in range(5_000))
    assert len(many) < 65_536
    typed = {"Content-Type": "application/x-www-form-urlencoded"}
    assert spoken(place, typed, many.encode()).status == 400
    for headers, body in (
        ({"Content-Type": "application/json"}, b"{}"),
        ({"Content-Type": "multipart/form-data; boundary=x"}, b"--x--"),
        ({**typed, "Content-Encoding": "gzip"}, b"\x1f\x8b"),
        (typed, b"a=%ff%fe"),
        (typed, b"\xff"),
    ):
        assert spoken(place, headers, body).status == 400


def spoken(place: Place, headers: dict[str, str], body: bytes) -> http.client.HTTPResponse:
    """A POST as no browser makes it."""
    host, port = place.url.removeprefix("https://").split(":")
    context = ssl.create_default_context(cafile=str(place.anchors))
    connection = http.client.HTTPSConnection(host, int(port), context=context, timeout=10)
    try:
        connection.putrequest("POST", "/connexion")
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            connection.putheader(name, value)
        connection.endheaders()
        connection.send(body)
        answer = connection.getresponse()
        answer.read()
        return answer
    finally:
        connection.close()


def plain(place: Place) -> ssl.SSLSocket:
    host, port = place.url.removeprefix("https://").split(":")
    context = ssl.create_default_context(cafile=str(place.anchors))
    sock = socket.create_connection((host, int(port)), timeout=10)
    return context.wrap_socket(sock, server_hostname=host)


@pytest.mark.parametrize(
    "said",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 20_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nZZ<script>\r\n",
        b"GET /\r\nSet-Cookie: x HTTP/1.1\r\n\r\n",
    ],
    ids=["noise", "long", "two lengths", "chunks", "split"],
)
def test_what_is_no_http_is_refused_and_nothing_of_it_comes_back(place: Place, said: bytes) -> None:
    with plain(place) as connection:
        connection.sendall(said)
        answer = connection.recv(65_536)
    status = int(answer.split(b" ", 2)[1])
    assert 400 <= status < 500
    assert b"<script>" not in answer
    assert b"yyyy" not in answer
    assert b"Set-Cookie" not in answer


def test_a_head_and_a_body_that_do_not_come_in_time_end_the_connection(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(connections, "HEAD_WITHIN_S", 0.2)
        with plain(place) as slow:
            slow.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
            assert slow.recv(100) == b""
    monkeypatch.setattr("mssmtp.web.reading.WITHIN_S", 0.2)
    head = b"POST /connexion HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n"
    with plain(place) as slow:
        slow.sendall(head + b"Content-Type: application/x-www-form-urlencoded\r\n\r\na=")
        assert slow.recv(100).startswith(b"HTTP/1.1 400 ")


def test_who_leaves_in_the_middle_of_a_refused_body_leaves_nothing_behind(place: Place) -> None:
    async def served() -> set[str]:
        return {each.get_name() for each in asyncio.all_tasks() if "RequestHandler" in str(each)}

    async def is_gone(before: set[str]) -> bool:
        """A few turns of the loop later, long before anything is given up by its time."""
        for _ in range(10_000):
            if await served() <= before:
                return True
            await asyncio.sleep(0)
        return False

    before = asyncio.run_coroutine_threadsafe(served(), place.loop).result()
    head = b"POST /connexion HTTP/1.1\r\nHost: localhost\r\nContent-Length: 90000\r\n\r\n"
    with plain(place) as early:
        early.sendall(head + b"a=")
        assert early.recv(100).startswith(b"HTTP/1.1 413 ")
    assert asyncio.run_coroutine_threadsafe(is_gone(before), place.loop).result()


def test_an_address_has_its_share_of_connections_and_of_forms(
    place: Place, make_place: Callable[..., Place]
) -> None:
    few = place.settings.web.model_copy(
        update={"connections_per_address": 2, "posts_per_minute": 3}
    )
    narrow = make_place(place.settings.model_copy(update={"web": few}))
    browser = narrow.browser()
    value = browser.get("connexion").fields["csrf"]
    statuses = [
        browser.ask("POST", "langue", {"csrf": value, "langue": "fr"}, SAME).status
        for _ in range(4)
    ]
    assert statuses == [303, 303, 303, 429]
    browser.close()
    with plain(narrow) as first, plain(narrow) as second:
        assert is_served(first)
        assert is_served(second)
        assert not is_served(plain(narrow))


def is_served(connection: ssl.SSLSocket) -> bool:
    """Whether there is room for one more."""
    with suppress(OSError):
        connection.sendall(b"HEAD /connexion HTTP/1.1\r\nHost: localhost\r\n\r\n")
        if connection.recv(65_536):
            return True
    connection.close()
    return False


# ---------------------------------------------------------------- a page that breaks


@pytest.fixture(scope="module")
def bent(place: Place, make_place: Callable[..., Place]) -> Place:
    """A door with pages that do what no page of ours does."""

    def breaks(call: Call) -> Answer:
        raise RuntimeError(f"patient {call.query['nom']}")

    def shows(call: Call) -> Answer:
        return Shown("account.html", {"person": call.query["nom"]})

    def sends(call: Call) -> Answer:
        def blocks() -> Iterator[bytes]:
            yield b"<script>alert(1)</script>"
            yield b"x" * 100_000

        return Sent(blocks(), "text/html\r\nX-Evil: 1", 'a"\r\nX-Evil: 1/é.html')

    def files(call: Call) -> Answer:
        return Shown("failure.html", status=200 + len(call.files))

    pages = (
        *ALL,
        Page("casse", Needs.NOBODY, get=breaks),
        Page("vide", Needs.NOBODY, get=shows),
        Page("envoi", Needs.NOBODY, get=sends),
        Page("depot", Needs.SESSION, post=files, most_octets=200_000, takes_files=True),
    )
    return make_place(place.settings, pages)


def test_a_fault_of_ours_is_told_by_a_reference_and_nothing_of_it(
    bent: Place, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        shown = bent.browser().get("casse?nom=Martin")
    assert shown.status == 500
    reference = re.search(r"web-\d+-\d+", shown.text)
    assert reference is not None
    assert "Martin" not in shown.html
    assert "RuntimeError" not in shown.html
    lines = [
        record.getMessage() + json.dumps(vars(record), default=str)
        for record in caplog.records
        if record.name.startswith("mssmtp.web")
    ]
    assert any("page failed" in line for line in lines)
    assert not any("nom=" in line for line in lines)
    # A value that a page forgot is a fault too, not an empty place.
    assert bent.browser().get("vide?nom=x").status == 500


@pytest.mark.attack("ATT-37")
def test_a_file_is_never_a_page_of_ours_whatever_it_is_called(bent: Place) -> None:
    sent = bent.browser().get("envoi")
    assert sent.status == 200
    assert len(sent.octets) == 100_025
    assert sent.headers["Content-Type"] == "application/octet-stream"
    assert sent.headers["Content-Disposition"].startswith("attachment; ")
    assert sent.headers["Content-Security-Policy"].startswith("sandbox")
    assert "X-Evil" not in sent.headers
    assert bent.browser().ask("HEAD", "envoi").octets == b""


@pytest.mark.attack("ATT-41")
def test_att_41_files_are_taken_from_who_is_logged_in_and_up_to_their_limit(
    bent: Place, ada: Browser
) -> None:
    inside, stranger = bent.browser(), bent.browser()
    inside.cookies = dict(ada.cookies)
    value = inside.get("compte").fields["csrf"]
    files = [("piece", (f"p{n}.txt", b"x" * 1_000, "text/plain")) for n in range(3)]
    assert inside.ask("POST", "depot", {"csrf": value}, SAME, files=files).status == 203
    big = [("piece", ("p.bin", b"x" * 300_000, "text/plain"))]
    assert inside.ask("POST", "depot", {"csrf": value}, SAME, files=big).status == 413
    refused = stranger.ask("POST", "depot", {"csrf": value}, SAME, files=files)
    assert refused.headers["Location"].startswith("/connexion")
    many = [("piece", (f"p{n}", b"x", "text/plain")) for n in range(60)]
    assert inside.ask("POST", "depot", {"csrf": value}, SAME, files=many).status == 413


def test_who_comes_when_too_many_wait_is_told_to_come_back(
    place: Place, ada: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "WAITING", -door.THREADS)
    shown = ada.get("compte")
    assert shown.status == 503
    assert "réessayez" in shown.text


def test_the_log_names_the_page_and_nothing_of_who_asked(
    place: Place, ada: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "mssmtp.web"):
        ada.get("compte?secret=abracadabra")
        ada.submit("compte", {"note": "abracadabra"}, to="langue")
    told = " ".join(str(vars(record)) for record in caplog.records)
    assert "'page': 'compte'" in told
    for each in ("abracadabra", ADA, ada.cookies[COOKIE], "127.0.0.1", "Tartempion"):
        assert each not in told


def test_a_stop_lets_what_is_in_flight_end(place: Place, make_place: Callable[..., Place]) -> None:
    brief = make_place(place.settings)
    brief.browser().get("connexion")
    brief.stop()
    with pytest.raises(ConnectionRefusedError):
        plain(brief)


@pytest.mark.attack("ATT-41")
def test_att_41_forms_with_files_have_their_share_of_memory(
    bent: Place, ada: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "UPLOADED_OCTETS", 300_000)
    monkeypatch.setattr(connections, "UPLOADED_OF_ONE", 200_000)
    bent.person("eve.hostile@cabinet.example")
    bent.person("max.hostile@cabinet.example")
    eve, also = bent.browser(), bent.browser()
    eve.log_in("eve.hostile@cabinet.example", PASSWORD)
    also.log_in("max.hostile@cabinet.example", PASSWORD)
    taken = bent.door._crowd._uploaded
    with half_sent(bent, eve, b"150000") as first:
        wait_for(lambda: taken.total() == 150_000)
        assert half_answer(bent, eve, b"60000") == 503  # beyond her own share
        assert half_answer(bent, also, None) == 503  # what says no length may be the largest
        with half_sent(bent, also, b"140000"):
            wait_for(lambda: taken.total() == 290_000)
            assert half_answer(bent, eve, b"20000") == 503  # beyond that of all
        first.sendall(b"x" * 150_000)
        assert int(first.recv(12)[9:]) == 400
    files = [("piece", ("p", b"x" * 190_000, "text/plain"))]
    value = also.get("compte").fields["csrf"]
    wait_for(lambda: not taken)
    assert also.ask("POST", "depot", {"csrf": value}, SAME, files=files).status == 201


def half_sent(place: Place, browser: Browser, length: bytes | None) -> ssl.SSLSocket:
    """A form whose head has come, and a little of its body."""
    connection = plain(place)
    told = b"Transfer-Encoding: chunked" if length is None else b"Content-Length: " + length
    brought = "; ".join(f"{name}={value}" for name, value in browser.cookies.items()).encode()
    connection.sendall(
        b"POST /depot HTTP/1.1\r\nHost: localhost\r\nCookie: " + brought + b"\r\n" + told + b"\r\n"
        b"Content-Type: multipart/form-data; boundary=x\r\n\r\n"
    )
    return connection


def half_answer(place: Place, browser: Browser, length: bytes | None) -> int:
    """The status that such a form is answered before its body has come."""
    with half_sent(place, browser, length) as connection:
        return int(connection.recv(12)[9:])


def wait_for(holds: Callable[[], bool]) -> None:
    """Until the door has seen what was sent."""
    until = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.attack("ATT-41")
@pytest.mark.parametrize(
    "body",
    [
        b"--x\r\n" + b"".join(b"A%d: b\r\n" % n for n in range(300)) + b"\r\n\r\n--x--\r\n",
        b"--x\r\nA: " + b"y" * 9_000 + b"\r\n\r\nfoo\r\n--x--\r\n",
        b"--x\r\nno field\r\n\r\nfoo\r\n--x--\r\n",
        b'--x\r\nContent-Disposition: form-data; name=a; filename="a\0b"\r\n\r\nfoo\r\n--x--\r\n',
        b'--x\r\nContent-Disposition: form-data; name="_charset_"\r\n\r\n'
        + b"y" * 99
        + b"\r\n--x--\r\n",
        b"--x\r\nContent-Disp",
    ],
    ids=lambda body: str(body[5:25]),
)
def test_a_form_of_parts_that_is_none_is_no_fault_of_ours(
    bent: Place, ada: Browser, caplog: pytest.LogCaptureFixture, body: bytes
) -> None:
    kept = "; ".join(f"{name}={value}" for name, value in ada.cookies.items())
    sent = {"Cookie": kept, "Content-Type": "multipart/form-data; boundary=x"} | SAME
    with plain(bent) as connection:
        lines = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
        head = f"POST /depot HTTP/1.1\r\nHost: localhost\r\n{lines}Content-Length: {len(body)}"
        connection.sendall(f"{head}\r\n\r\n".encode() + body)
        assert int(connection.recv(12)[9:]) == 400
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.attack("ATT-37")
def test_the_name_of_a_file_is_in_no_warning_of_the_process() -> None:
    told = subprocess.run(
        [sys.executable, "-c", _NAMED], capture_output=True, text=True, check=True
    )
    assert told.stderr == ""


_NAMED = """
import mssmtp.web.reading
from aiohttp.multipart import parse_content_disposition
parse_content_disposition("form-data; name=a; filename*=utf-99''Zoe%20Tartempion")
parse_content_disposition("form-data; filename=Zoe Tartempion")
"""
