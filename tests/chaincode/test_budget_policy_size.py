"""The largest network there can be, with the longest names: its policy and its allocation fit into transactions."""

from functools import partial
from typing import Any, Final

import pytest

from bench.local_chain import KEY, LocalChain
from chaincode.budget_policy import Row
from chaincode.identity import MAX_DEVICES
from chaincode.registry import default_registry
from cli.refusals import explain
from node.ledger.reading import head_context
from node.model.genesis import Genesis, Member
from node.model.genesis import Token as GenesisToken

NETWORK: Final = "shop".ljust(48, "-")
DEVICES: Final = tuple(f"device-{number:03}".ljust(48, "-") for number in range(MAX_DEVICES))
KEY_HEX: Final = KEY.public_key.hex()
MANY: Final = 2**50
"""Base units: amounts take their eight bytes."""


def shop() -> LocalChain:
    member = ["utility", KEY_HEX, ["utility", "grid-operator", "aggregator"]]
    contracts: dict[str, dict[str, Any]] = {
        "identity": {
            "admins": [KEY_HEX],
            "members": [member],
            "networks": [[NETWORK, "utility", KEY_HEX, "bus"]],
            "devices": [[device, NETWORK, "load", KEY_HEX, KEY_HEX, None, 1, 1, False, False] for device in DEVICES],
        },
        "grid": {"root": "root", "lines": [["root", "bus", 1, 1, None, None]]},
        "market": {"tariffs": [[0, 100, 20]]},
        "budget": {"period_slots": 1_440},
    }
    token = GenesisToken("WATT", 9, 100)
    return LocalChain(Genesis(1, "bench", token, (Member("bench", KEY_HEX, ""),), 0, 0, 1, contracts))


def ask(chain: LocalChain, method: str, **args: Any) -> Any:
    ctx = head_context(chain.ledger)
    return default_registry().call(ctx, "budget", method, args, "query")


@pytest.mark.parametrize("rule", ["fixed", "history", "forecast"])
def test_the_largest_network_has_a_policy_and_is_allocated_by_it(rule: str) -> None:
    chain = shop()
    call = partial(chain.block, 0)
    amount = MANY if rule == "fixed" else 0
    rows: tuple[Row, ...] = tuple((device, 1_000, MANY, True, 2 * MANY, amount, 0) for device in DEVICES)
    for _ in range(2):  # replaced: the one before is kept
        call(("budget", "set_policy", {"network": NETWORK, "allocation": rule, "devices": rows}))
    assert ask(chain, "policy", network=NETWORK)[1] == rows
    whole = MAX_DEVICES * MANY
    call(("budget", "issue", {"network": NETWORK, "period": 0, "amount": whole, "reference": b"1"}))
    if rule == "forecast":
        for device in DEVICES:
            call(("budget", "set_forecast", {"device": device, "period": 0, "amount": MANY}))
    for _ in range(2):
        call(("budget", "allocate_by_policy", {"network": NETWORK, "period": 0}))
    books = ask(chain, "books", network=NETWORK, period=0)
    assert [book[2] for _, book in books] == [MANY] * MAX_DEVICES


def test_a_budget_that_is_too_small_is_divided_alike_in_however_many_calls() -> None:
    """One device has more than its part and keeps it; the others, of equal weight, come to the same."""
    chain = shop()
    call = partial(chain.block, 0)
    call(("budget", "set_policy", {"network": NETWORK, "allocation": "history"}))
    call(("budget", "issue", {"network": NETWORK, "period": 0, "amount": 3_000_000, "reference": b"1"}))
    call(("budget", "allocate", {"network": NETWORK, "period": 0, "amounts": ((DEVICES[-1], 1_000_000),)}))
    for _ in range(2):
        call(("budget", "allocate_by_policy", {"network": NETWORK, "period": 0}))
    amounts = [book[2] for _, book in ask(chain, "books", network=NETWORK, period=0)]
    assert sum(amounts) == 3_000_000 and amounts[-1] == 1_000_000
    assert max(amounts[:-1]) - min(amounts[:-1]) <= 2


@pytest.mark.parametrize("rule", ["by-hand", "history"])
def test_what_is_divided_by_hand_and_by_history_fits_for_150_of_the_longest_names(rule: str) -> None:
    """Of more nothing is done, and the command says why."""
    chain = shop()
    of = {"network": NETWORK, "period": 0}
    chain.block(0, ("budget", "issue", {**of, "amount": 10**15, "reference": b"1"}))
    for number in (MAX_DEVICES, 150):
        named = DEVICES[:number]
        if rule == "history":
            chain.block(0, ("budget", "allocate_by_history", {**of, "amount": 10**12 * number, "devices": named}))
        else:
            chain.block(0, ("budget", "allocate", {**of, "amounts": tuple((device, 10**12) for device in named)}))
        allocated = sum(book[2] for _, book in ask(chain, "books", network=NETWORK, period=0))
        assert allocated == (10**12 * number if number == 150 else 0)
    assert "name fewer" in explain("budget.allocate", "too-large", (), 9)
