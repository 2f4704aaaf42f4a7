"""SASL exchanges: what is taken, what is refused, at each octet (ATT-13, ATT-17)."""

from __future__ import annotations

import base64
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssmtp.errors import MailError
from mssmtp.identity import BadCredentials, Challenge, Credentials, Exchange
from mssmtp.identity.refusals import BadExchange
from mssmtp.identity.sasl import Cancelled, Step, UnknownMechanism

LOGIN, PASSWORD = "zoe@hopital-a.test", "corbeau-1234567"


def b64(text: str) -> bytes:
    return base64.b64encode(text.encode())


GOOD = b64(f"\0{LOGIN}\0{PASSWORD}")


def plain(line: bytes) -> Step:
    return Exchange("PLAIN").begin(line)


def test_plain_with_and_without_an_initial_response() -> None:
    assert plain(GOOD) == Credentials(LOGIN, PASSWORD)
    exchange = Exchange("plain")
    assert exchange.begin() == Challenge(b"")
    assert exchange.receive(GOOD) == Credentials(LOGIN, PASSWORD)


def test_login_with_and_without_an_initial_response() -> None:
    exchange = Exchange("LOGIN")
    assert exchange.begin() == Challenge(b64("Username:"))
    assert exchange.receive(b64(LOGIN)) == Challenge(b64("Password:"))
    assert exchange.receive(b64(PASSWORD)) == Credentials(LOGIN, PASSWORD)
    short = Exchange("LOGIN")
    assert short.begin(b64(LOGIN)) == Challenge(b64("Password:"))
    assert short.receive(b64(PASSWORD)) == Credentials(LOGIN, PASSWORD)


def test_a_password_is_in_no_representation() -> None:
    assert PASSWORD not in repr(plain(GOOD))


@pytest.mark.attack
def test_att_17_authzid_other_than_authcid_is_refused_in_the_full_matrix() -> None:
    names = ["", "zoe@a.test", "ZOE@a.test", "zoe@a.test ", "bob@a.test", "zoe", "é@a.test"]
    for authzid, authcid in itertools.product(names, names[1:]):
        line = b64(f"{authzid}\0{authcid}\0{PASSWORD}")
        if authzid in ("", authcid):
            assert plain(line) == Credentials(authcid, PASSWORD)
        else:
            with pytest.raises(BadCredentials):
                plain(line)


@pytest.mark.attack
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_att_13_an_exchange_cut_at_each_octet_never_logs_in(mechanism: str) -> None:
    script = [GOOD] if mechanism == "PLAIN" else [b64(LOGIN), b64(PASSWORD)]
    for number, line in enumerate(script):
        for cut in range(len(line)):
            exchange = Exchange(mechanism)
            exchange.begin()
            for before in script[:number]:
                exchange.receive(before)
            try:
                step = exchange.receive(line[:cut])
            except (BadExchange, BadCredentials):
                with pytest.raises(BadExchange):
                    exchange.receive(line)  # it is over
            else:
                assert step != Credentials(LOGIN, PASSWORD)


@pytest.mark.attack
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_att_13_a_star_cancels_and_the_exchange_is_over(mechanism: str) -> None:
    exchange = Exchange(mechanism)
    exchange.begin()
    with pytest.raises(Cancelled) as caught:
        exchange.receive(b"*")
    assert caught.value.reply.code == 501
    with pytest.raises(BadExchange):
        exchange.receive(GOOD)


@pytest.mark.attack
@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"=",
        b"====",
        b"!!!!",
        GOOD[:-1],
        GOOD + b"\r\n",
        GOOD + b" ",
        b" " + GOOD,
        GOOD[:8] + b"\n" + GOOD[8:],
        b64(f"{LOGIN}\0{PASSWORD}"),
        b64(f"\0{LOGIN}\0{PASSWORD}\0"),
        b64(f"\0\0{PASSWORD}"),
        b64(f"\0{LOGIN}\0"),
        base64.b64encode(b"\0\xff\xfe\0secret-secret-12"),
        b64(f"\0{LOGIN}\0{'x' * 256}"),
        b64(f"\0{'x' * 256}\0{PASSWORD}"),
        b"A" * 12_292,
        b"Zg=Zg===",
        b"AHgAeR==",
    ],
)
def test_att_14_bad_lines_are_refused_as_bad_syntax(line: bytes) -> None:
    with pytest.raises(BadExchange) as caught:
        plain(line)
    assert caught.value.reply.code == 501
    assert caught.value.imap == "CLIENTBUG"


@pytest.mark.parametrize("name", ["", "CRAM-MD5", "NTLM", "EXTERNAL", "PLAIN ", "SCRAM-SHA-1"])
def test_only_the_mechanisms_we_need_are_there(name: str) -> None:
    with pytest.raises(UnknownMechanism) as caught:
        Exchange(name)
    assert caught.value.reply.code == 504


def test_an_exchange_answers_once() -> None:
    exchange = Exchange("PLAIN")
    with pytest.raises(BadExchange):
        exchange.receive(GOOD)
    exchange.begin(GOOD)
    with pytest.raises(BadExchange):
        exchange.begin(GOOD)
    with pytest.raises(BadExchange):
        exchange.receive(GOOD)


TOKENS = [GOOD, b64(LOGIN), b64(PASSWORD), b"", b"=", b"*", b"*=", b"\0", b"+", b"AA==", b"\xff"]


@given(
    st.sampled_from(["PLAIN", "LOGIN"]),
    st.none() | st.sampled_from(TOKENS),
    st.lists(st.sampled_from(TOKENS) | st.binary(max_size=8), max_size=5),
)
def test_any_lines_end_in_credentials_or_a_refusal(
    mechanism: str, initial: bytes | None, lines: list[bytes]
) -> None:
    exchange = Exchange(mechanism)
    ended = False
    for number, line in enumerate([initial, *lines]):
        try:
            answer = exchange.begin(line) if number == 0 else exchange.receive(line or b"")
        except MailError:
            ended = True
        else:
            assert not ended
            ended = isinstance(answer, Credentials)
