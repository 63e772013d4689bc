"""The pool is bounded, fair between senders, and never offers a transaction twice."""

from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.errors import RefusedError
from node.forwarding import Forwarding
from node.limits import (
    BATCH_ITEMS,
    BATCH_SHARED_ITEMS,
    FORWARD_RETRY_TICKS,
    FORWARD_TRANSACTIONS,
    FORWARDS_PER_TICK,
)
from node.mempool import PENDING, UNKNOWN, Mempool
from node.model.keys import SigningKey
from node.model.transaction import Transaction, sign_transaction

CHAIN = b"c" * 32
KEYS = [SigningKey(bytes([i]) * 32) for i in range(1, 6)]


class UsedNonces:
    """The rule of ``Ledger``: a window of 256 on both sides of the highest used."""

    def __init__(self) -> None:
        self.used: dict[bytes, set[int]] = defaultdict(set)

    def highest_nonce(self, sender: bytes) -> int:
        return max(self.used[sender], default=0)

    def nonce_acceptable(self, sender: bytes, nonce: int) -> bool:
        highest = self.highest_nonce(sender)
        return highest - 256 < nonce <= highest + 256 and nonce not in self.used[sender]


def tx(sender: int, nonce: int, *, not_after: int = 1000, memo: str = "") -> Transaction:
    return sign_transaction(KEYS[sender], CHAIN, nonce, "bank", "pay", {"memo": memo}, not_after)


def refusal(pool: Mempool, transaction: Transaction, now: int = 0) -> str:
    with pytest.raises(RefusedError) as caught:
        pool.add(transaction, now)
    return caught.value.code


def test_a_batch_is_filled_by_items_and_never_leaves_a_big_one_out() -> None:
    pool = Mempool(UsedNonces())
    for sender, rows in enumerate((60, 60, 300, 1)):
        pool.add(sign_transaction(KEYS[sender], CHAIN, 1, "bank", "pay", {"rows": [0] * rows}, 1000), 0)
    taken = [[tx.items for tx in pool.take(10**6, 100)] for _ in range(4)]
    assert taken == [[60, 60], [300], [1], []]


def test_a_batch_of_several_members_is_full_with_fewer_items() -> None:
    """And whoever is left out can see that it was: the batch has two members, however they came to be in it."""

    def filled(*of_each: int) -> list[int]:
        pool = Mempool(UsedNonces(), whose=lambda key: key.hex())
        for sender, count in enumerate(of_each):
            for nonce in range(1, count + 1):
                pool.add(tx(sender, nonce), 0)
        sizes = []
        while batch := pool.take(10**6, BATCH_ITEMS):
            assert not pool.untaken or pool.is_full(batch)
            sizes.append(len(batch))
        return sizes

    assert filled(255) == [255]
    assert filled(255, 1) == [BATCH_SHARED_ITEMS, 6]
    assert filled(200, 200, 200) == [BATCH_SHARED_ITEMS] * 2 + [100]


def test_who_was_given_more_before_is_still_in_the_batch_that_leaves_it_out() -> None:
    pool = Mempool(UsedNonces(), whose=lambda key: key.hex())
    for nonce in range(1, 256):
        pool.add(tx(0, nonce), 0)
    pool.take(10**6, 255)
    pool.add(tx(0, 256), 0)
    for nonce in range(1, 256):
        pool.add(tx(1, nonce), 0)
    pool.add(tx(2, 1), 0)
    first = pool.take(10**6, BATCH_ITEMS, 100)
    assert len({one.payload.sender for one in first}) > 1 and len(first) >= 100


def test_refusals_have_stable_codes() -> None:
    nonces = UsedNonces()
    nonces.used[KEYS[0].public_key] = {5}
    pool = Mempool(nonces, max_per_sender=3)
    first = tx(0, 7)
    pool.add(first, 0)
    assert refusal(pool, first) == "duplicate"
    assert refusal(pool, tx(0, 7, memo="other")) == "nonce-used"
    assert refusal(pool, tx(0, 5)) == "nonce-used"
    assert refusal(pool, tx(0, 262)) == "nonce-out-of-window"
    assert refusal(pool, tx(0, 8, not_after=9), now=10) == "expired"
    pool.add(tx(0, 8, not_after=10), 10)
    pool.add(tx(0, 261), 0)
    assert refusal(pool, tx(0, 9)) == "mempool-full"
    assert len(pool) == 3


def test_a_key_that_nobody_knows_sends_nothing() -> None:
    pool = Mempool(UsedNonces(), whose=lambda key: "" if key == tx(1, 1).payload.sender else None)
    pool.add(tx(1, 1), now=0)
    assert refusal(pool, tx(2, 1)) == "unknown-sender" and len(pool) == 1


def test_counts_and_bytes_are_bounded_and_given_back() -> None:
    """Checklist 52."""
    size = len(tx(0, 1).raw)
    pool = Mempool(UsedNonces(), max_transactions=2)
    pool.add(tx(0, 1), 0)
    pool.add(tx(1, 1), 0)
    assert refusal(pool, tx(2, 1)) == "mempool-full"
    pool.committed([tx(0, 1)])
    pool.add(tx(2, 1), 0)
    assert pool.size_bytes == 2 * size
    small = Mempool(UsedNonces(), max_bytes=size)
    small.add(tx(0, 1), 0)
    assert refusal(small, tx(1, 1)) == "mempool-full"


def test_senders_take_turns_and_nonces_ascend() -> None:
    """Checklist 32: who floods delays only itself."""
    pool = Mempool(UsedNonces())
    for nonce in (3, 1, 2):
        pool.add(tx(0, nonce), 0)
    pool.add(tx(1, 1), 0)
    pool.add(tx(2, 9), 0)
    assert pool.take(10**6, 4) == [tx(0, 1), tx(1, 1), tx(2, 9), tx(0, 2)]
    assert pool.untaken == 1
    assert pool.take(10**6, 4) == [tx(0, 3)]
    assert pool.take(10**6, 4) == []
    assert len(pool) == 5
    assert pool.status(tx(0, 3).id) == PENDING
    assert pool.status(tx(4, 3).id) == UNKNOWN


def test_a_batch_is_bounded_in_bytes() -> None:
    pool = Mempool(UsedNonces())
    for nonce in range(1, 5):
        pool.add(tx(0, nonce), 0)
    size = len(tx(0, 1).raw)
    assert len(pool.take(2 * size + 1, 100)) == 2
    assert len(pool.take(2 * size, 100)) == 2


def test_a_lost_batch_is_offered_again_but_not_what_another_primary_has_in_flight() -> None:
    pool = Mempool(UsedNonces())
    for nonce in (1, 2, 3):
        pool.add(tx(0, nonce), 0)
    pool.take(10**6, 2)
    pool.untake()
    pool.mark_taken([tx(0, 2).id])
    assert pool.untaken == 2
    assert pool.take(10**6, 10) == [tx(0, 1), tx(0, 3)]


def test_a_committed_nonce_ends_the_rival_that_waits() -> None:
    pool = Mempool(UsedNonces())
    pool.add(tx(0, 1, memo="mine"), 0)
    pool.committed([tx(0, 1, memo="theirs")])
    assert len(pool) == 0
    assert pool.size_bytes == 0


def test_what_expires_is_forgotten() -> None:
    pool = Mempool(UsedNonces())
    pool.add(tx(0, 1, not_after=10), 0)
    pool.add(tx(0, 2, not_after=20), 0)
    pool.drop_expired(10)
    assert len(pool) == 2
    pool.drop_expired(11)
    assert pool.take(10**6, 10) == [tx(0, 2, not_after=20)]


Step = tuple[str, int, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "take", "commit", "untake", "mark", "release"]), st.integers(0, 3), st.integers(1, 6)
    ),
    max_size=60,
)
TRANSACTIONS = {(sender, nonce): tx(sender, nonce) for sender in range(4) for nonce in range(1, 7)}


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_nothing_is_lost_or_offered_twice(steps: list[Step]) -> None:
    """Against a model of three sets: what waits, what of it is marked as on its way, and what would be if it came."""
    nonces = UsedNonces()
    pool = Mempool(nonces, max_transactions=8)
    waiting: set[bytes] = set()
    taken: set[bytes] = set()
    expected: set[bytes] = set()
    for action, sender, nonce in steps:
        transaction = TRANSACTIONS[sender, nonce]
        if action == "add":
            try:
                pool.add(transaction, 0)
                waiting.add(transaction.id)
                taken |= {transaction.id} & expected
            except RefusedError as error:
                share = 2 * (8 - len(waiting))  # all are one member's here
                assert error.code != "mempool-full" or len(waiting) >= share
        elif action == "take":
            chosen = [t.id for t in pool.take(10**6, nonce)]
            assert len(chosen) == min(nonce, len(waiting - taken))
            assert set(chosen) <= waiting - taken
            taken.update(chosen)
        elif action == "commit":
            nonces.used[transaction.payload.sender].add(nonce)
            pool.committed([transaction])
            waiting.discard(transaction.id)
            expected.discard(transaction.id)
        elif action == "untake":
            pool.untake()
            taken.clear()
            expected.clear()
        elif action == "release":
            pool.release([transaction.id])
            taken.discard(transaction.id)
            expected.discard(transaction.id)
        else:
            pool.mark_taken([transaction.id])
            taken |= {transaction.id} & waiting
            expected.add(transaction.id)
        taken &= waiting
        assert set(pool.ids()) == waiting
        assert pool.untaken == len(waiting - taken)


def test_the_primary_is_told_at_once_and_everyone_after_a_while() -> None:
    pool = Mempool(UsedNonces())
    forwarding = Forwarding(pool)
    pool.add(tx(0, 1), 0)
    forwarding.submitted(tx(0, 1).id)
    assert forwarding.for_primary() == [(tx(0, 1).raw,)]
    assert forwarding.for_primary() == []
    for _ in range(FORWARD_RETRY_TICKS - 1):
        forwarding.tick()
    assert forwarding.for_everyone() == ()
    forwarding.tick()
    assert forwarding.for_everyone() == (tx(0, 1).raw,)
    assert forwarding.for_everyone() == ()
    for _ in range(2 * FORWARD_RETRY_TICKS - 1):
        forwarding.tick()
    assert forwarding.for_everyone() == ()
    forwarding.view_changed()
    assert forwarding.for_primary() == [(tx(0, 1).raw,)]


def test_a_transaction_left_out_is_overdue_unless_batches_are_full() -> None:
    pool = Mempool(UsedNonces(), max_transactions=40)
    forwarding = Forwarding(pool)
    pool.add(tx(0, 1), 0)
    forwarding.received(tx(0, 1).id)
    others = [tx(1, nonce) for nonce in range(1, 3)]
    forwarding.committed(others, full=True)
    for _ in range(1000):
        forwarding.tick()
    assert not forwarding.overdue(FORWARD_RETRY_TICKS, 0)
    for _ in range(20):  # a mempool's worth of others
        forwarding.committed(others, full=True)
    assert forwarding.overdue(FORWARD_RETRY_TICKS, 0)
    forwarding.view_changed()
    forwarding.committed([], full=False)
    for _ in range(FORWARD_RETRY_TICKS):
        forwarding.tick()
    assert not forwarding.overdue(FORWARD_RETRY_TICKS, 0)
    forwarding.tick()
    assert forwarding.overdue(FORWARD_RETRY_TICKS, 0)
    assert not forwarding.overdue(FORWARD_RETRY_TICKS, 1001)  # it expired: nobody can include it any more


def test_what_is_in_a_proposed_batch_is_not_overdue() -> None:
    pool = Mempool(UsedNonces())
    forwarding = Forwarding(pool)
    for nonce in (1, 2):
        pool.add(tx(0, nonce), 0)
        forwarding.received(tx(0, nonce).id)
    forwarding.proposed([tx(0, 1).id])
    for _ in range(30):
        forwarding.tick()
    assert forwarding.overdue(20, 0)
    forwarding.proposed([tx(0, 2).id])
    assert not forwarding.overdue(20, 0)


def test_a_new_primary_is_told_in_bounded_messages() -> None:
    pool = Mempool(UsedNonces(), max_per_sender=10**6)
    forwarding = Forwarding(pool)
    count = FORWARD_TRANSACTIONS * FORWARDS_PER_TICK + 10
    template = tx(0, 1)
    for n in range(count):  # one signature is enough: nothing here looks at it
        payload = template.payload
        fake = Transaction(
            template.raw,
            type(payload)(
                payload.args,
                payload.chain,
                payload.contract,
                payload.method,
                1,
                payload.not_after,
                n.to_bytes(32, "big"),
            ),
            n.to_bytes(32, "big"),
            b"",
        )
        pool.add(fake, 0)
        forwarding.submitted(fake.id)
    assert [len(message) for message in forwarding.for_primary()] == [FORWARD_TRANSACTIONS] * FORWARDS_PER_TICK
    assert [len(message) for message in forwarding.for_primary()] == [10]
