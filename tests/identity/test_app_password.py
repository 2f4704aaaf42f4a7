"""Application passwords: what is made, what is stored, what is refused."""

from __future__ import annotations

import collections

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mssmtp.identity import WeakPassword
from mssmtp.identity import app_password as subject
from tests.identity.fakes import Entropy


@pytest.mark.requirement("CL-31")
def test_a_new_password_has_twenty_unambiguous_characters() -> None:
    made = {subject.new_password(Entropy(bytes([seed]))) for seed in range(200)}
    assert len(made) == 200
    assert all(len(each) == 20 and set(each) <= set(subject.ALPHABET) for each in made)
    assert not set(subject.ALPHABET) & set("ilo01")


def test_every_character_is_equally_likely() -> None:
    class OneOctet:
        """The same octet for a whole password, then zeros: shows which octets are taken."""

        def __init__(self, octet: int) -> None:
            self.octet, self.calls = octet, 0

        def token_bytes(self, octets: int) -> bytes:
            self.calls += 1
            return bytes([self.octet if self.calls == 1 else 0]) * octets

    letters: collections.Counter[str] = collections.Counter()
    for octet in range(256):
        entropy = OneOctet(octet)
        made = subject.new_password(entropy)
        if entropy.calls == 1:
            letters[made[0]] += 1
    assert letters == dict.fromkeys(subject.ALPHABET, 8)


@pytest.mark.requirement("CL-31")
def test_a_person_may_type_the_groups_as_printed() -> None:
    secret = subject.new_password(Entropy())
    printed = subject.grouped(secret)
    assert printed.count("-") == 3
    for typed in (printed, printed.upper(), printed.replace("-", " "), secret):
        assert subject.canonical(typed) == secret


@given(st.text(max_size=40))
def test_only_generated_passwords_are_folded(text: str) -> None:
    folded = subject.canonical(text)
    assert subject.canonical(folded) == folded
    if "-" in folded or " " in folded:
        assert len(text.replace("-", "").replace(" ", "")) != 20 or not set(
            text.replace("-", "").replace(" ", "").lower()
        ) <= set(subject.ALPHABET)


@pytest.mark.parametrize(
    "password",
    [
        "",
        "court",
        "fifteen-letters",
        "a" * 40,
        "abababababababab",
        "x" * 300,
        "tab\tin-the-middle!",
    ],
)
def test_a_weak_chosen_password_is_refused(password: str) -> None:
    with pytest.raises(WeakPassword):
        subject.check_chosen(password)


def test_a_chosen_password_of_sixteen_characters_is_taken() -> None:
    subject.check_chosen("corbeau-été-1234")


@pytest.mark.requirement("CL-31")
def test_only_the_right_password_matches_and_nothing_stored_holds_it() -> None:
    entropy = Entropy()
    secret = subject.new_password(entropy)
    made = subject.verifiers(secret, entropy)
    assert secret not in made.argon2 + made.scram
    assert made.argon2.startswith("$argon2id$v=19$m=16384,t=3,p=1$")
    assert subject.matching(subject.grouped(secret), [made.argon2]) == {made.argon2}
    assert subject.matching(secret[:-1] + "?", [made.argon2]) == frozenset()


def test_every_device_of_an_account_is_tested_by_one_slow_evaluation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entropy = Entropy()
    hashes: list[str] = []
    secrets = [subject.new_password(entropy) for _ in range(3)]
    for secret in secrets:
        hashes.append(subject.verifiers(secret, entropy, beside=hashes).argon2)
    calls: list[bytes] = []
    slow = subject._argon2

    def counted(secret: bytes, salt: bytes, cost: subject.Cost) -> str:
        calls.append(salt)
        return slow(secret, salt, cost)

    monkeypatch.setattr(subject, "_argon2", counted)
    for secret, encoded in zip(secrets, hashes, strict=True):
        assert subject.matching(secret, hashes) == {encoded}
    assert len(calls) == 3
    calls.clear()
    assert subject.matching("nobody", []) == frozenset()
    assert len(calls) == 1


def test_a_hash_of_other_costs_is_still_verified() -> None:
    cheap = subject.Cost(1, 64)
    old = subject._argon2(b"corbeau-1234567", bytes(range(16)), cheap)
    new = subject.verifiers("corbeau-1234567", Entropy()).argon2
    assert subject.matching("corbeau-1234567", [old, new]) == {old, new}


@settings(max_examples=10, deadline=None)
@given(st.text(min_size=1, max_size=300))
def test_any_password_can_be_tried(password: str) -> None:
    assert subject.matching(password, []) == frozenset()
