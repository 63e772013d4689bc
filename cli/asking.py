"""Asking a node, or asking it for proofs: one way for the wallet's commands, and for those that take ``--genesis``."""

from pathlib import Path
from typing import NamedTuple

import click

from cli.answers import Reader
from cli.session import proven_at
from cli.wallet_home import Trust
from node.gateway.client import Client
from node.gateway.proven import ProvenReader
from node.model.genesis import load_genesis
from node.upgrades.library import client_registry


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


def show_proven(source: Source) -> None:
    """Below a table: of which block it is proven."""
    if source.shown is not None:
        click.echo(source.shown)


async def believed(client: Client, trust: Trust | None) -> Source:
    """Whom to ask: a reader that checks what any node says, by what the wallet has and has seen; the node itself if the
    command is to believe it. Raises RefusedError: "no-wallet", "bad-wallet", and ConfigError of a genesis file."""
    checked = None if trust is None else trust.reader(client)
    if checked is None:
        return await source_of(client, None)
    reader, genesis = checked
    return Source(reader, genesis.token.symbol, genesis.token.decimals, reader)


async def source_of(client: Client, genesis_file: Path | None) -> Source:
    """Whom to ask: the node, or with the caller's own genesis document a reader that checks what it says."""
    if genesis_file is None:
        info = await client.node_info()
        return Source(client.query, info.token_symbol, info.token_decimals, None)
    genesis = load_genesis(genesis_file)
    reader = ProvenReader(client, genesis, client_registry())
    return Source(reader, genesis.token.symbol, genesis.token.decimals, reader)
