"""What a store can take and give in a slot, in whole Wh. Of what it takes, ``efficiency_permille`` is kept."""

from broker.site import Site
from broker.view import VehicleOutlook


def stored(level_wh: int, flow_wh: int, efficiency_permille: int) -> int:
    """The level after ``flow_wh`` at the plug: taken positive, given negative."""
    return level_wh + (flow_wh * efficiency_permille // 1000 if flow_wh > 0 else flow_wh)


def room(level_wh: int, capacity_wh: int, most_wh: int, efficiency_permille: int) -> int:
    """The most that can be taken at the plug."""
    if efficiency_permille <= 0:
        return 0
    return max(0, min(most_wh, (capacity_wh - level_wh) * 1000 // efficiency_permille))


def spare(level_wh: int, least_wh: int, most_wh: int) -> int:
    """The most that can be given without going below ``least_wh``."""
    return max(0, min(most_wh, level_wh - least_wh))


def limit_wh(site: Site, device: str, *, way_in: bool) -> int:
    """What the ledger lets ``device`` move in a slot."""
    return site.slot_wh((site.import_w if way_in else site.export_w).get(device, 0))


def next_need(outlook: VehicleOutlook, index: int) -> int:
    """What is to be in the vehicle for its next trip after slot ``index``: below it nothing is given."""
    return next((least for least in outlook.least_wh[index + 1 :] if least > 0), 0)


def next_needs(outlook: VehicleOutlook) -> list[int]:
    """``next_need`` after each slot."""
    needs, need = [], 0
    for least in reversed(outlook.least_wh):
        needs.append(need)
        need = least if least > 0 else need
    return needs[::-1]
