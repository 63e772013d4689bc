"""Origins of random markets: every generated Wh is claimed once, nothing is lost, no order of devices matters."""

import random
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from chaincode import origin_lots
from chaincode.contract import ContractError
from chaincode.origin_assign import BOUGHT, OWN, UTILITY, Generated, Metered, Origin, assign
from chaincode.origin_lots import Holding, Trade
from chaincode.settlement_netting import net
from tests.chaincode.marketplace import DEVICES, FEED_IN, SLOT_S, key_of, marketplace, tick
from tests.chaincode.world import World

NAMES = ("a/1", "a/2", "a/3", "b/1", "b/2", "c/1")
NETWORKS = ("a", "b", "c")
BUS_OF = {"a/1": "x", "a/2": "x", "a/3": "y", "b/1": "x", "b/2": "x", "c/1": "z"}
MIX = 333
HOMES = ("home-1", "home-2", "home-3")

pairs = st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)).filter(lambda pair: pair[0] != pair[1])
trades_of_a_slot = st.lists(st.tuples(pairs, st.integers(1, 9)), max_size=25).map(
    lambda rows: [(seller, buyer, wh) for (seller, buyer), wh in rows]
)
meters = st.fixed_dictionaries(
    {name: st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40)) for name in NAMES}
)
"""Import, export, and how much of that is renewable (cut to it)."""


def origins(
    trades: list[Trade], metered: dict[str, tuple[int, int, int]]
) -> tuple[dict[str, Holding], dict[str, Generated], dict[str, Origin]]:
    holdings = origin_lots.follow({}, trades)
    generated = {name: Generated(exported, min(green, exported)) for name, (_, exported, green) in metered.items()}
    of_network = {}
    for network in NETWORKS:
        devices = [
            Metered(name, BUS_OF[name], imported, generated[name])
            for name, (imported, _, _) in metered.items()
            if name.startswith(network)
        ]
        of_network[network] = assign(devices, holdings, generated, MIX)
    return holdings, generated, of_network


@given(trades_of_a_slot)
def test_lots_are_what_wh_by_wh_queues_hold(trades: list[Trade]) -> None:
    queues: dict[str, list[tuple[str, int]]] = {name: [] for name in NAMES}
    promised = dict.fromkeys(NAMES, 0)
    for seller, buyer, wh in trades:
        for _ in range(wh):
            if not queues[seller]:
                queues[seller].append((seller, promised[seller]))
                promised[seller] += 1
            queues[buyer].append(queues[seller].pop(0))
    holdings = origin_lots.follow({}, trades)
    for name in NAMES:
        holding = holdings.get(name, origin_lots.NOTHING)
        assert holding.promised_wh == promised[name]
        units = [(lot.source, lot.start + number) for lot in holding.lots for number in range(lot.wh)]
        assert units == queues[name]


@given(trades_of_a_slot, st.integers(0, 25))
def test_trades_may_be_followed_in_parts(trades: list[Trade], cut: int) -> None:
    holdings = origin_lots.follow({}, trades[:cut])
    holdings |= origin_lots.follow(holdings, trades[cut:])
    assert holdings == origin_lots.follow({}, trades)


@settings(max_examples=300)
@given(trades_of_a_slot, meters)
def test_every_wh_is_assigned_once(trades: list[Trade], metered: dict[str, tuple[int, int, int]]) -> None:
    holdings, generated, of_network = origins(trades, metered)
    claimed = {name: [0, 0] for name in NAMES}
    sold = dict.fromkeys(NAMES, 0)
    for origin in of_network.values():
        for name in [row.device for row in origin.given]:
            used = [part for part in origin.used if part.device == name]
            assert sum(part.wh for part in used) == metered[name][0], "all that was imported comes from somewhere"
        for part in origin.used:
            assert part.wh > 0 and 0 <= part.renewable_wh <= part.wh
            if part.how in (BOUGHT, OWN):
                claimed[part.source][0] += part.wh
                claimed[part.source][1] += part.renewable_wh
            assert (part.source == "") == (part.how == UTILITY)
        from_utility = [part for part in origin.used if part.how == UTILITY]
        assert all(part.renewable_wh == part.wh * MIX // 1_000 for part in from_utility)
        for row in origin.given:
            assert row[1:3] == generated[row.device]
            assert row.wh == row.sold_wh + row.shared_wh + row.fed_wh
            assert row.sold_wh == min(row.wh, holdings.get(row.device, origin_lots.NOTHING).promised_wh)
            sold[row.device] = row.sold_wh
    for name in NAMES:
        assert claimed[name][0] <= generated[name].wh
        assert claimed[name][1] <= generated[name].renewable_wh
        # Contracts come first: while a promise is open, nothing is used at home or fed in.
        if sold[name] < holdings.get(name, origin_lots.NOTHING).promised_wh:
            assert sold[name] == generated[name].wh


@settings(max_examples=200)
@given(trades_of_a_slot, meters)
def test_the_utility_gives_no_more_than_it_is_paid_for(
    trades: list[Trade], metered: dict[str, tuple[int, int, int]]
) -> None:
    """What comes from the utility is what settlement buys there, less what covers promises that were not kept."""
    holdings, generated, of_network = origins(trades, metered)
    for network, origin in of_network.items():
        for bus in ("x", "y", "z"):
            here = [name for name in NAMES if name.startswith(network) and BUS_OF[name] == bus]
            deviations = []
            for name in here:
                bought = sum(lot.wh for lot in holdings.get(name, origin_lots.NOTHING).lots)
                contracted = bought - holdings.get(name, origin_lots.NOTHING).promised_wh
                deviations.append((name, metered[name][0] - metered[name][1] - contracted))
            netted = {row.device: row for row in net(deviations)}
            for name in here:
                retail = netted[name].utility_wh if netted[name].deviation_wh > 0 else 0
                broken = max(0, holdings.get(name, origin_lots.NOTHING).promised_wh - generated[name].wh)
                from_utility = sum(part.wh for part in origin.used if part.device == name and part.how == UTILITY)
                assert retail - broken <= from_utility <= retail


@given(trades_of_a_slot, meters, st.randoms(use_true_random=False))
def test_the_order_of_devices_means_nothing(
    trades: list[Trade], metered: dict[str, tuple[int, int, int]], rng: random.Random
) -> None:
    shuffled = dict(rng.sample(sorted(metered.items()), len(metered)))
    assert origins(trades, shuffled)[2] == origins(trades, metered)[2]


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10**6))
def test_on_a_chain_stores_give_out_no_more_than_charged_them(seed: int) -> None:
    """Random slots on the street, every one metered and final; what is provisional at the end is what becomes final."""
    rng = random.Random(seed)
    world = marketplace(mix_permille=MIX, outage_s=10 * 86_400, dispute_window_s=0)
    registers = {name: [0, 0] for name in DEVICES}
    provisional: dict[tuple[str, int], Any] = {}
    for slot in range(6):
        world.next_block(max(world.time, slot * SLOT_S))
        _trade(world, rng, slot + 1)
        world.next_block((slot + 1) * SLOT_S)
        for device in DEVICES:
            wh = (rng.choice((0, 300, 900)), 0) if rng.random() < 0.5 else (0, rng.choice((0, 200, 800)))
            wh = (0, max(wh)) if "pv" in device else (max(wh), 0) if "load" in device else wh
            before, registers[device] = registers[device], [registers[device][0] + wh[0], registers[device][1] + wh[1]]
            names = {"import_register": before[0] + wh[0], "export_register": before[1] + wh[1]}
            args = {"device": device, "slot": slot, "import_wh": wh[0], "export_wh": wh[1], **names}
            world.call(key_of(f"meter {device}"), "settlement", "report", **args)
        for time in (900, 901, 902):
            for network in HOMES:
                row = cast("Any", world.query("origin", "slot", network=network, slot=slot))
                if row[0] and (network, slot) in provisional:
                    assert row[1:] == provisional.pop((network, slot))
                elif not row[0]:
                    provisional[network, slot] = row[1:]
            world.next_block((slot + 1) * SLOT_S + time)
    assert cast("int", world.query("origin", "assigned")) >= 6
    claimed: dict[str, list[int]] = {name: [0, 0] for name in DEVICES}
    charged: dict[str, list[int]] = {name: [0, 0] for name in DEVICES}
    for network, slot in [(network, slot) for slot in range(6) for network in HOMES]:
        final, rows = cast("tuple[bool, Any]", world.query("origin", "lots", network=network, slot=slot))
        assert final
        for device, how, source, wh, renewable_wh in rows:
            charged[device][0] += wh
            charged[device][1] += renewable_wh
            if how in (BOUGHT, OWN):
                claimed[source][0] += wh
                claimed[source][1] += renewable_wh
    for device in DEVICES:
        if "pv" not in device:
            assert claimed[device][1] <= charged[device][1]
        assert claimed[device][0] <= registers[device][1]
        assert charged[device][0] == registers[device][0]
        stored = cast("tuple[int, int]", world.query("origin", "store", device=device))
        assert 0 <= stored[1] <= stored[0] or stored == (0, 0)


def _trade(world: World, rng: random.Random, slot: int) -> None:
    """A few orders, each network on one side, in two ticks."""
    for _ in range(2):
        buys = {f"home-{number}": rng.random() < 0.5 for number in (1, 2, 3)}
        for device in rng.sample(sorted(DEVICES), 4):
            side = "buy" if buys[device[:6]] else "sell"
            price = rng.choice((60, 90)) if side == "buy" else rng.choice((FEED_IN, 40))
            args = {
                "device": device,
                "side": side,
                "slot": slot,
                "energy_wh": rng.choice((100, 400, 700)),
                "price": price,
            }
            try:
                world.call(key_of(device), "market", "place", **args, until="auction")
            except ContractError as error:
                assert error.code in ("over-capacity", "own-cross"), error
        tick(world)
