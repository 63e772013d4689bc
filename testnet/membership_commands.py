"""`watt testnet add` and `remove`."""

import asyncio
from pathlib import Path

import click

from testnet import membership
from testnet.cluster import Cluster
from testnet.commands import directory_option, refusals
from testnet.genesis import REMOVED_NAME, load_network


@click.command()
@click.argument("name")
@directory_option
@refusals
def add(name: str, directory: Path) -> None:
    """Make a node NAME, start it, and have the admins of the others take it in.

    Blocks are made until it is a member.

    Example: watt testnet add node-4
    """
    network = load_network(directory.resolve())
    node, member = membership.make_node(network, name)
    cluster = Cluster(load_network(network.directory))
    cluster.start(node)
    height = asyncio.run(membership.add(network, node, member))
    click.echo(f"{name} is a member from height {height} on", err=True)
    asyncio.run(membership.hurry(network, height))
    cluster.wait_ready(height=height)


@click.command()
@click.argument("name", metavar="NODE")
@directory_option
@refusals
def remove(name: str, directory: Path) -> None:
    """Have the admins leave out a member; its node stops when its last block is stored. Its files stay.

    Example: watt testnet remove node-0
    """
    cluster = Cluster(load_network(directory.resolve()))
    node = cluster.node(name)
    height = asyncio.run(membership.remove(cluster.network, node))
    click.echo(f"{node.name} is no member from height {height} on", err=True)
    (node.directory / REMOVED_NAME).touch()
    asyncio.run(membership.hurry(load_network(directory.resolve()), height))
    cluster.wait_end(node)
