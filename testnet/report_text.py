"""The demo's report for people: a headline, prices by slot, bills, budgets, and what the nodes did."""

import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from cli.output import PIPE_WIDTH, tokens
from cli.units import clock, kwh, per_kwh
from testnet.demo_world import SLOT_S
from testnet.report import ChainResult, Report, SlotResult

BAR_CHARACTERS = 24


def print_report(report: Report, directory: Path) -> None:
    """Print it to standard output."""
    console = report_console()
    _headline(console, report)
    console.print(_slots(report))
    console.print(_homes(report))
    _budgets(console, report)
    _nodes(console, report)
    print_commands(console, directory, "market verify", "node verify")


def _headline(console: Console, report: Report) -> None:
    saved = report.utility_only - report.cost
    trades, auctions = sum(slot.trades for slot in report.slots), sum(slot.auctions for slot in report.slots)
    console.print()
    console.print(f"[bold]{len(report.homes)} homes on {report.date}[/bold]", highlight=False)
    console.print(
        f"  {kwh(report.traded_wh)} kWh traded between neighbours in {trades:,} trades and {auctions:,} auctions",
        highlight=False,
    )
    console.print(
        f"  {tokens(report.cost)} tokens paid by all homes together; with the utility alone the same energy would have "
        f"cost {tokens(report.utility_only)}: {tokens(saved)} saved",
        highlight=False,
    )
    tolls, rent = sum(slot.tolls for slot in report.slots), sum(slot.rent for slot in report.slots)
    console.print(
        f"  {tokens(tolls)} tokens of tolls for the grid, {tokens(rent)} of rent on full lines, kept for the homes",
        highlight=False,
    )
    console.print()


def _slots(report: Report) -> Table:
    table = Table(title="Prices by slot, tokens per kWh (half-hours in which neighbours traded)", title_justify="left")
    for column in ("from", "kWh", "", "buyers pay", "sellers get", "feed-in", "retail", "full lines"):
        table.add_column(column, justify="left" if column in ("", "full lines") else "right")
    most = max((slot.energy_wh for slot in report.slots), default=0)
    for slot in report.slots:
        if slot.energy_wh:
            table.add_row(*_slot_row(slot, most))
    return table


def _slot_row(slot: SlotResult, most: int) -> list[str]:
    return [
        clock(slot.slot * SLOT_S)[11:16],
        kwh(slot.energy_wh),
        "█" * max(1, slot.energy_wh * BAR_CHARACTERS // most),
        per_kwh(slot.paid // slot.energy_wh),
        per_kwh(slot.received // slot.energy_wh),
        per_kwh(slot.feed_in),
        per_kwh(slot.retail),
        " ".join(slot.full_lines),
    ]


def _homes(report: Report) -> Table:
    table = Table(title="Each home's bill (negative: earned)", title_justify="left")
    table.add_column("home")
    kwh_columns = ("bought", "sold", "from utility", "to utility")
    money_columns = ("tolls", "bill", "utility only", "saved")
    for column in (*(f"kWh {column}" for column in kwh_columns), *(f"tokens {column}" for column in money_columns)):
        table.add_column(column, justify="right")
    for name, home in report.homes.items():
        energies = ("bought_wh", "sold_wh", "retail_wh", "feed_in_wh")
        money = [home["tolls"], home["cost"], home["utility_only"], home["utility_only"] - home["cost"]]
        table.add_row(name, *(kwh(home[column]) for column in energies), *(tokens(amount) for amount in money))
    return table


def _budgets(console: Console, report: Report) -> None:
    helped = report.helped
    console.print()
    console.print("[bold]Budgets[/bold]", highlight=False)
    console.print(
        f"  {helped['device']} was allocated {tokens(helped['allocated'])} tokens, ran out, and was lent "
        f"{tokens(helped['borrowed'])} by other devices of its home; it is now {helped['state']}",
        highlight=False,
    )
    console.print("  who helped whom, tokens:", highlight=False)
    for (giver, receiver), amount in _shared(report.shares).items():
        console.print(f"    {giver} -> {receiver}: {tokens(amount)}", highlight=False)
    console.print("  alerts:", highlight=False)
    by_device: dict[str, list[str]] = {}
    for alert in report.alerts:
        by_device.setdefault(alert["device"], []).append(f"{alert['cause']} ({clock(alert['time'])[11:16]})")
    for name, causes in by_device.items():
        console.print(f"    {name}: {', '.join(causes)}", highlight=False)


def _shared(rows: list[dict[str, Any]]) -> dict[tuple[str, str], int]:
    """What was kept of each giver's help, by (giver, receiver); the pool gives under its network's name."""
    sums: dict[tuple[str, str], int] = {}
    for row in rows:
        giver = row["giver"] or f"{row['receiver'].partition('/')[0]}'s pool"
        key = (giver, row["receiver"])
        sums[key] = sums.get(key, 0) + row["amount"] - row["returned"]
    return {pair: amount for pair, amount in sums.items() if amount}


def _nodes(console: Console, report: Report) -> None:
    console.print()
    console.print("[bold]Nodes[/bold]", highlight=False)
    print_blocks(console, report.chain)
    outage = report.outage
    if outage is not None:
        console.print(
            f"  {outage.node} (then the primary) was killed; the others went on without it for {outage.missed} blocks; "
            f"it held them all {outage.caught_up_s:.1f} s after it was started again",
            highlight=False,
        )
    print_verdict(console, report.chain)
    console.print(f"  the whole demo took {report.seconds:.0f} s on {report.cores} cores", highlight=False)
    console.print()


def print_blocks(console: Console, chain: ChainResult) -> None:
    """How many blocks and transactions, and how fast."""
    refused = {code: count for code, count in chain.codes.items() if code != "ok"}
    console.print(
        f"  {chain.blocks:,} blocks, {chain.transactions:,} transactions in {chain.seconds:.0f} s: "
        f"{chain.per_second:.0f} a second, {chain.busiest_second} in the busiest; refused by the rules: {refused or 0}",
        highlight=False,
    )


def print_verdict(console: Console, chain: ChainResult) -> None:
    """Whether the nodes agree."""
    verdict = f"all {chain.nodes} nodes agree" if chain.agree else "the nodes DISAGREE"
    console.print(f"  [bold]{verdict}[/bold] at height {chain.height}, root {chain.root}", highlight=False)


def print_commands(console: Console, directory: Path, *commands: str) -> None:
    """How to look further: ``commands`` of `watt` on the first node's configuration."""
    config = f"--config {shown(directory)}/nodes/node-0/node.toml"
    console.print("Look further:", style="bold")
    for command in commands:
        console.print(f"  {shown(Path(sys.argv[0]))} {command} {config}", highlight=False)


def report_console() -> Console:
    """Standard output, at a fixed width where it is no terminal."""
    console = Console()
    return console if console.is_terminal else Console(width=PIPE_WIDTH)


def shown(path: Path) -> str:
    """As short as it can be typed here."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
