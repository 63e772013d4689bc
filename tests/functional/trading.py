"""What functional tests trade with: the devices of the street, and orders that are always good."""

import itertools
from pathlib import Path
from typing import Any

from node.gateway.client import Client, TxStatus
from node.model.keys import SigningKey
from node.model.transaction import sign_transaction
from testnet.cluster import Cluster
from testnet.genesis import PASSPHRASE_NAME, Network
from testnet.neighbourhood import neighbourhood_key

VALID_S = 600
SLOT_SECONDS = 1800
PRICE = 500_000
"""Between feed-in and retail at every hour of the street's tariff."""
FIRST_SLOT = 10
SLOTS = 34
"""Orders go to these slots ahead of now in turn: all are open. On the network that tests share only home-2 and home-3
place them, so that home-1 stays free to sell: a home is on one side only."""

_turn = itertools.count()


class Device:
    """A device of the street with its key; numbers its transactions by itself."""

    def __init__(self, directory: Path, device: str) -> None:
        self.id = device
        self.key: SigningKey = neighbourhood_key(directory, device.replace("/", "."))
        self._nonces: itertools.count[int] | None = None

    async def sign(self, client: Client, contract: str, method: str, args: dict[str, Any]) -> bytes:
        """A signed transaction, valid for ten minutes."""
        info = await client.node_info()
        if self._nonces is None:
            self._nonces = itertools.count(await client.nonce(self.key.public_key) + 1)
        not_after = info.now + VALID_S
        return sign_transaction(self.key, info.chain, next(self._nonces), contract, method, args, not_after).raw

    async def order(self, client: Client, energy_wh: int = 100) -> bytes:
        """A signed order to buy at PRICE, in another slot each time, or the device's limit would soon be reached."""
        slot = (await client.node_info()).now // SLOT_SECONDS + FIRST_SLOT + next(_turn) % SLOTS
        args = {
            "device": self.id,
            "side": "buy",
            "slot": slot,
            "energy_wh": energy_wh,
            "price": PRICE,
            "until": "gate",
            "renewable": False,
        }
        return await self.sign(client, "market", "place", args)

    async def place(self, client: Client) -> TxStatus:
        """Place an order and wait until it is in a block."""
        return await client.wait(await client.submit(await self.order(client)))


def as_validator(network: Network) -> dict[str, str]:
    """The environment in which commands read with a validator's key, which may see everything."""
    node = network.nodes[0]
    return {
        "WATT_KEY": str(node.config.path(node.config.key_file)),
        "WATT_PASSPHRASE": (node.directory / PASSPHRASE_NAME).read_text("utf-8").strip(),
    }


def device(cluster: Cluster, name: str) -> Device:
    """A device of the network's street: "home-1/load", ..."""
    return Device(cluster.network.directory, name)
