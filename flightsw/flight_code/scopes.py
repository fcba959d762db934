"""What a name in a function's source stands for: a local, or the object that it will find at run time."""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import FunctionType, ModuleType
from typing import Any

UNKNOWN: Any = object()
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)

_NAMED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.ExceptHandler, ast.MatchAs, ast.MatchStar)


@dataclass
class Scope:
    """Names bound in one function, lambda or comprehension. values: what is assigned to each; imports: objects that it imports."""

    values: dict[str, list[ast.expr]] = field(default_factory=dict)
    items: dict[str, list[ast.expr]] = field(default_factory=dict)  # what a loop takes them from
    imports: dict[str, Any] = field(default_factory=dict)
    bound: set[str] = field(default_factory=set)
    outer: set[str] = field(default_factory=set)  # declared global


def parameters(node: ast.AST) -> list[str]:
    """Names of the parameters of a function or lambda, in order."""
    args = getattr(node, "args", None)
    if not isinstance(args, ast.arguments):
        return []
    extra = [a for a in (args.vararg, args.kwarg) if a is not None]
    return [a.arg for a in (*args.posonlyargs, *args.args, *args.kwonlyargs, *extra)]


def own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Nodes of a scope without those of the scopes inside it (these themselves are given)."""
    todo: list[ast.AST] = list(_body(node))
    while todo:
        item = todo.pop()
        yield item
        if isinstance(item, _SCOPES):
            first = getattr(item, "generators", None)  # the first iterable of a comprehension belongs outside; so do defaults
            todo += [first[0].iter] if first else [*getattr(item.args, "defaults", [])] if hasattr(item, "args") else []
        elif not isinstance(item, ast.ClassDef):
            todo += list(ast.iter_child_nodes(item))


def _body(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Lambda):
        yield node.body
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        yield from node.body
    else:
        yield from ast.iter_child_nodes(node)


def scope_of(node: ast.AST) -> Scope:
    """Collect what a scope binds."""
    s, nonlocals = Scope(bound=set(parameters(node))), set[str]()
    for item in own_nodes(node):
        if isinstance(item, ast.Global):
            s.outer |= set(item.names)
        elif isinstance(item, ast.Nonlocal):
            nonlocals |= set(item.names)
        elif isinstance(item, ast.Assign):
            for target in item.targets:
                _bind(s, target, item.value)
        elif isinstance(item, ast.AnnAssign | ast.NamedExpr) and item.value is not None:
            _bind(s, item.target, item.value)
        elif isinstance(item, ast.For | ast.AsyncFor | ast.comprehension):
            _bind_items(s, item.target, item.iter)
        elif isinstance(item, ast.With | ast.AsyncWith):
            for part in item.items:
                if part.optional_vars is not None:
                    _bind(s, part.optional_vars, part.context_expr)
        elif isinstance(item, ast.Import | ast.ImportFrom):
            s.imports |= dict(_imported(item))
        elif isinstance(item, _NAMED):
            s.bound |= {item.name} if item.name else set()
        elif isinstance(item, ast.Name) and isinstance(item.ctx, ast.Store | ast.Del):
            s.bound.add(item.id)
    s.bound |= set(s.imports)
    s.bound -= s.outer | nonlocals
    return s


def _bind(s: Scope, target: ast.expr, value: ast.expr) -> None:
    if isinstance(target, ast.Name):
        s.bound.add(target.id)
        s.values.setdefault(target.id, []).append(value)
    elif isinstance(target, ast.Tuple | ast.List):
        if isinstance(value, ast.Tuple | ast.List) and len(value.elts) == len(target.elts):
            for part, given in zip(target.elts, value.elts, strict=True):
                _bind(s, part, given)
        else:
            _bind_items(s, target, value)


def _bind_items(s: Scope, target: ast.expr, source: ast.expr) -> None:
    for name in ast.walk(target):
        if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store):
            s.bound.add(name.id)
            s.items.setdefault(name.id, []).append(source)


def _imported(node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, Any]]:
    for alias in node.names:
        try:
            if isinstance(node, ast.Import):
                module = importlib.import_module(alias.name if alias.asname else alias.name.partition(".")[0])
                yield alias.asname or alias.name.partition(".")[0], module
            else:
                module = importlib.import_module(node.module or "") if not node.level else ModuleType("unknown")
                yield alias.asname or alias.name, getattr(module, alias.name, UNKNOWN)
        except Exception:  # whatever a module does when it is imported: it will do so again, in the task
            yield alias.asname or alias.name.partition(".")[0], UNKNOWN


class Names:
    """Resolves expressions of one function object. Scopes are pushed and popped by whoever walks the source."""

    def __init__(self, function: FunctionType) -> None:
        self.scopes: list[Scope] = []
        self.globals = function.__globals__
        self.closure: dict[str, Any] = {}
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            try:
                self.closure[name] = cell.cell_contents
            except ValueError:  # not filled yet
                self.closure[name] = UNKNOWN

    def local(self, name: str) -> Scope | None:
        """Scope of the function that binds a name; None when it comes from outside."""
        for scope in reversed(self.scopes):
            if name in scope.bound:
                return scope
            if name in scope.outer:
                break
        return None

    def outside(self, name: str) -> Any:
        """Object of a name that the function does not bind."""
        if name in self.closure:
            return self.closure[name]
        return self.globals.get(name, getattr(builtins, name, UNKNOWN))

    def resolve(self, node: ast.expr, depth: int = 0) -> Any:
        """The object of a dotted name, as far as it is known before the function runs; else UNKNOWN."""
        if depth > 20:
            return UNKNOWN
        if isinstance(node, ast.Name):
            scope = self.local(node.id)
            if scope is None:
                return self.outside(node.id)
            if node.id in scope.imports:
                return scope.imports[node.id]
            given = scope.values.get(node.id, [])
            return self.resolve(given[0], depth + 1) if len(given) == 1 and node.id not in scope.items else UNKNOWN
        if isinstance(node, ast.Attribute):
            return self._member(self.resolve(node.value, depth + 1), node.attr)
        if isinstance(node, ast.Call) and len(node.args) >= 2 and isinstance(node.args[1], ast.Constant) and \
                self.resolve(node.func, depth + 1) is getattr:
            return self._member(self.resolve(node.args[0], depth + 1), str(node.args[1].value))
        return UNKNOWN

    @staticmethod
    def _member(base: Any, name: str) -> Any:
        """Member of a module or class, or plain attribute of an object; nothing of the user's is run."""
        if isinstance(base, ModuleType):
            try:
                return getattr(base, name)  # some modules load their parts when they are asked for
            except Exception:
                return UNKNOWN
        if base is UNKNOWN:
            return UNKNOWN
        found = inspect.getattr_static(base, name, UNKNOWN)
        if isinstance(found, classmethod | staticmethod):
            return found.__func__
        return UNKNOWN if isinstance(found, property) or inspect.ismemberdescriptor(found) else found
