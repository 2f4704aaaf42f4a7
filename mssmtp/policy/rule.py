"""What a rule is: a pure function with a name, a place and a strength."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mssmtp.errors import Reply
from mssmtp.mail import Action, Domain, Door, Facts, RecipientFacts, Stage, Verdict
from mssmtp.policy.tables import Tables

SUBMISSION = frozenset({Door.SUBMISSION, Door.GATEWAY})
"""Where our own boxes write: logged in, or by their hospital's gateway (DEF-19)."""
OPERATOR = frozenset({Door.OPERATOR})
INTERNAL = frozenset({Door.INTERNAL})
FROM_HERE = SUBMISSION | INTERNAL
EVERY_DOOR = frozenset(Door)

FAMILIES = (
    "default",
    "sender",
    "bal",
    "relay",
    "apicrypt",
    "domain",
    "recipient",
    "habilitation",
    "from",
    "content",
    "size",
)
"""Which refusal is told when several rules refuse: the first family that the person can mend."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of one family (the part of `name` before the dot).

    `grants`: its acceptance opens the way; the others can only close it. `must`: it is relaxed
    by `policy.relax` alone, and `doctor` stays red meanwhile.
    """

    name: str
    requirements: tuple[str, ...]
    stages: frozenset[Stage]
    doors: frozenset[Door]
    ask: Callable[[Facts, Tables], Verdict | None]
    must: bool = False
    grants: bool = False

    def __post_init__(self) -> None:
        if self.name.partition(".")[0] not in FAMILIES:
            raise ValueError(f"{self.name}: unknown family")


@dataclass(frozen=True, slots=True)
class Rewrite:
    """A rule that runs before the others and may change one recipient."""

    name: str
    requirements: tuple[str, ...]
    doors: frozenset[Door]
    ask: Callable[[RecipientFacts, Tables], tuple[Verdict, RecipientFacts] | None]
    must: bool = False
    concerns: Callable[[Domain, Tables], bool] = lambda _domain, _tables: True
    """False: it has nothing to say about any recipient of this domain. A letter has a hundred
    recipients of few domains, and is asked about once for each."""


def accept(rule: str, because: str) -> Verdict:
    """An acceptance by `rule`."""
    return Verdict(Action.ACCEPT, rule, because=because)


def refuse(rule: str, reply: Reply, because: str) -> Verdict:
    """A refusal by `rule`: a deferral when the reply is temporary."""
    return Verdict(Action.DEFER if reply.is_temporary else Action.REJECT, rule, reply, because)
