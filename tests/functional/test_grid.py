"""The grid operator's commands on a real network."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from chaincode.grid import MAX_LINES
from cli.answers import PRODUCT, record
from cli.main import main
from node.gateway.client import Client
from testnet.cluster import Cluster
from testnet.genesis import PASSPHRASE_NAME
from testnet.neighbourhood import KEYS_NAME


class Operator:
    """`watt admin grid`, signed by the street's grid operator where a key is needed."""

    def __init__(self, cluster: Cluster) -> None:
        self.gateway = cluster.network.gateways[0]
        self.keys = cluster.network.directory / KEYS_NAME

    def run(self, *words: str, by: str = "utility") -> Result:
        key = ["--key", str(self.keys / f"{by}.json"), "--passphrase-file", str(self.keys / PASSPHRASE_NAME)]
        signing = [] if words[0] == "show" else key
        return CliRunner().invoke(main, ["admin", "grid", *words, "--node", self.gateway, *signing])

    def json(self, *words: str) -> Any:
        result = self.run(*words, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)


@pytest.fixture(scope="module")
def operator(own_network: Cluster) -> Operator:
    return Operator(own_network)


def test_a_grid_is_published_shown_and_published_again(operator: Operator, tmp_path: Path) -> None:
    """What was open before keeps the version that it opened with. To raise tolls takes a vote."""
    path = tmp_path / "street.csv"
    shown = operator.run("show", "--csv")
    assert shown.exit_code == 0
    path.write_text(shown.stdout.replace("rate,0", "rate,0.0002") + "transformer,bus-4,70,0.005,9000,\n")
    assert (
        "toll-too-high: a line's toll would be 0.015 tokens per kWh, 0.005" in operator.run("publish", str(path)).stderr
    )
    path.write_text(shown.stdout + "transformer,bus-4,70,0.005,9000,\n")
    said = operator.run("publish", str(path), by="home-1").stderr
    assert said.startswith("watt: not-allowed: ") and "access grant" not in said, "leave to read changes nothing"
    assert operator.json("publish", str(path))["version"] == 2
    assert operator.run("show", "--csv").stdout == path.read_text()
    buses = {row["bus"]: row for row in operator.json("show")["buses"]}
    assert (buses["bus-1"]["toll"], buses["bus-4"]["toll"]) == (5_000, 5_000)
    assert [row["bus"] for row in operator.json("show", "--version", "1")["buses"]][-1] == "bus-3"
    assert asyncio.run(_grid_of_products(operator.gateway)) == {1}

    path.write_text(shown.stdout)
    refused = operator.run("publish", str(path))
    assert refused.exit_code == 1 and "missing-bus" in refused.stderr and "bus-4 of version 2 is gone" in refused.stderr
    assert operator.run("show", "--version", "9").stderr.startswith("watt: unknown-grid: ")


def test_the_largest_grid_takes_more_than_one_transaction(operator: Operator, tmp_path: Path) -> None:
    present = operator.run("show", "--csv").stdout
    path = tmp_path / "town.csv"
    names = [f"a-bus-of-a-long-name-for-a-short-line/{number}" for number in range(MAX_LINES - present.count("\n") + 3)]
    path.write_text(present + "".join(f"bus-1,{name},999999,0.004321,999999999,999999999\n" for name in names))
    before = operator.json("show")["version"]
    assert operator.json("publish", str(path))["version"] == before + 1
    assert operator.run("show", "--csv").stdout == path.read_text()


def test_the_feeder_has_a_meter(operator: Operator) -> None:
    assert operator.json("show")["feeder_meter"] is None
    assert operator.run("feeder-meter", "ab" * 32, by="home-1").stderr.startswith("watt: not-allowed: ")
    assert operator.run("feeder-meter", "ab" * 32).exit_code == 0
    assert operator.json("show")["feeder_meter"] == "ab" * 32


async def _grid_of_products(gateway: str) -> set[int]:
    async with Client(gateway) as client:
        products = await client.query("market", "products")
        assert isinstance(products, tuple)
        slots = [row[0] for row in products if isinstance(row, tuple)]
        return {
            record(await client.query("market", "product", {"slot": slot}), PRODUCT)["grid_version"] for slot in slots
        }
