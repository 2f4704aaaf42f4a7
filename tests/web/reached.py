"""The refusals that a page can come to, read from the code: what its functions call, and so on.

A name is followed where it is defined. What is called on an object is looked for among the classes
of `ROOMS`, whatever its type: rather one function too many than one too few. Refusals of the policy
travel as values (`policy.refusals`), and are not found this way.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "mssmtp"
ROOMS = (
    "mssmtp.admin",
    "mssmtp.bulk.activation",
    "mssmtp.card_login",
    "mssmtp.codes",
    "mssmtp.directories",
    "mssmtp.envelopes",
    "mssmtp.identity.app_password",
    "mssmtp.identity.detour",
    "mssmtp.identity.guesses",
    "mssmtp.identity.id_token",
    "mssmtp.identity.national_id",
    "mssmtp.identity.portal_password",
    "mssmtp.identity.refusals",
    "mssmtp.linking",
    "mssmtp.mail",
    "mssmtp.notices",
    "mssmtp.people",
    "mssmtp.portal",
    "mssmtp.posting",
    "mssmtp.provider_login",
    "mssmtp.providers",
    "mssmtp.psc_login",
    "mssmtp.registering",
    "mssmtp.resetting",
    "mssmtp.sieve.auto_reply",
    "mssmtp.storage",
    "mssmtp.ticketed_login",
    "mssmtp.web",
    "mssmtp.wording",
)
"""Where a page comes to. Beyond them are mail itself, and what is done when a server starts."""
_OF_A_START = ("mssmtp.storage", "mssmtp.notices.relay", "mssmtp.web.opening", "mssmtp.web.door")
"""A ConfigError of theirs is about a home or a setting, and nobody has a page yet."""
_IN_WORDS = ("mssmtp.wording", "mssmtp.sieve.auto_reply", "mssmtp.notices.choices")
"""Where a ValueError is what somebody reads."""
_ASKED = ("ask", "row", "rows")
_WORDS = ("ValueError", "NotPossible")
"""What operations turn into a refusal in the same words."""

Name = tuple[str, str]
"""Module and name in it; of a method `Class.method`."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """`kind`: the class, of `module`. `room`: who makes it. `what` and `why`: what a ConfigError
    says, `{}` where it varies; None for what is put together elsewhere, and for MailErrors, which
    say what their class does."""

    module: str
    kind: str
    room: str
    what: str | None = None
    why: str | None = None


@dataclass
class _Module:
    functions: dict[str, ast.AST] = field(default_factory=dict)
    """Methods too, as `Class.method`."""
    classes: dict[str, ast.ClassDef] = field(default_factory=dict)
    imports: dict[str, Name] = field(default_factory=dict)
    """Local name -> module and name in it; "" is the module itself."""
    operations: dict[str, list[ast.expr]] = field(default_factory=dict)
    """Name of an operation -> how its functions are called here."""


class Code:
    """The modules of the package."""

    def __init__(self) -> None:
        self._modules: dict[str, _Module] = {}
        for path in sorted(PACKAGE.rglob("*.py")):
            parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            self._modules[name] = _read(ast.parse(path.read_text("utf-8")))
        self._methods: dict[str, list[Name]] = {}
        for module, found in self._modules.items():
            if _is_in(module, ROOMS):
                for name in found.functions:
                    if "." in name:
                        self._methods.setdefault(name.partition(".")[2], []).append((module, name))
        self._refusals = self._kinds()

    def reached(self) -> set[Refusal]:
        """From all pages, and from what happens before and after any of them."""
        seen: set[Name] = set()
        waiting = list(self._begins())
        found: set[Refusal] = set()
        while waiting:
            name = waiting.pop()
            if name in seen or not _is_in(name[0], ROOMS):
                continue
            seen.add(name)
            node = self._modules[name[0]].functions[name[1]]
            found |= set(self._made(name[0], node))
            waiting += self._called(name[0], node)
        return found

    def _begins(self) -> Iterator[Name]:
        operations = {
            name: (module, functions)
            for module, found in self._modules.items()
            for name, functions in found.operations.items()
        }
        for module, found in self._modules.items():
            if not module.startswith("mssmtp.web."):
                continue
            for name, node in found.functions.items():
                yield module, name
                for asked in _asked(node):
                    where, functions = operations[asked]
                    for each in functions:
                        yield from self._called(where, each)

    # ------------------------------------------------------------ names

    def _resolved(self, module: str, name: str) -> Name | None:
        """Where a function or class of this name is defined."""
        for _ in range(8):
            found = self._modules.get(module)
            if found is None:
                return None
            if name in found.functions or name in found.classes:
                return module, name
            if name not in found.imports:
                return None
            module, name = found.imports[name]
        return None

    def _module_of(self, module: str, name: str) -> str | None:
        """Which module a local name stands for."""
        where, what = self._modules[module].imports.get(name, ("", ""))
        whole = f"{where}.{what}" if what else where
        return whole if whole in self._modules else None

    def _called(self, module: str, node: ast.AST) -> Iterator[Name]:
        for each in ast.walk(node):
            if isinstance(each, ast.Name):
                yield from self._functions_of(self._resolved(module, each.id))
            elif isinstance(each, ast.Attribute):
                yield from self._attribute(module, each)

    def _attribute(self, module: str, node: ast.Attribute) -> Iterator[Name]:
        if isinstance(node.value, ast.Name):
            other = self._module_of(module, node.value.id)
            if other is not None:
                yield from self._functions_of(self._resolved(other, node.attr))
                return
            owner = self._resolved(module, node.value.id)
            if owner is not None and owner[1] in self._modules[owner[0]].classes:
                method = f"{owner[1]}.{node.attr}"
                if method in self._modules[owner[0]].functions:
                    yield owner[0], method
                return
        yield from self._methods.get(node.attr, ())

    def _functions_of(self, target: Name | None) -> Iterator[Name]:
        if target is None:
            return
        module, name = target
        if name in self._modules[module].functions:
            yield target
            return
        for maker in ("__init__", "__post_init__"):
            if f"{name}.{maker}" in self._modules[module].functions:
                yield module, f"{name}.{maker}"

    # ------------------------------------------------------------ refusals

    def _kinds(self) -> dict[Name, str]:
        """Classes of refusals -> `ConfigError` or `MailError`."""
        found: dict[Name, str] = {
            ("mssmtp.errors", "ConfigError"): "ConfigError",
            ("mssmtp.errors", "MailError"): "MailError",
        }
        for _ in range(6):  # as deep as they are derived
            for module, each in self._modules.items():
                for name, node in each.classes.items():
                    for base in node.bases:
                        target = (
                            self._resolved(module, base.id) if isinstance(base, ast.Name) else None
                        )
                        if target in found:
                            found[module, name] = found[target]
        return found

    def _made(self, module: str, node: ast.AST) -> Iterator[Refusal]:
        for each in ast.walk(node):
            if isinstance(each, ast.Call):
                yield from self._refusal(module, node, each.func, each.args)
            elif isinstance(each, ast.Raise) and isinstance(each.exc, ast.Name):
                yield from self._refusal(module, node, each.exc, [])

    def _refusal(
        self, module: str, node: ast.AST, kind: ast.expr, given: list[ast.expr]
    ) -> Iterator[Refusal]:
        target = self._kind(module, kind)
        if target is None:
            return
        family = self._refusals.get(target, "words" if target[1] in _WORDS else "")
        if family == "MailError":
            yield Refusal(*target, module)
        elif family == "ConfigError" and not _is_in(module, _OF_A_START):
            whats = list(_texts(node, given[0])) if given else [None]
            whys = list(_texts(node, given[1])) if len(given) > 1 else [None]
            yield from (Refusal(*target, module, what, why) for what in whats for why in whys)
        elif family == "words" and given and module in _IN_WORDS:
            for why in _texts(node, given[0]):
                yield Refusal("mssmtp.errors", "ConfigError", module, None, why)

    def _kind(self, module: str, node: ast.expr) -> Name | None:
        if isinstance(node, ast.Name):
            return self._resolved(module, node.id) or (module, node.id)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            other = self._module_of(module, node.value.id)
            return None if other is None else self._resolved(other, node.attr)
        return None


def _is_in(module: str, rooms: Iterable[str]) -> bool:
    return any(module == room or module.startswith(f"{room}.") for room in rooms)


def _read(tree: ast.Module) -> _Module:
    found = _Module()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.functions[node.name] = node
        elif isinstance(node, ast.ClassDef):
            found.classes[node.name] = node
            for each in node.body:
                if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
                    found.functions[f"{node.name}.{each.name}"] = each
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                found.imports[alias.asname or alias.name] = (node.module, alias.name)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                found.imports[alias.asname or alias.name] = (alias.name, "")
    for call in ast.walk(tree):
        if (
            isinstance(call, ast.Call)
            and isinstance(call.func, ast.Name)
            and call.func.id == "operation"
            and call.args
            and isinstance(call.args[0], ast.Constant)
        ):
            # name, level, input, place, run
            found.operations[str(call.args[0].value)] = call.args[3:5]
    return found


def _asked(node: ast.AST) -> Iterator[str]:
    """Names of operations in `asking.ask(call, "…")` and its like."""
    for each in ast.walk(node):
        if (
            isinstance(each, ast.Call)
            and isinstance(each.func, ast.Attribute)
            and each.func.attr in _ASKED
            and isinstance(each.func.value, ast.Name)
            and each.func.value.id == "asking"
        ):
            for constant in ast.walk(each.args[1]):
                if isinstance(constant, ast.Constant):
                    yield str(constant.value)


def _texts(function: ast.AST, node: ast.expr) -> Iterator[str | None]:
    """What an argument may say, `{}` where it varies; a name is looked for in its function."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "".join(
            str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values
        )
    elif isinstance(node, ast.IfExp):
        yield from _texts(function, node.body)
        yield from _texts(function, node.orelse)
    elif isinstance(node, ast.Name) and (values := list(_assigned(function, node.id))):
        for value in values:
            yield from _texts(function, value)
    else:
        yield None


def _assigned(function: ast.AST, name: str) -> Iterator[ast.expr]:
    """What is ever given to a local name, alone or among several."""
    for each in ast.walk(function):
        if not isinstance(each, ast.Assign):
            continue
        pairs = [(target, each.value) for target in each.targets]
        for target, value in pairs:
            if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
                pairs += zip(target.elts, value.elts, strict=True)
            elif isinstance(target, ast.Name) and target.id == name:
                yield value
