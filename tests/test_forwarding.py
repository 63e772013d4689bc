"""What waits in a pool reaches a primary in the end, whoever let it down."""

from node.forwarding import GRACE_TICKS, Forwarding
from node.limits import FORWARD_HEARD_TICKS, FORWARD_RETRY_TICKS, FORWARD_TRANSACTIONS
from node.mempool import Mempool
from tests.test_mempool import UsedNonces, tx

PATIENCE_TICKS = 20


def pool_with(*nonces: int) -> tuple[Mempool, Forwarding]:
    """A pool that holds these transactions of one sender, and the watch over it."""
    pool = Mempool(UsedNonces())
    for nonce in nonces:
        pool.add(tx(0, nonce), 0)
    return pool, Forwarding(pool)


def ticks_until_overdue(forwarding: Forwarding, limit: int) -> int:
    """How many ticks pass until the primary is late."""
    for tick in range(limit):
        if forwarding.overdue(PATIENCE_TICKS, 0):
            return tick
        forwarding.tick()
    raise AssertionError(f"not overdue within {limit} ticks")


def test_a_batch_that_becomes_no_block_hides_nothing() -> None:
    """Checklist 28 and 32: a primary that shows this node a batch with the transaction, again and again, and has
    another one stored each time, is late all the same."""
    _, forwarding = pool_with(1)
    forwarding.received(tx(0, 1).id)
    for _ in range(GRACE_TICKS + PATIENCE_TICKS):
        forwarding.proposed([tx(0, 1).id])
        forwarding.committed([], full=False)
        forwarding.tick()
    assert ticks_until_overdue(forwarding, 3) <= 2


def test_one_in_a_batch_does_not_hide_one_that_is_left_out() -> None:
    """Checklist 28: the time that a batch is given is its own transactions' alone."""
    _, forwarding = pool_with(1, 2)
    forwarding.received(tx(0, 2).id)
    forwarding.proposed([tx(0, 2).id])
    forwarding.received(tx(0, 1).id)
    assert ticks_until_overdue(forwarding, 100) == PATIENCE_TICKS + 1


def test_what_a_peer_forwarded_is_told_to_everyone_in_the_end() -> None:
    """Checklist 28: the node that had it from its client may be dead, and its client may know this one only, where it
    is a duplicate now."""
    _, forwarding = pool_with(1)
    forwarding.received(tx(0, 1).id)
    assert forwarding.for_primary() == []
    for _ in range(FORWARD_HEARD_TICKS - 1):
        forwarding.tick()
    assert forwarding.for_everyone() == ()
    forwarding.view_changed()  # the new primary is given as long
    for _ in range(FORWARD_HEARD_TICKS - 1):
        forwarding.tick()
    assert forwarding.for_everyone() == ()
    forwarding.tick()
    assert forwarding.for_everyone() == (tx(0, 1).raw,)


def test_what_is_in_a_batch_is_not_told_meanwhile() -> None:
    """A batch on its way need not be helped; one that got lost must be."""
    _, forwarding = pool_with(1)
    forwarding.submitted(tx(0, 1).id)
    forwarding.for_primary()
    forwarding.proposed([tx(0, 1).id])
    told = []
    for tick in range(2 * GRACE_TICKS):
        forwarding.tick()
        if forwarding.for_everyone():
            told.append(tick + 1)
    assert told and told[0] >= GRACE_TICKS > FORWARD_RETRY_TICKS


def test_no_tick_looks_at_all_that_waits() -> None:
    """When the view changes everything is due at once, and what is in a batch by then need not be told."""
    pool = Mempool(UsedNonces())
    forwarding = Forwarding(pool)
    for sender in range(5):
        for nonce in range(1, 251):
            pool.add(tx(sender, nonce), 0)
            forwarding.received(tx(sender, nonce).id)
    forwarding.view_changed()
    for _ in range(FORWARD_HEARD_TICKS - 1):
        forwarding.tick()
    forwarding.proposed(list(pool.ids()))
    forwarding.tick()
    asked: list[bytes] = []
    looked_at = pool.get
    pool.get = lambda tx_id: asked.append(tx_id) or looked_at(tx_id)  # type: ignore[func-returns-value,method-assign]
    assert forwarding.for_everyone() == ()
    assert len(asked) == 2 * FORWARD_TRANSACTIONS < len(pool)
    assert forwarding.for_everyone() == () and len(asked) == len(pool)
