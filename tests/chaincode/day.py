"""What a random day is made of: a street, its money, and what people there may want. For ``test_market_days``."""

from typing import Any

from hypothesis import strategies as st

from chaincode.registry import default_registry
from tests.chaincode import meters
from tests.chaincode.marketplace import FEED_IN, RETAIL, SLOT_S, TICK_S, UTILITY, key_of, settings
from tests.chaincode.town import NAMES, admin, key, pem
from tests.chaincode.world import World

BUSES = ("t", "a", "b", "c")
NETWORKS = ("n1", "n2", "n3")
PERIOD_SLOTS, PERIODS = 4, 40
CAPACITY_W = 4_000
DEVICES = tuple(f"{network}/{kind}" for network in NETWORKS for kind in ("ev", "pv"))

limit_w = st.one_of(st.none(), st.sampled_from([0, 200, 1_000, 4_000]))
lines = st.tuples(
    *[
        st.tuples(
            st.sampled_from(BUSES[:child]), st.just(BUSES[child]), st.just(100), st.integers(0, 15), limit_w, limit_w
        )
        for child in range(1, len(BUSES))
    ]
)
energies = st.sampled_from(range(40, 1_500))
limits = st.one_of(st.integers(FEED_IN, RETAIL), st.sampled_from([40, 60, 80]))
orders = st.tuples(st.sampled_from(DEVICES), energies, limits, st.booleans(), st.integers(0, 9))
untils = st.sampled_from(["gate", "gate", "auction"])
references = st.sampled_from([b"", b"", b"1", b"2"])
changes = st.sampled_from(
    [
        {"internal_permille": 500}, {"internal_permille": 0}, {"tick_s": 0}, {"tick_s": 30}, {"outage_s": 60},
        {"gate_before_end_s": 900}, {"metering_window_s": 3 * SLOT_S}, {"dispute_window_s": 900}, {"max_estimates": 1},
        {"open_before_s": 2 * SLOT_S}, {"open_before_s": 4 * SLOT_S}, {"mix_permille": 300},
        {"tariffs": ((0, RETAIL + 20, FEED_IN), (7_200, RETAIL, FEED_IN + 5))},
    ]
)  # fmt: skip
markets = st.fixed_dictionaries(
    {
        "tick_s": st.sampled_from([0, TICK_S]),
        "gate_before_end_s": st.sampled_from([0, 600, SLOT_S + 600]),
        "metering_window_s": st.sampled_from([900, 2 * SLOT_S]),
        "dispute_window_s": st.sampled_from([1800, 5 * SLOT_S]),
        "retention_s": st.sampled_from([0, 0, 2 * SLOT_S]),
        "outage_s": st.sampled_from([300, 100 * SLOT_S]),
        "internal_permille": st.sampled_from([0, 400]),
        "max_estimates": st.sampled_from([0, 2, 48]),
    }
)


def street(buses: list[str], grid: tuple[Any, ...], market: dict[str, Any], allocated: int) -> World:
    """A world at time 0: three homes with two devices each, and ``allocated`` to each of these in each period."""
    world = World(default_registry(), _genesis(buses, grid, market))
    for period in range(PERIODS):
        for network in NETWORKS:
            own = [device for device in DEVICES if device[:2] == network]
            money = {"network": network, "period": period}
            world.call(UTILITY, "budget", "issue", **money, amount=allocated * 2, reference=b"start")
            amounts = tuple((device, allocated) for device in own)
            world.call(key_of(network), "budget", "allocate", **money, amounts=amounts)
    return world


def _genesis(buses: list[str], grid: tuple[Any, ...], market: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Meters that can sign, a feeder's meter, and validators whose admins change the rules."""
    devices = {
        device: (device[:2], device[3:], bus, CAPACITY_W, CAPACITY_W)
        for device, bus in zip(DEVICES, buses, strict=True)
    }
    parts = settings(devices, grid, **market)
    rows = parts["identity"]["devices"]
    parts["identity"]["devices"] = tuple((*row[:4], meters.meter(row[0]).public_key.hex(), *row[5:]) for row in rows)
    parts["grid"]["feeder_meter"] = meters.FEEDER_KEY.hex()
    parts["budget"]["period_slots"] = PERIOD_SLOTS
    parts["governance"] = {
        "validators": tuple((name, key(name).hex(), pem(name)) for name in NAMES),
        "admins": tuple((name, admin(name).hex()) for name in NAMES),
    }
    return parts
