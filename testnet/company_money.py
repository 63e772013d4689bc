"""The company's money before the month begins: tariffs, and what each network and device is given. All is assumed.

A network's *expected* cost is what its devices took in the four weeks before, at the tariff of the time of day, for as
many days as the period has. Its budget is a stated part of that (``permille_of``), which the owner's policy divides:
fixed amounts of ``FIRST_PERMILLE`` of it, or as much as each device is expected to spend, or equally while there is no
history. What that leaves stays in the pool, and helps where it is needed.
"""

from typing import Any, Final

from chaincode.budget_policy import FIXED, FORECAST, HISTORY, REDEEM, RETURN, SELL
from testnet.company_data import HOURS
from testnet.company_plan import CHARGERS, DAYS_BEFORE, HVAC, LIGHTING, REFRIGERATION, DevicePlan, NetworkPlan

TARIFFS: Final = (
    (0, 800_000, 400_000),
    (7 * 3600, 1_000_000, 400_000),
    (16 * 3600, 1_500_000, 400_000),
    (21 * 3600, 800_000, 400_000),
)
"""(second of the day from which it holds, retail, feed-in), base units per Wh: night, day and evening peak."""

TIGHT_SHOPS: Final = (3, 6, 9, 12)
"""Their HVAC has what the spring took; the others' was budgeted for a hot summer."""
TIGHT_PERMILLE: Final = 1_050
SPARE_PERMILLE: Final = 1_800
POOR_CHARGERS: Final = 5
"""The shop whose chargers have too little on purpose."""
PERMILLE: Final = {REFRIGERATION: 1_100, LIGHTING: 1_080, CHARGERS: 1_100}
POOR_PERMILLE: Final = 850
NEIGHBOUR_PERMILLE: Final = 950
"""It buys tokens."""
FIRST_PERMILLE: Final = 850
"""Of a budget, where the owner has fixed the devices' amounts."""
RESERVE_PERMILLE: Final = 30
"""What the company keeps for the middle of the month, of all networks' budgets."""
CARRY_PERMILLE: Final = 100
"""At the end at most so much of a network's budget is carried over, once."""

RULES: Final = {REFRIGERATION: FIXED, LIGHTING: FORECAST, CHARGERS: HISTORY}
EXCESS: Final = {HVAC: RETURN, REFRIGERATION: REDEEM, LIGHTING: RETURN, CHARGERS: RETURN}


def retail(hour: int) -> int:
    """The utility's price in an hour of the day."""
    return next(price for second, price, _ in reversed(TARIFFS) if second <= hour * 3600)


def cost(device: DevicePlan, days: int) -> int:
    """What a device is expected to spend in so many days, base units."""
    return sum(max(0, wh) * retail(hour % HOURS) for hour, wh in enumerate(device.before_wh)) * days // DAYS_BEFORE


def due(network: NetworkPlan) -> int:
    """What its devices take in the period at the utility's tariffs, without any trade, base units."""
    return sum(max(0, wh) * retail(hour % HOURS) for device in network.devices for hour, wh in enumerate(device.wh))


def permille_of(network: NetworkPlan) -> int:
    """Its budget, of what it is expected to spend."""
    if not network.shop:
        return NEIGHBOUR_PERMILLE
    if network.kind == HVAC:
        return TIGHT_PERMILLE if network.shop in TIGHT_SHOPS else SPARE_PERMILLE
    if network.kind == CHARGERS and network.shop == POOR_CHARGERS:
        return POOR_PERMILLE
    return PERMILLE[network.kind]


def budget_of(network: NetworkPlan, days: int) -> int:
    """What a network gets for the period, base units."""
    return sum(cost(device, days) for device in network.devices) * permille_of(network) // 1000


def rule_of(network: NetworkPlan) -> str:
    """How the owner divides a network's budget. HVAC: in every other shop the units get equal parts, as if the owner
    knew nothing of staging; in the others by forecast."""
    if network.kind == HVAC:
        return FIXED if network.shop % 2 else FORECAST
    return RULES[network.kind]


def policy_of(network: NetworkPlan, days: int, sale: int = 0) -> dict[str, Any]:
    """The arguments of ``budget.set_policy``; with ``sale``, what is left is sold under that agreement.

    Cooling units are asked for help the last ones first, the cold room keeps a tenth of its amount in any case, and
    no charger of the shop that has too few tokens may draw more than a quarter of the whole.
    """
    budget = budget_of(network, days)
    first = budget * FIRST_PERMILLE // 1000
    return {
        "network": network.id,
        "pool_helps": True,
        "carry_cap": budget * CARRY_PERMILLE // 1000,
        "carry_periods": 1,
        "excess": SELL if sale else EXCESS[network.kind],
        "sale": sale,
        "allocation": rule_of(network),
        "devices": tuple(_terms(network, index, first, days) for index in range(len(network.devices))),
    }


def _terms(network: NetworkPlan, index: int, first: int, days: int) -> tuple[Any, ...]:
    """(device, rank, floor, gives, limit, amount, share)"""
    device, count = network.devices[index], len(network.devices)
    is_fixed = rule_of(network) == FIXED
    amount = floor = 0
    if is_fixed and network.kind == HVAC:
        amount = first // count
    elif is_fixed:
        amount = cost(device, days) * permille_of(network) // 1000 * FIRST_PERMILLE // 1000
    if device.id.endswith("cold-room"):
        floor = amount // 10
    is_poor = network.kind == CHARGERS and network.shop == POOR_CHARGERS
    limit = budget_quarter(network, days) if is_poor else None
    return device.id, 1 + count - index, floor, True, limit, amount, 0


def budget_quarter(network: NetworkPlan, days: int) -> int:
    """A quarter of a network's budget."""
    return budget_of(network, days) // 4
