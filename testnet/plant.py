"""The physics of a home for one slot: what its panels, appliances, EV and battery do, given what it has contracted.

Pure integers. The load and the sun are the measured ones. The rest follows fixed rules, such as a home's energy
box would follow without asking anybody, so that nothing but the ledger tells the devices what to do:

- The EV takes what it has bought, then what the home has left over, and whatever the outcome it takes as much as it
  must to leave in time.
- The battery holds the home at its contracted position: it stores what would be left over and gives what would be
  missing, as far as its power and charge go. While the utility is cheapest (night) it gives only what it has sold.
"""

from collections.abc import Mapping
from typing import NamedTuple

from testnet.community import Home

KINDS = ("load", "pv", "battery", "ev")


class Plant(NamedTuple):
    """What changes from slot to slot: the charge of the battery, and what the EV still needs today."""

    battery_wh: int
    ev_need_wh: int


class Flow(NamedTuple):
    """What a device's meter counts in one slot, in Wh."""

    import_wh: int
    export_wh: int


def first_plant(home: Home) -> Plant:
    """The home at midnight."""
    return Plant(home.battery.initial_wh, home.ev.need_wh)


def run_slot(
    home: Home, plant: Plant, index: int, contracts: Mapping[str, int], cheapest: bool, slot_seconds: int
) -> tuple[Plant, dict[str, Flow]]:
    """Slot ``index`` (0 to 47) of the day. ``contracts``: Wh bought minus sold by kind of device; ``cheapest``: the
    utility's price is at its lowest of the day. Returns the plant after it and the flow of each kind of device."""
    load, sun = home.load_wh[index], home.sun_wh[index]
    short = load - sun - sum(wh for kind, wh in contracts.items() if kind != "battery")
    ev = _charge_ev(home, plant, index, contracts.get("ev", 0), short, slot_seconds)
    short += ev
    stored, given = _move_battery(home, plant, contracts.get("battery", 0) - short, cheapest, contracts, slot_seconds)
    level = plant.battery_wh + stored * home.battery.efficiency_permille // 1000 - given
    flows = {"load": Flow(load, 0), "pv": Flow(0, sun), "battery": Flow(stored, given), "ev": Flow(ev, 0)}
    return Plant(level, plant.ev_need_wh - ev), flows


def _charge_ev(home: Home, plant: Plant, index: int, contract: int, short: int, slot_seconds: int) -> int:
    """What the EV takes. ``short``: what the home lacks before it, after all its contracts."""
    if not home.ev.first_slot <= index < home.ev.departure_slot:
        return 0
    most = home.ev.power_w * slot_seconds // 3600
    must = plant.ev_need_wh - most * (home.ev.departure_slot - index - 1)
    wish = max(contract, must, -short)
    return max(0, min(wish, most, plant.ev_need_wh))


def _move_battery(
    home: Home, plant: Plant, target: int, cheapest: bool, contracts: Mapping[str, int], slot_seconds: int
) -> tuple[int, int]:
    """(stored, given) as near ``target`` as it can; ``target`` positive: store."""
    if target < 0 and cheapest:
        target = max(target, min(0, contracts.get("battery", 0)))
    most = home.battery.power_w * slot_seconds // 3600
    room = (home.battery.capacity_wh - plant.battery_wh) * 1000 // home.battery.efficiency_permille
    return max(0, min(target, most, room)), max(0, min(-target, most, plant.battery_wh))
