"""`watt admin agreement | sale`: wrong usage is exit 2 before any node is asked, and prices are exact."""

import click
import pytest
from click.testing import CliRunner

from cli.main import main
from cli.units import Percent, percent

NOWHERE = ["--node", "127.0.0.1:1"]


@pytest.mark.parametrize(
    "words",
    [
        ["agreement", "propose", "home-1", "home-2", "--key", "k"],
        ["agreement", "propose", "home-1", "home-2", "--cap", "many", "--key", "k"],
        ["agreement", "propose", "home-1", "home-2", "--cap", "1", "--sale", "90.55%", "--key", "k"],
        ["agreement", "propose", "home-1", "home-2", "--cap", "1", "--sale", "cheap", "--key", "k"],
        ["agreement", "propose", "home-1", "home-2", "--cap", "1", "--rank", "-1", "--key", "k"],
        ["agreement", "accept", "x", "--key", "k"],
        ["agreement", "share", "1", "-3", "--key", "k"],
        ["agreement", "share", "1", "--key", "k"],
        ["agreement", "list"],
        ["sale", "offer", "1", "--key", "k"],
        ["sale", "accept", "1", "--key", "k"],
    ],
)
def test_wrong_usage(words: list[str]) -> None:
    result = CliRunner().invoke(main, ["admin", *words, *NOWHERE])
    assert result.exit_code == 2, result.output


@pytest.mark.parametrize("words", [["agreement", "list", "home-1"], ["agreement", "graph"], ["sale", "list", "home-1"]])
def test_no_node(words: list[str]) -> None:
    assert CliRunner().invoke(main, ["admin", *words, *NOWHERE]).exit_code == 3


@pytest.mark.parametrize(("text", "permille"), [("90%", 900), ("90.5", 905), ("100%", 1000), ("0.1%", 1)])
def test_prices_in_percent_of_par(text: str, permille: int) -> None:
    assert Percent().convert(text, None, None) == permille
    with pytest.raises(click.BadParameter):
        Percent().convert(
            text.removesuffix("%") + "01%" if "." in text else text.removesuffix("%") + ".01%", None, None
        )


def test_percents_are_shown_exactly() -> None:
    assert (percent(905), percent(1000), percent(1)) == ("90.5%", "100%", "0.1%")
