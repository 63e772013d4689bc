"""`watt testnet demo` clears away an earlier demo, says so, and touches nothing else."""

from pathlib import Path

import pytest

from node.errors import RefusedError
from testnet.demo import _clear
from testnet.demo_world import WORLD_NAME


def test_an_earlier_demo_is_replaced_and_that_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = tmp_path / "demo"
    _clear(directory)
    directory.mkdir()
    _clear(directory)
    assert capsys.readouterr().err == ""
    (directory / WORLD_NAME).write_text("{}")
    _clear(directory)
    assert capsys.readouterr().err == f"replaces the earlier demo in {directory}\n"
    assert not directory.exists()


def test_what_is_no_demo_is_left(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    for place in (tmp_path, tmp_path / "mine"):
        with pytest.raises(RefusedError, match="not-a-demo"):
            _clear(place)
    assert (tmp_path / "mine").read_text() == "mine"
