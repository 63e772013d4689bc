"""`watt wallet rotate-key | passphrase`, `watt admin lost-key`: another key for what has one, or had, and another
passphrase for a key file."""

import sys
from pathlib import Path
from typing import Any

import click

from chaincode.roles import ADMIN
from cli import ballots
from cli.ballots import at_option
from cli.enrol import KINDS, SUBJECT
from cli.output import json_option, print_json, refusals_to_exit_codes
from cli.session import Signing, done, open_key, read_passphrase_or_ask, signing_options, transact
from cli.units import PUBLIC_KEY
from node.enrolment import possession
from node.errors import RefusedError
from node.gateway.client import Client
from node.keyfile import read_passphrase, reseal

_PATH = click.Path(path_type=Path)


@click.command("rotate-key")
@click.argument("name", default="")
@click.option(
    "--kind", type=click.Choice((*KINDS, ADMIN)), default="device", show_default=True, help="Whose key; admin: no NAME."
)
@click.option("--new-key", type=_PATH, required=True, help="The key file with the key that takes its place.")
@click.option("--new-passphrase-file", type=_PATH, help="The new key file's passphrase; else as for --key.")
@signing_options
@json_option
@refusals_to_exit_codes
def rotate_key(
    name: str,
    kind: str,
    new_key: Path,
    new_passphrase_file: Path | None,
    nodes: tuple[str, ...],
    key_file: Path,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Put the key in --new-key in the place of NAME's, which can do nothing more from then on, whatever it has signed.

    Who signs: for a device itself, its owner or its network's member; for an owner itself or the member; for a meter an
    admin or the member; for a member itself, or an admin if it has no power over others. Kind "admin": an admin that
    the genesis names, for itself. If the new key is made elsewhere, `watt wallet reset-key` prints a code for it.

    Example: watt wallet rotate-key home-03/ev --new-key ev-2.key --key ev.key
    """
    if bool(name) == (kind == ADMIN):
        raise click.UsageError("NAME is whose key it is; an admin of the genesis has none")
    new = open_key(new_key, new_passphrase_file or passphrase_file)
    signing = open_key(key_file, passphrase_file)

    async def args(client: Client) -> dict[str, Any]:
        chain = (await client.node_info()).chain
        proof = possession(chain, KINDS.get(kind, ADMIN), name, signing.public_key, new)
        subject = {SUBJECT[kind]: name} if kind in SUBJECT else {}
        return {**subject, "key": new.public_key, "proof": proof}

    done(transact(nodes, key_file, passphrase_file, "keys", f"rotate_{kind}_key", args), as_json)


@click.command("lost-key")
@click.argument("name", default="")
@click.option("--admin", "old", type=PUBLIC_KEY, help="Instead of NAME: the public key of an admin of the genesis.")
@click.option("--public-key", type=PUBLIC_KEY, required=True, help="The public key that takes its place.")
@at_option
@signing_options
@json_option
@refusals_to_exit_codes
def lost_key(
    name: str,
    old: bytes | None,
    public_key: bytes,
    height: tuple[int, bool],
    nodes: tuple[str, ...],
    key_file: Path,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Propose another key for the member NAME, or an admin of the genesis, that has lost its own.

    It counts as your approval; `watt admin proposals` shows it. An admin of a validator signs. For the utility, the
    grid operator, auditors and admins, whose keys no single admin may change.

    Example: watt admin lost-key utility --public-key 3b1f... --key admin.key
    """
    if bool(name) == (old is not None):
        raise click.UsageError("say NAME, or --admin with the key that is lost")

    async def args(_: Client) -> dict[str, Any]:
        return {"name": name, "key": public_key} if old is None else {"old": old, "key": public_key}

    method = "propose_member_key" if old is None else "propose_admin_key"
    ballots.propose("motions", height, args, Signing(nodes, key_file, passphrase_file), as_json, method)


@click.command()
@click.argument("file", type=_PATH)
@click.option(
    "--passphrase-file", type=_PATH, help="The passphrase now: a file's first line; else WATT_PASSPHRASE, a prompt."
)
@click.option("--new-passphrase-file", type=_PATH, help="The passphrase to be; else a prompt.")
@json_option
@refusals_to_exit_codes
def passphrase(file: Path, passphrase_file: Path | None, new_passphrase_file: Path | None, as_json: bool) -> None:
    """Seal the key in FILE under another passphrase. The key stays; copies of FILE open with the passphrase before.

    Example: watt wallet passphrase ev.key
    """
    now = read_passphrase_or_ask(passphrase_file, str(file))
    to_be = read_passphrase(new_passphrase_file) if new_passphrase_file is not None else _ask_new()
    if not to_be:
        raise RefusedError("no-passphrase", "an empty passphrase protects nothing")
    public_key = reseal(file, now, to_be)
    if as_json:
        return print_json({"public_key": public_key, "file": str(file)})
    click.echo(f"{file} opens with the new passphrase")


def _ask_new() -> str:
    """Never from the environment, which holds the passphrase now."""
    if not sys.stdin.isatty():
        raise RefusedError(
            "no-passphrase", "no new one is given, and there is no terminal to ask at: --new-passphrase-file FILE"
        )
    answer: str = click.prompt("New passphrase", hide_input=True, confirmation_prompt=True, err=True)
    return answer
