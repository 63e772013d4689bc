"""Retention on a real network whose clock runs fast: what was exported is proven by what the chain keeps of it."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import main
from testnet.cluster import Cluster
from testnet.genesis import GENESIS_NAME
from testnet.neighbourhood import build_neighbourhood
from tests.functional.conftest import started
from tests.functional.test_people import Watt

SLOT_S = 1_800
TIME_SCALE = 180
START = 1_700_000_000 // SLOT_S * SLOT_S
RULES = {
    "open_before_s": 8 * SLOT_S,
    "gate_before_end_s": SLOT_S,
    "metering_window_s": 360,
    "dispute_window_s": 360,
    "retention_s": 600,
    "outage_s": 86_400,
}


@pytest.fixture(scope="module")
def fast(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Slots last ten seconds and are pruned three seconds after they are final."""
    network = build_neighbourhood(
        tmp_path_factory.mktemp("fast") / "net",
        nodes=4,
        base_port=None,
        market=RULES,
        time_scale=TIME_SCALE,
        time_origin=START,
    )
    yield from started(Cluster(network))


def test_an_export_is_proven_by_the_chain_that_has_deleted_it(fast: Cluster, tmp_path: Path) -> None:
    watt, genesis = Watt(fast), ["--genesis", str(fast.network.directory / GENESIS_NAME)]
    slot = watt.slot(2)
    for device, side, price in (("home-1/pv", "sell", "0.3"), ("home-2/load", "buy", "0.6")):
        watt.json(
            "wallet", "order", device, side, "400", "--slot", slot, "--price", price, key=device.replace("/", ".")
        )
    deadline = time.monotonic() + 120
    while next(row for row in watt.json("market", "products") if str(row["slot"]) == slot)["state"] == "OPEN":
        assert time.monotonic() < deadline, "no block closes the product"
        time.sleep(0.5)
    out = str(tmp_path / "one.export")
    watt = Watt(fast, is_validator=True)
    written = watt.json("market", "export", "--product", slot, "--out", out, *genesis)
    assert written["trades"] == 1 and written["faults"] == []
    while not (gone := watt.json("market", "verify", "--product", slot, *genesis))["pruned"]:
        assert time.monotonic() < deadline, "the details are not deleted"
        time.sleep(0.5)
    assert gone["auctions"] == 0 and gone["faults"] == []
    said = watt.run("market", "verify", "--file", out, "--compare", *genesis)
    assert said.exit_code == 0 and "of 1 product in it the chain has deleted the details" in said.output
    compared = watt.json("market", "verify", "--file", out, "--compare", *genesis)
    assert compared["compared"] == 1 and compared["trades"] == 1 and compared["faults"] == []
    refused = watt.run("wallet", "trades", "home-2/load", "--slot", slot)
    assert refused.exit_code == 1 and refused.stderr.startswith("watt: pruned: ")
    fast.stop_all()
    config = ["--config", str(fast.network.nodes[1].config_path)]
    for words in (["market", "verify", "--all"], ["node", "verify"]):
        result = CliRunner().invoke(main, [*words, *config])
        assert result.exit_code == 0, result.output
