"""Changing who validates in a local network: all admins' keys lie in its directory, so nobody has to be asked.

A change takes effect at a height, and heights come with blocks: ``hurry`` makes some where nobody trades.
"""

import asyncio
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from chaincode.governance import NOTICE
from cli.refusals import explain
from node.config import load_config
from node.errors import ConfigError, RefusedError
from node.gateway.client import Client, TxStatus
from node.keyfile import TESTNET, load_key, save_key, write_private
from node.model.genesis import Member, member_name_fault
from node.model.keys import SigningKey, generate_key
from node.model.transaction import sign_transaction
from node.rotation import make_next_keys
from node.setup import CONFIG_NAME, NodeFiles, init_node
from testnet.authorities import add_certificate
from testnet.genesis import ADMIN_KEY_NAME, GENESIS_NAME, NODES_NAME, PASSPHRASE_NAME, Network, NetworkNode, free_ports

VALID_S = 600
HEIGHTS_TO_APPROVE = 10
"""Blocks that may come between a proposal and its last approval."""


def passphrase_of(node: NetworkNode) -> str:
    """What the node's keys are sealed with."""
    return (node.directory / PASSPHRASE_NAME).read_text("utf-8").strip()


def admin_key(node: NetworkNode) -> SigningKey:
    """The key that decides for this member."""
    return load_key(node.directory / ADMIN_KEY_NAME, passphrase_of(node))


def make_node(network: Network, name: str) -> tuple[NetworkNode, Member]:
    """A new node's files, beside those of the others, whose addresses it knows; and the member's entry.

    Raises ConfigError: "bad-config", "cannot-write"; RefusedError("node-exists").
    """
    if fault := member_name_fault(name):
        raise ConfigError("bad-config", fault)
    if (network.directory / NODES_NAME / name).exists():
        raise RefusedError(
            "node-exists", f"there is, or was, a node `{name}` in {network.directory}: choose another name"
        )
    gateway, peer = (f"127.0.0.1:{port}" for port in free_ports(2))
    directory = network.directory / NODES_NAME / name
    directory.mkdir(parents=True, exist_ok=True)
    passphrase = secrets.token_urlsafe(24)
    write_private(directory / PASSPHRASE_NAME, passphrase.encode() + b"\n")
    others = {node.name: node.config.peer.listen for node in network.nodes}
    closed = network.roots is not None
    files = NodeFiles(directory, name, f"../../{GENESIS_NAME}", peer, gateway, others, PASSPHRASE_NAME, closed)
    member = init_node(files, passphrase, TESTNET)
    if closed:
        add_certificate(network.directory, directory)
    save_key(directory / ADMIN_KEY_NAME, generate_key(), passphrase, TESTNET)
    return NetworkNode(name, len(network.nodes), directory, load_config(directory / CONFIG_NAME)), member


async def add(network: Network, node: NetworkNode, member: Member) -> int:
    """Have the network take in a node that ``make_node`` made; from which height on it is a member."""
    args = _keys(member) | {"admin_key": admin_key(node).public_key, "address": node.config.peer.listen}
    return await _change(network, "add", node.name, args)


async def remove(network: Network, node: NetworkNode) -> int:
    """Have the network leave out a member; from which height on."""
    return await _change(network, "remove", node.name, {})


async def rotate(network: Network, node: NetworkNode) -> int:
    """Make new keys beside a member's, and have the network know it by them; from which height on."""
    member = make_next_keys(node.config, passphrase_of(node), TESTNET)
    return await _change(network, "rotate", node.name, _keys(member))


async def hurry(network: Network, height: int) -> None:
    """Make blocks until there is one of ``height``, each with a transaction that asks for nothing there is."""
    key = admin_key(network.nodes[0])
    async with network.client() as client:
        while (await client.node_info()).height < height:
            await _send(client, key, "approve", {"proposal": 0, "digest": b""})


def _keys(member: Member) -> dict[str, Any]:
    return {"public_key": bytes.fromhex(member.public_key), "tls_certificate": member.tls_certificate.encode()}


async def _change(network: Network, kind: str, name: str, args: Mapping[str, Any]) -> int:
    """Propose, and approve with as many admins as it takes. Raises RefusedError with the code of whoever refuses."""
    async with network.client() as client:
        admins = await _admins(client, network)
        first_height = (await client.node_info()).height + HEIGHTS_TO_APPROVE + NOTICE
        change = {"kind": kind, "name": name, "first_height": first_height, **args}
        proposed = await _send(client, admins[0], "propose", change)
        number, digest, missing = cast("tuple[int, bytes, int]", _result(proposed))
        for admin in admins[1:]:
            if not missing:
                break
            approved = await _send(client, admin, "approve", {"proposal": number, "digest": digest})
            missing = cast(int, _result(approved))
        if missing:
            raise RefusedError("not-approved", f"{missing} approvals are missing, and no more keys are here")
        return first_height


async def _admins(client: Client, network: Network) -> list[SigningKey]:
    """The admins' keys of the validators in force, as far as they are here."""
    _, _, seats = cast("tuple[int, int, tuple[tuple[Any, ...], ...]]", await client.query("governance", "validators"))
    homes = [network.directory / NODES_NAME / str(seat[0]) for seat in seats]
    return [_key_in(home) for home in homes if (home / ADMIN_KEY_NAME).exists()]


def _key_in(home: Path) -> SigningKey:
    return load_key(home / ADMIN_KEY_NAME, (home / PASSPHRASE_NAME).read_text("utf-8").strip())


async def _send(client: Client, key: SigningKey, method: str, args: dict[str, Any]) -> TxStatus:
    info, nonce = await client.node_info(), await client.nonce(key.public_key) + 1
    tx = sign_transaction(key, info.chain, nonce, "governance", method, args, info.now + VALID_S)
    return await asyncio.shield(client.wait(await client.submit(tx.raw)))


def _result(status: TxStatus) -> object:
    if status.code != "ok":
        raise RefusedError(status.code, explain("governance", status.code, status.details, 0))
    return status.result
