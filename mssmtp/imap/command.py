"""What every command is: parsed arguments that run as steps in a session."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mssmtp.imap.effects import Steps
from mssmtp.imap.session import Session, State
from mssmtp.imap.syntax import Cursor

ANY = frozenset({State.NOT_AUTHENTICATED, State.AUTHENTICATED, State.SELECTED})
BEFORE_LOGIN = frozenset({State.NOT_AUTHENTICATED})
AFTER_LOGIN = frozenset({State.AUTHENTICATED, State.SELECTED})
SELECTED = frozenset({State.SELECTED})


@dataclass(frozen=True, slots=True)
class Done:
    """The tagged response: OK unless said otherwise."""

    text: bytes
    code: bytes = b""
    condition: bytes = b"OK"


class Command:
    """One parsed command. `run` sends untagged responses and returns the tagged one."""

    __slots__ = ()

    @property
    def withholds_expunge(self) -> bool:
        """True while no EXPUNGE may be sent (RFC 3501 7.4.1)."""
        return False

    def run(self, session: Session, tag: bytes) -> Steps[Done | None]:
        """None: the tagged response was sent already. Raises MailError for a NO."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Verb:
    """How a verb is read, and in which states it is legal (RFC 3501 6)."""

    states: frozenset[State]
    parse: Callable[[Cursor], Command]
