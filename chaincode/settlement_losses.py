"""The feeder check: what the homes' meters add up to, against the meter of the transformer that feeds them all.

The homes' sum of a slot is kept as networks settle and are corrected (``settlement_ledger.Metered``). What came in
through the feeder and did not arrive at a meter was lost on the way:

    loss = (feeder import - feeder export) - (meters' import - meters' export)

in Wh. It is told as it is: below zero, if meters show more than the feeder let in, something measures wrong. Nobody is
charged by it. Estimates are in the sum, and counted, so that a reader knows what a figure is worth; a network that is
parked is not, until it is released.
"""

from typing import NamedTuple

from chaincode import market_products, settlement_feeder, settlement_ledger
from chaincode.contract import Context


class Check(NamedTuple):
    """A slot's energies in Wh; ``estimated``: how many of the homes' readings are estimates; ``networks``: how many
    are settled and in the sum.
    """

    feeder_import_wh: int
    feeder_export_wh: int
    import_wh: int
    export_wh: int
    loss_wh: int
    estimated: int
    networks: int


def check_of(ctx: Context, slot: int) -> Check | None:
    """The check of a slot; None without a reading of the feeder's meter."""
    feeder = settlement_feeder.find(ctx, slot)
    if feeder is None:
        return None
    metered = settlement_ledger.metered_of(ctx, slot)
    loss = feeder.import_wh - feeder.export_wh - metered.import_wh + metered.export_wh
    flows = feeder.import_wh, feeder.export_wh, metered.import_wh, metered.export_wh
    return Check(*flows, loss, metered.estimated, metered.networks)


def tell(ctx: Context, slot: int) -> None:
    """Tell the check of a slot that is settled, if the feeder's meter has been read: when the slot is settled, and when
    something of it changes later.
    """
    product = market_products.find(ctx, slot)
    if product is None or product.state not in (market_products.SETTLED, market_products.FINAL):
        return
    check = check_of(ctx, slot)
    if check is not None:
        ctx.emit("feeder", (), (slot, *check))
