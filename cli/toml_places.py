"""Where the tables and keys of a TOML document stand, and whether it is small enough to be parsed at all.

``tomllib`` reads syntax and values, but does not say where a key stands, and takes time beyond measure for names of
thousands of parts and numbers of thousands of digits. So the text is gone through once, token by token, in linear time;
of a document that ``tomllib`` takes both see the same tokens.
"""

import re
import tomllib
from collections.abc import Iterator
from typing import Final, TypeAlias

MAX_DEPTH: Final = 8
"""Parts of a name, and brackets within one another: far more than any file of ours has."""
MAX_WORD: Final = 64
"""Characters of a number, a time, or a name without quotes."""
MAX_PATH: Final = 3
"""What lies deeper is not kept: ``devices``, a device, its term."""

Place: TypeAlias = tuple[int, int]
"""Line and column, from 1."""
Keys: TypeAlias = tuple[str, ...]
"""The names of the tables from the outermost on, and of the key."""

_TOKENS: Final = re.compile(
    r"""
    (?P<skipped> [ \t\r]+ | \#[^\n]* )
  | (?P<text> \"{3} (?: (?:\\.|[^\\])*? \"{3,5} | .* ) | '{3} (?: .*? '{3,5} | .* )
           | "(?:\\[^\n]|[^"\\\n])*"? | '[^'\n]*'? )
  | (?P<sign> [\[\]{}=.,\n] )
  | (?P<word> [^\s"'\#\[\]{}=.,]+ | . )
    """,
    re.VERBOSE | re.DOTALL,
)
"""A text that does not end takes the rest, so that nothing is looked through twice."""


class TooMuchError(Exception):
    """A document that is not worth parsing; ``str()`` says why."""

    def __init__(self, place: Place, why: str) -> None:
        super().__init__(why)
        self.place = place


def places_of(text: str) -> dict[Keys, Place]:
    """Where the tables and keys of a document stand; of one that is no TOML, those that can be made out.

    Raises TooMuchError for names or brackets deeper than MAX_DEPTH, and words longer than MAX_WORD.
    """
    reading = _Reading()
    for kind, token, place in _tokens(text):
        reading.take(kind, token, place)
    return reading.places


def _tokens(text: str) -> Iterator[tuple[str, str, Place]]:
    line, start = 1, 0
    for found in _TOKENS.finditer(text):
        token = found.group()
        if found.lastgroup != "skipped":
            yield str(found.lastgroup), token, (line, found.start() - start + 1)
        if "\n" in token:
            line += token.count("\n")
            start = found.start() + token.rfind("\n") + 1


class _Reading:
    """What is being read. ``_open``: of each open bracket whether keys stand in it, and what it is the value of;
    ``_parts``: of the name, or of the name of the header.
    """

    def __init__(self) -> None:
        self.places: dict[Keys, Place] = {}
        self._table: Keys = ()
        self._open: list[tuple[bool, Keys]] = []
        self._parts: Keys = ()
        self._is_name = True
        self._dotted = False
        self._header = 0

    def take(self, kind: str, token: str, place: Place) -> None:
        if kind == "sign":
            self._sign(token, place)
            return
        if kind == "word" and len(token) > MAX_WORD:
            raise TooMuchError(place, f"more than {MAX_WORD} characters without quotes")
        if self._is_name and (self._dotted or not self._parts):
            self._part(_name(token) if kind == "text" else token, place)

    def _part(self, name: str, place: Place) -> None:
        if len(self._parts) == MAX_DEPTH:
            raise TooMuchError(place, f"a name of more than {MAX_DEPTH} parts")
        self._parts, self._dotted = (*self._parts, name), False
        path = self._path()
        if len(path) <= MAX_PATH:
            self.places.setdefault(path, place)

    def _sign(self, sign: str, place: Place) -> None:
        if sign == "\n":
            self._line_ends()
        elif sign == "[" and self._is_name and not self._open and not self._parts:
            self._header += 1
        elif sign in "[{" and not self._is_name:
            if len(self._open) == MAX_DEPTH:
                raise TooMuchError(place, f"more than {MAX_DEPTH} brackets within one another")
            in_array = self._open and not self._open[-1][0]
            self._open.append((sign == "{", self._open[-1][1] if in_array else self._path()))
            if sign == "{":
                self._next_name()
        elif sign in "]}" and self._open:
            self._open.pop()
            self._is_name = False
        elif sign == "," and self._open and self._open[-1][0]:
            self._next_name()
        elif sign == ".":
            self._dotted = True
        elif sign == "=":
            self._is_name = False

    def _line_ends(self) -> None:
        if self._open:
            return
        if self._header:
            self._table, self._header = self._path(), 0
        self._next_name()

    def _path(self) -> Keys:
        """Of what the parts of the name mean, from the outermost table on."""
        if self._header:
            return self._parts
        return (*(self._open[-1][1] if self._open else self._table), *self._parts)

    def _next_name(self) -> None:
        self._is_name, self._dotted, self._parts = True, False, ()


def _name(quoted: str) -> str:
    try:
        return str(tomllib.loads(f"x = {quoted}")["x"]) if quoted[0] == '"' and "\\" in quoted else quoted[1:-1]
    except tomllib.TOMLDecodeError:
        return quoted
