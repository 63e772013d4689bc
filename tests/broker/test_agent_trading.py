"""From a decision's actions to transactions."""

from broker.changes import Action, Cancel, Place, Replace
from broker.trading import _batches, _call


def place(device: str, number: int) -> Place:
    return Place(device, "buy", 7, 500 + number, 600_000, False, bytes([number]), "why")


def test_a_devices_new_orders_go_as_one_list_after_what_makes_room_for_them() -> None:
    actions: tuple[Action, ...] = (
        Cancel("h/load", b"a", "why"),
        Replace(b"b", place("h/ev", 1), "why"),
        place("h/load", 2),
        place("h/ev", 3),
        place("h/load", 4),
    )
    calls = [_call(batch) for batch in _batches(actions)]
    assert [method for method, _ in calls] == ["cancel", "replace", "place_many", "place"]
    assert calls[0][1] == {"order": b"a"}
    assert calls[1][1]["order"] == b"b" and calls[1][1]["device"] == "h/ev"
    assert calls[2][1] == {
        "device": "h/load",
        "orders": [("buy", 7, 502, 600_000, "gate", False, b"\2"), ("buy", 7, 504, 600_000, "gate", False, b"\4")],
    }
    assert calls[3][1]["device"] == "h/ev" and calls[3][1]["energy_wh"] == 503
    assert list(_batches(())) == []
