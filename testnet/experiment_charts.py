"""The experiment's charts, as SVG that stands in a page: bills, gains, seeds, shares, imbalance, skill, budgets.

One style for all: seven colours that colour-blind people tell apart (Okabe and Ito), each always for the same thing;
dark text on white; a unit on every axis. Text stays text. The same data, the same bytes.
"""

import functools
import io
import re
from collections.abc import Callable, Sequence
from typing import Any, Final, ParamSpec, TypeAlias

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from broker.backtest.result import Case, Home, Result, Study
from testnet import experiment_result as figures

INK: Final = "#1a1a1a"
PALE: Final = "#d9d9d9"
GREY: Final = "#767676"
BLUE: Final = "#0072b2"
SKY: Final = "#56b4e9"
GREEN: Final = "#009e73"
ORANGE: Final = "#e69f00"
RED: Final = "#d55e00"
WIDTH: Final = 6.4
"""Inches: 460 points, what a phone shows with letters of 9 pixels and a page with 14."""

UTILITY_ONLY, ALONE, BROKER, OPTIMUM = "utility only", "alone, planned", "brokers", "perfect foresight"
COLOURS: Final = {UTILITY_ONLY: GREY, ALONE: SKY, BROKER: BLUE, OPTIMUM: GREEN}
MARKS: Final = {UTILITY_ONLY: "o", ALONE: "s", BROKER: "o", OPTIMUM: "D"}
STYLE: Final[dict[Any, Any]] = {
    "axes.axisbelow": True, "axes.edgecolor": "#9a9a9a", "axes.grid": True, "axes.grid.axis": "x",
    "axes.labelcolor": INK, "axes.labelsize": 10, "axes.spines.right": False, "axes.spines.top": False,
    "axes.titlelocation": "left", "axes.titlesize": 10.5, "font.family": "sans-serif", "font.size": 10,
    "grid.color": "#e6e6e6", "grid.linewidth": 0.8, "legend.fontsize": 9.5, "legend.frameon": False,
    "svg.fonttype": "none", "svg.hashsalt": "watt", "text.color": INK, "xtick.color": INK, "ytick.color": INK,
}  # fmt: skip

Svg: TypeAlias = str
P = ParamSpec("P")


def styled(draw: Callable[P, Svg]) -> Callable[P, Svg]:
    """Draws in the style of all charts."""

    @functools.wraps(draw)
    def run(*args: P.args, **kwargs: P.kwargs) -> Svg:
        with mpl.rc_context(STYLE):
            return draw(*args, **kwargs)

    return run


def canvas(height: float, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Figure, Any]:
    """An empty figure of ``height`` inches, and its axes: one, or an array."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.subplots(rows, columns, **options)


def svg_of(figure: Figure, what: str) -> Svg:
    """The figure as an element of a page; ``what``: said to those who cannot see it."""
    with mpl.rc_context({"svg.hashsalt": what}):
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    body = out.getvalue()
    body = re.sub(r"<metadata>.*?</metadata>", "", body[body.index("<svg") :], flags=re.DOTALL)
    body = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", body, count=1)
    body = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", body, count=1)
    body = body.replace("'DejaVu Sans', 'Bitstream Vera Sans'", "Helvetica, Arial, 'DejaVu Sans'")
    return body.replace("<svg ", f'<svg role="img" aria-label="{what}" ', 1)


def label(axes: Axes, value: float, row: float, text: str, **options: Any) -> None:
    """To the right of a bar's end."""
    place = {"xytext": (4, 0), "textcoords": "offset points", "va": "center"}
    axes.annotate(text.replace("-", "\N{MINUS SIGN}"), (value, row), **{**place, **options})


def legend_above(axes: Axes, columns: int = 4) -> None:
    """In one row above the chart."""
    axes.legend(
        loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=columns, borderaxespad=0.2, handletextpad=0.4,
        columnspacing=1.2, handlelength=1.2,
    )  # fmt: skip


@styled
def bills(study: Study) -> Svg:
    """A row for every home: its bill in each case, a year's tokens or a season's."""
    homes = sorted(study.homes, key=lambda home: home.bills.utility_only)
    figure, axes = canvas(1.1 + 0.27 * len(homes))
    for row, home in enumerate(homes):
        ends = [home.bills.utility_only, home.bills.broker]
        axes.plot(ends, [row, row], color=SKY if ends[1] <= ends[0] else ORANGE, linewidth=3, alpha=0.6, zorder=1)
    values = {
        UTILITY_ONLY: [home.bills.utility_only for home in homes],
        OPTIMUM: [home.bills.optimum for home in homes],
        BROKER: [home.bills.broker for home in homes],
    }
    for name, row_values in values.items():
        axes.scatter(
            row_values, range(len(homes)), s=34, marker=MARKS[name], label=name, zorder=3, linewidths=1.4,
            edgecolors=COLOURS[name], facecolors="white" if name == UTILITY_ONLY else COLOURS[name],
        )  # fmt: skip
    axes.set_yticks(range(len(homes)), [home.name for home in homes])
    axes.set_ylim(-0.7, len(homes) - 0.3)
    axes.set_xlabel("bill, dollars")
    axes.axvline(0, color=INK, linewidth=0.8)
    legend_above(axes)
    return svg_of(figure, "Bills by home in three cases")


@styled
def gains(study: Study) -> Svg:
    """What each home saves, as a part of its bill: by planning alone, and by trade."""
    homes = sorted(study.homes, key=lambda home: -home.change_pct)
    figure, axes = canvas(1.1 + 0.27 * len(homes))
    mean = sum(home.bills.utility_only for home in homes) / len(homes)
    planned, traded = [], []
    for home in homes:
        base = max(abs(home.bills.utility_only), 0.1 * abs(mean))
        planned.append(100 * (home.bills.utility_only - home.bills.alone) / base)
        traded.append(100 * (home.bills.alone - home.bills.broker) / base)
    rows = range(len(homes))
    starts = [plan if plan * trade > 0 else 0.0 for plan, trade in zip(planned, traded, strict=True)]
    axes.barh(rows, planned, color=SKY, label="by planning, without an exchange", height=0.7)
    axes.barh(rows, traded, left=starts, color=BLUE, label="by trading with neighbours", height=0.7)
    for row, home in enumerate(homes):
        end = max(planned[row], 0) + max(traded[row], 0)
        label(axes, end, row, f"{-home.change_pct:.1f} %", fontsize=9)
    axes.set_yticks(rows, [home.name for home in homes])
    axes.set_ylim(-0.7, len(homes) - 0.3)
    axes.margins(x=0.12)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_xlabel("saved, percent of the bill with the utility alone")
    legend_above(axes, 2)
    return svg_of(figure, "Saving by home, from planning and from trade")


@styled
def spreads(cases: Sequence[figures.Case], goal: float) -> Svg:
    """How far the bill is below utility only: the mean of the seeds, from the least to the largest, and the optimum."""
    figure, axes = canvas(1.3 + 0.36 * len(cases))
    for row, case in enumerate(cases):
        spread = case.bill_pct
        axes.plot([-spread.least, -spread.largest], [row, row], color=SKY, linewidth=7, solid_capstyle="round")
        axes.scatter([-spread.mean], [row], color=BLUE, s=40, zorder=3, label=BROKER if not row else None)
        axes.scatter([-case.optimum_bill_pct], [row], color=GREEN, s=34, marker="D", label=OPTIMUM if not row else None)
        above = {"xytext": (0, 5), "ha": "center", "va": "bottom", "fontsize": 9}
        label(axes, -spread.mean, row, f"{-spread.mean:.1f}", **above)
    axes.axvline(goal, color=RED, linestyle=(0, (4, 3)), linewidth=1.2, label=f"the trial: {goal:g} %", zorder=0)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_yticks(range(len(cases)), [case.name for case in cases])
    axes.set_ylim(len(cases) - 0.4, -0.7)
    axes.margins(x=0.1)
    axes.set_xlabel("bill below utility only, percent")
    legend_above(axes)
    return svg_of(figure, "Bills by strategy and seed: " + ", ".join(case.name for case in cases))


@styled
def cases(result: Result) -> Svg:
    """Self-sufficiency, renewable share of driving and CO2 in the four cases, each on its own scale."""
    community = result.community
    named: dict[str, Case] = {
        UTILITY_ONLY: community.utility_only, ALONE: community.alone,
        BROKER: community.broker, OPTIMUM: community.optimum,
    }  # fmt: skip
    figure, axes = canvas(2.3, 1, 3, sharey=True)
    base = community.utility_only.co2_kg or 1.0  # these data have a carbon column
    panels = (
        ("self-sufficiency, %", [100 * case.self_sufficiency for case in named.values()]),
        ("driving renewable, %", [100 * (case.renewable_driving or 0.0) for case in named.values()]),
        ("CO2, % of utility only", [100 * (case.co2_kg or 0.0) / base for case in named.values()]),
    )
    rows = range(len(named))
    for panel, (title, values) in zip(axes, panels, strict=True):
        panel.barh(rows, values, color=[COLOURS[name] for name in named], height=0.62)
        for row, value in enumerate(values):
            label(panel, value, row, f"{value:.0f}")
        panel.set_title(title)
        panel.margins(x=0.2)
        panel.set_xticks([])
        panel.spines["bottom"].set_visible(False)
        panel.tick_params(length=0)
    axes[0].set_yticks(rows, list(named))
    axes[0].invert_yaxis()
    return svg_of(figure, "Self-sufficiency, renewable driving and CO2 in four cases")


@styled
def imbalance(result: Result) -> Svg:
    """What contracts did not cover, of each home's use, and what that cost."""
    homes = sorted(result.homes, key=lambda home: _share(home.imbalance_wh, home))
    figure, axes = canvas(1.0 + 0.24 * len(homes), 1, 2, sharey=True, width_ratios=(3, 2))
    rows = range(len(homes))
    axes[0].barh(rows, [_share(home.imbalance_wh, home) for home in homes], color=SKY, height=0.7)
    axes[0].set_xlabel("bought from or fed to the utility,\npercent of use")
    axes[1].barh(
        rows, [100_000 * home.imbalance_cost / max(home.load_wh, 1) for home in homes], color=ORANGE, height=0.7
    )
    axes[1].set_xlabel("what that cost more,\ncents per kWh of use")
    axes[0].set_yticks(rows, [home.name for home in homes])
    axes[0].set_ylim(-0.7, len(homes) - 0.3)
    return svg_of(figure, "Imbalance by home and its cost")


@styled
def skill(result: Result) -> Svg:
    """How good forecasts an hour ahead were, of load and of sun, by home."""
    homes = sorted(result.homes, key=lambda home: home.forecast_mase_load or 0.0)
    figure, axes = canvas(1.1 + 0.24 * len(homes))
    for name, colour, mark, values in (
        ("load", BLUE, "o", [home.forecast_mase_load for home in homes]),
        ("sun", ORANGE, "D", [home.forecast_mase_sun for home in homes]),
    ):
        known = [(value, row) for row, value in enumerate(values) if value is not None]
        axes.scatter(
            [value for value, _ in known], [row for _, row in known], color=colour, marker=mark, label=name, s=30
        )
    axes.axvline(1.0, color=GREY, linewidth=1.0)
    axes.set_yticks(range(len(homes)), [home.name for home in homes])
    axes.set_ylim(-0.7, len(homes) - 0.3)
    axes.set_xlim(left=0)
    axes.set_xlabel("mean error an hour ahead; 1 is that of yesterday's figure")
    legend_above(axes)
    return svg_of(figure, "Forecast errors by home")


@styled
def compared(values: Sequence[tuple[str, float]], unit: str, form: str = "{:.1f}") -> Svg:
    """A bar for each of a few runs."""
    figure, axes = canvas(0.75 + 0.34 * len(values))
    rows = range(len(values))
    axes.barh(rows, [value for _, value in values], color=[BLUE, *[SKY] * (len(values) - 1)], height=0.64)
    for row, (_, value) in enumerate(values):
        label(axes, value, row, form.format(value))
    axes.set_yticks(rows, [name for name, _ in values])
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set_xlabel(unit)
    return svg_of(figure, unit)


def _share(wh: int, home: Home) -> float:
    return 100 * wh / max(home.load_wh, 1)
