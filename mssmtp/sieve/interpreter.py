"""Running a script on a letter (RFC 5228): in: values, out: an `Outcome`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from mssmtp.errors import BadAddress
from mssmtp.mail import Address
from mssmtp.sieve.budget import Budget
from mssmtp.sieve.faults import ScriptFailed
from mssmtp.sieve.flags import flags_of, joined
from mssmtp.sieve.letter import Box, Letter
from mssmtp.sieve.matching import MAX_WILDCARDS, find
from mssmtp.sieve.outcome import INBOX, Filing, Forward, Outcome, Reply
from mssmtp.sieve.script import Script, Step
from mssmtp.sieve.texts import MAX_VARIABLE, MAX_VARIABLES, expanded, modified
from mssmtp.sieve.values import VALUES, sections

MAX_ACTIONS = 32
MAX_FORWARDS = 4
"""Of one letter and script: nobody's box multiplies mail (ATT-28)."""
_HIDDEN = " flags"
"""The variable that flag commands mean when they name none; no script can spell it."""


def run(script: Script, letter: Letter, box: Box, budget: Budget | None = None) -> Outcome:
    """What the script wants done. A script that fails leaves the letter in INBOX, and only there
    (RFC 5228 2.10.6)."""
    runner = _Run(script, letter, box, budget or Budget())
    try:
        runner.commands(script.steps)
        return runner.outcome()
    except ScriptFailed as failed:
        return Outcome((Filing(INBOX),), failure=str(failed))


class _Stop(Exception):
    """`stop` (RFC 5228 3.3)."""


class _Run:
    def __init__(self, script: Script, letter: Letter, box: Box, budget: Budget) -> None:
        self._letter, self._box, self._budget = letter, box, budget
        self._has_variables = "variables" in script.requires
        self._variables: dict[str, str] = {}
        self._keeps = True
        self._filings: dict[str, Filing] = {}
        self._forwards: dict[str, Forward] = {}
        self._reply: Reply | None = None

    def outcome(self) -> Outcome:
        """What was asked for, with the implicit keep (RFC 5228 2.10.2)."""
        if self._keeps:
            self._file(Filing(INBOX, self._current_flags()))
        return Outcome(tuple(self._filings.values()), tuple(self._forwards.values()), self._reply)

    # ------------------------------------------------------------ commands

    def commands(self, steps: Sequence[Step]) -> None:
        """Raises ScriptFailed."""
        try:
            self._block(steps)
        except _Stop:
            return

    def _block(self, steps: Sequence[Step]) -> None:
        for step in steps:
            self._budget.step(step.line)
            if step.name != "if":
                _COMMANDS[step.name](self, step)
                continue
            for test, block in step.branches:
                if test is None or self._holds(test):
                    self._block(block)
                    break

    def stop(self, step: Step) -> None:
        raise _Stop

    def keep(self, step: Step) -> None:
        self._file(Filing(INBOX, self._flags_for(step)), step)
        self._keeps = False

    def discard(self, step: Step) -> None:
        self._keeps = False

    def fileinto(self, step: Step) -> None:
        mailbox = self._text(step, "mailbox")
        if "specialuse" in step.switches:
            use = self._text(step, "specialuse").lower()
            mailbox = self._box.special_uses.get(use, mailbox)
        if mailbox.upper() == INBOX:
            mailbox = INBOX
        self._file(Filing(mailbox, self._flags_for(step), "create" in step.switches), step)
        if "copy" not in step.switches:
            self._keeps = False

    def _file(self, filing: Filing, step: Step | None = None) -> None:
        """Once in each mailbox (RFC 5228 2.10.3); the flags of the last one count."""
        self._filings.pop(filing.mailbox, None)
        self._filings[filing.mailbox] = filing
        self._count(step)

    def _count(self, step: Step | None) -> None:
        if step is not None and len(self._filings) + len(self._forwards) > MAX_ACTIONS:
            raise ScriptFailed(step.line, f"plus de {MAX_ACTIONS} actions pour un message")

    def redirect(self, step: Step) -> None:
        text = self._text(step, "address")
        try:
            to = Address.parse(text)
        except BadAddress as error:
            raise ScriptFailed(step.line, "adresse de redirection illisible") from error
        self._forwards[to.key] = Forward(to, "receipt" in step.switches)
        if len(self._forwards) > MAX_FORWARDS:
            raise ScriptFailed(step.line, f"plus de {MAX_FORWARDS} redirections pour un message")
        self._count(step)
        if "copy" not in step.switches:
            self._keeps = False

    def set(self, step: Step) -> None:
        name = step.strings["name"][0].lower()
        value = modified(self._text(step, "value"), step.switches)
        self._assign(step, name, value)

    def _assign(self, step: Step, name: str, value: str) -> None:
        if name not in self._variables and len(self._variables) >= MAX_VARIABLES:
            raise ScriptFailed(step.line, f"plus de {MAX_VARIABLES} variables")
        self._variables[name] = value[:MAX_VARIABLE]

    def vacation(self, step: Step) -> None:
        if self._reply is not None:
            raise ScriptFailed(step.line, "« vacation » deux fois pour un message")
        reason, strings = self._text(step, "reason"), step.strings
        addresses = self._texts(step, "addresses") if "addresses" in strings else []
        subject = self._text(step, "subject") if "subject" in strings else None
        sender = self._text(step, "from") if "from" in strings else None
        # RFC 5230 4.2: without a handle, what is the same text is the same answer.
        handle = repr((subject, sender, "mime" in step.switches, reason))
        self._reply = Reply(
            reason,
            self._text(step, "handle")
            if "handle" in strings
            else hashlib.sha256(handle.encode("utf-8", "replace")).hexdigest(),
            step.numbers.get("days"),
            subject,
            sender,
            tuple(addresses),
            "mime" in step.switches,
        )

    # ------------------------------------------------------------ flags (RFC 5232)

    def _current_flags(self) -> tuple[str, ...]:
        return flags_of((self._variables.get(_HIDDEN, ""),))

    def _flags_for(self, step: Step) -> tuple[str, ...]:
        if "flags" in step.switches:
            return flags_of(self._texts(step, "flags"))
        return self._current_flags()

    def change_flags(self, step: Step) -> None:
        name = step.strings.get("variable", (_HIDDEN,))[0].lower()
        before = () if step.name == "setflag" else flags_of((self._variables.get(name, ""),))
        given = flags_of(self._texts(step, "flags"))
        if step.name == "removeflag":
            gone = {each.lower() for each in given}
            after = tuple(each for each in before if each.lower() not in gone)
        else:
            after = flags_of((*before, *given))
        self._budget.characters(sum(map(len, before + given)))
        self._assign(step, name, joined(after))

    # ------------------------------------------------------------ texts

    def _expanded(self, text: str) -> str:
        if not self._has_variables:
            return text
        value = expanded(text, self._variables)
        self._budget.characters(len(value))
        return value

    def _text(self, step: Step, name: str) -> str:
        return self._expanded(step.strings[name][0])

    def _texts(self, step: Step, name: str) -> list[str]:
        return [self._expanded(each) for each in step.strings[name]]

    # ------------------------------------------------------------ tests

    def _holds(self, test: Step) -> bool:
        self._budget.step(test.line)
        match test.name:
            case "true" | "false":
                return test.name == "true"
            case "not":
                return not self._holds(test.tests[0])
            case "allof":
                return all(self._holds(each) for each in test.tests)
            case "anyof":
                return any(self._holds(each) for each in test.tests)
            case "size":
                size, limit = self._letter.scan.size_octets, test.numbers["limit"]
                return size > limit if "over" in test.switches else size < limit
            case "exists":
                return self._exists(test)
            case "mailboxexists":
                return all(self._is_mailbox(each) for each in self._texts(test, "mailboxes"))
            case "specialuse_exists":
                return self._special_use_exists(test)
        values = self._values(test)
        found = find(test.match, values, self._texts(test, "keys"), self._budget)
        if found.wildcards is not None and self._has_variables:
            self._remember(found.wildcards)
        return found.matched

    def _values(self, test: Step) -> Sequence[str]:
        if test.name == "string":
            return [each for each in self._texts(test, "sources") if each or not _is_count(test)]
        if test.name == "hasflag":
            names = test.strings.get("variables", (_HIDDEN,))
            return flags_of(self._variables.get(each.lower(), "") for each in names)
        texts = partial(self._texts, test)
        return VALUES[test.name](self._letter, test, texts, self._budget)

    def _remember(self, wildcards: tuple[str, ...]) -> None:
        """RFC 5229 3.2: a `:matches` that holds replaces all that was remembered."""
        for number in range(MAX_WILDCARDS + 1):
            value = wildcards[number] if number < len(wildcards) else ""
            self._variables[str(number)] = value[:MAX_VARIABLE]

    def _exists(self, test: Step) -> bool:
        present = {
            each.name for section in sections(self._letter, test, self._budget) for each in section
        }
        return all(name.lower() in present for name in self._texts(test, "headers"))

    def _is_mailbox(self, name: str) -> bool:
        return name.upper() == INBOX or name in self._box.mailboxes

    def _special_use_exists(self, test: Step) -> bool:
        uses = self._box.special_uses
        names = [uses.get(each.lower()) for each in self._texts(test, "attributes")]
        if "mailbox" in test.strings:
            wanted = self._text(test, "mailbox")
            return all(name == wanted for name in names)
        return all(name is not None for name in names)


def _is_count(test: Step) -> bool:
    return test.match.type == "count"


_COMMANDS: Mapping[str, Callable[[_Run, Step], None]] = {
    "stop": _Run.stop,
    "keep": _Run.keep,
    "discard": _Run.discard,
    "fileinto": _Run.fileinto,
    "redirect": _Run.redirect,
    "set": _Run.set,
    "setflag": _Run.change_flags,
    "addflag": _Run.change_flags,
    "removeflag": _Run.change_flags,
    "vacation": _Run.vacation,
}
