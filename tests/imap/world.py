"""A store with people in it, and IMAP clients without sockets: effects are done at once."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from mssmtp.config import LimitSettings, StoreSettings
from mssmtp.errors import Ended
from mssmtp.identity import BadCredentials, Bearer, Claim, Credentials
from mssmtp.identity.sasl import MECHANISMS
from mssmtp.identity.tokens import CannotBeAsked, TokenRefused
from mssmtp.imap import effects
from mssmtp.imap.conversation import converse
from mssmtp.imap.effects import Effect, Woken
from mssmtp.imap.session import Session, Timing
from mssmtp.mail import (
    Address,
    Bal,
    BalId,
    BalType,
    Change,
    ChangeKind,
    DelegateRight,
    Door,
    Envelope,
    Principal,
    Recipient,
    Role,
)
from mssmtp.outside import SystemEntropy
from mssmtp.storage import Delegation, DelegationKind, Store, Transfer, changes
from tests.imap import answers

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
PASSWORD = "sesame"
ZOE = "zoe.tartempion@hopital-a.test"
LUC = "luc.bidule@hopital-a.test"
SERVICE = "radiologie@hopital-a.test"

MESSAGE = (
    b"Date: Mon, 2 Mar 2026 10:11:12 +0100\r\n"
    b"From: Luc Bidule <luc.bidule@cabinet-b.test>\r\n"
    b"To: zoe.tartempion@hopital-a.test\r\n"
    b"Subject: Compte rendu %d\r\n"
    b"Message-ID: <%d@cabinet-b.test>\r\n"
    b"MIME-Version: 1.0\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n"
    b"\r\n"
    b"Bonjour %d\r\n"
)


def message(number: int) -> bytes:
    """Message `number` of a mailbox."""
    return MESSAGE % (number, number, number)


class ManualClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.at = START

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return (self.at - START).total_seconds()

    def advance(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@cache
def _template() -> Path:
    """A home with its people, made once per process and copied."""
    directory = tempfile.TemporaryDirectory(prefix="mssmtp-world-")
    atexit.register(directory.cleanup)
    base = Path(directory.name)
    settings = StoreSettings(home=base / "home", master_key_file=base / "master.key")
    Store.create(settings, ManualClock(), SystemEntropy())
    store = Store(settings, ManualClock(), SystemEntropy())
    for address, kind, national_id in (
        (ZOE, BalType.PER, "810000000012"),
        (LUC, BalType.PER, "810000000020"),
        (SERVICE, BalType.ORG, None),
    ):
        store.write(_adding(Address.parse(address), kind, national_id)).result()
    store.close()
    return base


def _adding(address: Address, kind: BalType, national_id: str | None) -> Callable[[Any], Bal]:
    def job(writing: Any) -> Bal:
        made: Bal = writing.create_bal(address, kind, national_id=national_id, login=str(address))
        return made

    return job


class World:
    """One home: Zoé with a PER box, member of the ORG box of radiology; Luc with his own."""

    def __init__(self, home: Path, limits: LimitSettings | None = None) -> None:
        self.clock = ManualClock()
        self.limits = limits or LimitSettings()
        shutil.copytree(_template(), home, dirs_exist_ok=True)
        self.home = home / "home"
        settings = StoreSettings(home=self.home, master_key_file=home / "master.key")
        self.store = Store(settings, self.clock, SystemEntropy())
        self.clients: list[Client] = []
        self.closed: set[str] = set()
        self.mechanisms = MECHANISMS
        self.heard_up_to = 0
        self.zoe, self.luc, self.service = map(self._bal, (ZOE, LUC, SERVICE))

    def _bal(self, address: str) -> Bal:
        found = self.store.read(lambda r: r.bal(Address.parse(address))).result()
        assert found is not None
        return found

    def share(self, role: Role = Role.RESPONSABLE, login: str = ZOE) -> None:
        """Make Zoé a member of radiology."""

        def job(writing: Any) -> None:
            account = writing.account(login)
            writing.add_member(self.service.id, account.id, role)

        self.store.write(job).result()
        self.changed()

    def hand_over(self, right: DelegateRight = DelegateRight.REPLY, days: int = 30) -> Delegation:
        """Zoé is away: Luc looks after what is unread or not done in her box."""

        def job(writing: Any) -> Delegation:
            luc, now = writing.account(LUC).id, self.clock.now()
            for each in writing.delegations_of(self.zoe.id):
                if each.ended_at is None:
                    writing.end_delegation(each)
            ends, kind = now + timedelta(days=days), DelegationKind.HANDOVER
            given = Delegation(self.zoe.id, luc, right, now, ends, kind)
            return writing.hand_over(given)  # type: ignore[no-any-return]

        given = self.store.write(job).result()
        self.changed()
        return given

    def limit(self, octets: int, messages: int) -> None:
        """Zoé's box holds so much and no more; that of radiology anything."""

        def job(writing: Any) -> None:
            writing.set_quota(self.zoe.id, octets, messages)
            writing.set_quota(self.service.id, 0, 0)

        self.store.write(job).result()

    def fill(self, count: int, mailbox: str = "INBOX", bal: Bal | None = None) -> None:
        """Deliver `count` messages."""
        for number in range(1, count + 1):
            self.deliver(message(number), mailbox, bal)

    def deliver(
        self,
        octets: bytes,
        mailbox: str = "INBOX",
        bal: Bal | None = None,
        flags: frozenset[str] = frozenset(),
    ) -> None:
        """One message arrives; idling clients hear of it."""
        letter = self.store.seal(octets)
        owner = (bal or self.zoe).id

        def job(writing: Any) -> None:
            target = writing.mailbox(owner, mailbox)
            writing.append(target.id, letter, flags, self.clock.now())

        self.store.write(job).result()
        self.changed()

    def submit(self, octets: bytes) -> None:
        """Zoé's letter to somebody elsewhere is accepted by the submission door."""
        letter = self.store.seal(b"Return-Path: <>\r\n" + octets, may_be_sent=True)
        to = Recipient(Address.parse("luc.bidule@cabinet-b.test"))
        identifier = self.store.new_envelope_id()
        envelope = Envelope(identifier, self.zoe.address, (to,), self.clock.now())
        transfer = Transfer("in", Door.SUBMISSION, "127.0.0.1", "accept: from.bound", "250")

        def job(writing: Any) -> None:
            writing.accept(
                envelope,
                letter,
                local=[],
                queued=[to],
                skip=17,
                owner=self.zoe.id,
                transfer=transfer,
                facts=b"{}",
            )
            writing.file_sent(self.zoe.id, letter, envelope, frozenset({"\\Seen"}))

        self.store.write(job).result()
        self.changed()

    def changed(self) -> None:
        """Wake everybody, as the store's notifications do."""
        for client in self.clients:
            client.session.is_changed = True
        if any(client.session.watching for client in self.clients):
            self._tell_listeners()
        for client in self.clients:
            client.pump()

    def _tell_listeners(self) -> None:
        """What the door does with the changes of a commit for who has asked NOTIFY."""
        after = self.heard_up_to
        rows = self.store.read(lambda r: r._all(changes._AFTER, last=after)).result()
        for number, kind, bal, mailbox, modseq in rows:
            self.heard_up_to = number
            change = Change(ChangeKind(kind), bal, mailbox, modseq)
            for client in self.clients:
                if client.session.watching and bal in client.listened:
                    client.session.watching.hear(change)

    def login(self, login: str, password: str) -> Principal:
        """What the authenticator answers here."""
        account = self.store.read(lambda r: r.account(login)).result()
        if account is None or password != PASSWORD or login in self.closed:
            raise BadCredentials
        return self.store.read(lambda r: r.principal(account.id)).result()

    def enter(self, claim: Claim) -> Principal:
        """What the door's logins answer here."""
        match claim:
            case Credentials():
                return self.login(claim.login, claim.password)
            case Bearer():
                return self.bearer(claim)
        raise BadCredentials

    def bearer(self, claim: Bearer) -> Principal:
        """A token is good for the box it was made for; `away` when it cannot be asked about."""
        if claim.token == "away":
            raise CannotBeAsked
        if claim.token != f"good-{claim.box.partition('@')[0]}":
            raise TokenRefused
        return self.login(claim.box, PASSWORD)

    def client(self, login: str | None = ZOE, select: str | None = "INBOX") -> Client:
        """A client, logged in and with a mailbox selected unless told otherwise."""
        made = Client(self, secure=True)
        if login is not None:
            made.ok(f"LOGIN {login} {PASSWORD}")
            if select is not None:
                made.ok(f"SELECT {select}")
        return made

    def close(self) -> None:
        """The store's invariants hold at the end of every test."""
        report = self.store.check()
        self.store.close()
        assert report.problems == ()
        for client in self.clients:
            client.check_answers()


class Client:
    """One connection: octets in, octets out, everything between done at once."""

    def __init__(self, world: World, *, secure: bool, timing: Timing | None = None) -> None:
        self.world = world
        self.session = Session(
            world.limits,
            world.clock,
            secure,
            timing or Timing(),
            patient_domains=frozenset({"patient.test"}),
            mechanisms=world.mechanisms,
        )
        self.received = bytearray()
        self.said = bytearray()
        """All that the server said, whatever a test takes out of `received`."""
        self.paused_s: list[float] = []
        self.listened: frozenset[BalId] = frozenset()
        self.largest_send = 0
        self.is_open = True
        self.tls_replies = 0
        self._incoming = bytearray()
        self._end: Woken | None = None
        self._tags = iter(range(1, 100_000))
        self._steps = converse(self.session)
        self._effect: Effect | None = None
        world.clients.append(self)
        self._advance(None)
        self.pump()

    # ------------------------------------------------------------ what a test does

    def send(self, octets: bytes) -> bytes:
        """Send `octets`; what came back at once."""
        before = len(self.received)
        self._incoming += octets
        self.pump()
        return bytes(self.received[before:])

    def command(self, text: str | bytes) -> tuple[str, list[str]]:
        """Send one command with a fresh tag: its tagged response and the untagged lines."""
        octets = text.encode("utf-8") if isinstance(text, str) else text
        tag = f"T{next(self._tags)}"
        answer = self.send(tag.encode() + b" " + octets + b"\r\n").decode("utf-8", "replace")
        lines = answer.split("\r\n")[:-1]
        tagged = [line for line in lines if line.startswith(tag + " ")]
        assert len(tagged) == 1, f"{text!r}: {lines}"
        return tagged[0].removeprefix(tag + " "), [line for line in lines if line not in tagged]

    def ok(self, text: str | bytes) -> list[str]:
        """A command that succeeds: its untagged lines."""
        tagged, lines = self.command(text)
        assert tagged.startswith("OK"), f"{text!r}: {tagged}"
        return lines

    def no(self, text: str | bytes, code: str) -> list[str]:
        """A command that is refused with `code`."""
        tagged, lines = self.command(text)
        assert tagged.startswith(f"NO [{code}"), f"{text!r}: {tagged}"
        return lines

    def bad(self, text: str | bytes) -> list[str]:
        """A command that is not understood."""
        tagged, lines = self.command(text)
        assert tagged.startswith("BAD"), f"{text!r}: {tagged}"
        return lines

    def wake(self, reason: Woken) -> bytes:
        """End the present wait for `reason`."""
        before = len(self.received)
        self._end = reason
        self.pump()
        return bytes(self.received[before:])

    def check_answers(self) -> None:
        """Everything that was said is in the grammar."""
        answers.read(bytes(self.said), utf8=self.session.dialect.utf8, cut=not self.is_open)

    # ------------------------------------------------------------ the door's work

    def pump(self) -> None:
        """Perform effects until the client has to say something."""
        while self._effect is not None and self.is_open:
            if isinstance(self._effect, effects.Wait) and not self._answer_wait(self._effect):
                return
            try:
                writes = self._perform(self._effect)
            except Exception as error:  # the generator that asked decides
                self._advance(error)
                continue
            self._advance(None)
            if writes:
                self.world.changed()

    def _answer_wait(self, effect: effects.Wait) -> bool:
        if self._incoming:
            effect.answer(bytes(self._incoming))
            self._incoming.clear()
        elif effect.changes and self.session.has_news:
            effect.answer(Woken.CHANGED)
        elif self._end is not None:
            effect.answer(self._end)
            self._end = None
        else:
            return False
        return True

    def _advance(self, error: Exception | None) -> None:
        try:
            self._effect = next(self._steps) if error is None else self._steps.throw(error)
        except (StopIteration, Ended):
            self._effect = None
            self.is_open = False

    def _perform(self, effect: Effect) -> bool:
        """True when the store was changed."""
        match effect:
            case effects.Send():
                self.received += effect.octets
                self.said += effect.octets
                self.largest_send = max(self.largest_send, len(effect.octets))
            case effects.Read():
                effect.answer(self.world.store.read(effect.query).result())
            case effects.Write():
                effect.answer(self.world.store.write(effect.job).result())
                return True
            case effects.OffLoop():
                effect.answer(effect.work(self.world.store))
            case effects.Authenticate():
                effect.answer(self.world.enter(effect.claim))
            case effects.Refresh():
                effect.answer(self.world.login(effect.principal.login, PASSWORD))
            case effects.Listen():
                self.listened = effect.bals
            case effects.Note():
                noted, now = self.world.store.noted, self.world.clock.now()
                noted.add(effect.account, effect.bal, effect.letters, "releve", now)
            case effects.Pause():
                self.paused_s.append(effect.seconds)
            case effects.StartTls():
                self.received += effect.reply
                self.said += effect.reply
                self.tls_replies += 1
        return False


def worlds(home: Path, limits: LimitSettings | None = None) -> Iterator[World]:
    """For fixtures."""
    made = World(home, limits)
    yield made
    made.close()
