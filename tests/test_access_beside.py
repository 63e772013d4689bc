"""What a proof shows beside: digests of the entries next to those that it rests on. Nobody chooses next to which."""

import functools
import inspect
from collections.abc import Iterator
from hashlib import sha256
from typing import Any, Final

import pytest

from chaincode.contract import ContractError
from chaincode.keys import text, uint
from node.errors import RefusedError
from node.limits import QUERY_ROWS, QUERY_STEPS
from tests.test_access_gateway import FRIEND, PUBLIC_KEYS, QUERIES, day

PARTICIPANTS: Final = ("home-1", "home-1/load", "meter home-1/load", "club", "utility", "admin", "feeder", "friend")
WILD: Final[dict[str, tuple[Any, ...]]] = {
    "int": (1_234_567_891, 2**40 + 0x5EED, 2**63 - 0x5EED),
    "str": ("wild-name",),
    "bytes": (b"\xab\x5e" * 16,),
}
"""Values that there is nothing of, and that stand in no key by chance."""
ACCOUNTS: Final = (
    *("escrow:1234567891", "device:home-1/load:1234567891", "reserved:home-1/load:1234567891"),
    *("pool:home-1:1234567891", "company:club:1234567891", "pool:wild-name:0"),
)


def kind_of(asked: inspect.Parameter) -> str:
    """The type of an argument without its bounds, and whether or not it may be left out."""
    return next(kind for kind in ("bytes", "int", "bool", "str") if kind in str(asked.annotation))


@functools.cache
def known() -> dict[str, Any]:
    """For each name of an argument something that there is."""
    chain, _ = day()
    own = [order for device, order in chain.orders if device == "home-1/load"]
    order = next(order for order in own if chain.ledger.state.get(b"order/" + order) is not None)
    return {
        **{"device": "home-1/load", "network": "home-1", "member": "club", "account": "pool:home-1:0"},
        **{"slot": 1, "first_slot": 1, "last_slot": 2, "end_slot": 2, "order": order, "key": PUBLIC_KEYS["home-1"]},
    }


HOLDERS: Final = (("network", "home-1"), ("device", "home-1/load"), ("member", "club"), ("company", "club"))


def asked_wildly(parameters: tuple[inspect.Parameter, ...]) -> Iterator[dict[str, Any]]:
    """Arguments of which one is wild, and all others are something that there is."""
    plain = {"int": 1, "bytes": known()["order"], "str": "home-1", "bool": True}
    needed = {
        each.name: known().get(each.name, plain[kind_of(each)]) for each in parameters if each.default is each.empty
    }
    for each in parameters:
        for value in ACCOUNTS if each.name == "account" else WILD.get(kind_of(each), ()):
            for kind, name in HOLDERS if "kind" in needed else (("", ""),):
                yield {**needed, **({"kind": kind, "name": name} if kind else {}), each.name: value}


def reads_of(key: bytes, contract: str, method: str, args: dict[str, Any]) -> tuple[tuple[bytes, Any, Any], ...]:
    """All entries that ``key`` is given with a proven answer or refusal; nothing if it is given no proof."""
    chain, access = day()
    try:
        access.require_query(key, contract, method, args, proven=True)
        return chain.executor.query_proven(contract, method, args, steps=QUERY_STEPS, rows=QUERY_ROWS)[1]
    except (RefusedError, ContractError):
        return ()


@pytest.mark.parametrize("reader", PARTICIPANTS)
def test_nobody_chooses_what_a_proof_shows_beside(reader: str) -> None:
    """Whatever one argument of any query is, no entry is looked for that has it in its key: not there, it would be
    proven by what lies beside its place, and whoever may name any place asks for the one beside what it wants to know.
    Checklist 4."""
    key = FRIEND if reader == "friend" else PUBLIC_KEYS[reader]
    wild = [uint(value) for value in WILD["int"]] + [uint(value % 2**32, 4) for value in WILD["int"]]
    wild += [b"wild-name", *WILD["bytes"], b"1234567891"]
    asked = proven = 0
    for contract, method, parameters in QUERIES:
        for args in asked_wildly(parameters):
            asked += 1
            reads = reads_of(key, contract, method, args)
            proven += bool(reads)
            found = [entry for entry, _, _ in reads if any(part in entry for part in wild)]
            assert not found, (contract, method, args, found)
    assert asked > 200 and proven > 10


def beside(target: bytes) -> bytes | None:
    """All nodes of a proof that home-1's device gets of its own position in a slot that it has chosen for its place in
    the tree: the one of ``target``. None if it gets none that rests on its position."""
    path = sha256(target).hexdigest()[:2]
    own = b"position/" + text("home-1/load")
    chosen = next(slot for slot in range(10**6, 10**7) if sha256(own + uint(slot)).hexdigest().startswith(path))
    reads = reads_of(PUBLIC_KEYS["home-1/load"], "market", "position", {"device": "home-1/load", "slot": chosen})
    assert reads, "the refusal is proven, too"
    return b"".join([b"".join(proof) for key, _, proof in reads if key.startswith(b"position/")]) or None


@pytest.mark.parametrize("home", ["home-2/load", "home-3/ev", "home-2/pv"])
def test_nobody_learns_by_a_slot_of_its_choice_whether_another_has_traded(home: str) -> None:
    """The proof of what one has not done in a slot far away had the digest of what another has done in one just now."""
    for slot in range(1, 5):
        assert beside(b"position/" + text(home) + uint(slot)) is None


def test_what_is_out_of_bounds_is_refused_by_the_calendar_alone() -> None:
    """A refusal is proven by the first and the last slot that there are, and who owns what."""
    chain, _ = day()
    span: Any = chain.executor.query("market", "span", {})
    first, end = span
    key = PUBLIC_KEYS["home-1/load"]
    for slot in (first - 1, end, 2**63 - 1):
        with pytest.raises(ContractError, match="no-product"):
            chain.executor.query("market", "position", {"device": "home-1/load", "slot": slot})
        reads = reads_of(key, "market", "position", {"device": "home-1/load", "slot": slot})
        assert {entry for entry, _, _ in reads} == {b"market/first", b"market/next", b"upgrades/active"}
    chain.executor.query("market", "position", {"device": "home-1/load", "slot": end - 1})


def test_a_proof_is_not_given_of_a_name_that_there_is_not() -> None:
    """Not to those either who may ask of any name, such as an admin or the utility; the bare answer they get."""
    _, access = day()
    key = PUBLIC_KEYS["utility"]
    for name, proven in (("home-2", True), ("home-2", False), ("nobody", False)):
        access.require_query(key, "identity", "network", {"network": name}, proven=proven)
    for contract, method, args in (
        ("identity", "network", {"network": "nobody"}),
        ("identity", "member", {"member": "nobody"}),
        ("identity", "device", {"device": "nobody"}),
        ("identity", "whoami", {"key": bytes(range(32))}),
        ("keys", "enrolment", {"one_time_key": bytes(range(32))}),
        ("supply", "redemptions", {"kind": "network", "name": "nobody"}),
    ):
        with pytest.raises(RefusedError, match="not-allowed"):
            access.require_query(key, contract, method, args, proven=True)
    access.require_query(key, "identity", "member", {"member": "club"}, proven=True)
