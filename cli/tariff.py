"""`watt admin tariff`: the utility's prices by time of use, voted and published."""

from decimal import Decimal
from pathlib import Path
from typing import Any, Final, cast

import click

from cli.answers import as_rows, record, records
from cli.output import json_option, print_json, print_table, refusals_to_exit_codes
from cli.rule_values import TARIFF_COLUMNS, read_tariffs, second_of_day, tariff_rows
from cli.rules import settings_of
from cli.session import Signing, ask, done, node_option, signed, transact
from cli.slots import SLOT, Slot, slot_words
from cli.units import TOKENS, base_units_per_wh, per_kwh
from node.gateway.client import Client

ROW: Final = ("from_second", "retail", "feed_in")
VERSION: Final = ("version", "from_slot", "published_at", "rows")
HOLDS: Final = ("retail", "feed_in")


@click.group()
def tariff() -> None:
    """The utility's prices by time of use."""


@tariff.command("show")
@click.option("--slot", type=SLOT, help="Also what this slot has, or would have by now.")
@node_option
@json_option
@refusals_to_exit_codes
def tariff_show(slot: Slot | None, nodes: tuple[str, ...], as_json: bool) -> None:
    """Show retail and feed-in prices by time of day (UTC), in tokens per kWh: those that were voted, and the better
    ones that the utility has published for slots to come.

    Example: watt admin tariff show --slot 2017-06-16T18:00
    """

    async def read(client: Client) -> tuple[Any, list[dict[str, Any]], tuple[int, dict[str, Any]] | None, int]:
        settings = settings_of(await client.query("market", "settings"))
        versions = records(await client.query("tariffs", "published", {}), VERSION)
        holds = None
        if slot is not None:
            number = slot.at(settings.slot_seconds)
            holds = number, record(await client.query("market", "tariff", {"slot": number}), HOLDS)
        return settings, versions, holds, (await client.node_info()).token_decimals

    settings, versions, holds, decimals = ask(nodes, read)
    if as_json:
        found = {
            "voted": _named(settings.tariffs),
            "published": [{**version, "rows": _named(version["rows"])} for version in versions],
        }
        return print_json(found if holds is None else {**found, "slot": holds[0], **holds[1]})
    _table("Voted tariff, tokens per kWh", settings.tariffs, decimals)
    for version in versions:
        begins = f"from {slot_words(version['from_slot'], settings.slot_seconds)} on"
        if version["rows"]:
            _table(f"Published {begins}", version["rows"], decimals)
        else:
            click.echo(f"Published {begins}: the voted tariff")
    if holds is not None:
        number, prices = holds
        retail, feed_in = (per_kwh(prices[name], decimals) for name in HOLDS)
        click.echo(f"{slot_words(number, settings.slot_seconds)}: retail {retail}, feed-in {feed_in}")


@tariff.command("publish")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option(
    "--row", "rows", type=(str, TOKENS, TOKENS), multiple=True, metavar="HH:MM RETAIL FEED_IN",
    help="Instead of a file: prices from a time of day (UTC) on, in tokens per kWh; may be repeated.",
)  # fmt: skip
@click.option("--voted", is_flag=True, help="Instead: the voted tariff again.")
@click.option("--from", "from_slot", type=SLOT, help="From this slot on; default: as soon as may be.")
@signed
def tariff_publish(
    file: Path | None,
    rows: tuple[tuple[str, Decimal, Decimal], ...],
    voted: bool,
    from_slot: Slot | None,
    signing: Signing,
    as_json: bool,
) -> None:
    """Publish a better tariff than the voted one: retail at most, feed-in at least as was voted, at every time of day.
    It holds from a slot on that has not opened and begins in a day or later, in place of what was published for that
    slot and after it. FILE is a CSV with the columns from (HH:MM UTC), retail, feed_in. The utility signs.

    Example: watt admin tariff publish summer.csv --from 2017-07-01T00:00 --key utility.key

    Example: watt admin tariff publish --row 00:00 0.22 0.08 --row 17:00 0.29 0.12 --key utility.key
    """
    if (file is not None) + bool(rows) + voted != 1:
        raise click.UsageError("say one of FILE, --row and --voted")

    async def args(client: Client) -> dict[str, Any]:
        decimals = (await client.node_info()).token_decimals
        if from_slot is None:
            slot = cast("int", await client.query("tariffs", "earliest", {}))
        else:
            slot = await from_slot.by(client.query)
        typed = tuple(_typed(*row, decimals) for row in rows)
        return {"from_slot": slot, "rows": typed if file is None else read_tariffs(file, decimals)}

    done(transact(*signing, "tariffs", "publish", args), as_json)


def _typed(begins: str, retail: Decimal, feed_in: Decimal, decimals: int) -> tuple[int, int, int]:
    try:
        second = second_of_day(begins)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--row") from error
    return second, base_units_per_wh(retail, decimals), base_units_per_wh(feed_in, decimals)


def _named(rows: Any) -> list[dict[str, Any]]:
    return [record(row, ROW) for row in as_rows(rows)]


def _table(title: str, rows: Any, decimals: int) -> None:
    columns = tuple(name.capitalize().replace("_", "-") for name in TARIFF_COLUMNS)
    print_table(title, (columns[0], *(f">{name}" for name in columns[1:])), tariff_rows(rows, decimals))
