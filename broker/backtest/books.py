"""What brokers did and what the market made of it, all season."""

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple


class Contract(NamedTuple):
    """A network's contracts at a bus in a slot, Wh."""

    bought_wh: int
    sold_wh: int


@dataclass(slots=True)
class Books:
    """``price``: by slot and bus, the last auction's, base units per Wh; ``contracts``: by slot, then network and bus;
    ``shared``: base units that others of a network gave a device, by network; ``orders`` and ``refused``: how many,
    by network and by code; ``lost``: what else was refused, by code."""

    price: dict[int, dict[str, int]] = field(default_factory=dict)
    contracts: dict[int, dict[tuple[str, str], Contract]] = field(default_factory=dict)
    shared: Counter[str] = field(default_factory=Counter)
    orders: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
