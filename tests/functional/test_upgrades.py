"""A contract is upgraded on a real network: some nodes have the code, one has not."""

import asyncio
import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from node.errors import RefusedError
from node.gateway.proven import ProvenReader
from node.setup import CONFIG_NAME
from node.upgrades.bundle import read_bundle
from node.upgrades.library import UPGRADES_NAME, Library, node_registry
from testnet.cluster import Cluster, last_line
from testnet.genesis import ADMIN_KEY_NAME, PASSPHRASE_NAME
from tests.functional.test_governance import Admins
from tests.functional.trading import device

BUNDLE = Path(__file__).parents[2] / "docs" / "upgrade-example"
AHEAD = 48
PATIENCE_S = 60


class Town(Admins):
    """Four nodes, their admins, and what operators do on their machines."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster)
        self.cluster = cluster
        self.network = cluster.network

    def config(self, index: int) -> str:
        return str(self.nodes[index].directory / CONFIG_NAME)

    def data(self, index: int) -> Path:
        return self.nodes[index].directory / "data"

    def watt(self, *words: str) -> Result:
        return CliRunner().invoke(main, list(words))

    def install(self, index: int) -> Any:
        result = self.watt("node", "upgrade", "install", str(BUNDLE), "--config", self.config(index), "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def height(self, index: int = 0) -> int:
        async def read() -> int:
            async with self.network.client(self.nodes[index].gateway) as client:
                return (await client.node_info()).height

        return asyncio.run(read())

    def follows(self, index: int, height: int) -> None:
        """Wait until the node has the block."""
        deadline = time.monotonic() + PATIENCE_S
        while self.height(index) < height:
            assert time.monotonic() < deadline, "it does not follow"
            time.sleep(0.1)

    def run_to(self, height: int, index: int = 0) -> None:
        """Orders, one after the other, until the node has the block."""
        buyer = device(self.cluster, "home-2/load")

        async def order() -> None:
            async with self.network.client([self.nodes[i].gateway for i in (0, 1, 2)]) as client:
                deadline = time.monotonic() + PATIENCE_S
                while (await client.node_info()).height < height:
                    assert time.monotonic() < deadline, "no blocks"
                    await buyer.place(client)

        asyncio.run(order())

    def query(self, contract: str, method: str, index: int = 0, **args: Any) -> Any:
        async def read() -> Any:
            async with self.network.client(self.nodes[index].gateway) as client:
                return await client.query(contract, method, args)

        return asyncio.run(read())

    def proven(self, data: Path, method: str, **args: Any) -> Any:
        """What a client with these bundles computes of a node's proven answer."""

        async def read() -> Any:
            async with self.network.client(self.nodes[0].gateway) as client:
                return await ProvenReader(client, self.network.genesis, node_registry(data))("grid", method, args)

        return asyncio.run(read())


@pytest.fixture(scope="module")
def town(own_network: Cluster) -> Town:
    return Town(own_network)


def test_contracts_are_upgraded_by_vote_and_who_has_not_the_code_waits(town: Town, tmp_path: Path) -> None:
    """Tried on a copy, proposed, approved, activated at a height; a node without the bundle stops before it with
    upgrade-missing and no fork, and goes on once it is installed."""
    for index in (0, 1, 2):
        digest = town.install(index)["bundle_digest"]
    assert digest not in town.watt("node", "upgrade", "list", "--config", town.config(3)).stdout
    _tried(town)
    first = _voted(town, tmp_path)
    town.follows(3, town.height())
    doctor = town.watt("node", "doctor", "--config", town.config(3), "--json")
    assert "upgrade-missing" in [found["code"] for found in json.loads(doctor.stdout)["findings"]]
    status = town.watt("node", "status", "--node", town.nodes[3].gateway, "--json")
    assert digest in json.loads(status.stdout)["upgrade_missing"]
    _activated(town, first, tmp_path)
    _installed_late(town, first)
    _joined(town, tmp_path / "joined")
    _restored(town, tmp_path)


def _tried(town: Town) -> None:
    """On the data of the node that has not installed it, while that is stopped."""
    town.run_to(12)
    town.cluster.stop(town.nodes[3])
    words = ("admin", "upgrade", "try", str(BUNDLE), "--config", town.config(3), "--blocks", "5")
    before = _files(town.data(3) / "db")
    tried = town.watt(*words, "--json")
    assert tried.exit_code == 0, tried.output
    found = json.loads(tried.stdout)
    assert found["migration"]["outcome"] == "ok" and found["migration"]["written"] == {"grid-metres/": 1}
    assert found["replay"]["outcome"] == "ok" and found["replay"]["differing"] == 0
    assert found["replay"]["last"] - found["replay"]["first"] == 4
    assert _files(town.data(3) / "db") == before, "the data are as they were"
    shown = town.watt(*words).stdout
    assert "grid-metres/" in shown and "0 receipts otherwise" in shown
    town.cluster.start(town.nodes[3])
    town.cluster.wait_answer(town.nodes[3])
    refused = town.watt(*words)
    assert refused.exit_code == 1 and "db-locked" in refused.stderr


def _files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}


def _voted(town: Town, tmp_path: Path) -> int:
    """Three of four admins vote for the very bundle that they have; the height."""
    made = town.json("upgrade", "propose", str(BUNDLE), "--at", f"+{AHEAD}", by=0)
    number: str = str(made["proposal"])
    (row,) = town.json("proposals")
    assert (row["id"], row["state"], row["what"]) == (f"motions/{number}", "open", "upgrade line-lengths")
    assert row["not_approved_by"] == ["node-1", "node-2", "node-3"] and row["about"] is not None
    other = tmp_path / "other"
    other.mkdir()
    for path in BUNDLE.glob("*.*"):
        (other / path.name).write_text(path.read_text() + "\n")
    assert "wrong-bundle" in town.run("upgrade", "approve", number, "--bundle", str(other), by=1).stderr
    assert town.json("upgrade", "approve", number, "--bundle", str(BUNDLE), by=1)["missing"] == 1
    assert town.json("approve", f"motions/{number}", "--digest", row["digest"], by=2)["missing"] == 0
    (row,) = town.json("proposals")
    assert (row["id"], row["state"], row["first_height"]) == (f"motions/{number}", "scheduled", made["first_height"])
    assert "upgrade line-lengths" in town.run("proposals").stdout
    assert f"bundle digest: {read_bundle(BUNDLE).digest.hex()}" in town.run("proposals", f"motions/{number}").stdout
    return int(made["first_height"])


def _activated(town: Town, first: int, tmp_path: Path) -> None:
    """All agree up to the height; there one stops, the others go on."""
    town.run_to(first - 2)
    assert town.query("motions", "upgrades") == ()
    with pytest.raises(RefusedError, match="unknown-method"):
        town.query("grid", "metres")
    town.run_to(first + 2)
    town.cluster.wait_end(town.nodes[3])
    assert "upgrade-missing" in last_line(town.nodes[3])
    assert town.query("grid", "metres") == 150
    assert town.json("upgrade", "list")[0]["contracts"] == ["grid"]
    assert town.proven(town.data(0), "metres") == 150
    with pytest.raises(RefusedError, match="upgrade-missing"):
        town.proven(tmp_path, "version")


def _installed_late(town: Town, first: int) -> None:
    """The node does not start without the bundle, and follows with it."""
    late = town.nodes[3]
    with pytest.raises(Exception, match="upgrade-missing"):
        town.cluster.start(late)
        town.cluster.wait_answer(late)
    town.install(3)
    town.cluster.start(late)
    town.cluster.wait_answer(late)
    town.run_to(first + 5)
    town.follows(3, first + 5)
    assert town.query("grid", "metres", 3) == 150
    assert town.cluster.agreement().root is not None
    town.cluster.stop(late)
    verified = town.watt("node", "verify", "--config", town.config(3), "--json")
    assert verified.exit_code == 0 and json.loads(verified.stdout)["height"] >= first + 5, verified.output
    again = town.watt("admin", "upgrade", "try", str(BUNDLE), "--config", town.config(3), "--blocks", "2").stdout
    assert f"this very bundle is in force since block {first}" in again.splitlines()[1]
    page = town.watt("audit", "report", "all", "--config", town.config(3))
    assert f"line-lengths from block {first} on" in page.stdout, "whose code the figures are of"


def _joined(town: Town, data: Path) -> None:
    """Who joins afterwards needs the bundle, too, and goes on where it was once it is there."""
    home = town.nodes[0].directory
    words = ["node", "join", "--data", str(data), "--genesis", str(town.network.directory / "genesis.json")]
    words += ["--from", town.nodes[0].gateway, "--key", str(home / ADMIN_KEY_NAME)]
    words += ["--passphrase-file", str(home / PASSPHRASE_NAME), "--json"]
    refused = town.watt(*words)
    assert refused.exit_code == 1 and "upgrade-missing" in refused.stderr, refused.output
    Library(data / UPGRADES_NAME).install(BUNDLE)
    joined = town.watt(*words)
    assert joined.exit_code == 0 and json.loads(joined.stdout)["height"] >= town.height() - 5, joined.output


def _restored(town: Town, tmp_path: Path) -> None:
    """A backup brings the bundles along: a machine that has nothing but it goes on by the code that was voted."""
    place, late = tmp_path / "backup", town.nodes[3]
    made = town.watt("node", "backup", "--config", town.config(0), "--out", str(place), "--json")
    (digest,) = json.loads(made.stdout)["upgrades"]
    shutil.rmtree(town.data(3))
    restored = ("node", "restore", "--config", town.config(3), "--from", str(place), "--json")
    changed = place / UPGRADES_NAME / digest / "upgrade.json"
    content = changed.read_bytes()
    changed.write_bytes(content + b" ")
    assert "bad-backup" in town.watt(*restored).stderr and not (town.data(3) / "db").exists()
    changed.write_bytes(content)
    done = town.watt(*restored)
    assert done.exit_code == 0, done.output
    town.cluster.start(late)
    town.cluster.wait_answer(late)
    town.follows(3, town.height())
    assert town.query("grid", "metres", 3) == 150
