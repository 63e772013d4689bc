"""The report's part about the real nodes: what their blocks held, how late they were, and whether the bills agree."""

from collections.abc import Sequence

from testnet.experiment_charts import BLUE, GREY, RED, SKY, Svg, canvas, legend_above, styled, svg_of
from testnet.experiment_parts import Chart, Section, Table
from testnet.experiment_result import Week


def nodes_section(weeks: Sequence[Week]) -> Section:
    """The section."""
    differing = sum(week.differing for week in weeks)
    homes = sum(len(week.homes) for week in weeks)
    agreed = all(week.is_agreed for week in weeks)
    late, groups = sum(week.late for week in weeks), sum(week.groups for week in weeks)
    transactions, seconds = sum(week.transactions for week in weeks), sum(week.seconds for week in weeks)
    bills = (
        f"All {homes} bills are the same on the nodes and in one process, to the last base unit."
        if not differing
        else f"Of {homes} bills {differing} are another on the nodes than in one process: what is late meets another "
        "auction, and a home that got other contracts goes on from there."
    )
    text = (
        f"The same homes and the same brokers also traded through four real nodes: processes that agree on "
        f"every block, sign it and store it. {_weeks(weeks)} passed at {_pace(weeks)}. "
        f"{transactions:,} transactions went into {sum(week.blocks for week in weeks):,} blocks, "
        f"{transactions / max(seconds, 1):.0f} a second, at most {max(week.busiest_second for week in weeks)}. "
        + ("At the end all four nodes held the same state root. " if agreed else "The nodes' state roots DIFFER. ")
        + f"{sum(week.verified_blocks for week in weeks):,} blocks were replayed from the genesis and found good."
    )
    spare = min(week.spare_ms[0] for week in weeks)
    parts = (
        Table(
            ("week", "blocks", "transactions", "late", "spare ms: least, median", "bills differing", "state root"),
            [
                (
                    f"{week.season}, {week.first_day}", f"{week.blocks:,}", f"{week.transactions:,}",
                    f"{week.late} of {week.groups:,}", f"{week.spare_ms[0]}, {week.spare_ms[1]}",
                    f"{week.differing} of {len(week.homes)}", week.root[:8],
                )
                for week in weeks
            ],
        ),
        Chart(
            "A home's week costs the same on nodes and in one process",
            bills,
            bills_on_nodes(weeks),
        ),
    )  # fmt: skip
    timing = (
        f"No order missed its auction; the tightest was in a block {spare} ms before it."
        if not late
        else f"The machine was too busy: {late:,} of {groups:,} groups of orders were in a block only after the "
        f"auction that they were for, the latest {-spare:,} ms. Bills differ for that reason."
    )
    return Section("On real nodes", (text, timing), parts)


@styled
def bills_on_nodes(weeks: Sequence[Week]) -> Svg:
    """Every home's bill of every week, in the process and on the nodes."""
    figure, axes = canvas(3.6)
    marks = ("o", "s", "D", "^")
    lowest = min(home.in_process for week in weeks for home in week.homes) / 10**9
    highest = max(home.in_process for week in weeks for home in week.homes) / 10**9
    axes.plot([lowest, highest], [lowest, highest], color=GREY, linewidth=1, zorder=1)
    for turn, week in enumerate(weeks):
        same = [home for home in week.homes if home.in_process == home.on_nodes]
        other = [home for home in week.homes if home.in_process != home.on_nodes]
        for homes, colour in ((same, BLUE if turn % 2 else SKY), (other, RED)):
            axes.scatter(
                [home.in_process / 10**9 for home in homes], [home.on_nodes / 10**9 for home in homes],
                marker=marks[turn % 4], s=30, color=colour, label=week.season if homes is same else None, zorder=2,
            )  # fmt: skip
    axes.set_xlabel("bill of the week in one process, dollars")
    axes.set_ylabel("on four nodes, dollars")
    legend_above(axes)
    return svg_of(figure, "Bills of a week on nodes and in one process")


def _pace(weeks: Sequence[Week]) -> str:
    """From the slowest on."""
    speeds = dict.fromkeys(f"{1000 / ms:.1f}" for ms in sorted((week.slot_ms for week in weeks), reverse=True))
    return f"{' to '.join((*speeds,)[:: max(1, len(speeds) - 1)])} hours a second"


def _weeks(weeks: Sequence[Week]) -> str:
    days = sum(week.days for week in weeks)
    named = ", ".join(dict.fromkeys(week.season for week in weeks))
    return f"{days} {'day' if days == 1 else 'days'} ({named})"
