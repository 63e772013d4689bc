"""`watt wallet new | status`: a key, and what became of what it signed."""

from pathlib import Path

import click

from cli.output import json_option, print_json, refusals_to_exit_codes
from cli.refusals import explain
from cli.session import ask, new_passphrase, node_option, passphrase_option
from cli.units import hex_id
from node.errors import RefusedError
from node.gateway.client import Client, TxStatus
from node.keyfile import save_key
from node.model.keys import generate_key


@click.command()
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Where to write the key file; never overwritten."
)
@passphrase_option
@json_option
@refusals_to_exit_codes
def new(out: Path, passphrase_file: Path | None, as_json: bool) -> None:
    """Make a key and write it to a file, encrypted under a passphrase (argon2id). Prints the public key.

    Example: watt wallet new --out ev.key
    """
    passphrase = new_passphrase(passphrase_file)
    if not passphrase:
        raise RefusedError("no-passphrase", "an empty passphrase protects nothing")
    key = generate_key()
    save_key(out, key, passphrase)
    if as_json:
        return print_json({"public_key": key.public_key, "file": str(out)})
    click.echo(key.public_key.hex())


@click.command()
@click.argument("transaction", metavar="TXID")
@node_option
@json_option
@refusals_to_exit_codes
def status(transaction: str, nodes: tuple[str, ...], as_json: bool) -> None:
    """Ask what became of a transaction: committed (in which block, with what code), pending, or unknown.

    A command that times out names its TXID. Unknown means that the node asked does not have it: it was never handed
    in, or another node holds it, or it has expired; or that it is another key's, of which only those are told who may
    read what that key acts for (--key).

    Example: watt wallet status 5f2c...e1
    """
    tx_id = hex_id(transaction, "TXID")

    async def read(client: Client) -> tuple[TxStatus, int]:
        return await client.status(tx_id), (await client.node_info()).token_decimals

    found, decimals = ask(nodes, read)
    if as_json:
        committed = {"height": found.height, "code": found.code, "details": found.details, "result": found.result}
        empty = dict.fromkeys(committed)
        return print_json(
            {"transaction": tx_id, "state": found.state, **(committed if found.state == "committed" else empty)}
        )
    if found.state == "unknown" and found.base:
        return click.echo(f"unknown; blocks up to {found.base} are not on this node: ask another, too")
    if found.state != "committed":
        return click.echo(found.state)
    reason = "" if found.code == "ok" else f": {explain('it', found.code, found.details, decimals)}"
    click.echo(f"committed in block {found.height}: {found.code}{reason}")
