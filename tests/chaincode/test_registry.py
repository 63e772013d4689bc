"""The registry: exact arguments, dispatch by kind, hooks in order."""

from typing import Any

import pytest

from chaincode.contract import ContractError, Value
from chaincode.governance import Governance
from chaincode.identity import Identity
from chaincode.registry import MAX_INT, MIN_INT, Registry, default_registry
from tests.chaincode.samples import BadIndex, Bounded, Plain, Positional, Sample, Unreadable
from tests.chaincode.world import World

ALL: dict[str, Any] = {
    "number": 1,
    "word": "w",
    "raw": b"r",
    "flag": True,
    "pairs": [["a", 1], ["b", 2]],
    "many": [[1, 2], []],
}


def world() -> World:
    return World([Sample(), Plain()])


def echo(**changed: Any) -> Value:
    return world().call(b"", "sample", "echo", **{**ALL, **changed})


def test_a_key_is_known_if_one_contract_knows_it() -> None:
    admins, members = "ab" * 32, [(f"node-{i}", f"{i:064x}", f"{i}") for i in range(4)]
    governance = {"admins": [(name, admins) for name, _, _ in members], "validators": members}
    town = World([Identity(), Governance()], {"identity": {"admins": ["cd" * 32]}, "governance": governance})
    with town.transaction() as ctx:
        known = [town.registry.knows(ctx, bytes([byte]) * 32) for byte in (0xAB, 0xCD, 0xEF)]
    assert known == [True, True, False]
    with world().transaction() as ctx:
        assert world().registry.knows(ctx, bytes(32)), "nobody is asked to know anybody"


def test_arguments_arrive_as_annotated_with_arrays_as_tuples() -> None:
    assert echo() == (1, "w", b"r", True, (("a", 1), ("b", 2)), ((1, 2), ()), None)
    assert echo(maybe=7, pairs=()) == (1, "w", b"r", True, (), ((1, 2), ()), 7)
    assert echo(number=MIN_INT)[0] == MIN_INT  # type: ignore[index]
    assert echo(number=MAX_INT)[0] == MAX_INT  # type: ignore[index]


@pytest.mark.parametrize(
    "changed",
    [
        {"number": True},
        {"number": 1.0},
        {"number": "1"},
        {"number": MAX_INT + 1},
        {"number": MIN_INT - 1},
        {"number": None},
        {"word": b"w"},
        {"word": "w" * 257},
        {"raw": "r"},
        {"flag": 1},
        {"pairs": [["a", 1, 2]]},
        {"pairs": [[1, "a"]]},
        {"pairs": {"a": 1}},
        {"many": [1]},
        {"many": [[1, [2]]]},
        {"maybe": "7"},
        {"unknown": 1},
    ],
)
def test_other_arguments_are_bad(changed: dict[str, Any]) -> None:
    with pytest.raises(ContractError) as refusal:
        echo(**changed)
    assert refusal.value.code == "bad-args"


def test_a_missing_argument_is_bad() -> None:
    with pytest.raises(ContractError, match="without the argument 'flag'"):
        world().call(b"", "sample", "echo", **{name: value for name, value in ALL.items() if name != "flag"})


@pytest.mark.parametrize(
    ("contract", "method", "kind", "code"),
    [
        ("nobody", "echo", "transaction", "unknown-contract"),
        ("sample", "nothing", "transaction", "unknown-method"),
        ("sample", "genesis", "transaction", "unknown-method"),
        ("sample", "helper", "transaction", "unknown-method"),
        ("sample", "__init__", "transaction", "unknown-method"),
        ("sample", "echo", "query", "unknown-method"),
        ("sample", "count", "transaction", "unknown-method"),
        ("sample", "count", "query", None),
    ],
)
def test_only_marked_methods_of_the_kind_are_reached(contract: str, method: str, kind: Any, code: str | None) -> None:
    registry = world().registry
    if code is None:
        registry.check_call(contract, method, {}, kind)
        return
    with pytest.raises(ContractError) as refusal:
        registry.check_call(contract, method, ALL, kind)
    assert refusal.value.code == code


def test_hooks_run_in_order_and_events_name_their_contract() -> None:
    ledger = world()
    ledger.next_block(time=9)
    assert [(event.contract, event.topic) for event in ledger.events] == [
        ("sample", "began"),
        ("plain", "began"),
        ("plain", "ended"),
        ("sample", "began"),
        ("plain", "began"),
    ]
    assert ledger.next_event() == 12  # the earlier of the two calendars


@pytest.mark.parametrize("contract", [BadIndex, Bounded, Positional, Unreadable])
def test_a_contract_that_cannot_be_served_is_refused(contract: Any) -> None:
    with pytest.raises(ValueError, match=r"table|keyword-only|cannot be checked|checks the bounds"):
        Registry([contract()])


def test_two_contracts_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two contracts"):
        Registry([Sample(), Sample()])


def test_the_default_registry_stands() -> None:
    assert default_registry() is default_registry()
