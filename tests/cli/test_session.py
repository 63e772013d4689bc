"""Addresses, passphrases and refusals as every command treats them."""

import asyncio
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import main
from cli.refusals import explain
from node.errors import RefusedError
from node.gateway.client import Client, addresses_in
from testnet.genesis import free_ports


def test_addresses() -> None:
    assert addresses_in(["a:1 b:65535", "[::1]:7"]) == ["a:1", "b:65535", "[::1]:7"]
    for bad in ("", " ", "a", "a:", ":1", "a:0", "a:65536", "a:-1", "a:٣"):
        with pytest.raises(RefusedError, match="bad-address"):
            addresses_in([bad])


@pytest.mark.parametrize("node", ["", "a b", "127.0.0.1:72938", "127.0.0.1:0"])
def test_an_address_that_is_none_is_wrong_usage(node: str) -> None:
    assert CliRunner().invoke(main, ["market", "products", "--node", node]).exit_code == 2
    if node:
        assert CliRunner().invoke(main, ["market", "products"], env={"WATT_NODE": node}).exit_code == 2


def test_who_does_not_answer_is_named_without_jargon() -> None:
    first, second = free_ports(2)
    result = CliRunner().invoke(main, ["market", "products", "--node", f"127.0.0.1:{first} 127.0.0.1:{second}"])
    assert result.exit_code == 3
    assert result.stderr == (
        f"watt: unreachable: 127.0.0.1:{first} does not answer; 127.0.0.1:{second} does not answer\n"
    )


def test_a_query_with_an_integer_beyond_64_bits() -> None:
    async def ask() -> None:
        async with Client("127.0.0.1:1") as client:
            await client.query("market", "book", {"slot": 2**70})

    with pytest.raises(RefusedError, match="out-of-range"):
        asyncio.run(ask())


def test_no_passphrase_and_no_terminal(tmp_path: Path) -> None:
    for words in (
        ["wallet", "new", "--out", str(tmp_path / "k")],
        ["wallet", "cancel", "ab" * 32, "--key", str(tmp_path / "k")],
    ):
        result = CliRunner().invoke(main, words, env={"WATT_PASSPHRASE": None})
        assert result.exit_code == 1
        assert result.stderr == (
            "watt: no-passphrase: none is given, and there is no terminal to ask at: "
            "--passphrase-file FILE or WATT_PASSPHRASE\n"
        )


@pytest.mark.parametrize(
    ("code", "details", "words"),
    [
        ("bad-price", (80_000, 400_000_000), "from 0.08 (feed-in) to 400 (retail) tokens per kWh"),
        ("bad-energy", (100,), "at least 100 Wh"),
        ("bad-energy", (), "more than the ledger counts"),
        ("over-capacity", (250, 50_000), "room for 0.250 kWh more in this slot, not 50.000"),
        ("insufficient-funds", (1_500_000_000, 2_000_000_000), "1.500 tokens are available, 2.000 are needed"),
        ("unknown-device", (), "there is no such device"),
        ("some-new-code", (1, 2), "the rules refuse market.place [1, 2]"),
        ("some-new-code", (), "the rules refuse market.place"),
    ],
)
def test_refusals_of_the_rules_in_words(code: str, details: tuple[int, ...], words: str) -> None:
    assert words in explain("market.place", code, details, 9)


@pytest.mark.parametrize(
    ("call", "code", "details", "words"),
    [
        ("identity.disconnect", "slot-over", (8,), "from slot 8 on it can be moved, at most 1,000 slots ahead"),
        ("settlement.report_feeder", "conflict", (1, 2, 3, 4), "`watt meter feeder --correct` replaces it"),
        ("settlement.report_feeder", "conflict", (), "`watt meter feeder --correct` replaces it"),
        ("settlement.report", "conflict", (1, 2, 3, 4), "`watt meter correct` replaces it"),
        ("periods.plan", "period-overlaps", (995_040, 996_480), "from slot 995040 to 996479: begin where one begins"),
        ("periods.plan", "period-begun", (1_497_616_200,), "begins at 2017-06-16 12:30:00 UTC or later"),
        ("periods.plan", "period-in-use", (7,), "there is money in period 7 already"),
        ("periods.plan", "bad-length", (48, 4_416), "48 to 4,416 slots long"),
        ("periods.plan", "unknown-period", (), "too far ahead"),
        ("budget.issue", "period-closing", (), "is being closed"),
        ("budget.allocate", "period-over", (), "the period is closed"),
        ("budget.issue", "bad-reference", (), "a reference is 1 to 64 bytes"),
        ("sales.accept", "bad-reference", (), "a reference is 1 to 64 bytes"),
        ("market.place", "bad-reference", (), "an order's reference is at most 32 bytes"),
        ("market.place_many", "bad-reference", (4,), "order 5 of the list: an order's reference"),
        ("requests.grant", "bad-amount", (10**9,), "at most the 1.000 asked for"),
        ("requests.ask", "bad-account", (), "not itself"),
        ("requests.ask", "bad-reason", (), "at most 64 bytes"),
        ("agreements.propose", "bad-agreement", (), "a price too"),
    ],
)
def test_a_refusal_says_what_to_do(call: str, code: str, details: tuple[int, ...], words: str) -> None:
    assert words in explain(call, code, details, 9)
