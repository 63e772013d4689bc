"""The exchange in one process does what the ledger does: the same calls, with signatures, blocks and roots there."""

import datetime
from random import Random
from typing import Any

from broker.exchange import Call
from broker.office import Office
from broker.site import Site
from broker.world import Windows, World
from tests.broker.exchange_worlds import WORK, LedgerExchange, make_world, some_homes

HOMES = 5
HOURS = 40
LAST_OF_PERIOD = datetime.date(2017, 5, 22)
"""A billing period ends with it."""
QUIET_S = 8 * 86_400
SHORT = Windows(retention_s=7_200)


def some_calls(world: World, site: Site, slot: int, orders: list[bytes], random: Random) -> list[Call]:
    """What a broker that knows nothing might send, much of it wrong."""
    key = world.keys.brokers[site.network]
    place = slot - world.first_slot
    calls = []
    side = random.choice(("buy", "sell"))
    for _ in range(random.randint(0, 3)):
        order: dict[str, Any] = {
            "device": random.choice(site.devices),
            "side": side if random.random() < 0.9 else random.choice(("buy", "sell")),
            "slot": slot + random.choice((0, 0, 0, 1, 2, 9)),
            "energy_wh": random.choice((50, 100, 700, 1_500, 3_000, 90_000)),
            "price": random.randint(int(world.feed_in[place]), int(world.retail[place])),
        }
        kind = random.random()
        if kind < 0.6:
            calls.append(Call(key, "market", "place", {**order, "until": random.choice(("gate", "auction"))}))
        elif kind < 0.8:
            device = order.pop("device")
            row = (*order.values(), "gate", True, b"")
            calls.append(Call(key, "market", "place_many", {"device": device, "orders": (row, row)}))
        elif orders:
            calls.append(Call(key, "market", "replace", {"order": random.choice(orders), **order}))
    if orders and random.random() < 0.5:
        calls.append(Call(key, "market", "cancel", {"order": random.choice(orders)}))
    if site.vehicle is not None and slot % 6 == 0:
        bus = random.choice((site.bus, WORK))
        calls.append(Call(key, "identity", "connect", {"device": site.vehicle.device, "bus": bus, "slot": slot + 1}))
    return calls


def test_every_call_every_event_and_the_whole_state_are_the_ledgers() -> None:
    """Checklist 6: the same contract code as on the chain, to the byte: answers, events, calendar, queries, state."""
    homes = some_homes(HOMES, 2, LAST_OF_PERIOD)
    random = Random(7)
    budgets = {f"{home.name}/load": 40 * 10**9 for home in homes.homes}  # so little that some run dry
    world, secret = make_world(homes, budgets, SHORT)
    exchange = LedgerExchange(world, secret)
    office = Office(world, exchange)
    office.work()
    exchange.advance(world.start)
    registers: dict[str, tuple[int, int]] = {}
    orders: dict[str, list[bytes]] = {site.network: [] for site in world.sites}
    codes: set[str] = set()
    for slot in range(world.first_slot, world.first_slot + HOURS):
        at = slot * world.slot_seconds
        exchange.advance(at)
        office.work()
        calls = []
        rows = []
        for site in world.sites:
            for device in site.devices:
                energy = random.randint(0, site.import_w[device] // 4), random.randint(0, site.export_w[device] // 4)
                before = registers.get(device, (0, 0))
                registers[device] = before[0] + energy[0], before[1] + energy[1]
                if random.random() < 0.95:  # some are late for ever, and estimated
                    rows.append(exchange.signed_reading(site, device, slot - 1, energy, registers[device]))
        if slot > world.first_slot:
            calls.append(Call(world.keys.collector, "settlement", "collect", {"rows": tuple(rows)}))
        for minute in (0, 40):
            exchange.advance(at + minute * 60)
            for site in world.sites:
                calls += some_calls(world, site, slot, orders[site.network], random)
            for call, answer in zip(calls, exchange.submit(calls), strict=True):
                codes.add(f"{call.method} {answer.code}")
                network = next(
                    (site.network for site in world.sites if world.keys.brokers[site.network] == call.key), ""
                )
                if answer.code == "ok" and isinstance(answer.result, bytes):
                    orders[network] = [*orders[network][-3:], answer.result]
            calls = []
        for site in world.sites:
            exchange.query("budget", "books", {"network": site.network, "period": world.period_of(slot).number})
            exchange.query("market", "position", {"device": site.load, "slot": slot})
            exchange.query("origin", "slot", {"network": site.network, "slot": slot})
        exchange.query("market", "trades", {"slot": slot})
        exchange.query("market", "prices", {"slot": slot})
        exchange.query("market", "product", {"slot": slot})
    exchange.advance(exchange.now + QUIET_S)  # until readings are deleted as well
    real, local = exchange.states()
    assert len(local) > 2_000
    assert local == real
    topics = {event.topic for event in exchange.all_events}
    assert {"fill", "settled", "origin", "pruned", "tariff", "estimated", "auction"} <= topics
    assert {"period-closed", "rent-returned", "alert", "budget-state"} <= topics
    assert {"place ok", "place_many ok", "replace ok", "cancel ok", "connect ok", "collect ok"} <= codes
    assert {"place over-capacity", "place own-cross", "cancel not-open"} <= codes
