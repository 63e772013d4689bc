"""What is public of a block, against guesses: nothing in it follows from what few possible contents there are."""

import pytest

from node.model.block import decode_batch, digests_in
from tests.test_access_gateway import FRIEND, PUBLIC_KEYS, STRANGER, blocks, day


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
