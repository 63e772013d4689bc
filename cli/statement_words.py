"""A statement in people's words: what its lines are called, what they cost on average, and whether it was worth it."""

from decimal import Decimal
from fractions import Fraction
from typing import Final, NamedTuple

from chaincode.settlement_lines import BOUGHT, FEED_IN, RETAIL, SOLD, TOLL
from cli.output import count, tokens
from cli.statement import Statement
from cli.statement_lines import (
    DIFFERENCE,
    EXPORTED,
    IMPORTED,
    INTERNAL_PAID,
    INTERNAL_RECEIVED,
    OWED,
    RENEWABLE,
    RENT,
    TOTAL,
    USED,
    UTILITY_ONLY,
    Line,
)
from cli.units import WH_PER_KWH, clock, kwh

NAMES: Final = {
    BOUGHT: "Bought from neighbours",
    TOLL: "Grid charge",
    RETAIL: "Bought from the utility",
    INTERNAL_PAID: "Own devices, paid",
    SOLD: "Sold to neighbours",
    FEED_IN: "Sold to the utility",
    INTERNAL_RECEIVED: "Own devices, received",
    RENT: "Rent returned",
    TOTAL: "Total",
    UTILITY_ONLY: "With the utility alone",
    DIFFERENCE: "Difference",
    OWED: "Not paid when booked",
    IMPORTED: "Drawn by the devices",
    EXPORTED: "Fed in by the devices",
    USED: "Used, of known origin",
    RENEWABLE: "Of this renewable",
}
WITHOUT_ENERGY: Final = (RENT, TOTAL, UTILITY_ONLY, DIFFERENCE, OWED)
WITHOUT_MONEY: Final = (IMPORTED, EXPORTED, USED, RENEWABLE)
DELETED: Final = "details deleted"


class Token(NamedTuple):
    """What money is called, and its decimals."""

    symbol: str
    decimals: int

    def exact(self, base_units: int) -> str:
        """An amount with as many digits as it has."""
        return _digits(Decimal(base_units).scaleb(-self.decimals))

    def rounded(self, base_units: int) -> str:
        """An amount with three decimals."""
        return tokens(base_units, self.decimals)


def name_of(line: Line) -> str:
    """What a line is called."""
    if line.kind in (BOUGHT, SOLD) and line.counterpart:
        return f"{'Bought from' if line.kind == BOUGHT else 'Sold to'} {line.counterpart}"
    if line.gone or line.gone_wh:
        return f"{NAMES[line.kind]} ({DELETED})"
    return NAMES[line.kind]


def energy_of(line: Line) -> int | None:
    """A line's energy in Wh. None where it would mean nothing, and where nobody knows it any more: of tolls whose
    details are deleted the money alone is kept.
    """
    return None if line.kind in WITHOUT_ENERGY or (line.kind == TOLL and line.gone) else line.energy_wh


def average(line: Line) -> int | None:
    """The average price of a line in base units per Wh, rounded half to even; None where there is none."""
    energy = energy_of(line)
    if not energy or line.kind in WITHOUT_MONEY:
        return None
    return round(Fraction(abs(line.amount), energy))


def verdict(statement: Statement, token: Token) -> str:
    """Whether the exchange was worth it, honest also when it was not."""
    difference, alone = statement.line(DIFFERENCE).amount, statement.line(UTILITY_ONLY).amount
    if not difference:
        return "neither better nor worse than with the utility alone"
    share = "" if not alone else f" ({percent(difference, alone)})"
    how = "better" if difference > 0 else "worse"
    return f"{token.rounded(abs(difference))} {token.symbol}{share} {how} than with the utility alone"


def renewable_share(statement: Statement) -> str | None:
    """``62.3 %`` of what was used; None if nothing is known of it."""
    used, renewable = statement.line(USED).energy_wh, statement.line(RENEWABLE).energy_wh
    return percent(renewable, used) if used else None


def renewable_remark(statement: Statement) -> str:
    """The same as a sentence."""
    return f"{renewable_share(statement)} of what was used is renewable"


def percent(part: int, whole: int) -> str:
    """``8.2 %``, of magnitudes; one decimal."""
    tenths = round(Fraction(1_000 * abs(part), abs(whole)))
    return f"{tenths // 10:,}.{tenths % 10} %"


def period_of(statement: Statement) -> str:
    """``period 3, 2017-06-16 00:00 to 2017-06-17 00:00 UTC``; "so far" if it is not complete."""
    facts = statement.facts
    first, end = (clock(slot * facts.slot_seconds)[:16] for slot in (facts.first_slot, facts.end_slot))
    return f"period {facts.period}, {first} to {end} UTC{', so far' if statement.is_so_far else ''}"


def remarks(statement: Statement, token: Token) -> list[str]:
    """What a reader should know beside the lines."""
    facts = statement.facts
    slots = facts.end_slot - facts.first_slot
    found = [f"{count(statement.settled, 'slot')} of {slots} settled, {statement.final} of them final"]
    if statement.settled > statement.final:
        found.append("figures marked * may still be corrected")
    pending = statement.pending
    if pending.bought_wh or pending.sold_wh:
        found.append(
            f"not settled yet, in no line: bought {kwh(pending.bought_wh)} kWh for {token.rounded(pending.paid)}, "
            f"sold {kwh(pending.sold_wh)} kWh for {token.rounded(pending.proceeds)} {token.symbol}"
        )
    if renewable_share(statement) is not None:
        found.append(renewable_remark(statement))
    if statement.of_unknown_origin:
        found.append(f"origin not known yet of {count(statement.of_unknown_origin, 'slot')}")
    if facts.rent:
        found.append(rent_words(statement, token))
    if statement.estimated:
        found.append(f"{count(statement.estimated, 'reading')} missing, estimated")
    if statement.corrected:
        found.append(f"{count(statement.corrected, 'slot')} settled anew after corrected readings")
    if statement.parked:
        found.append(f"{count(len(statement.parked), 'slot')} could not be settled: {_numbers(statement.parked)}")
    if statement.pruned:
        found.append(f"details of {count(len(statement.pruned), 'slot')} deleted: {_numbers(statement.pruned)}")
    if facts.owed_now:
        found.append(f"owed to the utility now, of all periods: {token.rounded(facts.owed_now)} {token.symbol}")
    return found


def rent_words(statement: Statement, token: Token) -> str:
    """How the rent that came back was shared out."""
    back = [row for row in statement.facts.rents if row.rent]
    rent, tolls = sum([row.of_all.rent for row in back]), sum([row.of_all.tolls for row in back])
    own = sum([row.tolls for row in back])
    times = f", {count(len(back), 'time')}" if len(back) > 1 else ""
    return (
        f"rent of all {token.exact(rent)}, returned pro rata of tolls{times}: "
        f"{token.exact(own)} of {token.exact(tolls)} {token.symbol}"
    )


def _numbers(slots: tuple[int, ...]) -> str:
    """``830-877, 880``: ascending numbers, runs joined."""
    runs: list[list[int]] = []
    for slot in slots:
        if runs and slot == runs[-1][-1] + 1:
            runs[-1][1:] = [slot]
        else:
            runs.append([slot])
    return ", ".join("-".join(str(end) for end in run) for run in runs)


def per_kwh_exact(base_units_per_wh: int, decimals: int) -> str:
    """A price in tokens per kWh with as many digits as it has."""
    return _digits(Decimal(base_units_per_wh * WH_PER_KWH).scaleb(-decimals))


def _digits(number: Decimal) -> str:
    """All digits of a number, without zeros at its end."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
