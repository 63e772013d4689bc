"""`watt admin devices`: which devices use more than their budgets, and who paid for them."""

from typing import Any

import click

from chaincode.budget_state import ACTIVE, CLOSED, CLOSING
from cli.alert_words import giver_name
from cli.answers import OVERVIEW, Reader, as_rows, record, records
from cli.asking import Source, believed
from cli.output import json_option, plain, print_json, print_table, refusals_to_exit_codes, tokens
from cli.session import ask, node_option
from cli.units import MAX_PERIOD, Count
from cli.wallet_home import Trust, proof_options
from node.gateway.client import Client

_PAGE = ("period", "first_slot", "end_slot", "devices", "rows")


@click.command()
@click.argument("network", required=False)
@click.option("--member", help="All networks of this member, such as the shops of a company.")
@click.option("--over", "only_over", is_flag=True, help="Only those that are expected to use more than their budget.")
@click.option(
    "--period", type=Count(most=MAX_PERIOD), help="A billing period's number; by default each network's running one."
)
@node_option
@proof_options
@json_option
@refusals_to_exit_codes
def devices(
    network: str | None,
    member: str | None,
    only_over: bool,
    period: int | None,
    nodes: tuple[str, ...],
    trust: Trust,
    as_json: bool,
) -> None:
    """Rank devices of NETWORK, of a member, or of all, by how far they are expected to go beyond their budgets.

    Budget: what the owner allocated and left it. Expected at the period's end: used so far, times the slots of the
    period, over those from its first to the last settled one. Who paid: others, by rule, request or hand, less what
    came back; `watt wallet alerts` and `watt wallet share --list` say why.

    Example: watt admin devices --over --member sunrise

    Example: watt admin devices home-03 --period 17332
    """
    if network is not None and member is not None:
        raise click.UsageError("say either NETWORK or --member")

    async def read(client: Client) -> tuple[list[dict[str, Any]], Source]:
        source = await believed(client, trust)
        names = [network] if network is not None else await _networks(source.read, member)
        return [row for name in names for row in await read_devices(source.read, name, period)], source

    rows, source = ask(nodes, read)
    ranked = sorted(rows, key=lambda row: (-row["over"], row["device"]))
    chosen = [row for row in ranked if not only_over or row["over"] > 0]
    if as_json:
        return print_json({"devices": chosen, "proven": source.shown})
    _print(chosen, network or member or "all networks", only_over, source)


def _print(rows: list[dict[str, Any]], whose: str, only_over: bool, source: Source) -> None:
    what = "Devices over their budgets" if only_over else "Devices by what they use beyond their budgets"
    shown = [
        ("?>Period", "period"), (">Budget", "budget"), ("?>Spent", "spent"), (">Used", "used"),
        (">Expected", "expected"), (">Over by", "over"), ("?>Borrowed", "borrowed"), ("?>Lent", "lent"),
    ]  # fmt: skip
    print_table(
        f"{what}: {whose}, {source.symbol}",
        ("Device", "State", *(title for title, _ in shown), "Who paid", "?Alerts"),
        [
            (
                row["device"],
                state_shown(row),
                *(row[name] if name == "period" else tokens(row[name], source.decimals) for _, name in shown),
                ", ".join(
                    f"{giver_name(each['giver'])} {tokens(each['amount'], source.decimals)}" for each in row["givers"]
                ),
                " ".join(row["alerts"]),
            )
            for row in rows
        ],
    )
    if not rows:
        click.echo(plain(f"no device of {whose}" + (" is expected to use more than its budget" if only_over else "")))
    if source.shown is not None:
        click.echo(source.shown)


def state_shown(row: dict[str, Any]) -> str:
    """The state of a device; when its period is over that it is, since nobody buys in it, and its tokens are taken."""
    return str(row["status"] if row["status"] in (CLOSING, CLOSED) else row["state"])


async def _networks(read: Reader, member: str | None) -> list[str]:
    """All networks, or those of a member."""
    names: list[Any] = []
    called = ("identity", "networks", {}) if member is None else ("overview", "networks", {"member": member})
    while page := as_rows(await read(called[0], called[1], {**called[2], "first": len(names)})):
        names += page
    return names


async def read_devices(read: Reader, network: str, period: int | None) -> list[dict[str, Any]]:
    """All devices of a network in a period, by default the running one: ``OVERVIEW`` with its network, the period and
    its status, and givers as named pairs."""
    rows: list[dict[str, Any]] = []
    status = ACTIVE
    if period is not None:
        status = str(as_rows(await read("periods", "period", {"network": network, "period": period}))[0])
    while True:
        args = {"network": network, "period": period, "first": len(rows)}
        page = record(await read("overview", "devices", args), _PAGE)
        for row in records(page["rows"], OVERVIEW):
            givers = records(row["givers"], ("giver", "amount"))
            head = {"network": network, "period": page["period"], "status": status}
            rows.append({**head, **row, "givers": givers})
        if len(rows) >= page["devices"] or not page["rows"]:
            return rows
        period = page["period"]
