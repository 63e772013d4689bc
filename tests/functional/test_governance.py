"""`watt admin propose` and its like on a real network, up to but not including the last approval."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from node.keyfile import TESTNET
from node.model.keys import generate_key
from node.setup import MEMBER_NAME, NodeFiles, init_node
from testnet.cluster import Cluster
from testnet.genesis import ADMIN_KEY_NAME, PASSPHRASE_NAME


class Admins:
    """The command, signed by one of the validators' admins where a key is needed."""

    def __init__(self, cluster: Cluster) -> None:
        self.nodes = cluster.network.nodes

    def run(self, *words: str, by: int | None = None, answer: str | None = None) -> Result:
        """The result of `watt admin WORDS`."""
        signing: list[str] = []
        if by is not None:
            home = self.nodes[by].directory
            signing = ["--key", str(home / ADMIN_KEY_NAME), "--passphrase-file", str(home / PASSPHRASE_NAME)]
        return CliRunner().invoke(main, ["admin", *words, "--node", self.nodes[0].gateway, *signing], input=answer)

    def json(self, *words: str, by: int | None = None) -> Any:
        """The JSON that `watt admin WORDS --json` prints."""
        result = self.run(*words, "--json", by=by)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)


@pytest.fixture
def admins(network: Cluster) -> Admins:
    return Admins(network)


@pytest.fixture
def entry(tmp_path: Path) -> str:
    """What a newcomer hands in."""
    init_node(NodeFiles(tmp_path, "eve", "genesis.json", "127.0.0.1:7501", "127.0.0.1:7401", {}), "open", TESTNET)
    return str(tmp_path / MEMBER_NAME)


def test_a_proposal_is_read_approved_and_withdrawn(admins: Admins, entry: str) -> None:
    admin_key = generate_key().public_key.hex()
    words = ("propose", "add", "--entry", entry, "--admin-key", admin_key, "--address", "127.0.0.1:7501")
    made = admins.json(*words, "--at", "+500", by=0)
    number, digest = str(made["proposal"]), made["digest"]
    assert (made["missing"], made["id"]) == (2, f"members/{number}")
    (row,) = admins.json("proposals")
    assert (row["kind"], row["details"]["name"], row["digest"]) == ("add", "eve", digest)
    assert row["details"]["admin_key"] == admin_key
    assert row["details"]["tls_certificate"] == json.loads(Path(entry).read_text())["tls_certificate"]
    assert (row["approved_by"], row["missing"]) == (["node-0"], 2)

    shown = admins.run("approve", number, by=1, answer="n\n")
    assert shown.exit_code == 1 and digest in shown.stderr and row["details"]["public_key"] in shown.stderr
    assert admins.run("approve", number, "--digest", "ab" * 32, by=1).exit_code == 1
    assert admins.json("approve", number, "--digest", digest, by=1)["missing"] == 1
    in_full = admins.run("proposals", f"members/{number}").stdout
    assert "approved by: node-0, node-1" in in_full and "1 approval missing until height" in in_full
    listed = admins.run("proposals").stdout
    assert f"members/{number}" in listed and "add eve" in listed and "1 of node-2, node-3" in listed

    assert admins.run("withdraw", number, by=1).stdout.startswith("withdrawn in block")
    assert admins.json("proposals")[0]["approved_by"] == ["node-0"]
    admins.json("withdraw", number, by=0)
    assert admins.run("proposals").stdout == "no open proposals, and nothing is scheduled\n"
    refused = admins.run("approve", number, "--yes", by=1)
    assert refused.exit_code == 1 and "unknown-proposal" in refused.stderr


def test_what_cannot_be_proposed_says_why(admins: Admins, entry: str) -> None:
    assert "too-few: there are never fewer than 4" in admins.run("propose", "remove", "node-3", by=0).stderr
    assert "too-soon: the nearest height" in admins.run("propose", "remove", "node-3", "--at", "5", by=0).stderr
    assert "unknown-validator" in admins.run("propose", "rotate", "--entry", entry, by=0).stderr
    spoilt = Path(entry).with_name("spoilt.json")
    spoilt.write_text(Path(entry).read_text().replace("BEGIN", "BEGUN"))
    assert "bad-certificate" in admins.run("propose", "rotate", "--entry", str(spoilt), by=0).stderr
    spoilt.write_text("{}")
    assert "bad-entry" in admins.run("propose", "rotate", "--entry", str(spoilt), by=0).stderr
    assert admins.run("propose", "remove", "node-3", "--at", "soon", by=0).exit_code == 2


def test_validators_are_shown(admins: Admins) -> None:
    shown = admins.json("validators")
    assert (shown["epoch"], shown["first_height"], shown["next"]) == (0, 1, None)
    assert [seat["name"] for seat in shown["validators"]] == ["node-0", "node-1", "node-2", "node-3"]
    assert "Epoch 0, from height 1 on" in admins.run("validators").stdout
    assert "unknown-epoch" in admins.run("validators", "--epoch", "7").stderr


def test_tolls_and_auditors_are_proposed_and_stand_in_one_list(admins: Admins, tmp_path: Path) -> None:
    steps = tmp_path / "steps.csv"
    line = next(row for row in admins.json("grid", "show")["buses"] if row["parent"] is not None)
    steps.write_text(f"from,to,step\n{line['parent']},{line['bus']},0.0075\n")
    tolls = admins.json("tolls", "propose", "--rate", "0.0002", "--steps", str(steps), "--at", "+500", by=0)
    key = generate_key().public_key.hex()
    auditor = admins.json("auditor", "propose", "regulator", "--public-key", key, "--at", "+400", by=1)
    rules = admins.json("rules", "propose", "gate=15min", "--at", "+600", by=0)
    rows = admins.json("proposals")
    ids = [f"motions/{auditor['proposal']}", f"motions/{tolls['proposal']}", f"rules/{rules['proposal']}"]
    assert [row["id"] for row in rows] == ids, "by the height"
    whats = ["auditor regulator", "tolls: rate 0.0002, steps of 1 line", "rules: gate = 15min"]
    assert [row["what"] for row in rows] == whats
    listed = admins.run("proposals").stdout
    assert all(name in listed for name in (*ids, "auditor regulator", "1 line")), listed
    in_full = admins.run("proposals", ids[1]).stdout
    assert f"{line['parent']} to {line['bus']}: 0.0075 tokens per kWh" in in_full and tolls["digest"] in in_full
    assert key in admins.run("proposals", ids[0]).stdout
    asked = admins.run("approve", ids[0], by=0, answer="n\n")
    assert asked.exit_code == 1 and key in asked.stderr
    assert admins.json("approve", ids[0], "--digest", auditor["digest"], by=0)["missing"] == 1
    for name, by in zip(ids, (1, 0, 0), strict=True):
        admins.json("withdraw", name, by=by)
    assert admins.json("proposals") == [] and admins.json("auditor", "list") == []
    assert admins.run("approve", "nothing/3", "--yes", by=0).exit_code == 2
    assert "no-upgrade" in admins.run("upgrade", "cancel", by=0).stderr
    assert "unknown-member" in admins.run("auditor", "dismiss", "regulator", by=0).stderr
