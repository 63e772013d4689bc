"""A node's log: one line an entry, UTC, whatever the message holds."""

import logging
import sys
import time
from pathlib import Path

from node.errors import ConfigError


class _OneLine(logging.Formatter):
    """``2025-05-01T12:00:00.123Z INFO watt.peers message``; line breaks are escaped, tracebacks too."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).replace("\n", "\\n").replace("\r", "\\r")


def start_log(path: Path | None) -> None:
    """Log to a file, or to standard error. Raises ConfigError("cannot-write")."""
    try:
        handler = logging.FileHandler(path, encoding="utf-8") if path else logging.StreamHandler(sys.stderr)
    except OSError as error:
        raise ConfigError("cannot-write", f"{path}: {error.strerror}") from error
    handler.setFormatter(_OneLine())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
