"""Questions to the state after a block: contracts are run over it as they are in blocks, and change nothing."""

from collections.abc import Iterator

from chaincode.contract import Context, ContractError, State, Value
from node.ledger.chain import Ledger
from node.ledger.state import WorldState
from node.model.block import Header
from node.model.codec import encode
from node.model.keys import verify

LOCAL_STEPS = 200_000
"""Of a query on a program's own: nobody else waits. What a gateway's may do stands in ``node/limits.py``."""


class ReadOnlyState:
    """The state after the head, for a query: its writes are refused with "read-only".

    ``rows``: how many entries of tuples it may read, None for any number; above that "too-much". One read may bring a
    whole page of an auction, so reads alone do not say what a query costs.
    """

    def __init__(self, state: WorldState, rows: int | None = None) -> None:
        self._state = state
        self._rows_left = rows

    def get(self, key: bytes) -> Value:
        return self._counted(self._state.get(key))

    def encoded(self, key: bytes) -> bytes | None:
        value = self.get(key)
        return None if value is None else encode(value)

    def put(self, key: bytes, value: Value) -> None:
        raise ContractError("read-only", "a query writes")

    def delete(self, key: bytes) -> None:
        raise ContractError("read-only", "a query writes")

    def scan(self, start: bytes, end: bytes, reverse: bool = False) -> Iterator[tuple[bytes, Value]]:
        for key, value in self._state.scan(start, end, reverse):
            yield key, self._counted(value)

    def _counted(self, value: Value) -> Value:
        if self._rows_left is not None and isinstance(value, tuple):
            self._rows_left -= len(value)
            if self._rows_left < 0:
                raise ContractError("too-much", "the query reads too many rows")
        return value

    def mark(self) -> int:
        return 0

    def check(self, mark: int) -> None:
        """Nothing is ever written."""

    def rollback(self, mark: int) -> None:
        """Nothing is ever written."""


def query_context(head: Header, state: State, sender: bytes, steps: int = LOCAL_STEPS) -> Context:
    """What a query sees: the state after the block ``head``, at its time."""
    return Context(
        state,
        chain=head.chain,
        height=head.height,
        time=head.time,
        previous_time=head.time,
        sender=sender,
        tx_id=b"",
        step_limit=steps,
        verifier=verify,
    )


def head_context(ledger: Ledger, sender: bytes = b"", steps: int = LOCAL_STEPS) -> Context:
    """The same after the ledger's head."""
    return query_context(ledger.head, ReadOnlyState(ledger.state), sender, steps)
