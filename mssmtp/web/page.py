"""What a page is: where it stands, who may open it, what it is given and what it may answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, auto
from typing import TypeAlias

from cryptography import x509

from mssmtp.errors import ConfigError, MailError, Reply
from mssmtp.portal import StrongLogin
from mssmtp.web.sessions import Session
from mssmtp.web.site import Site

MOST_OCTETS = 65_536
"""Of a request, unless its page says more."""


class NotFound(MailError):
    """No such page, or nothing of theirs: who may not see it learns no more."""

    smtp = Reply(550, "5.1.1", "Cette page n'existe pas, ou n'est pas la vôtre.")


class FieldProblem(Exception):
    """What is wrong with one field of the form; shown beside it."""

    def __init__(self, name: str, error: MailError | ConfigError) -> None:
        super().__init__(name)
        self.name, self.error = name, error


class Needs(Enum):
    """Who may open a page."""

    NOBODY = auto()
    SESSION = auto()
    """Somebody who has shown two factors."""


class Form(Mapping[str, str]):
    """The fields of a form; what is missing is "", so that no page fails for a lack."""

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in pairs:
            self._values.setdefault(name, []).append(value)

    def __getitem__(self, name: str) -> str:
        return self._values.get(name, ("",))[0]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def several(self, name: str) -> tuple[str, ...]:
        """All values of one name, as of tick boxes."""
        return tuple(self._values.get(name, ()))


@dataclass(frozen=True, slots=True)
class Uploaded:
    """A file of a form. Its name and type are what the browser says."""

    name: str
    media_type: str
    octets: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Call:
    """One request, as its page sees it. `address`: of the browser, for the guesses' count.

    `attempt`: of a login whose password was right and whose code is awaited (SEED-09). `ticket`:
    of a detour by a provider.
    """

    site: Site
    language: str
    address: str
    now: datetime
    session: Session | None = None
    args: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=Form)
    raw_query: str = field(default="", repr=False)
    form: Form = field(default_factory=Form, repr=False)
    files: tuple[Uploaded, ...] = field(default=(), repr=False)
    chain: tuple[x509.Certificate, ...] = field(default=(), repr=False)
    """What the browser has shown in its handshake, leaf first, at the port for cards alone; whose
    it is has not been judged."""
    attempt: str = field(default="", repr=False)
    ticket: str = field(default="", repr=False)
    agent: str = ""
    may_go: Callable[[str], bool] = field(default=lambda _: False, repr=False)
    """Whether a path is a page of ours (no open redirect)."""

    @property
    def session_id(self) -> int | None:
        """Of who is logged in."""
        return None if self.session is None else self.session.id

    def holder(self) -> Session:
        """Who is logged in, on a page that needs it."""
        if self.session is None:
            raise RuntimeError("this page is announced as one for nobody")
        return self.session


@dataclass(frozen=True, slots=True)
class Keep:
    """What the browser is to keep or to forget with an answer."""

    login: StrongLogin | None = None
    by: str = ""
    """How it was proved: `code`, or `psc` by an e-CPS, `card` by a card."""
    attempt: str = field(default="", repr=False)
    ticket: str = field(default="", repr=False)
    language: str = ""
    leaves: bool = False


@dataclass(frozen=True, slots=True)
class Shown:
    """A template with its values."""

    template: str
    values: Mapping[str, object] = field(default_factory=dict, repr=False)
    status: int = 200
    keep: Keep | None = None


@dataclass(frozen=True, slots=True)
class Goes:
    """On to a page of ours. `done`: a text that is shown there, once."""

    path: str
    done: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    keep: Keep | None = None
    fragment: str = field(default="", repr=False)
    """The secret of a link, which goes along where no log keeps it."""


@dataclass(frozen=True, slots=True)
class Leaves:
    """To a provider's page, by an address that the settings and the provider give."""

    url: str = field(repr=False)
    keep: Keep | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """Octets to be kept as a file; they are never shown by the browser as a page of ours."""

    blocks: Iterable[bytes] = field(repr=False)
    media_type: str
    name: str


Answer: TypeAlias = Shown | Goes | Leaves | Sent
Handler: TypeAlias = Callable[[Call], Answer]


@dataclass(frozen=True, slots=True)
class Page:
    """One path. `{name}` in it stands for one step, given in `Call.args`."""

    path: str
    needs: Needs
    get: Handler | None = None
    post: Handler | None = None
    most_octets: int = MOST_OCTETS
    takes_files: bool = False

    @property
    def methods(self) -> tuple[str, ...]:
        """What it answers."""
        return (*(("GET", "HEAD") if self.get else ()), *(("POST",) if self.post else ()))
