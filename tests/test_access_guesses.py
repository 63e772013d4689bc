"""What tells more than it says: ids that follow from what few possible contents there are, entries beside an answer."""

from typing import Any

import pytest

from chaincode.contract import Contract
from chaincode.events import CLOSED, PUBLIC
from chaincode.registry import Registry, default_registry
from chaincode.subjects import READINGS
from node.errors import RefusedError
from node.limits import QUERY_ROWS, QUERY_STEPS
from node.model.block import decode_batch, digests_in
from tests.chaincode.busy_chain import ADMINS
from tests.test_access_gateway import FRIEND, PUBLIC_KEYS, STRANGER, blocks, day


class Quiet(Contract):
    name = "quiet"


class Telling(Contract):
    name = "telling"
    results = READINGS
    events = (("night-rate", PUBLIC), ("feeder", PUBLIC), ("reading", PUBLIC))


def body(height: int) -> bytes:
    """The body of a block of that day."""
    block = day()[0].ledger.block(height)
    assert block is not None
    return block.body


@pytest.mark.parametrize("reader", [b"", STRANGER, PUBLIC_KEYS["utility"], FRIEND])
def test_what_a_transaction_says_cannot_be_tried_by_who_knows_the_key(reader: bytes) -> None:
    """An id follows from the payload, and of that all but a few Wh is public or counted up; a digest does not."""
    chain, _ = day()
    ids = {tx.id for height in range(1, chain.ledger.head.height + 1) for tx in decode_batch(body(height)).transactions}
    digests = 0
    for raw, block in blocks(reader):
        assert not [tx_id for tx_id in ids if tx_id in raw]
        assert [digest for digest, _ in block.results] == digests_in(body(block.height))
        digests += len(block.results)
    assert digests == len(ids)


def test_what_an_upgrade_brings_is_closed_until_it_says_whose_it_is() -> None:
    """A contract declares what its results are of, and the topics of its own events; it opens no others."""
    registry = Registry([*default_registry().contracts, Quiet(), Telling()])
    assert registry.results_of("quiet") == registry.results_of("nowhere") == ""
    assert registry.results_of("telling") == registry.results_of("settlement") == READINGS
    assert registry.events["night-rate"] == PUBLIC
    assert "feeder" in CLOSED and "feeder" not in registry.events
    assert registry.events["reading"] == READINGS


def allowed(key: bytes) -> set[bytes]:
    """Who may ask when a key was active."""
    _, access = day()
    found = set()
    for reader in (*PUBLIC_KEYS.values(), STRANGER, FRIEND, b""):
        try:
            access.require_activity(reader, key)
        except RefusedError as refusal:
            assert refusal.code == ("not-allowed" if reader else "sign-first")
        else:
            found.add(reader)
    return found


@pytest.mark.parametrize(
    ("whose", "others"),
    [
        ("home-1/load", ("home-1", "club")),
        ("meter home-1/load", ("home-1/load", "home-1", "club")),
        ("home-1", ("club",)),
        ("club", ()),
        ("utility", ()),
        ("feeder", ()),
    ],
)
def test_when_a_key_was_active_is_for_who_may_read_all_that_it_acts_for(whose: str, others: tuple[str, ...]) -> None:
    """Not for a sibling, an admin, the utility, or a friend who may read orders alone. ``others``: besides its holder
    and those who see everything."""
    assert allowed(PUBLIC_KEYS[whose]) == {PUBLIC_KEYS[name] for name in (whose, *others, *ADMINS)}


def test_a_key_that_is_nobodys_is_refused_as_others_are() -> None:
    everything = {PUBLIC_KEYS[name] for name in ADMINS}
    assert allowed(STRANGER) == everything | {STRANGER}
    assert allowed(b"k" * 32) == allowed(bytes(32)) == everything


def test_what_would_cost_too_much_to_find_out_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key acts for up to 4,096: nobody makes a node look at all of them, or fail at it."""
    _, access = day()
    access.require_activity(PUBLIC_KEYS["home-1"], PUBLIC_KEYS["home-1/load"])
    monkeypatch.setattr("node.gateway.access.QUERY_STEPS", 5)
    with pytest.raises(RefusedError, match="not-allowed"):
        access.require_activity(PUBLIC_KEYS["home-1"], PUBLIC_KEYS["home-1/load"])
    access.require_activity(PUBLIC_KEYS["home-1/load"], PUBLIC_KEYS["home-1/load"])


def entries(reader: bytes, contract: str, method: str, **args: Any) -> bytes | None:
    """All that ``reader`` is given with a proven answer; None if it is refused that, though not the bare answer."""
    chain, access = day()
    access.require_query(reader, contract, method, args, proven=False)
    try:
        access.require_query(reader, contract, method, args, proven=True)
    except RefusedError as refusal:
        assert refusal.code == "not-allowed"
        return None
    _, reads = chain.executor.query_proven(contract, method, args, steps=QUERY_STEPS, rows=QUERY_ROWS)
    return b"".join([key + (value or b"") for key, value, _ in reads])


def test_a_device_is_not_shown_what_its_siblings_have_used_by_the_proof_of_its_own_origins() -> None:
    asked = {"device": "home-1/load", "slot": 1}
    whole = entries(PUBLIC_KEYS["home-1"], "origin", "device", **asked)
    assert whole is not None and b"home-1/battery" in whole
    for reader in ("home-1/load", "meter home-1/load"):
        assert entries(PUBLIC_KEYS[reader], "origin", "device", **asked) is None


def test_the_utility_is_not_shown_what_a_home_has_by_the_proof_of_its_cap() -> None:
    asked = {"kind": "network", "name": "home-1", "period": 0}
    whole = entries(PUBLIC_KEYS["home-1"], "supply", "cap", **asked)
    assert whole is not None and b"acc-network/" in whole
    assert entries(PUBLIC_KEYS["utility"], "supply", "cap", **asked) is None
