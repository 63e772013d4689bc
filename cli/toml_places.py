"""Where the tables and keys of a TOML document stand.

``tomllib`` reads syntax and values, but does not say where a key stands; so the statements of a document that it takes
are looked through once more for that.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias

MAX_STATEMENT_LINES: Final = 64
"""In a statement that goes over more lines nothing is found."""

Place: TypeAlias = tuple[int, int]
"""Line and column, from 1."""
Keys: TypeAlias = tuple[str, ...]
"""The names of the tables from the outermost on, and of the key."""


def places_of(text: str) -> dict[Keys, Place]:
    """Where the tables and keys of a document that ``tomllib`` takes stand."""
    places: dict[Keys, Place] = {}
    table: Keys = ()
    for number, statement in _statements(text):
        inner = statement.lstrip()
        column = len(statement) - len(inner) + 1
        if inner.startswith("["):
            start = len(inner) - len(inner.lstrip("[ \t"))
            table = _path(tomllib.loads(statement))
            places.setdefault(table, (number, column + start))
            continue
        for path in _paths(tomllib.loads(statement)):
            place = (number, column) if len(path) == 1 else _inside(statement, number, path[-1])
            places.setdefault((*table, *path), place)
    return places


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """(number of its first line, text) of each header and assignment."""
    lines = text.replace("\r\n", "\n").split("\n")
    number = 0
    while number < len(lines):
        for end in range(number + 1, min(number + MAX_STATEMENT_LINES, len(lines)) + 1):
            statement = "\n".join(lines[number:end])
            try:
                found = tomllib.loads(statement)
            except tomllib.TOMLDecodeError:
                continue
            if found:
                yield number + 1, statement
            number = end - 1
            break
        number += 1


def _path(tree: Mapping[str, Any]) -> Keys:
    """The names down to the innermost table of a header."""
    path: list[str] = []
    node: Any = tree
    while node:
        name, node = next(iter(node.items()))
        path.append(name)
        node = node[-1] if isinstance(node, list) else node
    return tuple(path)


def _paths(tree: Mapping[str, Any], above: Keys = ()) -> Iterator[Keys]:
    for name, node in tree.items():
        yield (*above, name)
        if isinstance(node, dict):
            yield from _paths(node, (*above, name))


def _inside(statement: str, number: int, name: str) -> Place:
    """Where the key ``name`` of an inline table, or behind a dot, stands in its statement."""
    found = re.search(rf"[{{,.\s\"']{re.escape(name)}[\"']?\s*[=.]", statement)
    if found is None:
        return number, 1
    at = found.start() + 1
    return number + statement.count("\n", 0, at), at - (statement.rfind("\n", 0, at) + 1) + 1
