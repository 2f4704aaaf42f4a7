"""An e-CPS or a CPx card is linked to an account, once, after a code by mail (SEED-12).

What was shown, a token or a card, has been verified before it gets here; the code is good for that
identity alone. Afterwards the identity logs in at the portal without a password (L14, L15); the
doors of mail programs take no card (OP-07). Everything blocks: to be called in a thread.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from mssmtp import codes
from mssmtp.errors import Reply
from mssmtp.identity import LoginRefused
from mssmtp.identity.tokens import Subject
from mssmtp.mail import AccountId, Person
from mssmtp.notices import Desk
from mssmtp.outside import Clock, Entropy
from mssmtp.pki import Anchors, CertificateRefused, Reason, Role
from mssmtp.portal import StrongLogin, may_log_in
from mssmtp.revocation import Revocation, judge_chain
from mssmtp.storage import Reading, Store, Writing

_HOLDER = re.compile(r"(8[0-9]{11}|0[0-9A-Z]{9})\Z", re.ASCII)
"""The CN of a CPx certificate is the national identifier of its holder."""
_MOST = 64


class NotLinked(LoginRefused):
    """Nobody's identity here, or the account is suspended: registration or linking comes next."""

    smtp = Reply(
        535,
        "5.7.8",
        "Cette identité n'est liée à aucun compte actif ; liez-la depuis votre compte.",
    )
    imap = "AUTHENTICATIONFAILED"
    is_guess = False


class NotYours(LoginRefused):
    """The identity names another professional than the holder of the account."""

    smtp = Reply(
        535,
        "5.7.8",
        "Cette identité est celle d'un autre professionnel ; liez la vôtre.",
    )
    imap = "AUTHENTICATIONFAILED"
    is_guess = False


class CardRefused(LoginRefused):
    """Not a card for logging in: of an authority that makes none, for another use, or too weak."""

    smtp = Reply(
        535,
        "5.7.8",
        "Ce certificat n'est pas celui d'une carte CPx ; choisissez le certificat"
        " d'authentification de votre carte.",
    )
    imap = "AUTHENTICATIONFAILED"
    is_guess = False
    told = "etrangere"
    """How the port for cards names it to the pages."""


class NoCard(CardRefused):
    """The browser has shown no certificate."""

    smtp = Reply(
        535,
        "5.7.8",
        "Aucune carte n'a été lue ; insérez votre carte CPx dans le lecteur, vérifiez que le"
        " navigateur la connaît, puis recommencez et saisissez son code.",
    )
    told = "absente"


class CardNotInForce(CardRefused):
    """It has ended, or begins later."""

    smtp = Reply(
        535,
        "5.7.8",
        "Cette carte n'est pas en cours de validité ; utilisez votre carte en vigueur, ou"
        " connectez-vous par mot de passe.",
    )
    told = "expiree"


class CardRevoked(CardRefused):
    """Its authority has revoked it."""

    smtp = Reply(
        535,
        "5.7.8",
        "Cette carte est révoquée ; utilisez celle qui la remplace, ou connectez-vous par mot de"
        " passe.",
    )
    told = "revoquee"


class CardSuspended(CardRefused):
    """The operator has suspended it (OP-79)."""

    smtp = Reply(
        535,
        "5.7.8",
        "Cette carte est suspendue par l'opérateur ; voyez votre administrateur, ou connectez-vous"
        " par mot de passe.",
    )
    told = "suspendue"


class CardUnchecked(CardRefused):
    """Nothing in force says whether it is revoked: nobody is let in by it until then (OP-09)."""

    smtp = Reply(
        454,
        "4.7.0",
        "La validité des cartes ne peut pas être vérifiée en ce moment ; réessayez plus tard, ou"
        " connectez-vous par mot de passe.",
    )
    imap = "UNAVAILABLE"
    told = "inverifiable"


class CardOfNobody(CardRefused):
    """It names no professional, as those of employees and of establishments."""

    smtp = Reply(
        535,
        "5.7.8",
        "Cette carte ne porte pas d'identifiant national de professionnel ; utilisez votre CPS ou"
        " CPF, ou connectez-vous par mot de passe.",
    )
    told = "anonyme"


CARD_REFUSALS: Mapping[str, type[CardRefused]] = MappingProxyType(
    {
        each.told: each
        for each in (
            *(CardRefused, NoCard, CardNotInForce, CardRevoked, CardSuspended, CardUnchecked),
            CardOfNobody,
        )
    }
)
_BY_REASON: Mapping[Reason, type[CardRefused]] = MappingProxyType(
    {
        "no certificate": NoCard,
        "expired": CardNotInForce,
        "not yet valid": CardNotInForce,
        "revoked": CardRevoked,
        "revocation unknown": CardUnchecked,
    }
)


@dataclass(frozen=True, slots=True)
class Shown:
    """An identity that somebody has proved to have. `certificate`: SHA-256 in hex of that of a
    card; "" where none was shown just now."""

    kind: Literal["psc", "card"]
    subject: str
    certificate: str = ""

    @property
    def label(self) -> str:
        """As lists print it."""
        return "e-CPS" if self.kind == "psc" else "carte CPx"


def by_token(subject: Subject) -> Shown:
    """What an introspected token of Pro Santé Connect shows."""
    return Shown("psc", subject.national_id)


def by_card(
    chain: Sequence[x509.Certificate],
    anchors: Anchors,
    revocation: Revocation | None,
    now: datetime,
) -> Shown:
    """What the certificate of a card shows, whose private key TLS has seen at work.

    `anchors` are those of the authorities of persons (OP-07). Raises CardRefused.
    """
    try:
        judge_chain(chain, anchors, revocation, Role.CLIENT, now)
    except CertificateRefused as error:
        raise _BY_REASON.get(error.reason, CardRefused)(error.reason) from error
    sha256 = chain[0].fingerprint(hashes.SHA256()).hex()
    return Shown("card", _holder(chain[0].subject), sha256)


def _holder(name: x509.Name) -> str:
    """The national identifier: the one CN of the name, wherever it stands.

    On a CPS it shares its RDN with surname and given name, so that the comparable form of names
    (`pki.certificate_name`), which has no such RDNs, reads none of them. Raises CardOfNobody.
    """
    named = [str(each.value).upper() for each in name.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if len(named) != 1 or not _HOLDER.match(named[0]):
        raise CardOfNobody("names no professional")
    return named[0]


class Linking:
    """One per process; thread-safe."""

    def __init__(self, store: Store, desk: Desk, clock: Clock, entropy: Entropy) -> None:
        self._store, self._desk, self._clock, self._entropy = store, desk, clock, entropy

    def begin(self, account: AccountId, shown: Shown) -> str:
        """Mail a code to the holder of `account`; the token of the attempt, for `finish`.

        Raises NotLinked for an account without a person, NotYours, CodeTooSoon, NoticesDown,
        BindingTaken.
        """
        drawn = codes.draw(self._entropy, self._clock.now())
        tied = replace(drawn, attempt=_tied(drawn.attempt, shown))

        def job(writing: Writing) -> None:
            person = writing.person_by_account(account)
            if person is None or not may_log_in(writing, account):
                raise NotLinked
            _demand_own(writing, person, shown)
            writing.demand_unbound(shown.kind, shown.subject, account)
            codes.issue(writing, self._desk, person, "bind", tied)

        self._store.write(job).result()
        return drawn.attempt

    def finish(self, attempt: str, code: str, shown: Shown) -> AccountId:
        """Spend the code and link what was shown; whose account that is.

        Raises CodeRefused, also for another identity than `begin` saw; NotYours, BindingTaken.
        """
        now = self._clock.now()
        tied = _tied(attempt[:_MOST], shown)

        def job(writing: Writing) -> AccountId | None:
            account = codes.accept(writing, tied, code.strip()[:_MOST], "bind", now)
            if account is None or not may_log_in(writing, account):
                return None
            person = writing.person_by_account(account)
            if person is None:
                return None
            _demand_own(writing, person, shown)
            writing.bind_account(shown.kind, shown.subject, account, shown.label)
            author = writing.account_login(account) or ""
            writing.trace("account", author, f"identité liée : {shown.label}", account=account)
            return account

        account = self._store.write(job).result()
        if account is None:
            raise codes.CodeRefused
        return account

    def log_in(self, shown: Shown) -> StrongLogin:
        """The login at the portal of whoever has linked this identity. Raises NotLinked."""
        now = self._clock.now()

        def job(writing: Writing) -> AccountId | None:
            account = writing.bound_account(shown.kind, shown.subject)
            if account is None or not may_log_in(writing, account):
                return None
            author = writing.account_login(account) or ""
            writing.trace("login", author, f"portail, {shown.label}", account=account)
            return account

        account = self._store.write(job).result()
        if account is None:
            raise NotLinked
        return StrongLogin(account, now, shown.certificate)


def _demand_own(reading: Reading, person: Person, shown: Shown) -> None:
    """A colleague's identity would open this account as the own one does. Raises NotYours."""
    holder = reading.person_by_national_id(shown.subject)
    is_others = holder is not None and holder.id != person.id
    if is_others or person.national_id not in (None, shown.subject):
        raise NotYours


def _tied(attempt: str, shown: Shown) -> str:
    """The attempt as it is stored: of this identity, and of no other that is shown later."""
    text = f"{attempt}\0{shown.kind}\0{shown.subject}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
