"""The report's sections about the community: each a few sentences, made from the figures, and its charts and tables."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from broker.backtest.result import Home, HomeBills, Result, Study
from testnet import experiment_charts as charts
from testnet import experiment_maps as maps
from testnet.experiment_parts import Chart, Section, Table, dollars, percent, signed
from testnet.experiment_result import (
    TRIAL_BILL_PCT,
    TRIAL_CO2_PCT,
    TRIAL_RENEWABLE_DRIVING_PCT,
    Case,
    Figures,
    Named,
    pct,
)
from testnet.experiment_world import Community

WORST_PCT: Final = 1.0
FORESIGHT_PCT: Final = 70.0
"""Aimed at: no home worse off than this; at least so much of what perfect foresight would save."""


class Material(NamedTuple):
    """All that the report is made from. ``year``: the study of the chosen strategy over the whole year; the weeks by
    strategy, the chosen one first, and by variant, the first as it is."""

    community: Community
    figures: Figures
    year: Study
    strategies: tuple[Named, ...]
    variants: tuple[Named, ...]


def trial(material: Material) -> Section:
    """The figures beside those of the trial."""
    year = material.figures.year
    optimum = material.year.runs[0].community.optimum
    rows = [
        ("bills", _about(TRIAL_BILL_PCT), signed(year.bill_pct.mean), signed(year.optimum_bill_pct)),
        ("driving renewable, sun alone", "", percent(year.renewable_driving_pct), _pct(optimum.renewable_driving)),
        (
            "with the utility's assumed mix",
            f"{TRIAL_RENEWABLE_DRIVING_PCT:.0f} %",
            percent(year.renewable_with_mix_pct),
            _pct(optimum.renewable_driving_with_mix),
        ),
        ("CO2", _about(TRIAL_CO2_PCT), signed(year.co2_pct), signed(year.optimum_co2_pct)),
    ]
    text = (
        "The trial in Higashi-Fuji (2019 to 2020) is another place with other homes, tariffs, panels and weather: its "
        "figures show the order of magnitude and nothing more. How it counted what is renewable is not known here. "
        "What these data allow at all is in the last column."
    )
    return Section(
        "Beside the trial",
        (text,),
        (Table(("against the utility alone", "trial", "here, brokers", "here, perfect foresight"), rows),),
    )


def bills(material: Material) -> Section:
    """By home: what it pays, and why it gains or loses."""
    study, result = material.year, material.year.runs[0]
    homes = study.homes
    gaining = sum(home.change_pct < 0 for home in homes)
    worst = max(homes, key=lambda home: home.change_pct)
    best = min(homes, key=lambda home: home.change_pct)
    planned = sum(home.bills.utility_only - home.bills.alone for home in homes)
    whole = sum(home.bills.utility_only - home.bills.broker for home in homes)
    says = (
        f"{gaining} of {len(homes)} pay less than with the utility alone; {worst.name} fares worst "
        f"({signed(worst.change_pct)}), {best.name} best ({signed(best.change_pct)})."
    )
    why = (
        f"Of all that is saved, {percent(pct(planned, whole), 0)} comes from planning batteries and cars against the "
        f"utility's tariff, {percent(pct(whole - planned, whole), 0)} from trade: sellers get more than feed-in, and "
        "buyers pay less than retail."
    )
    return Section(
        "What each home pays",
        (),
        (
            Chart(f"Bills of {material.figures.year.days} days", says, charts.bills(study)),
            Chart("Where the saving comes from", why, charts.gains(study)),
            _why(study, result),
        ),
    )


def prices(material: Material) -> Section:
    """By hour and by bus."""
    result = material.year.runs[0]
    means = maps.mean_prices(result) / 1_000_000
    by_hour = means.reshape(-1, maps.HOURS).mean(axis=0)
    low, high = int(by_hour.argmin()), int(by_hour.argmax())
    hours = (
        f"Energy is cheapest around {low}:00 ({by_hour[low]:.2f} dollars per kWh on average) and dearest around "
        f"{high}:00 ({by_hour[high]:.2f}): the exchange hands the utility's tariff and the sun on to everybody."
    )
    buses = (
        "Where energy comes from it is cheap, and along a line the price rises by the distance charge in the direction "
        "of flow. Lines are as wide as the most that was contracted over them; SimBench draws them, not a surveyor."
    )
    return Section(
        "Prices by hour and by place",
        (),
        (
            Chart("Price of every hour", hours, maps.price_of_hours(result)),
            Chart("Mean price at each bus", buses, maps.price_of_buses(result, material.community)),
        ),
    )


def energy(material: Material) -> Section:
    """Where it comes from, and what that means for sun, driving and CO2."""
    result, year = material.year.runs[0], material.figures.year
    before, after = result.community.utility_only, result.community.broker
    flows = (
        f"Neighbours cover {percent(year.local_pct)} of what homes and shops take from outside their walls; the rest "
        "comes from the utility, and what nobody needs is fed to it."
    )
    shares = (
        f"Self-sufficiency goes from {percent(100 * before.self_sufficiency)} to "
        f"{percent(100 * after.self_sufficiency)}, and CO2 of what is bought from the utility changes by "
        f"{signed(year.co2_pct)}. Nobody has more panels than before: only surplus that was fed to the utility can go "
        f"to neighbours instead, and with perfect foresight it would be {signed(year.optimum_co2_pct)}."
    )
    return Section(
        "Where the energy comes from",
        (),
        (
            Chart("A mean day of each season", flows, maps.energy_of_hours(result)),
            Chart("Self-sufficiency, driving and CO2", shares, charts.cases(result)),
        ),
    )


def distance(material: Material) -> Section:
    """With and without the distance charge."""
    cases = {case.name: case for case in material.figures.variants}
    chosen = [cases["as it is"], cases["no distance charge"]]
    with_, without = chosen
    metres = _compared("A traded kWh travels", with_.metres, without.metres, "m")
    local = _compared("the share that stays within one feeder is", with_.feeder_pct, without.feeder_pct, "%")
    cost = (
        f"{metres}; {local}. The charge costs {dollars(with_.tolls, 2)} dollars in these days. The community's bill "
        f"changes by {signed(with_.bill_pct.mean)} with it and {signed(without.bill_pct.mean)} without."
    )
    return Section(
        "Does a distance charge make trade more local?",
        (cost,),
        (
            Chart(
                "Metres that a traded kWh travels",
                "The mean over all trades, along the lines.",
                charts.compared([(case.name, case.metres or 0.0) for case in chosen], "metres", "{:.0f}"),
            ),
            Chart(
                "Traded within one feeder",
                "What a feeder bought and sold in the same hour, of all that was traded.",
                charts.compared([(case.name, case.feeder_pct or 0.0) for case in chosen], "percent of trade"),
            ),
        ),
    )


def limits(material: Material) -> Section:
    """With the grid's limits, with much tighter ones, and without."""
    cases = {case.name: case for case in material.figures.variants}
    named = {each.name: each.results for each in material.variants}
    real, weak, free = cases["as it is"], cases["weak grid"], cases["no limits"]
    season = max(named["weak grid"], key=lambda each: sum(line.full_slots for line in each.lines)).settings.season
    shown = {
        name: next(each for each in named[name] if each.settings.season == season)
        for name in ("no limits", "weak grid")
    }
    text = (
        f"The real grid is strong: the fullest line carries {percent(real.line_pct)} of its thermal limit in "
        "contracted exchange, so that its limits change nothing. To show what limits do, a weak grid has the same "
        f"lines with {material.figures.weak_pct:g} % of them. Its lines are full in {weak.full_slots:,} hours (all "
        "lines together), and contracted flows are within the limits in every one: the fullest line is at "
        f"{percent(weak.line_pct)}. "
        f"Congestion costs: trade falls from {dollars(free.traded_kwh)} to {dollars(weak.traded_kwh)} kWh, the bill's "
        f"change from {signed(free.bill_pct.mean, 2)} to {signed(weak.bill_pct.mean, 2)}; "
        f"{dollars(weak.congestion_rent, 2)} dollars of rent arise at full lines and go back to the homes."
    )
    return Section(
        "Does the grid stay within its limits?",
        (text,),
        (
            Chart(
                f"Largest contracted flow out of the transformer, {season}",
                _within(weak),
                maps.feeders(shown, material.community),
            ),
        ),
    )


def quality(material: Material) -> Section:
    """Imbalance, forecasts, budgets."""
    result, year = material.year.runs[0], material.figures.year
    better = [home for home in result.homes if (home.forecast_mase_load or 9.0) < 1.0]
    cost = sum(home.imbalance_cost for home in result.homes)
    imbalance = (
        f"Contracts leave {percent(year.imbalance_pct)} of what is used open; the utility closes the gap at its "
        f"tariffs. At the auctions' prices the same would have been {dollars(cost)} dollars cheaper."
    )
    skill = (
        f"For {len(better)} of {len(result.homes)} loads the forecast an hour ahead beats yesterday's figure for the "
        "same hour (left of the line)."
    )
    shares = [(home.name, home.shared) for home in result.homes if home.shared]
    text = (
        f"Devices that ran out of tokens were helped by others of their home with {dollars(year.shares, 2)} dollars."
        if shares
        else "Budgets were ample: no device ran out of tokens, so none had to be helped by another."
    )
    parts = [
        Chart("What contracts did not cover", imbalance, charts.imbalance(result)),
        Chart("How good the forecasts are", skill, charts.skill(result)),
    ]
    if shares:
        shown = sorted(shares, key=lambda pair: -pair[1])[:10]
        parts.append(Chart("Tokens shared between devices", text, charts.compared(shown, "dollars", "{:.2f}")))
    return Section("Imbalance, forecasts and budgets", () if shares else (text,), parts)


def spread(material: Material) -> Section:
    """Strategies, seeds, feed-in."""
    cases, goal = material.figures.strategies, -TRIAL_BILL_PCT
    best = min(cases, key=lambda case: case.bill_pct.mean)
    year = material.figures.year
    chosen = next(case for case in cases if case.name == material.figures.strategy)
    says = f"Best on {best.days} days, so many of each season: {best.name} ({signed(best.bill_pct.mean)})."
    if chosen.seeds > 1:
        says += (
            f" With {chosen.seeds} seeds, which draw other trips and cars, {chosen.name} changes the bill by "
            f"{signed(chosen.bill_pct.least)} to {signed(chosen.bill_pct.largest)}."
        )
    feeds = [case for case in material.figures.variants if "feed-in" in case.name or case.name == "as it is"]
    changes = ", ".join(f"{case.name}: {signed(case.bill_pct.mean)}" for case in feeds)
    feed = (
        "The data say nothing of what the utility pays for surplus; 0.08 dollars per kWh are assumed. What another "
        f"price does to the bills, those with the utility alone too: {changes}."
    )
    return Section(
        "Seasons, strategies, seeds, and the assumption that matters most",
        (material.figures.noise_words,) if material.figures.noise_words else (),
        (
            Chart("By season", _seasons(material.figures), charts.spreads([year, *material.figures.seasons], goal)),
            Chart("Strategies", says, charts.spreads(cases, goal)),
            Chart("Another feed-in", feed, charts.spreads(feeds, goal)),
        ),
    )


def _why(study: Study, result: Result) -> Table:
    """A row for each home: what it has, what it traded and at which prices."""
    rows = [_why_row(home, next(each for each in result.homes if each.name == home.name)) for home in study.homes]
    heads = ("", "use, kWh", "sun, kWh", "bill before", "bill after", "change", "sold, kWh at", "bought, kWh at")
    return Table(heads, rows)


def _why_row(home: HomeBills, one: Home) -> Sequence[str]:
    return (
        home.name,
        f"{one.load_wh / 1000:,.0f}",
        f"{one.sun_wh / 1000:,.0f}" if one.sun_wh else "-",
        dollars(home.bills.utility_only),
        dollars(home.bills.broker),
        signed(home.change_pct),
        f"{one.sold_wh / 1000:,.0f} at {1000 * one.earned / one.sold_wh:.3f}" if one.sold_wh else "-",
        f"{one.bought_wh / 1000:,.0f} at {1000 * one.paid / one.bought_wh:.3f}" if one.bought_wh else "-",
    )


def _seasons(figures: Figures) -> str:
    changes = ", ".join(f"{case.name} {signed(case.bill_pct.mean)}" for case in figures.seasons)
    return f"The whole time: {signed(figures.year.bill_pct.mean)}. {figures.seasons[0].days} days of {changes}."


def _within(weak: Case) -> str:
    kept = "no contracted flow was beyond it" if (weak.line_pct or 0.0) <= 100 else "it was EXCEEDED"
    return f"Red: the weak grid's limit; {kept}. Blue: the same days without limits."


def _pct(share: float | None) -> str:
    return percent(None if share is None else 100 * share)


def _about(value: float) -> str:
    return f"about {signed(value, 0)}"


def _compared(what: str, with_: float | None, without: float | None, unit: str) -> str:
    if with_ is None or without is None:
        return f"{what} unknown: nothing was traded"
    return f"{what} {with_:.0f} {unit} with the charge and {without:.0f} {unit} without"


def targets(year: Case) -> tuple[bool, bool, bool]:
    """Whether the mean bill, the worst home and the share of perfect foresight are what was aimed at."""
    share = year.share_of_foresight_pct
    return (
        year.bill_pct.mean <= TRIAL_BILL_PCT,
        year.worst_home_pct.largest <= WORST_PCT,
        share is not None and share >= FORESIGHT_PCT,
    )
