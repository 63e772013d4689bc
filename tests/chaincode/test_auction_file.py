"""The file behind `watt market clear`: what it says, and what it refuses."""

import json
from typing import Any

import pytest
from hypothesis import given, settings

from chaincode.auction import BUY, Order
from cli.clearing_file import clear_file
from node.errors import RefusedError
from tests.chaincode.auction_markets import Market, markets

EXAMPLE: dict[str, Any] = {
    "grid": {
        "root": "town",
        "lines": [
            {"from": "street", "to": "farm", "toll": 1, "limit_down_wh": None, "limit_up_wh": 40},
            {"from": "town", "to": "street", "toll": 2},
        ],
    },
    "orders": [
        {"id": "sun", "bus": "farm", "side": "sell", "price": 10, "energy_wh": 60},
        {"id": "home", "bus": "street", "side": "buy", "price": 25, "energy_wh": 30, "age": 1},
        {"id": "shop", "bus": "town", "side": "buy", "price": 20, "energy_wh": 30, "renewable": True},
    ],
}


def cleared(content: object) -> Any:
    return json.loads(json.dumps(clear_file(json.dumps(content).encode())))


def test_the_example() -> None:
    assert cleared(EXAMPLE) == {
        "prices": {"town": 20, "street": 18, "farm": 10},
        "trades": [
            {"buy": "home", "sell": "sun", "energy_wh": 30, "buyer_price": 18, "seller_price": 10},
            {"buy": "shop", "sell": "sun", "energy_wh": 10, "buyer_price": 20, "seller_price": 10},
        ],
        "flows": [
            {"from": "town", "to": "street", "energy_wh": -10},
            {"from": "street", "to": "farm", "energy_wh": -40},
        ],
        "welfare": 25 * 30 + 20 * 10 - 10 * 40 - 2 * 10 - 40,
    }


def test_an_empty_market() -> None:
    empty = {"grid": {"root": "a", "lines": []}, "orders": []}
    assert cleared(empty) == {"prices": {"a": 0}, "trades": [], "flows": [], "welfare": 0}


def file_order(item: Order, buses: tuple[str, ...]) -> dict[str, object]:
    return {
        "id": item.id.decode(),
        "bus": buses[item.bus],
        "side": "buy" if item.side == BUY else "sell",
        "price": item.price,
        "energy_wh": item.energy_wh,
        "age": item.age,
        "renewable": item.renewable,
    }


@settings(max_examples=50, deadline=None)
@given(markets())
def test_the_file_says_what_the_auction_says(market: Market) -> None:
    tree, clearing = market.tree, market.clear()
    lines = [
        {
            "from": tree.buses[tree.parent[bus]],
            "to": tree.buses[bus],
            "toll": tree.toll[bus],
            "limit_down_wh": tree.limit_down_wh[bus],
            "limit_up_wh": tree.limit_up_wh[bus],
        }
        for bus in range(len(tree.buses) - 1, 0, -1)
    ]
    orders = [file_order(item, tree.buses) for item in market.orders]
    answer = cleared({"grid": {"root": tree.buses[0], "lines": lines}, "orders": orders})
    assert answer["prices"] == dict(zip(tree.buses, clearing.prices, strict=True))
    assert answer["welfare"] == clearing.welfare
    assert [line["energy_wh"] for line in answer["flows"]] == list(clearing.flows[1:])
    assert [(trade["buy"].encode(), trade["sell"].encode(), trade["energy_wh"]) for trade in answer["trades"]] == [
        trade[:3] for trade in clearing.trades
    ]


def changed(path: tuple[str | int, ...], value: object) -> bytes:
    content = json.loads(json.dumps(EXAMPLE))
    inner = content
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    return json.dumps(content).encode()


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "bad-json"),
        (b"\xff\xfe\x00", "bad-json"),
        (b"{}", "bad-json"),
        (b"[" * 200_000, "bad-json"),
        (b'{"grid": ' * 200_000, "bad-json"),
        (json.dumps(EXAMPLE).encode() + b"}", "bad-json"),
        (changed(("extra",), 1), "bad-json"),
        (changed(("orders", 0, "price"), 1.5), "bad-json"),
        (changed(("orders", 0, "price"), 10.0), "bad-json"),
        (changed(("orders", 0, "price"), True), "bad-json"),
        (changed(("orders", 0, "price"), "10"), "bad-json"),
        (changed(("orders", 0, "price"), None), "bad-json"),
        (changed(("orders", 0, "price"), float("nan")), "bad-json"),
        (changed(("orders", 0, "id"), "\ud800"), "bad-json"),
        (changed(("orders", 0, "price"), -1), "bad-order"),
        (changed(("orders", 0, "price"), 2**63), "bad-order"),
        (changed(("orders", 0, "price"), 10**30), "bad-order"),
        (changed(("orders", 0, "energy_wh"), 0), "bad-order"),
        (changed(("orders", 0, "energy_wh"), -(2**70)), "bad-order"),
        (changed(("orders", 0, "age"), -1), "bad-order"),
        (changed(("orders", 0, "id"), ""), "bad-order"),
        (changed(("orders", 0, "id"), "home"), "duplicate-order"),
        (changed(("orders", 0, "bus"), "moon"), "unknown-bus"),
        (changed(("orders", 0, "side"), "lend"), "bad-side"),
        (changed(("grid", "root"), "moon"), "disconnected-grid"),
        (changed(("grid", "root"), "street"), "cyclic-grid"),
        (changed(("grid", "lines", 0, "to"), "street"), "self-loop"),
        (changed(("grid", "lines", 1, "to"), "farm"), "two-parents"),
        (changed(("grid", "lines", 0, "toll"), -1), "bad-toll"),
        (changed(("grid", "lines", 0, "limit_up_wh"), -1), "bad-limit"),
        (changed(("grid", "lines", 0, "from"), ""), "bad-bus"),
    ],
)
def test_what_is_refused(data: bytes, code: str) -> None:
    with pytest.raises(RefusedError) as refused:
        clear_file(data)
    assert refused.value.code == code
    assert refused.value.message
