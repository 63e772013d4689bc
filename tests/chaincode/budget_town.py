"""Two companies with shops, their devices, and a market among them: for whole lives of budgets.

The chain has two networks, refrigeration and ventilation, the bakery one; the street is t - a - b. Slots of half an
hour, periods of four; retail 100, feed-in 20. An auditor reads everything that is told.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from chaincode import budget_calendar
from chaincode.contract import Context, Value
from chaincode.registry import default_registry
from node.model.codec import sha256
from tests.chaincode import marketplace
from tests.chaincode.budget_auditor import Auditor
from tests.chaincode.marketplace import SLOT_S, UTILITY, key_of
from tests.chaincode.world import World

PERIOD_SLOTS: Final = 4
MEMBER_OF: Final = {"cold": "chain", "air": "chain", "oven": "bakery"}
NETWORKS: Final = tuple(MEMBER_OF)
MEMBERS: Final = ("chain", "bakery")
# device: (network, kind, bus, import W, export W)
DEVICES: Final = {
    "cold/load-1": ("cold", "load", "a", 4_000, 0),
    "cold/load-2": ("cold", "load", "a", 4_000, 0),
    "cold/ev": ("cold", "ev", "b", 4_000, 4_000),
    "air/load-1": ("air", "load", "b", 4_000, 0),
    "air/load-2": ("air", "load", "b", 4_000, 0),
    "air/pv": ("air", "pv", "a", 0, 4_000),
    "oven/load": ("oven", "load", "a", 4_000, 0),
    "oven/pv": ("oven", "pv", "b", 0, 4_000),
}
CRITICAL: Final = "cold/load-1"
NETWORK_OF: Final = {device: row[0] for device, row in DEVICES.items()}


class BudgetTown(World):
    """A world whose auditor reads along. ``seed``: of what the meters say."""

    def __init__(self, seed: int, **market: Value) -> None:
        self.auditor = Auditor(NETWORK_OF, MEMBER_OF)
        self.seed = seed
        super().__init__(default_registry(), town_settings(market))

    @contextmanager
    def transaction(self, sender: bytes = b"") -> Iterator[Context]:
        told = len(self.events)
        with super().transaction(sender) as ctx:
            yield ctx
        self.auditor.read(self.events[told:], self.time // SLOT_S)

    @property
    def slot(self) -> int:
        """The one under way."""
        return self.time // SLOT_S

    def period(self, network: str, ahead: int = 0) -> int:
        """The period of ``network`` that is under way, or a later one."""
        with super().transaction() as ctx:
            return max(budget_calendar.period_of(ctx, network, self.slot) + ahead, 0)

    def company_period(self, member: str, ahead: int = 0) -> int:
        """The same of a company."""
        with super().transaction() as ctx:
            return budget_calendar.company_period_of(ctx, member, self.slot) + ahead

    def plan(self, lengths: tuple[int, ...], alone: str) -> None:
        """The chain gets a calendar of its own, and the network ``alone`` another one; on to the day they begin."""
        first = 60
        args: dict[str, Any] = {"first_slot": first, "lengths": lengths}
        self.call(key_of("chain"), "periods", "plan_company", member="chain", **args)
        args["lengths"] = (*lengths[1:], PERIOD_SLOTS + 1)
        self.call(key_of(alone), "periods", "plan", network=alone, **args)
        self.go_to(first * SLOT_S)

    def go_to(self, time: int) -> None:
        """All blocks that the calendar asks for until then, and one then."""
        while (due := self.next_event()) is not None and due < time:
            self.next_block(max(due, self.time))
        self.next_block(time)

    def audit(self) -> None:
        """The ledger's books are the auditor's."""
        with self.transaction() as ctx:
            self.auditor.check(ctx)

    def metered(self, device: str, slot: int) -> dict[str, int]:
        """What the device's meter says of a slot: Wh and registers."""
        _, _, _, import_w, export_w = DEVICES[device]
        imported = exported = 0
        for each in range(slot + 1):
            figure = sha256(b"%d %d" % (self.seed, each), device.encode())
            wh = figure[0] * 4 if import_w else 0, figure[1] * 6 if export_w else 0
            imported, exported = imported + wh[0], exported + wh[1]
        return {"import_wh": wh[0], "export_wh": wh[1], "import_register": imported, "export_register": exported}

    def fund(self, network: str, period: int, amount: int, reference: bytes) -> None:
        """Issue ``amount`` for each device of a network, and allocate three quarters of it."""
        own = [device for device, owner in NETWORK_OF.items() if owner == network]
        money = {"network": network, "period": period}
        self.call(UTILITY, "budget", "issue", **money, amount=amount * len(own), reference=reference)
        amounts = tuple((device, amount * 3 // 4) for device in own)
        self.call(key_of(network), "budget", "allocate", **money, amounts=amounts)


def town_settings(market: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The genesis settings; ``market``: those that differ."""
    lines = (("t", "a", 100, 5, None, None), ("a", "b", 100, 7, 900, 600))
    parts = marketplace.settings(DEVICES, lines, **market)
    identity = parts["identity"]
    identity["members"] += tuple((name, key_of(name).hex(), ()) for name in MEMBERS)
    identity["networks"] = tuple((row[0], MEMBER_OF[row[0]], *row[2:]) for row in identity["networks"])
    identity["devices"] = tuple((*row[:8], row[0] == CRITICAL, row[9]) for row in identity["devices"])
    parts["budget"] = {"period_slots": PERIOD_SLOTS}
    return parts
