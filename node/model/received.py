"""A member's word that it has received transactions: what a gateway signs and a client may keep."""

from collections.abc import Sequence

from node.model.codec import encode
from node.model.keys import TAG_RECEIVED
from node.model.merkle_list import list_root


def received_bytes(chain: bytes, member: int, height: int, tx_ids: Sequence[bytes]) -> bytes:
    """What is signed: "received by ``member`` when its chain stood at ``height``", for these transactions."""
    return received_root_bytes(chain, member, height, list_root(tx_ids))


def received_root_bytes(chain: bytes, member: int, height: int, root: bytes) -> bytes:
    """The same, for whoever has the list root over the transactions' ids alone."""
    return TAG_RECEIVED + encode((chain, member, height, root))
