"""Receipts and evidence as people use them: kept by a command, checked by another, offline."""

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from node.consensus.messages import Signed
from node.consensus.statements import Prepare, encode_statement
from node.evidence import EVIDENCE_FORMAT, EvidenceFile, Said, dump_evidence
from node.keyfile import load_key
from node.setup import DATABASE_NAME
from testnet.cluster import Cluster
from testnet.genesis import GENESIS_NAME, PASSPHRASE_NAME
from testnet.neighbourhood import KEYS_NAME


def watt(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def verified(*words: str | Path) -> Any:
    result = watt("node", "verify", *words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def receipts(network: Cluster, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Receipts of two orders: one as a file, one in a directory."""
    directory = tmp_path_factory.mktemp("receipts")
    place = network.network.directory / KEYS_NAME
    products = json.loads(watt("market", "products", "--node", network.network.gateways[0], "--json").stdout)
    slot = [row["slot"] for row in products if row["state"] == "OPEN"][20]
    for number, where in enumerate((directory / "order.json", directory)):
        result = watt(
            "wallet", "order", "home-3/load", "buy", f"{100 + number}", "--slot", str(slot), "--price", "0.5",
            "--node", network.network.gateways[1], "--key", place / "home-3.load.json",
            "--passphrase-file", place / PASSPHRASE_NAME, "--receipt", where,
        )  # fmt: skip
        assert result.exit_code == 0, result.output
    return sorted(directory.iterdir(), key=lambda path: path.name == "order.json")


def test_a_receipt_proves_by_the_genesis_alone_who_received_it(network: Cluster, receipts: list[Path]) -> None:
    genesis = network.network.directory / GENESIS_NAME
    named, plain = verified("--evidence", receipts[0], "--genesis", genesis), watt(
        "node", "verify", "--evidence", receipts[1], "--genesis", genesis
    )  # fmt: skip
    assert named["name"] == network.network.nodes[1].name
    assert receipts[0].name == f"{named['transaction']}.receipt.json"
    assert f"proven: {named['name']} received " in plain.output


def test_a_command_does_not_write_over_a_receipt(network: Cluster, receipts: list[Path]) -> None:
    refused = watt("wallet", "order", "home-3/load", "buy", "1", "--slot", "1", "--price", "1", "--key", "none",
                   "--receipt", receipts[1])  # fmt: skip
    assert refused.exit_code == 2 and "is there already" in refused.output


def test_a_receipt_that_was_changed_proves_nothing(network: Cluster, receipts: list[Path], tmp_path: Path) -> None:
    document = json.loads(receipts[1].read_text())
    document["height"] += 1
    (tmp_path / "changed.json").write_text(json.dumps(document))
    refused = watt("node", "verify", "--evidence", tmp_path / "changed.json", "--genesis",
                   network.network.directory / GENESIS_NAME)  # fmt: skip
    assert refused.exit_code == 1 and "watt: not-signed: " in refused.output


def test_a_chain_says_what_became_of_what_was_received(network: Cluster, receipts: list[Path], tmp_path: Path) -> None:
    """By a copy of a running node's database: blocks are there once they are synced."""
    node = network.network.nodes[1]
    genesis = network.network.directory / GENESIS_NAME
    received = verified("--evidence", receipts[1], "--genesis", genesis)
    for attempt in range(20):  # the copy is taken while the database is written to
        target = tmp_path / str(attempt)
        shutil.copytree(node.directory / "data" / DATABASE_NAME, target / DATABASE_NAME)
        result = watt("node", "verify", "--evidence", receipts[1], "--genesis", genesis, "--data", target, "--json")
        if result.exit_code == 0 and json.loads(result.stdout)["included"] is not None:
            break
        time.sleep(0.2)
    found = json.loads(result.stdout)
    assert found["height"] == received["height"] < found["included"] <= found["head"]
    assert (found["code"], found["neglected"]) == ("ok", False)


def test_evidence_is_told_in_words(network: Cluster, tmp_path: Path) -> None:
    """Made with a real node's key; nothing of it is sent."""
    genesis, node = network.network.genesis, network.network.nodes[2]
    key = load_key(node.directory / "node.key.json", (node.directory / PASSPHRASE_NAME).read_text().strip())
    said = []
    for digest in (b"a" * 32, b"b" * 32):
        data = encode_statement(Prepare(0, 7, digest), genesis.chain, 0)
        said.append(Signed(2, data, key.sign(data)))
    document = EvidenceFile(
        format=EVIDENCE_FORMAT, kind="two-votes", chain=genesis.chain.hex(), epoch=0, member=2, name=node.name,
        statements=tuple(Said(each.data, each.signature) for each in said),
    )  # fmt: skip
    path = tmp_path / "evidence.json"
    path.write_bytes(dump_evidence(document))
    told = watt("node", "verify", "--evidence", path, "--genesis", network.network.directory / GENESIS_NAME)
    assert told.exit_code == 0
    assert told.output == f"proven: {node.name} signed two different prepare votes at height 7, view 0\n"
    path.write_bytes(path.read_bytes().replace(b'"epoch": 0', b'"epoch": 1'))
    refused = watt("node", "verify", "--evidence", path, "--config", node.config_path)
    assert refused.exit_code == 1 and "watt: unknown-epoch: " in refused.output


def test_what_is_no_evidence_is_named(network: Cluster, tmp_path: Path) -> None:
    genesis = network.network.directory / GENESIS_NAME
    for content, code in ((b"{", "bad-evidence"), (b"[1]", "bad-evidence"), (b'{"kind": "received"}', "bad-receipt")):
        (tmp_path / "file").write_bytes(content)
        refused = watt("node", "verify", "--evidence", tmp_path / "file", "--genesis", genesis)
        assert refused.exit_code == 1 and f"watt: {code}: " in refused.output
    refused = watt("node", "verify", "--evidence", tmp_path / "none", "--genesis", genesis)
    assert refused.exit_code == 1 and "watt: no-evidence: " in refused.output
