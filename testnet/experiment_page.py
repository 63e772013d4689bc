"""The experiment's report: one page of HTML that needs nothing else, neither files nor scripts.

Every figure has a sentence that says what it shows, made from the same numbers: it is true whatever came out.
"""

import jinja2

from testnet import experiment_sections as sections
from testnet.experiment_nodes_page import nodes_section
from testnet.experiment_parts import Tile, percent, signed
from testnet.experiment_result import TRIAL_BILL_PCT, TRIAL_RENEWABLE_DRIVING_PCT, Figures
from testnet.experiment_sections import FORESIGHT_PCT, WORST_PCT, Material

TITLE = "Brokers that earn their keep"


def page(material: Material) -> str:
    """The whole document."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("testnet"), autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined
    )
    parts = [
        make(material)
        for make in (
            sections.trial,
            sections.bills,
            sections.prices,
            sections.energy,
            sections.distance,
            sections.limits,
            sections.spread,
            sections.quality,
        )
    ]
    return environment.get_template("experiment.html").render(
        title=TITLE,
        lead=_lead(material),
        tiles=_tiles(material.figures),
        sections=[*parts, nodes_section(material.figures.weeks)],
        assumptions=assumptions(material),
        command=material.figures.command,
    )


def assumptions(material: Material) -> list[str]:
    """What is not in the data: of the run, and of the world."""
    return [
        *material.year.runs[0].settings.assumptions,
        "Homes hang on the buses where SimBench has panels, shops where it has businesses; a shop's load is a measured "
        "building's, or a standard profile's, scaled to SimBench's peak there.",
        "Of home 12 and home 15 the data's load looks like sunshine, with nothing at night; the panels of home 15 give "
        "nearly nothing. They are taken as they are.",
        "Driving is renewable by what vehicles charged and did not give back: sun alone, if nothing else is said.",
        "Drivers work in the shops in turn, and can plug in there.",
        "Local hours are taken for UTC; the shops' hours are those of a year that began on the same day of the week.",
    ]


def _lead(material: Material) -> str:
    year, homes = material.figures.year, material.community.homes.homes
    shops = sum(home.name.startswith("shop") for home in homes)
    found = "less" if year.bill_pct.mean < 0 else "more"
    return (
        f"{len(homes) - shops} measured homes with panels, batteries and cars, and {shops} shops, trade electricity "
        f"hour by hour for {year.days} days on a real kind of low-voltage grid. Software brokers place every order "
        f"from forecasts alone. Together they pay {abs(year.bill_pct.mean):.1f} % {found} than with the utility only. "
        f"{material.figures.noise_words}"
    ).strip()


def _tiles(figures: Figures) -> list[Tile]:
    year, weeks = figures.year, figures.weeks
    mean_met, worst_met, share_met = sections.targets(year)
    differing = sum(week.differing for week in weeks)
    bills = sum(len(week.homes) for week in weeks)
    equal = f"{bills - differing} of {bills}"
    seeds = figures.strategies[0]
    many = f"{seeds.seeds} {'seed' if seeds.seeds == 1 else 'seeds'} of {seeds.days} days"
    spread = f"{many}: {signed(seeds.bill_pct.least)} to {signed(seeds.bill_pct.largest)}"
    lines = max((case.line_pct or 0.0 for case in figures.variants), default=0.0)
    return [
        Tile(signed(year.bill_pct.mean), "mean bill", f"{spread}; aimed at: {signed(TRIAL_BILL_PCT, 0)}", mean_met),
        Tile(
            signed(year.worst_home_pct.largest),
            "the home that fares worst",
            f"aimed at: {signed(WORST_PCT, 0)} at most",
            worst_met,
        ),
        Tile(
            percent(year.share_of_foresight_pct, 0),
            "of what perfect foresight saves",
            f"which is {signed(year.optimum_bill_pct)}; aimed at: {percent(FORESIGHT_PCT, 0)}",
            share_met,
        ),
        Tile(
            percent(year.local_pct, 0),
            "of energy from outside is local",
            f"self-sufficiency {percent(year.self_sufficiency_pct, 0)}",
        ),
        Tile(
            percent(year.renewable_driving_pct, 0),
            "of driving is renewable",
            f"the trial: {TRIAL_RENEWABLE_DRIVING_PCT:.0f} %, another place",
        ),
        Tile(equal, "weekly bills agree on real nodes", "with those of one process, to the base unit", not differing)
        if not figures.busy_words
        else Tile("late", "on real nodes", f"{figures.busy_words} ({equal} weekly bills agree)", False),
        Tile(
            f"{sum(week.is_agreed for week in weeks)} of {len(weeks)}",
            "chains with one state root",
            "the same on all four nodes, and replayed from the genesis",
            all(week.is_agreed for week in weeks),
        ),
        Tile(
            percent(lines, 0),
            "the fullest line",
            "contracted flow, of the limit, in every variant with limits",
            lines <= 100,
        ),
        Tile(signed(year.co2_pct), "CO2 of bought energy", f"perfect foresight: {signed(year.optimum_co2_pct)}"),
    ]
