"""What cannot be undone is asked about first."""

import sys

import click
import pytest

from cli.confirm import confirm
from node.errors import RefusedError


def test_without_a_terminal_yes_has_to_be_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    confirm("Erase it?", yes=True)
    with pytest.raises(RefusedError, match="--yes") as refused:
        confirm("Erase it?", yes=False)
    assert refused.value.code == "not-confirmed"


@pytest.mark.parametrize("is_meant", [True, False])
def test_at_a_terminal_somebody_is_asked(monkeypatch: pytest.MonkeyPatch, is_meant: bool) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(click, "confirm", lambda question, err: is_meant and err and question == "Erase it?")
    if is_meant:
        return confirm("Erase it?", yes=False)
    with pytest.raises(RefusedError, match="nothing was done"):
        confirm("Erase it?", yes=False)
    return None
