"""A study for people: what each home paid, and the three figures."""

from collections.abc import Sequence

from rich.console import Console

from broker.backtest.figures import change_pct
from broker.backtest.result import Result, Spread, Study
from cli.output import print_table


def print_study(study: Study) -> None:
    """Print it to standard output."""
    first = study.runs[0]
    one = len(study.runs) == 1
    title = "Bills in tokens" if one else f"Bills in tokens, means over the runs of {first.settings.strategy}"
    columns = ("home", ">utility", "?>alone", ">broker", ">change %", ">optimum", "?>worst %")
    rows: list[Sequence[object]] = [
        (
            home.name,
            _money(home.bills.utility_only),
            _money(home.bills.alone),
            _money(home.bills.broker),
            _percent(home.change_pct),
            _money(home.bills.optimum),
            _percent(home.worst_change_pct),
        )
        for home in study.homes
    ]
    bills = [home.bills for home in study.homes]
    rows.append(
        (
            "all homes",
            *(_money(sum(getattr(each, name) for each in bills)) for name in ("utility_only", "alone", "broker")),
            _percent(study.mean_bill_change_pct),
            _money(sum(each.optimum for each in bills)),
            _percent(study.worst_home_change_pct),
        )
    )
    shown = [row if not one else row[:-1] for row in rows]
    print_table(title, columns[:-1] if one else columns, shown)
    console = Console(highlight=False)
    if not one:
        print_table(
            "Runs, means over seeds (least to largest)",
            ("run", ">bill %", ">worst home %", ">of optimum %", "?>seeds"),
            [
                (
                    group.name,
                    _spread(group.mean_bill_change_pct, 1),
                    _spread(group.worst_home_change_pct, 1),
                    _spread(group.share_of_perfect_foresight, 100) if group.share_of_perfect_foresight else "",
                    len(group.seeds),
                )
                for group in study.groups
            ],
        )
    for line in (*_what(first), *_verdict(study)):
        console.print(line, soft_wrap=True)


def _what(first: Result) -> list[str]:
    """What was tried."""
    settings, community = first.settings, first.community
    days = f"{settings.days} day{'s' * (settings.days != 1)} from {settings.first_day}"
    vehicles = "with vehicles" if settings.vehicles else "without vehicles"
    lines = [f"{settings.homes}, {vehicles}, {days}, grid {settings.grid}, strategy {settings.strategy}"]
    cases = community.utility_only, community.broker, community.optimum
    co2 = [case.co2_kg for case in cases]
    lines.append(
        f"Bought from neighbours: {100 * community.local_share:.0f} % of what homes took from outside, "
        f"{community.traded_wh / 1000:,.0f} kWh; self-sufficiency {100 * cases[0].self_sufficiency:.0f} % with the "
        f"utility alone, {100 * cases[1].self_sufficiency:.0f} % with brokers, {100 * cases[2].self_sufficiency:.0f} % "
        "at best"
    )
    if all(each is not None for each in co2):
        lines.append(
            "CO2 of what was imported: " + ", ".join(f"{each:,.0f}" for each in co2 if each is not None) + " kg"
        )
    return lines


def _verdict(study: Study) -> list[str]:
    share = study.share_of_perfect_foresight
    before, alone = (sum(getattr(home.bills, name) for home in study.homes) for name in ("utility_only", "alone"))
    planned = change_pct(alone, before, before)
    return [
        f"[bold]Mean bill {study.mean_bill_change_pct:+.1f} %[/bold] against the utility alone; planning without an "
        f"exchange would have come to {_percent(planned)} %",
        f"[bold]Worst home {study.worst_home_change_pct:+.1f} %[/bold]",
        f"[bold]{100 * share:.0f} % of what perfect foresight saves[/bold]"
        if share is not None
        else "Perfect foresight saves nothing here",
    ]


def _money(tokens: float) -> str:
    return f"{tokens:,.2f}"


def _percent(change: float) -> str:
    return f"{round(change, 1) + 0.0:+.1f}"  # adding 0 makes -0.0 a +0.0


def _spread(spread: Spread, factor: int) -> str:
    mean = f"{factor * spread.mean:+.1f}" if factor == 1 else f"{factor * spread.mean:.1f}"
    if spread.least == spread.largest:
        return mean
    return f"{mean} ({factor * spread.least:.1f} to {factor * spread.largest:.1f})"
