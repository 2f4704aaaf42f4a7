"""SCRAM-SHA-256 and -PLUS: vectors, two clients that are not ours, and what is refused."""

from __future__ import annotations

import base64
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssmtp.errors import BadSyntax, MailError
from mssmtp.identity import (
    Authenticator,
    BadCredentials,
    Challenge,
    Channel,
    Exchange,
    TooManyGuesses,
    app_password,
    guesses,
    scram,
)
from mssmtp.identity.sasl import Step
from mssmtp.identity.scram import ScramName, ScramProof, ScramProven, ScramSalt
from mssmtp.mail import BalState, Principal
from tests.identity import gsasl
from tests.identity.fakes import Clock, Entropy, Store, box
from tests.identity.scram_client import Client, b64

ZOE, PASSWORD = "zoe@hopital-a.test", "abcdefghjkmnpqrstuvw"
HERE = "192.0.2.1"
EXPORTED, END_POINT = b"e" * 32, b"c" * 32
TLS = Channel({"tls-exporter": EXPORTED, "tls-server-end-point": END_POINT})


@pytest.fixture(autouse=True)
def _quick_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_password, "COST", app_password.Cost(1, 8))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> Store:
    store = Store(clock, Entropy())
    store.add_password(store.add(ZOE), PASSWORD)
    return store


@pytest.fixture
def door(store: Store, clock: Clock) -> Authenticator:
    return Authenticator(store, clock, Entropy(b"process"))


def played(door: Authenticator, step: Step, exchange: Exchange) -> Step:
    """What a door does until something is to be sent."""
    while not isinstance(step, Challenge | Principal):
        if isinstance(step, ScramName):
            step = exchange.answer(door.salted(step, HERE).result())
        elif isinstance(step, ScramProof):
            step = exchange.answer(door.prove(step, HERE))
    return step


def log_in(door: Authenticator, client: Client, channel: Channel = TLS) -> Principal:
    """The whole exchange of a client; it checks the server too."""
    plus = "-PLUS" if client.header.startswith(b"p") else ""
    exchange = Exchange(f"SCRAM-SHA-256{plus}", channel=channel)
    said = played(door, exchange.begin(b64(client.hello())), exchange)
    assert isinstance(said, Challenge)
    proof = client.proof(base64.b64decode(said.octets))
    said = played(door, exchange.receive(b64(proof)), exchange)
    assert isinstance(said, Challenge)
    assert client.believes(base64.b64decode(said.octets))
    done = exchange.receive(b"")
    assert isinstance(done, Principal)
    return done


def zoe(password: str = PASSWORD, header: bytes = b"n,,", binding: bytes = b"") -> Client:
    return Client(ZOE.encode(), password.encode(), header, binding)


# ---------------------------------------------------------------- vectors


def test_the_example_of_rfc_7677_is_played_to_its_last_octet() -> None:
    salt, nonce = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="), b"%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    (verifier,) = scram.opened(scram.verifier("pencil", salt))
    exchange = Exchange("SCRAM-SHA-256")
    assert exchange.begin(b64(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO")) == ScramName("user")
    told = b"r=rOprNGfwEbeRWgbNEkqO%b,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096" % nonce
    assert exchange.answer(ScramSalt(salt, nonce)) == Challenge(b64(told))
    shown = exchange.receive(
        b64(
            b"c=biws,r=rOprNGfwEbeRWgbNEkqO%b,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
            % nonce
        )
    )
    assert isinstance(shown, ScramProof)
    assert scram.proven(verifier, shown.message, shown.proof)
    signature = scram.signature_of(verifier, shown.message)
    final = exchange.answer(ScramProven(Principal(1, "user", ()), signature))  # type: ignore[arg-type]
    assert final == Challenge(b64(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="))


@pytest.mark.parametrize(
    ("typed", "prepared"),
    [
        ("I\u00adX", "IX"),
        ("user", "user"),
        ("USER", "USER"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        ("a\u00a0b", "a b"),
        ("e\u0301cole", "\u00e9cole"),
        ("\u0007", "\u0007"),  # forbidden: as it is
        ("\u0627\u0031", "\u0627\u0031"),
    ],
)
def test_passwords_are_prepared_as_in_rfc_4013(typed: str, prepared: str) -> None:
    assert scram.saslprep(typed) == prepared.encode()


# ---------------------------------------------------------------- who gets in


@pytest.mark.requirement("CL-31")
@pytest.mark.parametrize("password", [PASSWORD, app_password.grouped(PASSWORD)])
def test_the_password_opens_as_it_is_printed_and_without_its_groups(
    door: Authenticator, password: str
) -> None:
    principal = log_in(door, zoe(password))
    assert (principal.bals, principal.app_password) == ((box(ZOE),), 1)


@pytest.mark.parametrize(
    ("header", "binding"),
    [(b"p=tls-exporter,,", EXPORTED), (b"p=tls-server-end-point,,", END_POINT)],
)
def test_a_login_bound_to_its_channel(door: Authenticator, header: bytes, binding: bytes) -> None:
    assert log_in(door, zoe(header=header, binding=binding)).account == 1


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"])
def test_gnu_sasl_gets_in_and_believes_us(door: Authenticator, mechanism: str) -> None:
    exchange = Exchange(mechanism, channel=TLS)
    bindings = TLS.bindings if mechanism.endswith("PLUS") else {}
    with gsasl.client(mechanism, ZOE, PASSWORD, bindings) as client:
        said = played(door, exchange.begin(b64(client.step(b""))), exchange)
        while isinstance(said, Challenge):
            answer = b64(client.step(base64.b64decode(said.octets)))
            said = played(door, exchange.receive(answer), exchange)
        assert client.is_done
    assert isinstance(said, Principal)
    assert said.account == 1


def test_each_device_is_recognized_though_the_salt_is_told_before(
    door: Authenticator, store: Store, clock: Clock
) -> None:
    store.add_password(store.accounts[ZOE].id, "zyxwvtsrqpnmkjhgfedc")
    assert log_in(door, zoe()).app_password == 1
    assert log_in(door, zoe("zyxwvtsrqpnmkjhgfedc")).app_password == 2
    assert store.passwords[2].last_used_at == clock.at


@pytest.mark.attack
@pytest.mark.parametrize("what", ["account", "password", "box", "expired"])
def test_att_18_what_was_taken_away_does_not_get_in_by_a_proof(
    door: Authenticator, store: Store, clock: Clock, what: str
) -> None:
    log_in(door, zoe())
    account = store.accounts[ZOE]
    if what == "account":
        store.accounts[ZOE] = replace(account, active=False)
    elif what == "password":
        store.passwords[1] = replace(store.passwords[1], revoked_at=clock.at)
    elif what == "box":
        store.boxes[account.id] = (replace(box(ZOE), state=BalState.SUSPENDED),)
    else:
        clock.advance(91 * 86_400)
    with pytest.raises(BadCredentials):
        log_in(door, zoe())


# ---------------------------------------------------------------- who does not


@pytest.mark.attack
def test_att_21_an_unknown_login_is_answered_like_a_known_one(
    door: Authenticator, store: Store, clock: Clock
) -> None:
    """The same salt each time, from every worker; the same reads; the same refusal."""
    other = Authenticator(store, clock, Entropy(b"another process"))
    salts, reads = [], []
    for login in (ZOE, "nobody@hopital-a.test"):
        for asked in (door, other):
            store.reads = 0
            salt = asked.salted(ScramName(login)).result()
            assert (len(salt.salt), len(salt.nonce)) == (scram.SALT_OCTETS, 24)
            salts.append(salt.salt)
            with pytest.raises(BadCredentials) as caught:
                asked.prove(ScramProof(login, salt.salt, b"message", bytes(32)))
            assert str(caught.value.reply) == str(BadCredentials.smtp)
            reads.append(store.reads)
    assert salts[0] == salts[1] != salts[2] == salts[3]
    assert set(reads) == {3}


@pytest.mark.attack
@pytest.mark.parametrize(
    "client",
    [
        zoe("wrong"),
        zoe(header=b"p=tls-exporter,,", binding=b"x" * 32),
        zoe(header=b"p=tls-exporter,,", binding=END_POINT),
        zoe(header=b"p=tls-server-end-point,,", binding=b""),
        zoe(header=b"n,a=bob@hopital-a.test,"),
    ],
    ids=["password", "another channel", "type and octets", "no octets", "authzid"],
)
def test_what_does_not_match_is_a_refusal(door: Authenticator, client: Client) -> None:
    with pytest.raises(BadCredentials):
        log_in(door, client)


@pytest.mark.attack
@pytest.mark.parametrize(
    ("mechanism", "header"),
    [
        ("SCRAM-SHA-256", b"y,,"),
        ("SCRAM-SHA-256", b"p=tls-exporter,,"),
        ("SCRAM-SHA-256-PLUS", b"n,,"),
        ("SCRAM-SHA-256-PLUS", b"y,,"),
        ("SCRAM-SHA-256-PLUS", b"p=tls-unique,,"),
    ],
)
def test_a_downgrade_of_the_channel_binding_is_seen(mechanism: str, header: bytes) -> None:
    """RFC 5802 6: `y` says that somebody took -PLUS out of what was announced."""
    exchange = Exchange(mechanism, channel=TLS)
    with pytest.raises(BadSyntax):
        exchange.begin(b64(header + b"n=zoe,r=abc"))


@pytest.mark.attack
def test_wrong_proofs_are_slowed_like_wrong_passwords(
    door: Authenticator, store: Store, clock: Clock
) -> None:
    for _ in range(guesses.FREE + 1):
        with pytest.raises(BadCredentials) as caught:
            log_in(door, zoe("wrong"))
    assert caught.value.delay_s == guesses.FIRST_WAIT_S
    with pytest.raises(TooManyGuesses):
        log_in(door, zoe())
    with pytest.raises(TooManyGuesses):
        door.prove(ScramProof(ZOE, b"", b"", bytes(32)), HERE)
    clock.advance(guesses.FIRST_WAIT_S)
    assert log_in(door, zoe()).account == 1


def test_a_device_that_repeats_its_revoked_password_is_one_wrong_secret(
    door: Authenticator, store: Store, clock: Clock
) -> None:
    store.add_password(store.accounts[ZOE].id, "zyxwvtsrqpnmkjhgfedc")
    store.passwords[1] = replace(store.passwords[1], revoked_at=clock.at)
    for _ in range(50):
        with pytest.raises(BadCredentials) as caught:
            log_in(door, zoe())
        assert caught.value.delay_s == 0
    assert log_in(door, zoe("zyxwvtsrqpnmkjhgfedc")).app_password == 2


# ---------------------------------------------------------------- any octets


@pytest.mark.attack
@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"n,,",
        b"n,,n=zoe",
        b"n,,n=,r=abc",
        b"n,,n=zoe,r=",
        b"n,,n=zoe,r=a b",
        b"n,,m=x,n=zoe,r=abc",
        b"n,,n=z=oe,r=abc",
        b"n,,n=z=2c,r=abc",
        b"n,,n=\xff,r=abc",
        b"n,,n=z\0,r=abc",
        b"x,,n=zoe,r=abc",
        b"p=,,n=zoe,r=abc",
        b"n,,n=zoe,r=abc" + b",x=y" * 1_000,
    ],
)
def test_att_13_a_first_message_out_of_form_is_bad_syntax(message: bytes) -> None:
    with pytest.raises(BadSyntax):
        Exchange("SCRAM-SHA-256", channel=TLS).begin(b64(message))


def test_names_are_read_with_their_escapes() -> None:
    assert scram.read_first(b"n,,n=a=2Cb=3Dc,r=x,e=f").login == "a,b=c"


@pytest.mark.attack
def test_att_13_a_final_message_cut_or_changed_anywhere_never_logs_in(
    door: Authenticator, clock: Clock
) -> None:
    client = zoe()

    def ask() -> tuple[Exchange, bytes]:
        exchange = Exchange("SCRAM-SHA-256", channel=TLS)
        said = played(door, exchange.begin(b64(client.hello())), exchange)
        assert isinstance(said, Challenge)
        return exchange, client.proof(base64.b64decode(said.octets))

    length = len(ask()[1])
    for place in range(length):
        for is_cut in (True, False):
            clock.advance(guesses.LONGEST_WAIT_S)
            exchange, good = ask()
            changed = bytes([good[place] ^ 1]) + good[place + 1 :]
            bad = good[:place] + (b"" if is_cut else changed)
            try:
                step = exchange.receive(b64(bad))
            except MailError:
                with pytest.raises(BadSyntax):
                    exchange.receive(b64(good))  # it is over
                continue
            assert isinstance(step, ScramProof)
            with pytest.raises(BadCredentials):
                door.prove(step)


TOKENS = st.sampled_from(
    [b"n", b"y", b"p=", b",", b"=", b"a=", b"n=", b"r=", b"c=", b"biws", b"zoe", b"=2C", b"\0"]
)


@given(st.lists(TOKENS, max_size=12).map(b"".join) | st.binary(max_size=40))
def test_any_message_is_read_or_bad_syntax(message: bytes) -> None:
    for read in (scram.read_first, scram.read_final):
        try:
            read(message)
        except BadSyntax:
            continue


def test_no_secret_is_in_a_representation(door: Authenticator) -> None:
    exchange = Exchange("SCRAM-SHA-256")
    asked = exchange.begin(b64(zoe().hello()))
    assert isinstance(asked, ScramName)
    salt = door.salted(asked).result()
    shown = ScramProof(ZOE, salt.salt, b"message", b"proof-octets")
    assert not re.search("proof-octets|message", repr(shown))


def test_what_is_stored_proves_and_is_no_password(store: Store) -> None:
    made = app_password.verifiers(PASSWORD, Entropy())
    assert len(scram.opened(made.scram)) == 2
    assert PASSWORD not in made.scram
    assert scram.opened("") == scram.opened("scram") == ()
