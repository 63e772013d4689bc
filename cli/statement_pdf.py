"""A statement as one page of A4 that a household understands: what was paid, with whom, and against the utility alone.

The same statement gives the same bytes: the only times in it are its own. The standard fonts of PDF are used, so that
nothing is embedded; what they have no letter for is written as ``U+5186``.
"""

import datetime
from collections.abc import Sequence
from typing import Final, NamedTuple, TypeAlias

from fpdf import FPDF
from fpdf.enums import XPos, YPos

from chaincode.settlement_lines import BOUGHT, FEED_IN, RETAIL, SOLD, TOLL
from cli.statement import Statement
from cli.statement_lines import (
    DIFFERENCE,
    EXPORTED,
    IMPORTED,
    INTERNAL_PAID,
    INTERNAL_RECEIVED,
    MONEY_KINDS,
    OWED,
    RENEWABLE,
    RENT,
    TOTAL,
    USED,
    UTILITY_ONLY,
    Line,
)
from cli.statement_words import (
    DELETED,
    WITHOUT_MONEY,
    Token,
    average,
    energy_of,
    name_of,
    percent,
    remarks,
    renewable_remark,
    renewable_share,
)
from cli.units import clock, kwh, per_kwh

Colour: TypeAlias = tuple[int, int, int]

_INK: Final[Colour] = (33, 37, 41)
GREY: Final[Colour] = (110, 117, 125)
PALE: Final[Colour] = (236, 239, 241)
_SUN: Final[Colour] = (242, 169, 59)
_LEAF: Final[Colour] = (46, 139, 87)
_GRID: Final[Colour] = (140, 152, 164)
_WORSE: Final[Colour] = (192, 57, 43)

LEFT: Final = 18.0
WIDTH: Final = 174.0
_BOTTOM: Final = 286.0
_ROW: Final = 6.0
_FOOT: Final = 30.0
"""What the table leaves for the remarks below it."""
MOST_COUNTERPARTS: Final = 5
"""Of each side that have a row of their own; the others share one."""


class _Row(NamedTuple):
    """A row of the page's table."""

    number: str
    name: str
    energy: str
    price: str
    amount: str
    bold: bool = False


class _Part(NamedTuple):
    """A part of a bar."""

    name: str
    wh: int
    colour: Colour


class Page(FPDF):
    """The one page, with what this module draws with."""

    def ink(self, size: float, colour: Colour = _INK, *, bold: bool = False) -> None:
        self.set_font("Helvetica", "B" if bold else "", size)
        self.set_text_color(*colour)

    def put(self, x: float, y: float, text: str, *, width: float = WIDTH, align: str = "L") -> None:
        """A line of text, cut off at ``width`` mm."""
        self.set_xy(x, y)
        text = letters(text)
        if self.get_string_width(text) > width - 2 * self.c_margin:
            while text and self.get_string_width(f"{text}..") > width - 2 * self.c_margin:
                text = text[:-1]
            text = f"{text}.."
        self.cell(width, self.font_size * 1.3, text, align=align, new_x=XPos.LEFT, new_y=YPos.TOP)

    def box(self, x: float, y: float, width: float, height: float, colour: Colour) -> None:
        self.set_fill_color(*colour)
        self.rect(x, y, width, height, style="F")

    def rule(self, y: float, colour: Colour = PALE) -> None:
        self.set_draw_color(*colour)
        self.set_line_width(0.25)
        self.line(LEFT, y, LEFT + WIDTH, y)


def statement_pdf(statement: Statement, token: Token, read: str) -> bytes:
    """The page as a file's bytes. ``read``: where the figures come from."""
    facts = statement.facts
    page = Page(format="A4")
    page.set_auto_page_break(False)
    page.set_margin(0)
    page.c_margin = 0
    page.set_lang("en")
    page.set_title(letters(f"Energy statement of {facts.network}, period {facts.period}"))
    page.set_creation_date(datetime.datetime.fromtimestamp(facts.end_slot * facts.slot_seconds, datetime.UTC))
    page.add_page()
    _head(page, statement)
    _headline(page, statement, token)
    _energy_chart(page, statement, 84)
    _cost_chart(page, statement, token, 84)
    _renewable(page, statement, 84)
    end = _table(page, _rows(statement, token), token, 148)
    _foot(page, statement, token, read, end + 4)
    return bytes(page.output())


def letters(text: str) -> str:
    """What the standard fonts can write."""
    return "".join(
        each if each.isprintable() and each.encode("latin-1", "ignore") else f"U+{ord(each):04X}" for each in text
    )


def _head(page: Page, statement: Statement) -> None:
    facts = statement.facts
    first, end = (clock(slot * facts.slot_seconds)[:16] for slot in (facts.first_slot, facts.end_slot))
    page.box(0, 0, 210, 3, _LEAF)
    page.ink(22, bold=True)
    page.put(LEFT, 15, "Energy statement")
    page.ink(13, bold=True)
    page.put(LEFT, 17, facts.network, align="R")
    page.ink(10, GREY)
    page.put(LEFT, 26, f"{first} to {end} UTC")
    page.put(LEFT, 26, f"billing period {facts.period}", align="R")
    if statement.is_so_far:
        page.ink(9, (255, 255, 255), bold=True)
        page.box(LEFT, 33, 54, 6.4, _SUN)
        page.put(LEFT, 34.1, "So far: not all slots are settled", width=54, align="C")


def _headline(page: Page, statement: Statement, token: Token) -> None:
    total, difference = statement.line(TOTAL).amount, statement.line(DIFFERENCE).amount
    alone = statement.line(UTILITY_ONLY).amount
    page.box(LEFT, 43, WIDTH, 31, PALE)
    page.ink(11, GREY)
    page.put(LEFT + 6, 47, "You paid" if total <= 0 else "You received")
    page.ink(26, bold=True)
    page.put(LEFT + 6, 53, f"{token.rounded(abs(total))} {token.symbol}", width=86)
    page.ink(9.5, GREY)
    page.put(LEFT + 6, 66, _of_it(statement), width=86)
    better = difference >= 0
    page.ink(11, GREY)
    page.put(LEFT + 98, 47, "Compared with the utility alone", width=72)
    page.ink(18, _LEAF if better else _WORSE, bold=True)
    word = "better" if difference > 0 else "worse" if difference < 0 else "the same"
    share = f" ({percent(difference, alone)})" if alone and difference else ""
    page.put(LEFT + 98, 54, f"{token.rounded(abs(difference))} {word}{share}" if difference else word, width=72)
    page.ink(9.5, GREY)
    paid = "paid" if alone <= 0 else "received"
    page.put(LEFT + 98, 66, f"there you would have {paid} {token.rounded(abs(alone))} {token.symbol}", width=72)


def _of_it(statement: Statement) -> str:
    facts = statement.facts
    provisional = statement.settled - statement.final
    slots = f"{statement.settled} of {facts.end_slot - facts.first_slot} slots settled"
    return slots if not provisional else f"{slots}, {provisional} may still be corrected"


def _energy_chart(page: Page, statement: Statement, y: float) -> None:
    def wh(kind: str) -> int:
        return sum([line.energy_wh for line in statement.of_kind(kind)])

    _subtitle(page, LEFT, y, "Where your energy came from, kWh")
    came = (
        _Part("neighbours", wh(BOUGHT), _LEAF),
        _Part("own devices", wh(INTERNAL_PAID), _SUN),
        _Part("utility", wh(RETAIL), _GRID),
    )
    went = (
        _Part("neighbours", wh(SOLD), _LEAF),
        _Part("own devices", wh(INTERNAL_RECEIVED), _SUN),
        _Part("utility", wh(FEED_IN), _GRID),
    )
    most = max(sum([part.wh for part in came]), sum([part.wh for part in went]), 1)
    _stacked(page, came, most, y + 8)
    _subtitle(page, LEFT, y + 30, "Where your energy went, kWh")
    _stacked(page, went, most, y + 38)


def _subtitle(page: Page, x: float, y: float, text: str) -> None:
    page.ink(11, bold=True)
    page.put(x, y, text, width=84)


def _stacked(page: Page, parts: Sequence[_Part], most: int, y: float) -> None:
    """A bar of parts, its legend below."""
    x, whole = LEFT, sum([part.wh for part in parts])
    page.box(x, y, 82, 7, PALE)
    for part in parts:
        width = 82 * part.wh / most
        page.box(x, y, width, 7, part.colour)
        x += width
    x = LEFT
    for part in parts:
        page.box(x, y + 9.6, 2.6, 2.6, part.colour)
        page.ink(8, _INK)
        page.put(x + 4, y + 9.1, part.name, width=24)
        page.ink(8, GREY)
        share = f" ({percent(part.wh, whole)})" if whole else ""
        page.put(x + 4, y + 12.7, f"{kwh(part.wh)}{share}", width=26)
        x += 28


def _cost_chart(page: Page, statement: Statement, token: Token, y: float) -> None:
    left, width = LEFT + 98, 76.0
    gained = max(0, statement.line(TOTAL).amount, statement.line(UTILITY_ONLY).amount) > 0
    _subtitle(page, left, y, f"What it cost{' or brought' if gained else ''}, in {token.symbol}")
    bars = [
        ("with the exchange", -statement.line(TOTAL).amount, _LEAF),
        ("with the utility alone", -statement.line(UTILITY_ONLY).amount, _GRID),
    ]
    low, high = min(0, *[cost for _, cost, _ in bars]), max(0, *[cost for _, cost, _ in bars])
    scale = width / max(high - low, 1)
    zero = left - low * scale
    for index, (name, cost, colour) in enumerate(bars):
        top = y + 7 + 13 * index
        page.ink(8.5, _INK)
        page.put(left, top, name, width=40)
        page.ink(8.5, _INK, bold=True)
        page.put(
            left, top, token.rounded(cost) if cost >= 0 else f"brought {token.rounded(-cost)}", width=width, align="R"
        )
        page.box(left, top + 4.6, width, 6, PALE)
        page.box(zero + min(0, cost * scale), top + 4.6, abs(cost * scale), 6, colour)
        page.set_draw_color(*_INK)
        page.set_line_width(0.3)
        page.line(zero, top + 4, zero, top + 11.2)


def _renewable(page: Page, statement: Statement, y: float) -> None:
    """Which part of what was used is renewable, as far as it is known."""
    left, width = LEFT + 98, 76.0
    share = renewable_share(statement)
    used, renewable = statement.line(USED), statement.line(RENEWABLE)
    _subtitle(page, left, y + 35, "Renewable, of what you used")
    page.box(left, y + 43, width, 7, PALE)
    if renewable.energy_wh:
        page.box(left, y + 43, width * renewable.energy_wh / used.energy_wh, 7, _LEAF)
    mark = " (may still change)" if used.is_provisional else ""
    text = (
        "not known yet" if share is None else f"{share}{mark}: {kwh(renewable.energy_wh)} of {kwh(used.energy_wh)} kWh"
    )
    page.ink(8.5, GREY)
    page.put(left, y + 52.1, text, width=width)


def _rows(statement: Statement, token: Token) -> list[_Row]:
    rows: list[_Row] = []
    for kind in MONEY_KINDS:
        of_kind = statement.of_kind(kind)
        shown = of_kind if len(of_kind) <= MOST_COUNTERPARTS else of_kind[: MOST_COUNTERPARTS - 1]
        rows += [_row(line, token) for line in shown if _matters(line)]
        rest = of_kind[len(shown) :]
        if rest:
            name = f"{'Bought from' if kind == BOUGHT else 'Sold to'} {len(rest)} others"
            items = tuple([item for line in rest for item in line.items])
            gone_wh, gone = sum([line.gone_wh for line in rest]), sum([line.gone for line in rest])
            joined = Line(0, kind, "", items, gone_wh, gone)
            numbers = f"{rest[0].number}-{rest[-1].number}"
            rows.append(_row(joined, token)._replace(number=numbers, name=name))
    rows += [_row(statement.line(kind), token)._replace(bold=kind == TOTAL) for kind in (TOTAL, UTILITY_ONLY)]
    rows += [
        _row(line, token) for line in map(statement.line, (OWED, IMPORTED, EXPORTED, USED, RENEWABLE)) if _matters(line)
    ]
    return rows


def _matters(line: Line) -> bool:
    return bool(line.energy_wh or line.amount)


def _row(line: Line, token: Token) -> _Row:
    mean, energy, mark = average(line), energy_of(line), "*" if line.is_provisional else ""
    name = _NAMES.get(line.kind)
    return _Row(
        str(line.number),
        name_of(line) if name is None else f"{name} ({DELETED})" if line.gone or line.gone_wh else name,
        "" if energy is None else kwh(energy) + (mark if line.kind in WITHOUT_MONEY else ""),
        "" if mean is None else per_kwh(mean, token.decimals),
        "" if line.kind in WITHOUT_MONEY else token.rounded(line.amount) + mark,
    )


_NAMES: Final = {
    TOLL: "Grid charge, by distance",
    RETAIL: "From the utility, beyond what was bought",
    INTERNAL_PAID: "From your own devices: paid by those that used it",
    FEED_IN: "To the utility, beyond what was sold",
    INTERNAL_RECEIVED: "From your own devices: received by those that gave it",
    RENT: "Returned: rent of full lines",
    UTILITY_ONLY: "The same energy with the utility alone",
    OWED: "Part of it not paid when it was booked",
    IMPORTED: "Drawn by the devices, by their meters",
    EXPORTED: "Fed in by the devices, by their meters",
}


def _table(page: Page, rows: Sequence[_Row], token: Token, y: float) -> float:
    """The table; where it ends."""
    columns = (
        (LEFT, 14, "L"),
        (LEFT + 14, 82, "L"),
        (LEFT + 96, 24, "R"),
        (LEFT + 120, 24, "R"),
        (LEFT + 144, 30, "R"),
    )
    titles = ("line", "", "kWh", "average per kWh", token.symbol)
    page.ink(8, GREY)
    for (x, width, align), title in zip(columns, titles, strict=True):
        page.put(x, y, title, width=width, align=align)
    y += 5
    page.rule(y, GREY)
    height = min(_ROW, (_BOTTOM - _FOOT - y) / len(rows))
    for row in rows:
        if row.bold:
            page.rule(y, _INK)
        page.ink(9, GREY)
        page.put(columns[0][0], y + height / 5, row.number, width=columns[0][1])
        page.ink(9, _INK, bold=row.bold)
        for (x, width, align), text in zip(columns[1:], row[1:5], strict=True):
            page.put(x, y + height / 5, text, width=width, align=align)
        y += height
        page.rule(y)
    return y


def _foot(page: Page, statement: Statement, token: Token, read: str, y: float) -> None:
    facts = statement.facts
    above = [*remarks(statement, token)[: 2 if statement.settled > statement.final else 1], renewable_remark(statement)]
    notes = [
        "Negative: paid. Average: tokens per kWh, the grid charge apart."
        + (" *: may still be corrected." if statement.settled > statement.final else ""),
        *[remark for remark in remarks(statement, token) if remark not in above],
        f"What any line rests on, down to orders and readings: watt wallet statement {facts.network} "
        f"--period {facts.period} --explain LINE",
        f"Figures {read}.",
    ]
    page.ink(8, GREY)
    for note in notes:
        if y + 4 > _BOTTOM:
            break
        page.put(LEFT, y, note)
        y += 4.2
