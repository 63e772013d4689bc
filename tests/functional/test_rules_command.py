"""`watt admin rules` on a real network, up to but not including the last approval."""

import json
from pathlib import Path

import pytest

from testnet.cluster import Cluster
from tests.functional.test_governance import Admins


@pytest.fixture
def admins(network: Cluster) -> Admins:
    return Admins(network)


def test_rules_are_shown_proposed_approved_and_withdrawn(admins: Admins, tmp_path: Path) -> None:
    shown_before = admins.json("rules", "show")
    assert shown_before["scheduled"] is None and shown_before["settings"]["tick_s"] > 0
    tariffs = tmp_path / "winter.csv"
    tariffs.write_text("from,retail,feed_in\n00:00,0.8,0.2\n07:30,1.1,0.25\n")
    words = ("propose", "gate=15min", "internal=12.5%", "--tariffs", str(tariffs), "--at", "+500")
    made = admins.json("rules", *words, by=0)
    number, digest = str(made["proposal"]), made["digest"]
    assert made["missing"] == 2
    row = next(row for row in admins.json("rules", "proposals") if row["proposal"] == made["proposal"])
    assert row["settings"] == {"gate_before_end_s": 900, "internal_permille": 125}
    assert row["tariffs"] == [[0, 800_000, 200_000], [27_000, 1_100_000, 250_000]]

    asked = admins.run("rules", "approve", number, by=1, answer="n\n")
    assert asked.exit_code == 1 and digest in asked.stderr
    assert "gate = 15min" in asked.stderr and "07:30:00: retail 1.1000" in asked.stderr
    assert admins.run("rules", "approve", number, "--digest", "ab" * 32, by=1).exit_code == 1
    assert admins.json("rules", "approve", number, "--digest", digest, by=1)["missing"] == 1
    assert "approved by: node-0, node-1" in admins.run("rules", "proposals").stdout
    assert admins.run("rules", "withdraw", number, by=1).stdout.startswith("withdrawn in block")
    admins.json("rules", "withdraw", number, by=0)
    assert "unknown-proposal" in admins.run("rules", "approve", number, "--yes", by=1).stderr
    assert admins.json("rules", "show") == shown_before
    history = admins.json("rules", "show", "--history")["history"]
    assert [(row["version"], row["proposal"]) for row in history] == [(0, None)]
    assert "version 0, from height 0 on" in admins.run("rules", "show", "--history").stdout
    shown = admins.run("rules", "show").stdout
    assert "gate before the slot's end" in shown and " Scheduled " in shown


def test_what_cannot_be_proposed_says_why(admins: Admins, tmp_path: Path) -> None:
    refused = admins.run("rules", "propose", "gate=3d", by=0)
    assert (
        refused.exit_code == 1 and "bad-settings: gate_before_end_s closes products before they open" in refused.stderr
    )
    assert "no-change" in admins.run("rules", "propose", by=0).stderr
    assert "too-soon: the nearest height" in admins.run("rules", "propose", "gate=1min", "--at", "5", by=0).stderr
    for wrong in ("gate", "gate=soon", "gate=1.5s", "slot_seconds=900", "mix=1.05%", "mix=-1"):
        assert admins.run("rules", "propose", wrong, by=0).exit_code == 2, wrong


def test_the_json_is_one_value(admins: Admins) -> None:
    assert json.loads(admins.run("rules", "proposals", "--json").stdout) == []


def test_outages_are_asked_of_a_node(admins: Admins) -> None:
    """There are none, unless the machine that this runs on has stood still."""
    rows = admins.json("rules", "outages")
    assert all(row["length_s"] == row["until"] - row["since"] > 0 for row in rows)
    assert ("no outages" in admins.run("rules", "outages").stdout) is (not rows)
