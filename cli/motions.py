"""`watt admin tolls, auditor`: what is decided by motion (``chaincode/motions.py``), and how motions are read."""

from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import click

from chaincode.motions import ADMIN_KEY, AUDITOR, CANCEL, MEMBER_KEY, NO_AUDITOR, TOLLS, UPGRADE, digest_of
from cli import ballots
from cli.answers import as_rows, records
from cli.ballots import at_option, checked
from cli.output import count, json_option, print_json, print_table, refusals_to_exit_codes
from cli.rule_values import number, read_csv
from cli.session import Signing, ask, node_option, signed
from cli.units import PUBLIC_KEY, base_units_per_wh, per_kwh
from node.errors import RefusedError
from node.gateway.client import Client

MOTION: Final = (
    "proposal", "digest", "kind", "subject", "first_height", "last_height", "proposer", "approved_by",
    "not_approved_by", "missing",
)  # fmt: skip
SCHEDULED: Final = ("first_height", "proposal", "kind", "subject")
_PATH = click.Path(exists=True, dir_okay=False, path_type=Path)


class Price(click.ParamType[Decimal]):
    """Tokens per kWh, and metre if it is a rate."""

    name = "tokens"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Decimal:
        if isinstance(value, Decimal):
            return value
        try:
            return number(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.group()
def tolls() -> None:
    """The grid's tolls, which the validators' admins vote on. The operator alone may only lower them."""


@tolls.command("propose")
@click.option("--rate", type=Price(), help="Tokens per kWh and metre, of all lines.")
@click.option("--steps", "steps_file", type=_PATH, help="A CSV of lines: from, to, step (tokens per kWh).")
@at_option
@signed
def propose_tolls(
    rate: Decimal | None,
    steps_file: Path | None,
    height: tuple[int, bool],
    signing: Signing,
    as_json: bool,
) -> None:
    """Propose another rate, other steps of lines, or both; it counts as your approval. An admin of a validator signs.

    What is not named stays as it is. They are in force for products that open from the height on.

    Example: watt admin tolls propose --rate 0.0002 --steps steps.csv --at +2000 --key admin.key
    """

    async def args(client: Client) -> dict[str, Any]:
        decimals = (await client.node_info()).token_decimals
        try:
            found = None if rate is None else base_units_per_wh(rate, decimals)
        except click.BadParameter as error:
            raise RefusedError("bad-rate", str(error)) from error
        return {"rate": found, "steps": [] if steps_file is None else _steps(steps_file, decimals)}

    ballots.propose("motions", height, args, signing, as_json, "propose_tolls")


def _steps(path: Path, decimals: int) -> list[list[str | int]]:
    rows: list[list[str | int]] = []
    for line, cells in read_csv(path, ("from", "to", "step"), "bad-lines"):
        try:
            rows.append([cells["from"], cells["to"], base_units_per_wh(number(cells["step"]), decimals)])
        except (ValueError, click.BadParameter) as error:
            raise RefusedError("bad-lines", f"{path}, line {line}: {error}") from error
    return rows


@click.group()
def auditor() -> None:
    """Members that may read everything, such as a regulator: given and taken by vote."""


@auditor.command("propose")
@click.argument("name")
@click.option("--public-key", type=PUBLIC_KEY, required=True, help="The key that it reads with.")
@at_option
@signed
def propose_auditor(
    name: str,
    public_key: bytes,
    height: tuple[int, bool],
    signing: Signing,
    as_json: bool,
) -> None:
    """Propose that NAME, which becomes a member if it is none, may read everything. An admin of a validator signs.

    Example: watt admin auditor propose regulator --public-key 3b1f... --key admin.key
    """

    async def args(_: Client) -> dict[str, Any]:
        return {"name": name, "key": public_key}

    ballots.propose("motions", height, args, signing, as_json, "propose_auditor")


@auditor.command("dismiss")
@click.argument("name")
@at_option
@signed
def dismiss_auditor(
    name: str,
    height: tuple[int, bool],
    signing: Signing,
    as_json: bool,
) -> None:
    """Propose that NAME may read everything no longer. An admin of a validator signs.

    Example: watt admin auditor dismiss regulator --key admin.key
    """

    async def args(_: Client) -> dict[str, Any]:
        return {"name": name}

    ballots.propose("motions", height, args, signing, as_json, "dismiss_auditor")


@auditor.command("list")
@node_option
@json_option
@refusals_to_exit_codes
def list_auditors(nodes: tuple[str, ...], as_json: bool) -> None:
    """List who may read everything.

    Example: watt admin auditor list
    """

    async def read(client: Client) -> list[dict[str, Any]]:
        return records(await client.query("motions", "auditors"), ("name", "public_key"))

    rows = ask(nodes, read)
    if as_json:
        return print_json(rows)
    print_table("Auditors", ("Name", "Public key"), [tuple(row.values()) for row in rows])


async def read_motions(client: Client) -> list[dict[str, Any]]:
    """The open motions. Raises RefusedError("bad-answer") if one has not the digest of what it says."""
    chain = (await client.node_info()).chain

    def digest(row: dict[str, Any]) -> bytes:
        return digest_of(chain, row["proposal"], row["kind"], row["subject"], row["first_height"])

    return checked(records(await client.query("motions", "proposals"), MOTION), digest)


async def read_scheduled(client: Client) -> list[dict[str, Any]]:
    """The motions that are decided and not yet in force."""
    return records(await client.query("motions", "scheduled"), SCHEDULED)


def said(row: dict[str, Any], decimals: int) -> str:
    """A motion in one line. Raises RefusedError("bad-answer") for one that is none."""
    return lines_of(row, decimals)[0]


def lines_of(row: dict[str, Any], decimals: int) -> list[str]:
    """A motion in full. Raises RefusedError("bad-answer") for one that is none."""
    match row["kind"], row["subject"]:
        case (kind, (str(name), bytes(digest))) if kind in (UPGRADE, CANCEL):
            return [f"{kind} {name}", f"  bundle digest: {digest.hex()}"]
        case (kind, (str(name), bytes(key))) if kind in (AUDITOR, MEMBER_KEY):
            return [f"{kind} {name}", f"  public key: {key.hex()}"]
        case (kind, (bytes(old), bytes(key))) if kind == ADMIN_KEY:
            return [f"{kind} {old.hex()[:16]}", f"  in the place of: {old.hex()}", f"  public key: {key.hex()}"]
        case (kind, (str(name),)) if kind == NO_AUDITOR:
            return [f"{kind} {name}"]
        case (kind, (int() | None as rate, tuple() | list() as steps)) if kind == TOLLS:
            rows = [as_rows(step) for step in steps]
            parts = [] if rate is None else [f"rate {per_kwh(rate, decimals)}"]
            parts += [f"steps of {count(len(rows), 'line')}"] if rows else []
            lines = [_step(row, decimals) for row in rows]
            return [f"{kind}: {', '.join(parts)}", *lines]
    raise RefusedError("bad-answer", "the node names a motion that this program does not know: another version?")


def _step(row: object, decimals: int) -> str:
    match row:
        case (str(parent), str(child), int(step)):
            return f"  {parent} to {child}: {per_kwh(step, decimals)} tokens per kWh"
    raise RefusedError("bad-answer", "the node's answer is no motion: another version?")
