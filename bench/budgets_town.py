"""Networks with many devices on a real ledger in one process, for the figures of budgets.

Loads only, all on one bus: what is measured is money, not trade. Slots of half an hour; one key owns every network and
meters every device, and is the utility.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any, Final

from bench.local_chain import KEY, LocalChain
from chaincode.contract import Context
from node.model.codec import sha256
from node.model.genesis import Genesis, Member, Token
from node.model.keys import verify

SLOT_S: Final = 1_800
RETAIL: Final = 1_000_000
FEED_IN: Final = 300_000
METERED_BY_S: Final = 900
DISPUTE_S: Final = 900
CALLS_OF_A_BLOCK: Final = 256
STEPS: Final = 10**9
METERS_OF_A_KEY: Final = 3_000

Call = tuple[str, str, dict[str, Any]]


class Town(LocalChain):
    """``networks`` with ``devices`` loads each, on one bus or, not ``connected``, nowhere; ``period_slots`` slots make
    a billing period.
    """

    def __init__(self, networks: int, devices: int, period_slots: int, connected: bool = True) -> None:
        self.networks = [f"net-{number}" for number in range(networks)]
        self.devices_of = {network: [f"{network}/{number}" for number in range(devices)] for network in self.networks}
        super().__init__(_genesis(self.devices_of, period_slots, connected))
        self._references = count(1)

    @property
    def devices(self) -> list[str]:
        """All of them."""
        return [device for own in self.devices_of.values() for device in own]

    def fund(self, at: int, period: int, amounts: dict[str, int], spare: int = 0) -> None:
        """Issue each network what its devices are to have, and ``spare`` for its pool, and allocate it."""
        for network, own in self.devices_of.items():
            wanted = [(device, amounts[device]) for device in own if amounts.get(device)]
            of = {"network": network, "period": period}
            issued = sum(amount for _, amount in wanted) + spare
            calls: list[Call] = []
            if issued:
                calls.append(("budget", "issue", {**of, "amount": issued, "reference": b"%d" % next(self._references)}))
            if wanted:
                calls.append(("budget", "allocate", {**of, "amounts": wanted}))
            self.blocks(at, calls)

    def blocks(self, at: int, calls: Sequence[Call]) -> None:
        """As many blocks as it takes; all calls have to succeed."""
        for start in range(0, len(calls), CALLS_OF_A_BLOCK):
            self.block(at, *calls[start : start + CALLS_OF_A_BLOCK])
            receipts = self.ledger.receipts(self.ledger.head.height)
            refused = [receipt.code for receipt in receipts if receipt.code != "ok"]
            if refused:
                raise RuntimeError(f"refused: {refused[0]}")

    @contextmanager
    def context(self, at: int) -> Iterator[Context]:
        """The state after the head block, as a block at ``at`` sees it; what is written is forgotten."""
        overlay = self.ledger.state.overlay()
        overlay.begin()
        head = self.ledger.head
        yield Context(
            overlay,
            chain=self.genesis.chain,
            height=head.height + 1,
            time=at,
            previous_time=head.time,
            sender=b"",
            tx_id=bytes(32),
            step_limit=STEPS,
            verifier=verify,
        )


def _genesis(devices_of: dict[str, list[str]], period_slots: int, connected: bool) -> Genesis:
    key = KEY.public_key.hex()
    contracts: dict[str, dict[str, Any]] = {
        "identity": {
            "admins": [key],
            "members": [["utility", key, ["utility", "grid-operator", "aggregator"]]],
            "networks": [[network, "utility", key, "root"] for network in devices_of],
            "devices": _device_rows(devices_of, "root" if connected else None),
        },
        "grid": {"root": "root", "lines": []},
        "market": {
            "tariffs": [[0, RETAIL, FEED_IN]],
            "slot_seconds": SLOT_S,
            "metering_window_s": METERED_BY_S,
            "dispute_window_s": DISPUTE_S,
            "outage_s": 30 * 86_400,
        },
        "budget": {"period_slots": period_slots},
    }
    return Genesis(1, "bench", Token("WATT", 9, RETAIL), (Member("bench", key, ""),), 0, 0, 1, contracts)


def _device_rows(devices_of: dict[str, list[str]], bus: str | None) -> list[list[Any]]:
    """Too many devices for one key to meter have meters of their own, which say nothing here."""
    count = sum(map(len, devices_of.values()))
    rows: list[list[Any]] = []
    for network, own in devices_of.items():
        for device in own:
            meter = KEY.public_key if count <= METERS_OF_A_KEY else sha256(b"meter", device.encode())
            keys = sha256(device.encode()).hex(), meter.hex()
            rows.append([device, network, "load", *keys, bus, 10_000, 0, False, False])
    return rows
