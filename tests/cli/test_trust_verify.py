"""`mssmtp trust verify`: any list file, with nothing but a file of authorities or the signer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import get_args

import pytest

from mssmtp.demo.authority import (
    EMAIL_ONLY,
    SIGNER_SUBJECT,
    Authority,
    Identity,
    Make,
    Subject,
    row,
)
from mssmtp.whitelist import RefusalReason
from mssmtp.whitelist_audit import WHY
from tests import lists
from tests.authority import A_SUBJECT, B_SUBJECT, shared_keys
from tests.home import Home, Typed, typed

OTHER = Subject("autre.mssante.example", "398765432100033", "AUTRE PORTEUR", "Paris (75)")


@dataclass(frozen=True, slots=True)
class Files:
    """A list, what it is verified with, and who signed it."""

    directory: Path
    authority: Authority

    @property
    def list(self) -> Path:
        return self.directory / "liste.xml"

    @property
    def anchors(self) -> Path:
        return self.directory / "ca"

    def signer(self, identity: Identity) -> Path:
        path = self.directory / "signer.pem"
        path.write_bytes(identity.certificate_pem)
        return path

    def sign(self, identity: Identity | None = None, *, days: float = 0) -> None:
        date = self.authority.now + timedelta(days=days)
        spaced = A_SUBJECT.text.replace(",OU=", ", OU=").replace("(69)", " (69)")
        rows = [
            row("hopital-a.test", A_SUBJECT.text, updated=date),
            row("hopital-a.test", B_SUBJECT.text, updated=date),
            row("clinique.test", spaced, updated=date),
            row("casse.test", 'CN=a,O="X,C=FR', updated=date),
        ]
        self.list.write_bytes(self.authority.sign_whitelist(rows, date, signer=identity))

    def verify(self, *more: str, at: timedelta = timedelta(0)) -> Typed:
        moment = (self.authority.now + at).isoformat()
        return typed("trust", "verify", str(self.list), "--at", moment, *more)


@pytest.fixture
def files(authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    """No settings anywhere: neither given, nor where they are looked for."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MSSMTP_CONFIG", raising=False)
    made = Files(tmp_path, authority)
    made.anchors.mkdir()
    (made.anchors / "ca.pem").write_bytes(authority.anchors_pem)
    made.sign()
    return made


@pytest.mark.requirement("OP-24", "OP-25")
def test_a_good_list_is_told_in_figures(files: Files, authority: Authority) -> None:
    answer = files.verify("--anchors", str(files.anchors), "--json")
    assert answer.code == 0
    told = answer.json
    assert told["holds"] is True
    assert (told["entries"], told["domains"]) == (4, 2)
    assert (told["names_as_printed"], told["names_normalised"]) == (4, 2)
    assert told["unusable_entries"] == [4]
    assert told["generated"] == authority.now.isoformat()
    assert told["signer"].startswith("CN=alb.mssante.example,OU=398765432100025")
    assert told["not_checked"] == ["revocation"]


def test_crls_beside_the_authorities_are_asked(files: Files, authority: Authority) -> None:
    for number, crl in enumerate(authority.crls()):
        (files.anchors / f"{number}.crl").write_bytes(crl)
    told = files.verify("--anchors", str(files.anchors), "--json").json
    assert told["not_checked"] == []
    stale = files.verify("--anchors", str(files.anchors), at=timedelta(days=30))
    assert stale.code == 1
    assert "signer certificate (revocation unknown)" in stale.err


def test_a_revoked_signer_is_refused(tmp_path: Path, files: Files) -> None:
    own = Authority(files.authority.now, make_key=shared_keys(20))
    made = Files(tmp_path, own)
    made.sign()
    own.revoke(own.signer)
    (made.anchors / "ca.pem").write_bytes(own.anchors_pem)
    (made.anchors / "0.crl").write_bytes(own.crls()[1])
    (made.anchors / "1.crl").write_bytes(own.crls()[0])
    answer = made.verify("--anchors", str(made.anchors), "--json")
    assert (answer.code, answer.json["reason"]) == (1, "signer certificate")
    assert answer.json["detail"] == "revoked"


def test_with_the_signer_alone_it_says_that_the_chain_was_not_checked(
    files: Files, authority: Authority
) -> None:
    signer = files.signer(authority.signer)
    people = files.verify("--signer", str(signer))
    assert people.code == 0
    assert "names normalised" in people.out
    assert "the chain of the signer was not checked" in people.err
    told = files.verify("--signer", str(signer), "--json").json
    assert told["not_checked"] == ["chain", "revocation"]


REFUSED = (
    "altered",
    "not XML",
    "DTD",
    "root",
    "unsigned",
    "SHA-1",
    "another holder",
    "a server",
    "signer ended",
    "tomorrow",
)


def refused(authority: Authority) -> dict[str, tuple[Callable[[Files], object], str, str]]:
    """What to do to the files, with the reason and its detail."""

    def octets(old: bytes, new: bytes) -> Callable[[Files], object]:
        return lambda f: f.list.write_bytes(f.list.read_bytes().replace(old, new, 1))

    def signed(make: Make, subject: Subject) -> Callable[[Files], object]:
        return lambda f: f.sign(authority.issue(subject, make))

    signer = Subject("alb.mssante.example", "398765432100025", "LISTE TEST", "Paris (75)")
    past = Make(authority.now - timedelta(days=9), authority.now - timedelta(days=1), EMAIL_ONLY)
    return {
        "altered": (octets(b"clinique", b"klinique"), "signature", "digest"),
        "not XML": (lambda f: f.list.write_bytes(f.list.read_bytes()[:900]), "not XML", ""),
        "DTD": (octets(b"<ListeB", b"<!DOCTYPE x><ListeB"), "DTD or entity", ""),
        "root": (lambda f: f.list.write_bytes(b"<a/>"), "root", ""),
        "unsigned": (octets(b"<Signature ", b"<Signatur "), "not XML", ""),
        "SHA-1": (octets(b"xmlenc#sha256", b"xmldsig#sha1"), "signature profile", ""),
        "another holder": (signed(Make(usages=EMAIL_ONLY), OTHER), "signer", "pinned"),
        "a server": (signed(Make(), signer), "signer certificate", "usage"),
        "signer ended": (signed(past, signer), "signer certificate", "expired"),
        "tomorrow": (lambda f: f.sign(days=1), "dated in the future", ""),
    }


@pytest.mark.attack
@pytest.mark.requirement("OP-24", "OP-25")
@pytest.mark.parametrize("name", REFUSED)
def test_each_refusal_has_its_reason_and_a_remedy(
    files: Files, authority: Authority, name: str
) -> None:
    spoil, reason, detail = refused(authority)[name]
    spoil(files)
    answer = files.verify("--anchors", str(files.anchors), "--json")
    assert answer.code == 1
    assert answer.json["holds"] is False
    assert answer.json["reason"] == reason
    assert detail in answer.json["detail"]
    assert answer.json["why"]
    assert answer.json["remedy"]
    people = files.verify("--anchors", str(files.anchors))
    assert (people.code, people.out) == (1, "")
    assert reason in people.err


def test_another_certificate_of_the_same_subject_is_not_the_signer(
    files: Files, authority: Authority
) -> None:
    renewed = authority.issue(
        Subject("alb.mssante.example", "398765432100025", "LISTE TEST", "Paris (75)"),
        Make(usages=EMAIL_ONLY),
    )
    answer = files.verify("--signer", str(files.signer(renewed)))
    assert answer.code == 1
    assert "signer (not the certificate that was given)" in answer.err
    assert files.verify("--anchors", str(files.anchors)).code == 0


@pytest.mark.attack
@pytest.mark.parametrize(
    ("make", "detail"),
    [
        (lambda now: Make(now - timedelta(days=9), now - timedelta(days=1), EMAIL_ONLY), "expired"),
        (lambda now: Make(now + timedelta(days=1), usages=EMAIL_ONLY), "not yet valid"),
        (lambda now: Make(), "usage"),
    ],
)
def test_the_signer_that_was_given_must_have_been_able_to_sign_that_day(
    files: Files, authority: Authority, make: Callable[[datetime], Make], detail: str
) -> None:
    given = authority.issue(SIGNER_SUBJECT, make(authority.now))
    files.sign(given)
    answer = files.verify("--signer", str(files.signer(given)))
    assert answer.code == 1
    assert f"signer certificate ({detail})" in answer.err


def test_a_pin_holds_beside_a_given_signer(files: Files, authority: Authority) -> None:
    signer = str(files.signer(authority.signer))
    assert files.verify("--signer", signer, "--pin", authority.pin).code == 0
    assert files.verify("--signer", signer, "--pin", "CN=alb.mssante.fr").code == 1


@pytest.mark.requirement("OP-23", "OP-32", "OP-33")
def test_a_list_of_the_national_size_is_told_with_its_figures(
    files: Files, authority: Authority
) -> None:
    date = authority.now
    files.list.write_bytes(authority.sign_whitelist(lists.rows(date), date))
    told = files.verify("--signer", str(files.signer(authority.signer)), "--json").json
    assert (told["entries"], told["domains"]) == (lists.ROWS, lists.DOMAINS)
    assert (told["names_as_printed"], told["names_normalised"]) == (391, lists.CERTIFICATES)


def test_authorities_of_another_space_refuse_it(files: Files, tmp_path: Path) -> None:
    stranger = Authority(files.authority.now, make_key=shared_keys(10))
    (files.anchors / "ca.pem").write_bytes(stranger.anchors_pem)
    answer = files.verify("--anchors", str(files.anchors))
    assert answer.code == 1
    assert "signer certificate (chain)" in answer.err


def test_a_pin_may_be_given(files: Files) -> None:
    answer = files.verify("--anchors", str(files.anchors), "--pin", "CN=alb.mssante.fr")
    assert answer.code == 1
    assert "signer (not the pinned subject, but CN=alb.mssante.example," in answer.err


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--anchors", "nowhere"), "cannot be read"),
        (("--anchors", "liste.xml"), "holds no certificate of an authority"),
        (("--signer", "liste.xml"), "holds no certificate"),
        (("--signer", "x", "--anchors", "y"), "says what --anchors would check"),
        (("--anchors", "ca", "--at", "hier"), "is no time"),
        ((), "no file was given and none is found"),
    ],
)
def test_wrong_use_is_code_2(files: Files, arguments: tuple[str, ...], why: str) -> None:
    answer = typed("trust", "verify", str(files.list), *arguments)
    assert (answer.code, answer.out) == (2, "")
    assert why in answer.err


def test_a_home_lends_its_authorities_pin_and_crls(home: Home) -> None:
    kept = next((home.directory / "store/trust/lists").glob("*.xml"))
    told = home.mssmtp("trust", "verify", str(kept), "--json").json
    assert (told["holds"], told["not_checked"], told["entries"]) == (True, [], 3)


def test_every_reason_is_explained() -> None:
    assert set(WHY) == set(get_args(RefusalReason))
    assert all(why and remedy for why, remedy in WHY.values())
