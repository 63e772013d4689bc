"""`watt wallet alerts | acknowledge`: which device used more than it should, or was paid for by others."""

from pathlib import Path
from typing import Any

import click

from cli.answers import ALERT, all_records
from cli.output import json_option, print_json, print_table, refusals_to_exit_codes
from cli.session import ask, node_option, signing_options, transact
from cli.units import Count, clock
from node.gateway.client import Client


@click.command()
@click.argument("network")
@node_option
@json_option
@refusals_to_exit_codes
def alerts(network: str, nodes: tuple[str, ...], as_json: bool) -> None:
    """List NETWORK's alerts: which device used more than it should, or was paid for by others.

    Example: watt wallet alerts home-03
    """
    rows = ask(nodes, lambda client: all_records(client.query, "budget", "alerts", {"network": network}, ALERT))
    if as_json:
        return print_json(rows)
    print_table(
        f"Alerts of {network}",
        (">No.", "Device", "Cause", "Period", "Time", ">Evidence", "Seen"),
        (
            (
                number,
                row["device"],
                row["cause"],
                row["period"],
                clock(row["time"]),
                len(row["evidence"]),
                "yes" if row["acknowledged"] else "no",
            )
            for number, row in enumerate(rows)
        ),
    )


@click.command()
@click.argument("network")
@click.argument("alert", type=Count())
@signing_options
@json_option
@refusals_to_exit_codes
def acknowledge(
    network: str, alert: int, nodes: tuple[str, ...], key_file: Path, passphrase_file: Path | None, as_json: bool
) -> None:
    """Note that NETWORK's ALERT, by its number in `watt wallet alerts`, has been seen; the owner signs.

    Example: watt wallet acknowledge home-03 0 --key owner.key
    """

    async def args(_: Client) -> dict[str, Any]:
        return {"network": network, "alert": alert}

    done = transact(nodes, key_file, passphrase_file, "budget", "acknowledge", args)
    if as_json:
        return print_json({"network": network, "alert": alert, "height": done.height})
    click.echo(f"acknowledged in block {done.height}")
