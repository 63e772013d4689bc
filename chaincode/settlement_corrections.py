"""Corrections: a network's slot that has been settled is settled anew when one of its readings changes.

Whatever changes a reading calls ``reopen``. The network's slot is queued, once however often it is reopened in a block,
and is settled anew after the transactions. Nothing is queued before the network is settled (the settlement to come
reads what holds then) nor once the slot is FINAL.

State: table ``reopened/``: slot(8) network -> the transaction that reopened it last.
"""

from typing import Final

from chaincode import market_products
from chaincode.contract import Context
from chaincode.keys import text, uint

_REOPENED: Final = b"reopened/"
_SETTLED: Final = b"settled/"


def reopen(ctx: Context, network: str, slot: int) -> None:
    """A reading of ``network`` in ``slot`` has changed: have it settled anew, if it is settled and not FINAL."""
    if ctx.get(_SETTLED + text(network) + uint(slot)) is None or market_products.is_final(ctx, slot):
        return
    ctx.put(_REOPENED + uint(slot) + network.encode(), ctx.tx_id)
