"""A real operator's home as files, and the commands as its administrator types them."""

from __future__ import annotations

import contextlib
import contextvars
import io
import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from unittest import mock

from mssmtp import cli
from mssmtp.accounts import NewBal, add_bal
from mssmtp.config import Settings, load
from mssmtp.config_example import Value, render
from mssmtp.demo.authority import RESPONSIBLE, SUPPORT, Authority, Identity, row
from mssmtp.mail import Address, BalType, PersonState
from mssmtp.outside import SystemClock, SystemEntropy
from mssmtp.storage import Store
from mssmtp.trust_feed.fetch import Validators
from mssmtp.trust_feed.files import Answer, TrustFiles
from mssmtp.whitelist import Row, Whitelist
from tests.authority import A_DOMAIN, A_SUBJECT, B_DOMAIN, B_SUBJECT

CLOCK, ENTROPY = SystemClock(), SystemEntropy()
PATIENT_DOMAIN = "patient.test"
LIST_URL = "https://liste.test/liste.xml"
CRL_URLS = ("http://crl.test/racine.crl", "http://crl.test/organisations.crl")
PASSWORD = "abcdefghijklmnopqrst"
ZOE = Address.parse("zoe.tartempion@hopital-a.test")
UNCERTIFIED = Address.parse("noe.exemple@hopital-a.test")
SECRETARIAT = Address.parse("secretariat@hopital-a.test")
RPPS = "10000000009"
"""Its last digit is the right one (Luhn)."""


@dataclass(frozen=True, slots=True)
class Typed:
    """What one command answered."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its standard output, parsed."""
        return json.loads(self.out)


def typed(*arguments: str, stdin: str = "") -> Typed:
    """`mssmtp ARGUMENTS`, in this process but through the entry point of the command."""
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with (
        mock.patch.object(sys, "argv", ["mssmtp", *arguments]),
        mock.patch.object(sys, "stdin", io.StringIO(stdin)),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            contextvars.copy_context().run(cli.main)  # what one command sets is not the next one's
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1 if end.code else 0
    return Typed(code, out.getvalue(), err.getvalue())


@dataclass(frozen=True, slots=True)
class Home:
    """One home. Everything in it may be damaged by the test that has it."""

    directory: Path

    @property
    def config_file(self) -> Path:
        return self.directory / "mssmtp.toml"

    @property
    def settings(self) -> Settings:
        return load(self.config_file)

    @property
    def trust_files(self) -> TrustFiles:
        """Lists and CRLs as they are kept."""
        return TrustFiles(self.settings.store.home / "trust")

    def mssmtp(self, *arguments: str, stdin: str = "") -> Typed:
        """The command on this home."""
        return typed(*arguments, "--config", str(self.config_file), stdin=stdin)

    def edit(self, old: str, new: str) -> None:
        """Change the settings file as an editor would."""
        text = self.config_file.read_text("utf-8")
        assert old in text
        self.config_file.write_text(text.replace(old, new, 1), "utf-8")

    @contextlib.contextmanager
    def store(self) -> Iterator[Store]:
        """The store, opened beside whatever runs."""
        with contextlib.closing(Store(self.settings.store, CLOCK, ENTROPY, worker="t")) as store:
            yield store

    def copy(self, directory: Path) -> Home:
        """The same home elsewhere; modes are kept."""
        shutil.copytree(self.directory, directory)
        return Home(directory)


def values(**more: Value) -> dict[str, Value]:
    """Settings of hopital-a.test; `more` by dotted name with `__` for the dot."""
    named = {name.replace("__", "."): value for name, value in more.items()}
    return {
        "operator.name": "hopital-a",
        "operator.host_name": "mx.hopital-a.test",
        "operator.domains": A_DOMAIN,
        "operator.responsible_contact": RESPONSIBLE,
        "operator.support_contact": SUPPORT,
        "store.home": "store",
        "store.master_key_file": "keys/master.key",
        "tls.operators.certificate_file": "certs/operator.pem",
        "tls.operators.key_file": "certs/operator.key",
        "tls.users.certificate_file": "certs/operator.pem",
        "tls.users.key_file": "certs/operator.key",
        "pki.anchors_file": "certs/ca.pem",
        "pki.crl_urls": CRL_URLS,
        "whitelist.url": LIST_URL,
        "whitelist.signer_subject": Authority.pin,
        "policy.patient_domains": PATIENT_DOMAIN,
        **named,
    }


def make_home(
    directory: Path, authority: Authority, identity: Identity, more: Mapping[str, Value] = {}
) -> Home:
    """A home of hopital-a.test with its certificates and an empty store; no list yet."""
    home = Home(directory)
    directory.mkdir(mode=0o700)
    identity.write(directory / "certs", "operator")
    (directory / "certs" / "ca.pem").write_bytes(authority.anchors_pem)
    home.config_file.write_text(render(values() | dict(more)), "utf-8")
    Store.create(home.settings.store, CLOCK, ENTROPY)
    return home


def put_rows(
    home: Home,
    authority: Authority,
    rows: Sequence[Row],
    reasons: tuple[str, ...] = (),
    *,
    date: datetime | None = None,
) -> Whitelist:
    """A signed list comes, newer than any before it; with `reasons` it is held."""
    now = CLOCK.now()
    answer = Answer(LIST_URL, authority.sign_whitelist(rows, date or now), Validators())
    listed = Whitelist(date or now, sha256(answer.octets).hexdigest(), "", tuple(rows))
    home.trust_files.take_list(answer, listed, reasons, now)
    return listed


def put_list(home: Home, authority: Authority) -> None:
    """Put a signed list (both operators and the patients' domain) and CRLs on disk."""
    now = CLOCK.now()
    names = ((A_DOMAIN, A_SUBJECT), (B_DOMAIN, B_SUBJECT), (PATIENT_DOMAIN, B_SUBJECT))
    put_rows(home, authority, [row(name, subject.text, updated=now) for name, subject in names])
    files = home.trust_files
    crls = authority.crls(this_update=now, next_update=now + timedelta(days=7))
    for url, crl in zip(home.settings.pki.crl_urls, crls, strict=True):
        files.keep_crl(url, crl, now, Validators())


def put_boxes(home: Home) -> None:
    """A doctor, a person not certified, and an ORG box of which the doctor is a member."""
    with home.store() as store:
        for new in (
            NewBal(ZOE, BalType.PER, national_id="8" + RPPS),
            NewBal(UNCERTIFIED, BalType.PER, PersonState.NOT_CERTIFIED, "8" + RPPS),
            NewBal(SECRETARIAT, BalType.ORG, members=(str(ZOE),)),
        ):
            add_bal(store, new, ENTROPY, PASSWORD)
