"""What a conversation asks of the world: yielded by generators, done by the door.

A step is `result = yield from read(...)`: the generator is suspended while the door works, so no
transaction is ever open while a slow client reads. The door writes the result into the effect, or
throws the failure into the generator.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Hashable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Generic, TypeVar

from mssmtp.identity.sasl import Answer, Claim
from mssmtp.mail import AccountId, BalId, MailboxId, Principal

if TYPE_CHECKING:
    from mssmtp.storage import Reading, Store, Writing

T = TypeVar("T")

PIECE_OCTETS = 262_144


class Effect:
    """Base of all effects."""

    __slots__ = ()


Steps = Generator[Effect, None, T]
"""A generator of effects that ends with a T."""


class Asking(Effect, Generic[T]):
    """An effect with an answer."""

    __slots__ = ("_answer",)

    def __init__(self) -> None:
        self._answer: list[T] = []

    def answer(self, value: T) -> None:
        """The door's result."""
        self._answer[:] = [value]

    @property
    def answered(self) -> T:
        """What the door answered."""
        return self._answer[0]


class Send(Effect):
    """Write octets and wait until the client's side has room again."""

    __slots__ = ("octets",)

    def __init__(self, octets: bytes) -> None:
        self.octets = octets


class Woken(Enum):
    """Why a Wait ended without octets."""

    CHANGED = 1
    TIMEOUT = 2
    CLOSED = 3
    STOPPING = 4


class Wait(Asking[bytes | Woken]):
    """Octets from the client, or why there are none. `changes`: a watched change ends it too.

    `enough`: with fewer octets nothing could be done yet; they come all the same with the end of
    the connection, or when `timeout_s` is over, which is then no silence.
    """

    __slots__ = ("changes", "enough", "timeout_s")

    def __init__(self, timeout_s: float, *, changes: bool = False, enough: int = 1) -> None:
        super().__init__()
        self.timeout_s = timeout_s
        self.changes = changes
        self.enough = enough


@dataclass(frozen=True)
class Question:
    """What is asked of a snapshot: the same principal gets the same answer to the same words, and
    changes nothing of it."""

    principal: Principal
    words: tuple[Hashable, ...]

    def __hash__(self) -> int:
        return hash((self.principal.account, self.words))


class Read(Asking[T]):
    """Run a query on one snapshot of the store.

    `is_long`: it may take a second (a search of text); few of these run at once, so that short
    ones never wait for all reading threads. `question`: the answer may be one that was read before,
    of a snapshot that is still the newest one.
    """

    __slots__ = ("is_long", "query", "question")

    def __init__(
        self,
        query: Callable[[Reading], T],
        *,
        is_long: bool = False,
        question: Question | None = None,
    ) -> None:
        super().__init__()
        self.query = query
        self.is_long = is_long
        self.question = question


class Write(Asking[T]):
    """Run a job in a commit; answered after the sync."""

    __slots__ = ("job", "octets")

    def __init__(self, job: Callable[[Writing], T], octets: int) -> None:
        super().__init__()
        self.job = job
        self.octets = octets


class OffLoop(Asking[T]):
    """Run something slow with the store (writing a letter) in a thread.

    `for_commit`: what it makes is written next, and a group commit may wait for it a little.
    `is_little`: a thread would take longer than the work.
    """

    __slots__ = ("for_commit", "is_little", "work")

    def __init__(
        self, work: Callable[[Store], T], *, for_commit: bool = False, is_little: bool = False
    ) -> None:
        super().__init__()
        self.work = work
        self.for_commit = for_commit
        self.is_little = is_little


class Authenticate(Asking[Answer]):
    """Judge who the client says it is: by password (slowly, off the loop), token, certificate."""

    __slots__ = ("claim",)

    def __init__(self, claim: Claim) -> None:
        super().__init__()
        self.claim = claim


class Refresh(Asking[Principal]):
    """The principal of an open session as of now; raises when the login has ended (SEC-06)."""

    __slots__ = ("principal",)

    def __init__(self, principal: Principal) -> None:
        super().__init__()
        self.principal = principal


class Watch(Effect):
    """Hear of changes in this mailbox from now on; None: of none.

    Whatever changed anywhere since `Watch(None)` counts as heard: what a session then looks up and
    watches is not looked up a second time.
    """

    __slots__ = ("mailbox",)

    def __init__(self, mailbox: tuple[BalId, MailboxId] | None) -> None:
        self.mailbox = mailbox


class Listen(Effect):
    """Hear of every change in these boxes from now on, beside what is watched."""

    __slots__ = ("bals",)

    def __init__(self, bals: frozenset[BalId]) -> None:
        self.bals = bals


class Note(Effect):
    """A person's software gets octets of the bodies of letters in a box (*relevé*, DEF-06):
    remembered now, written later."""

    __slots__ = ("account", "bal", "letters")

    def __init__(self, account: AccountId, bal: BalId, letters: Collection[int]) -> None:
        self.account = account
        self.bal = bal
        self.letters = letters


class Pause(Effect):
    """Do nothing for some seconds (a penalty; nobody else waits)."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


class StartTls(Effect):
    """Send `reply` in clear, then speak TLS. Octets already received: the door closes (ATT-02)."""

    __slots__ = ("reply",)

    def __init__(self, reply: bytes) -> None:
        self.reply = reply


class Compress(Effect):
    """Send `reply`, then speak DEFLATE both ways. Octets already received: the door closes."""

    __slots__ = ("reply",)

    def __init__(self, reply: bytes) -> None:
        self.reply = reply


def send(octets: bytes) -> Steps[None]:
    """See Send; in pieces, so that a long answer does not go through TLS in one turn."""
    for start in range(0, len(octets), PIECE_OCTETS):
        yield Send(octets[start : start + PIECE_OCTETS])


def wait(timeout_s: float, *, changes: bool = False, enough: int = 1) -> Steps[bytes | Woken]:
    """See Wait."""
    effect = Wait(timeout_s, changes=changes, enough=enough)
    yield effect
    return effect.answered


def read(
    query: Callable[[Reading], T], *, is_long: bool = False, question: Question | None = None
) -> Steps[T]:
    """See Read."""
    effect = Read(query, is_long=is_long, question=question)
    yield effect
    return effect.answered


def write(job: Callable[[Writing], T], octets: int = 0) -> Steps[T]:
    """See Write; `octets` are held in memory until then."""
    effect = Write(job, octets)
    yield effect
    return effect.answered


def off_loop(
    work: Callable[[Store], T], *, for_commit: bool = False, is_little: bool = False
) -> Steps[T]:
    """See OffLoop."""
    effect = OffLoop(work, for_commit=for_commit, is_little=is_little)
    yield effect
    return effect.answered


def authenticate(claim: Claim) -> Steps[Answer]:
    """See Authenticate."""
    effect = Authenticate(claim)
    yield effect
    return effect.answered


def refresh(principal: Principal) -> Steps[Principal]:
    """See Refresh."""
    effect = Refresh(principal)
    yield effect
    return effect.answered
