"""Commands about supply, companies and tariffs: wrong usage is exit 2 before any node is asked; refusals in words."""

import click
import pytest
from click.testing import CliRunner

from cli.main import main
from cli.redemption import PRICE_OF_PAR
from cli.refusals import explain
from cli.units import percent

NOWHERE = ["--node", "127.0.0.1:1"]
SIGNED = ["--key", "k"]


@pytest.mark.parametrize(
    "words",
    [
        ["cap", "set", "home-1", "-1", *SIGNED],
        ["cap", "set", "home-1", "5", "--every", "--period", "1", *SIGNED],
        ["cap", "set", "home-1", "5", "--period", "-1", *SIGNED],
        ["cap", "lift", "home-1", "--every", "--period", "1", *SIGNED],
        ["redeem", "home-1", "5", *SIGNED],
        ["redeem", "home-1", "5", "--reference", "r", "--least", "much", *SIGNED],
        ["redeem", "home-1", "5", "--reference", "r", "--least", "101%", *SIGNED],
        ["return", "home-1", "--reference", "r", *SIGNED],
        ["redemption", "price", "85.55%", *SIGNED],
        ["redemption", "price", "-1%", *SIGNED],
        ["redemption", "credit", "x", "--bill", "b", *SIGNED],
        ["redemption", "credit", "1", *SIGNED],
        ["company", "limit", "home-1", *SIGNED],
        ["company", "limit", "home-1", "5", "--none", *SIGNED],
        ["company", "classify", "home-1", *SIGNED],
        ["company", "classify", "home-1", "hvac", "--none", *SIGNED],
        ["company", "assign", "home-1", "1e30", *SIGNED],
        ["tariff", "publish", *SIGNED],
        ["tariff", "publish", "file.csv", "--voted", *SIGNED],
        ["tariff", "publish", "--row", "00:00", "0.3", *SIGNED],
        ["tariff", "publish", "--row", "00:00", "0.3", "cheap", *SIGNED],
    ],
)
def test_wrong_usage(words: list[str]) -> None:
    result = CliRunner().invoke(main, ["admin", *words, *NOWHERE])
    assert result.exit_code == 2, result.output


@pytest.mark.parametrize("text, permille", [("85%", 850), ("85.5", 855), ("0%", 0), ("100%", 1_000)])
def test_prices_are_percentages_of_par(text: str, permille: int) -> None:
    assert PRICE_OF_PAR.convert(text, None, None) == permille
    assert PRICE_OF_PAR.convert(percent(permille), None, None) == permille


@pytest.mark.parametrize("text", ["", "%", "1e2", "-1", "100.1%", "0.05%", "9" * 40])
def test_what_is_no_price(text: str) -> None:
    with pytest.raises(click.BadParameter):
        PRICE_OF_PAR.convert(text, None, None)


@pytest.mark.parametrize(
    ("call", "code", "details", "words"),
    [
        ("budget.issue", "over-cap", (60 * 10**9, 45 * 10**9), "45.000 of at most 60.000 tokens are issued"),
        ("supply.redeem", "price-changed", (500, 855), "pays 50% of par now, less than 85.5%"),
        ("supply.publish_price", "slot-begun", (7,), "the first slot that has not begun is 7"),
        ("tariffs.publish", "tariff-too-late", (99,), "is 99"),
        ("tariffs.publish", "tariff-out-of-bounds", (63_000, 10**6, 2 * 10**5), "from 17:30 on retail is at most 1, "),
        ("companies.assign", "over-limit", (10**9, 2 * 10**9), "leaves room for 1.000 tokens, not 2.000"),
        ("supply.credit", "already-credited", (), "on a bill already"),
        ("supply.redeem", "no-redemption", (), "watt admin redemption prices"),
        ("supply.issue_company", "no-networks", (), "has no network"),
        ("companies.classify", "bad-class", (), "1 to 32 of a-z 0-9 -"),
        ("companies.assign", "period-mismatch", (), "no slot in common"),
        ("supply.credit", "unknown-redemption", (), "watt admin redemption list"),
    ],
)
def test_refusals_are_explained(call: str, code: str, details: tuple[int, ...], words: str) -> None:
    assert words in explain(call, code, details, 9)
