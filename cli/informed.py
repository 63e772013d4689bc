"""What a wallet's commands ask before they sign, from a client that believes a node nothing that matters.

Who signs names the chain, until when it holds, and amounts and slots as the network counts them. With a wallet's home
all of that is known or proven: a node that is of another chain, or lies about the network's settings, gets nothing
signed.
"""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from node.errors import RefusedError
from node.gateway.client import Client, NodeInfo
from node.gateway.proven import KnownEpochs, ProvenReader
from node.light import LightChain
from node.model.codec import Value
from node.model.genesis import Genesis
from node.upgrades.library import client_registry

BELIEVED: Final = {
    ("overview", "device"): "a plug does what events say, of which there is no proof, and signs nothing",
    ("privacy", "pseudonym"): "a proof would hold the secret; the name is shown, and no transaction has it",
}
"""Queries of which the node's word is taken, and why that does no harm. Every other one is proven, so that a command
that begins to look something up signs nothing on a node's word."""
_CLOCK_S: Final = 60
"""A node's clock may differ from the wallet's by so much of the clock."""


class InformedClient(Client):
    """A client whose ``query`` proves all that is not in BELIEVED, and whose ``node_info`` is checked against the
    genesis document."""

    def inform(self, genesis: Genesis, light: LightChain) -> None:
        """``genesis``, and what has been proven since. To be called before anything is asked."""
        self._genesis = genesis
        known = KnownEpochs(self, genesis, light)
        self._reader = ProvenReader(self, genesis, client_registry(), known=known)

    async def node_info(self) -> NodeInfo:
        """Raises RefusedError("other-chain") for a node of another network. Token and clock are the wallet's own."""
        info = await super().node_info()
        genesis = self._genesis
        if info.chain != genesis.chain:
            raise RefusedError(
                "other-chain",
                f"{self.address} is of chain {info.chain.hex()}, the wallet of {genesis.name}: name the right node "
                "with --node, or the right home with WATT_WALLET",
            )
        now, slack = genesis.block_time(time.time_ns() // 1_000_000), _CLOCK_S * genesis.time_scale
        return replace(
            info,
            now=max(now - slack, min(info.now, now + slack)),
            token_symbol=genesis.token.symbol,
            token_decimals=genesis.token.decimals,
        )

    async def query(self, contract: str, method: str, args: Mapping[str, Any] | None = None) -> Value:
        """The answer. Raises RefusedError: what ``ProvenReader`` does; "not-provable" of a query that nobody can
        prove."""
        if (contract, method) in BELIEVED:
            return await super().query(contract, method, args)
        return await self._reader(contract, method, args or {})
