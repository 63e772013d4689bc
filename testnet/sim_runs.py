"""Runs histories, one or many, and says what became of each."""

import functools
import multiprocessing
import os
import traceback
from collections.abc import Iterator, Sequence

from testnet.checker import CheckFailed
from testnet.sim_options import Options
from testnet.sim_result import SeedResult
from testnet.sim_world import MS
from testnet.simulator import Simulation, Trace


def run_seed(seed: int, options: Options, trace: Trace | None = None) -> SeedResult:
    """Simulate one history. Never raises for what goes wrong in it: that is the result's ``failure``."""
    simulation = Simulation(seed, options, trace)
    failure: str | None = None
    detail = ""
    try:
        simulation.run()
    except CheckFailed as error:
        failure = str(error)
    except Exception as error:  # noqa: BLE001 - any exception of the code under test is a finding, with its place
        failure, detail = f"{type(error).__name__}: {error}", traceback.format_exc(limit=-5)
    tally = simulation.tally
    return SeedResult(
        seed=seed,
        failure=failure,
        nodes=simulation.count,
        height=len(simulation.checker.chain),
        transactions=simulation.clients.submitted,
        highest_view=tally.highest_view,
        crashes=tally.crashes,
        messages=simulation.network.sent,
        fault_ms=simulation.fault_time // MS,
        recovery_ms=((tally.recovered_at or simulation.agenda.now) - tally.healed_at) // MS if tally.healed_at else 0,
        stops=tally.stops,
        accusations=tally.accused,
        inclusion_ms=simulation.clients.slowest_inclusion // MS if simulation.byzantine else 0,
        lies=sum(villain.told for villain in simulation.byzantine.values()),
        epochs=simulation.checker.members.number,
        upgrades=len(simulation.checker.upgrades.in_force),
        faulty=simulation.faulty,
        detail=detail,
    )


def run_seeds(seeds: Sequence[int], options: Options, processes: int = 0) -> Iterator[SeedResult]:
    """Simulate many histories, on all cores unless ``processes`` says how many; results as they come."""
    workers = min(processes or os.cpu_count() or 1, len(seeds))
    if workers <= 1:
        yield from (run_seed(seed, options) for seed in seeds)
        return
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        yield from pool.imap_unordered(functools.partial(run_seed, options=options), seeds, chunksize=4)
