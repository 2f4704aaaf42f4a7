"""Facts -> Decision: rewrites first, then every rule, on the rewritten facts.

reject beats defer beats bounce beats accept; what no granting rule accepted is refused. Rules
know nothing of each other, so their order cannot matter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from mssmtp.config import LimitSettings
from mssmtp.config_policy import PolicySettings
from mssmtp.errors import ConfigError
from mssmtp.mail import Action, Address, Domain, Door, Facts, RecipientFacts, Stage, Verdict
from mssmtp.policy import (
    apicrypt,
    content,
    delegates,
    domains,
    habilitation,
    header_from,
    ins,
    recipient,
    refusals,
    sender,
    size,
    standing,
)
from mssmtp.policy.grants import Table
from mssmtp.policy.moves import Moves
from mssmtp.policy.rule import FAMILIES, Rewrite, Rule
from mssmtp.policy.tables import Tables

REWRITES: tuple[Rewrite, ...] = recipient.REWRITES + apicrypt.REWRITES + domains.REWRITES
RULES: tuple[Rule, ...] = (
    sender.RULES
    + recipient.RULES
    + apicrypt.RULES
    + domains.RULES
    + habilitation.RULES
    + delegates.RULES
    + header_from.RULES
    + content.RULES
    + size.RULES
    + standing.RULES
)
NO_MOVES = Moves()
_SEVERITY = (Action.REJECT, Action.DEFER)
_REWRITING = (Stage.RECIPIENT, Stage.CONTENT)


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided and why, complete enough to be printed (`explain`).

    `verdicts`: of every rule that had something to say. `silent`: rules that were asked and had
    nothing to say. `relaxed`: rules that would have refused and were set aside by `policy.relax`.
    `rewritten`: typed address -> address to use. `facts` are the rewritten ones.
    """

    final: Verdict
    verdicts: tuple[Verdict, ...]
    rewritten: Mapping[Address, Address]
    silent: tuple[str, ...]
    relaxed: tuple[str, ...]
    facts: Facts
    patient_domains: frozenset[Domain] = field(repr=False)

    @property
    def is_accepted(self) -> bool:
        """True when the message (at CONTENT: for some recipients at least) goes on."""
        return self.final.action in (Action.ACCEPT, Action.BOUNCE)


class Engine:
    """The rules over one configuration. Pure: no clock, no look-up, no state that changes."""

    def __init__(
        self,
        policy: PolicySettings,
        limits: LimitSettings,
        moves: Moves = NO_MOVES,
        *,
        rules: Sequence[Rule] = RULES,
        rewrites: Sequence[Rewrite] = REWRITES,
    ) -> None:
        """Raises ConfigError when a table is wrong or `policy.relax` names no must rule."""
        self._tables = Tables.of(policy, limits, moves)
        musts = {r.name for r in rules if r.must} | {r.name for r in rewrites if r.must}
        for name in policy.relax:
            if name not in musts:
                raise ConfigError(
                    "policy.relax",
                    f"« {name} » is not the name of a must rule",
                    f"The must rules are: {', '.join(sorted(musts))}.",
                )
        self._relaxed = frozenset(policy.relax)
        self._rewriting = {
            door: tuple(r for r in rewrites if door in r.doors and r.name not in self._relaxed)
            for door in Door
        }
        self._asked = {
            (stage, door): tuple(r for r in rules if stage in r.stages and door in r.doors)
            for stage in Stage
            for door in Door
        }

    @property
    def relaxed_rules(self) -> tuple[str, ...]:
        """The must rules a test profile has switched off; `doctor` is red while there are any."""
        return tuple(sorted(self._relaxed))

    @property
    def habilitation(self) -> Table:
        """Who may write to whom."""
        return self._tables.habilitation

    @property
    def opened_beyond(self) -> tuple[str, ...]:
        """What the settings let boxes do that the shipped table does not, in words."""
        return self._tables.habilitation.beyond()

    def is_for_tests(self, domain: Domain) -> bool:
        """Is it a test or training domain by its name (OP-99)?"""
        return self._tables.is_for_tests(domain)

    @property
    def moves(self) -> Moves:
        """Domains that move between operators (OP-101)."""
        return self._tables.moves

    @property
    def patient_domains(self) -> frozenset[Domain]:
        """Domains whose addresses are masked on screens and in logs (OP-87)."""
        return self._tables.patient_domains

    def target(self, address: Address) -> Address | None:
        """The address a door must look up too, for `RecipientFacts.target`; None: nothing more.

        APX-03: the interop address of a native Apicrypt recipient; what a domain's rule writes
        instead.
        """
        table = self._tables.apicrypt
        if table.mode != "rewrite" or not table.is_native(address.domain):
            return self._tables.domains.rewritten(address)
        return table.interop(address)

    def hosts(self, name: Domain) -> tuple[str, ...]:
        """Hosts that are asked instead of the MX of `name`; nobody: its MX."""
        return self._tables.domains.hosts(name)

    def is_doubtful(self, address: Address) -> bool:
        """A patient's address without its key, where that is no more than a warning (OP-88)."""
        return (
            self._tables.check_ins == "warn"
            and self._tables.is_patient(address)
            and not ins.is_valid(address.local)
        )

    def decide(self, facts: Facts) -> Decision:
        """The decision on `facts` at their stage. The same facts always give the same decision."""
        rewrites: list[Verdict] = []
        rewritten: dict[Address, Address] = {}
        if facts.stage in _REWRITING and self._rewriting[facts.door]:
            facts = self._rewrite(facts, rewrites, rewritten)
        said: list[Verdict] = []
        silent: list[str] = []
        relaxed: list[str] = []
        granted = False
        for rule in self._asked[facts.stage, facts.door]:
            verdict = rule.ask(facts, self._tables)
            if verdict is not None and self._is_relaxed(rule, verdict):
                relaxed.append(rule.name)
                verdict = (
                    Verdict(Action.ACCEPT, rule.name, because=f"relaxed: {verdict.because}")
                    if rule.grants
                    else None
                )
            if verdict is None:
                silent.append(rule.name)
                continue
            said.append(verdict)
            granted = granted or (rule.grants and verdict.action is Action.ACCEPT)
        return Decision(
            final=_final(said, granted=granted),
            verdicts=(*rewrites, *said),
            rewritten=rewritten,
            silent=tuple(silent),
            relaxed=tuple(relaxed),
            facts=facts,
            patient_domains=self._tables.patient_domains,
        )

    def _is_relaxed(self, rule: Rule, verdict: Verdict) -> bool:
        return rule.name in self._relaxed and verdict.action is not Action.ACCEPT

    def _rewrite(
        self, facts: Facts, verdicts: list[Verdict], rewritten: dict[Address, Address]
    ) -> Facts:
        tables, every = self._tables, self._rewriting[facts.door]
        concerned: dict[Domain, tuple[Rewrite, ...]] = {}
        changed: dict[int, RecipientFacts] = {}
        for place, each in enumerate(facts.recipients):
            domain = each.address.domain
            if (asked := concerned.get(domain)) is None:
                asked = tuple(r for r in every if r.concerns(domain, tables))
                concerned[domain] = asked
            for rule in asked:
                if rule.ask(each, tables) is not None:
                    changed[place] = self._rewrite_one(each, every, verdicts)
                    break
        if not changed:
            return facts
        found = list(facts.recipients)
        for place, new in changed.items():
            if new.address != found[place].address:
                rewritten[found[place].address] = new.address
            found[place] = new
        return replace(facts, recipients=tuple(found))

    def _rewrite_one(
        self, given: RecipientFacts, rewrites: Sequence[Rewrite], verdicts: list[Verdict]
    ) -> RecipientFacts:
        """`given` after every rewrite; each rewrite is applied at most once, so this ends."""
        current = given
        pending = list(rewrites)
        while pending:
            answers = [(r, r.ask(current, self._tables)) for r in pending]
            applied = [(r, answer) for r, answer in answers if answer is not None]
            if not applied:
                break
            rule, (verdict, current) = min(applied, key=lambda pair: _order(pair[0].name))
            pending.remove(rule)
            verdicts.append(verdict)
        return current


def _order(name: str) -> tuple[int, str]:
    # A usual address is that of a person served here: it wins over any table of domains (OP-13).
    family = name.partition(".")[0]
    return (0 if family == "recipient" else 1 + FAMILIES.index(family), name)


def _final(said: Sequence[Verdict], *, granted: bool) -> Verdict:
    if granted and all(v.action is Action.ACCEPT for v in said):
        return min(said, key=_told_first)  # nearly always
    for action in _SEVERITY:
        if found := [v for v in said if v.action is action]:
            return min(found, key=_told_first)
    if not granted:
        return Verdict(
            Action.REJECT, "default.deny", refusals.DENIED.reply(), "no granting rule accepted"
        )
    if found := [v for v in said if v.action is Action.BOUNCE]:
        return min(found, key=_told_first)
    return min((v for v in said if v.action is Action.ACCEPT), key=_told_first)


def _told_first(verdict: Verdict) -> tuple[int, str]:
    return FAMILIES.index(verdict.rule.partition(".")[0]), verdict.rule
