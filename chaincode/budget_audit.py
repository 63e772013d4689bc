"""The conservation of budgets, as figures that anyone can check: per network and period,

    carried_in + issued + received + earned
        = pool + available + reserved + spent + sent + sold + returned + redeemed + carried_out

where the pool and every device of the network count. What moves between devices moves no sum.
"""

from typing import NamedTuple

from chaincode import accounts, identity
from chaincode.contract import Context


class Totals(NamedTuple):
    """Of one network in one period, in base units; ``earned`` and ``spent``: by the pool and all devices. What follows
    ``spent`` counts what came from and went to other periods, networks, and the utility.
    """

    issued: int
    earned: int
    pool: int
    available: int
    reserved: int
    spent: int
    carried_in: int
    received: int
    sent: int
    sold: int
    returned: int
    redeemed: int
    carried_out: int

    def balance(self) -> bool:
        """Whether what came in is what is there and what went out."""
        came = self.carried_in + self.issued + self.received + self.earned
        there = self.pool + self.available + self.reserved
        return came == there + self.spent + self.sent + self.sold + self.returned + self.redeemed + self.carried_out


def totals_of(ctx: Context, network: str, period: int) -> Totals:
    """Add up the books of ``network`` in ``period``. Raises ContractError("unknown-network")."""
    pool = accounts.network_book(ctx, network, period)
    books = [accounts.device_book(ctx, device, period) for device in identity.devices_of(ctx, network)]
    return Totals(
        issued=pool.issued,
        earned=pool.earned + sum([book.earned for book in books]),
        pool=pool.pool,
        available=sum([book.available for book in books]),
        reserved=sum([book.reserved for book in books]),
        spent=pool.spent + sum([book.spent for book in books]),
        carried_in=pool.carried_in,
        received=pool.received,
        sent=pool.sent,
        sold=pool.sold,
        returned=pool.returned,
        redeemed=pool.redeemed,
        carried_out=pool.carried_out,
    )
