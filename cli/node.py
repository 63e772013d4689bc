"""`watt node`: make, run, look at and check a member's node."""

import asyncio
import logging
import os
import sys
from pathlib import Path

import click
import uvloop

from cli.advice import advised
from cli.backup import backup, restore
from cli.doctor import doctor
from cli.gateway_certificate import csr, install_certificate
from cli.join import join, snapshot
from cli.new_keys import new_keys
from cli.node_verify import verify
from cli.operating import log_level, systemd
from cli.output import json_option, print_json, print_table, refusals_to_exit_codes
from cli.session import ask, node_option, trusted_roots
from cli.units import clock
from cli.upgrades import node_upgrade
from node.config import is_loopback, load_config
from node.errors import ConfigError
from node.gateway.client import Client, NodeInfo
from node.gateway.vetting import vet
from node.keyfile import read_passphrase
from node.logs import start_log
from node.main import run as run_node
from node.opening import Opened, open_node
from node.pki.trust import read_trust
from node.secrecy import close_files
from node.setup import CONFIG_NAME, NodeFiles, init_node

_PATH = click.Path(path_type=Path)
_passphrase_option = click.option(
    "--passphrase-file",
    type=_PATH,
    help="Read the passphrase from this file's first line; else WATT_PASSPHRASE, else a prompt.",
)


@click.group()
def node() -> None:
    """A member's node.

    Example: watt node init --dir utility --member utility --peer 10.0.0.5:7501
    """


@node.command()
@click.option("--dir", "directory", type=_PATH, required=True, help="The node's directory; made if it is missing.")
@click.option("--member", required=True, help="The member's name, as it will stand in genesis.")
@click.option("--peer", "peer_listen", default="127.0.0.1:7501", show_default=True, help="Where other members connect.")
@click.option("--gateway", default="127.0.0.1:7401", show_default=True, help="Where clients connect.")
@click.option("--genesis", default="genesis.json", show_default=True, help="Where the genesis document will lie.")
@_passphrase_option
@json_option
@refusals_to_exit_codes
def init(
    directory: Path,
    member: str,
    peer_listen: str,
    gateway: str,
    genesis: str,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Make a new node: sealed keys, a certificate, a configuration, and the member's entry for genesis.

    Nothing that exists is overwritten. A gateway that others can reach gets a certificate next: watt node csr. Put the
    printed entry into the genesis document, the other members' addresses into [peer.addresses] of node.toml, then run
    it.

    Example: watt node init --dir utility --member utility --peer 10.0.0.5:7501
    """
    passphrase = _passphrase(passphrase_file, "New passphrase", is_new=True)
    closed = _is_reached(gateway)
    entry = init_node(NodeFiles(directory, member, genesis, peer_listen, gateway, {}, closed=closed), passphrase)
    if as_json:
        print_json({"config": str(directory / CONFIG_NAME), "name": entry.name, "public_key": entry.public_key,
                    "tls_certificate": entry.tls_certificate})  # fmt: skip
    else:
        rows = [("configuration", directory / CONFIG_NAME), ("public key", entry.public_key),
                ("entry for genesis", directory / "member.json")]  # fmt: skip
        print_table(f"Node of {member}", ["what", "where"], rows)
    if closed:
        click.echo(
            f"its gateway needs a certificate: watt node csr --config {directory / CONFIG_NAME} --name ...", err=True
        )


@node.command()
@click.option("--config", "config_path", type=_PATH, default=CONFIG_NAME, show_default=True, help="The configuration.")
@_passphrase_option
@refusals_to_exit_codes
def run(config_path: Path, passphrase_file: Path | None) -> None:
    """Run a node until SIGTERM. Exit 1 with one line if it cannot start or can no longer be trusted to vote.

    Example: watt node run --config utility/node.toml
    """
    close_files()
    config = advised(load_config)(config_path)
    start_log(config.path(config.log_file) if config.log_file else None, config.log.level, config.log.format)
    if passphrase_file is None and config.passphrase_file:
        passphrase_file = config.path(config.passphrase_file)
    passphrase = _passphrase(passphrase_file, f"Passphrase of {config.key_file}", is_new=False)
    opened = advised(open_node)(config, passphrase)
    # When the loop has ended, all is closed and synced. The interpreter's own end would wait for gRPC's threads.
    os._exit(_run_to_end(opened))


@node.command()
@node_option
@json_option
@refusals_to_exit_codes
def status(nodes: tuple[str, ...], as_json: bool) -> None:
    """Where a running node stands; behind TLS, also when its certificate ends.

    Example: watt node status --node 127.0.0.1:7401
    """

    async def asked(client: Client) -> tuple[NodeInfo, str]:
        return await client.node_info(), client.address

    info, address = ask(nodes, asked)
    values = {name: getattr(info, name) for name in NodeInfo.__dataclass_fields__}
    told = {"head_time": clock(info.head_time), "now": clock(info.now)}
    if (roots := trusted_roots()) is not None:
        shown = asyncio.run(vet(address, read_trust(roots)))
        values["certificate_ends"] = shown.ends.isoformat(timespec="seconds")
        told["certificate_ends"] = clock(int(shown.ends.timestamp()))
    if as_json:
        print_json(values)
    else:
        values |= told
        print_table(f"{info.member} of {info.network}", ["what", "value"], [(k, _shown(v)) for k, v in values.items()])


node.add_command(backup)
node.add_command(csr)
node.add_command(doctor)
node.add_command(install_certificate)
node.add_command(join)
node.add_command(log_level)
node.add_command(new_keys)
node.add_command(restore)
node.add_command(snapshot)
node.add_command(node_upgrade)
node.add_command(systemd)
node.add_command(verify)


def _is_reached(address: str) -> bool:
    """Whether others can reach it; what is no address is refused elsewhere."""
    try:
        return not is_loopback(address)
    except ValueError:
        return False


def _run_to_end(opened: Opened) -> int:
    """Run the node; the exit status."""
    try:
        refusals_to_exit_codes(advised(uvloop.run))(run_node(opened))
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        logging.shutdown()
        sys.stderr.flush()
    return 0


def _passphrase(path: Path | None, question: str, *, is_new: bool) -> str:
    passphrase = read_passphrase(path)
    if passphrase is not None:
        return passphrase
    if not sys.stdin.isatty():
        raise ConfigError(
            "no-passphrase",
            "none is given, and there is no terminal to ask at: --passphrase-file FILE or WATT_PASSPHRASE",
        )
    answer: str = click.prompt(question, hide_input=True, confirmation_prompt=is_new, err=True)
    return answer


def _shown(value: object) -> object:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else value
