"""A street of homes with a load and a PV panel, half of which buy in a slot and half sell: one order each."""

from collections.abc import Sequence
from random import Random
from typing import Final

from bench.homes import FEED_IN, PLENTY, RETAIL, SLOT_S, Call, Homes, order
from bench.local_chain import KEY
from node.model.keys import SigningKey

KINDS: Final = {"load": (10_000, 10_000), "pv": (10_000, 10_000)}
BUSES: Final = 10
FLOW_WH: Final = 300
"""What every device uses, or makes, in every slot."""
PERIOD_DAYS: Final = 30
PERIODS: Final = 3
"""For which the loads have tokens."""
WEEK_S: Final = 7 * 86_400
DISPUTE_S: Final = 86_400


class Street(Homes):
    """``retention_s``: after which a final slot's details go, 0 for never."""

    def __init__(self, homes: int, retention_s: int, members: Sequence[SigningKey] = (KEY,)) -> None:
        market = {"retention_s": retention_s, "dispute_window_s": DISPUTE_S, "outage_s": WEEK_S}
        super().__init__(homes, KINDS, BUSES, PERIOD_DAYS, market, members)
        for period in range(PERIODS):
            self.fund(self.homes, period, {"load": PLENTY})

    def trade(self, now: int, rng: Random) -> None:
        """All orders in one block; the next one clears them."""
        orders: list[Call] = []
        for number, home in enumerate(self.homes):
            kind, side = ("pv", "sell") if (number + now) % 2 else ("load", "buy")
            price = rng.randint(FEED_IN, RETAIL)
            orders.append(order(f"{home}/{kind}", side, now + 1, rng.randint(100, 900), price))
        self.block(now * SLOT_S + 60, *orders)
        self.block(now * SLOT_S + 120)

    def used(self, device: str, rng: Random) -> tuple[int, int]:
        """The same in every slot."""
        return (0, FLOW_WH) if device.endswith("/pv") else (FLOW_WH, 0)
