"""A quorum is lost across a gate, in a network whose half hours take five seconds; then what if the rules had been
others, by the blocks of that very network."""

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cli.main import main
from cli.session import Account
from testnet.cluster import Cluster, last_line
from testnet.genesis import build_network
from tests.chaincode.market_chain import KEYS, genesis
from tests.chaincode.marketplace import SLOT_S
from tests.functional.trading import as_validator

SCALE = 360
METERING_S, DISPUTE_S, OUTAGE_S = SLOT_S, SLOT_S, 900
PATIENCE_S = 60


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    contracts = genesis().contracts
    windows = {"metering_window_s": METERING_S, "dispute_window_s": DISPUTE_S, "outage_s": OUTAGE_S}
    contracts["market"] = {**contracts["market"], **windows, "tick_s": 60}
    contracts["budget"] = {"period_slots": 1}  # so that a billing period ends in the outage
    directory = tmp_path_factory.mktemp("outage")
    cluster = Cluster(build_network(directory, contracts, base_port=None, time_scale=SCALE, time_origin=0))
    try:
        cluster.start_all()
        cluster.wait_ready()
        yield cluster
    finally:
        cluster.stop_all()
        for node in cluster.network.nodes:
            print(node.name, last_line(node))  # shown by pytest if a test failed


def query(cluster: Cluster, contract: str, method: str, **args: Any) -> Any:
    async def use() -> Any:
        async with cluster.network.client(cluster.network.gateways[:2]) as client:
            return await client.query(contract, method, args)

    return asyncio.run(use())


def call(cluster: Cluster, sender: str, contract: str, method: str, **args: Any) -> Any:
    """Sign, submit, wait; what the transaction returns. Raises RefusedError with the rules' code."""

    async def use() -> Any:
        async with cluster.network.client(cluster.network.gateways[:2]) as client:
            account = Account(client, KEYS[sender], cluster.network.genesis.chain)
            return (await account.settle(contract, method, args)).result

    return asyncio.run(use())


def now(cluster: Cluster) -> int:
    """Block time by the nodes' clock, whether blocks are made or not."""
    return cluster.network.genesis.block_time(time.time_ns() // 1_000_000)


def wait_until(cluster: Cluster, moment: int) -> None:
    time.sleep(max(0, moment - now(cluster)) / SCALE)


def wait_for(cluster: Cluster, slot: int, state: str) -> Any:
    end = time.monotonic() + PATIENCE_S
    while (row := query(cluster, "market", "product", slot=slot))[1] != state:
        assert time.monotonic() < end, f"slot {slot} is {row[1]}"
        time.sleep(0.2)
    return row


def test_a_quorum_lost_across_a_gate(street: Cluster) -> None:
    """Orders from before are binding and cleared once; the product closes; meters get the lost time back."""
    slot = now(street) // SLOT_S + 2
    for home in ("home-1", "home-2"):
        call(street, "utility", "budget", "issue", network=home, period=slot, amount=10**7, reference=b"1")
    call(street, "home-1", "budget", "allocate", network="home-1", period=slot, amounts=[["home-1/load", 10**6]])
    order = {"slot": slot, "energy_wh": 500}
    buy = call(street, "home-1/load", "market", "place", device="home-1/load", side="buy", price=80, **order)
    call(street, "home-2/pv", "market", "place", device="home-2/pv", side="sell", price=30, **order)
    gate, ends = (slot + 1) * SLOT_S - 600, (slot + 1) * SLOT_S
    wait_until(street, gate - 700)
    for node in street.network.nodes[2:]:
        street.stop(node)
    wait_until(street, ends + OUTAGE_S)
    for node in street.network.nodes[2:]:
        street.start(node)
    street.wait_ready()
    row = wait_for(street, slot, "DELIVERED")
    ((_, since, until, _), *_) = [each for each in query(street, "rules", "outages") if each[1] <= gate < each[2]]
    assert since == gate and until > ends + OUTAGE_S, "the gate was the first thing due"
    assert row[6] == until + METERING_S, "the whole window is ahead when blocks are made again"
    assert row[7] == row[6] + DISPUTE_S
    assert query(street, "market", "order", order=buy)[12] == "FILLED"
    wait_until(street, ends + METERING_S)
    reading = {"slot": slot, "import_register": 600, "export_register": 0}
    call(
        street, "meter home-1/load", "settlement", "report",
        device="home-1/load", import_wh=600, export_wh=0, **reading,
    )  # fmt: skip
    wait_for(street, slot, "SETTLED")
    settled = query(street, "settlement", "settled", network="home-1", slot=slot)[0]
    assert (settled[1], settled[8]) == (500, 100), "bought from the neighbour, and from the utility"

    # The slot's billing period ended while the market was down. When its slot is FINAL it is closed as any other.
    assert query(street, "periods", "period", network="home-1", period=slot)[0] == "closing"
    wait_for(street, slot, "FINAL")
    end = time.monotonic() + PATIENCE_S
    while (period := query(street, "periods", "period", network="home-1", period=slot))[0] != "closed":
        assert time.monotonic() < end, period
        time.sleep(0.2)
    spent = settled[2] + settled[3] + settled[9]
    assert period[6][2:8] == (10**6 - spent, 0, 10**7 - spent, 0, 0, 0), "all that was left is carried over"
    later = range(slot + 1, now(street) // SLOT_S + 2)
    carried = {
        number: query(street, "budget", "network_budget", network="home-1", period=number)[8] for number in later
    }
    ((into, amount),) = [(number, amount) for number, amount in carried.items() if amount]
    assert amount == 10**7 - spent
    assert (into + 1) * SLOT_S > row[7], "into a period that was not over when the slot became FINAL"


def test_the_same_blocks_under_other_rules(street: Cluster, tmp_path: Path) -> None:
    """From the gateway of a node that runs, and from the data of one that is stopped: the same answer."""
    tolls = tmp_path / "tolls.csv"
    tolls.write_text("from,to,toll\nt,b1,0\nb1,b2,0.00001\n")
    info = next(status.info for status in street.status() if status.info is not None)
    words = ["market", "replay", "--from", "1", "--to", str(info.height), "--set", f"tolls={tolls}"]
    words += ["--set", "gate=10min", "--json"]
    proven = ["--genesis", str(street.network.directory / "genesis.json"), "--node", street.network.gateways[0]]
    online = CliRunner().invoke(main, [*words, *proven], env=as_validator(street.network))
    assert online.exit_code == 0, online.output
    street.stop(street.network.nodes[3])
    data = ["--config", str(street.network.nodes[3].config_path)]
    offline = CliRunner().invoke(main, [*words, *data])
    assert offline.exit_code == 0, offline.output
    found = json.loads(online.stdout)
    assert found == json.loads(offline.stdout)
    assert found["slots_compared"] > 0 and found["products_that_kept_their_terms"] == 0
    assert found["traded"]["was"]["energy_wh"] == found["traded"]["would_be"]["energy_wh"] == 500
    home = found["networks"]["home-1"]
    assert home["was"]["bought"] == home["would_be"]["bought"] or home["was"]["cost"] != home["would_be"]["cost"]
    assert found["received"]["grid operator"]["was"] != found["received"]["grid operator"]["would_be"]

    shown = CliRunner().invoke(main, [*words[:-1], *data])
    assert shown.exit_code == 0 and "all under the changed rules" in shown.stdout and "home-1" in shown.stdout
    tolls.write_text("from,to,toll\nt,nowhere,0\n")
    refused = CliRunner().invoke(main, [*words, *data])
    assert refused.exit_code == 1 and "bad-lines" in refused.stderr
    assert CliRunner().invoke(main, ["market", "replay", "--from", "99999", *data]).exit_code == 1
    assert CliRunner().invoke(main, ["market", "replay", "--from", "1"]).exit_code == 2
