"""`watt testnet partition` and `heal`."""

from pathlib import Path

import click

from node.errors import RefusedError
from testnet import partition as links
from testnet.cluster import Cluster
from testnet.commands import directory_option, refusals
from testnet.genesis import load_network


@click.command()
@click.argument("groups", metavar="NODE[,NODE...] ...", nargs=-1, required=True)
@click.option("--one-way", is_flag=True, help="What earlier groups send still reaches later ones; nothing comes back.")
@directory_option
@refusals
def partition(groups: tuple[str, ...], one_way: bool, directory: Path) -> None:
    """Cut the network into groups of nodes that neither reach nor hear one another, until `heal` or the next partition.

    Nodes that are not named are a group together. The nodes drop the messages themselves; their links stay up.

    Example: watt testnet partition node-0,node-1 node-2,node-3
    """
    cluster = Cluster(load_network(directory.resolve()))
    found = links.groups_of(cluster, groups)
    _require_told(links.partition(cluster, found, one_way=one_way))
    sign = " -> " if one_way else " | "
    click.echo("parted: " + sign.join(", ".join(sorted(group)) for group in found), err=True)


@click.command()
@directory_option
@refusals
def heal(directory: Path) -> None:
    """Join all links again that `partition` has cut.

    Example: watt testnet heal
    """
    told = links.heal(Cluster(load_network(directory.resolve())))
    _require_told(told)
    click.echo(f"healed: {', '.join(told)}", err=True)


def _require_told(told: list[str]) -> None:
    if not told:
        raise RefusedError("not-running", "no node runs")
