"""A node's database is copied while it runs, and put back when its disk is lost; its log names transactions by id."""

import asyncio
import json
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

from testnet.cluster import LOG_NAME, Cluster
from tests.functional.test_faults import PATIENCE_S, all_level, trade, until
from tests.functional.test_join import under_load, votes, watt
from tests.functional.trading import device


def refused(*words: str) -> str:
    """The code with which a command of `watt node` is refused."""
    command = [sys.executable, "-m", "cli.main", "node", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1, done.stdout
    return done.stderr.split(":")[1].strip()


def test_a_backup_made_under_load_brings_a_lost_node_back(own_network: Cluster, tmp_path: Path) -> None:
    first, second, _, lost = own_network.network.nodes
    who, place = device(own_network, "home-1/load"), tmp_path / "backup"
    asyncio.run(trade(own_network, who, 3))
    asked = ("backup", "--config", str(lost.config_path), "--out", str(place))
    made, _ = asyncio.run(under_load(who, [first.gateway, second.gateway], *asked))
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert {path.name for path in place.iterdir()} == {"db", "genesis.json", "backup.json"}
    assert refused(*asked) == "backup-exists"
    restored = ("restore", "--config", str(lost.config_path), "--from", str(place))
    assert refused(*restored) == "db-locked"

    own_network.stop(lost)
    assert refused(*restored) == "data-ahead"
    shutil.rmtree(lost.config.path(lost.config.data_dir))
    assert watt(*restored)[0]["height"] == made["height"] > 0
    own_network.start(lost)
    until(lambda: all_level(own_network), "the restored node is not level")
    assert own_network.agreement().root is not None
    assert not votes(lost)  # what it voted for after the backup, it does not know
    deadline = time.monotonic() + PATIENCE_S
    while not votes(lost):
        assert time.monotonic() < deadline, "the restored node never votes"
        asyncio.run(trade(own_network, who, 5))

    own_network.stop(lost)
    verified, _ = watt("verify", "--config", str(lost.config_path))
    assert verified["height"] > made["height"]
    stopped = tmp_path / "stopped"
    again, _ = watt("backup", "--config", str(lost.config_path), "--out", str(stopped))
    assert again["height"] == verified["height"]
    own_network.start(lost)
    until(lambda: all_level(own_network), "not level in the end")

    manifest = json.loads((stopped / "backup.json").read_text())
    (stopped / "backup.json").write_text(json.dumps(manifest | {"digest": "00" * 32}))
    own_network.stop(lost)
    shutil.rmtree(lost.config.path(lost.config.data_dir) / "db")
    assert refused("restore", "--config", str(lost.config_path), "--from", str(stopped)) == "bad-backup"
    watt(*restored)
    own_network.start(lost)
    until(lambda: all_level(own_network), "not level after the second time")


def test_what_became_of_a_transaction_is_logged_by_its_id_when_asked_for(own_network: Cluster) -> None:
    node = own_network.network.nodes[0]
    who, log = device(own_network, "home-2/load"), node.directory / LOG_NAME
    levels, _ = watt("log", "--config", str(node.config_path), "--room", "watt.tx", "debug")
    assert levels == {"": "info", "watt.tx": "debug"}

    async def placed() -> str:
        async with own_network.network.client(node.gateway) as client:
            tx_id = await client.submit(await who.order(client))
            assert (await client.wait(tx_id)).code == "ok"
            return tx_id.hex()

    line = f"executed tx={asyncio.run(placed())} height="
    until(lambda: line in log.read_text("utf-8"), "the transaction is not in the log")
    watt("log", "--config", str(node.config_path), "--room", "watt.tx", "info")
    assert f"executed tx={asyncio.run(placed())}" not in log.read_text("utf-8")
    assert who.id not in log.read_text("utf-8")
