"""A contract with many entries, so that proofs have several nodes."""

from typing import cast

from chaincode.contract import Context, Contract, Value
from chaincode.keys import uint

VECTOR = b"vector/"


class Book(Contract):
    """``vector/`` number(8) -> (number, its square, its name)."""

    name = "book"

    def genesis(self, ctx: Context, settings: dict[str, Value]) -> None:
        for number in range(cast("int", settings["entries"])):
            ctx.put(VECTOR + uint(number), (number, number * number, f"entry {number}"))
