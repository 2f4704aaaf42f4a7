"""XOAUTH2, OAUTHBEARER and EXTERNAL: what is taken, what is refused, at each octet (ATT-13)."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssmtp.errors import MailError
from mssmtp.identity import (
    EXTERNAL,
    MECHANISMS,
    BadCredentials,
    Bearer,
    Challenge,
    Exchange,
    Presented,
    with_tokens,
)
from mssmtp.identity.refusals import BadExchange
from mssmtp.identity.sasl import Step
from mssmtp.identity.tokens import CannotBeAsked, TokenRefused

BOX, TOKEN = "zoe.tartempion@ch-valmont.mssante.example", "TEST-TOKEN"
OFFERED = {**with_tokens(MECHANISMS, challenge=True), **EXTERNAL}
XOAUTH2 = f"user={BOX}\x01auth=Bearer {TOKEN}\x01\x01"
OAUTHBEARER = f"n,a={BOX},\x01host=imap.example\x01port=993\x01auth=Bearer {TOKEN}\x01\x01"
SAID = {"XOAUTH2": XOAUTH2, "OAUTHBEARER": OAUTHBEARER}


def b64(text: str | bytes) -> bytes:
    return base64.b64encode(text.encode() if isinstance(text, str) else text)


def begun(mechanism: str, text: str | bytes) -> Step:
    return Exchange(mechanism, OFFERED).begin(b64(text))


def test_the_sample_of_the_specification_is_understood() -> None:
    sample = (
        b"dXNlcj16b2UudGFydGVtcGlvbkBjaC12YWxtb250Lm1zc2FudGUuZXhhbXBsZQFhdXRoPUJlYXJlciBURVNULVRPS0V"
        b"OAQE="
    )
    assert Exchange("XOAUTH2", OFFERED).begin(sample) == Bearer(BOX, TOKEN)


@pytest.mark.parametrize("mechanism", SAID)
def test_a_token_comes_with_and_without_an_initial_response(mechanism: str) -> None:
    assert begun(mechanism, SAID[mechanism]) == Bearer(BOX, TOKEN)
    exchange = Exchange(mechanism, OFFERED)
    assert exchange.begin() == Challenge(b"")
    assert exchange.receive(b64(SAID[mechanism])) == Bearer(BOX, TOKEN)


@pytest.mark.parametrize("mechanism", SAID)
def test_a_token_of_4_kib_comes_on_one_line_and_is_in_no_representation(mechanism: str) -> None:
    long = "x" * 4_096
    claim = begun(mechanism, SAID[mechanism].replace(TOKEN, long))
    assert claim == Bearer(BOX, long)
    assert long not in repr(claim)
    with pytest.raises(BadExchange):
        begun(mechanism, SAID[mechanism].replace(TOKEN, "x" * 8_193))


def test_a_refusal_is_first_said_in_a_challenge_and_an_outage_is_not() -> None:
    told = {"XOAUTH2": b'{"status":"401","schemes":"bearer","scope":"openid"}'}
    told["OAUTHBEARER"] = b'{"status":"invalid_token"}'
    for mechanism, text in told.items():
        exchange = Exchange(mechanism, OFFERED)
        exchange.begin(b64(SAID[mechanism]))
        assert exchange.refused(TokenRefused("x")) == Challenge(b64(text))
        assert exchange.refused(CannotBeAsked()) is None
    silent = Exchange("XOAUTH2", with_tokens(MECHANISMS, challenge=False))
    assert silent.refused(TokenRefused("x")) is None
    assert Exchange("PLAIN", OFFERED).refused(BadCredentials()) is None


@pytest.mark.attack
@pytest.mark.parametrize("mechanism", SAID)
def test_att_13_a_token_cut_at_each_octet_never_logs_in(mechanism: str) -> None:
    whole = SAID[mechanism]
    for cut in range(len(whole)):
        with pytest.raises(BadExchange):
            begun(mechanism, whole[:cut])
    line = b64(whole)
    for cut in range(len(line)):
        with pytest.raises(BadExchange):
            Exchange(mechanism, OFFERED).begin(line[:cut])


@pytest.mark.attack
@pytest.mark.parametrize(
    ("mechanism", "text"),
    [
        ("XOAUTH2", ""),
        ("XOAUTH2", f"user=\x01auth=Bearer {TOKEN}\x01\x01"),
        ("XOAUTH2", f"auth=Bearer {TOKEN}\x01\x01"),
        ("XOAUTH2", f"user={BOX}\x01user=luc@b.test\x01auth=Bearer {TOKEN}\x01\x01"),
        ("XOAUTH2", f"user={BOX}\x01auth=Bearer {TOKEN}\x01auth=Bearer other\x01\x01"),
        ("XOAUTH2", f"user={BOX}\x01auth=Basic {TOKEN}\x01\x01"),
        ("XOAUTH2", f"user={BOX}\x01auth=Bearer {TOKEN} x\x01\x01"),
        ("XOAUTH2", f"user={BOX}\x01auth=Bearer {TOKEN}\r\n\x01\x01"),
        ("XOAUTH2", f"user={BOX}\0\x01auth=Bearer {TOKEN}\x01\x01"),
        ("XOAUTH2", f"user={'x' * 256}\x01auth=Bearer {TOKEN}\x01\x01"),
        ("XOAUTH2", XOAUTH2 + "\x01"),
        ("XOAUTH2", f"user={BOX}\x01auth=Bearer {TOKEN}\x01" + "x=y\x01" * 40 + "\x01"),
        ("XOAUTH2", b"user=\xff\xfe\x01auth=Bearer x\x01\x01"),
        ("OAUTHBEARER", XOAUTH2),
        ("OAUTHBEARER", OAUTHBEARER.replace("n,a=", "p=tls-unique,a=")),
        ("OAUTHBEARER", OAUTHBEARER.replace(f"a={BOX}", "")),
        ("OAUTHBEARER", OAUTHBEARER.replace(BOX, "zoe=2Dtartempion@x.test")),
        ("OAUTHBEARER", OAUTHBEARER.replace("n,", "f,")),
        ("EXTERNAL", "a\0b"),
        ("EXTERNAL", b"\xff"),
        ("EXTERNAL", "x" * 256),
    ],
)
def test_att_13_what_is_not_of_the_grammar_is_refused(mechanism: str, text: str | bytes) -> None:
    with pytest.raises(BadExchange) as caught:
        begun(mechanism, text)
    assert (caught.value.reply.code, caught.value.imap) == (501, "CLIENTBUG")


def test_other_fields_and_any_case_of_the_scheme_are_taken() -> None:
    said = f"user={BOX}\x01host=x\x01auth=bearer  {TOKEN}\x01\x01"
    assert begun("XOAUTH2", said) == Bearer(BOX, TOKEN)
    escaped = OAUTHBEARER.replace(BOX, "a=3Db=2Cc@x.test")
    assert begun("OAUTHBEARER", escaped) == Bearer("a=b,c@x.test", TOKEN)
    assert begun("OAUTHBEARER", OAUTHBEARER.replace("n,", "y,", 1)) == Bearer(BOX, TOKEN)


def test_external_names_a_box_or_leaves_it_to_the_certificate() -> None:
    assert begun("EXTERNAL", "dpi@x.test") == Presented("dpi@x.test")
    assert Exchange("EXTERNAL", OFFERED).begin(b"=") == Presented("")
    exchange = Exchange("EXTERNAL", OFFERED)
    assert exchange.begin() == Challenge(b"")
    assert exchange.receive(b"") == Presented("")


PIECES = [
    "user=", "auth=", "Bearer ", "\x01", "\x01\x01", "n,", "a=", ",", "p=x", "=2C", "=", BOX, TOKEN,
    "\0", "é", "y,,", "host=h", "bearer", " ", "\r\n",
]  # fmt: skip


@given(st.sampled_from(sorted(OFFERED)), st.lists(st.sampled_from(PIECES), max_size=9))
def test_any_text_is_a_claim_or_a_refusal(mechanism: str, pieces: list[str]) -> None:
    exchange = Exchange(mechanism, OFFERED)
    try:
        step = exchange.begin(b64("".join(pieces)))
    except MailError:
        return
    if isinstance(step, Bearer):
        assert step.box
        assert set(step.token) <= set(TOKEN + "Bearer" + BOX + "userahostpxy=2C")
