"""What the SMTP doors look up before the policy is asked: operators, principals, recipients."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING

from cryptography import x509

from mssmtp.antivirus import Clamd
from mssmtp.awaiting import awaited
from mssmtp.bearers import Bearers, as_of_now
from mssmtp.config import Settings
from mssmtp.errors import MailError
from mssmtp.gateways import NO_GATEWAYS, Gateways
from mssmtp.identity import Authenticator, LoginRefused
from mssmtp.mail import Address, Bal, Domain, Door, Principal, Recipient, RecipientFacts, Stage
from mssmtp.notices import Desk
from mssmtp.notices.inviting import Inviting
from mssmtp.outside import Clock, Entropy
from mssmtp.own import OwnKeys
from mssmtp.pki import Role
from mssmtp.policy.engine import Engine
from mssmtp.rates import Rates
from mssmtp.responder import Responder
from mssmtp.smtp import replies
from mssmtp.smtp.syntax import MailCommand, RcptCommand
from mssmtp.smtp.transaction import Destination, Transaction, judged
from mssmtp.storage import Store
from mssmtp.systems import Systems
from mssmtp.trust import PeerRefused, Trust

if TYPE_CHECKING:
    from mssmtp.storage.store import Reading


logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Services:
    """Everything a door leans on; made by `app`."""

    settings: Settings
    store: Store
    trust: Trust
    engine: Engine
    authenticator: Authenticator
    clock: Clock
    entropy: Entropy
    keys: OwnKeys
    responder: Responder | None = None
    antivirus: Clamd | None = None
    gateways: Gateways = NO_GATEWAYS
    rates: Rates | None = None
    bearers: Bearers | None = None
    systems: Systems | None = None

    @property
    def inviting(self) -> Inviting:
        """Who tells strangers that a letter waits for them (DEF-09)."""
        return Inviting(Desk.of(self.settings, self.clock), self.clock, self.entropy)

    @property
    def domains(self) -> frozenset[Domain]:
        """Domains served here, those that come or leave included."""
        return frozenset(self.settings.operator.domains)

    def serves(self, name: Domain) -> bool:
        """Is mail for this domain delivered into boxes here, now (OP-101)?"""
        return name in self.domains and self.engine.moves.is_settled(name, self.clock.now())

    def refreshed(self, reading: Reading, principal: Principal) -> Principal:
        """Who the principal of an open session is now. Raises LoginRefused."""
        if principal.system is not None and self.systems is not None:
            return self.systems.refreshed(reading, principal)
        return as_of_now(self.authenticator, reading, principal)


class LoginLost(MailError):
    """The account or password of an open session is no longer good."""

    smtp = replies.LOGIN_REQUIRED


async def from_operator(
    services: Services, chain: Sequence[x509.Certificate], command: MailCommand
) -> Transaction:
    """MAIL on the operator door: docs/trust.md, steps 2 to 8, judged anew at each MAIL.

    Raises CertificateRefused, PeerRefused, Refused.
    """
    if services.responder is not None:
        await services.responder.settle(chain, Role.CLIENT)
    now = services.clock.now()
    operator = services.trust.identify(chain, now)
    services.keys.met(operator, chain)
    services.trust.bind(operator, command.sender)
    transaction = Transaction(
        command,
        Door.OPERATOR,
        sender_is_local=command.sender is not None and command.sender.domain in services.domains,
        list_date=services.trust.snapshot.list_date,
        own_unlisted=services.keys.unlisted,
        operator=operator,
    )
    judged(services.engine, transaction.facts(Stage.SENDER, now))
    return transaction


Refreshed = Callable[["Reading", Principal], Principal]
"""Who a session's principal is now. Raises LoginRefused."""


async def from_principal(
    services: Services,
    known: Principal,
    command: MailCommand,
    refreshed: Refreshed | None = None,
) -> Transaction:
    """MAIL on a submission door: the sender is one of the login's boxes (OP-86).

    The boxes are read again: a password, membership or account taken away has effect at the next
    message of an open session (ATT-18, ATT-25). Raises Refused, LoginLost.
    """
    again = refreshed or services.refreshed
    try:
        principal = await awaited(services.store.read(lambda r: again(r, known)))
    except LoginRefused as error:
        raise LoginLost from error
    # RFC 4314 2.1: `p`, which a mere reader of an ORG box does not have.
    may_post = (bal for bal in principal.bals if "p" in principal.rights_in(bal.id))
    principal = replace(principal, bals=tuple(may_post))
    sender = command.sender
    transaction = Transaction(
        command,
        Door.SUBMISSION,
        sender_is_local=sender is not None and sender.domain in services.domains,
        list_date=services.trust.snapshot.list_date,
        own_unlisted=services.keys.unlisted,
        principal=principal,
        acting=None if sender is None else principal.acting_in(sender),
    )
    judged(services.engine, transaction.facts(Stage.SENDER, services.clock.now()))
    return transaction


async def still_entitled(
    services: Services,
    transaction: Transaction,
    chain: Sequence[x509.Certificate],
    refreshed: Refreshed | None = None,
) -> None:
    """Ask again about the sender of a transaction that has been open for a while.

    Between MAIL and the end of the data hours may pass: what was revoked meanwhile sends nothing
    (ATT-18, ATT-25). Raises as `from_operator` and `from_principal`.
    """
    if transaction.principal is not None:
        principal, command = transaction.principal, transaction.command
        now = await from_principal(services, principal, command, refreshed)
    else:
        now = await from_operator(services, chain, transaction.command)
    transaction.principal, transaction.acting = now.principal, now.acting
    transaction.operator = now.operator


async def know_authors(
    services: Services, transaction: Transaction, authors: tuple[Address, ...]
) -> None:
    """A gateway acts in every box of its domains: those that From and Sender name are looked up,
    and no others, so that facts stay small."""
    relayed, principal = transaction.gateway, transaction.principal
    if relayed is None or principal is None:
        return
    unknown = {
        each
        for each in authors
        if each.domain in relayed.domains and principal.acting_in(each) is None
    }
    if not unknown:
        return
    found = await awaited(services.store.read(lambda r: [r.bal(each) for each in unknown]))
    boxes = tuple(bal for bal in found if bal is not None)
    transaction.principal = replace(principal, bals=principal.bals + boxes)


async def destination(
    services: Services, transaction: Transaction, command: RcptCommand
) -> Destination:
    """RCPT: the recipient after every rewrite, if the policy takes it.

    Raises Refused, and PeerRefused for a domain that is suspended (OP-79); a box of one of ours
    reads as suspended.
    """
    found = _lately(services, transaction, command.address)
    if found is None:
        mark = services.store.lately.mark()
        query = about(services, transaction, command.address)
        found = await awaited(services.store.read(query))
        if found.bal is not None and not found.is_full:
            services.store.lately.keep(mark, found.bal)
    facts = transaction.facts(Stage.RECIPIENT, services.clock.now(), [found])
    facts = replace(facts, wait_s=_wait_s(services, transaction))
    settled = judged(services.engine, facts).facts.recipients[0]
    if not settled.is_local_domain and settled.address.domain in services.trust.suspended.domains:
        raise PeerRefused("suspended")
    _charge(services, transaction)
    recipient = Recipient(
        settled.address,
        typed=settled.typed,
        notify=command.notify,
        # APX-04: what was typed stays with the message all along the way.
        orcpt=command.orcpt or (f"rfc822;{settled.typed}" if settled.typed else None),
    )
    return Destination(recipient, settled)


def _wait_s(services: Services, transaction: Transaction) -> int:
    """Until the box that writes may write to one more; whole seconds, rounded up."""
    box, rates = _writing(transaction), services.rates
    if box is None or rates is None:
        return 0
    is_machine = transaction.door is Door.GATEWAY
    return ceil(rates.wait_s(box, services.clock.monotonic(), is_machine=is_machine))


def _charge(services: Services, transaction: Transaction) -> None:
    box, rates = _writing(transaction), services.rates
    if box is not None and rates is not None:
        is_machine = transaction.door is Door.GATEWAY
        rates.charge(box, services.clock.monotonic(), is_machine=is_machine)


def grant_urgency(services: Services, transaction: Transaction) -> None:
    """RFC 6710 5: a box has so many urgent letters an hour; the next is one like any other.

    Without a box that writes, nor a count, there is nothing to hold it to.
    """
    asked = transaction.command.priority
    box, rates = _writing(transaction), services.rates
    if asked <= 0 or box is None or rates is None:
        return
    now, is_machine = services.clock.monotonic(), transaction.door is Door.GATEWAY
    if rates.grants_urgency(box, now, is_machine=is_machine):
        return
    transaction.command = replace(transaction.command, priority=0)
    transaction.lowered_from = asked
    logger.warning("priority lowered", extra={"bal": box.id, "asked": asked})


def _writing(transaction: Transaction) -> Bal | None:
    """The box acted in; with a null reverse-path the first of the login."""
    if transaction.acting is not None or transaction.principal is None:
        return transaction.acting
    return next(iter(transaction.principal.bals), None)


def _invites(services: Services, transaction: Transaction, reading: Reading) -> bool:
    """Whether an unknown usual address is invited, as the structure of the box acted in has chosen
    (DEF-09); never where nobody could be told."""
    acting = transaction.acting
    if transaction.door is not Door.SUBMISSION or acting is None or acting.structure is None:
        return False
    structure = reading.structure(acting.structure)
    is_on = services.settings.notices.is_on
    return is_on and structure is not None and structure.invites in transaction.inviting


def is_real_mail_to_tests(
    services: Services, transaction: Transaction, accepted: Destination
) -> bool:
    """OP-99: a box of the production space writes to a domain made for tests or training."""
    domain = accepted.recipient.address.domain
    return (
        transaction.door is not Door.OPERATOR
        and services.keys.space == "production"
        and not accepted.facts.is_local_domain
        and services.engine.is_for_tests(domain)
    )


def _lately(
    services: Services, transaction: Transaction, address: Address
) -> RecipientFacts | None:
    """Facts without a query: a peer writes to a box of ours that was looked up lately.

    What depends on the sender's own boxes, or on a rewritten address, is always asked.
    """
    if transaction.acting is not None or transaction.principal is not None:
        return None
    bal = services.store.lately.bal(address)
    if (
        bal is None
        or not services.serves(address.domain)
        or services.engine.target(address) is not None
    ):
        return None
    listed = services.trust.snapshot.lists(address.domain)
    return RecipientFacts(address, is_local_domain=True, is_listed=listed, bal=bal)


def about(
    services: Services, transaction: Transaction, address: Address
) -> Callable[[Reading], RecipientFacts]:
    """A query for everything the policy may ask about one recipient of `transaction`."""
    snapshot = services.trust.snapshot
    boxes = (
        (transaction.acting,)
        if transaction.acting is not None
        else (transaction.principal.bals if transaction.principal is not None else ())
    )

    def facts(reading: Reading, address: Address, target: RecipientFacts | None) -> RecipientFacts:
        is_local = services.serves(address.domain)
        # A peer may write to a box that leaves: its mail is forwarded (OP-101).
        is_ours = is_local or transaction.door is Door.OPERATOR
        bal = reading.bal(address) if is_ours and address.domain in services.domains else None
        usual = None
        if bal is None and transaction.door is not Door.OPERATOR:
            usual = reading.bal_by_usual(address)
            if usual is not None and not services.serves(usual.address.domain):
                usual = None  # its box is another operator's, now
        is_invited = bal is None and usual is None and _invites(services, transaction, reading)
        is_listed = snapshot.lists(address.domain)
        writer = usual.address if usual is not None else address
        box = bal or usual
        size_octets = transaction.command.size_octets
        return RecipientFacts(
            address,
            is_local_domain=is_local,
            is_listed=is_listed,
            bal=bal,
            usual_of=usual,
            has_written=any(reading.has_written(box.id, writer) for box in boxes),
            target=target,
            is_full=box is not None and not reading.room(box.id).takes(size_octets, 1),
            is_invited=is_invited and not is_local and not is_listed,
        )

    def query(reading: Reading) -> RecipientFacts:
        rewritten = services.engine.target(address)
        target = facts(reading, rewritten, None) if rewritten is not None else None
        return facts(reading, address, target)

    return query
