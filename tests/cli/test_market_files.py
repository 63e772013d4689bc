"""`watt market verify` and `export` on the data of a stopped node, before and after a retention is over."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from chaincode.pruned import Part
from chaincode.registry import default_registry
from cli.main import main
from cli.market_verify import Found, compared
from cli.sources import stopped_node
from cli.verify import Checked
from node.executor import Executor
from node.keyfile import load_key, read_passphrase
from node.ledger.chain import Ledger
from node.ledger.store import LevelStore
from node.setup import DATABASE_NAME
from testnet.genesis import GENESIS_NAME, Network, build_network
from tests.chaincode.market_chain import MarketChain, day, genesis

FIGURES = ("products", "pruned", "auctions", "orders", "trades", "energy_wh")


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    """Four members of which the first has the ledger of a day, and no process runs."""
    contracts = genesis(retention_s=1_800).contracts
    network = build_network(tmp_path_factory.mktemp("stopped") / "net", contracts, base_port=None)
    extend(network, 0)
    return network


def extend(network: Network, until: int) -> None:
    """Begin the first member's ledger with a day of trade, or let time go on to ``until``."""
    keys = []
    for node in network.nodes:
        passphrase = read_passphrase(node.config.path(node.config.passphrase_file or ""))
        keys.append(load_key(node.config.path(node.config.key_file), passphrase or ""))
    config = network.nodes[0].config
    directory = config.path(config.data_dir)
    directory.mkdir(exist_ok=True)
    store = LevelStore(directory / DATABASE_NAME, create=True)
    try:
        chain = MarketChain(network.genesis, store, keys)
        for time, transactions in [] if until else day(chain, 7):
            chain.commit(chain.execute(time, transactions))
        while (due := chain.executor.next_event()) is not None and due <= until:
            chain.commit(chain.execute(max(due, chain.ledger.head.time), []))
    finally:
        store.close()


def watt(*words: str) -> Result:
    return CliRunner().invoke(main, ["market", *words])


def answer(*words: str) -> Any:
    result = watt(*words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_file_outlives_what_it_was_written_from(network: Network, tmp_path: Path) -> None:
    config = ["--config", str(network.nodes[0].config_path)]
    proven = ["--genesis", str(network.directory / GENESIS_NAME)]
    out = str(tmp_path / "day.export")
    said = watt("export", "--all", "--out", out, *config)
    assert said.exit_code == 0 and "all as the rules demand" in said.output and f"written to {out}" in said.output
    before = answer("verify", *config)
    assert before["trades"] > 5 and before["pruned"] == 0
    assert [answer("verify", "--file", out, *proven)[name] for name in FIGURES] == [before[name] for name in FIGURES]

    extend(network, 60_000)
    after = answer("verify", "--all", *config)
    assert after["pruned"] > 5 and after["faults"] == [] and after["products"] > before["products"]
    told = watt("verify", *config).output
    assert f"{after['products'] - after['pruned']} products: {after['auctions']} auctions with" in told
    assert f"; {after['pruned']} products whose details have been deleted (only an export proves them)" in told
    told = watt("verify", "2", *config).output
    assert told.startswith("1 product whose details have been deleted") and "0 auctions" not in told
    assert "only that sums of money agree and nothing is left in escrow: all as the rules demand" in told
    assert answer("verify", "--file", out, *proven)["trades"] == before["trades"]

    store = LevelStore(network.nodes[0].config.path(network.nodes[0].config.data_dir) / DATABASE_NAME, create=False)
    try:
        executor = Executor(
            Ledger.open(store, network.genesis, default_registry()), default_registry(), network.genesis
        )
        kept: Any = {slot: executor.query("market", "pruned", {"slot": slot}) for slot in range(8)}
    finally:
        store.close()
    slot, parts = next((slot, parts) for slot, parts in kept.items() if parts and parts[0][0] == "auction")
    details = tuple(Part(*row) for row in parts[:3])
    with stopped_node(network.nodes[0].config_path) as (source, _):
        found = asyncio.run(compared(source.read, Found(Checked(), (), ((slot, details), (10**6, ())))))
        assert found.known == 1 and not found.faults
        other = (details[0]._replace(entries=1_000), *details[1:])
        found = asyncio.run(compared(source.read, Found(Checked(), (), ((slot, other),))))
        assert [(fault.slot, fault.code) for fault in found.faults] == [(slot, "wrong-digest")]
        # A file from before the slot's first auction has nothing of what was deleted since.
        found = asyncio.run(compared(source.read, Found(Checked(), (), ((slot, ()), (10**6, ())))))
        assert found.known == 1
        gone = [part for part in details if part.name in ("auction", "auction-order", "auction-trade")]
        assert [(fault.slot, fault.code) for fault in found.faults] == [(slot, "wrong-digest")] * len(gone)


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("tolls", "t,b1,0.1\nt,b1,0\n", "bad-lines: FILE, line 3: t -> b1 stands twice"),
        ("tolls", "", "bad-lines: FILE: it changes nothing"),
        ("tolls", "t,nowhere,0\n", "bad-lines: FILE: the grid has no line from t to nowhere"),
        ("limits", "t,b1,1.5,\n", "bad-lines: FILE, line 2: '1.5' is finer than one"),
        ("limits", "t,b1,-5,\n", "bad-lines: FILE, line 2: '-5' is not a number"),
        ("limits", f"t,b1,{'9' * 5_000},\n", "bad-lines: FILE, line 2: "),
        ("tariffs", "", "bad-tariffs: FILE: it changes nothing"),
        ("tariffs", "01:00,1,0\n", "bad-settings: the changed rules: the first tariff holds from second 0"),
    ],
)
def test_a_what_if_is_asked_in_files_that_say_what_they_change(
    network: Network, tmp_path: Path, name: str, text: str, told: str
) -> None:
    header = {"tolls": "from,to,toll", "limits": "from,to,limit_down_w,limit_up_w", "tariffs": "from,retail,feed_in"}
    path = tmp_path / "changed.csv"
    path.write_text(f"{header[name]}\n{text}")
    config = ["--config", str(network.nodes[0].config_path)]
    refused = watt("replay", "--from", "1", "--to", "2", "--set", f"{name}={path}", *config)
    assert refused.exit_code == 1 and refused.stderr.startswith("watt: " + told.replace("FILE", str(path)))
    refused = watt("replay", "--from", "1", "--to", "2", *["--set", f"{name}={path}"] * 2, *config)
    assert refused.exit_code == 1 and refused.stderr.startswith(f"watt: bad-settings: {name} is named twice")


def test_what_cannot_be_written_or_read_is_refused(network: Network, tmp_path: Path) -> None:
    config = ["--config", str(network.nodes[0].config_path)]
    refused = watt("export", "--product", "999999", "--out", str(tmp_path / "none"), *config)
    assert refused.exit_code == 1 and refused.stderr.startswith("watt: no-product: ")
    assert not list(tmp_path.iterdir()), "nothing is left of it"
    refused = watt("export", "--all", "--out", str(tmp_path / "no" / "where"), *config)
    assert refused.exit_code == 1 and refused.stderr.startswith("watt: not-written: ")
