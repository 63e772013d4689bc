"""Bounds what a migration computes, on every machine at the same place.

What a contract reads and writes counts steps (``Context``). A loop that does neither counts nothing, and one without an
end would hold every node at the height. So a migration runs from a second copy of its bundle's modules, in which each
pass of a loop, each item of a comprehension and each call of a function is counted. Passes follow from the source and
the state alone: neither the machine nor the version of Python changes when there are too many.

Between two passes lies what the source says once. What a single call of Python's own does, such as a sum over a long
range, is not counted, but for iterators without an end (``endless.py``); nor is what the program's own contracts do for
a migration, but for the steps.

Calls that Python's own make of the source's functions count, too: a sort asks ``__lt__`` as often as its algorithm
does, and that is part of Python. 3.11 and 3.12 ask as often, 3.13 does not: so no node runs that one.
"""

import ast
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from chaincode.contract import Context, ContractError
from chaincode.upgrades import Migrate

MIGRATION_PASSES: Final = 20_000_000
"""Some seconds, as with the steps of a hook."""
LOADING_PASSES: Final = 1_000_000
"""While its modules are loaded, which is no part of any block."""
NAME: Final = ".pass"
"""What counting is called in a counted module: a name that no source can have."""

ITERATORS: Final = "node.upgrades.endless"
"""The module in the place of ``itertools``, whose iterators without an end count what they give."""


class Passes:
    """How many are left to what runs now: one migration at a time in a process."""

    __slots__ = ("_left", "_one_at_a_time")

    def __init__(self) -> None:
        self._left = 0
        self._one_at_a_time = threading.RLock()

    def count(self) -> bool:
        """One more: True. Raises ContractError("step-limit")."""
        self._left -= 1
        if self._left < 0:
            raise ContractError("step-limit", "more passes of loops and calls than there may be")
        return True

    @contextmanager
    def within(self, limit: int) -> Iterator[None]:
        """For what runs in it, ``limit`` and no more."""
        with self._one_at_a_time:
            before, self._left = self._left, limit
            try:
                yield
            finally:
                self._left = before


PASSES: Final = Passes()


def bounded(migrate: Migrate) -> Migrate:
    """The migration, out of a counted module, with its bound."""

    def run(ctx: Context) -> object:
        with PASSES.within(MIGRATION_PASSES):
            return migrate(ctx)

    return run


def counted(source: str, path: str) -> ast.Module:
    """The syntax tree of a module that calls ``NAME`` at each pass.

    A call stands before what its loop or function does, outside of any ``try`` in it: who catches the refusal runs into
    the next one.
    """
    tree = ast.parse(source, path)
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(body=body) | ast.For(body=body) | ast.While(body=body):
                body.insert(int(_is_text(body[0])), ast.Expr(_call()))
            case ast.Lambda():
                node.body = ast.BoolOp(ast.And(), [_call(), node.body])
            case ast.comprehension(ifs=conditions):
                conditions.insert(0, _call())
            case ast.ImportFrom(module="itertools", level=0):
                node.module = ITERATORS
            case ast.Import(names=names):
                for name in [each for each in names if each.name == "itertools"]:
                    name.name, name.asname = ITERATORS, name.asname or name.name
    return ast.fix_missing_locations(tree)


def _is_text(statement: ast.stmt) -> bool:
    """Whether it is a docstring, which has to come first."""
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _call() -> ast.Call:
    return ast.Call(ast.Name(NAME, ast.Load()), [], [])
