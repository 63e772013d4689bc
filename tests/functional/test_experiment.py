"""The experiment's way over real nodes: the same engine, the same bills."""

from pathlib import Path

import pytest

from broker.backtest.season import run_one
from broker.backtest.setup import Run
from broker.exchange import Call
from node.errors import RefusedError
from testnet.chain_exchange import ChainExchange
from testnet.experiment_nodes import live, week_of
from testnet.neighbourhood import build_neighbourhood

ROOT = Path(__file__).parents[2]
SLOT_MS = 600


@pytest.mark.timeout(200)
def test_a_day_on_nodes_costs_what_it_costs_in_one_process(tmp_path: Path) -> None:
    """Three homes trade for a day through four nodes: all agree, the chain is audited, and if no order was late, every
    bill is that of one process, to the base unit."""
    run = Run(
        strategy="truthful",
        season="",
        first_day="2024-05-08",
        days=1,
        homes=str(ROOT / "docs" / "homes-example.csv"),
        vehicles=False,
        grid="street",
    )
    shares: list[float] = []
    week = week_of(live(run, tmp_path / "net", SLOT_MS, shares.append), run_one(run))
    assert week.is_agreed and week.nodes == 4 and len(week.root) == 64
    assert week.verified_blocks >= week.height >= week.blocks > 0
    assert week.transactions == sum(week.codes.values()) and week.codes["ok"] > 0
    assert week.groups > 0 and len(week.homes) == 3 and shares[-1] == 1.0
    if not week.late:  # the machine was quick enough
        assert week.differing == 0 and week.traded_wh[0] == week.traded_wh[1] > 0 and week.estimated_readings == 0


def test_without_nodes_nothing_is_waited_for(tmp_path: Path) -> None:
    network = build_neighbourhood(tmp_path / "net", nodes=4, base_port=None)
    nodes = ChainExchange(network.genesis, network.gateways, {}, network.reader)
    with pytest.raises(RefusedError) as refused, nodes as exchange:
        exchange.submit([Call(bytes(32), "market", "cancel", {"order": bytes(32)})])
    assert refused.value.code == "unreachable"
