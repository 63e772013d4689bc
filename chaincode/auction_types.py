"""The auction's nouns: orders in; prices, fills, flows and trades out."""

from dataclasses import dataclass
from typing import NamedTuple

from chaincode.contract import ContractError

BUY = 0
SELL = 1

KEY_SCALE = 1 << 15
"""M: keys are prices times M, so that below one unit of price there is room for the order's age."""

OLDEST_MERGED_AGE = KEY_SCALE // 2 - 1
"""Ages from here on count as one class: enough for a day of ticks every 6 seconds."""


class ClearingError(ContractError):
    """Orders that cannot be cleared, or a clearing that is not the one the rules demand."""


class Order(NamedTuple):
    """One order as the auction sees it; a plain tuple, because the auction reads ten thousands of them.

    ``id``: not empty, unique within the auction; ``bus``: index in the tree; ``side``: BUY or SELL;
    ``price``: the limit, base units per Wh, 0 to 2^63-1; ``energy_wh``: 1 to 2^63-1; ``age``: the class of
    simultaneous orders, 0 = the oldest tick; ``renewable``: a seller's tag or a buyer's wish.
    """

    id: bytes
    bus: int
    side: int
    price: int
    energy_wh: int
    age: int = 0
    renewable: bool = False


class Trade(NamedTuple):
    """``energy_wh`` from order ``sell`` to order ``buy``; prices and toll in base units per Wh.

    ``toll`` is the sum over the lines between them; buyer_price - seller_price - toll >= 0 is the rent.
    """

    buy: bytes
    sell: bytes
    energy_wh: int
    buyer_price: int
    seller_price: int
    toll: int


@dataclass(frozen=True, slots=True)
class Clearing:
    """The result of one auction on a tree of N buses.

    ``key_prices``: per bus, in base units per Wh times KEY_SCALE: the certificate that proves the rest;
    ``prices``: key_prices // KEY_SCALE; ``fills``: order id -> Wh, the filled orders only, by id; ``flows``: Wh per
    line (its child's index), parent to child positive, flows[0] = 0; ``trades``: by buyer's, then seller's id;
    in base units: ``paid`` by buyers = ``received`` by sellers + ``tolls`` + ``rent``; ``welfare`` = the limits of the
    filled buys - those of the filled sells - tolls.
    """

    key_prices: tuple[int, ...]
    prices: tuple[int, ...]
    fills: dict[bytes, int]
    flows: tuple[int, ...]
    trades: tuple[Trade, ...]
    paid: int
    received: int
    tolls: int
    rent: int
    welfare: int
