"""What a gateway checks before a transaction costs anybody else anything, cheapest first.

Size and form; chain; not expired; contract, method and arguments; sender; nonce; room; signature. All but the last look
at one transaction; signatures go to the verifier together. Passing proves nothing: the same is checked in the block,
but for room, and for whether anybody knows the sender.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from chaincode.contract import ContractError
from chaincode.registry import Registry
from node.driver import Driver
from node.errors import RefusedError
from node.mempool import Mempool
from node.model.genesis import Genesis
from node.model.transaction import Transaction, decode_transaction
from node.verifier import Verifier


class Accepted(NamedTuple):
    """What became of a list of raw transactions: those in the mempool now, and why others are not, by position."""

    transactions: list[Transaction]
    refused: dict[int, RefusedError]


class Edge:
    """The checks, in order. ``now``: block time by this node's clock, in seconds."""

    def __init__(
        self,
        genesis: Genesis,
        registry: Registry,
        mempool: Mempool,
        verifier: Verifier,
        driver: Driver,
        now: Callable[[], int],
    ) -> None:
        self._chain = genesis.chain
        self._registry = registry
        self._mempool = mempool
        self._verifier = verifier
        self._driver = driver
        self._now = now

    async def accept(self, raws: Sequence[bytes]) -> Accepted:
        """Check transactions and put the good ones into the mempool.

        The refusals' codes: "oversize", "malformed", "non-canonical", "bad-nonce", "bad-expiry", "bad-sender",
        "bad-chain" (form); "wrong-chain"; "expired"; "unknown-contract", "unknown-method", "bad-args"; "duplicate",
        "unknown-sender", "nonce-used", "nonce-out-of-window", "mempool-full"; "bad-signature".
        Raises RefusedError("busy").
        """
        refused: dict[int, RefusedError] = {}
        candidates: list[tuple[int, Transaction]] = []
        now = self._now()
        for index, raw in enumerate(raws):
            try:
                candidates.append((index, self._check(raw, now)))
            except RefusedError as error:
                refused[index] = error
        right = await self._verifier.check_for_client([tx for _, tx in candidates])
        signed: list[tuple[int, Transaction]] = []
        for (index, tx), is_right in zip(candidates, right, strict=True):
            if is_right:
                signed.append((index, tx))
            else:
                refused[index] = RefusedError("bad-signature", "the signature is not the sender's over these bytes")
        answers = self._driver.submit_all([tx for _, tx in signed]) if signed else []
        accepted: list[Transaction] = []
        for (index, tx), refusal in zip(signed, answers, strict=True):
            if refusal is None:
                accepted.append(tx)
            else:
                refused[index] = refusal
        return Accepted(accepted, refused)

    def _check(self, raw: bytes, now: int) -> Transaction:
        tx = decode_transaction(raw)
        payload = tx.payload
        if payload.chain != self._chain:
            raise RefusedError("wrong-chain", f"signed for chain {payload.chain.hex()[:16]}, this is another")
        if payload.not_after < now:
            raise RefusedError("expired", f"not_after {payload.not_after} has passed, block time is {now}")
        try:
            self._registry.check_call(payload.contract, payload.method, payload.args)
        except ContractError as error:
            raise RefusedError(error.code, error.message) from error
        self._mempool.check(tx, now)
        return tx
