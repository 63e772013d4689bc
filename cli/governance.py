"""`watt admin propose, validators`: who validates, decided by the validators' admins. Votes: ``agenda.py``."""

from pathlib import Path
from typing import Any, Final

import click
import msgspec

from chaincode.governance import digest_of
from cli import ballots
from cli.answers import EPOCH, PROPOSAL, SEAT, as_rows, record, records
from cli.ballots import at_option, checked
from cli.output import json_option, print_json, print_table, refusals_to_exit_codes
from cli.session import Signing, ask, node_option, signed
from cli.units import ID_BYTES, PUBLIC_KEY, Count
from node.errors import RefusedError
from node.files import read_given
from node.gateway.client import Client
from node.model.genesis import Member
from node.transport.tls import certificate_fault

_PATH = click.Path(exists=True, dir_okay=False, path_type=Path)
MAX_ENTRY_BYTES: Final = 64 * 1024


_entry_option = click.option(
    "--entry",
    "entry_file",
    type=_PATH,
    required=True,
    help="The member.json that `watt node init` wrote: name, public key, TLS certificate.",
)


@click.group()
def propose() -> None:
    """Propose a change of the validators; it counts as your approval."""


@propose.command("add")
@_entry_option
@click.option("--admin-key", type=PUBLIC_KEY, required=True, help="The public key that will decide for it.")
@click.option("--address", required=True, metavar="HOST:PORT", help="Where its node listens for the others.")
@at_option
@signed
def propose_add(
    entry_file: Path,
    admin_key: bytes,
    address: str,
    height: tuple[int, bool],
    signing: Signing,
    as_json: bool,
) -> None:
    """Propose a new validator. An admin of a validator signs.

    Example: watt admin propose add --entry member.json --admin-key 3b1f... --address 10.0.0.5:7501 --key admin.key
    """
    entry = _entry(entry_file)
    change = {**_keys_of(entry), "admin_key": admin_key, "address": address}
    _propose("add", entry.name, height, change, signing, as_json)


@propose.command("remove")
@click.argument("name")
@at_option
@signed
def propose_remove(
    name: str,
    height: tuple[int, bool],
    signing: Signing,
    as_json: bool,
) -> None:
    """Propose that the validator NAME leaves. An admin of a validator signs.

    Example: watt admin propose remove node-3 --at +500 --key admin.key
    """
    _propose("remove", name, height, {}, signing, as_json)


@propose.command("rotate")
@_entry_option
@click.option("--address", default="", metavar="HOST:PORT", help="Where its node listens from then on, if elsewhere.")
@click.option("--admin-key", type=PUBLIC_KEY, help="Who decides for it from then on, if another key.")
@at_option
@signed
def propose_rotate(
    entry_file: Path,
    address: str,
    admin_key: bytes | None,
    height: tuple[int, bool],
    signing: Signing,
    as_json: bool,
) -> None:
    """Propose a new key and TLS certificate for a validator. An admin of a validator signs.

    An admin who has lost its own key has new ones made for its node, and others propose and approve them with the new
    --admin-key.

    Example: watt admin propose rotate --entry new-keys/member.json --at 52000 --key admin.key
    """
    entry = _entry(entry_file)
    change = {**_keys_of(entry), "address": address, "admin_key": admin_key or b""}
    _propose("rotate", entry.name, height, change, signing, as_json)


@click.command()
@click.option("--epoch", type=Count(), help="Of this epoch; by default of the one in force.")
@node_option
@json_option
@refusals_to_exit_codes
def validators(epoch: int | None, nodes: tuple[str, ...], as_json: bool) -> None:
    """Show who validates, and since which height; and the change that is scheduled, if one is.

    Example: watt admin validators
    """

    async def read(client: Client) -> tuple[dict[str, Any], dict[str, Any] | None]:
        shown = await _epoch(client, epoch)
        try:
            return shown, await _epoch(client, shown["epoch"] + 1)
        except RefusedError as error:
            if error.code != "unknown-epoch":
                raise
            return shown, None

    shown, following = ask(nodes, read)
    if as_json:
        return print_json({**shown, "next": following})
    print_table(
        f"Epoch {shown['epoch']}, from height {shown['first_height']} on",
        (">Index", "Name", "Public key", "Address", "?Admin"),
        [
            (index, seat["name"], seat["public_key"], seat["address"] or "as configured", seat["admin_key"])
            for index, seat in enumerate(shown["validators"])
        ],
    )
    if following is not None:
        names = ", ".join(seat["name"] for seat in following["validators"])
        click.echo(f"from height {following['first_height']} on, epoch {following['epoch']}: {names}")


def _entry(path: Path) -> Member:
    """A member's entry for genesis. Raises RefusedError("bad-entry"), or "bad-certificate" if TLS could not use it."""
    try:
        entry = msgspec.json.decode(read_given(path, MAX_ENTRY_BYTES), type=Member)
        public_key = bytes.fromhex(entry.public_key)
    except (OSError, msgspec.MsgspecError, ValueError) as error:
        raise RefusedError("bad-entry", f"{path} is no member's entry: {error}") from error
    if len(public_key) != ID_BYTES:
        raise RefusedError("bad-entry", f"{path}: a public key is {2 * ID_BYTES} hex digits")
    _check_certificate(entry.name, entry.tls_certificate)
    return entry


def _check_certificate(name: str, certificate: str) -> None:
    """The contract takes whatever looks like a certificate; here it is read. Raises RefusedError("bad-certificate")."""
    fault = certificate_fault(certificate)
    if fault is not None:
        raise RefusedError("bad-certificate", f"of {name}: {fault}")


def _keys_of(entry: Member) -> dict[str, bytes]:
    return {"public_key": bytes.fromhex(entry.public_key), "tls_certificate": entry.tls_certificate.encode()}


def _propose(
    kind: str, name: str, height: tuple[int, bool], change: dict[str, Any], signing: Signing, as_json: bool
) -> None:
    async def args(_: Client) -> dict[str, Any]:
        return {"kind": kind, "name": name, **change}

    ballots.propose("governance", height, args, signing, as_json)


async def read_proposals(client: Client) -> list[dict[str, Any]]:
    """The open proposals. Raises RefusedError("bad-answer") if one has not the digest of what it says."""
    chain = (await client.node_info()).chain

    def digest(row: dict[str, Any]) -> bytes:
        seat = tuple(row[name] for name in SEAT)
        return digest_of(chain, row["proposal"], row["kind"], seat, row["first_height"])

    return checked(records(await client.query("governance", "proposals"), PROPOSAL), digest)


def lines_of(row: dict[str, Any]) -> list[str]:
    """A proposal in full: who approves has to see every key. Raises RefusedError("bad-certificate") if links could not
    use its certificate."""
    if row["tls_certificate"]:
        _check_certificate(row["name"], row["tls_certificate"])
    return [
        f"{row['kind']} {row['name']} from height {row['first_height']} on",
        *(
            f"  {label}: {row[field].hex() if isinstance(row[field], bytes) else row[field]}"
            for label, field in (("public key", "public_key"), ("admin key", "admin_key"), ("address", "address"))
            if row[field]
        ),
        *(f"  {line}" for line in row["tls_certificate"].splitlines()),
    ]


async def read_scheduled(client: Client) -> dict[str, Any] | None:
    """The epoch that is decided and not yet in force: (epoch, first_height, validators); None if there is none."""
    present = await _epoch(client, None)
    try:
        return await _epoch(client, present["epoch"] + 1)
    except RefusedError as error:
        if error.code != "unknown-epoch":
            raise
        return None


async def _epoch(client: Client, number: int | None) -> dict[str, Any]:
    args = {} if number is None else {"epoch": number}
    found = record(await client.query("governance", "validators", args), EPOCH)
    return {**found, "validators": [record(seat, SEAT) for seat in as_rows(found["validators"])]}
