"""Asking a node, or asking it for proofs: one way for commands that take ``--genesis``."""

from pathlib import Path
from typing import NamedTuple

from chaincode.registry import default_registry
from cli.answers import Reader
from cli.session import proven_at
from node.gateway.client import Client
from node.gateway.proven import ProvenReader
from node.model.genesis import load_genesis


class Source(NamedTuple):
    """``read`` asks; money has ``symbol`` and ``decimals``; ``proven``: the reader that checks proofs, None without."""

    read: Reader
    symbol: str
    decimals: int
    proven: ProvenReader | None

    @property
    def shown(self) -> str | None:
        """Of which block the answers so far are proven; None if they are the node's word."""
        return None if self.proven is None else f"proven {proven_at(self.proven)}"


async def source_of(client: Client, genesis_file: Path | None) -> Source:
    """Whom to ask: the node, or with the caller's own genesis document a reader that checks what it says."""
    if genesis_file is None:
        info = await client.node_info()
        return Source(client.query, info.token_symbol, info.token_decimals, None)
    genesis = load_genesis(genesis_file)
    reader = ProvenReader(client, genesis, default_registry())
    return Source(reader, genesis.token.symbol, genesis.token.decimals, reader)
