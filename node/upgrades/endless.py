"""Python's iterators, of which those without an end count each item: what a migration imports as ``itertools``.

A call of Python's own goes through them by itself, ``sum(repeat(1))`` for one, and comes to no pass of the source.
"""

import builtins
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from node.upgrades.counted import PASSES

T = TypeVar("T")


def _each(items: Iterable[T]) -> Iterator[T]:
    for item in items:
        PASSES.count()
        yield item


def count(start: int = 0, step: int = 1) -> Iterator[int]:
    """As ``itertools.count``."""
    return _each(itertools.count(start, step))


def cycle(items: Iterable[T]) -> Iterator[T]:
    """As ``itertools.cycle``."""
    return _each(itertools.cycle(items))


def repeat(item: T, *times: int) -> Iterator[T]:
    """As ``itertools.repeat``."""
    return _each(itertools.repeat(item, *times))


def iter(items: Any, *until: object) -> Iterator[Any]:
    """As Python's own; that which calls until an answer comes may go on for ever."""
    made: Callable[..., Iterator[Any]] = builtins.iter
    return _each(made(items, *until)) if until else made(items)


def __getattr__(name: str) -> Any:
    """All others end when what they are given does."""
    return getattr(itertools, name)
