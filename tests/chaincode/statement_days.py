"""Random days of the street, made up from a seed: orders, cancellations, ticks, readings late, missing and corrected.

world = a_day(seed)          # slots 1 to 3 are traded; some settled, some final, some still open
"""

from random import Random
from typing import Any

from chaincode.contract import ContractError, Value
from tests.chaincode.marketplace import DEVICES, FEED_IN, RETAIL, SLOT_S, STREET, key_of, marketplace, order, tick
from tests.chaincode.world import World

NETWORKS = ("home-1", "home-2", "home-3")
METERED_S = 900


def a_day(
    seed: int, *, until_s: int | None = None, lines: tuple[tuple[Value, ...], ...] = STREET, **market: Any
) -> World:
    """The street from slot 0 on, up to block time ``until_s`` (by default a random one up to when all is final)."""
    rng = Random(seed)
    end = rng.choice((3 * SLOT_S + 60, 5 * SLOT_S, 8 * SLOT_S)) if until_s is None else until_s
    world = marketplace(lines=lines, allocated=rng.choice((40_000, 10_000_000)), periods=2, **market)
    registers = {name: [0, 0] for name in DEVICES}
    for slot in range(end // SLOT_S + 1):
        _trade(world, rng, slot)
        ends = (slot + 1) * SLOT_S
        if ends > end:
            break
        world.next_block(max(ends, world.time))
        _read(world, rng, slot, registers)
        world.next_block(max(ends + METERED_S, world.time))
        _correct(world, rng, slot, registers)
    for _ in range(3):
        world.next_block(max(end, world.time))
    return world


def _trade(world: World, rng: Random, slot: int) -> None:
    side_of = {network: rng.choice(("buy", "sell")) for network in NETWORKS}
    for _ in range(rng.randint(1, 4)):
        for device in rng.sample(sorted(DEVICES), rng.randint(1, len(DEVICES))):
            side = side_of[device[:6]]
            price = rng.randint(60, RETAIL) if side == "buy" else rng.randint(FEED_IN, 70)
            wish, until = rng.random() < 0.5, rng.choice(("gate", "gate", "auction"))
            wh = rng.randint(100, 1_500)
            try:
                order(world, device, side, slot=slot + 1, wh=wh, price=price, until=until, renewable=wish)
            except ContractError:
                continue  # over a limit, crossed, out of budget: as good
        tick(world)


def _read(world: World, rng: Random, slot: int, registers: dict[str, list[int]]) -> None:
    """Most meters report something near the contract."""
    for device in DEVICES:
        if rng.random() < 0.15:
            continue
        position: Any = world.query("market", "position", device=device, slot=slot)
        net = 0 if position is None else position[2] - position[3]
        wh = max(net, 0) + rng.choice((0, 0, 70, 300)), max(-net, 0) + rng.choice((0, 0, 50, 400))
        _, _, _, import_w, export_w = DEVICES[device]
        wh = min(wh[0], import_w // 2), min(wh[1], export_w // 2)
        after = [old + new for old, new in zip(registers[device], wh, strict=True)]
        args = {"device": device, "slot": slot, "import_wh": wh[0], "export_wh": wh[1]}
        sender = key_of(f"meter {device}")
        world.call(sender, "settlement", "report", **args, import_register=after[0], export_register=after[1])
        registers[device] = after


def _correct(world: World, rng: Random, slot: int, registers: dict[str, list[int]]) -> None:
    """Some meters say something else of the slot just settled."""
    for device in DEVICES:
        reading: Any = world.query("settlement", "reading", device=device, slot=slot)
        if reading is None or reading[4] or rng.random() < 0.7 or not DEVICES[device][3]:
            continue
        more = min(rng.randint(1, 200), DEVICES[device][3] // 2 - reading[0])
        if more <= 0:
            continue
        registers[device][0] += more
        row = (reading[0] + more, reading[1], reading[2] + more, reading[3])
        world.call(key_of(f"meter {device}"), "settlement", "correct", device=device, first_slot=slot, rows=(row,))
    world.next_block(world.time)
