"""Asking before what cannot be undone."""

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from node.errors import RefusedError

C = TypeVar("C", bound=Callable[..., Any])


def yes_option(command: C) -> C:
    """--yes, for scripts."""
    return click.option("--yes", is_flag=True, help="Do not ask: for scripts.")(command)


def confirm(question: str, *, yes: bool) -> None:
    """Go on if somebody at the terminal says yes, or has said so already. Raises RefusedError("not-confirmed")."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise RefusedError("not-confirmed", f"{question} There is no terminal to ask at: say --yes, or nothing is done")
    if not click.confirm(question, err=True):
        raise RefusedError("not-confirmed", "nothing was done")
