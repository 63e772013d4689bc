"""The experiment on real nodes: a week of the same homes, the same brokers, the same engine, through four processes.

Block time follows the clock, an hour in ``slot_ms``; the engine decides for each slot while it passes. What it does is
what it does in one process, as long as its orders are in a block before the auction that they are for: how long before
is measured, and the same days are replayed in one process and the bills compared. If the machine is too busy for the
pace, they begin again at a slower one (``experiment_pace.py``).
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

from broker.backtest.engine import Replay
from broker.backtest.figures import broker_costs
from broker.backtest.forecasts import WeekByWeek
from broker.backtest.foresight import Foresight
from broker.backtest.meters import Row
from broker.backtest.result import BASE_UNITS, Result
from broker.backtest.scene import Scene, build
from broker.backtest.setup import Run
from broker.world import SecretKeys, World, known_keys
from chaincode.settlement_messages import reading_message
from node.errors import RefusedError
from testnet.chain_exchange import ChainExchange, Lateness, Traffic
from testnet.cluster import Agreement, Cluster
from testnet.experiment_pace import Rehearsal, TooQuickError
from testnet.experiment_result import HomeOnNodes, Week
from testnet.genesis import Network, build_network
from testnet.sender import Clock

NODES: Final = 4
READY_S: Final = 60.0
LEADS_REAL_S: Final = (10, 30, 90)
"""Real seconds in which the processes start, before the world's own beginning; more, if those were too few."""
GENTLE: Final = 15
"""The niceness of what goes on beside the nodes: an audit, runs in one process."""


class Lived(NamedTuple):
    """Days that were lived on nodes. ``costs``: each home's bill, base units; ``audit``: the process that replays the
    first node's chain."""

    run: Run
    homes: tuple[str, ...]
    costs: tuple[int, ...]
    traded_wh: int
    estimated: int
    traffic: Traffic
    lateness: Lateness
    agreement: Agreement
    slot_ms: int
    audit: "subprocess.Popen[bytes]"


def live(
    run: Run, directory: Path, slot_ms: int, tell: Callable[[float], None], *, may_slow_down: bool = False
) -> Lived:
    """Make a network in ``directory``, live the days of ``run`` on it, stop it, and have its chain audited.

    An hour takes ``slot_ms``; with ``may_slow_down`` longer, if the first day shows that it must. Raises ConfigError
    and RefusedError as building, starting and trading do.
    """
    scene = build(run)
    while True:  # each pace is slower than the one before, and the slowest is kept
        try:
            return _lived(run, scene, directory, slot_ms, may_slow_down, tell)
        except TooQuickError as error:
            slot_ms = error.slot_ms
            shutil.rmtree(directory)


def _lived(
    run: Run, scene: Scene, directory: Path, slot_ms: int, is_rehearsed: bool, tell: Callable[[float], None]
) -> Lived:
    """At one pace. Raises TooQuickError if ``is_rehearsed`` and the first day shows that it is too quick."""
    foresight = Foresight(scene, WeekByWeek(scene.homes, scene.span))
    keys = known_keys([site.network for site in scene.sites])
    cluster = _started(scene.world, directory, slot_ms)
    network = cluster.network
    try:
        with _exchange(scene.world, network, keys, slot_ms, is_rehearsed) as exchange:
            replay = Replay(scene, foresight, exchange, _meters(scene, keys, network.genesis.chain))
            replay.run(tell)
            costs = broker_costs(scene, replay)
            traffic, lateness = exchange.traffic, exchange.lateness
        agreement = cluster.agreement()
    finally:
        cluster.stop_all()
    command = [sys.executable, "-m", "cli.main", "node", "verify", "--json", "--config"]
    audit = subprocess.Popen(
        ["nice", "-n", str(GENTLE), *command, str(network.nodes[0].config_path)], stdout=subprocess.PIPE
    )
    names = tuple(site.network for site in scene.sites)
    world = scene.world
    sums = [replay.accounts.bill(name, world.first_slot, world.end_slot).sums for name in names]
    traded_wh, estimated = sum(each.bought_wh for each in sums), sum(each.estimated for each in sums)
    return Lived(run, names, tuple(costs), traded_wh, estimated, traffic, lateness, agreement, slot_ms, audit)


def _exchange(world: World, network: Network, keys: SecretKeys, slot_ms: int, is_rehearsed: bool) -> ChainExchange:
    if is_rehearsed:
        return Rehearsal(network.genesis, network.gateways, keys.by_public, network.reader, world, slot_ms)
    return ChainExchange(network.genesis, network.gateways, keys.by_public, network.reader)


def _started(world: World, directory: Path, slot_ms: int) -> Cluster:
    """Nodes that run before the world begins: their block time starts with the first process, and a busy machine takes
    its time. Raises RefusedError("too-slow") if it takes too much of it."""
    scale = world.slot_seconds * 1000 // slot_ms
    for lead_s in LEADS_REAL_S:
        network = build_network(
            directory,
            world.settings(),
            nodes=NODES,
            base_port=None,
            name="experiment",
            time_scale=scale,
            time_origin=world.time_origin - lead_s * scale,
        )
        cluster = Cluster(network)
        try:
            cluster.start_all()
            cluster.wait_ready(READY_S)
        except BaseException:
            cluster.stop_all()
            raise
        if Clock(network.genesis).now() <= world.time_origin:
            return cluster
        cluster.stop_all()
        shutil.rmtree(directory)
    raise RefusedError("too-slow", f"in {LEADS_REAL_S[-1]} s the nodes had not started: is the machine busy?")


def week_of(lived: Lived, in_process: Result) -> Week:
    """Its figures, when its audit has ended, beside the same days in one process. Raises RefusedError("bad-chain") if
    the audit finds the chain wanting."""
    out, _ = lived.audit.communicate()
    if lived.audit.returncode:
        raise RefusedError("bad-chain", f"`watt node verify` refuses the chain of {lived.run.name}")
    report = json.loads(out)
    root = lived.agreement.root
    here = {home.name: round(home.bills.broker * BASE_UNITS) for home in in_process.homes}
    spare, answers = sorted(lived.lateness.spare_ms), sorted(lived.lateness.answers_ms)
    return Week(
        season=lived.run.season,
        first_day=in_process.settings.first_day,
        days=in_process.settings.days,
        slot_ms=lived.slot_ms,
        blocks=lived.traffic.blocks,
        transactions=lived.traffic.transactions,
        codes=lived.traffic.codes,
        seconds=lived.traffic.seconds,
        busiest_second=lived.traffic.busiest,
        nodes=lived.agreement.nodes,
        height=lived.agreement.height,
        root="" if root is None else root.hex(),
        is_agreed=root is not None and lived.agreement.nodes == NODES,
        verified_blocks=report["height"] - report["base"],
        groups=len(spare),
        late=lived.lateness.missed,
        spare_ms=(spare[0], round(median(spare))),
        answer_ms=(round(median(answers)), answers[len(answers) * 99 // 100]),
        traded_wh=(in_process.community.traded_wh, lived.traded_wh),
        estimated_readings=lived.estimated,
        homes=tuple(HomeOnNodes(name, here[name], cost) for name, cost in zip(lived.homes, lived.costs, strict=True)),
    )


def _meters(scene: Scene, keys: SecretKeys, chain: bytes) -> Callable[[str, Row], bytes]:
    """How a network's meter signs a row."""

    def sign(network: str, row: Row) -> bytes:
        device, slot, import_wh, export_wh, import_register, export_register = row
        energy, registers = (import_wh, export_wh), (import_register, export_register)
        return keys.meters[network].sign(reading_message(chain, device, slot, energy, registers))

    return sign
