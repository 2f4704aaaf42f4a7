"""A script that may be stored: every name, tag and argument checked (RFC 5228 2.10.4, 2.10.6).

What can only be known when a letter comes (a value of a variable) is checked by the interpreter.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, cast

from mssmtp.errors import BadAddress
from mssmtp.mail import Address
from mssmtp.sieve.dates import PARTS, ZONE
from mssmtp.sieve.faults import BadScript
from mssmtp.sieve.grammar import Argument, Call, Strings, Tag, parse
from mssmtp.sieve.signatures import (
    ALWAYS,
    COMMANDS,
    COMPARATORS,
    EXTENSIONS,
    TESTS,
    Shape,
    Signature,
)
from mssmtp.sieve.texts import decoded_characters, references

MAX_OCTETS = 65_536
"""Of one script."""
RELATIONS = ("gt", "ge", "lt", "le", "eq", "ne")
ADDRESS_HEADERS = frozenset(
    (
        *("from", "to", "cc", "bcc", "sender", "reply-to", "return-path", "delivered-to"),
        *("resent-from", "resent-to", "resent-cc", "resent-bcc", "resent-sender"),
        *("resent-reply-to", "errors-to", "disposition-notification-to", "return-receipt-to"),
        *("mail-followup-to", "mail-reply-to", "apparently-to", "for-approval", "for-comment"),
    )
)
"""RFC 5228 5.1: what holds addresses."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_FIELD = re.compile(r"[!-9;-~]+\Z")

MatchType = Literal["is", "contains", "matches", "value", "count"]


@dataclass(frozen=True, slots=True)
class Match:
    """How a test compares; `relation` of RFC 5231, "" for the other match types."""

    type: MatchType = "is"
    comparator: str = "i;ascii-casemap"
    relation: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """A checked command or test: its arguments by name, its tags without argument in `switches`."""

    name: str
    line: int
    strings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    numbers: Mapping[str, int] = field(default_factory=dict)
    switches: frozenset[str] = frozenset()
    match: Match = Match()
    tests: tuple[Step, ...] = ()
    branches: tuple[tuple[Step | None, tuple[Step, ...]], ...] = ()
    """Of `if`: tests with what is done, the last one perhaps without a test."""


@dataclass(frozen=True, slots=True)
class Script:
    """What the interpreter runs."""

    steps: tuple[Step, ...]
    requires: frozenset[str]

    @classmethod
    def read(cls, octets: bytes) -> Script:
        """Raises BadScript."""
        if len(octets) > MAX_OCTETS:
            raise BadScript(1, f"script trop long (au plus {MAX_OCTETS} octets)")
        calls = parse(octets)
        count = 0
        requires: set[str] = set()
        for call in calls:
            if call.name != "require":
                break
            requires |= _required(call)
            count += 1
        return cls(_Checker(frozenset(requires)).block(calls[count:]), frozenset(requires))


def _required(call: Call) -> frozenset[str]:
    if call.tests or call.block is not None or len(call.arguments) != 1:
        raise BadScript(call.line, "« require » prend une liste d'extensions")
    names = call.arguments[0]
    if not isinstance(names, Strings):
        raise BadScript(call.line, "« require » prend une liste d'extensions")
    for name in names.values:
        if name not in EXTENSIONS and name not in ALWAYS:
            raise BadScript(call.line, f"extension inconnue ici : {name}")
    return frozenset(names.values)


@dataclass(slots=True)
class _Arguments:
    """Of one call, sorted by name."""

    strings: dict[str, tuple[str, ...]] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    switches: set[str] = field(default_factory=set)

    def put(self, call: Call, name: str, shape: Shape, argument: Argument) -> None:
        """Raises BadScript."""
        if shape == "number":
            if not isinstance(argument, int):
                raise BadScript(call.line, f"« {call.name} » : un nombre est attendu ({name})")
            self.numbers[name] = argument
            return
        if not isinstance(argument, Strings) or (shape == "string" and argument.is_list):
            what = "un texte" if shape == "string" else "un texte ou une liste"
            raise BadScript(call.line, f"« {call.name} » : {what} est attendu ({name})")
        self.strings[name] = argument.values


class _Checker:
    def __init__(self, requires: frozenset[str]) -> None:
        self._requires = requires

    def block(self, calls: tuple[Call, ...]) -> tuple[Step, ...]:
        """Commands; `if` with its `elsif` and `else` becomes one step."""
        found: list[Step] = []
        position = 0
        while position < len(calls):
            call = calls[position]
            if call.name != "if":
                found.append(self._command(call))
                position += 1
                continue
            end = position + 1
            while end < len(calls) and calls[end].name == "elsif":
                end += 1
            if end < len(calls) and calls[end].name == "else":
                end += 1
            branches = tuple(self._branch(each) for each in calls[position:end])
            found.append(Step("if", call.line, branches=branches))
            position = end
        return tuple(found)

    def _branch(self, call: Call) -> tuple[Step | None, tuple[Step, ...]]:
        if call.block is None or call.arguments:
            raise BadScript(call.line, f"« {call.name} » demande un test et un bloc")
        self._count_tests(call, COMMANDS[call.name])
        tests = [self._test(test) for test in call.tests]
        return (tests[0] if tests else None), self.block(call.block)

    def _command(self, call: Call) -> Step:
        if call.name in ("elsif", "else"):
            raise BadScript(call.line, f"« {call.name} » sans « if » devant")
        if call.name == "require":
            raise BadScript(call.line, "« require » ne peut venir qu'au début du script")
        signature = self._signature(call, COMMANDS)
        if call.block is not None:
            raise BadScript(call.line, f"« {call.name} » ne prend pas de bloc")
        return self._step(call, signature)

    def _test(self, call: Call) -> Step:
        return self._step(call, self._signature(call, TESTS))

    def _signature(self, call: Call, table: Mapping[str, Signature]) -> Signature:
        signature = table.get(call.name)
        if signature is None:
            what = "commande inconnue" if table is COMMANDS else "test inconnu"
            raise BadScript(call.line, f"{what} : {call.name}")
        self._need(call, signature.needs, call.name)
        return signature

    def _need(self, call: Call, extension: str | None, what: str) -> None:
        if extension is not None and extension not in self._requires:
            raise BadScript(call.line, f'« {what} » demande : require "{extension}";')

    def _count_tests(self, call: Call, signature: Signature) -> None:
        wanted, given = signature.tests, len(call.tests)
        if (wanted == "none" and given) or (wanted == "one" and given != 1):
            raise BadScript(call.line, f"« {call.name} » : nombre de tests")
        if wanted == "many" and not given:
            raise BadScript(call.line, f"« {call.name} » : une liste de tests est attendue")

    def _step(self, call: Call, signature: Signature) -> Step:
        self._count_tests(call, signature)
        arguments = self._arguments(call, signature)
        self._texts(call, arguments)
        step = Step(
            call.name,
            call.line,
            arguments.strings,
            arguments.numbers,
            frozenset(arguments.switches),
            self._match(call, arguments) if signature.matches else Match(),
            tuple(self._test(test) for test in call.tests),
        )
        _check(step, has_variables="variables" in self._requires)
        return step

    def _arguments(self, call: Call, signature: Signature) -> _Arguments:
        found = _Arguments()
        waiting = list(call.arguments)
        groups: set[str] = set()
        positional: list[Argument] = []
        while waiting:
            argument = waiting.pop(0)
            if not isinstance(argument, Tag):
                positional.append(argument)
                continue
            if positional:
                raise BadScript(call.line, f"« :{argument.name} » vient trop tard")
            tagged = signature.tags.get(argument.name)
            if tagged is None:
                raise BadScript(call.line, f"« {call.name} » ne connaît pas « :{argument.name} »")
            self._need(call, tagged.needs, ":" + argument.name)
            group = tagged.group or argument.name
            if group in groups:
                raise BadScript(call.line, f"« :{argument.name} » répète ou contredit un autre")
            groups.add(group)
            found.switches.add(argument.name)
            if tagged.shape is not None:
                if not waiting:
                    raise BadScript(call.line, f"« :{argument.name} » demande une valeur")
                found.put(call, argument.name, tagged.shape, waiting.pop(0))
        self._positional(call, signature, positional, found)
        return found

    def _positional(
        self, call: Call, signature: Signature, given: list[Argument], found: _Arguments
    ) -> None:
        wanted = signature.positional
        if signature.optional is not None and len(given) == len(wanted) + 1:
            wanted = (signature.optional, *wanted)
        if len(given) != len(wanted):
            raise BadScript(call.line, f"« {call.name} » : nombre d'arguments")
        for (name, shape), argument in zip(wanted, given, strict=True):
            found.put(call, name, shape, argument)

    def _match(self, call: Call, arguments: _Arguments) -> Match:
        switches = arguments.switches
        type = next((t for t in ("contains", "matches", "value", "count") if t in switches), "is")
        comparator = arguments.strings.get("comparator", ("i;ascii-casemap",))[0]
        if comparator not in COMPARATORS:
            raise BadScript(call.line, f"comparateur inconnu : {comparator}")
        self._need(call, COMPARATORS[comparator], comparator)
        if comparator == "i;ascii-numeric" and type in ("contains", "matches"):
            raise BadScript(call.line, f"i;ascii-numeric ne va pas avec « :{type} »")
        relation = arguments.strings[type][0].lower() if type in ("value", "count") else ""
        if relation and relation not in RELATIONS:
            raise BadScript(call.line, f"relation inconnue : {relation}")
        return Match(cast(MatchType, type), comparator, relation)

    def _texts(self, call: Call, arguments: _Arguments) -> None:
        """RFC 5228 2.4.2.4 at once, RFC 5229 3 only checked. Raises BadScript."""
        if "encoded-character" in self._requires:
            for name, values in arguments.strings.items():
                decoded = (decoded_characters(value, call.line) for value in values)
                arguments.strings[name] = tuple(decoded)
        if "variables" in self._requires:
            for values in arguments.strings.values():
                for value in values:
                    for reference in references(value):
                        if "." in reference:
                            raise BadScript(call.line, f"espace de noms inconnu : {reference}")


def _check(step: Step, *, has_variables: bool) -> None:
    """Values that are wrong whatever the letter is. Raises BadScript."""
    for name in step.strings.get("headers", ()) + step.strings.get("header", ()):
        if has_variables and "${" in name:
            continue
        if not _FIELD.match(name):
            raise BadScript(step.line, f"nom d'en-tête illisible : {name!r}")
        if step.name == "address" and name.lower() not in ADDRESS_HEADERS:
            raise BadScript(step.line, f"cet en-tête ne contient pas d'adresses : {name}")
    match step.name:
        case "size" if not step.switches:
            raise BadScript(step.line, "« size » demande « :over » ou « :under »")
        case "set" if not _NAME.match(step.strings["name"][0]):
            raise BadScript(step.line, f"nom de variable illisible : {step.strings['name'][0]!r}")
        case "redirect":
            _redirect(step, has_variables=has_variables)
        case "date" | "currentdate":
            _date(step, has_variables=has_variables)
        case "setflag" | "addflag" | "removeflag" | "hasflag":
            _flag_variables(step, has_variables=has_variables)
        case "envelope":
            _envelope(step, has_variables=has_variables)
        case "address" | "exists" | "header":
            _mime(step)


def _redirect(step: Step, *, has_variables: bool) -> None:
    text = step.strings["address"][0]
    if not (has_variables and "${" in text):
        try:
            Address.parse(text)
        except BadAddress as error:
            raise BadScript(step.line, f"adresse illisible : {text!r}") from error


def _date(step: Step, *, has_variables: bool) -> None:
    part = step.strings["part"][0]
    if not (has_variables and "${" in part) and part.lower() not in PARTS:
        raise BadScript(step.line, f"élément de date inconnu : {part}")
    zone = step.strings.get("zone", ("+0000",))[0]
    if not (has_variables and "${" in zone) and not ZONE.match(zone):
        raise BadScript(step.line, f"fuseau illisible : {zone}")


def _flag_variables(step: Step, *, has_variables: bool) -> None:
    names = step.strings.get("variable", ()) + step.strings.get("variables", ())
    if names and not has_variables:
        raise BadScript(step.line, 'un nom de variable demande : require "variables";')
    for name in names:
        if not _NAME.match(name):
            raise BadScript(step.line, f"nom de variable illisible : {name!r}")


def _envelope(step: Step, *, has_variables: bool) -> None:
    for part in step.strings["parts"]:
        if not (has_variables and "${" in part) and part.lower() not in ("from", "to"):
            raise BadScript(step.line, f"élément d'enveloppe inconnu : {part}")


def _mime(step: Step) -> None:
    if "mime" not in step.switches and step.switches & {
        *("anychild", "type", "subtype", "contenttype", "param"),
    }:
        raise BadScript(step.line, "« :anychild » et les suivants demandent « :mime »")
