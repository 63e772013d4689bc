"""Homes that trade and meter for a billing period on a real ledger, in one process; a node that counts its answers."""

import time
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, Final, TypeVar

from bench.local_chain import KEY, LocalChain
from chaincode.contract import ContractError
from chaincode.registry import Registry
from node.errors import RefusedError
from node.gateway.answers import evidence_of, put_reads
from node.gateway.client import Evidence
from node.limits import QUERY_ROWS, QUERY_STEPS
from node.model.block import encode_header
from node.model.certificate import encode_certificate
from node.model.codec import Value, encode
from node.model.genesis import Genesis, Member
from node.model.genesis import Token as GenesisToken
from node.model.keys import SigningKey
from protos import gateway_pb2 as pb

MEMBERS: Final = tuple([SigningKey(bytes(31) + bytes([number])) for number in range(1, 5)])
"""As few as a light client takes."""
SLOT_S: Final = 1_800
SLOTS_PER_DAY: Final = 48
RETAIL: Final = 1_000_000
FEED_IN: Final = 300_000
FINAL_S: Final = 8 * 86_400
"""After the last slot's end: its windows are over, and the origin of what was used in it is known for good."""
DEVICES: Final = {"load": (10_000, 0), "pv": (0, 10_000), "battery": (5_000, 5_000), "ev": (8_000, 8_000)}
"""W in and out."""
TRADES_PERCENT: Final = 90
"""How often a device that may trade in a slot does."""

T = TypeVar("T")


class Month(LocalChain):
    """So many homes on a line of buses, half of which buy in a slot and half sell."""

    def __init__(
        self, homes: int, days: int, members: Sequence[SigningKey] = MEMBERS, registry: Registry | None = None
    ) -> None:
        self.homes = [f"home-{number}" for number in range(homes)]
        self._registers = {f"{home}/{kind}": [0, 0] for home in self.homes for kind in DEVICES}
        super().__init__(_genesis(self.homes, days, members), members, registry)
        for home in self.homes:
            of = {"network": home, "period": 0}
            amounts = [[f"{home}/{kind}", 10**14] for kind in DEVICES]
            self.block(
                0,
                ("budget", "issue", {**of, "amount": 10**15, "reference": b"bench"}),
                ("budget", "allocate", {**of, "amounts": amounts}),
            )

    def live(self, days: int) -> int:
        """All slots of the period, drawn from one seed; how many they are."""
        rng, slots = Random(1), days * SLOTS_PER_DAY
        for slot in range(slots + 1):
            self._slot(slot, slots - 1, rng)
        return slots

    def _slot(self, slot: int, last: int, rng: Random) -> None:
        """Orders of the next slot come in two auctions; then all meters report the slot before."""
        self.go_to(slot * SLOT_S)
        for part in range(2) if slot < last else ():
            self.block(slot * SLOT_S + 60 * part, *self._orders(slot + 1, part, rng))
            self.go_to(slot * SLOT_S + 60 * part + 30)
        if slot:
            self.block(slot * SLOT_S + 180, *[self._reading(device, slot - 1, rng) for device in self._registers])

    def _orders(self, slot: int, part: int, rng: Random) -> list[tuple[str, str, dict[str, Any]]]:
        orders = []
        for number, home in enumerate(self.homes):
            side, column = ("sell", 1) if (number + slot) % 2 else ("buy", 0)
            for kind, powers in DEVICES.items():
                if powers[column] and rng.randrange(100) < TRADES_PERCENT and rng.randrange(2) == part:
                    wanted = {"energy_wh": rng.randint(100, 2_000), "price": rng.randint(FEED_IN, RETAIL)}
                    orders.append(
                        ("market", "place", {"device": f"{home}/{kind}", "side": side, "slot": slot, **wanted})
                    )
        return orders

    def _reading(self, device: str, slot: int, rng: Random) -> tuple[str, str, dict[str, Any]]:
        import_w, export_w = DEVICES[device.partition("/")[2]]
        flows = [rng.randint(0, min(most // 2, 1_500)) for most in (import_w, export_w)]
        if all(flows):
            flows[rng.randrange(2)] = 0
        registers = self._registers[device]
        registers[:] = [before + flow for before, flow in zip(registers, flows, strict=True)]
        names = ("import_wh", "export_wh", "import_register", "export_register")
        figures = dict(zip(names, (*flows, *registers), strict=True))
        return "settlement", "report", {"device": device, "slot": slot, **figures}


class CountedNode:
    """What a client asks of a node, answered in this process with a node's bounds, and counted."""

    def __init__(self, chain: LocalChain) -> None:
        self._chain = chain
        self.queries = self.entries = self.bytes = self.largest = 0
        self.all_s = self.slowest_s = 0.0

    async def boundaries(self, first: int) -> tuple[bytes, ...]:
        return ()

    async def query(self, contract: str, method: str, args: Mapping[str, Any]) -> Value:
        return self._timed(lambda: self._plain(contract, method, args))

    async def query_evidence(self, contract: str, method: str, args: Mapping[str, Any] | None) -> Evidence:
        return self._timed(lambda: self._proven(contract, method, args or {}))

    def _plain(self, contract: str, method: str, args: Mapping[str, Any]) -> Value:
        value = self._chain.executor.query(contract, method, args, steps=QUERY_STEPS, rows=QUERY_ROWS)
        self._count(len(encode(value)))
        return value

    def _proven(self, contract: str, method: str, args: Mapping[str, Any]) -> Evidence:
        ledger = self._chain.ledger
        value, reads = self._chain.executor.query_proven(contract, method, args, steps=QUERY_STEPS, rows=QUERY_ROWS)
        assert ledger.head_certificate is not None, "no block"
        header, certificate = encode_header(ledger.head), encode_certificate(ledger.head_certificate)
        self.entries += len(reads)
        reply = pb.QueryReply(value=encode(value), height=ledger.head.height, header=header, certificate=certificate)
        put_reads(reply, reads)
        self._count(reply.ByteSize())
        return evidence_of(reply)

    def _count(self, length: int) -> None:
        self.bytes, self.largest = self.bytes + length, max(self.largest, length)

    def _timed(self, answer: Callable[[], T]) -> T:
        self.queries += 1
        began = time.process_time()
        try:
            return answer()
        except ContractError as error:
            raise RefusedError(error.code, error.message) from error
        finally:
            took = time.process_time() - began
            self.all_s, self.slowest_s = self.all_s + took, max(self.slowest_s, took)


def _genesis(homes: list[str], days: int, members: Sequence[SigningKey]) -> Genesis:
    key = KEY.public_key.hex()
    buses = [f"bus-{number}" for number in range(len(homes))]
    contracts: dict[str, dict[str, Any]] = {
        "identity": {
            "admins": [key],
            "members": [["utility", key, ["utility", "grid-operator", "aggregator"]]],
            "networks": [[home, "utility", key, bus] for home, bus in zip(homes, buses, strict=True)],
            "devices": [
                [f"{home}/{kind}", home, kind, key, key, bus, *DEVICES[kind], False, kind == "pv"]
                for home, bus in zip(homes, buses, strict=True)
                for kind in DEVICES
            ],
        },
        "grid": {"root": "root", "lines": [["root", bus, 40, 2_000, None, None] for bus in buses]},
        "market": {"tariffs": [[0, RETAIL, FEED_IN]], "outage_s": FINAL_S},
        "budget": {"period_slots": days * SLOTS_PER_DAY},
    }
    seats = tuple([Member(f"bench-{number}", member.public_key.hex(), "") for number, member in enumerate(members)])
    return Genesis(1, "bench", GenesisToken("WATT", 9, RETAIL), seats, 0, 0, 1, contracts)
