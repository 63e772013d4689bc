"""The network that the throughput and latency benchmarks trade on: forty networks on a grid, five devices each.

Half of the networks buy and half sell, so that nobody crosses itself; every device has a limit and a budget that no
run exhausts, because a benchmark of refusals would be one of something else.
"""

import time
from pathlib import Path
from typing import Any, Final

import msgspec

from node.model.keys import SigningKey
from node.model.transaction import Transaction, sign_transaction
from testnet.genesis import Network, build_network

NETWORKS: Final = 40
DEVICES_PER_NETWORK: Final = 5
RETAIL: Final = 1_000_000
FEED_IN: Final = 300_000
PERIOD_SLOTS: Final = 30 * 48
BUDGET: Final = 10**15
"""Base units for each network and period: a million tokens."""
SLOT_SECONDS: Final = 1_800
VALID_S: Final = 3_600


class Trader(msgspec.Struct, frozen=True):
    """A device of the benchmark. ``side``: buy or sell, the same for its whole network."""

    device: str
    network: str
    key: SigningKey
    side: str


def traders() -> list[Trader]:
    """All devices, buyers and sellers in turn. The keys are the same in every run: nothing hangs on them."""
    return [
        Trader(f"n{network:02}/d{device}", f"n{network:02}", _key("device", network, device), _side(network))
        for device in range(DEVICES_PER_NETWORK)
        for network in range(NETWORKS)
    ]


def build(directory: Path, nodes: int, *, tls: bool = False) -> Network:
    """The network on disk, on free ports, its block time the clock's. ``tls``: its gateways are closed."""
    utility = _key("utility", 0, 0).public_key.hex()
    devices = []
    for t in traders():
        key = t.key.public_key.hex()
        devices.append([t.device, t.network, "battery", key, key, _bus(t.network), 10**9, 10**9, False, False])
    names = [f"n{network:02}" for network in range(NETWORKS)]
    # Eight feeders of five buses in a row, 40 m apart: tolls of 0 to 20,000 base units per Wh between any two.
    lines = [
        ["root" if i % 5 == 0 else _bus(names[i - 1]), _bus(name), 40, 2_000, None, None]
        for i, name in enumerate(names)
    ]
    contracts: dict[str, dict[str, Any]] = {
        "identity": {
            "admins": [utility],
            "members": [["utility", utility, ["utility", "grid-operator"]]],
            "networks": [[name, "utility", _owner(name).public_key.hex(), _bus(name)] for name in names],
            "devices": devices,
        },
        "grid": {"root": "root", "lines": lines},
        "market": {"tariffs": [[0, RETAIL, FEED_IN]]},
        "budget": {"period_slots": PERIOD_SLOTS},
    }
    return build_network(directory, contracts, nodes=nodes, base_port=None, name="bench", tls=tls)


async def fund(network: Network) -> None:
    """Give every device of a buying network a budget for each period that an order may fall into."""
    async with network.client() as client:
        for batch in funding(network.genesis.chain, (await client.node_info()).now):
            for _, code in await client.submit_many([tx.raw for tx in batch]):
                if code != "ok":
                    raise RuntimeError(f"funding was refused: {code}")
            for tx in batch:
                status = await client.wait(tx.id)
                if status.code != "ok":
                    raise RuntimeError(f"funding failed: {status.code}")


def funding(chain: bytes, now: int) -> tuple[list[Transaction], list[Transaction]]:
    """The issues, and the allocations that rest on them, of a chain at block time ``now``."""
    first = now // SLOT_SECONDS // PERIOD_SLOTS
    periods = sorted({first, (now + 2 * 86_400) // SLOT_SECONDS // PERIOD_SLOTS})
    utility, nonce, end = _key("utility", 0, 0), 0, now + VALID_S
    issues: list[Transaction] = []
    allocations: list[Transaction] = []
    for name in {t.network: None for t in traders() if t.side == "buy"}:
        shares = [(t.device, BUDGET // DEVICES_PER_NETWORK) for t in traders() if t.network == name]
        for number, period in enumerate(periods):
            nonce += 1
            issue = {"network": name, "period": period, "amount": BUDGET, "reference": b"bench"}
            allocate = {"network": name, "period": period, "amounts": shares}
            issues.append(sign_transaction(utility, chain, nonce, "budget", "issue", issue, end))
            allocations.append(sign_transaction(_owner(name), chain, number + 1, "budget", "allocate", allocate, end))
    return issues, allocations


def order_slots(now: int) -> tuple[int, int]:
    """First and last slot whose product is open for the whole of a run that starts at block time ``now``."""
    current = now // SLOT_SECONDS
    return current + 2, current + 41


def not_after() -> int:
    """When the benchmark's orders expire; block time is the clock's here."""
    return int(time.time()) + VALID_S


def _key(role: str, a: int, b: int) -> SigningKey:
    return SigningKey(f"bench {role} {a} {b}".encode().ljust(32, b"."))


def _owner(network: str) -> SigningKey:
    return _key("owner", int(network[1:]), 0)


def _side(network: int) -> str:
    return "buy" if network % 2 == 0 else "sell"


def _bus(network: str) -> str:
    return f"bus-{network}"
