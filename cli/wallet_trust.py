"""`watt wallet init | trust`: a wallet's home, and what the wallet believes."""

from pathlib import Path
from typing import Any

import click

from cli.output import json_option, print_json, print_table, refusals_to_exit_codes
from cli.session import ask, node_option, trusted_roots, use_client
from cli.units import clock
from cli.wallet_home import CA, DEFAULT_HOME, Home, is_default_nodes, no_wallet, wallet_option, warn
from node.gateway.client import Client
from node.gateway.proven import KnownEpochs, ProvenReader
from node.light import LightChain
from node.model.genesis import Genesis, load_document
from node.upgrades.library import client_registry


@click.command()
@click.option(
    "--genesis",
    "genesis_file",
    type=click.Path(path_type=Path),
    required=True,
    envvar="WATT_GENESIS",
    help="The network's genesis.json, from somebody whom you trust. Also WATT_GENESIS.",
)
@wallet_option
@node_option
@json_option
@refusals_to_exit_codes
def init(genesis_file: Path, wallet_home: Path | None, nodes: tuple[str, ...], as_json: bool) -> None:
    """Make a wallet's home: the genesis document, the nodes to ask, and with --ca who vouches for them.

    A node shows every change of members and its newest block; all of it is checked, from the genesis document on. With
    this home no node need be trusted any more. Name several nodes: when one is down, the next one is asked.

    Example: watt wallet init --genesis genesis.json --node node-1.example:7401 --node node-2.example:7401 --ca ca.pem
    """
    genesis, document = load_document(genesis_file)
    light = LightChain(document)
    home = Home((wallet_home or Path(DEFAULT_HOME)).expanduser())
    if home.exists() and home.genesis().chain == light.chain:
        light = home.light()  # what it knows is not forgotten
        nodes = home.nodes() if is_default_nodes() else nodes
    use_client(None)  # what another home says of its network does not matter here
    ask(nodes, lambda client: _learn(client, genesis, light))
    home.create(document, trusted_roots(), nodes, light)
    _show(home, genesis, light, as_json)


@click.command()
@wallet_option
@json_option
@refusals_to_exit_codes
def trust(wallet_home: Path | None, as_json: bool) -> None:
    """Show what the wallet believes: its network, who the members are, and the newest block that it has seen. All of it
    is checked again, from the genesis document on; no node is asked.

    Example: watt wallet trust
    """
    home = Home((wallet_home or Path(DEFAULT_HOME)).expanduser())
    if not home.exists():
        raise no_wallet(home)
    _show(home, home.genesis(), home.light(), as_json)


async def _learn(client: Client, genesis: Genesis, light: LightChain) -> None:
    """The epochs and the head of the first node that answers and does not lie."""
    known = KnownEpochs(client, genesis, light)
    await ProvenReader(client, genesis, client_registry(), known=known, tell=warn).head()


def _show(home: Home, genesis: Genesis, light: LightChain, as_json: bool) -> None:
    epoch, newest = light.epochs[-1], light.newest
    facts: dict[str, Any] = {
        "wallet": str(home.path),
        "network": genesis.name,
        "chain": light.chain,
        "nodes": home.nodes(),
        "ca": (home.path / CA).exists(),
        "epoch": epoch.number,
        "members": [member.name for member in epoch.members],
        "block": None if newest is None else newest.height,
        "time": None if newest is None else newest.time,
    }
    if as_json:
        return print_json(facts)
    alone = "" if len(facts["nodes"]) > 1 else "; no other when that is down: name more with `watt wallet init --node`"
    seen = "no block yet" if newest is None else f"block {newest.height} of {clock(newest.time)}"
    shown = (
        ("wallet", facts["wallet"]),
        ("network", f"{genesis.name}, chain {light.chain.hex()}"),
        ("asks", ", ".join(facts["nodes"]) + (", closed by TLS" if facts["ca"] else "") + alone),
        ("members", f"{', '.join(facts['members'])} (epoch {epoch.number}, from block {epoch.first_height} on)"),
        ("newest", f"{seen}; nothing older is believed"),
    )
    print_table("What the wallet believes", ("What", "Is"), shown)
