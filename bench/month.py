"""A billing period of homes with a load, a PV panel, a battery and a car each, which trade in nearly every slot."""

from collections.abc import Sequence
from random import Random
from typing import Final

from bench.homes import FEED_IN, MEMBERS, RETAIL, SLOT_S, SLOTS_PER_DAY, Call, Homes, order
from chaincode.registry import Registry
from node.model.keys import SigningKey

KINDS: Final = {"load": (10_000, 0), "pv": (0, 10_000), "battery": (5_000, 5_000), "ev": (8_000, 8_000)}
FINAL_S: Final = 8 * 86_400
"""After the last slot's end: its windows are over, and the origin of what was used in it is known for good."""
TRADES_PERCENT: Final = 90
"""How often a device that may trade in a slot does."""
AUCTIONS: Final = 2
"""In which a slot's orders come."""


class Month(Homes):
    """So many homes, a bus each, for a period of so many days."""

    def __init__(
        self, homes: int, days: int, members: Sequence[SigningKey] = MEMBERS, registry: Registry | None = None
    ) -> None:
        super().__init__(homes, KINDS, homes, days, {"outage_s": FINAL_S}, members, registry)
        self._slots = days * SLOTS_PER_DAY
        for home in self.homes:
            self.fund((home,), 0, dict.fromkeys(KINDS, 10**14))

    def live(self) -> int:
        """All slots of the period, drawn from one seed; how many they are."""
        rng = Random(1)
        for slot in range(self._slots + 1):
            self.slot(slot, rng)
        return self._slots

    def trade(self, now: int, rng: Random) -> None:
        """Orders for the next slot, if it is one of the period, come in two auctions."""
        for part in range(AUCTIONS) if now + 1 < self._slots else ():
            self.block(now * SLOT_S + 60 * part, *self._orders(now + 1, part, rng))
            self.go_to(now * SLOT_S + 60 * part + 30)

    def _orders(self, slot: int, part: int, rng: Random) -> list[Call]:
        """Half of the homes buy in a slot and half sell."""
        orders = []
        for number, home in enumerate(self.homes):
            side, column = ("sell", 1) if (number + slot) % 2 else ("buy", 0)
            for kind, powers in KINDS.items():
                if powers[column] and rng.randrange(100) < TRADES_PERCENT and rng.randrange(AUCTIONS) == part:
                    energy_wh, price = rng.randint(100, 2_000), rng.randint(FEED_IN, RETAIL)
                    orders.append(order(f"{home}/{kind}", side, slot, energy_wh, price))
        return orders

    def used(self, device: str, rng: Random) -> tuple[int, int]:
        """One way in a slot, at most half of what the device can."""
        most = KINDS[device.partition("/")[2]]
        flows = [rng.randint(0, min(power // 2, 1_500)) for power in most]
        if all(flows):
            flows[rng.randrange(2)] = 0
        return flows[0], flows[1]
