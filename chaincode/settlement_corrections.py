"""Corrections: a network's slot that has been settled is settled anew when one of its readings changes.

Whatever changes a reading calls ``reopen``. The network's slot is queued, once however often it is reopened in a block,
and is settled anew by the settlement calendar in the next one (``settlement_anew`` says how). Nothing is queued before
the network is settled (the settlement to come reads what holds then) nor once the slot is FINAL; and a slot does not
become FINAL while something of it is queued.

State: table ``reopened/``: slot(8) network -> the transactions that changed a reading, oldest first.
"""

from typing import Final, cast

from chaincode import market_calendar, market_products, settlement_ledger
from chaincode.contract import Context, ContractError
from chaincode.keys import uint
from chaincode.market_calendar import AGAIN, SETTLEMENT, Entry
from chaincode.settlement_ledger import Settled

REOPENED: Final = b"reopened/"
MAX_REVISIONS: Final = 1_000
MAX_ENTRIES: Final = 16_000
"""Of one network in one slot: from then on nothing of it is corrected. All of them are read to settle it anew."""
MAX_CAUSES: Final = 32
"""Transactions remembered of one queued slot; entries that rest on older ones name the newest."""


def may_reopen(ctx: Context, network: str, slot: int) -> bool:
    """Whether a reading of ``network`` in ``slot`` may still change: False once it is FINAL, or corrected too often."""
    settled = settlement_ledger.settled_of(ctx, network, slot)
    return not market_products.is_final(ctx, slot) and (settled is None or _has_room(settled))


def reopen(ctx: Context, network: str, slot: int, cause: bytes = b"") -> None:
    """A reading of ``network`` in ``slot`` has changed: have it settled anew, if it is settled and not FINAL.

    ``cause``: the transaction that the new reading names, if it is not this one.
    Raises ContractError("too-many") if it has been corrected too often; ``may_reopen`` tells before.
    """
    settled = settlement_ledger.settled_of(ctx, network, slot)
    if settled is None or market_products.is_final(ctx, slot):
        return
    if not _has_room(settled):
        raise ContractError("too-many", f"{network} has been settled anew too often in slot {slot}")
    key = REOPENED + uint(slot) + network.encode()
    causes = cast("tuple[bytes, ...]", ctx.get(key) or ())
    if (cause or ctx.tx_id) not in causes:
        ctx.put(key, (*causes, cause or ctx.tx_id)[-MAX_CAUSES:])
        market_calendar.put(ctx, SETTLEMENT, Entry(ctx.time, AGAIN, slot, ()))


def queued(ctx: Context, slot: int) -> tuple[str, tuple[bytes, ...]] | None:
    """The first network of ``slot`` that is to be settled anew, and what for; None if there is none."""
    found = next(ctx.scan(REOPENED + uint(slot)), None)
    if found is None:
        return None
    key, causes = found
    return key[len(REOPENED) + 8 :].decode(), cast("tuple[bytes, ...]", causes)


def forget(ctx: Context, network: str, slot: int) -> None:
    """Its turn has come."""
    ctx.delete(REOPENED + uint(slot) + network.encode())


def _has_room(settled: Settled) -> bool:
    return settled.revision < MAX_REVISIONS and settled.entries < MAX_ENTRIES
