"""One SMTP session as state: which command is legal now, and the Facts each decision sees.

RFC 5321 4.1.4. Nothing here waits: the door brings what it looked up and asks for the next reply.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from mssmtp.config import LimitSettings
from mssmtp.errors import MailError
from mssmtp.mail import (
    Action,
    Address,
    Attachment,
    Bal,
    Domain,
    DomainState,
    Door,
    Facts,
    Invites,
    Operator,
    Principal,
    Recipient,
    RecipientFacts,
    Stage,
)
from mssmtp.message.aliases import Aliases
from mssmtp.policy.engine import Decision, Engine
from mssmtp.smtp import replies, syntax
from mssmtp.smtp.content import Authors
from mssmtp.smtp.syntax import BadArgument, Extensions, MailCommand, RcptCommand, TooBig

_MAX_GREETING = 255


class OutOfOrder(MailError):
    """A legal command at the wrong moment (RFC 5321 4.1.4)."""

    smtp = replies.SAY_HELLO


class TooManyRecipients(MailError):
    """limits.recipients is reached (RFC 5321 4.5.3.1.10)."""

    smtp = replies.TOO_MANY_RECIPIENTS


class Refused(MailError):
    """The policy said no; `rule` names which rule."""

    smtp = replies.NO_RECIPIENT

    def __init__(self, decision: Decision) -> None:
        super().__init__(decision.final.rule, reply=decision.final.reply)
        self.rule = decision.final.rule
        self.decision = decision


@dataclass(frozen=True, slots=True)
class DoorRules:
    """What is the same for every connection of a door."""

    door: Door
    domains: frozenset[Domain]
    limits: LimitSettings
    extensions: Extensions = field(init=False)
    """Parameters of MAIL and RCPT are known where their extension is announced, and there only."""

    def __post_init__(self) -> None:
        is_submission = self.door is Door.SUBMISSION  # RFC 4954 5, RFC 4865 3: not between servers
        known = Extensions(
            auth=is_submission,
            dsn=True,
            require_tls=True,
            deliver_by=True,
            priority=True,
            longest_hold=(self.limits.future_release or None) if is_submission else None,
        )
        object.__setattr__(self, "extensions", known)

    @property
    def may_be_urgent(self) -> bool:
        """RFC 6710 4.1: a priority above the usual one is for those who have logged in here."""
        return self.door is not Door.OPERATOR


@dataclass(frozen=True, slots=True)
class Destination:
    """An accepted recipient with what was looked up about it."""

    recipient: Recipient
    facts: RecipientFacts

    @property
    def domain(self) -> Domain:
        """Of the address after every rewrite."""
        return self.recipient.address.domain

    @property
    def bal(self) -> Bal | None:
        """Its box here; None when the mail goes to another operator."""
        return self.facts.bal if self.facts.is_local_domain else None


@dataclass(frozen=True, slots=True)
class Relayed:
    """The hospital's gateway that brings a letter: what is behind it, and its table (DEF-19)."""

    name: str
    domains: frozenset[Domain]
    aliases: Aliases


@dataclass(slots=True)
class Transaction:
    """From MAIL to the end of DATA. Exactly one of operator and principal is set; a `gateway` is
    the principal of the boxes its letter names."""

    command: MailCommand
    door: Door
    sender_is_local: bool
    list_date: datetime | None
    operator: Operator | None = None
    principal: Principal | None = None
    acting: Bal | None = None
    own_unlisted: tuple[tuple[Domain, DomainState], ...] = ()
    destinations: list[Destination] = field(default_factory=list)
    is_chunked: bool = False
    """A BDAT has come: neither RCPT nor DATA any more, until its last chunk or RSET."""
    gateway: Relayed | None = None
    inviting: tuple[Invites, ...] = ("all",)
    """What the structure of the box acted in may have chosen for an unknown usual address to be
    invited (DEF-09): at a page of ours, which asks the sender first, `portal` too."""
    lowered_from: int = 0
    """The priority of RFC 6710 that was asked for, when the box had no more of it."""

    def facts(
        self, stage: Stage, now: datetime, recipients: Sequence[RecipientFacts] = ()
    ) -> Facts:
        """What is known at SENDER or RECIPIENT."""
        return Facts(
            stage=stage,
            door=self.door,
            now=now,
            sender=self.command.sender,
            operator=self.operator,
            principal=self.principal,
            acting=self.acting,
            sender_is_local=self.sender_is_local,
            recipients=tuple(recipients),
            size_octets=self.command.size_octets,
            list_date=self.list_date,
            own_unlisted=self.own_unlisted,
        )

    def content_facts(
        self,
        now: datetime,
        authors: Authors,
        size_octets: int,
        attachments: tuple[Attachment, ...],
    ) -> Facts:
        """What is known at CONTENT: everything. `size_octets` without our trace headers."""
        return Facts(
            stage=Stage.CONTENT,
            door=self.door,
            now=now,
            sender=self.command.sender,
            operator=self.operator,
            principal=self.principal,
            acting=self.acting,
            sender_is_local=self.sender_is_local,
            recipients=tuple(one.facts for one in self.destinations),
            list_date=self.list_date,
            own_unlisted=self.own_unlisted,
            from_addresses=authors.from_addresses,
            sender_addresses=authors.sender_addresses,
            shown_domains=authors.shown_domains,
            size_octets=size_octets,
            attachments=attachments,
        )

    def add(self, destination: Destination) -> None:
        """Accept one more; the same address twice is one recipient.

        Two typed addresses that became one elsewhere both stay: only then can the policy see at
        CONTENT that they are ambiguous (APX-04).
        """
        if not any(_are_one(one, destination) for one in self.destinations):
            self.destinations.append(destination)


def _are_one(first: Destination, second: Destination) -> bool:
    if first.recipient.address != second.recipient.address:
        return False
    typed = {each.recipient.typed for each in (first, second)}
    return second.facts.is_local_domain or None in typed or len(typed) == 1


class Conversation:
    """The state of one connection. Methods raise MailError kinds whose reply is the answer."""

    def __init__(self, rules: DoorRules) -> None:
        self.rules = rules
        self.secured = False
        self._forget()

    def _forget(self) -> None:
        self.greeting: str | None = None
        self.extended = False
        self.principal: Principal | None = None
        self.transaction: Transaction | None = None

    def secure(self) -> None:
        """TLS is there: forget all that was said in clear (RFC 3207 4.2)."""
        self._forget()
        self.secured = True

    def greet(self, name: str | None, *, extended: bool) -> None:
        """EHLO or HELO; ends a transaction (RFC 5321 4.1.4). Any name is taken (AND-06)."""
        if not name or len(name) > _MAX_GREETING or not name.isascii():
            raise BadArgument
        self.greeting, self.extended, self.transaction = name, extended, None

    def may_start_tls(self, argument: str | None) -> None:
        """STARTTLS."""
        if argument:
            raise BadArgument
        if self.secured:
            raise OutOfOrder(reply=replies.TLS_ALREADY)
        self._check_greeted()
        self._check_idle()

    def may_log_in(self) -> None:
        """AUTH (RFC 4954 4)."""
        self._check_greeted()
        if not self.secured:
            raise OutOfOrder(reply=replies.TLS_BEFORE_LOGIN)
        if self.principal is not None:
            raise OutOfOrder(reply=replies.LOGIN_ALREADY)
        self._check_idle()

    def may_be_told(self) -> None:
        """XCLIENT, XFORWARD: between two transactions, behind EHLO."""
        self._check_greeted()
        self._check_idle()

    def restart(self) -> None:
        """XCLIENT: as if another client had connected, on the same secured connection."""
        self._forget()

    def mail(self, argument: str | None, now: datetime) -> MailCommand:
        """MAIL, before anybody is asked about the sender."""
        if not self.secured:
            raise OutOfOrder(reply=replies.TLS_REQUIRED)
        self._check_greeted()
        if self.rules.door is Door.SUBMISSION and self.principal is None:
            raise OutOfOrder(reply=replies.LOGIN_REQUIRED)
        if self.transaction is not None:
            raise OutOfOrder(reply=replies.NESTED_MAIL)
        command = syntax.mail_command(argument, self.rules.extensions, now)
        limit = self.rules.limits.message_octets
        if command.size_octets > limit:
            raise TooBig(reply=replies.too_big(limit))
        return command

    def rcpt(self, argument: str | None, own: Domain) -> tuple[Transaction, RcptCommand]:
        """RCPT, before anybody is asked about the recipient."""
        transaction = self._unchunked()
        command = syntax.rcpt_command(argument, self.rules.extensions, own)
        if len(transaction.destinations) >= self.rules.limits.recipients:
            raise TooManyRecipients
        return transaction, command

    def data(self, argument: str | None) -> Transaction:
        """DATA."""
        transaction = self._unchunked()
        if argument:
            raise BadArgument
        if not transaction.destinations:
            raise OutOfOrder(reply=replies.NO_RECIPIENT)
        return transaction

    def chunk(self) -> Transaction:
        """BDAT. Whether it can be taken or not, no recipient may be named any more (ATT-35)."""
        transaction = self._open_transaction()
        transaction.is_chunked = True
        return transaction

    def _unchunked(self) -> Transaction:
        transaction = self._open_transaction()
        if transaction.is_chunked:
            raise OutOfOrder(reply=replies.IN_CHUNKS)
        return transaction

    def _open_transaction(self) -> Transaction:
        if not self.secured:
            raise OutOfOrder(reply=replies.TLS_REQUIRED)
        if self.transaction is None:
            raise OutOfOrder(reply=replies.MAIL_FIRST)
        return self.transaction

    def _check_greeted(self) -> None:
        if self.greeting is None:
            raise OutOfOrder(reply=replies.SAY_HELLO)

    def _check_idle(self) -> None:
        if self.transaction is not None:
            raise OutOfOrder(reply=replies.NOT_IN_TRANSACTION)


def judged(engine: Engine, facts: Facts) -> Decision:
    """The engine's decision when it lets the mail go on. Raises Refused."""
    decision = engine.decide(facts)
    if decision.final.action in (Action.REJECT, Action.DEFER):
        raise Refused(decision)
    return decision


def bounced(decision: Decision) -> dict[Address, str]:
    """Recipients that get a DSN instead of the message, each with its diagnostic (DEF-18)."""
    found: dict[Address, str] = {}
    for verdict in decision.verdicts:
        if verdict.action is Action.BOUNCE and verdict.reply is not None:
            found.update(dict.fromkeys(verdict.bounced, str(verdict.reply)))
    return found
