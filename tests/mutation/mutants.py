"""Mutants of one module: every check removed, negated or weakened in turn.

A mutant is the module's text with one place changed. What never changes a verdict is left alone:
annotations, docstrings, decorators, and texts that only a person reads.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

Lines = tuple[int, int]

_OPPOSITES: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_EXCHANGED = {"any": "all", "all": "any", "min": "max", "max": "min"}
_UNWRAPPED = {"reversed", "sorted", "frozenset", "set"}
_STRIPPED = {"strip", "upper", "lower", "casefold", "replace", "removeprefix", "lstrip", "rstrip"}
_FOR_PEOPLE = {
    "ConfigError": 0,
    "BadRevocationList": 0,
    "BadAnswer": 0,
    "ListRefused": 1,
    "Reply": 2,
    "info": 0,
}
"""Calls and the argument from which on their strings are for people."""
_RECORD = 4
"""A call with more keywords makes a record: without one of its fields it is a TypeError."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change. `name` says which, also after lines have moved; `lines` tell who executes it."""

    file: str
    where: str
    name: str
    lines: Lines
    at_import: bool
    start: int
    end: int
    new: bytes

    def applied(self, source: bytes) -> bytes:
        return source[: self.start] + self.new + source[self.end :]


def mutants(path: Path, root: Path) -> list[Mutant]:
    """Every mutant of the module, in the order of its text."""
    source = path.read_bytes()
    finder = _Finder(source)
    finder.visit(ast.parse(source))
    seen: Counter[str] = Counter()
    made = []
    for place in sorted(finder.places, key=lambda place: (place.start, place.end, place.new)):
        file = str(path.relative_to(root))
        old = _one_line(source[place.start : place.end].decode())
        name = f"{file} {place.where}: {_short(old)} {place.label or '-> ' + _one_line(place.new)}"
        seen[name] += 1
        name += f" #{seen[name]}" if seen[name] > 1 else ""
        new = place.new.encode()
        made.append(
            Mutant(
                file, place.where, name, place.lines, place.at_import, place.start, place.end, new
            )
        )
    return made


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:60]} … {text[-15:]}"


@dataclass(frozen=True, slots=True)
class _Place:
    where: str
    lines: Lines
    at_import: bool
    start: int
    end: int
    new: str
    label: str


class _Finder(ast.NodeVisitor):
    """Walks the tree and collects places with what could stand there instead."""

    def __init__(self, source: bytes) -> None:
        self.places: list[_Place] = []
        self._source = source
        self._starts = [0]
        for line in source.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))
        self._scope: list[str] = []
        self._depth = 0  # of functions: what is outside of them runs at import
        self._lines: Lines = (0, 0)

    # ------------------------------------------------------------ the walk

    def visit(self, node: ast.AST) -> None:
        if isinstance(node, ast.stmt):
            self._lines = _header(node)
        for new in _replacements(node):
            self._add(node, new)
        for part, new in _conditions(node):
            self._add(part, new)
        for left_out, new in _one_less(node):
            self._add(node, new, f"without {_one_line(ast.unparse(left_out))}")
        super().visit(node)

    def generic_visit(self, node: ast.AST) -> None:
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list", "type_params"):
                continue
            if name in ("orelse", "finalbody", "body", "handlers"):
                lines = self._lines
                self._visit_all(value)
                self._lines = lines
            else:
                self._visit_all(value)

    def _visit_all(self, value: object) -> None:
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, ast.AST):
                self.visit(item)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._scope.append(node.name)
        self._visit_all(node.args)  # defaults are computed at import
        self._depth += 1
        self._visit_all(_without_docstring(node.body))
        self._depth -= 1
        self._scope.pop()

    visit_AsyncFunctionDef = visit_FunctionDef  # type: ignore[assignment]  # the same fields

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._scope.append(node.name)
        self._visit_all(_without_docstring(node.body))
        self._scope.pop()

    def visit_Module(self, node: ast.Module) -> None:
        self._visit_all(_without_docstring(node.body))

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):  # a string below an attribute documents it
            self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        if not (self._depth == 0 and isinstance(node.value, ast.Subscript)):  # the name of a type
            self.generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        if "__name__" in ast.unparse(node.test):
            return
        lines = self._lines
        self._visit_condition(node.test)
        # A branch that only raises is gone already where its condition is never met.
        only_raises = len(node.body) == 1 and isinstance(node.body[0], ast.Raise)
        if only_raises:
            self._lines = _header(node.body[0])
            self.generic_visit(node.body[0])
        else:
            self._visit_all(node.body)
        self._visit_all(node.orelse)
        self._lines = lines

    def visit_Return(self, node: ast.Return) -> None:
        if isinstance(node.value, ast.Tuple):  # one value less is an error of unpacking
            self._visit_all(node.value.elts)
        elif node.value is not None:
            self._visit_condition(node.value)

    def _visit_condition(self, node: ast.expr) -> None:
        """Always met and never met are tried as well: who notices one notices the negation."""
        if isinstance(node, ast.UnaryOp) or (
            isinstance(node, ast.Compare) and not _has_a_limit(node)
        ):
            self.generic_visit(node)
        else:
            self.visit(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Its pieces are no literals of the source."""

    def visit_Call(self, node: ast.Call) -> None:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else ast.unparse(node.func)
        spared = node.args[_FOR_PEOPLE.get(name, len(node.args)) :]
        self.visit(node.func)
        for argument in node.args:
            if not (argument in spared and isinstance(argument, ast.Constant | ast.JoinedStr)):
                self.visit(argument)
        self._visit_all(node.keywords)

    # ------------------------------------------------------------ one place

    def _add(self, node: ast.AST, new: str, label: str = "") -> None:
        if isinstance(node, ast.ExceptHandler) and node.type is not None:
            node = node.type
        if isinstance(node, ast.expr | ast.stmt):
            start = self._starts[node.lineno - 1] + node.col_offset
            end = self._starts[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0)
            where = ".".join(self._scope)
            at_import = self._depth == 0
            self.places.append(_Place(where, self._lines, at_import, start, end, new, label))


def _has_a_limit(node: ast.Compare) -> bool:
    return any(isinstance(op, ast.Lt | ast.LtE | ast.Gt | ast.GtE) for op in node.ops)


def _header(node: ast.stmt) -> Lines:
    """The lines of a statement, without the block below it."""
    body = getattr(node, "body", None)
    if isinstance(body, list) and body:
        return node.lineno, max(node.lineno, body[0].lineno - 1)
    return node.lineno, node.end_lineno or node.lineno


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    first = body[0]
    documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return body[1:] if documented else body


# ---------------------------------------------------------------- what could stand there instead


def _replacements(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Raise() | ast.Expr(value=ast.Call() | ast.Await()):
            yield "pass"
        case ast.Continue():
            yield "break"
        case ast.Break():
            yield "continue"
        case ast.ExceptHandler(type=ast.expr()):
            yield "ZeroDivisionError"
        case ast.AugAssign(op=ast.Add() | ast.Sub()):
            other: ast.operator = ast.Sub() if isinstance(node.op, ast.Add) else ast.Add()
            yield ast.unparse(ast.AugAssign(node.target, other, node.value))
        case ast.Constant():
            yield from _constants(node.value)
        case ast.Call():
            yield from _calls(node)
        case ast.Compare() | ast.BoolOp() | ast.UnaryOp() | ast.BinOp():
            yield from _operations(node)


def _conditions(node: ast.AST) -> Iterator[tuple[ast.expr, str]]:
    """Conditions that are always, or never, met; loops over nothing."""
    match node:
        case ast.If() | ast.IfExp():
            yield node.test, "False"
            yield node.test, "True"
        case ast.While():
            yield node.test, "False"
        case ast.For():
            yield node.iter, "()"
        case ast.comprehension():
            yield node.iter, "()"
            for test in node.ifs:
                yield test, "True"
                yield test, "False"
        case ast.Return(value=ast.Compare() | ast.BoolOp() | ast.UnaryOp(op=ast.Not()) as value):
            yield value, "True"
            yield value, "False"
        case ast.Return(value=ast.Call(func=ast.Name(id="any" | "all" | "isinstance")) as value):
            yield value, "True"
            yield value, "False"


def _constants(value: object) -> Iterator[str]:
    match value:
        case bool():
            yield repr(not value)
        case int():
            yield repr(value + 1)
            if value > 1:
                yield repr(value - 1)
        case str() | bytes() if value:
            yield repr("XX" + value if isinstance(value, str) else b"XX" + value)


def _calls(node: ast.Call) -> Iterator[str]:
    match node.func:
        case ast.Name(id=name) if name in _EXCHANGED:
            yield ast.unparse(ast.Call(ast.Name(_EXCHANGED[name]), node.args, node.keywords))
        case ast.Name(id=name) if name in _UNWRAPPED and node.args:
            yield f"({ast.unparse(node.args[0])})"
        case ast.Attribute(value=receiver, attr=name) if name in _STRIPPED:
            yield f"({ast.unparse(receiver)})"
        case ast.Attribute(attr="normalize" | "sub"):
            yield f"({ast.unparse(node.args[1])})"


def _operations(node: ast.Compare | ast.BoolOp | ast.UnaryOp | ast.BinOp) -> Iterator[str]:
    match node:
        case ast.Compare():
            for at, op in enumerate(node.ops):
                ops = [*node.ops[:at], _OPPOSITES[type(op)](), *node.ops[at + 1 :]]
                yield f"({ast.unparse(ast.Compare(node.left, ops, node.comparators))})"
        case ast.BoolOp():
            for at in range(len(node.values)):
                rest = node.values[:at] + node.values[at + 1 :]
                yield f"({ast.unparse(rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest))})"
            other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
            yield f"({ast.unparse(ast.BoolOp(other, node.values))})"
        case ast.UnaryOp(op=ast.Not()):
            yield f"({ast.unparse(node.operand)})"
        case ast.BinOp(op=ast.Add()):
            yield f"({ast.unparse(ast.BinOp(node.left, ast.Sub(), node.right))})"
        case ast.BinOp(op=ast.Sub()):
            yield f"({ast.unparse(ast.BinOp(node.left, ast.Add(), node.right))})"
        case ast.BinOp(op=ast.BitOr()):
            yield f"({ast.unparse(ast.BinOp(node.left, ast.BitAnd(), node.right))})"


def _one_less(node: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """Collections without one of their elements, calls without one of their keywords."""
    match node:
        case ast.Call(keywords=keywords) if len(keywords) <= _RECORD:
            for at, keyword in enumerate(keywords):
                if keyword.arg is not None:
                    rest = keywords[:at] + keywords[at + 1 :]
                    yield keyword, ast.unparse(ast.Call(node.func, node.args, rest))
        case ast.Tuple(ctx=ast.Load()) | ast.List(ctx=ast.Load()) | ast.Set():
            for at, element in enumerate(node.elts):
                rest_of = node.elts[:at] + node.elts[at + 1 :]
                if rest_of or not isinstance(node, ast.Set):
                    yield element, ast.unparse(_collection(node, rest_of))
        case ast.Dict():
            for at, key in enumerate(node.keys):
                keys = node.keys[:at] + node.keys[at + 1 :]
                values = node.values[:at] + node.values[at + 1 :]
                yield key or node.values[at], ast.unparse(ast.Dict(keys, values))


def _collection(node: ast.Tuple | ast.List | ast.Set, elements: list[ast.expr]) -> ast.expr:
    if isinstance(node, ast.Tuple):
        return ast.Tuple(elements, ast.Load())
    return ast.List(elements, ast.Load()) if isinstance(node, ast.List) else ast.Set(elements)
