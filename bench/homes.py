"""Homes that trade and meter, slot by slot, on a real ledger in one process: how they live, ``street.py`` and
``month.py`` say."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from random import Random
from typing import Any, Final, TypeAlias

from bench.local_chain import KEY, LocalChain
from chaincode.registry import Registry
from node.model.genesis import Genesis, Member, Token
from node.model.keys import SigningKey

MEMBERS: Final = tuple([SigningKey(bytes(31) + bytes([number])) for number in range(1, 5)])
"""As few as a light client takes."""
SLOT_S: Final = 1_800
SLOTS_PER_DAY: Final = 48
RETAIL: Final = 1_000_000
FEED_IN: Final = 300_000
PLENTY: Final = 10**15
READ_AFTER_S: Final = 180
"""Into a slot, when the meters report the one before."""

Call: TypeAlias = tuple[str, str, dict[str, Any]]


class Homes(LocalChain, ABC):
    """So many homes, one behind the other on ``buses`` buses, each with a device of every kind in ``kinds``: kind to W
    in and out. ``market``: settings beside its tariff; ``members``: who certify blocks."""

    def __init__(
        self,
        homes: int,
        kinds: Mapping[str, tuple[int, int]],
        buses: int,
        period_days: int,
        market: Mapping[str, int],
        members: Sequence[SigningKey],
        registry: Registry | None = None,
    ) -> None:
        self.homes = [f"home-{number}" for number in range(homes)]
        self._registers = {f"{home}/{kind}": [0, 0] for home in self.homes for kind in kinds}
        seats = [Member(f"bench-{number}", member.public_key.hex(), "") for number, member in enumerate(members)]
        contracts: dict[str, dict[str, Any]] = {
            **_places(self.homes, kinds, buses),
            "market": {"tariffs": [[0, RETAIL, FEED_IN]], **market},
            "budget": {"period_slots": period_days * SLOTS_PER_DAY},
        }
        genesis = Genesis(1, "bench", Token("WATT", 9, RETAIL), tuple(seats), 0, 0, 1, contracts)
        super().__init__(genesis, members, registry)

    def fund(self, homes: Iterable[str], period: int, amounts: Mapping[str, int]) -> None:
        """Give these homes tokens for a period, and ``amounts`` of them to their devices, by kind."""
        calls: list[Call] = []
        for home in homes:
            of = {"network": home, "period": period}
            rows = [[f"{home}/{kind}", amount] for kind, amount in amounts.items()]
            calls.append(("budget", "issue", {**of, "amount": PLENTY, "reference": b"bench"}))
            calls.append(("budget", "allocate", {**of, "amounts": rows}))
        self.block(0, *calls)

    def slot(self, slot: int, rng: Random) -> None:
        """They trade in the slot after this one; then all meters report the one before."""
        self.go_to(slot * SLOT_S)
        self.trade(slot, rng)
        if slot:
            readings = [self._reading(device, slot - 1, self.used(device, rng)) for device in self._registers]
            self.block(slot * SLOT_S + READ_AFTER_S, *readings)

    @abstractmethod
    def trade(self, now: int, rng: Random) -> None:
        """The blocks of slot ``now`` with the orders for the next one."""

    @abstractmethod
    def used(self, device: str, rng: Random) -> tuple[int, int]:
        """Wh in and out of a device in a slot."""

    def _reading(self, device: str, slot: int, flows: tuple[int, int]) -> Call:
        registers = self._registers[device]
        registers[:] = [before + flow for before, flow in zip(registers, flows, strict=True)]
        names = ("import_wh", "export_wh", "import_register", "export_register")
        figures = dict(zip(names, (*flows, *registers), strict=True))
        return "settlement", "report", {"device": device, "slot": slot, **figures}


def order(device: str, side: str, slot: int, energy_wh: int, price: int) -> Call:
    """An order in a slot."""
    args = {"device": device, "side": side, "slot": slot, "energy_wh": energy_wh, "price": price}
    return "market", "place", args


def _places(homes: Sequence[str], kinds: Mapping[str, tuple[int, int]], buses: int) -> dict[str, dict[str, Any]]:
    """Who there is, and where: everybody's key is KEY, every bus hangs on the root."""
    lines = [["root", f"bus-{number}", 40, 2_000, None, None] for number in range(buses)]
    key, bus_of = KEY.public_key.hex(), {home: f"bus-{number % buses}" for number, home in enumerate(homes)}
    return {
        "identity": {
            "admins": [key],
            "members": [["utility", key, ["utility", "grid-operator", "aggregator"]]],
            "networks": [[home, "utility", key, bus] for home, bus in bus_of.items()],
            "devices": [
                [f"{home}/{kind}", home, kind, key, key, bus, *powers, False, kind == "pv"]
                for home, bus in bus_of.items()
                for kind, powers in kinds.items()
            ],
        },
        "grid": {"root": "root", "lines": lines},
    }
