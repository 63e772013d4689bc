"""Asking for tokens, granting and declining on real nodes, and what the list of shares tells of it."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.functional.metered import SLOT_S, Street, started_street

DEVICES = ("home-1/load", "home-1/ev", "home-2/load")
TOKEN = 10**9


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    for street in started_street(Street, tmp_path_factory.mktemp("requests"), DEVICES, 4_000 * SLOT_S):
        street.json("admin", "issue", "home-1", "100", "--reference", "first", by="utility")
        street.json("admin", "allocate", "home-1", "home-1/load=40", by="home-1")
        yield street


def shares(street: Street, network: str) -> list[tuple[Any, ...]]:
    rows = street.json("wallet", "share", "--list", network)
    return [(row["giver"], row["receiver"], row["amount"], row["why"], row["rule"]) for row in rows]


def refusal(street: Street, *words: str, by: str) -> str:
    result = street.run("wallet", *words, by=by)
    assert result.exit_code == 1, result.output
    return result.stderr


def test_ask_grant_and_decline(street: Street) -> None:
    asked = ["wallet", "request", "home-1/ev", "5", "--of", "home-1/load", "--reason", "guests until Sunday"]
    first = str(street.json(*asked, by="home-1/ev")["request"])
    second = str(street.json("wallet", "request", "home-1/ev", "7", by="home-1")["request"])
    third = str(street.json("wallet", "request", "home-1/ev", "9", by="home-1/ev")["request"])
    rows = street.json("wallet", "requests", "home-1")
    assert [(row["giver"], row["amount"], row["state"]) for row in rows] == [
        ("home-1/load", 5 * TOKEN, "waiting"),
        ("", 7 * TOKEN, "waiting"),
        ("", 9 * TOKEN, "waiting"),
    ]
    assert "guests until Sunday" in street.run("wallet", "requests", "home-1").stdout
    assert refusal(street, "grant", first, by="home-2").startswith("watt: not-allowed: "), "nor may it see it"
    assert refusal(street, "decline", first, by="home-2").startswith("watt: wrong-key: ")
    street.json("wallet", "grant", first, "2.5", by="home-1")
    street.json("wallet", "grant", second, by="home-1")
    street.json("wallet", "decline", third, by="home-1")
    assert refusal(street, "grant", third, by="home-1").startswith("watt: not-waiting: ")
    assert refusal(street, "decline", "99", by="home-1").startswith("watt: unknown-request: ")
    assert refusal(street, "grant", "99", by="home-1").startswith("watt: not-allowed: "), "as if it were others'"
    assert shares(street, "home-1") == [
        ("home-1/load", "home-1/ev", 2_500_000_000, "grant", f"request {first}"),
        ("", "home-1/ev", 7 * TOKEN, "grant", f"request {second}"),
    ]
    listed = street.run("wallet", "share", "--list", "home-1").stdout
    assert "the pool" in listed and f"request {second}" in listed
    assert street.json("wallet", "requests", "home-1") == []
    assert [row["state"] for row in street.json("wallet", "requests", "home-1", "--all")] == [
        "granted",
        "granted",
        "declined",
    ]


def test_ask_another_network_and_take_it_back(street: Street) -> None:
    terms = ["home-1", "home-2", "--cap", "40"]
    number = str(street.json("admin", "agreement", "propose", *terms, by="club")["agreement"])
    ask = ["wallet", "request", "home-2/load", "--agreement", number]
    assert refusal(street, *ask[1:], "3", by="home-2/load").startswith("watt: not-allowed: "), "it is its owner's"
    request = str(street.json(*ask, "3", "--of", "home-1", by="home-2/load")["request"])
    again = str(street.json(*ask, "4", "--of", "home-1", by="home-2/load")["request"])
    street.json("wallet", "request", "--withdraw", again, by="home-2/load")
    (row,) = street.json("wallet", "requests", "home-1")
    assert (row["device"], row["giver"], row["agreement"]) == ("home-2/load", "@home-1", int(number))
    street.json("wallet", "grant", request, by="home-1")
    assert shares(street, "home-2") == [("@home-1", "home-2/load", 3 * TOKEN, "grant", f"request {request}")]
    assert "network home-1" in street.run("wallet", "share", "--list", "home-2").stdout


def test_by_hand_is_told_as_such(street: Street) -> None:
    before = len(shares(street, "home-1"))
    street.json("wallet", "share", "home-1/load", "home-1/ev", "1.5", by="home-1")
    assert shares(street, "home-1")[before:] == [
        ("home-1/load", "home-1/ev", 1_500_000_000, "by-hand", "owner"),
    ]
    assert "its owner's will" in street.run("wallet", "share", "--list", "home-1").stdout
