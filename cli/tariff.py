"""`watt admin tariff`: the utility's prices by time of use."""

import click

from cli.output import json_option, print_json, print_table, refusals_to_exit_codes
from cli.session import ask, node_option
from cli.units import clock, per_kwh
from node.errors import RefusedError
from node.gateway.client import Client


@click.group()
def tariff() -> None:
    """The utility's prices by time of use."""


@tariff.command("show")
@node_option
@json_option
@refusals_to_exit_codes
def tariff_show(nodes: tuple[str, ...], as_json: bool) -> None:
    """Show retail and feed-in prices by time of day (UTC), in tokens per kWh.

    Example: watt admin tariff show
    """

    async def read(client: Client) -> tuple[object, int]:
        return await client.query("market", "settings"), (await client.node_info()).token_decimals

    answer, decimals = ask(nodes, read)
    if not isinstance(answer, tuple) or not answer or not isinstance(answer[-1], tuple):
        raise RefusedError("bad-answer", "the node's answer is no market's settings: another version?")
    rows = answer[-1]
    if as_json:
        return print_json([dict(zip(("from_second", "retail", "feed_in"), row, strict=True)) for row in rows])
    print_table(
        "Tariff, tokens per kWh",
        ("From", ">Retail", ">Feed-in"),
        ((clock(row[0])[11:16], per_kwh(row[1], decimals), per_kwh(row[2], decimals)) for row in rows),
    )
