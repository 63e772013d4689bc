"""Reads the source of contracts and refuses what could make two nodes compute different things."""

from collections.abc import Sequence


class CheckError(Exception):
    """A contract's source is refused; the message names file, line and reason."""


def check_modules(names: Sequence[str]) -> None:
    """Check the modules ``names`` and all chaincode modules that they import. Raises CheckError."""
