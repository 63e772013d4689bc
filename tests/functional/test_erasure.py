"""Erasure on request, on real nodes: from the wallet to the files of the node that has made room, and past a kill."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cli.main import main
from node.setup import DATABASE_NAME
from testnet.cluster import Cluster
from tests.functional.metered import SLOT_S, Street, started_street

LOAD, OTHER = "home-1/load", "home-2/load"
MARK = (123_457, 876_543)
"""Registers that stand in the files as they are: one asked to be erased, one kept."""


class Erasing(Street):
    """`watt` on the network, and its nodes."""

    def __init__(self, cluster: Cluster, directory: Path) -> None:
        super().__init__(cluster, directory)
        self.cluster = cluster

    def until(self, found: Callable[[], Any], seconds: float = 40) -> Any:
        deadline = time.monotonic() + seconds
        while not (answer := found()):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        return answer


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Erasing]:
    directory = tmp_path_factory.mktemp("erasing")
    yield from started_street(Erasing, directory, (LOAD, OTHER), 4 * SLOT_S, dispute_window_s=SLOT_S)


def watt(*words: str) -> Any:
    result = CliRunner().invoke(main, [*words, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_what_an_owner_has_erased_is_in_no_file_and_the_chain_still_holds(street: Erasing) -> None:
    """Raw readings are pruned with their commitments kept, and erasure on request leaves the chain verifiable."""
    slot = max(
        street.until(lambda: [row["slot"] for row in street.json("market", "products") if row["state"] == "DELIVERED"])
    )
    for device, register in zip((LOAD, OTHER), MARK, strict=True):
        rows = [(slot, 400, 0, register, 0)]
        name = street.file(f"{device[:6]}.csv", rows)
        assert street.run("meter", "day", device, name, by=f"{device}.meter").exit_code == 0
    erase = ("wallet", "erase", "home-1", "--up-to")
    unsure = street.run(*erase, str(slot), by="home-1")
    assert unsure.exit_code == 1 and unsure.stderr.startswith("watt: not-confirmed: ")
    early = street.run(*erase, str(slot + 2), "--yes", by="home-1")
    assert early.exit_code == 1 and early.stderr.startswith("watt: not-final: ")
    stranger = street.run(*erase, str(slot), "--yes", by="home-2")
    assert stranger.exit_code == 1 and stranger.stderr.startswith("watt: wrong-key: ")
    street.until(lambda: street.run(*erase, str(slot), "--yes", by="home-1").exit_code == 0)
    asked = json.loads(street.run("wallet", "erased", "home-1", "--json", by="home-1").stdout)
    assert asked["erased"]["asked"] == slot

    out, genesis = street.directory / "mine", str(street.genesis)
    words = [
        "audit",
        "export",
        "all",
        "--format",
        "csv",
        "--network",
        "home-1",
        "--out",
        str(out),
        "--genesis",
        genesis,
    ]
    mine = street.run(*words, by="home-1")
    assert mine.exit_code == 0 and "transfers of money" in mine.output
    assert watt("audit", "check", str(out), "--genesis", genesis)["tables"]["readings"] > 0
    street.run(*[word.replace("mine", "theirs") for word in words], by="home-2")
    theirs = watt("audit", "check", str(out.with_name("theirs")), "--genesis", genesis)
    assert theirs["left_out"] == [["parked", ""], ["network", "home-1"]] and theirs["tables"]["readings"] == 0

    everybody = [word.replace("mine", "all") for word in words if word not in ("--network", "home-1")]
    unnamed = street.run(*everybody, by="home-1")
    assert unnamed.exit_code == 1 and "not-allowed" in unnamed.stderr and "--network" in unnamed.stderr

    node = street.cluster.network.nodes[2]
    street.cluster.stop(node)
    config = str(node.config_path)
    watt("node", "snapshot", "--config", config)
    street.cluster.start(node)
    log = node.directory / "node.log"
    street.until(lambda: "erased blocks=" in log.read_text())
    street.until(lambda: "compacted ms=" in log.read_text())
    street.cluster.kill(node)
    street.cluster.stop_all()
    verdicts = [watt("node", "verify", "--config", str(each.config_path)) for each in street.cluster.network.nodes]
    assert [(each["erased"] > 0, each["erased_blocks"] > 0) for each in verdicts] == [(False,) * 2] * 2 + [(True,) * 2]
    told = CliRunner().invoke(main, ["node", "verify", "--config", config])
    assert (
        told.exit_code == 0 and "readings have been erased: their digests, links and certificates hold" in told.output
    )
    files = [
        b"".join(path.read_bytes() for path in (each.directory / "data" / DATABASE_NAME).iterdir() if path.is_file())
        for each in street.cluster.network.nodes
    ]
    packed = [b"\xce" + register.to_bytes(4, "big") for register in MARK]
    asked_for, kept = ([each.count(register) for each in files] for register in packed)
    assert asked_for[2] == 1 and min(asked_for[:2]) >= 3, "in the state for a week; neither in body nor in event"
    assert min(kept) >= 3
    report = watt("audit", "report", "all", "--config", str(street.cluster.network.nodes[0].config_path))
    assert report["erased"] == 1 and report["networks"] == 2
