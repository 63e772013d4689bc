"""The household's page: always one, always the same bytes, whoever it traded with and however things are called."""

import re
import zlib

import pytest

from cli.statement import Statement
from cli.statement_pdf import MOST_COUNTERPARTS, statement_pdf
from cli.statement_words import Token
from cli.units import kwh
from tests.chaincode.marketplace import SLOT_S
from tests.chaincode.statement_days import NETWORKS, a_day
from tests.cli.test_statement import LATE, TOKEN, statement_of

READ = "as the node shows it"


def text_of(pdf: bytes) -> str:
    """What stands on the page, its pieces in the order in which they are drawn."""
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL)
    drawn = b"".join(zlib.decompress(stream) for stream in streams if stream[:1] == b"\x78")
    pieces = re.findall(rb"\(((?:\\.|[^()\\])*)\) Tj", drawn)
    return "\n".join(piece.replace(rb"\(", b"(").replace(rb"\)", b")").decode("latin-1") for piece in pieces)


def many_neighbours(statement: Statement, number: int) -> Statement:
    """The same with ``number`` counterparts on each side."""
    lines = [line for line in statement.lines if line.kind not in ("bought", "sold")]
    for kind in ("sold", "bought"):
        line = statement.of_kind(kind)[0]
        lines[:0] = [line._replace(counterpart=f"{'n' * 40}-{index}", gone_wh=1_000) for index in range(number)]
    numbered = tuple(line._replace(number=number) for number, line in enumerate(lines, 1))
    return statement._replace(lines=numbered)


@pytest.mark.parametrize("network", NETWORKS)
def test_the_same_statement_gives_the_same_page(network: str) -> None:
    statement = statement_of(a_day(4, until_s=5 * SLOT_S), network)
    page = statement_pdf(statement, TOKEN, READ)
    assert page == statement_pdf(statement_of(a_day(4, until_s=5 * SLOT_S), network), TOKEN, READ)
    assert page.startswith(b"%PDF-") and len(re.findall(rb"/Type /Page\b", page)) == 1
    text = text_of(page)
    for word in ("Energy statement", network, "with the utility alone", TOKEN.rounded(statement.line("total").amount)):
        assert word in text


@pytest.mark.parametrize("symbol", ["WATT", "\u00a5", "\u5186", "\u20ac\n\x1b"])
def test_one_page_whoever_it_traded_with_and_whatever_money_is_called(symbol: str) -> None:
    statement = statement_of(a_day(4, until_s=5 * SLOT_S), "home-1")
    page = statement_pdf(many_neighbours(statement, 3 * MOST_COUNTERPARTS), Token(symbol, 9), READ)
    assert len(re.findall(rb"/Type /Page\b", page)) == 1
    others = 2 * MOST_COUNTERPARTS + 1
    assert f"Bought from {others} others" in text_of(page) and f"Sold to {others} others" in text_of(page)
    assert ("U+5186" in text_of(page)) is (symbol == "\u5186")


def test_what_may_change_and_what_cannot_be_traced_is_marked_as_in_the_table() -> None:
    statement = statement_of(a_day(4, until_s=LATE, retention_s=600), "home-1")
    text = text_of(statement_pdf(statement, TOKEN, READ))
    assert "The same energy with the utility alone (details deleted)" in text
    used = statement.line("used")
    assert used.is_provisional and f"{kwh(used.energy_wh)}*" in text
