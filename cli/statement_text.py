"""A statement on a terminal: its table, and what one line of it rests on."""

import click

from cli.output import plain, print_table, print_trace
from cli.slots import slot_words
from cli.statement import Statement
from cli.statement_lines import RENT, Item, Line, Source
from cli.statement_words import (
    WITHOUT_MONEY,
    Token,
    average,
    energy_of,
    name_of,
    per_kwh_exact,
    period_of,
    remarks,
    rent_words,
    verdict,
)
from cli.units import kwh, per_kwh

_ID_COLUMN = 12


def print_statement(statement: Statement, token: Token, *, width: int | None = None) -> None:
    """The numbered lines; what was paid is negative. ``width``: of the terminal, by default what it says."""
    print_table(
        f"Statement of {statement.facts.network}, {period_of(statement)}",
        (">No.", "", ">kWh", f">{token.symbol}", ">Average", "?>From", "?>To"),
        [_row(line, token) for line in statement.lines],
        width=width,
    )
    click.echo(plain(verdict(statement, token)))
    for remark in remarks(statement, token):
        click.echo(plain(remark))


def _row(line: Line, token: Token) -> tuple[object, ...]:
    mean, prices = average(line), line.prices
    mark, energy = "*" if line.is_provisional else " ", energy_of(line)
    low, high = ("", "") if mean is None or prices is None else (per_kwh(each, token.decimals) for each in prices)
    return (
        line.number,
        name_of(line),
        "" if energy is None else kwh(energy) + (mark if line.kind in WITHOUT_MONEY else ""),
        "" if line.kind in WITHOUT_MONEY else token.rounded(line.amount) + mark,
        "" if mean is None else per_kwh(mean, token.decimals),
        low,
        high,
    )


def print_line(statement: Statement, line: Line, token: Token) -> None:
    """What a line rests on, slot by slot, with whole ids; it adds up exactly."""
    _tell(plain(f"Line {line.number}: {name_of(line)}, {statement.facts.network}, {period_of(statement)}"))
    slot = None
    for item in sorted(line.items, key=lambda item: item.slot):
        if item.slot != slot:
            slot = item.slot
            words = slot_words(slot, statement.facts.slot_seconds)
            _tell(f"{words}{'' if item.is_final else ', may still be corrected'}")
        _tell(plain(f"  {_sentence(item, line, token)}"))
        for source in item.sources:
            _print_source(source)
    if line.kind == RENT and line.items:
        _tell(plain(f"  {rent_words(statement, token)}"))
    assert line.amount == sum([item.amount for item in line.items]), "a line is not what it rests on"
    if line.kind in WITHOUT_MONEY:
        return _tell(f"sum {sum([item.energy_wh for item in line.items]):,} Wh = line {line.number}")
    _tell(f"sum {token.exact(line.amount)} {plain(token.symbol)} = line {line.number}")


def _sentence(item: Item, line: Line, token: Token) -> str:
    words = [f"{item.device or 'all devices'} {item.reason}"]
    if item.energy_wh:
        words.append(f"{item.energy_wh:,} Wh")
    if item.price is not None and item.amount in (item.energy_wh * item.price, -item.energy_wh * item.price):
        words.append(f"at {per_kwh_exact(item.price, token.decimals)}")
    if line.kind not in WITHOUT_MONEY:
        words.append(f"= {token.exact(item.amount)}")
    if item.other_device:
        words.append(f"{'to' if item.reason == 'sold' else 'from'} {item.other_device}")
    if item.auction is not None:
        words.append(f"in auction {item.auction[0]}, block {item.auction[2]}")
    if item.energy_wh < 0 and item.revision:
        words.append("(reversal)")
    elif item.revision:
        words.append(f"(revision {item.revision})")
    return " ".join(words)


def _print_source(source: Source) -> None:
    block = f"block {source.height}"
    if source.id:
        _tell(f"    {source.what:<{_ID_COLUMN}}{source.id.hex()}")
    if source.what == "settlement":
        return _tell(f"    {'settled in':<{_ID_COLUMN}}{block}")
    _tell(f"    {'by' if source.id else source.what:<{_ID_COLUMN}}{source.tx.hex()}, {block}")


def _tell(line: str) -> None:
    print_trace(line, err=False)
