"""The conservation of budgets, as figures that anyone can check: per network and period,

issued + earned = pool + available + reserved + spent

where the pool and every device of the network count. What moves between devices moves no sum.
"""

from typing import NamedTuple

from chaincode import accounts, identity
from chaincode.contract import Context


class Totals(NamedTuple):
    """Of one network in one period, in base units; ``earned`` and ``spent``: by the pool and all devices."""

    issued: int
    earned: int
    pool: int
    available: int
    reserved: int
    spent: int

    def balance(self) -> bool:
        """Whether what came in is what is there and what went out."""
        return self.issued + self.earned == self.pool + self.available + self.reserved + self.spent


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
    )
