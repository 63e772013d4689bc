"""`watt admin rules`: the market's rules as they are, as they were, and how the validators' admins change them."""

from pathlib import Path
from typing import Any, Final

import click

from chaincode.market_products import Settings
from chaincode.rules import digest_of
from cli import ballots
from cli.answers import Reader, all_records, as_rows, record, records
from cli.ballots import approve_command, at_option, checked, picked, votes, withdraw_command
from cli.output import json_option, plain, print_json, print_table, refusals_to_exit_codes
from cli.rule_values import (
    CHANGE,
    FIELDS,
    MEANINGS,
    Change,
    changed_settings,
    duration,
    read_tariffs,
    shown,
    tariff_rows,
)
from cli.session import Signing, ask, node_option, signed
from cli.units import clock
from node.errors import RefusedError
from node.gateway.client import Client
from node.model.codec import Value

PROPOSAL: Final = (
    "proposal", "digest", "settings", "tariffs", "first_height", "last_height", "proposer", "approved_by",
    "not_approved_by", "missing",
)  # fmt: skip
SCHEDULED: Final = ("first_height", "proposal", "settings")
VERSION: Final = ("version", "height", "time", "proposal", "settings")
OUTAGE: Final = ("number", "since", "until", "height")
_SHORT: Final = {field: name for name, field in FIELDS.items()}
_PATH = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def rules() -> None:
    """The market's rules: what they are, and changing them by vote."""


@rules.command("show")
@click.option("--history", is_flag=True, help="Every version of the rules, instead of the newest.")
@node_option
@json_option
@refusals_to_exit_codes
def show(history: bool, nodes: tuple[str, ...], as_json: bool) -> None:
    """Show the market's rules, and those that are scheduled; times in UTC, prices in tokens per kWh.

    Example: watt admin rules show
    """
    decimals, now, coming, versions = ask(nodes, lambda client: _read(client, history))
    if as_json:
        scheduled = None if coming is None else {**coming, "settings": coming["settings"]._asdict()}
        past = [{**each, "settings": each["settings"]._asdict()} for each in versions]
        return print_json({"settings": now._asdict(), "scheduled": scheduled, **({"history": past} if history else {})})
    if history:
        return _show_versions(versions, decimals)
    rows = []
    for field in Settings._fields[:-1]:
        later = "" if coming is None else shown(field, getattr(coming["settings"], field))
        value = shown(field, getattr(now, field))
        rows.append((_SHORT.get(field, "-"), value, "" if later == value else later, MEANINGS[field]))
    from_height = "?>Scheduled" if coming is None else f">From height {coming['first_height']}"
    print_table("Rules of the market", ("Setting", ">Value", from_height, "Meaning"), rows)
    _show_tariffs("Tariffs", now, decimals)
    if coming is not None and coming["settings"].tariffs != now.tariffs:
        _show_tariffs(f"Tariffs from height {coming['first_height']} on", coming["settings"], decimals)


@rules.command("propose")
@click.argument("changes", nargs=-1, type=CHANGE, metavar="[NAME=VALUE]...")
@click.option("--tariffs", "tariffs_file", type=_PATH, help="A CSV of all tariffs: from (HH:MM UTC), retail, feed_in.")
@at_option
@signed
def propose(
    changes: tuple[Change, ...],
    tariffs_file: Path | None,
    height: tuple[int, bool],
    signing: Signing,
    as_json: bool,
) -> None:
    """Propose new values for some rules; it counts as your approval. An admin of a validator signs.

    The names are those of `watt admin rules show`; times are like 600, 10min, 24h, 7d; shares like 25%. Prices in the
    file are in tokens per kWh.

    Example: watt admin rules propose gate=15min tick=30s --at +2000 --key admin.key

    Example: watt admin rules propose --tariffs winter.csv --key admin.key
    """

    async def args(client: Client) -> dict[str, Any]:
        decimals, now, coming, _ = await _read(client, False)
        tariffs = () if tariffs_file is None else read_tariffs(tariffs_file, decimals)
        changed_settings(now if coming is None else coming["settings"], changes, tariffs)
        return {"settings": [list(each) for each in changes], "tariffs": [list(each) for each in tariffs]}

    ballots.propose("rules", height, args, signing, as_json)


@rules.command("proposals")
@node_option
@json_option
@refusals_to_exit_codes
def proposals(nodes: tuple[str, ...], as_json: bool) -> None:
    """List the open proposals of rules: what they change, from when on, and whose approval is missing.

    Example: watt admin rules proposals
    """

    async def read(client: Client) -> tuple[int, list[dict[str, Any]]]:
        return (await client.node_info()).token_decimals, await read_proposals(client)

    decimals, rows = ask(nodes, read)
    if as_json:
        return print_json([{**row, "settings": dict(row["settings"])} for row in rows])
    if not rows:
        click.echo("no open proposals")
    for row in rows:
        click.echo("\n".join(_lines(row, decimals)))


async def _found(client: Client, number: int) -> dict[str, Any]:
    """An open proposal, and how it is shown."""
    decimals = (await client.node_info()).token_decimals
    found = picked(await read_proposals(client), number, "watt admin rules proposals")
    return {**found, "lines": _lines(found, decimals)}


rules.add_command(
    approve_command(
        "rules",
        """Approve proposal NUMBER of the rules for the validators that you are the admin of.

        Example: watt admin rules approve 3 --digest 5c0e... --key admin.key
        """,
        _found,
        lambda found: click.echo("\n".join(found["lines"]), err=True),
    )
)
rules.add_command(
    withdraw_command(
        "rules",
        """Take back proposal NUMBER of the rules, or your approval if it is another's.

        Example: watt admin rules withdraw 3 --key admin.key
        """,
    )
)


@rules.command("outages")
@node_option
@json_option
@refusals_to_exit_codes
def outages(nodes: tuple[str, ...], as_json: bool) -> None:
    """List the times when something was due and no block could be made; times in UTC.

    What windows get back for it: docs/rules.md. The last column is the height of the block that ended the outage.

    Example: watt admin rules outages
    """
    print_outages(ask(nodes, lambda client: read_outages(client.query)), as_json)


async def read_outages(read: Reader) -> list[dict[str, Any]]:
    """All outages that the ledger knows, the oldest first. Raises RefusedError("bad-answer")."""
    rows = await all_records(read, "rules", "outages", {}, OUTAGE)
    if any(type(value) is not int for row in rows for value in row.values()):
        raise RefusedError("bad-answer", "the node's answer is no list of outages: another version?")
    return rows


def print_outages(rows: list[dict[str, Any]], as_json: bool) -> None:
    """As a table, or as JSON with times and lengths in seconds."""
    if as_json:
        return print_json([{**row, "length_s": row["until"] - row["since"]} for row in rows])
    if not rows:
        return click.echo("no outages")
    cells = [
        (row["number"], clock(row["since"]), clock(row["until"]), duration(row["until"] - row["since"]), row["height"])
        for row in rows
    ]
    print_table("Outages", (">No.", "Since (UTC)", "Until (UTC)", ">Length", ">Block"), cells)


async def _read(client: Client, history: bool) -> tuple[int, Settings, dict[str, Any] | None, list[dict[str, Any]]]:
    """(decimals of a token, the rules, what is scheduled, the versions if ``history``)."""
    decimals = (await client.node_info()).token_decimals
    now = settings_of(await client.query("market", "settings"))
    answer = await client.query("rules", "scheduled")
    coming = None if answer is None else record(answer, SCHEDULED)
    if coming is not None:
        coming["settings"] = settings_of(coming["settings"])
    versions: list[dict[str, Any]] = []
    while history:
        page = records(await client.query("rules", "history", {"first": len(versions)}), VERSION)
        versions += [{**row, "settings": settings_of(row["settings"])} for row in page]
        if not page:
            break
    return decimals, now, coming, versions


def said(row: dict[str, Any]) -> str:
    """A proposal in one line."""
    values = [f"{_SHORT.get(field, field)} = {shown(field, value)}" for field, value in row["settings"]]
    return f"rules: {', '.join(values + (['tariffs'] if row['tariffs'] else []))}"


async def read_scheduled(client: Client) -> dict[str, Any] | None:
    """The rules that are decided and not yet in force, with the ``names`` of what they change; None if there are
    none."""
    _, now, coming, _ = await _read(client, False)
    if coming is None:
        return None
    changed = [name for name in Settings._fields if getattr(now, name) != getattr(coming["settings"], name)]
    return {**coming, "names": [_SHORT.get(name, name) for name in changed]}


def settings_of(answer: Value) -> Settings:
    """The market's settings. Raises RefusedError("bad-answer")."""
    try:
        return Settings(*as_rows(answer))  # type: ignore[arg-type]
    except TypeError as error:
        raise RefusedError("bad-answer", f"the node's answer is no set of rules: {error}") from error


async def read_proposals(client: Client) -> list[dict[str, Any]]:
    """The open proposals. Raises RefusedError("bad-answer") if one has not the digest of what it says."""
    chain = (await client.node_info()).chain

    def digest(row: dict[str, Any]) -> bytes:
        return digest_of(chain, row["proposal"], row["settings"], row["tariffs"], row["first_height"])

    return checked(records(await client.query("rules", "proposals"), PROPOSAL), digest)


def _lines(row: dict[str, Any], decimals: int) -> list[str]:
    """A proposal in full, and its votes."""
    lines = [f"proposal {row['proposal']}: from height {row['first_height']} on", *lines_of(row, decimals)]
    return [plain(line) for line in (*lines, *votes(row))]


def lines_of(row: dict[str, Any], decimals: int) -> list[str]:
    """What a proposal would change."""
    lines = []
    for field, value in row["settings"]:
        name, meaning = _SHORT.get(field, field), MEANINGS.get(field, "unknown")
        lines.append(f"  {name} = {shown(field, value)} ({meaning})")
    lines += [
        f"  tariff from {begins}: retail {retail}, feed-in {feed_in} tokens per kWh"
        for begins, retail, feed_in in tariff_rows(row["tariffs"], decimals)
    ]
    return lines


def _show_tariffs(title: str, settings: Settings, decimals: int) -> None:
    print_table(title, ("From (UTC)", ">Retail", ">Feed-in"), tariff_rows(settings.tariffs, decimals))


def _show_versions(versions: list[dict[str, Any]], decimals: int) -> None:
    """What each version changed of the one before."""
    before: Settings | None = None
    for version in versions:
        settings = version["settings"]
        by = "genesis" if version["proposal"] is None else f"proposal {version['proposal']}"
        click.echo(f"version {version['version']}, from height {version['height']} on, {clock(version['time'])}, {by}")
        for field in Settings._fields[:-1]:
            value = getattr(settings, field)
            if before is None or getattr(before, field) != value:
                click.echo(f"  {_SHORT.get(field, field)} = {shown(field, value)}")
        if before is None or before.tariffs != settings.tariffs:
            for begins, retail, feed_in in tariff_rows(settings.tariffs, decimals):
                click.echo(f"  tariff from {begins}: retail {retail}, feed-in {feed_in} tokens per kWh")
        before = settings
