"""The link with which a pre-registered person finalises the account (SEED-40, DEF-11).

The secret is 128 random bits, in the mail and nowhere else: the store keeps what recognises it. It
opens nothing but the choice of a password, once, and a new link ends the one before.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import timedelta

from mssmtp.mail import Person, PersonState
from mssmtp.notices import Desk, Kind
from mssmtp.outside import Entropy
from mssmtp.people import invited, persons
from mssmtp.people.refusing import NotAllowed
from mssmtp.people.register import Register
from mssmtp.people.rules import Rules
from mssmtp.storage import Reading, Writing
from mssmtp.storage.secrets import SecretKind

KIND: SecretKind = "activation"
TOKEN_OCTETS = 16
PATH = "activation"
"""Page of the portal that a link leads to; the secret is behind `#`, which no server logs."""


@dataclass(frozen=True, slots=True)
class Inviting:
    """What sends links. `lasts`: how long one can be used."""

    desk: Desk
    entropy: Entropy
    lasts: timedelta

    def require(self) -> None:
        """Raises NotAllowed: no mail can go out, so nobody can be told."""
        if not self.desk.is_on:
            raise NotAllowed(
                "notifier",
                "aucun relais de courrier n'est réglé : personne ne recevrait son lien",
                "Réglez notices.relay_host ; sans lui, ni --notify ni O dans la colonne notifier.",
            )

    def invite(self, writing: Writing, person: Person, structure: str) -> None:
        """Queue the mail with a new link, in the caller's transaction.

        Raises NotAllowed: the account is finalised already, or has no box.
        """
        box = writing.box_of(person.account)
        if person.state is not PersonState.PRE_REGISTERED or box is None:
            raise NotAllowed(
                str(person.usual_address), "ce compte est déjà activé", "Rien à envoyer."
            )
        now = writing.now()
        until = now + self.lasts
        token = base64.urlsafe_b64encode(self.entropy.token_bytes(TOKEN_OCTETS)).decode()
        token = token.rstrip("=")
        writing.void_secrets(KIND, person.account)
        writing.new_secret(KIND, token, person.account, until)
        self.desk.tell(
            writing,
            Kind.ACTIVATION,
            person,
            {
                "structure": structure,
                "box": str(box.address),
                "link": self.desk.link(f"{PATH}#{token}"),
                "until": f"{until:%d/%m/%Y}",
            },
            bal=box.id,
            expires_at=until,
        )
        writing.mark_person(person.id, "told_at", now)


@dataclass(frozen=True, slots=True)
class Choice:
    """What its holder chose: the hash of the password, and whether the three conditions of SEED-31
    are attested."""

    argon2: str
    attests: bool


def holder(reading: Reading, token: str) -> Person:
    """Whose link this is. Raises NotAllowed: unknown, used, replaced or too old, in one sentence,
    so that who guesses learns nothing."""
    secret = reading.secret(KIND, token)
    if secret is None or secret.spent_at is not None or secret.expires_at <= reading.now():
        raise _worn_out()
    person = reading.person_by_account(secret.subject)
    if person is None:
        raise _worn_out()
    return person


def finalise(
    writing: Writing, rules: Rules, register: Register, token: str, choice: Choice
) -> Person:
    """The account is its holder's: certified, the structure having vouched (DEF-11).

    Of several who come at once with one link, one finalises (ATT-21). Raises NotAllowed.
    """
    person = holder(writing, token)
    secret = writing.secret(KIND, token)
    if secret is None or not writing.spend_secret(secret.id):
        raise _worn_out()
    if choice.attests:
        told = dict.fromkeys(("takes_part", "strictly_needed", "informed"), True)
        persons.attest(writing, person, writing.now(), told)
    writing.set_portal_password(person.account, choice.argon2)
    finalised = persons.finalise(writing, rules, register, person)
    if (box := writing.box_of(person.account)) is not None:
        # The link came to the usual address: what others wrote to it before waits no longer.
        invited.open_waiting(writing, person.usual_address, box)
    writing.trace("account", str(person.usual_address), "activation", account=person.account)
    return finalised


def _worn_out() -> NotAllowed:
    return NotAllowed(
        "lien",
        "ce lien n'existe pas, a déjà servi ou n'est plus valable",
        "Demandez-en un autre à votre administrateur.",
    )
