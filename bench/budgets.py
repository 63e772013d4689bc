"""What do budgets cost? A spend, a settled reading, an automatic share, the end of a period, and room on the ledger.

Processor time of one thread, real contracts: spends and shares on the state in memory, without encoding the result;
readings and the end of a period in whole blocks on a real ledger, from the batch's bytes to the new root.
"""

import platform
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import click

from bench.budgets_ledger import measure_ledger
from bench.budgets_rollover import measure_roll_over
from bench.budgets_town import METERED_BY_S, RETAIL, SLOT_S, Town
from chaincode import budget, budget_needs, budget_share
from chaincode.contract import Context
from cli.output import json_option, print_json, print_table

ROUNDS: Final = 7
"""The medians count."""
PRICE: Final = 800_000
WH: Final = 480
HELD: Final = PRICE * WH
DONORS: Final = (1, 10, 100)
NEEDY_OF_A_NETWORK: Final = 100
NETWORK_DEVICES: Final = 20


@click.command()
@click.option(
    "--devices",
    default=1_000,
    show_default=True,
    type=click.IntRange(20),
    help="Devices that are read, and that run out.",
)
@click.option(
    "--rollover", default=10_000, show_default=True, type=click.IntRange(20), help="Devices whose period ends."
)
@click.option(
    "--days", default=7, show_default=True, type=click.IntRange(1, 60), help="Days for which the ledger grows."
)
@json_option
def budgets(devices: int, rollover: int, days: int, as_json: bool) -> None:
    """Measure spends, settled readings, shares, the end of a period, and bytes on the ledger.

    Example: watt bench budgets --devices 1000 --rollover 10000 --days 7
    """
    result: dict[str, Any] = {
        "spend": spend(),
        "reading": reading(devices),
        "share": [share(donors) for donors in DONORS],
        "needs": needs(devices),
        "rollover": measure_roll_over(rollover),
        "ledger": measure_ledger(days),
        "python": platform.python_version(),
        "machine": platform.platform(),
    }
    if as_json:
        return print_json(result)
    print_table("A spend of a device", ["", ">"], list(result["spend"].items()))
    print_table("Readings that are settled", ["", ">"], list(result["reading"].items()))
    columns = list(result["share"][0])
    print_table("An automatic share", [f">{name}" for name in columns], [list(row.values()) for row in result["share"]])
    print_table("Devices that run out in one block", ["", ">"], list(result["needs"].items()))
    print_table("The end of a period", ["", ">"], list(result["rollover"].items()))
    print_table("On the ledger", ["", ">"], list(result["ledger"].items()))


def spend(operations: int = 500) -> dict[str, Any]:
    """Microseconds to hold what an order may cost, to post what it does cost, to release the rest; ``settle_us``: these
    two in one step, as a filled order does; ``spend_us``: a hold and that.
    """
    town = Town(1, 20, 48)
    town.fund(0, 0, dict.fromkeys(town.devices, 2 * HELD * operations))
    own, rows = town.devices, []
    references = [b"%32d" % number for number in range(operations)]
    for _ in range(ROUNDS):
        with town.context(1) as ctx:
            rows.append(_spend(ctx, own, references))
    medians = [statistics.median(column) / operations * 1e6 for column in zip(*rows, strict=True)]
    names = ("hold_us", "post_us", "release_us", "settle_us")
    result = {name: round(median, 2) for name, median in zip(names, medians, strict=True)}
    return result | {"spend_us": round(medians[0] + medians[3], 2)}


def _spend(ctx: Context, own: Sequence[str], references: Sequence[bytes]) -> list[float]:
    """Seconds of all holds, posts, releases; and of as many settlements."""
    half = HELD // 2

    def hold() -> None:
        for number, ref in enumerate(references):
            budget.hold(ctx, own[number % len(own)], 0, ref, HELD)

    def post() -> None:
        for ref in references:
            budget.post(ctx, ref, half, "escrow:1", "trade")

    def release() -> None:
        for ref in references:
            budget.release(ctx, ref, None)

    def settle() -> None:
        for ref in references:
            budget.settle(ctx, ref, half, half, "escrow:1", "trade")

    times = [_timed(hold), _timed(post), _timed(release)]
    hold()
    return [*times, _timed(settle)]


def reading(devices: int) -> dict[str, Any]:
    """Microseconds to take in a meter's reading by itself, and to settle it: a device pays for what it took."""
    town = Town(devices // NETWORK_DEVICES, NETWORK_DEVICES, 48)
    town.fund(0, 0, dict.fromkeys(town.devices, 100 * RETAIL * WH))
    taken, settled, slowest = [], [], 0.0
    for slot in range(ROUNDS):
        town.go_to((slot + 1) * SLOT_S)
        figures = {"import_wh": WH, "export_wh": 0, "import_register": WH * (slot + 1), "export_register": 0}
        before = town.all_s
        town.blocks(
            (slot + 1) * SLOT_S,
            [("settlement", "report", {"device": device, "slot": slot, **figures}) for device in town.devices],
        )
        taken.append(town.all_s - before)
        before, town.slowest_s = town.all_s, 0.0
        town.go_to((slot + 1) * SLOT_S + METERED_BY_S)
        settled.append(town.all_s - before)
        slowest = max(slowest, town.slowest_s)
    count = len(town.devices)
    return {
        "devices": count,
        "report_us": round(statistics.median(taken) / count * 1e6, 1),
        "settle_us": round(statistics.median(settled) / count * 1e6, 1),
        "slowest_block_ms": round(slowest * 1e3, 1),
    }


def share(donors: int) -> dict[str, Any]:
    """Microseconds of the end of a block in which one device's order is short: ``us``, with so many devices that could
    give, of which the first gives all; ``us_all_give``, with all that are asked giving all they can spare.
    """
    town = Town(1, donors + 1, 48)
    needy, *others = town.devices
    town.fund(0, 0, dict.fromkeys(others, 2 * HELD * donors))
    at = 47 * SLOT_S  # little is needed for the rest of the period, so nearly all can be spared
    with town.context(at) as ctx:
        spares = budget_share.spares(ctx, town.networks[0], 0, {needy: 0})

    def short_of(amount: int) -> float:
        def decide(ctx: Context) -> None:
            assert dict(budget_needs.resolve_needs(ctx)) == {b"order": True}

        times = []
        for _ in range(ROUNDS * 3):
            with town.context(at) as ctx:
                budget.hold(ctx, needy, 0, b"order", amount)
                times.append(_timed(lambda: decide(ctx)))
        return round(statistics.median(times) * 1e6, 1)

    all_give = short_of(sum(spare.amount for spare in spares))
    return {"donors": donors, "us": short_of(HELD), "givers": len(spares), "us_all_give": all_give}


def needs(needy: int) -> dict[str, Any]:
    """Milliseconds of the end of a block in which so many devices run out, a hundred in each network, whose other
    hundred can each help one of them.
    """
    half = min(needy, NEEDY_OF_A_NETWORK)
    town = Town(needy // half, 2 * half, 48)
    short = [device for own in town.devices_of.values() for device in own[:half]]
    others = [device for own in town.devices_of.values() for device in own[half:]]
    town.fund(0, 0, dict.fromkeys(others, 2 * HELD))
    times, met = [], 0
    for _ in range(3):
        with town.context(47 * SLOT_S) as ctx:
            for number, device in enumerate(short):
                budget.hold(ctx, device, 0, b"%d" % number, HELD)
            began = time.process_time()
            met = sum(done for _, done in budget_needs.resolve_needs(ctx))
            times.append(time.process_time() - began)
    seconds, count = statistics.median(times), len(short)
    return {"devices": count, "met": met, "ms": round(seconds * 1e3, 1), "us_each": round(seconds / count * 1e6, 1)}


def _timed(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began
