"""Members take turns, and share the pool's room: a flood with however many keys is one member's."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.errors import NoRoomError, RefusedError
from node.limits import SENDER_SURE_TRANSACTIONS
from node.mempool import Mempool
from node.model.keys import SigningKey
from node.model.transaction import Payload, Transaction, sign_transaction
from node.turns import ITEM_BYTES
from tests.test_mempool import CHAIN, UsedNonces

SIGNED = sign_transaction(SigningKey(b"t" * 32), CHAIN, 1, "bank", "pay", {}, 1000)


def key_of(member: int, device: int) -> bytes:
    return bytes([member]) + device.to_bytes(31, "big")


def member_of(key: bytes) -> str:
    return f"member-{key[0]}"


def tx(member: int, device: int, nonce: int, *, rows: int = 0, size: int = 0) -> Transaction:
    """Unsigned: pools do not look. ``rows``: so many items; ``size``: bytes besides those of the shortest."""
    payload = SIGNED.payload
    args = {"rows": [0] * rows} if rows else {}
    found = Payload(
        args, payload.chain, payload.contract, payload.method, nonce, payload.not_after, key_of(member, device)
    )
    name = bytes([member]) + device.to_bytes(8, "big") + nonce.to_bytes(23, "big")
    return Transaction(SIGNED.raw + bytes(size), found, name, name)


def pool_of(transactions: int = 20_000, max_bytes: int = 2**40) -> Mempool:
    return Mempool(UsedNonces(), max_transactions=transactions, max_bytes=max_bytes, whose=member_of)


def cost_of(each: Transaction) -> int:
    return max(len(each.raw), ITEM_BYTES * each.items)


@settings(max_examples=60, deadline=None)
@given(
    others=st.integers(1, 8),
    devices=st.integers(1, 60),
    each=st.integers(1, 20),
    rows=st.integers(0, 400),
    size=st.integers(0, 5_000),
    taken=st.integers(0, 300),
)
def test_whoever_comes_is_served_after_one_of_each_member(
    others: int, devices: int, each: int, rows: int, size: int, taken: int
) -> None:
    """Checklist 6: however many keys flood, however large what they send, and however long they have done so."""
    pool = pool_of()
    for nonce in range(1, each + 1):
        for device in range(devices):
            pool.add(tx(0, device, nonce, rows=rows, size=size), 0)
    for _ in range(taken):
        pool.take(10**9, 1)
    came = [tx(member, 0, 1) for member in range(1, others + 1)]
    for one in came:
        pool.add(one, 0)
    served = [one for _ in range(others + 1) for one in pool.take(10**9, 1)]
    assert {one.id for one in came} <= {one.id for one in served}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 300), st.integers(0, 20_000)), min_size=2, max_size=5))
def test_members_with_enough_waiting_are_given_the_same(shapes: list[tuple[int, int, int]]) -> None:
    """Within one transaction of each, in bytes and items; of many keys or of one, a member has the same."""
    pool = pool_of()
    for member, (devices, rows, size) in enumerate(shapes):
        for number in range(60):
            pool.add(tx(member, number % devices, number // devices + 1, rows=rows, size=size), 0)
    given_to: Counter[int] = Counter(dict.fromkeys(range(len(shapes)), 0))
    count = Counter[int]()
    largest = max(cost_of(tx(0, 0, 1, rows=rows, size=size)) for _, rows, size in shapes)
    while max(count.values(), default=0) < 59:
        (one,) = pool.take(10**9, 1)
        given_to[one.payload.sender[0]] += cost_of(one)
        count[one.payload.sender[0]] += 1
        assert max(given_to.values()) - min(given_to.values()) <= 2 * largest


def test_senders_of_a_member_take_turns_within_it() -> None:
    pool = pool_of()
    for nonce in range(1, 11):
        pool.add(tx(1, 0, nonce), 0)
    pool.add(tx(1, 1, 1), 0)
    pool.add(tx(2, 0, 1), 0)
    order = [one.payload.sender for one in pool.take(10**9, 5)]
    assert order == [key_of(1, 0), key_of(2, 0), key_of(1, 1), key_of(1, 0), key_of(1, 0)]


def test_who_was_away_has_saved_nothing_up() -> None:
    pool = pool_of()
    pool.add(tx(2, 0, 1), 0)
    for nonce in range(1, 201):
        pool.add(tx(1, 0, nonce), 0)
    assert len(pool.take(10**9, 101)) == 101  # all but one of them of member 1
    for nonce in range(2, 100):
        pool.add(tx(2, 0, nonce), 0)
    order = Counter(one.payload.sender[0] for one in pool.take(10**9, 40))
    assert order == {1: 20, 2: 20}


def test_turns_are_kept_across_nonces_that_come_and_go() -> None:
    """A backup's pool is filled and emptied by blocks and never asked for a batch: what it keeps is bounded."""
    nonces = UsedNonces()
    pool = Mempool(nonces, whose=member_of)
    for round_number in range(300):
        batch = [tx(1, 1000 * round_number + device, 1) for device in range(20)]
        for one in batch:
            pool.add(one, 0)
        pool.committed(batch)
    assert len(pool) == 0 and pool.take(10**9, 10) == []
    (member,) = pool._members.values()
    assert len(member.turns) <= 60
    pool.add(tx(1, 0, 1), 0)
    assert pool.take(10**9, 10) == [tx(1, 0, 1)]


@settings(max_examples=60, deadline=None)
@given(st.integers(1_000, 3_000), st.lists(st.integers(20, 400), min_size=1, max_size=3))
def test_a_flood_leaves_room_for_every_member(room: int, devices: list[int]) -> None:
    """Checklist 6: members fill all that they are given, one after the other, and the next one still gets in."""
    pool = pool_of(room)
    for member, count in enumerate(devices):
        with pytest.raises(NoRoomError) as caught:
            for number in range(room + 1):
                pool.add(tx(member, number % count, number // count + 1), 0)
        assert caught.value.ahead >= 1
        assert len(pool) < room
    for nonce in range(1, SENDER_SURE_TRANSACTIONS + 1):
        pool.add(tx(200, 0, nonce), 0)
    held = pool.waiting_of()
    assert sum(held.values()) == len(pool)
    assert held["member-0"] <= 2 * room // 3 + 1


def test_one_device_of_many_does_not_fill_its_members_share() -> None:
    pool = pool_of(900)
    with pytest.raises(NoRoomError):
        for nonce in range(1, 257):
            pool.add(tx(1, 0, nonce), 0)
        for nonce in range(1, 257):
            pool.add(tx(1, 1, nonce), 0)
        for nonce in range(1, 257):
            pool.add(tx(1, 2, nonce), 0)
    pool.add(tx(1, 3, 1), 0)
    pool.add(tx(2, 0, 1), 0)


def test_bytes_are_shared_as_transactions_are() -> None:
    pool = pool_of(max_bytes=12 * 2**20)
    with pytest.raises(NoRoomError):
        for number in range(1000):
            pool.add(tx(1, number, 1, size=60_000), 0)
    assert 7 * 2**20 < pool.size_bytes <= 8 * 2**20 + 2**17
    for number in range(40):
        pool.add(tx(2, number, 1, size=60_000), 0)


def test_keys_that_hand_in_one_at_a_time_do_not_starve_one_of_their_member_that_has_several_waiting() -> None:
    """Checklist 6: whoever has nothing left after a block, and comes again, stands where it stood."""
    pool = pool_of()
    each = [tx(1, device, 1) for device in range(101)]
    for nonce in range(1, 11):
        pool.add(tx(1, 100, nonce), 0)
    for one in each[:100]:
        pool.add(one, 0)
    served: Counter[int] = Counter()
    for turn in range(2, 7):
        taken = pool.take(10**9, 100)
        pool.committed(taken)
        for one in taken:
            device = int.from_bytes(one.payload.sender[1:], "big")
            served[device] += 1
            if device != 100:
                pool.add(tx(1, device, turn), 0)
    assert served[100] >= 4
    assert max(served.values()) <= 6


def test_a_key_that_was_changed_hands_in_nothing_more() -> None:
    """Whoever stole it would else go on as long as it never lets its last transaction here come to an end."""
    known: dict[bytes, str] = {key_of(1, 1): "one"}
    pool = Mempool(UsedNonces(), whose=known.get)
    pool.add(tx(1, 1, 1), 0)
    del known[key_of(1, 1)]
    with pytest.raises(RefusedError, match="unknown-sender"):
        pool.add(tx(1, 1, 2), 0)
    assert pool.waiting_of() == {"one": 1}
    pool.committed(pool.take(10**6, 10))
    assert not len(pool) and pool.waiting_of() == {}


def test_a_key_that_acts_for_another_member_now_counts_with_it() -> None:
    known = {key_of(1, 1): "one", key_of(1, 2): "one", key_of(2, 1): "two"}
    pool = Mempool(UsedNonces(), whose=known.get)
    for nonce in (1, 2, 3):
        pool.add(tx(1, 1, nonce), 0)
    pool.add(tx(1, 2, 1), 0)
    pool.mark_taken([tx(1, 1, 1).id])
    known[key_of(1, 1)] = "two"
    pool.add(tx(1, 1, 4), 0)
    assert pool.waiting_of() == {"one": 1, "two": 4}
    taken = pool.take(10**6, 10)
    assert [one.payload.nonce for one in taken if one.payload.sender == key_of(1, 1)] == [2, 3, 4]
    assert len(taken) == 4
    pool.untake()
    assert sorted(one.id for one in pool.take(10**6, 10)) == sorted(pool.ids())
    pool.committed(taken)
    pool.drop(tx(1, 1, 1).id)
    assert not len(pool) and pool.size_bytes == 0 and pool.waiting_of() == {}
