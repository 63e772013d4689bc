"""A node's log: one line an entry, UTC, whatever the message holds; as text for people, or as JSON for machines.

A message says what happened in its first word and its details as ``name=%s``, so both forms come from one call:
``log.info("link-up peer=%s", name)``. Of JSON the event and the details are fields of their own. Whose data it is about
never stands in a log: transactions are named by their ids, people and devices not at all.
"""

import logging
import re
import sys
import time
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import msgspec

from node.errors import ConfigError, RefusedError

ROOT: Final = "watt"
LEVELS: Final[Mapping[str, int]] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
TEXT: Final = "text"
JSON: Final = "json"
FORMATS: Final = (TEXT, JSON)

_PLACE = re.compile(r"(?:([a-z][a-z_-]*)=)?%(?:\.\d+)?([sdrgf%])")
_EVENT = re.compile(r"[a-z][a-z0-9-]*")


class _Text(logging.Formatter):
    """``2025-05-01T12:00:00.123Z INFO watt.peers message``; line breaks are escaped, tracebacks too."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).replace("\n", "\\n").replace("\r", "\\r")


class _Json(_Text):
    """The same as a JSON object: ``time``, ``level``, ``room``, ``event``, ``message``, ``fields``, ``error``."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "time": self.formatTime(record),
            "level": record.levelname.lower(),
            "room": record.name,
            "message": record.getMessage(),
        }
        event, names = _template(record.msg if isinstance(record.msg, str) else "")
        if event:
            entry["event"] = event
        if names and isinstance(record.args, tuple) and len(names) == len(record.args):
            entry["fields"] = {
                name: _plain(value) for name, value in zip(names, record.args, strict=True) if name is not None
            }
        if record.exc_info:
            entry["error"] = self.formatException(record.exc_info)
        return msgspec.json.encode(entry).decode()


@lru_cache(maxsize=512)
def _template(message: str) -> tuple[str, tuple[str | None, ...]]:
    """The event that a message tells of ("" if it is prose), and the names of its arguments, None for nameless ones."""
    first = message.split(" ", 1)[0].rstrip(":")
    event = first if _EVENT.fullmatch(first) else ""
    return event, tuple([place[1] for place in _PLACE.finditer(message) if place[2] != "%"])


def _plain(value: object) -> object:
    return value if isinstance(value, int | str) else str(value)


def start_log(path: Path | None, level: str = "info", form: str = TEXT) -> None:
    """Log to a file, or to standard error. Raises ConfigError("cannot-write")."""
    try:
        handler = logging.FileHandler(path, encoding="utf-8") if path else logging.StreamHandler(sys.stderr)
    except OSError as error:
        raise ConfigError("cannot-write", f"{path}: {error.strerror}") from error
    handler.setFormatter(_Json() if form == JSON else _Text())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(LEVELS[level])


def set_level(room: str, level: str) -> dict[str, str]:
    """Change what is logged, until the process ends: of ``room`` (``watt.gateway``; "" for everything), from ``level``
    on; "" changes nothing. Returns the levels of all rooms that have one of their own, "" the rest's.

    Raises RefusedError("bad-level").
    """
    if level and level not in LEVELS:
        raise RefusedError("bad-level", f"`{level[:40]}` is no level; there are {', '.join(LEVELS)}")
    if room and room not in _rooms():
        raise RefusedError("bad-level", f"nothing logs as `{room[:80]}`; there are {', '.join(_rooms())}")
    if level:
        logging.getLogger(room or None).setLevel(LEVELS[level])
    loggers = [logging.getLogger(), *map(logging.getLogger, _rooms())]
    return {
        ("" if logger is loggers[0] else logger.name): logging.getLevelName(logger.level).lower()
        for logger in loggers
        if logger.level
    }


def _rooms() -> list[str]:
    return sorted(
        name
        for name, logger in logging.Logger.manager.loggerDict.items()
        if isinstance(logger, logging.Logger) and name.split(".")[0] in (ROOT, "node")
    )
