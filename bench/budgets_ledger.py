"""How much of the ledger a device's budget takes in a month: a reading a slot, and some orders a day."""

from random import Random
from typing import Any, Final

from bench.budgets_town import FEED_IN, RETAIL, SLOT_S, Town
from node.ledger import layout

DAY_SLOTS: Final = 48
MONTH_DAYS: Final = 30
ORDERS_OF_A_DAY: Final = 6
WH: Final = 300
FAMILIES: Final = {
    "blocks": (layout.HEADER, layout.BODY, layout.CERTIFICATE, layout.RESULTS, layout.BOUNDARY),
    "index": (layout.TRANSACTION, layout.NODE, layout.CHANGED),
    "state": (layout.STATE,),
}
"""``index``: where each transaction is, and the Merkle tree over the state."""


def measure_ledger(days: int, networks: int = 5, devices: int = 8) -> dict[str, Any]:
    """Bytes of keys and values that a device adds in 30 days, from what ``days`` added; details are kept for ever."""
    town = Town(networks, devices, days * DAY_SLOTS)
    town.fund(0, 0, dict.fromkeys(town.devices, days * DAY_SLOTS * WH * RETAIL))
    before, rng = _sizes(town), Random(1)
    for slot in range(days * DAY_SLOTS):
        town.go_to(slot * SLOT_S)
        _slot(town, slot, rng)
    town.go_to(days * DAY_SLOTS * SLOT_S)
    count = len(town.devices) * days
    after = _sizes(town)
    added = {name: (after[name] - before[name]) * MONTH_DAYS // count for name in FAMILIES}
    return {"devices": len(town.devices), "days": days, **{f"{name}_bytes": size for name, size in added.items()}}


def _slot(town: Town, slot: int, rng: Random) -> None:
    """Some devices want energy in the next slot; then all meters report the slot before."""
    orders, readings = [], []
    for device in town.devices:
        if rng.randrange(DAY_SLOTS) < ORDERS_OF_A_DAY:
            wanted = {"slot": slot + 1, "energy_wh": WH, "price": rng.randint(FEED_IN, RETAIL)}
            orders.append(("market", "place", {"device": device, "side": "buy", **wanted}))
        if slot:
            figures = {"import_wh": WH, "export_wh": 0, "import_register": WH * slot, "export_register": 0}
            readings.append(("settlement", "report", {"device": device, "slot": slot - 1, **figures}))
    town.blocks(slot * SLOT_S + 60, orders)
    town.blocks(slot * SLOT_S + 180, readings)


def _sizes(town: Town) -> dict[str, int]:
    """Bytes on the ledger, by what they are."""
    return {
        name: sum(
            len(key) + len(value)
            for family in families
            for key, value in town.store.scan(family, layout.after_prefix(family))
        )
        for name, families in FAMILIES.items()
    }
