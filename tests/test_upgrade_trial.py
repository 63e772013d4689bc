"""Trying an upgrade on a copy of a node's data."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from chaincode.registry import default_registry
from cli.main import main
from node.errors import ConfigError, RefusedError
from node.ledger.store import LevelStore
from node.snapshot.maker import make_now
from node.snapshot.shelf import SNAPSHOTS_NAME, Shelf
from node.upgrades.bundle import read_bundle
from node.upgrades.trial import Trial, try_upgrade
from tests import bundles
from tests.test_upgrades import GENESIS, Town

_SCAN = """    for place, total in [*ctx.scan(b"tally/")]:
        ctx.put(place, (total, 1))
"""
BUNDLE = bundles.TALLY.replace(_SCAN, "    for place in (b'tally/x', b'tally/y'):\n        ctx.put(place, (1, 1))\n")
"""There is nothing to migrate in these chains, so it makes something."""


class Home:
    """A stopped node's data: blocks with calls of a contract that is not there yet."""

    def __init__(self, data: Path) -> None:
        self.data = data
        data.mkdir()
        self.store = LevelStore(data / "db", create=True, synced=False)
        self.town = Town(None, self.store, default_registry())

    def grow(self, blocks: int) -> None:
        for number in range(blocks):
            self.town.add(("dan", "tally", "add", {"name": "a", "amount": number}))

    def snapshot(self) -> int:
        make_now(self.store, self.town.ledger, Shelf(self.data / SNAPSHOTS_NAME))
        return self.town.height

    def close(self) -> None:
        self.store.close()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "data")


def attempt(home: Home, tmp_path: Path, source: Path, blocks: int = 5) -> Trial:
    home.close()
    before = {path: path.read_bytes() for path in home.data.rglob("*") if path.is_file()}
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    try:
        return try_upgrade(home.data, GENESIS, read_bundle(source), blocks, scratch)
    finally:
        assert {path: path.read_bytes() for path in home.data.rglob("*") if path.is_file()} == before


def test_the_migration_and_the_last_blocks_are_tried(home: Home, tmp_path: Path) -> None:
    home.grow(12)
    found = attempt(home, tmp_path, bundles.write(tmp_path / "source", upgrade__py=BUNDLE))
    assert found.migration.outcome == "ok" and found.migration.height == 13 and found.why_not == ""
    assert found.migration.written == {"tally-seen/": 2, "tally/": 2} and found.migration.deleted == {}
    assert found.migration.root != home.town.ledger.head.state_root
    replay = found.replay
    assert replay is not None
    assert (replay.base, replay.first, replay.last, replay.transactions, replay.outcome) == (0, 8, 12, 5, "ok")
    assert replay.differing == 5 and {each.was for each in replay.differences} == {"unknown-contract"}
    first = replay.differences[0]
    assert (first.height, first.call, first.would_be) == (8, "tally.add", "ok 7")


def test_a_replay_begins_with_the_newest_snapshot_below(home: Home, tmp_path: Path) -> None:
    home.grow(4)
    home.snapshot()
    home.grow(3)
    assert home.snapshot() == 7
    home.grow(6)
    found = attempt(home, tmp_path, bundles.write(tmp_path / "source", upgrade__py=BUNDLE), 4)
    assert found.replay is not None and (found.replay.base, found.replay.first) == (7, 10)


def test_a_migration_that_fails_is_said_to(home: Home, tmp_path: Path) -> None:
    home.grow(3)
    source = bundles.write(tmp_path / "source", upgrade__py=BUNDLE + "    raise ContractError('not-so', 'never')\n")
    found = attempt(home, tmp_path, source)
    assert (found.migration.outcome, found.migration.written) == ("not-so", {})
    assert found.replay is not None and (found.replay.outcome, found.replay.differing) == ("not-so", 0)


def test_data_in_use_or_without_blocks_are_refused(home: Home, tmp_path: Path) -> None:
    source = bundles.write(tmp_path / "source", upgrade__py=BUNDLE)
    with pytest.raises(RefusedError, match="no-block"):
        attempt(home, tmp_path, source)
    with pytest.raises(ConfigError, match="db-missing"):
        try_upgrade(tmp_path, GENESIS, read_bundle(source), 5, tmp_path / "other")


def test_the_command_wants_one_place_to_look_at(tmp_path: Path) -> None:
    source = str(bundles.write(tmp_path / "source"))

    def run(*words: str) -> Any:
        return CliRunner().invoke(main, ["admin", "upgrade", "try", source, *words])

    assert run().exit_code == 2 and run("--data", str(tmp_path)).exit_code == 2
    assert run("--config", "node.toml", "--data", str(tmp_path)).exit_code == 2


def test_what_is_installed_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATT_UPGRADES", str(tmp_path / "mine"))
    source = bundles.write(tmp_path / "source")

    def run(*words: str) -> Any:
        result = CliRunner().invoke(main, ["node", "upgrade", *words, "--client", "--json"])
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    made = run("install", str(source))
    assert made["replaces"] == [] and made["adds"] == ["tally", "echo"]
    (row,) = run("list")
    assert (row["name"], row["version"], row["fault"], row["bundle_digest"]) == (
        "tally-2",
        "2",
        "",
        made["bundle_digest"],
    )
    refused = CliRunner().invoke(main, ["node", "upgrade", "install", str(tmp_path), "--client"])
    assert refused.exit_code == 1 and "bad-bundle" in refused.stderr
