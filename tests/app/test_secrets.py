"""What programs log in with is in no log, no trace and on no disk, however it was handed in."""

from __future__ import annotations

import base64
import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.app.server import Site, serving
from tests.canary.finder import secrets_under
from tests.home import PASSWORD, ZOE

NUL = "\0"
WRONG, ELSEWHERE, TOKEN = "FauxSecret-4711", "AutrePlace-8152", "jeton.PscAccess-9263"
SECRETS = {
    "the password": PASSWORD,
    "a wrong password": WRONG,
    "a password in another place": ELSEWHERE,
    "a token": TOKEN,
}


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


BEARER = b64(f"user={ZOE}\x01auth=Bearer {TOKEN}\x01\x01")
IMAP = (
    (f"a LOGIN {ZOE} {WRONG}", f"a LOGIN {ELSEWHERE} {WRONG}"),
    (f"a AUTHENTICATE PLAIN {b64(f'{NUL}{ZOE}{NUL}{WRONG}')}", f"a AUTHENTICATE XOAUTH2 {BEARER}"),
    (f"a LOGON {ZOE} {ELSEWHERE}", f"a {ELSEWHERE}", f"a SELECT {ELSEWHERE}"),
    (f"a LOGIN {ZOE} {PASSWORD}", f"a FETCH {ELSEWHERE} FLAGS", f"a SELECT {ELSEWHERE}"),
)
SMTP = (
    ("EHLO x", f"AUTH PLAIN {b64(f'{NUL}{ZOE}{NUL}{WRONG}')}", f"AUTH XOAUTH2 {BEARER}"),
    ("EHLO x", f"AUTH LOGIN {b64(ELSEWHERE)}", b64(WRONG)),
    ("EHLO x", f"AUTH {ELSEWHERE}", f"{ELSEWHERE} {b64(ELSEWHERE)}", f"MAIL FROM:<{ELSEWHERE}>"),
    (
        "EHLO x",
        f"AUTH PLAIN {b64(f'{NUL}{ZOE}{NUL}{PASSWORD}')}",
        f"MAIL FROM:<{ZOE}> AUTH={ELSEWHERE}",
        f"RCPT {ELSEWHERE}",
    ),
)
LAST = re.compile(rb"a |\+|\* BYE|\d\d\d ")
"""The last line of an answer, of IMAP and of SMTP."""


@pytest.mark.requirement("OP-71", "OP-72")
@pytest.mark.attack("ATT-39")
def test_att_39_no_password_and_no_token_is_found_in_any_file_or_trace(site: Site) -> None:
    """Right, wrong, in the place of a name, of a command, of an argument; the log says all."""
    site.write(log__level="debug")
    with serving(site, 1) as server:
        imap = b"".join(talk(site, "imaps", lines) for lines in IMAP)
        smtp = b"".join(talk(site, "submissions", lines) for lines in SMTP)
        with site.submitting() as client:
            assert client.noop()[0] == 250
    assert b"a OK" in imap, "the right one was let in"
    assert b"235 " in smtp
    assert any(line["level"] == "debug" for line in server.events)
    with site.home.store() as store:
        traces = store.read(lambda r: r.traces()).result()
    assert {trace.answer for trace in traces} == {"ok", "refused"}
    told = "".join(f"{each.author}{each.request}{each.answer}" for each in traces)
    assert [secret for secret in SECRETS.values() if secret.casefold() in told.casefold()] == []
    assert secrets_under(SECRETS, site.home.directory) == {}


def test_a_secret_that_leaks_is_found(tmp_path: Path) -> None:
    """Control of the test above."""
    ways: tuple[Callable[[str], bytes], ...] = (str.encode, lambda s: b64(f"\0x\0{s}").encode())
    for number, way in enumerate(ways):
        (tmp_path / str(number)).write_bytes(b"x\0" + way(TOKEN) + b"\0")
    assert {what: len(paths) for what, paths in secrets_under(SECRETS, tmp_path).items()} == {
        "a token": 2
    }


def talk(site: Site, door: str, lines: tuple[str, ...]) -> bytes:
    """All of `lines` over TLS, each once the one before was answered; what was said. A door that
    has enough of it hangs up."""
    said = b""
    raw = socket.create_connection(("localhost", site.ports[door]), timeout=20)
    with site.context().wrap_socket(raw, server_hostname="localhost") as wire:
        answers = wire.makefile("rb")
        said += answers.readline()
        for line in lines:
            wire.sendall(line.encode() + b"\r\n")
            while answer := answers.readline():
                said += answer
                if LAST.match(answer):
                    break
    return said
