"""The experiment's figures as a table: of the documentation in Markdown, and of the terminal.

`python -m testnet.experiment_table FIGURES PAGE` puts those of a run into the page, where two comments mark the place.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click
import msgspec

from cli.output import print_table
from testnet.experiment_parts import percent, signed
from testnet.experiment_result import Case, Figures, Week

BEGIN: Final = "<!-- figures: made by the command, not by hand -->\n"
END: Final = "<!-- end of the figures -->"
HEADS: Final = (
    "", "days x seeds", "mean bill", "planned alone", "worst home", "perfect foresight", "of it reached", "local",
    "self-sufficient", "driving renewable", "CO2", "metres a kWh", "fullest line",
)  # fmt: skip


def rows(figures: Figures) -> Iterator[tuple[str, ...]]:
    """The year, then some days of each season, every strategy and variant of these."""
    yield _row(figures.year)
    yield from (_row(case) for case in figures.seasons)
    yield from (_row(case) for case in figures.strategies)
    yield from (_row(case) for case in figures.variants)


def table(figures: Figures) -> str:
    """In Markdown: the command, the community, then the weeks on nodes."""
    took = f"Made by `{figures.command}` in {figures.seconds / 60:.0f} minutes on {figures.cores} cores."
    lines = [
        took,
        "",
        *([figures.noise_words, ""] if figures.noise_words else []),
        _line(HEADS),
        _line(["---"] + ["---:"] * (len(HEADS) - 1)),
        *(_line(row) for row in rows(figures)),
        "",
    ]
    heads = (
        "week on nodes",
        "ms an hour",
        "blocks",
        "transactions",
        "late orders",
        "least spare, ms",
        "bills equal",
        "nodes agree",
    )
    lines += [_line(heads), _line(["---"] + ["---:"] * (len(heads) - 1))]
    lines += [_line(_week(week)) for week in figures.weeks]
    if figures.busy_words:
        lines += ["", f"On nodes, {figures.busy_words}."]
    return "\n".join(lines) + "\n"


def print_table_of(figures: Figures) -> None:
    """On the terminal."""
    if figures.noise_words:
        click.echo(figures.noise_words)
    print_table("What it came to", list(HEADS), [list(row) for row in rows(figures)])


def _row(case: Case) -> tuple[str, ...]:
    return (
        case.name,
        f"{case.days} x {case.seeds}",
        signed(case.bill_pct.mean),
        signed(case.alone_bill_pct),
        signed(case.worst_home_pct.largest),
        signed(case.optimum_bill_pct),
        percent(case.share_of_foresight_pct, 0),
        percent(case.local_pct),
        percent(case.self_sufficiency_pct),
        percent(case.renewable_driving_pct),
        signed(case.co2_pct),
        "-" if case.metres is None else f"{case.metres:.0f}",
        percent(case.line_pct),
    )


def _week(week: Week) -> tuple[str, ...]:
    return (
        f"{week.season}, {week.first_day}",
        str(week.slot_ms),
        f"{week.blocks:,}",
        f"{week.transactions:,}",
        f"{week.late} of {week.groups:,}",
        str(week.spare_ms[0]),
        f"{len(week.homes) - week.differing} of {len(week.homes)}",
        "yes" if week.is_agreed else "NO",
    )


def _line(cells: tuple[str, ...] | list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def main(figures: Path, page: Path) -> None:
    """Put the table of ``figures`` into ``page``."""
    made = table(msgspec.json.decode(figures.read_bytes(), type=Figures))
    before, _, rest = page.read_text("utf-8").partition(BEGIN)
    page.write_text(f"{before}{BEGIN}\n{made}\n{END}{rest.partition(END)[2]}", "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
