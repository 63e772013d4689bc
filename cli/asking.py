"""Asking a node, or asking it for proofs: one way for all commands that read."""

from typing import NamedTuple

import click

from cli.answers import Reader
from cli.session import proven_at
from cli.wallet_home import Trust
from node.gateway.client import Client
from node.gateway.proven import ProvenReader


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
        info = await client.node_info()
        return Source(client.query, info.token_symbol, info.token_decimals, None)
    reader, genesis = checked
    return Source(reader, genesis.token.symbol, genesis.token.decimals, reader)


async def time_of(client: Client, source: Source) -> int:
    """What time it is on the network: of the oldest block that answers are proven of, or as the node says."""
    if source.proven is None or source.proven.oldest is None:
        return (await client.node_info()).now
    return source.proven.oldest.time
