"""`watt keys`: the word of a key that it agrees to be registered; key files that name a program which signs, and two
such programs. docs/keys.md states what they say."""

import importlib
from pathlib import Path

import click

from cli.answers import record
from cli.enrol import KINDS
from cli.output import json_option, print_json, refusals_to_exit_codes
from cli.session import ask, open_key, word_options
from cli.signer_loop import serve
from cli.units import ID_BYTES, PUBLIC_KEY, hex_id
from node.enrolment import possession
from node.errors import RefusedError
from node.gateway.client import Client
from node.keyfile import load_key, read_passphrase
from node.signer import save_external

_PATH = click.Path(path_type=Path)


@click.group()
def keys() -> None:
    """Keys: what they agree to, and such as other programs hold, a token's for one."""


@keys.command()
@click.argument("name")
@click.option(
    "--kind",
    type=click.Choice(tuple(KINDS)),
    default="device",
    show_default=True,
    help="What the key is to be of NAME.",
)
@click.option("--by", required=True, help="Who registers it: a public key, or a member's name, whose key is looked up.")
@click.option(
    "--chain", type=PUBLIC_KEY, help="The network's id, as `watt wallet trust` shows it; else a node is asked."
)
@word_options
@json_option
@refusals_to_exit_codes
def prove(
    name: str,
    kind: str,
    by: str,
    chain: bytes | None,
    nodes: tuple[str, ...],
    key_file: Path,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Print the public key in --key with its word that it is to act for NAME, for --by to register it with.

    No key is registered unless it has signed so. What is printed is no secret: it is good for that name, that network
    and that registrar alone. With --chain and a public key in --by no node is asked.

    Example: watt keys prove home-18/ev --by sunrise --key ev.key
    """
    key = open_key(key_file, passphrase_file)
    registrar = hex_id(by, "--by") if len(by) == 2 * ID_BYTES else None
    if chain is None:
        chain = ask(nodes, _chain)
    if registrar is None:
        registrar = ask(nodes, lambda client: _key_of_member(client, by))
    proof = possession(chain, KINDS[kind], name, registrar, key)
    if as_json:
        return print_json({"kind": KINDS[kind], "name": name, "public_key": key.public_key, "proof": proof})
    click.echo(f"{key.public_key.hex()}:{proof.hex()}")


async def _chain(client: Client) -> bytes:
    return (await client.node_info()).chain


async def _key_of_member(client: Client, member: str) -> bytes:
    key: bytes = record(await client.query("identity", "member", {"member": member}), ("id", "key", "roles"))["key"]
    return key


@keys.command()
@click.option("--out", type=_PATH, required=True, help="Where to write the key file; never overwritten.")
@click.argument("command", nargs=-1, required=True)
@json_option
@refusals_to_exit_codes
def external(out: Path, command: tuple[str, ...], as_json: bool) -> None:
    """Make a key file that names COMMAND, which signs. It is started once, for its public key and a signature.

    The file works wherever a key file does, for a wallet, a broker or a node, and holds no secret; but what it names is
    run. COMMAND runs in the directory of the file.

    Example: watt keys external --out owner.json -- watt keys signer file --key sealed.json --passphrase-file secret
    """
    public_key = save_external(out, list(command))
    if as_json:
        return print_json({"public_key": public_key, "file": str(out)})
    click.echo(public_key.hex())


@keys.group()
def signer() -> None:
    """Programs that sign what they read, as lines of JSON."""


@signer.command("file")
@click.option("--key", "key_file", type=_PATH, required=True, help="The sealed key file to sign with.")
@click.option("--passphrase-file", type=_PATH, required=True, help="Its first line is the passphrase.")
@refusals_to_exit_codes
def from_file(key_file: Path, passphrase_file: Path) -> None:
    """Sign with a sealed key file, until standard input ends: a signer to copy, and to try others against.

    Example: watt keys signer file --key sealed.json --passphrase-file secret
    """
    key = load_key(key_file, read_passphrase(passphrase_file) or "")
    serve(key.public_key, key.sign)


@signer.command()
@click.option("--module", type=_PATH, required=True, help="The token's PKCS#11 library.")
@click.option("--token", required=True, help="The token's label.")
@click.option("--label", required=True, help="The label of the Ed25519 key pair on the token.")
@click.option("--pin-file", type=_PATH, required=True, help="Its first line is the user's PIN.")
@click.option("--make", is_flag=True, help="Make the key pair on the token, print its public key, and end.")
@refusals_to_exit_codes
def pkcs11(module: Path, token: str, label: str, pin_file: Path, make: bool) -> None:
    """Sign with an Ed25519 key on a PKCS#11 token (mechanism CKM_EDDSA), until standard input ends.

    Needs the package python-pkcs11: pip install "wattledger[token]".

    Example: watt keys signer pkcs11 --module libsofthsm2.so --token watt --label owner --pin-file pin
    """
    try:
        token_keys = importlib.import_module("cli.token")
    except ImportError as error:
        raise RefusedError("no-pkcs11-library", "install wattledger with its extra: wattledger[token]") from error
    with token_keys.open_token(module, token, token_keys.token_pin(pin_file)) as opened:
        if make:
            return click.echo(opened.make(label).hex())
        public_key, sign = opened.key(label)
        serve(public_key, sign)
    return None
