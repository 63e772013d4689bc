"""What the end of a billing period costs: what is left on every device moves on, in bounded work of many blocks."""

import gc
from typing import Any, Final

from bench.budgets_town import SLOT_S, Town

HELD: Final = 400_000_000
NETWORK_DEVICES: Final = 20
PERIOD_SLOTS: Final = 2


def measure_roll_over(devices: int) -> dict[str, Any]:
    """Seconds of the blocks in which a period of so many devices is closed, all of which have money left: as nothing
    hangs on the grid, they do nothing else. ``blocks``: how many, one after the other, and other blocks' transactions
    run in them as ever; ``other_ms``: the longest one of the period before.
    """
    town = Town(max(devices // NETWORK_DEVICES, 1), NETWORK_DEVICES, PERIOD_SLOTS, connected=False)
    town.fund(0, 0, dict.fromkeys(town.devices, HELD), spare=HELD)
    town.slowest_s = 0.0
    end = PERIOD_SLOTS * SLOT_S
    town.go_to(end)
    gc.collect()
    other_s, took, closed = town.slowest_s, [], 0
    while closed < len(town.networks):
        due = town.executor.next_event()
        if due is None or due > 2 * end:
            raise RuntimeError(f"{closed} networks of {len(town.networks)} were closed")
        before = town.all_s
        town.block(due)
        told = [event.topic for event in town.ledger.events(town.ledger.head.height)].count("period-closed")
        if told:
            took.append(town.all_s - before)
            closed += told
    count = len(town.devices)
    return {
        "devices": count,
        "networks": closed,
        "blocks": len(took),
        "total_s": round(sum(took), 2),
        "us_per_device": round(sum(took) / count * 1e6, 1),
        "longest_block_ms": round(max(took) * 1e3, 1),
        "other_ms": round(other_s * 1e3, 1),
    }
