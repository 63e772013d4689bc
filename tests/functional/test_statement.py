"""A household's bill from real nodes: as table, JSON, CSV and page, proven, and traced to transactions in blocks."""

import asyncio
import csv
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from node.gateway.client import Client
from node.model.keys import SigningKey
from node.model.transaction import sign_transaction
from testnet.cluster import Cluster
from testnet.genesis import GENESIS_NAME, PASSPHRASE_NAME
from testnet.neighbourhood import KEYS_NAME, PERIOD_SLOTS, build_neighbourhood, neighbourhood_key
from tests.functional.conftest import started

SLOT_S = 1800
SCALE = 300  # a slot takes six seconds
MIDNIGHT = 1_497_571_200  # 16 June 2017
WINDOW_S = 900
VALID_S = 3_000


@pytest.fixture(scope="module")
def fast_network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A street whose clock runs fast, and which forgets nothing."""
    windows = {"metering_window_s": WINDOW_S, "dispute_window_s": SLOT_S}
    directory = tmp_path_factory.mktemp("fast")
    yield from started(
        Cluster(
            build_neighbourhood(
                directory, nodes=4, base_port=None, time_scale=SCALE, time_origin=MIDNIGHT, market=windows
            )
        )
    )


async def settled_slot(cluster: Cluster) -> int:
    """Trade in a slot to come, meter it, and wait until it is settled; its number."""
    async with cluster.network.client() as client:
        info = await client.node_info()
        slot = info.now // SLOT_S + 1

        async def call(name: str, contract: str, method: str, **args: Any) -> None:
            key: SigningKey = neighbourhood_key(cluster.network.directory, name)
            now = (await client.node_info()).now
            nonce = await client.nonce(key.public_key) + 1
            raw = sign_transaction(key, info.chain, nonce, contract, method, args, now + VALID_S).raw
            status = await client.wait(await client.submit(raw))
            assert status.code == "ok", (method, status)

        order = {"slot": slot, "until": "gate", "renewable": True}
        await call(
            "home-1.pv", "market", "place", device="home-1/pv", side="sell", energy_wh=900, price=300_000, **order
        )
        await call(
            "home-2.load", "market", "place", device="home-2/load", side="buy", energy_wh=700, price=600_000, **order
        )
        await until(client, (slot + 1) * SLOT_S)
        for name, wh in (("home-1/pv", (0, 800)), ("home-2/load", (1_000, 0))):
            registers = {"import_register": wh[0], "export_register": wh[1]}
            reading = {"device": name, "slot": slot, "import_wh": wh[0], "export_wh": wh[1]}
            await call(f"{name[:6]}.meter", "settlement", "report", **reading, **registers)
        await until(client, (slot + 1) * SLOT_S + WINDOW_S)
        deadline = time.monotonic() + 30
        while await client.query("settlement", "settled", {"network": "home-3", "slot": slot}) is None:
            assert time.monotonic() < deadline, "the slot is not settled"
            await asyncio.sleep(0.2)
        return slot


async def until(client: Client, block_time: int) -> None:
    """Wait for a block of this time."""
    deadline = time.monotonic() + 30
    while (await client.node_info()).head_time < block_time:
        assert time.monotonic() < deadline, "the network's clock stands still"
        await asyncio.sleep(0.1)


def watt(cluster: Cluster, *words: str) -> Result:
    """`watt wallet statement WORDS`, at one node, read with the key of home-2's owner."""
    keys = cluster.network.directory / KEYS_NAME
    env = {
        "WATT_GENESIS": str(cluster.network.directory / GENESIS_NAME),
        "WATT_KEY": str(keys / "home-2.json"),
        "WATT_PASSPHRASE": (keys / PASSPHRASE_NAME).read_text().strip(),
    }
    return CliRunner().invoke(main, ["wallet", "statement", *words, "--node", cluster.network.gateways[2]], env=env)


def test_a_bill_is_shown_proven_and_traced_to_its_blocks(fast_network: Cluster, tmp_path: Path) -> None:
    slot = asyncio.run(settled_slot(fast_network))
    of_period = ["home-2", "--period", str(slot // PERIOD_SLOTS)]
    files = ["--csv", str(tmp_path / "bill.csv"), "--pdf", str(tmp_path / "bill.pdf")]
    shown = watt(fast_network, *of_period, *files)
    assert shown.exit_code == 0, shown.output
    assert "Bought from home-1" in shown.stdout and "with the utility alone" in shown.stdout
    assert (tmp_path / "bill.pdf").read_bytes().startswith(b"%PDF-")

    genesis = ["--genesis", str(fast_network.network.directory / GENESIS_NAME)]
    proven = watt(fast_network, *of_period, *genesis, "--json")
    assert proven.exit_code == 0, proven.output
    statement = json.loads(proven.stdout)
    assert statement["read"].startswith("proven at block ")
    lines = {line["kind"]: line for line in statement["lines"]}
    assert (lines["bought"]["energy_wh"], lines["bought"]["devices"]) == (700, ["home-1/pv"])
    assert lines["retail"]["energy_wh"] == 300 and lines["imported"]["energy_wh"] == 1_000
    assert statement["slots_of_unknown_origin"] > 0, "what may still change rests on what others keep to themselves"
    told = json.loads(watt(fast_network, *of_period, "--trust-node", "--json").stdout)
    assert {line["kind"]: line for line in told["lines"]}["renewable"]["energy_wh"] == 700 and "node" in told["read"]

    rows = list(csv.DictReader((tmp_path / "bill.csv").open()))
    assert {row["kind"] for row in rows if row["slot"] == str(slot)} >= {"bought", "retail", "imported"}
    explained = watt(fast_network, *of_period, "--explain", str(lines["bought"]["line"]), "--json")
    items = json.loads(explained.stdout)["items"]
    assert sum(item["amount"] for item in items) == lines["bought"]["amount"] < 0
    named = [source for item in items for source in item["sources"] if source["tx"]]
    retail = watt(fast_network, *of_period, "--explain", str(lines["retail"]["line"]), "--json")
    named += [source for item in json.loads(retail.stdout)["items"] for source in item["sources"] if source["tx"]]
    assert {source["what"] for source in named} == {"order", "other order", "reading"}
    asyncio.run(_are_in_their_blocks(fast_network, named))

    running = json.loads(watt(fast_network, "home-2", *genesis, "--json").stdout)
    assert running["status"] == "active" and running["period"] >= slot // PERIOD_SLOTS, "that of a proven block"

    nothing = watt(fast_network, *of_period, "--explain", "99")
    assert nothing.exit_code == 1 and nothing.stderr.startswith("watt: no-line: ")
    nobody = watt(fast_network, "home-9", *of_period[1:])
    assert nobody.exit_code == 1 and nobody.stderr.startswith("watt: not-allowed: "), "others' or nobody's: the same"


async def _are_in_their_blocks(cluster: Cluster, named: list[dict[str, Any]]) -> None:
    """The transactions that an explanation names are committed in the blocks that it names."""
    async with cluster.network.client() as client:
        for source in named:
            status = await client.status(bytes.fromhex(source["tx"]))
            assert (status.state, status.code, status.height) == ("committed", "ok", source["height"])
