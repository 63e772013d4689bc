"""The company's report for people: what became of the tokens by class and by shop, the worst devices, the nodes."""

from pathlib import Path
from typing import Any

from rich.console import Console

from chaincode.budget_share import OTHER, POOL
from cli.output import print_table, tokens
from cli.units import clock, kwh
from testnet.company_plan import CLASSES
from testnet.company_report import BETWEEN, FROM_POOL, INSIDE, CompanyReport
from testnet.company_world import SLOT_S
from testnet.report_text import print_blocks, print_commands, print_verdict, report_console

_BOOKS = ("received", "earned", "spent", "sent", "sold", "returned", "redeemed", "carried_out")
"""The first two are the sum of the others: networks are issued nothing, and closed."""


def print_company(report: CompanyReport, directory: Path, wrong: list[str]) -> None:
    """Print it to standard output. ``wrong``: what ``faults`` found."""
    console = report_console()
    _headline(console, report)
    _table(report, "Tokens by class of network", [(kind, {"kind": kind}) for kind in CLASSES])
    shops = sorted({network.shop for network in report.chosen()})
    _table(report, "Tokens by shop", [(f"shop-{shop:02}", {"shop": shop}) for shop in shops])
    _company(console, report)
    _sales(console, report)
    for row in report.worst:
        _device(console, row)
    _nodes(console, report, wrong)
    print_commands(console, directory, "market verify", "node verify")


def _headline(console: Console, report: CompanyReport) -> None:
    days = "1 day" if report.days == 1 else f"{report.days} days"
    console.print()
    console.print(
        f"[bold]{report.devices} devices in {len(report.chosen())} networks of 12 shops, {days}[/bold]",
        highlight=False,
    )
    issued, spent, traded = report.company["issued"], report.total("spent"), report.traded
    lines = (
        f"{tokens(issued)} tokens issued to the company, {tokens(spent)} spent by its networks",
        f"{tokens(report.shared(INSIDE))} shared between devices of a network, {tokens(report.shared(FROM_POOL))} from "
        f"its pool, {tokens(report.shared(BETWEEN))} between networks",
        f"{tokens(report.total('sold'))} sold, {tokens(report.total('carried_out') + report.company['carried_out'])} "
        f"carried over, {tokens(report.total('returned'))} returned, {tokens(report.total('redeemed'))} redeemed",
        f"{kwh(traded['energy_wh'])} kWh traded between shops in {traded['trades']:,} trades, for "
        f"{tokens(traded['paid'])} tokens",
    )
    for line in lines:
        console.print(f"  {line}", highlight=False)
    console.print()


def _table(report: CompanyReport, title: str, rows: list[tuple[str, dict[str, Any]]]) -> None:
    found = []
    for name, choice in rows:
        money = [report.total(column, **choice) for column in _BOOKS]
        shared = [report.shared(where, **choice) for where in (INSIDE, FROM_POOL, BETWEEN)]
        alerts = sum(sum(network.alerts.values()) for network in report.chosen(**choice))
        found.append((name, *(tokens(amount) for amount in (*money, *shared)), alerts))
    books = [f"{'' if name in ('received', 'spent') else '?'}>{name.replace('_', ' ')}" for name in _BOOKS]
    print_table(title, ("", *books, "?>shared inside", "?>by pool", "?>between", "?>alerts"), found)


def _company(console: Console, report: CompanyReport) -> None:
    book = report.company
    console.print()
    console.print("[bold]The company[/bold]", highlight=False)
    console.print(
        f"  issued {tokens(book['issued'])}, assigned to networks {tokens(book['sent'])}, taken back "
        f"{tokens(book['received'])}, carried over {tokens(book['carried_out'])}",
        highlight=False,
    )


def _sales(console: Console, report: CompanyReport) -> None:
    for sale in report.sales:
        payment = sale["payment"].decode("utf-8", "replace") or "not named yet"
        console.print(
            f"  {sale['seller']} sold {tokens(sale['amount'])} tokens to {sale['buyer']} at {sale['price']} "
            f"thousandths of par: {sale['state']}, payment {payment}",
            highlight=False,
        )


def _device(console: Console, row: dict[str, Any]) -> None:
    """One of the worst devices: its figures, who paid for it, and what the ledger has against it."""
    console.print()
    console.print(
        f"[bold]{row['device']}[/bold] used {tokens(row['used'])} tokens of a budget of {tokens(row['budget'])} "
        f"({kwh(row['used_wh'])} kWh)",
        highlight=False,
    )
    for giver, amount in row["givers"]:
        name = f"the pool of {row['network']}" if giver == POOL else giver.removeprefix(OTHER)
        console.print(f"    {name} paid {tokens(amount)} for it", highlight=False)
    for alert in row["alerts"]:
        proofs = alert["evidence"]
        newest = _proof(proofs[-1]) if proofs else "nothing"
        console.print(
            f"    alert `{alert['cause']}` at {clock(alert['time'])}, proven by {len(proofs)} slots or shares, the "
            f"last {newest}",
            highlight=False,
        )


def _proof(proof: dict[str, Any]) -> str:
    """What an alert rests on, as one can look it up."""
    share = proof["share"]
    if share is not None:
        giver = share["giver"].removeprefix(OTHER) or "the pool"
        kept = tokens(share["amount"] - share["returned"])
        return f"in block {proof['height']}: {giver} gave {kept} ({share['why']}, {share['rule']})"
    slot = clock(proof["number"] * SLOT_S)
    return f"in block {proof['height']}: the slot of {slot}, transaction {proof['reference'].hex()}"


def _nodes(console: Console, report: CompanyReport, wrong: list[str]) -> None:
    console.print()
    console.print("[bold]Nodes[/bold]", highlight=False)
    print_blocks(console, report.chain)
    console.print(f"  {report.readings:,} readings and {report.orders:,} orders were handed in", highlight=False)
    print_verdict(console, report.chain)
    verdict = "; ".join(wrong) or f"every network's books of the period add up, {len(report.networks)} of them"
    console.print(f"  [bold]{verdict}[/bold]", highlight=False)
    console.print(f"  the whole run took {report.seconds:.0f} s on {report.cores} cores", highlight=False)
    console.print()
