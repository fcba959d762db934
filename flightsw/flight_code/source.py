"""What a Python task and the functions that it reaches name, found in their source and resolved as they would be at run time."""

from __future__ import annotations

import ast
import functools
import inspect
import linecache
import os
import sysconfig
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from flightsw.errors import Problem
from flightsw.flight_code import rules
from flightsw.flight_code.scopes import UNKNOWN, Names, Scope, parameters, scope_of

_MUTABLE = (list, dict, set, bytearray, np.ndarray)
_MAKERS = ("__new__", "__init__", "__post_init__")  # not called for an object that is there
_LIBRARIES = tuple(os.path.normcase(p) + os.sep for k in ("stdlib", "platstdlib", "purelib", "platlib")
                   if (p := sysconfig.get_path(k)))
_OWN = os.path.normcase(Path(__file__).resolve().parents[1]) + os.sep


@dataclass(frozen=True)
class Found:
    """problems in the order of their lines; checked: the source was at hand."""

    problems: list[Problem]
    checked: bool


@dataclass
class _Work:
    """The functions that a task reaches, each with the parameters that stand for objects from outside."""

    task: str
    main: FunctionType
    todo: list[tuple[FunctionType, frozenset[str]]] = field(default_factory=list)
    done: set[tuple[int, frozenset[str]]] = field(default_factory=set)
    problems: dict[tuple[str, int, str], Problem] = field(default_factory=dict)

    def reach(self, function: FunctionType, outside: Iterable[str] = ()) -> None:
        key = (id(function), frozenset(outside))  # an address here names an object of this process only
        if key not in self.done and (function.__module__ == self.main.__module__ or _is_users(function)):
            self.done.add(key)
            self.todo.append((function, key[1]))


@lru_cache(maxsize=256)
def check(function: Callable[..., Any], task: str) -> Found:
    """Check a task's function and everything of the user's that it reaches."""
    plain = _plain(function)
    if plain is None or _definitions(plain) == []:
        return Found([], checked=False)
    work = _Work(task, plain)
    work.reach(plain)
    checked = True
    while work.todo:
        reached, outside = work.todo.pop()
        definitions = _definitions(reached)
        checked = checked and definitions != []
        for node in definitions:
            _Function(work, reached, node, outside).walk()
    return Found([work.problems[k] for k in sorted(work.problems)], checked)


def _plain(thing: Any) -> FunctionType | None:
    """The Python function behind decorators, partial objects and methods; None when there is none."""
    for _ in range(20):
        if isinstance(thing, functools.partial):
            thing = thing.func
        elif isinstance(thing, MethodType | classmethod | staticmethod):
            thing = thing.__func__
        elif isinstance(thing, property):
            thing = thing.fget
        elif hasattr(type(thing), "__wrapped__") or "__wrapped__" in getattr(thing, "__dict__", {}):
            thing = thing.__wrapped__
        else:
            break
    return thing if isinstance(thing, FunctionType) else None


def _is_users(function: FunctionType) -> bool:
    """Written by the user: neither the standard library, nor installed, nor this package."""
    name = os.path.normcase(os.path.realpath(function.__code__.co_filename))
    return not name.startswith((*_LIBRARIES, _OWN)) and not {"site-packages", "dist-packages"} & set(Path(name).parts)


def _definitions(function: FunctionType) -> list[ast.AST]:
    """Where the function stands in its file: one node, or several for lambdas in one line; none without source."""
    code = function.__code__
    linecache.checkcache(code.co_filename)
    tree = _tree("".join(linecache.getlines(code.co_filename, function.__globals__)))
    return [node for node in ast.walk(tree) if (
        isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == code.co_name and
        min([node.lineno, *(d.lineno for d in node.decorator_list)]) == code.co_firstlineno) or (
        isinstance(node, ast.Lambda) and code.co_name == "<lambda>" and node.lineno == code.co_firstlineno)]


@lru_cache(maxsize=32)
def _tree(text: str) -> ast.Module:
    try:
        return ast.parse(text)
    except SyntaxError:  # a file that changed since it was loaded
        return ast.Module([], [])


# ---- what an object is --------------------------------------------------------------------------------------------------


def _same(name: str) -> Any:
    """The object of a dotted name of a module that is loaded."""
    import sys

    module, _, member = name.rpartition(".")
    return getattr(sys.modules.get(module), member, UNKNOWN)


def _full_name(thing: Any) -> str:
    """Where an object comes from: "time.perf_counter", "numpy.random.mtrand.RandomState"."""
    if isinstance(thing, ModuleType):
        return thing.__name__
    owner = getattr(thing, "__self__", None)
    kind = thing if isinstance(thing, type | FunctionType) or (callable(thing) and hasattr(thing, "__name__")) else type(thing)
    name = getattr(kind, "__name__", "")
    if owner is not None and not isinstance(owner, ModuleType):
        kind = owner if isinstance(owner, type) else type(owner)
    return f"{getattr(kind, '__module__', None) or ''}.{name}"


def _also(chain: list[Any], objects: list[Any]) -> str:
    """The true name behind an alias, as " (time.time)"."""
    said = ast.unparse(chain[-1])
    if isinstance(objects[0], ModuleType):
        full = ".".join([objects[0].__name__, *(part.attr for part in chain[1:])])
    else:
        full = _full_name(objects[len(chain) - 1]).removeprefix("builtins.") if len(chain) == 1 else said
    return f" ({full})" if full != said else ""


def _hint(thing: Any) -> str | None:
    """What to use instead of an object that flight code may not touch; None when it may."""
    if thing is UNKNOWN or any(thing is _same(a) or type(thing) is _same(a) for a in rules.ALLOWED):
        return None
    for table, home in ((rules.BUILTINS, "builtins."), (rules.NUMPY, "numpy."), (rules.URANDOM, "")):
        for name, hint in table.items():
            if thing is _same(home + name):
                return hint
    parts = _full_name(thing).split(".")
    if parts[0] == "builtins" and not isinstance(thing, ModuleType):
        return None
    return next((rules.MODULES[m] for n in range(len(parts), 0, -1) if (m := ".".join(parts[:n])) in rules.MODULES), None)


def _holds_mutable(thing: Any) -> bool:
    """Whether something that is taken out of an object could be changed in place."""
    if isinstance(thing, np.ndarray):
        return thing.ndim > 1
    if isinstance(thing, dict):
        return any(isinstance(v, _MUTABLE) for v in thing.values())
    return not isinstance(thing, list | tuple) or any(isinstance(v, _MUTABLE) for v in thing)


# ---- one function -------------------------------------------------------------------------------------------------------


class _Function(ast.NodeVisitor):
    def __init__(self, work: _Work, function: FunctionType, node: ast.AST, outside: frozenset[str]) -> None:
        self.work, self.function, self.node = work, function, node
        self.names = Names(function)
        given = inspect.signature(function, follow_wrapped=False).parameters.values()
        self.outside = outside | {p.name for p in given if isinstance(p.default, _MUTABLE)}
        self.free: set[int] = set()  # generators whose order does not matter

    def walk(self) -> None:
        self._inside(self.node)

    def report(self, node: ast.AST, what: str, hint: str) -> None:
        file = os.path.normpath(self.function.__code__.co_filename)
        line = getattr(node, "lineno", 0)
        where = "" if self.function is self.work.main else f" in {self.function.__name__}()"
        text = f'task "{self.work.task}"{where} {what}: {rules.RULE}; {hint}'
        self.work.problems.setdefault((file, line, what), Problem(file, f"line {line}", text))

    # scopes

    def _inside(self, node: ast.AST) -> None:
        """Visit what is inside a scope, with its names."""
        scope = scope_of(node)
        self.names.scopes.append(scope)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for statement in node.body:
                self.visit(statement)
        elif isinstance(node, ast.Lambda):
            self.visit(node.body)
        else:
            self.generic_visit(node)
        self.names.scopes.pop()

    def _function(self, node: Any) -> None:
        for part in (*getattr(node, "decorator_list", []), *node.args.defaults, *filter(None, node.args.kw_defaults)):
            self.visit(part)
        self._inside(node)

    visit_FunctionDef = visit_AsyncFunctionDef = visit_Lambda = _function

    def _comprehension(self, node: Any) -> None:
        if not isinstance(node, ast.SetComp) and id(node) not in self.free:
            for part in node.generators:
                self._in_order(part.iter, "loops over")
        self._inside(node)

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _comprehension

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for part in node.body:
            self.visit(part)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self._store(node.target)
        for part in filter(None, (node.target, node.value)):  # not the annotation
            self.visit(part)

    def visit_Global(self, node: ast.Global | ast.Nonlocal) -> None:
        for name in node.names:
            outside = isinstance(node, ast.Global) or all(name not in s.bound for s in self.names.scopes)
            if outside and name in self._assigned():
                of = "its module" if isinstance(node, ast.Global) else "the function around it"
                self.report(node, f"writes the variable {name} of {of}", rules.STATE)

    visit_Nonlocal = visit_Global

    def _assigned(self) -> set[str]:
        return {n.id for n in ast.walk(self.node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store | ast.Del)}

    # names

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self._named([node])

    def visit_Attribute(self, node: ast.Attribute) -> None:
        chain: list[Any] = [node]
        while isinstance(chain[0], ast.Attribute):
            chain.insert(0, chain[0].value)
        for part in chain[1:]:
            if part.attr in rules.ATTRIBUTES and not isinstance(self.names.resolve(part.value), ModuleType):
                self.report(part, f"uses .{part.attr}", rules.ATTRIBUTES[part.attr])
        if isinstance(chain[0], ast.Name):
            self._named(chain)
        else:
            self.visit(chain[0])

    def _named(self, chain: list[Any]) -> None:
        """Judge a dotted name, and follow it when it is a function of the user's."""
        if self.names.local(chain[0].id) is None and chain[0].id in rules.NAMES:
            self.report(chain[0], f"uses {chain[0].id}", rules.NAMES[chain[0].id])
            return
        objects = [self.names.resolve(part) for part in chain]
        if any(o is _same(a) for o in objects if o is not UNKNOWN for a in rules.ALLOWED):
            return
        for k, thing in enumerate(objects):
            hint = _hint(thing)
            if hint is None:
                continue
            while k + 1 < len(chain) and objects[k + 1] is not UNKNOWN:
                k += 1  # name the member, not only the module
            self.report(chain[0], f"uses {ast.unparse(chain[k])}{_also(chain[: k + 1], objects)}", _hint(objects[k]) or hint)
            return
        self._follow(objects[-1])
        for thing in objects[:-1]:
            if isinstance(thing, type) or not isinstance(thing, ModuleType | FunctionType):
                self._follow(thing)

    def _follow(self, thing: Any) -> None:
        """Put functions of the user's that an object brings with it on the list."""
        if thing is UNKNOWN or isinstance(thing, ModuleType):
            return
        task = getattr(thing, "python", None) if type(thing).__name__ == "TaskType" else None
        function = _plain(task if isinstance(task, FunctionType) else thing)
        if function is not None:
            self.work.reach(function)
            return
        kind = thing if isinstance(thing, type) else type(thing)
        if kind.__module__ == "builtins":
            return
        for member in vars(kind).values():
            method = _plain(member)
            if method is not None and not method.__code__.co_filename.startswith("<"):  # what dataclass and namedtuple make
                first = parameters(next(iter(_definitions(method)), ast.Pass()))[:1]
                self.work.reach(method, first if kind is not thing and method.__name__ not in _MAKERS else ())

    # state that lasts

    def _rooted(self, node: ast.AST, depth: int = 0) -> Any:
        """The object from outside the function that an expression is a part of; UNKNOWN when it is none."""
        if depth > 20:
            return UNKNOWN
        if isinstance(node, ast.Name):
            scope = self.names.local(node.id)
            if scope is None:
                thing = self.names.outside(node.id)
                return UNKNOWN if isinstance(thing, ModuleType) else thing
            if node.id in self.outside and scope is self.names.scopes[0]:
                return self.outside
            return self._first(self._rooted(v, depth + 1) for v in self._sources(scope, node.id))
        if isinstance(node, ast.Attribute):
            thing = self.names.resolve(node)
            if isinstance(self.names.resolve(node.value), ModuleType):
                return UNKNOWN if isinstance(thing, ModuleType) else thing
            return self._rooted(node.value, depth + 1)
        if isinstance(node, ast.Subscript | ast.Starred | ast.NamedExpr):
            return self._rooted(node.value, depth + 1)
        if isinstance(node, ast.IfExp):
            return self._first(self._rooted(v, depth + 1) for v in (node.body, node.orelse))
        if isinstance(node, ast.BoolOp):
            return self._first(self._rooted(v, depth + 1) for v in node.values)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in rules.PARTS:
            return self._rooted(node.func.value, depth + 1)
        if isinstance(node, ast.Call) and node.args and self._builtin(node.func) in ("enumerate", "zip", "reversed", "iter"):
            return self._first(self._rooted(a, depth + 1) for a in node.args)
        return UNKNOWN

    @staticmethod
    def _first(things: Iterator[Any]) -> Any:
        return next((t for t in things if t is not UNKNOWN), UNKNOWN)

    @staticmethod
    def _sources(scope: Scope, name: str) -> list[ast.expr]:
        return [*scope.values.get(name, []), *scope.items.get(name, [])]

    def _builtin(self, node: ast.expr) -> str:
        """Name of the built-in function that an expression is; "" for anything else."""
        thing = self.names.resolve(node)
        return thing.__name__ if isinstance(thing, type | BuiltinFunctionType) and thing.__module__ == "builtins" else ""

    def _lasting(self, node: ast.AST, text: ast.AST) -> None:
        self.report(node, f"changes {ast.unparse(text)}, which lasts longer than the step", rules.STATE)

    def _store(self, target: ast.AST) -> None:
        for part in ast.walk(target):
            if isinstance(part, ast.Subscript | ast.Attribute) and isinstance(part.ctx, ast.Store | ast.Del):
                module = isinstance(self.names.resolve(part.value), ModuleType)
                if module or self._rooted(part.value) is not UNKNOWN:
                    self._lasting(part, part)

    def visit_Assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            self._store(target)
            if isinstance(target, ast.Tuple | ast.List):
                self._in_order(node.value, "unpacks")
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self._store(node.target)
        if isinstance(node.target, ast.Name):
            scope, root = self.names.local(node.target.id), self._rooted(node.target)
            if scope is not None and root is not UNKNOWN:
                whole = self.names.resolve(node.target)
                if isinstance(whole, _MUTABLE) or (whole is UNKNOWN and _holds_mutable(root)):
                    self._lasting(node, node.target)
        self.generic_visit(node)

    def visit_Delete(self, node: ast.Delete) -> None:
        for target in node.targets:
            self._store(target)
        self.generic_visit(node)

    # calls and loops

    def visit_Call(self, node: ast.Call) -> None:
        function = self.names.resolve(node.func)
        name = self._builtin(node.func)
        if isinstance(node.func, ast.Attribute):
            self._method(node, node.func)
        first = node.args[0] if node.args and any(function is _same(f) for f in rules.FIRST_ARGUMENT) else None
        if first is not None and not isinstance(first, ast.Call) and self._rooted(first) is not UNKNOWN:
            self._lasting(node, first)  # what a call hands out, as iter(TABLE), is new
        for key in node.keywords:
            if key.arg == "out" and self._rooted(key.value) is not UNKNOWN:
                self._lasting(node, key.value)
        if function is np.ndarray:
            self.report(node, f"uses {ast.unparse(node.func)}", rules.NUMPY["empty"])
        if name == "getattr" and len(node.args) > 1 and not isinstance(node.args[1], ast.Constant) and \
                isinstance(self.names.resolve(node.args[0]), ModuleType):
            self.report(node, f"uses a name that is only known at run time, {ast.unparse(node)}", rules._DIRECT)
        if name in rules.IN_ORDER or any(function is f for f in (np.array, np.asarray, np.fromiter)):
            for argument in node.args:
                self._in_order(argument, "orders")
        if name in rules.ORDER_FREE:
            self.free |= {id(a) for a in node.args}
        if name == "getattr" and (hint := _hint(self.names.resolve(node))) is not None:
            self.report(node, f"uses {ast.unparse(node)}", hint)
        self._pass(node, function)
        self.generic_visit(node)

    def _method(self, node: ast.Call, called: ast.Attribute) -> None:
        root = self._rooted(called.value)
        if called.attr == "pop" and self._is_set(called.value):
            self._in_order(called.value, "takes any element of")
        if called.attr == "join":
            for argument in node.args:
                self._in_order(argument, "orders")
        if called.attr in rules.MUTATORS and root is not UNKNOWN and not isinstance(root, type | FunctionType):
            whole = self.names.resolve(called.value)
            own = _plain(inspect.getattr_static(type(whole), called.attr, None))  # a method of the user's is read, not guessed at
            if own is None and not isinstance(whole, type | FunctionType):
                self._lasting(node, called.value)

    def _pass(self, node: ast.Call, function: Any) -> None:
        """Objects from outside that are handed to a function of the user's: it may not change them either."""
        plain = _plain(function)
        if plain is None:
            return
        names = parameters(next(iter(_definitions(plain)), ast.Pass()))
        given = [n for n, a in zip(names, node.args, strict=False) if self._is_object(a)]
        given += [k.arg for k in node.keywords if k.arg in names and self._is_object(k.value)]
        if given:
            self.work.reach(plain, given)

    def _is_object(self, node: ast.expr) -> bool:
        root = self._rooted(node)
        if isinstance(node, ast.Subscript) and not _holds_mutable(root):
            return False
        return root is not UNKNOWN and not isinstance(root, type | FunctionType | int | float | str | bytes)

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        self._store(node.target)
        self._in_order(node.iter, "loops over")
        self.generic_visit(node)

    visit_AsyncFor = visit_For

    def visit_Starred(self, node: ast.Starred) -> None:
        self._in_order(node.value, "unpacks")
        self.generic_visit(node)

    def _in_order(self, node: ast.expr, what: str) -> None:
        if self._is_set(node):
            self.report(node, f"{what} the set {ast.unparse(node)}", rules.SORTED)

    def _is_set(self, node: ast.expr, depth: int = 0) -> bool:
        if depth > 20:
            return False
        if isinstance(node, ast.Set | ast.SetComp) or isinstance(self.names.resolve(node), set | frozenset):
            return True
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr | ast.BitAnd | ast.Sub | ast.BitXor):
            sides = (node.left, node.right)
            called = [s.func for s in sides if isinstance(s, ast.Call)]
            keys = any(isinstance(f, ast.Attribute) and f.attr in ("keys", "items") for f in called)
            return keys or any(self._is_set(s, depth + 1) for s in sides)
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Attribute) and node.func.attr in rules.SET_METHODS:
                return self._is_set(node.func.value, depth + 1)
            return self._builtin(node.func) in ("set", "frozenset")
        if isinstance(node, ast.Name) and (scope := self.names.local(node.id)) is not None:
            return any(self._is_set(v, depth + 1) for v in scope.values.get(node.id, []))
        return False
