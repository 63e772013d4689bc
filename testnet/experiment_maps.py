"""The experiment's charts of time and place: prices by hour and by bus, energy by hour, lines and their limits."""

import datetime
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from broker.backtest.result import Result
from testnet.experiment_charts import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PALE,
    RED,
    Svg,
    canvas,
    label,
    legend_above,
    styled,
    svg_of,
)
from testnet.experiment_world import Community

COLOURS: Final = "cividis"
HOURS: Final = 24
TIMES: Final = {"by day, 9:00 to 15:00": (9, 15), "in the evening, 17:00 to 22:00": (17, 22)}
MONTHS: Final = {"winter": (12, 1, 2), "spring": (3, 4, 5), "summer": (6, 7, 8), "autumn": (9, 10, 11)}

Floats = npt.NDArray[np.float64]


@styled
def price_of_hours(result: Result) -> Svg:
    """The mean price over all buses with a price, a column for each day and a row for each hour."""
    prices = mean_prices(result) / 1_000_000
    days = prices.reshape(-1, HOURS).T
    dates = _dates(result)
    figure, axes = canvas(3.0)
    image = axes.imshow(days, aspect="auto", origin="lower", cmap=COLOURS, interpolation="nearest")
    axes.grid(visible=False)
    axes.set_yticks([0, 6, 12, 18], ["0:00", "6:00", "12:00", "18:00"])
    firsts = [index for index, date in enumerate(dates) if date.day == 1 or index == 0]
    if len(firsts) > 2:
        axes.set_xticks(firsts, [f"{dates[index]:%b}" for index in firsts])
        axes.set_xlabel(f"day, {dates[0]:%B %Y} to {dates[-1]:%B %Y}")
    else:
        steps = range(0, len(dates), max(1, len(dates) // 7))
        axes.set_xticks(steps, [f"{dates[index]:%-d %b}" for index in steps])
        axes.set_xlabel("day")
    axes.set_ylabel("hour of the day")
    figure.colorbar(image, ax=axes, label="dollars per kWh", pad=0.02)
    return svg_of(figure, "Price by hour and day")


@styled
def price_of_buses(result: Result, community: Community) -> Svg:
    """The grid as it lies; at each bus with a home or shop the mean price of what was traded there, by day and by
    evening."""
    figure, panels = canvas(4.7, 1, 2, sharex=True, sharey=True)
    hours = np.arange(len(result.slots.retail)) % HOURS
    for panel, (title, (first, end)) in zip(panels, TIMES.items(), strict=True):
        chosen = (first <= hours) & (hours < end)
        known = {
            bus: price / 1_000_000
            for row, bus in enumerate(result.slots.buses)
            if (price := _price_at(result, row, chosen)) is not None
        }
        _draw_grid(panel, result, community)
        _draw_buses(figure, panel, community, known)
        panel.set_title(title)
        panel.set_xlabel("metres, west to east")
    panels[0].set_ylabel("metres, south to north")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return svg_of(figure, "Price by bus on the grid")


def _draw_grid(panel: Axes, result: Result, community: Community) -> None:
    """Its lines, as wide as the most that was contracted over each."""
    spots = _spots(community)
    flow = {line.line: max(line.largest_down_wh, line.largest_up_wh) for line in result.lines}
    drawn = [(parent, child) for parent, child, *_ in community.grid.lines if parent != community.grid.root]
    largest = max((flow.get(child, 0) for _, child in drawn), default=0) or 1
    segments: list[Any] = [[spots[parent], spots[child]] for parent, child in drawn]
    widths = [0.6 + 5 * flow.get(child, 0) / largest for _, child in drawn]
    panel.add_collection(LineCollection(segments, linewidths=widths, colors=PALE, capstyle="round", zorder=1))
    panel.scatter(*spots[community.transformer], marker="^", s=110, color=RED, zorder=4, label="transformer")
    panel.set_aspect("equal")
    panel.grid(visible=False)


def _draw_buses(figure: Figure, panel: Axes, community: Community, known: Mapping[str, float]) -> None:
    spots = _spots(community)
    homes = zip(community.buses, community.homes.homes, strict=True)
    shops = {bus for bus, home in homes if home.name.startswith("shop")}
    colours = Normalize(min(known.values(), default=0), max(known.values(), default=1))
    for group, mark, size, name in ((set(known) - shops, "o", 80, "home"), (set(known) & shops, "s", 95, "shop")):
        buses = sorted(group)
        image = panel.scatter(
            [spots[bus][0] for bus in buses], [spots[bus][1] for bus in buses], c=[known[bus] for bus in buses],
            cmap=COLOURS, norm=colours, s=size, marker=mark, edgecolors=INK, linewidths=0.8, zorder=3, label=name,
        )  # fmt: skip
    figure.colorbar(image, ax=panel, label="dollars per kWh", location="bottom", shrink=0.9, pad=0.02)


@styled
def energy_of_hours(result: Result) -> Svg:
    """An average day of each season: bought from neighbours, from the utility, and fed to it."""
    slots = result.slots
    months = np.repeat([date.month for date in _dates(result)], HOURS)
    local = np.array(slots.bought_wh, dtype=np.float64).sum(axis=0)
    series: Sequence[tuple[str, str, Floats]] = (
        ("from neighbours", BLUE, local),
        ("from the utility", GREY, np.array(slots.imported_wh, dtype=np.float64)),
        ("fed to the utility", ORANGE, -np.array(slots.exported_wh, dtype=np.float64)),
    )
    seasons = [name for name, of in MONTHS.items() if np.isin(months, of).any()]
    figure, panels = canvas(2.5, 1, len(seasons), sharey=True, squeeze=False)
    hours = np.arange(HOURS)
    for panel, season in zip(panels[0], seasons, strict=True):
        chosen = np.isin(months, MONTHS[season])
        for name, colour, values in series:
            mean = values[chosen].reshape(-1, HOURS).mean(axis=0) / 1000
            panel.fill_between(hours, mean, step="mid", color=colour, alpha=0.25, linewidth=0)
            panel.plot(hours, mean, drawstyle="steps-mid", color=colour, linewidth=1.8, label=name)
        panel.axhline(0, color=INK, linewidth=0.8)
        panel.set_title(season)
        panel.set_xticks([0, 12], ["0:00", "12:00"])
    panels[0][0].set_ylabel("kW, mean day")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, handlelength=1.2)
    return svg_of(figure, "Energy by hour and season")


@styled
def feeders(results: Mapping[str, Result], community: Community) -> Svg:
    """The largest contracted flow on every line out of the transformer, in each run, and its limit there."""
    names = sorted({place.feeder for place in community.places.values() if place.feeder}, key=_number)
    figure, axes = canvas(1.2 + 0.2 * len(names) * len(results))
    height = 0.8 / len(results)
    colours = (BLUE, ORANGE, GREEN)
    for turn, (name_of_run, result) in enumerate(results.items()):
        lines = {line.line: line for line in result.lines}
        rows = [row + (turn - (len(results) - 1) / 2) * height for row in range(len(names))]
        flows = [max(lines[name].largest_down_wh, lines[name].largest_up_wh) / 1000 for name in names]
        axes.barh(rows, flows, height=height * 0.9, color=colours[turn % 3], label=name_of_run)
        for row, name, flow in zip(rows, names, flows, strict=True):
            limit = min(
                (wh for wh in (lines[name].limit_down_wh, lines[name].limit_up_wh) if wh is not None), default=None
            )
            if limit is not None and limit / 1000 < 3 * max(flows):
                axes.plot([limit / 1000] * 2, [row - height / 2, row + height / 2], color=RED, linewidth=2.2)
            elif limit is not None:
                label(axes, flow, row, f"of {limit / 1000:.0f}", fontsize=8, color=GREY)
    axes.set_yticks(range(len(names)), [f"to {name.removeprefix('LV3.101-')}" for name in names])
    axes.invert_yaxis()
    axes.set_xlabel("largest contracted flow in an hour, kW (red: the limit)")
    legend_above(axes, 3)
    return svg_of(figure, "Contracted flows and limits of the feeders")


def mean_prices(result: Result) -> Floats:
    """By slot the mean over the buses that have a price; where none has, retail."""
    table = np.array(
        [[np.nan if price is None else price for price in row] for row in result.slots.price], dtype=np.float64
    )
    counts = (~np.isnan(table)).sum(axis=0)
    means = np.where(counts > 0, np.nansum(table, axis=0) / np.maximum(counts, 1), result.slots.retail)
    return np.asarray(means, dtype=np.float64)


def _price_at(result: Result, row: int, chosen: npt.NDArray[np.bool_]) -> float | None:
    """The mean price of a bus in the chosen slots, by what was traded there; None if nothing was."""
    slots = result.slots
    traded = np.array(slots.bought_wh[row]) + np.array(slots.sold_wh[row])
    prices = np.array([0 if price is None else price for price in slots.price[row]])
    total = int(traded[chosen].sum())
    return float((prices * traded)[chosen].sum() / total) if total else None


def _dates(result: Result) -> list[datetime.date]:
    slots, seconds = result.slots, result.settings.slot_seconds
    first = datetime.datetime.fromtimestamp(slots.first_slot * seconds, datetime.UTC).date()
    return [first + datetime.timedelta(days=day) for day in range(len(slots.retail) * seconds // 86_400)]


def _spots(community: Community) -> dict[str, tuple[float, float]]:
    """Metres east and north of the most southern and western bus. SimBench draws to the fourth digit of a degree."""
    places = community.places
    west, south = min(p.longitude for p in places.values()), min(p.latitude for p in places.values())
    east = 111_320 * np.cos(np.radians(south))
    return {bus: (east * (p.longitude - west), 111_320 * (p.latitude - south)) for bus, p in places.items()}


def _number(bus: str) -> int:
    return int(bus.rpartition("-")[2])
